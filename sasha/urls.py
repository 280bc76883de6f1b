"""Every address of the site, by app."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from monitoring import urls as monitoring
from providers import money_pages
from sasha.words import words

# The lists need the width, and the header has the doors.
admin.site.enable_nav_sidebar = False

handler400 = "sasha.errors.bad_request"
handler403 = "sasha.errors.forbidden"
handler404 = "sasha.errors.not_found"
handler500 = "sasha.errors.server_error"

# The admin's own pages beside its lists; what it would take for an app's name comes first.
reports = [
    path("money/", admin.site.admin_view(money_pages.money), name="money"),
    path("money/csv/", admin.site.admin_view(money_pages.money_csv), name="money-csv"),
    # One page for that, where wrong ones are counted.
    path("password_change/", RedirectView.as_view(pattern_name="chat:account")),
    path("explain/", admin.site.admin_view(money_pages.explain), name="explain"),
]
urlpatterns = [
    path("", include(monitoring.probes)),
    path("", include("chat.urls")),
    # What the scripts say, in the reader's language.
    path("words/<str:language>.js", words, name="words"),
    path("admin/", include(reports)),
    path("admin/monitor/", include(monitoring.pages)),
    path("admin/", admin.site.urls),
]
