"""What is kept of what happened: the audit, the samples, and the alerts."""

from __future__ import annotations

from monitoring.models.alerts import Alert, AlertMessage, AlertReceiver, AlertRule
from monitoring.models.audit import AuditEntry, AuditPermit, AuditSeal, AuditText
from monitoring.models.samples import HealthCheck, ReplicaState, Sample

__all__ = [
    "Alert",
    "AlertMessage",
    "AlertReceiver",
    "AlertRule",
    "AuditEntry",
    "AuditPermit",
    "AuditSeal",
    "AuditText",
    "HealthCheck",
    "ReplicaState",
    "Sample",
]
