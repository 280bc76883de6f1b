"""Monitoring in the admin; each subject has its own module, which is imported here."""

from __future__ import annotations

from monitoring.admin import alerts, health

__all__ = ["alerts", "health"]
