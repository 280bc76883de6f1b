"""The staff's pages below /admin/monitor/, and what machines ask at the root."""

from __future__ import annotations

from django.urls import URLPattern

pages: list[URLPattern] = []
probes: list[URLPattern] = []
