from __future__ import annotations

from django.apps import AppConfig


class ChatConfig(AppConfig):
    name = "chat"

    def ready(self) -> None:
        from chat import accounts  # noqa: F401 (hears of sign-ins)
        from chat.replies import refresh_totals  # needs the models
        from providers.signals import attempts_repriced

        attempts_repriced.connect(refresh_totals, dispatch_uid="chat.replies")
