"""Providers, models, prices, budgets and the ledger in the admin: what runs the service at three in the morning."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import User
from django.core.exceptions import BadRequest, PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Exists, F, OrderBy, OuterRef, Q, QuerySet
from django.forms import BaseModelFormSet, ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import mark_safe
from django.utils.text import capfirst
from django.views.decorators.http import require_POST

from providers import breaker, budgets, checkup, costs, forms
from providers.condition import describe_provider, find_missing
from providers.endings import Ending
from providers.filters import (
    DayFilter,
    EndingFilter,
    LookFilter,
    ModelFilter,
    ProviderFilter,
    UserFilter,
    of_user,
    shorten,
)
from providers.models import Attempt, Budget, CountSource, Forced, Model, Price, Provider, Scope
from providers.secrets import describe_key
from providers.templatetags.money import percent, usd

# Rows that a page shows of what may be long.
OUTCOMES = 10
HOLDERS = 50
# How far back the last error is looked for.
ERROR_DAYS = timedelta(days=7)
# Of a check's result; None is that there is nothing to check.
LEVELS = {True: messages.SUCCESS, False: messages.ERROR, None: messages.WARNING}
# A change of these makes the last check that of another service.
CHECKED_BY = {"kind", "api_base", "options", "key_variable", "new_key", "clear_key"}
# What a usual question has, for a warning about budgets that are too small for its answer.
SHORT_QUESTION = "What is the weather like on a usual day in a usual town?"
MODELS_NAMED = 5
DEEDS = [(Forced.OPEN, "Never ask"), (Forced.CLOSED, "Always ask"), ("", "Let the breaker decide")]


class NamedList(admin.ModelAdmin):
    """Call the list by what is in it."""

    show_facets = admin.ShowFacets.NEVER

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        title = capfirst(self.opts.verbose_name_plural)
        return super().changelist_view(request, {"title": title} | (extra_context or {}))


class SavesWhatItShows(NamedList):
    """Write only the columns of the form: the breaker and the ledger move others at the same time."""

    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm, change: bool) -> None:
        obj.save(update_fields=form_columns(form) if change else None)

    def save_formset(self, request: HttpRequest, form: ModelForm, formset: BaseModelFormSet, change: bool) -> None:
        formset.save(commit=False)
        # Before anything is deleted: a row without its number cannot be looked up.
        forms_by_row = {form.instance: form for form in formset.initial_forms}
        for row in formset.deleted_objects:
            row.delete()
        for row in formset.new_objects:
            row.save()
        for row, _ in formset.changed_objects:
            row.save(update_fields=form_columns(forms_by_row[row]))
        formset.save_m2m()


class CompactModelForm(forms.ModelForm):
    """A model in one line."""

    # A declared field stays in a form that does not show it.
    extra_body = None  # type: ignore[assignment]


class ModelInline(admin.TabularInline):
    model = Model
    form = CompactModelForm
    fields = ["name", "label", "priority", "enabled", "context_window", "max_output", "vision"]
    extra = 0
    show_change_link = True

    def has_delete_permission(self, request: HttpRequest, obj: Provider | None = None) -> bool:
        # On its own page, where what hangs on it is shown.
        return False


@admin.register(Provider)
class ProviderAdmin(forms.SensitivePost, SavesWhatItShows):
    form = forms.ProviderForm
    list_display = ["name", "priority", "enabled", "state", "kind", "key", "last_check"]
    list_editable = ["priority", "enabled"]
    fieldsets = [
        (None, {"fields": ["name", "slug", "kind", "api_base", "options"]}),
        ("Key", {"fields": ["key_variable", "new_key", "clear_key"]}),
        ("When it is asked", {"fields": ["priority", "enabled"]}),
        (
            "What it is held to",
            {"fields": ["sends_finish_reason", "first_token_seconds", "idle_seconds", "total_seconds"]},
        ),
    ]
    inlines = [ModelInline]
    actions = ["check_all", "force_open", "force_closed", "let_the_breaker_decide"]

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        shown = super().get_changelist_instance(request)
        missing, quoting = find_missing(), _may_see_attempts(request)
        for provider in shown.result_list:
            provider.words = describe_provider(provider, missing, quoting=quoting)
        return shown

    def save_model(self, request: HttpRequest, obj: Provider, form: ModelForm, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if change and CHECKED_BY & set(form.changed_data):
            Provider.objects.filter(pk=obj.pk).update(checked_at=None, check_ok=None, check_result="")

    def get_readonly_fields(self, request: HttpRequest, obj: Provider | None = None) -> list[str]:
        # The ledger knows it by its slug.
        return ["slug"] if obj and is_used(obj) else []

    def get_prepopulated_fields(self, request: HttpRequest, obj: Provider | None = None) -> dict[str, Sequence[str]]:
        return {} if obj else {"slug": ["name"]}

    def has_delete_permission(self, request: HttpRequest, obj: Provider | None = None) -> bool:
        # What was paid must stay explained: such a provider is switched off instead.
        return not (obj and is_used(obj)) and super().has_delete_permission(request, obj)

    @admin.display(description="key")
    def key(self, provider: Provider) -> str:
        return describe_key(provider.key_variable, provider.encrypted_key, provider.pk)

    @admin.display(description="state", ordering="breaker")
    def state(self, provider: Any) -> str:
        return str(provider.words)

    @admin.display(description="last check", ordering="checked_at")
    def last_check(self, provider: Provider) -> str:
        if not provider.checked_at:
            return "never"
        return f"{minute(provider.checked_at)}: {provider.check_result}"

    @admin.action(description="Check now", permissions=["change"])
    def check_all(self, request: HttpRequest, queryset: QuerySet[Provider]) -> None:
        for provider in queryset:
            self._check(request, provider)

    @admin.action(description="Never ask", permissions=["change"])
    def force_open(self, request: HttpRequest, queryset: QuerySet[Provider]) -> None:
        self._force_all(request, queryset, Forced.OPEN)

    @admin.action(description="Always ask", permissions=["change"])
    def force_closed(self, request: HttpRequest, queryset: QuerySet[Provider]) -> None:
        self._force_all(request, queryset, Forced.CLOSED)

    @admin.action(description="Let the breaker decide", permissions=["change"])
    def let_the_breaker_decide(self, request: HttpRequest, queryset: QuerySet[Provider]) -> None:
        self._force_all(request, queryset, "")

    def get_urls(self) -> list[URLPattern]:
        check = self.admin_site.admin_view(require_POST(self.check_view))
        force = self.admin_site.admin_view(require_POST(self.force_view))
        return [
            path("<int:provider_id>/check/", check, name="providers_provider_check"),
            path("<int:provider_id>/force/", force, name="providers_provider_force"),
            *super().get_urls(),
        ]

    def check_view(self, request: HttpRequest, provider_id: int) -> HttpResponse:
        """List the provider's models, which is free, and say what came of it."""
        provider = get_changeable(self, request, provider_id)
        self._check(request, provider)
        return _back_to(provider)

    def force_view(self, request: HttpRequest, provider_id: int) -> HttpResponse:
        """Put an admin's word in the breaker's place, or take it away."""
        provider = get_changeable(self, request, provider_id)
        forced = request.POST.get("forced", "")
        if forced not in dict(DEEDS):
            raise BadRequest("The breaker does not know this word.")
        self._force_all(request, [provider], forced)
        return _back_to(provider)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        provider = self.get_object(request, object_id)
        shown = {"state": _state(request, provider)} if provider else {}
        return super().change_view(request, object_id, form_url, shown | (extra_context or {}))

    def _check(self, request: HttpRequest, provider: Provider) -> None:
        result = checkup.check(provider)
        self.message_user(request, f"{provider}: {result.sentence}", LEVELS[result.ok])
        self.log_change(request, provider, f"Checked: {result.sentence}")

    def _force_all(self, request: HttpRequest, providers: Iterable[Provider], forced: str) -> None:
        missing = find_missing()
        for provider in providers:
            breaker.force(provider, forced)
            self.message_user(request, f"{provider}: {describe_provider(provider, missing)}", messages.SUCCESS)
            self.log_change(request, provider, f"{dict(DEEDS)[forced]}.")


