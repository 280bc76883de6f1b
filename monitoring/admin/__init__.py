"""Monitoring in the admin; each subject has its own module, which is imported here."""

from monitoring.admin import audit

__all__ = ["audit"]
