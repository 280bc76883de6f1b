"""Prints who would be asked now, in which order, and who would not, and why."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from providers.models import Model
from providers.routing import route

# Models that an error names.
EXAMPLES = 3


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("model", nargs="?", default="", help="the preferred provider:model")
        parser.add_argument("--only", action="store_true", help="nobody else may answer")
        parser.add_argument("--user", default="", help="whose budgets apply")
        parser.add_argument("--characters", type=_length, default=0, help="length of the whole conversation")
        parser.add_argument("--vision", action="store_true", help="an image is sent along")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["model"]:
            check_model(options["model"])
        found = route(
            options["model"],
            only=options["only"],
            user_id=_find_user_id(options["user"]),
            prompt_characters=options["characters"],
            needs_vision=options["vision"],
        )
        asked = [(str(candidate), candidate.reason) for candidate in found.candidates]
        skipped = [(entry.name, entry.reason) for entry in found.skipped]
        if options["json"]:
            self.stdout.write(json.dumps({"asked": asked, "skipped": skipped}, indent=2))
            return
        self.stdout.write("Asked, in this order:" if asked else "Nobody can be asked.")
        self._list([(f"{number}. {name}", reason) for number, (name, reason) in enumerate(asked, start=1)])
        if skipped:
            self.stdout.write("Not asked:")
            self._list([(f"- {name}", reason) for name, reason in skipped])

    def _list(self, entries: list[tuple[str, str]]) -> None:
        width = max((len(name) for name, _ in entries), default=0)
        for name, reason in entries:
            self.stdout.write(f"  {name:<{width}}  {reason}")


def check_model(name: str) -> None:
    """Raise CommandError where the table has no model of this name, spelt provider:model."""
    slug, _, model = name.partition(":")
    if Model.objects.filter(provider__slug=slug, name=model).exists():
        return
    examples = ", ".join(map(str, Model.objects.select_related("provider")[:EXAMPLES]))
    known = f"known are provider:model names such as {examples}" if examples else "no model is known yet"
    raise CommandError(f"There is no model {name!r}; {known}.")


def _length(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is no number of characters")
    return int(text)


def _find_user_id(username: str) -> int | None:
    if not username:
        return None
    user = get_user_model().objects.filter(username=username).first()
    if user is None:
        raise CommandError(f"There is no user {username!r}.")
    return user.pk