class PriceInline(admin.TabularInline):
    """A model's prices. What has begun was charged with: it stays, and a change is a new row."""

    model = Price
    form = forms.PriceForm
    formset = forms.PriceFormSet
    template = "admin/providers/prices.html"
    verbose_name_plural = "Prices, in USD per million tokens"
    fields = ["valid_from", "above_tokens", "input", "cache_read", "cache_write", "output", "reasoning", "standing"]
    readonly_fields = ["standing"]
    extra = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[Price]:
        later = Price.objects.filter(
            model=OuterRef("model"), valid_from__gt=OuterRef("valid_from"), valid_from__lte=timezone.now()
        )
        return super().get_queryset(request).annotate(replaced=Exists(later))

    @admin.display(description="standing")
    def standing(self, price: Price) -> str:
        if not price.pk:
            return "new"
        if price.valid_from > timezone.now():
            return f"to come, {price.get_source_display()}"
        if price.replaced:  # type: ignore[attr-defined]
            return f"past, {price.get_source_display()}"
        return format_html("<strong>current</strong>, {}", price.get_source_display())

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Model)
class ModelAdmin(SavesWhatItShows):
    form = forms.ModelForm
    list_display = ["__str__", "label", "priority", "enabled", "context_window", "price_now", "learned", "out"]
    list_editable = ["priority", "enabled"]
    list_filter = ["provider", "enabled"]
    list_select_related = ["provider"]
    search_fields = ["name", "label", "provider__name", "provider__slug"]
    inlines = [PriceInline]
    actions = ["put_back_all"]

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        shown = super().get_changelist_instance(request)
        prices = costs.find_prices([model.pk for model in shown.result_list], timezone.now())
        for model in shown.result_list:
            model.tiers = prices.get(model.pk, ())
        return shown

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        # Its prices would go with it, and what was paid must stay explained: it is switched off instead.
        used = obj is not None and obj.attempts.exists()
        return not used and super().has_delete_permission(request, obj)

    @admin.display(description="price now, USD per million")
    def price_now(self, model: Any) -> str:
        if not model.tiers:
            return "unknown"
        first, *higher = model.tiers
        more = ", more for long requests" if higher else ""
        return f"{costs.plain(first.input)} in, {costs.plain(first.output)} out{more}"

    @admin.display(description="learned")
    def learned(self, model: Model) -> str:
        facts = []
        if model.first_token_p95_ms is not None:
            facts.append(f"first token in {model.first_token_p95_ms} ms (p95)")
        if model.characters_per_token is not None:
            facts.append(f"{model.characters_per_token:.1f} characters a token")
        return ", ".join(facts) or "nothing yet"

    @admin.display(description="out until")
    def out(self, model: Model) -> str:
        return f"{minute(model.out_until)}: {model.out_reason}" if is_out(model) and model.out_until else "–"

    @admin.action(description="Put back", permissions=["change"])
    def put_back_all(self, request: HttpRequest, queryset: QuerySet[Model]) -> None:
        for model in queryset:
            self._put_back(request, model)

    def get_urls(self) -> list[URLPattern]:
        put_back = self.admin_site.admin_view(require_POST(self.put_back_view))
        return [path("<int:model_id>/put-back/", put_back, name="providers_model_put_back"), *super().get_urls()]

    def put_back_view(self, request: HttpRequest, model_id: int) -> HttpResponse:
        """Let a model be asked again before its time is over."""
        model = get_changeable(self, request, model_id)
        self._put_back(request, model)
        return _back_to(model)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        model = self.get_object(request, object_id)
        shown = {"is_out": model is not None and is_out(model)}
        return super().change_view(request, object_id, form_url, shown | (extra_context or {}))

    def _put_back(self, request: HttpRequest, model: Model) -> None:
        breaker.put_back(model)
        self.message_user(request, f"{model} is asked again.", messages.SUCCESS)
        self.log_change(request, model, "Put back.")


