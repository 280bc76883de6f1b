from __future__ import annotations

from django.apps import AppConfig


class SashaConfig(AppConfig):
    name = "sasha"

    def ready(self) -> None:
        from sasha import checks  # noqa: F401 (registers itself)
