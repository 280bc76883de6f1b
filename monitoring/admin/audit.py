"""The audit in the admin: read, narrowed down, and followed to what an entry is about."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import ChangeList
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode

from monitoring.admin.filters import SITE, ActionFilter, ActorFilter, DayFilter, TargetFilter, name_target
from monitoring.models import AuditEntry, AuditSeal, AuditText
from monitoring.pages.words import with_marks
from providers.admin import CappedPaginator, NamedList
from providers.filters import shorten
from providers.models import Price

# The ledger of attempts finds these by their ids, also when they are gone.
IN_THE_LEDGER = {"conversation", "reply", "message"}
TARGET_CHARACTERS = 12


@admin.register(AuditEntry)
class AuditEntryAdmin(NamedList):
    list_display = ["when", "who", "action", "about", "others", "place"]
    list_display_links = ["when"]
    list_select_related = ["seal"]
    list_filter = [DayFilter, ActorFilter, ActionFilter, TargetFilter]
    search_fields = ["target_id"]
    search_help_text = "The id of what it was done to, a user's name, or the number of an entry or of its seal."
    sortable_by = ()
    list_per_page = 50
    paginator = CappedPaginator
    show_full_result_count = False
    actions = None
    change_list_template = "admin/providers/attempt/change_list.html"
    change_form_template = "admin/providers/attempt/change_form.html"
    fieldsets = [
        (None, {"fields": ["when", "who", "action", "about", "others", "details", "words"]}),
        ("In the chain", {"fields": ["place", "sealed_at", "hash", "previous", "digest"]}),
    ]
    readonly_fields = ["when", "who", "about", "others", "details", "words", "place", "sealed_at", "hash", "previous"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: AuditEntry | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: AuditEntry | None = None) -> bool:
        return False

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        shown = super().get_changelist_instance(request)
        pages = find_pages(shown.result_list)
        for entry in shown.result_list:
            entry.page = pages.get(entry.pk)
        return shown

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> AuditEntry | None:
        entry = super().get_object(request, object_id, from_field)
        if entry:
            entry.page = find_pages([entry]).get(entry.pk)
        return entry

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry], search_term: str
    ) -> tuple[QuerySet[AuditEntry], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        found = Q(target_id__in=_spellings(term)) | Q(actor=term)
        if term.isdecimal() and len(term) < 19:
            sealed = AuditSeal.objects.filter(pk=int(term)).values("entry_id")
            found |= Q(pk=int(term)) | Q(pk__in=sealed)
        return queryset.filter(found), False

    @admin.display(description="when")
    def when(self, entry: AuditEntry) -> str:
        return f"{timezone.localtime(entry.at):%Y-%m-%d %H:%M:%S}"

    @admin.display(description="actor")
    def who(self, entry: AuditEntry) -> str:
        name = entry.actor or SITE
        words = shorten(entry.actor) if entry.actor else "the site"
        return format_html('<a href="{}" title="{}">{}</a>', _list(actor=name), name, words)

    @admin.display(description="about")
    def about(self, entry: AuditEntry) -> str:
        if not entry.target_kind:
            return "–"
        words = f"{entry.target_kind} {_shorten(entry.target_id)}".strip()
        page: str | None = entry.page  # type: ignore[attr-defined]
        return format_html('<a href="{}" title="{}">{}</a>', page, entry.target_id, words) if page else words

    @admin.display(description="same target")
    def others(self, entry: AuditEntry) -> str:
        if not entry.target_kind:
            return "–"
        target = name_target(entry.target_kind, entry.target_id)
        return format_html('<a href="{}">all entries</a>', _list(target=target))

    @admin.display(description="details")
    def details(self, entry: AuditEntry) -> str:
        return _verbatim(json.dumps(entry.data, indent=2, ensure_ascii=False)) if entry.data else "none"

    @admin.display(description="text")
    def words(self, entry: AuditEntry) -> str:
        if not entry.digest:
            return "none"
        text = AuditText.objects.filter(pk=entry.digest).values_list("text", flat=True).first()
        if text is None:
            return "erased"
        return _verbatim(text) if text or entry.keeps_text else "only the digest is kept"

    @admin.display(description="seal")
    def place(self, entry: AuditEntry) -> str:
        seal = _find_seal(entry)
        return f"number {seal.sequence}" if seal else "not sealed yet"

    @admin.display(description="sealed")
    def sealed_at(self, entry: AuditEntry) -> str:
        seal = _find_seal(entry)
        return f"{timezone.localtime(seal.sealed_at):%Y-%m-%d %H:%M:%S}" if seal else "–"

    @admin.display(description="hash")
    def hash(self, entry: AuditEntry) -> str:
        seal = _find_seal(entry)
        return seal.hash if seal else "–"

    @admin.display(description="hash before it")
    def previous(self, entry: AuditEntry) -> str:
        seal = _find_seal(entry)
        return seal.previous if seal else "–"


def find_pages(entries: Sequence[AuditEntry]) -> dict[int, str]:
    """Return the admin's pages about what the entries are about, by entry; those without one are left out."""
    models = _find_models(entry.target_id for entry in entries if entry.target_kind == "price")
    pages = {}
    for entry in entries:
        kind, pk = entry.target_kind, entry.target_id
        # A price stands on its model's page.
        page = _find_page("model", models.get(pk, "")) if kind == "price" else _find_page(kind, pk)
        if page:
            pages[entry.pk] = page
    return pages


def _find_models(prices: Iterable[str]) -> dict[str, str]:
    """Return the ids of prices' models, both as the audit spells them."""
    known = Price.objects.filter(pk__in=[int(pk) for pk in prices if pk.isdecimal()])
    return {str(pk): str(model_id) for pk, model_id in known.values_list("pk", "model_id")}


def _find_page(kind: str, pk: str) -> str | None:
    if not pk:
        return None
    if kind in IN_THE_LEDGER:
        return f"{reverse('admin:providers_attempt_changelist')}?{urlencode({'q': pk})}"
    name = kind.replace("_", "")
    models = [
        model for model in apps.get_models() if model._meta.model_name == name and admin.site.is_registered(model)
    ]
    if not models:
        return None
    return reverse(f"admin:{models[0]._meta.app_label}_{name}_change", args=[quote(pk)])


def _list(**asked: str) -> str:
    return f"{reverse('admin:monitoring_auditentry_changelist')}?{urlencode(asked)}"


def _find_seal(entry: AuditEntry) -> AuditSeal | None:
    return getattr(entry, "seal", None)


def _verbatim(text: str) -> str:
    # JSON can hold halves of characters, which no page can.
    whole = with_marks(text.encode(errors="backslashreplace").decode())
    return format_html('<pre class="verbatim" dir="auto">{}</pre>', whole)


def _shorten(pk: str) -> str:
    return pk if len(pk) <= TARGET_CHARACTERS else f"{pk[: TARGET_CHARACTERS - 4]}…"


def _spellings(term: str) -> list[str]:
    """Return an id as it was typed, and as the audit spells it."""
    try:
        return [term, str(uuid.UUID(term))]
    except ValueError:
        return [term]
