"""The staff's pages below /admin/monitor/, and what machines ask at the root."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, path

from monitoring.views import history, overview, processes, replies

staff = admin.site.admin_view
pages: list[URLPattern] = [
    path("", staff(overview.overview), name="monitor"),
    path("history/", staff(history.history), name="monitor-history"),
    path("processes/", staff(processes.processes), name="monitor-processes"),
    path("processes/<uuid:reply_id>/stop/", staff(processes.stop_process), name="monitor-stop"),
    path("replies/", staff(replies.find_reply), name="monitor-find-reply"),
    path("replies/<uuid:reply_id>/", staff(replies.reply), name="monitor-reply"),
]
probes: list[URLPattern] = []
