"""Every address of the site, from its URL configuration: a new one is tried without an entry anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from django.urls import URLPattern, URLResolver, get_resolver


class Route(NamedTuple):
    """An address as it is written, its name with the namespaces, or "", and the names of its parameters."""

    template: str
    name: str
    parameters: tuple[str, ...]


def find_routes(patterns: list[Any] | None = None, before: str = "/", namespace: str = "") -> Iterator[Route]:
    """Yield the routes of the site, or those below `patterns`."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        template = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from find_routes(pattern.url_patterns, template, inner)
        elif isinstance(pattern, URLPattern):
            name = f"{namespace}{pattern.name}" if pattern.name else ""
            yield Route(template, name, tuple(pattern.pattern.converters))
