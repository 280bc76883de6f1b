"""Whether a provider can be asked at all, in plain words: for the admin and for `manage.py check_providers`."""

from __future__ import annotations

from collections.abc import Mapping

from providers import breaker
from providers.models import Provider
from providers.routing import Route, route


def find_missing() -> dict[str, str]:
    """Return what keeps each provider from being asked at all, by slug: "it has no key". One pass over all models."""
    reasons: dict[str, list[str]] = {str(slug): [] for slug in Provider.objects.values_list("slug", flat=True)}
    found = route()
    for skipped in found.skipped:
        if skipped.expected:
            slug = skipped.name.partition(":")[0]
            reasons[slug].append(skipped.reason.replace(skipped.provider_name, "it", 1))
    askable = {name.partition(":")[0] for name in _could_be_asked(found)}
    return {slug: _first_missing(words) for slug, words in reasons.items() if slug not in askable}


def describe_provider(provider: Provider, missing: Mapping[str, str], *, quoting: bool = False) -> str:
    """Return a provider's state in plain words; `missing` as of find_missing(), `quoting` as of breaker.describe()."""
    if not provider.enabled:
        return "Not asked: it is switched off."
    words = missing.get(provider.slug)
    return f"Not asked: {words}." if words else breaker.describe(provider, quoting=quoting)


def _could_be_asked(found: Route) -> list[str]:
    return [str(candidate) for candidate in found.candidates] + [
        skipped.name for skipped in found.skipped if not skipped.expected
    ]


def _first_missing(words: list[str]) -> str:
    """Return the first that an admin can mend for all its models at once."""
    if not words:
        return "it has no models"
    return next((word for word in words if word != "it is switched off"), "all its models are switched off")
