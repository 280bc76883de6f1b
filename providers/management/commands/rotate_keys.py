"""`manage.py rotate_keys`: encrypt every stored provider key anew with the first of ENCRYPTION_KEYS."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from providers.models import Provider
from providers.secrets import KeyUnreadable, encrypt_key, find_key, key_id_of, newest_key_id


class Command(BaseCommand):
    help = "Encrypts every stored provider key anew with the first of ENCRYPTION_KEYS. Safe to run twice."

    def handle(self, *args: Any, **options: Any) -> None:
        if not newest_key_id():
            raise CommandError("This site has no encryption key: set ENCRYPTION_KEYS.")
        moved = unreadable = 0
        for provider in Provider.objects.exclude(encrypted_key=""):
            try:
                moved += rotate(provider)
            except KeyUnreadable as problem:
                unreadable += 1
                self.stderr.write(f"{provider.slug}: the key cannot be read. {problem}")
        self.stdout.write(f"{moved} encrypted anew with key {newest_key_id()}, {unreadable} unreadable.")
        if unreadable:
            raise CommandError("Keep the old encryption keys until every key can be read.")


def rotate(provider: Provider) -> bool:
    """Encrypt one provider's key with the newest encryption key; return whether it was not so already.

    Raises KeyUnreadable.
    """
    old = provider.encrypted_key
    key = find_key("", old, provider.pk)
    if key_id_of(old) == newest_key_id():
        return False
    # An admin who has typed another key meanwhile keeps it.
    unchanged = Provider.objects.filter(pk=provider.pk, encrypted_key=old)
    return bool(unchanged.update(encrypted_key=encrypt_key(key, provider.pk)))
