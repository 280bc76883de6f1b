from __future__ import annotations

from django.apps import AppConfig


class SashaConfig(AppConfig):
    name = "sasha"
