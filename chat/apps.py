from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


class ChatConfig(AppConfig):
    name = "chat"

    def ready(self) -> None:
        from chat import accounts, doors  # noqa: F401 (hear of sign-ins)
        from chat.replies import refresh_totals  # needs the models
        from providers.signals import attempts_repriced

        post_migrate.connect(_keep_search_index, sender=self, dispatch_uid="chat.search_index")
        attempts_repriced.connect(refresh_totals, dispatch_uid="chat.replies")


def _keep_search_index(using: str, **_: Any) -> None:
    from chat.search_index import install_triggers

    install_triggers(connections[using])
