from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class MonitoringConfig(AppConfig):
    name = "monitoring"

    def ready(self) -> None:
        from monitoring import listeners  # needs the models
        from monitoring.alerts.kinds import ensure_rules

        listeners.connect()
        post_migrate.connect(ensure_rules, sender=self)
