"""The command that asks every provider whether it answers."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from providers.checkup import LiveResult, check, check_live, find_most, first_model
from providers.condition import describe_provider, find_missing
from providers.costs import plain
from providers.models import Model, Provider

WORDS = {True: "ok", False: "NO", None: "– "}


class Command(BaseCommand):
    """List the models of each provider, which is free; `--live` also asks its first model, which costs money."""

    help = (
        "Check every enabled provider, or those named, by listing its models, which is free. --live also asks the "
        "first model of each one small question through aichat, and tells what that may cost and what it did cost. "
        "Exit code 1 where a check failed; what is not set up yet has not failed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slugs", nargs="*", metavar="SLUG", help="Providers, switched off ones too.")
        parser.add_argument("--live", action="store_true", help="Ask the first model of each as well: costs money.")
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *args: Any, **options: Any) -> None:
        self.quiet, self.missing = options["json"], find_missing()
        providers = _find_providers(options["slugs"])
        rows = [self._check(provider) for provider in providers]
        report: dict[str, Any] = {"providers": rows}
        if options["live"]:
            report |= self._check_live(providers, rows)
        report["ok"] = not any(row["ok"] is False or row.get("live", {}).get("ok") is False for row in rows)
        if options["json"]:
            self.stdout.write(json.dumps(report, indent=2))
        if not report["ok"]:
            raise SystemExit(1)

    def _say(self, line: str) -> None:
        if not self.quiet:
            self.stdout.write(line)
            self.stdout.flush()

    def _check(self, provider: Provider) -> dict[str, Any]:
        result = check(provider)
        state = describe_provider(provider, self.missing, quoting=True)
        # What is not set up is the reason of both: said once.
        words = result.sentence if result.ok is None and provider.slug in self.missing else f"{state} {result.sentence}"
        self._say(f"{provider.slug:<20} {WORDS[result.ok]}  {_one_line(words)}")
        return {
            "provider": provider.slug,
            "state": state,
            "ok": result.ok,
            "sentence": result.sentence,
            "models": len(result.models),
        }

    def _check_live(self, providers: list[Provider], rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Ask one model of each; add the result to its row and return what it may cost and did."""
        firsts = {provider.slug: first_model(provider) for provider in providers}
        most, unknown = find_most(model for model in firsts.values() if model)
        self._say(f"\nThe live check may cost up to {plain(most)} USD{_name_unknown(unknown)}.")
        known, unpriced = Decimal(0), 0
        for row in rows:
            model = firsts[row["provider"]]
            if model is None:
                self._say(f"{row['provider']:<40} {WORDS[None]}  no model is switched on")
                continue
            result = check_live(model)
            row["live"] = _live_row(model, result)
            model.provider.refresh_from_db()
            row["state"] = describe_provider(model.provider, self.missing, quoting=True)
            self._say(f"{model!s:<40} {WORDS[result.ok]}  {_cost(result)}. {_one_line(result.sentence)}")
            known += result.cost_usd or 0
            unpriced += result.usage is not None and result.cost_usd is None
        self._say(f"It cost {plain(known)} USD{f', and {unpriced} unknown amounts' if unpriced else ''}.")
        return {"may_cost_usd": plain(most), "cost_usd": plain(known), "unknown_costs": unpriced}


def _find_providers(slugs: list[str]) -> list[Provider]:
    if not slugs:
        return list(Provider.objects.filter(enabled=True))
    found = list(Provider.objects.filter(slug__in=slugs))
    if missing := set(slugs) - {provider.slug for provider in found}:
        raise CommandError(f"There is no provider {', '.join(sorted(missing))}.")
    return found


def _one_line(words: str) -> str:
    return " ".join(words.split())


def _name_unknown(models: list[Model]) -> str:
    return f", and what is unknown for {', '.join(map(str, models))}" if models else ""


def _cost(result: LiveResult) -> str:
    if result.usage is None:
        return "not asked"
    return "cost unknown" if result.cost_usd is None else f"{plain(result.cost_usd)} USD"


def _live_row(model: Model, result: LiveResult) -> dict[str, Any]:
    return {
        "model": model.name,
        "ok": result.ok,
        "ending": result.ending.value,
        "sentence": result.sentence,
        "usage": vars(result.usage) if result.usage else None,
        "cost_usd": None if result.cost_usd is None else plain(result.cost_usd),
    }