@admin.register(Budget)
class BudgetAdmin(SavesWhatItShows):
    form = forms.BudgetForm
    list_display = ["__str__", "enabled", "used", "left", "renews"]
    list_editable = ["enabled"]
    list_select_related = ["user"]
    raw_id_fields = ["user"]

    def save_model(self, request: HttpRequest, obj: Budget, form: ModelForm, change: bool) -> None:
        super().save_model(request, obj, form, change)
        # While it was off, nobody counted.
        budgets.refresh()
        if obj.enabled and (dear := find_dearer(obj.limit_usd)):
            self.message_user(request, _warn_of_dearer(dear), messages.WARNING)

    def delete_model(self, request: HttpRequest, obj: Budget) -> None:
        super().delete_model(request, obj)
        budgets.refresh()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Budget]) -> None:
        super().delete_queryset(request, queryset)
        budgets.refresh()

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        shown = super().get_changelist_instance(request)
        # A query or two for each: there are as many budgets as somebody has typed.
        for budget in shown.result_list:
            budget.most_used = next(iter(list_current_uses(budget)), None)
        return shown

    @admin.display(description="used")
    def used(self, budget: Any) -> str:
        use = budget.most_used
        if use is None:
            return "nothing yet"
        whose = f" by {use.whose}" if budget.scope == Scope.EVERYONE else ""
        held = f", {usd(use.standing.reserved_usd)} reserved" if use.standing.reserved_usd else ""
        return f"{percent(use.standing.share)}{whose}: {usd(use.standing.spent_usd)} spent{held}"

    @admin.display(description="left")
    def left(self, budget: Any) -> str:
        return usd(budget.most_used.standing.left_usd if budget.most_used else budget.limit_usd)

    @admin.display(description="begins anew")
    def renews(self, budget: Budget) -> str:
        return minute(budgets.get_span(budget.period, timezone.now()).renews_at)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        budget = self.get_object(request, object_id)
        shown = _budget_context(budget) if budget else {}
        return super().change_view(request, object_id, form_url, shown | (extra_context or {}))


