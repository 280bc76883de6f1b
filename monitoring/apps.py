from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


class MonitoringConfig(AppConfig):
    name = "monitoring"

    def ready(self) -> None:
        from monitoring import listeners  # needs the models
        from monitoring.alerts.kinds import ensure_rules

        listeners.connect()
        post_migrate.connect(ensure_rules, sender=self)
        post_migrate.connect(_keep_append_only, sender=self, dispatch_uid="monitoring.append_only")


def _keep_append_only(using: str, **_: Any) -> None:
    from monitoring.append_only import install_again

    install_again(connections[using])
