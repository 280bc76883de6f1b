"""The staff's pages below /admin/monitor/, and what machines ask at the root."""

from __future__ import annotations

from django.urls import URLPattern, path

from monitoring.views import probes as views

pages: list[URLPattern] = []
# Answered before all other middleware: monitoring/middleware.py.
early_probes: list[URLPattern] = [
    path("livez", views.livez, name="livez"),
    path("readyz", views.readyz, name="readyz"),
    path("metrics", views.show_metrics, name="metrics"),
]
probes: list[URLPattern] = [*early_probes, path("healthz", views.healthz, name="healthz")]
