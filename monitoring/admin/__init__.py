"""Monitoring in the admin; each subject has its own module, which is imported here."""

from __future__ import annotations

from monitoring.admin import alerts, audit, health

__all__ = ["alerts", "audit", "health"]
