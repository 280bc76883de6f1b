"""The forms behind the admin: what a person may type, and a sentence beside the field for what not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import transaction
from django.forms.fields import InvalidJSONInput
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters

from providers.addresses import BadAddress, check_address
from providers.kinds import KINDS, Kind
from providers.models import Attempt, Budget, Model, Price, Provider, Scope
from providers.prices import MOST_USD
from providers.secrets import NoEncryptionKey, check_storable, describe_key, encrypt_key, redact

# What goes with each request is handed to the child in its environment, where a variable holds 128 KiB at most.
JSON_CHARACTERS = 32_000
KEY_CHARACTERS = 4_000
# The housekeeping takes what is older than two hours for lost.
LONGEST_ANSWER_SECONDS = 3600
# An escape, and not a backslash that is escaped itself, before the letter u. PostgreSQL takes no NUL.
NUL_IN_JSON = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
# Before that, nobody sold an answer by the token.
EARLIEST_PRICE = datetime(2020, 1, 1, tzinfo=UTC)
# What the site itself says in every request. Not `stream_options`: some services refuse it, and null takes it out.
OUR_BODY = {"messages", "contents", "model", "stream"}


class JSONObjectField(forms.JSONField):
    """A JSON object that both databases can store; left empty it is {}."""

    default_error_messages = {
        "invalid": "This is no valid JSON.",
        "no_object": 'Write a JSON object, such as {"top_p": 0.9}.',
        "too_long": f"This is longer than {JSON_CHARACTERS:,} characters.",
    }

    def to_python(self, value: Any) -> Any:
        if isinstance(value, str) and len(value) > JSON_CHARACTERS:
            raise ValidationError(self.error_messages["too_long"], code="too_long")
        try:
            found = super().to_python(value)
            # Refuses NaN and half surrogate pairs, which no database takes.
            text = json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            # Also numbers of thousands of digits, and thousands of brackets.
            raise ValidationError(self.error_messages["invalid"], code="invalid") from None
        if NUL_IN_JSON.search(text):
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        if found is None:
            return {}
        if not isinstance(found, dict):
            raise ValidationError(self.error_messages["no_object"], code="no_object")
        return found

    def bound_data(self, data: Any, initial: Any) -> Any:
        # What was refused is shown as it was typed.
        try:
            self.to_python(data)
        except ValidationError:
            return InvalidJSONInput(data)
        return super().bound_data(data, initial)


class SensitivePost:
    """For an admin class with a ProviderForm: the key just typed is left out of every error report."""

    @method_decorator(sensitive_post_parameters("new_key"))
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().changeform_view(request, *args, **kwargs)  # type: ignore[misc]


class ProviderForm(forms.ModelForm):
    """A provider, and the key that is typed but never shown again.

    The key is stored by `save_m2m()`, which the admin calls after it has saved the row: its ciphertext is bound to the
    row's number.
    """

    options = JSONObjectField(required=False, initial=dict, help_text=Provider._meta.get_field("options").help_text)
    new_key = forms.CharField(
        label="New key",
        required=False,
        max_length=KEY_CHARACTERS,
        # "new-password" and not "off", which browsers ignore: they would put the admin's own password here.
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password", "spellcheck": "false"}),
    )
    clear_key = forms.BooleanField(label="Forget the stored key", required=False)

    class Meta:
        model = Provider
        fields = [
            "slug",
            "name",
            "kind",
            "api_base",
            "options",
            "key_variable",
            "new_key",
            "clear_key",
            "priority",
            "enabled",
            "sends_finish_reason",
            "first_token_seconds",
            "idle_seconds",
            "total_seconds",
        ]
        labels = {
            "api_base": "Address",
            "key_variable": "Variable of the key",
            "sends_finish_reason": "Says why it stopped",
            "first_token_seconds": "First token within (seconds)",
            "idle_seconds": "Longest silence (seconds)",
            "total_seconds": "Longest answer (seconds)",
        }
        error_messages = {"kind": {"invalid_choice": "There is no kind “%(value)s”."}}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        row = self.instance
        state = describe_key(row.key_variable, row.encrypted_key, row.pk)
        if "new_key" in self.fields:  # it is not where the admin may only look
            self.fields["new_key"].help_text = f"Now: {state}. Stored encrypted and never shown again."

    def clean_slug(self) -> str:
        slug: str = self.cleaned_data["slug"]
        if not re.fullmatch(r"[a-z0-9-]+", slug):
            raise ValidationError("Use lower-case letters, digits and hyphens: the slug stands before the colon.")
        return slug

    def clean_api_base(self) -> str:
        # aichat adds its own path after a slash.
        address: str = self.cleaned_data["api_base"]
        return address.rstrip("/")

    def clean_new_key(self) -> str:
        key: str = self.cleaned_data["new_key"]
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ValidationError("A key has neither spaces nor special characters: copy it again, and nothing else.")
        if key:
            try:
                check_storable()
            except NoEncryptionKey as problem:
                raise ValidationError(str(problem)) from None
        return key

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        self._check_address(values)
        self._check_options(values)
        self._check_clocks(values)
        if values.get("new_key") and values.get("clear_key"):
            self.add_error("clear_key", "Either type a new key or forget the stored one.")
        self._check_key_stays(values)
        return values

    def _check_key_stays(self, values: dict[str, Any]) -> None:
        """Refuse to send a stored key to another address: whoever may edit the row must know the key to move it."""
        moved = {"api_base", "kind"} & set(self.changed_data)
        if self.instance.encrypted_key and moved and not values.get("new_key") and not values.get("clear_key"):
            self.add_error("new_key", "The address has changed: type the key again, or let it be forgotten.")

    def _check_address(self, values: dict[str, Any]) -> None:
        if "api_base" not in values:
            return
        try:
            check_address(values["api_base"], values.get("kind", ""))
        except BadAddress as problem:
            self.add_error("api_base", str(problem))

    def _check_options(self, values: dict[str, Any]) -> None:
        if "options" not in values or values.get("kind") not in KINDS:
            return
        for problem in _problems_of_options(Kind(values["kind"]), values["options"]):
            self.add_error("options", problem)

    def _check_clocks(self, values: dict[str, Any]) -> None:
        for name in ("first_token_seconds", "idle_seconds", "total_seconds"):
            if values.get(name) == 0:
                self.add_error(name, "The limit must be above 0 seconds.")
        if (values.get("total_seconds") or 0) > LONGEST_ANSWER_SECONDS:
            self.add_error("total_seconds", "No answer may take longer than an hour.")
        for name in ("first_token_seconds", "idle_seconds"):
            if (values.get(name) or 0) > (values.get("total_seconds") or float("inf")):
                self.add_error(name, "This must not be longer than the whole answer may take.")

    def save(self, commit: bool = True) -> Any:
        with transaction.atomic():
            return super().save(commit)

    def _save_m2m(self) -> None:
        super()._save_m2m()  # type: ignore[misc]
        self._store_key()

    def _store_key(self) -> None:
        provider = self.instance
        if self.cleaned_data.get("new_key"):
            provider.encrypted_key = encrypt_key(self.cleaned_data["new_key"], provider.pk)
        elif self.cleaned_data.get("clear_key"):
            provider.encrypted_key = ""
        else:
            return
        provider.save(update_fields=["encrypted_key"])


def _problems_of_options(kind: Kind, options: dict[str, Any]) -> Iterator[str]:
    info = KINDS[kind]
    known = {option.name: option for option in info.options}
    for name in options.keys() - known.keys():
        allowed = f"only {', '.join(known)}" if known else "no options"
        yield f"{info.label} has no option “{name}”: it takes {allowed}."
    for option in info.options:
        value = options.get(option.name)
        if value is None:
            if option.required:
                yield f"{info.label} needs the option “{option.name}”: {option.help}"
        elif not isinstance(value, str) or not re.fullmatch(option.pattern, value):
            yield f"The option “{option.name}” is malformed: {option.help}"


class ModelForm(forms.ModelForm):
    """A model of a provider."""

    extra_body = JSONObjectField(
        label="Added to each request",
        required=False,
        initial=dict,
        help_text="JSON, as the provider's reference has it.",
    )

    class Meta:
        model = Model
        fields = [
            "provider",
            "name",
            "label",
            "priority",
            "enabled",
            "context_window",
            "max_output",
            "vision",
            "extra_body",
        ]
        labels = {"vision": "Takes images"}
        help_texts = {"vision": ""}

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if not name.isprintable() or " " in name:
            raise ValidationError("A model's name has neither spaces nor characters that cannot be seen.")
        return name

    def clean_extra_body(self) -> dict[str, Any]:
        body: dict[str, Any] = self.cleaned_data["extra_body"]
        if ours := sorted(OUR_BODY & body.keys()):
            raise ValidationError(f"The site sets this itself: {', '.join(ours)}.")
        text = json.dumps(body, ensure_ascii=False)
        if redact(text) != text:
            raise ValidationError("This holds a key: keys are stored with the provider, where they are encrypted.")
        return body

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        for name in ("context_window", "max_output"):
            if values.get(name) == 0:
                self.add_error(name, "The limit must be above 0 tokens. Empty means unknown.")
        if (values.get("max_output") or 0) > (values.get("context_window") or float("inf")):
            self.add_error("max_output", "An answer cannot be longer than the context window.")
        return values


RATES = ["input", "cache_read", "cache_write", "output", "reasoning"]
TWICE = "There is a price of this model from that moment on already."


class PriceForm(forms.ModelForm):
    """A new price; one that is stored can be shown and not changed, since answers were paid by it."""

    class Meta:
        model = Price
        fields = ["valid_from", "above_tokens", *RATES]
        error_messages = {
            name: {
                "min_value": "A price cannot be negative.",
                "max_decimal_places": "A price has six decimal places at most.",
            }
            for name in RATES
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A field with a changing default is compared with what the page says it was: fine for a new row alone.
        self.fields["valid_from"].show_hidden_initial = not self.instance.pk

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if self.instance.pk:
            if self.has_begun and f"{self.prefix}-DELETE" in self.data:
                self.add_error(None, "This price has begun: it stays, and a change is a new row.")
            for name in set(self.changed_data) & set(self._meta.fields or ()):
                self.add_error(name, "A price change is a new row: leave this one as it is, and add another.")
        else:
            self._check_sense(values)
        return values

    @property
    def has_begun(self) -> bool:
        """Whether answers may have been paid by this stored price."""
        return bool(self.instance.pk) and self.instance.valid_from <= timezone.now()

    def _check_sense(self, values: dict[str, Any]) -> None:
        for name in RATES:
            if (values.get(name) or 0) > MOST_USD:
                self.add_error(name, f"More than {MOST_USD:,} USD per million tokens: nobody asks so much.")
        if values.get("valid_from") and values["valid_from"] < EARLIEST_PRICE:
            self.add_error("valid_from", f"A price begins in {EARLIEST_PRICE.year} or later.")
        if self._is_there(values):
            self.add_error("valid_from", TWICE)

    def _is_there(self, values: dict[str, Any]) -> bool:
        if not {"valid_from", "above_tokens"} <= values.keys():
            return False
        moment = {name: values[name] for name in ("valid_from", "above_tokens")}
        return Price.objects.filter(model_id=self.instance.model_id, **moment).exists()


class PriceFormSet(forms.BaseInlineFormSet):
    """The prices of one model: no two from the same moment on, none only for long requests.

    A stored price can be deleted until it begins.
    """

    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)
        if self.can_delete and form.has_begun:
            # Disabled: whatever is posted counts for nothing.
            form.fields["DELETE"].disabled = True
            form.fields["DELETE"].widget = forms.HiddenInput()

    def validate_unique(self) -> None:
        rows = [form for form in self.forms if self._has_moment(form)]
        seen = set()
        for form in rows:
            moment = (form.cleaned_data["valid_from"], form.cleaned_data["above_tokens"])
            if moment in seen:
                form.add_error("valid_from", TWICE)
            seen.add(moment)
        for form in rows:
            valid_from = form.cleaned_data.get("valid_from")
            if valid_from and (valid_from, 0) not in seen:
                # A stored row is only shown: it has no place for an error beside a field.
                name = None if form.instance.pk else "above_tokens"
                form.add_error(name, "A price from that moment on for all requests (above 0) is missing.")

    def _has_moment(self, form: Any) -> bool:
        values = getattr(form, "cleaned_data", {})
        return {"valid_from", "above_tokens"} <= values.keys() and form not in self.deleted_forms


class BudgetForm(forms.ModelForm):
    """A limit on what is spent."""

    class Meta:
        model = Budget
        fields = ["scope", "user", "period", "limit_usd", "enabled"]
        labels = {"limit_usd": "Limit (USD)"}

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if "limit_usd" in values and values["limit_usd"] <= 0:
            self.add_error("limit_usd", "The limit must be above 0 USD.")
        self._check_user(values)
        if {"scope", "user", "period"} <= values.keys() and self._is_there(values):
            self.add_error("period", "There is a budget of this scope and period already: change that one.")
        return values

    def _check_user(self, values: dict[str, Any]) -> None:
        if not {"scope", "user"} <= values.keys():
            return
        is_one_user = values["scope"] == Scope.USER
        if is_one_user and not values["user"]:
            self.add_error("user", "Name the user whose budget this is.")
        if not is_one_user and values["user"]:
            self.add_error("user", "Only a budget of one user names a user: leave this empty.")

    def _is_there(self, values: dict[str, Any]) -> bool:
        same = {name: values[name] for name in ("scope", "user", "period")}
        return Budget.objects.filter(**same).exclude(pk=self.instance.pk).exists()


class AttemptForm(forms.ModelForm):
    """An attempt, which is only read: what its columns are called."""

    class Meta:
        model = Attempt
        # All are read only, so a form has none.
        fields: list[str] = []
        labels = {
            "reply_id": "Reply",
            "number": "Attempt",
            "reason": "Why it was asked",
            "http_status": "HTTP status",
            "exit_code": "Exit code",
            "stderr": "Error output of aichat",
            "spawn_ms": "Process started (ms)",
            "request_ms": "Request sent (ms)",
            "first_token_ms": "First token (ms)",
            "longest_gap_ms": "Longest gap (ms)",
            "longest_gap_at_ms": "That gap began (ms)",
            "total_ms": "Total (ms)",
            "input_tokens": "Input",
            "cache_read_tokens": "Read from the cache",
            "cache_write_tokens": "Written to the cache",
            "output_tokens": "Output",
            "reasoning_tokens": "Reasoning",
            "prompt_characters": "Characters sent",
            "text_characters": "Characters received",
            "text_from": "Characters before",
            "count_source": "Counts",
            "count_method": "Estimated from",
        }