def _unknown_last(column: str) -> OrderBy:
    """Return an order that a click turns round: what is unknown stands below what is dear or slow."""
    return F(column).asc(nulls_first=True)


class CappedPaginator(Paginator):
    """Counts no further than the pages that anybody turns: a whole count of the ledger takes seconds."""

    MOST = 10_000

    @cached_property
    def count(self) -> int:
        attempts: Any = self.object_list
        return int(attempts[: self.MOST].count())


@admin.register(Attempt)
class AttemptAdmin(NamedList):
    form = forms.AttemptForm
    list_display = ["at", "model_asked", "user_link", "ended", "first_token", "total", "cost", "reply"]
    list_filter = [DayFilter, ProviderFilter, ModelFilter, EndingFilter, LookFilter, "count_source", UserFilter]
    search_fields = ["reply_id"]
    search_help_text = "The id of a reply, a conversation or an attempt, or a user's name."
    # Only the time has an index: what else is clicked on reads all that the filters leave.
    sortable_by = ("at", "first_token", "total", "cost")
    list_per_page = 50
    paginator = CappedPaginator
    show_full_result_count = False
    actions = None
    fieldsets = [
        (None, {"fields": ["at", "asked", "reason", "user", "username", "reply_id", "number"]}),
        ("How it ended", {"fields": ["ending", "evidence", "http_status", "exit_code", "error", "stderr"]}),
        (
            "Times",
            {
                "fields": [
                    "spawn_ms",
                    "request_ms",
                    "first_token_ms",
                    "longest_gap_ms",
                    "longest_gap_at_ms",
                    "total_ms",
                ]
            },
        ),
        (
            "Tokens",
            {
                "fields": [
                    "input_tokens",
                    "cache_read_tokens",
                    "cache_write_tokens",
                    "output_tokens",
                    "reasoning_tokens",
                    "prompt_characters",
                    "text_from",
                    "text_characters",
                ]
            },
        ),
        ("Money", {"fields": ["cost", "count_source", "count_method", "price_applied"]}),
    ]
    readonly_fields = ["at", "asked", "cost", "price_applied"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Attempt | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Attempt | None = None) -> bool:
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Attempt], search_term: str
    ) -> tuple[QuerySet[Attempt], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            number = uuid.UUID(term)
        except ValueError:
            return of_user(queryset, term), False
        return queryset.filter(Q(reply_id=number) | Q(conversation_id=number) | Q(pk=number)), False

    @admin.display(description="started", ordering="started_at")
    def at(self, attempt: Attempt) -> str:
        return f"{timezone.localtime(attempt.started_at):%Y-%m-%d %H:%M:%S}"

    @admin.display(description="model")
    def model_asked(self, attempt: Attempt) -> str:
        return f"{attempt.provider_slug}:{attempt.model_name}"

    @admin.display(description="model")
    def asked(self, attempt: Attempt) -> str:
        return self.model_asked(attempt)

    @admin.display(description="user")
    def user_link(self, attempt: Attempt) -> str:
        if not attempt.username:
            return "–"
        query = urlencode({"user": attempt.username})
        return format_html('<a href="?{}" title="{}">{}</a>', query, attempt.username, shorten(attempt.username))

    @admin.display(description="ending")
    def ended(self, attempt: Attempt) -> str:
        words = attempt.get_ending_display() or "running"
        failed = bool(attempt.ending) and Ending(attempt.ending).failed
        return format_html('<span class="failed">{}</span>', words) if failed else words

    @admin.display(description="first token", ordering=_unknown_last("first_token_ms"))
    def first_token(self, attempt: Attempt) -> str:
        return _milliseconds(attempt.first_token_ms)

    @admin.display(description="total", ordering=_unknown_last("total_ms"))
    def total(self, attempt: Attempt) -> str:
        return _milliseconds(attempt.total_ms)

    @admin.display(description="cost", ordering=_unknown_last("cost_usd"))
    def cost(self, attempt: Attempt) -> str:
        if not attempt.ending and attempt.cost_usd is None:
            return "–"
        estimated = ", estimated" if attempt.count_source == CountSource.ESTIMATED else ""
        return f"{usd(attempt.cost_usd)}{estimated}"

    @admin.display(description="reply")
    def reply(self, attempt: Attempt) -> str:
        # Its time line, which leads back to its other attempts.
        address = reverse("monitor-reply", args=[attempt.reply_id])
        return format_html('<a href="{}">{}…, {}</a>', address, str(attempt.reply_id)[:8], attempt.number)

    @admin.display(description="price applied")
    def price_applied(self, attempt: Attempt) -> str:
        price = attempt.price or {}
        lines = [(name.replace("_", " "), value) for name, value in price.items() if value not in (None, "")]
        return format_html_join(mark_safe("<br>"), "{}: {}", lines) or "none"


def find_dearer(limit: Decimal) -> list[str]:
    """Return the models that are asked and of which one answer to a short question may cost more than `limit` USD."""
    models = list(Model.objects.filter(enabled=True, provider__enabled=True).select_related("provider"))
    prices = costs.find_prices([model.pk for model in models], timezone.now())
    return [str(model) for model in models if (_worst_case(model, prices.get(model.pk, ())) or 0) > limit]


def minute(at: datetime) -> str:
    """Return a moment in the site's time zone, as 2026-11-24 00:44."""
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M}"


