"""The command that makes an API token where no browser is at hand."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from chat import tokens
from chat.forms import TokenForm


class Command(BaseCommand):
    help = "Make an API token for an account and print it. It cannot be shown again; the account's page can revoke it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("name", help="What it is for, as the account's page lists it.")

    def handle(self, *args: Any, username: str, name: str, **options: Any) -> None:
        user = User.objects.filter(username=username, is_active=True).first()
        if user is None:
            raise CommandError(f"There is no active account {username!r}.")
        form = TokenForm({"name": name})
        if not form.is_valid():
            raise CommandError(" ".join(map(str, form.errors["name"])))
        _token, text = tokens.make(user, form.cleaned_data["name"])
        self.stdout.write(text)
