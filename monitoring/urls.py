"""The staff's pages below /admin/monitor/, and what machines ask at the root."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, path

from monitoring.views import history, overview, processes, replies
from monitoring.views import probes as views

staff = admin.site.admin_view
pages: list[URLPattern] = [
    path("", staff(overview.overview), name="monitor"),
    path("history/", staff(history.history), name="monitor-history"),
    path("processes/", staff(processes.processes), name="monitor-processes"),
    path("processes/<uuid:reply_id>/stop/", staff(processes.stop_process), name="monitor-stop"),
    path("replies/", staff(replies.find_reply), name="monitor-find-reply"),
    path("replies/<uuid:reply_id>/", staff(replies.reply), name="monitor-reply"),
]
# Answered before all other middleware: monitoring/middleware.py.
early_probes: list[URLPattern] = [
    path("livez", views.livez, name="livez"),
    path("readyz", views.readyz, name="readyz"),
    path("metrics", views.show_metrics, name="metrics"),
]
probes: list[URLPattern] = [*early_probes, path("healthz", views.healthz, name="healthz")]