def form_columns(form: ModelForm) -> list[str]:
    """Return the columns that a form writes."""
    columns = {field.name for field in form.instance._meta.concrete_fields if not field.primary_key}
    return [name for name in form.fields if name in columns]


def is_used(provider: Provider) -> bool:
    """Return whether the ledger knows the provider."""
    return Attempt.objects.filter(provider_slug=provider.slug).exists()


def is_out(model: Model) -> bool:
    """Return whether the model is taken out at this moment."""
    return model.out_until is not None and model.out_until > timezone.now()


def get_changeable(model_admin: admin.ModelAdmin, request: HttpRequest, pk: int) -> Any:
    """Return the row; 403 for whom may not change it."""
    row = get_object_or_404(model_admin.model, pk=pk)
    if not model_admin.has_change_permission(request, row):
        raise PermissionDenied
    return row


class Use(NamedTuple):
    """How far one user, or the site, is through a budget in its current period."""

    whose: str
    standing: budgets.Standing


def list_current_uses(budget: Budget) -> list[Use]:
    """Return the uses of the current period, the most used first."""
    span = budgets.get_span(budget.period, timezone.now())
    rows = list(budget.uses.filter(begins=span.begins).order_by(-(F("spent_usd") + F("reserved_usd")))[:HOLDERS])
    names = dict(User.objects.filter(pk__in={row.holder for row in rows}).values_list("pk", "username"))
    return [
        Use(
            names.get(row.holder, "the whole site" if not row.holder else "a user who is gone"),
            budgets.Standing(budget, row.spent_usd, row.reserved_usd, span.renews_at),
        )
        for row in rows
    ]


def _budget_context(budget: Budget) -> dict[str, Any]:
    renews_at = budgets.get_span(budget.period, timezone.now()).renews_at
    return {"uses": list_current_uses(budget), "renews_at": renews_at}


def _worst_case(model: Model, tiers: Sequence[costs.Tier]) -> Decimal | None:
    tokens = costs.limit_answer(None, model.max_output)
    characters = len(SHORT_QUESTION)
    return costs.worst_case(characters, characters, tokens, model.max_output, model.context_window, tiers)


def _warn_of_dearer(models: list[str]) -> str:
    named, more = ", ".join(models[:MODELS_NAMED]), len(models) - MODELS_NAMED
    others = f" and {more} more" if more > 0 else ""
    return f"One answer may cost more than this budget, so these models are not asked under it: {named}{others}."


def _state(request: HttpRequest, provider: Provider) -> dict[str, Any]:
    attempts = Attempt.objects.filter(provider_slug=provider.slug)
    errors = attempts.filter(started_at__gt=timezone.now() - ERROR_DAYS).exclude(error="")
    return {
        "words": describe_provider(provider, find_missing(), quoting=_may_see_attempts(request)),
        "key": describe_key(provider.key_variable, provider.encrypted_key, provider.pk),
        "deeds": DEEDS,
        "outcomes": list(attempts[:OUTCOMES]),
        "last_error": errors.first(),
        "may_see_attempts": _may_see_attempts(request),
    }


def _may_see_attempts(request: HttpRequest) -> bool:
    """Return whether the staff member may read what providers said, in which they may repeat a prompt."""
    return request.user.has_perm("providers.view_attempt")


def _back_to(row: Any) -> HttpResponse:
    return HttpResponseRedirect(reverse(f"admin:providers_{row._meta.model_name}_change", args=[row.pk]))


def _milliseconds(number: int | None) -> str:
    return "–" if number is None else f"{number:,} ms"
