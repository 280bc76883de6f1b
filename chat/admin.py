"""What an admin decides for all conversations: the site's settings, one row, and the rules of the input policy."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from chat.models import PolicyRule, SiteSettings
from chat.policy import modes
from chat.policy.judging import judge
from chat.policy.reading import Reading

# What a rule is about, in its own line of the list.
ABOUT = {
    "too_long": "more characters than CHAT_MESSAGE_LENGTH",
    "control_characters": "control characters other than tab and line break",
    "command_injection": "a command behind a separator or in a substitution, as in: test; rm -rf /",
    "script_injection": "script for a page, as in: <img src=x onerror=alert(1)>",
    "path_traversal": "steps out of a folder, as in: ../../../etc/passwd",
    "sql_injection": "a piece of SQL for somebody's query, as in: 1 OR 1=1",
}


admin.site.unregister(User)


@admin.register(User)
class AccountAdmin(UserAdmin):
    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        # In one transaction with its entry in the audit, as all other changes are.
        with transaction.atomic():
            return super().user_change_password(request, id, form_url)


@admin.register(SiteSettings)
class SiteSettingsAdmin(admin.ModelAdmin):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: SiteSettings | None = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        row, _ = SiteSettings.objects.get_or_create(pk=1)
        return HttpResponseRedirect(reverse("admin:chat_sitesettings_change", args=[row.pk]))


class TryForm(forms.Form):
    """A text to be judged, exactly as it is typed."""

    text = forms.CharField(
        strip=False, widget=forms.Textarea(attrs={"rows": 6, "cols": 80}), help_text="It is judged, not kept or sent."
    )


@admin.register(PolicyRule)
class PolicyRuleAdmin(admin.ModelAdmin):
    list_display = ["name", "mode", "refused", "flagged", "last_hit_at", "about"]
    list_editable = ["mode"]
    readonly_fields = ["name", "about", "refused", "flagged", "last_hit_at"]
    fields = ["name", "about", "mode", "refused", "flagged", "last_hit_at"]
    show_facets = admin.ShowFacets.NEVER

    @admin.display(description="what it is about")
    def about(self, rule: PolicyRule) -> str:
        return ABOUT.get(rule.name, "a rule of an earlier version")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: PolicyRule | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        # Servers count at the same time.
        obj.save(update_fields=["mode"])

    def get_urls(self) -> list[URLPattern]:
        own = path("try/", self.admin_site.admin_view(self.try_view), name="chat_policyrule_try")
        return [own, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        modes.ensure_rows()
        return super().changelist_view(request, {"title": "Input policy"} | (extra_context or {}))

    def try_view(self, request: HttpRequest) -> HttpResponse:
        """Say what would become of a text, and where in it. By POST: nobody's text belongs in an address."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        form = TryForm(request.POST or None)
        context = self.admin_site.each_context(request) | {"title": "Try a text", "form": form, "opts": self.opts}
        if request.method == "POST" and form.is_valid():
            context |= _verdict_on(form.cleaned_data["text"])
        return TemplateResponse(request, "admin/chat/policyrule/try.html", context)


def _verdict_on(text: str) -> dict[str, Any]:
    # A form sends its line breaks as two characters, a chat as one.
    text = text.replace("\r\n", "\n")
    known = dict(PolicyRule.objects.values_list("name", "mode"))
    read = Reading.of(text)
    hits = [
        {
            "rule": hit.rule,
            "mode": known.get(hit.rule, "refuse"),
            "parts": _split(read.text, hit.found),
            "found": hit.found,
        }
        for hit in judge(text)
    ]
    return {"judged": True, "read": read, "hits": hits}


def _split(text: str, found: str) -> tuple[str, str, str] | None:
    """Return what is before, in and behind the place that broke the rule, None where it is not in the text as read."""
    return text.partition(found) if found and found in text else None
