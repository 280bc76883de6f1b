"""Makes a started site's database: `python -m monitoring.load.prepare API_BASE KEY_VARIABLE MODEL…`.

It runs in a process of its own, with the environment of the server to be started, whose database is not the caller's.
"""

from __future__ import annotations

import os
import sys

import django
from django.core.management import call_command


def main(api_base: str, key_variable: str, *models: str) -> None:
    """Migrate, and store the simulator as a provider named `sim` with these models."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sasha.settings")
    django.setup()
    # Models can be imported from here on.
    from providers.models import Model, Provider

    call_command("migrate", verbosity=0, interactive=False)
    # Always asked: what fails is to be counted, not avoided.
    provider = Provider.objects.create(
        slug="sim", name="Simulator", kind="openai", api_base=api_base, key_variable=key_variable, forced="closed"
    )
    for model in models:
        Model.objects.create(provider=provider, name=model)


if __name__ == "__main__":
    main(*sys.argv[1:])
