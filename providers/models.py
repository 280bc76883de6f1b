"""Who can answer and at what price, what was asked of whom, and how much of it may be spent."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from providers.endings import Ending
from providers.kinds import Kind


class Breaker(models.TextChoices):
    """Whether a provider is asked: `open` means not, `half_open` that one live request is trying."""

    CLOSED = "closed", "closed"
    OPEN = "open", "open"
    HALF_OPEN = "half_open", "half-open"


class Forced(models.TextChoices):
    """What an admin has decided over the breaker's head."""

    OPEN = "open", "never ask"
    CLOSED = "closed", "always ask"


class Provider(models.Model):
    """A service that answers, at one address, with one key."""

    slug = models.SlugField(max_length=32, unique=True, help_text="The first half of provider:model.")
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=32, choices=Kind)
    api_base = models.CharField(max_length=400, blank=True, help_text="Empty: the service's own address.")
    options = models.JSONField(default=dict, blank=True, help_text="What else the kind needs, such as a region.")
    key_variable = models.CharField(
        max_length=80,
        blank=True,
        validators=[RegexValidator(r"\A[A-Z][A-Z0-9_]*_API_KEY\Z", "Name a variable that ends in _API_KEY.")],
        help_text="The environment variable that holds the key. A key stored here comes first.",
    )
    encrypted_key = models.TextField(blank=True, editable=False)
    priority = models.PositiveSmallIntegerField(default=100, help_text="The lowest is tried first.")
    enabled = models.BooleanField(default=True)
    sends_finish_reason = models.BooleanField(
        default=True,
        help_text="Off: a clean exit counts as a whole answer, for services that never say why they stopped.",
    )
    first_token_seconds = models.PositiveSmallIntegerField(
        default=60, help_text="Longest wait for the first token; what the site has learned of a model shortens it."
    )
    idle_seconds = models.PositiveSmallIntegerField(default=60, help_text="Longest silence between two tokens.")
    total_seconds = models.PositiveSmallIntegerField(default=900, help_text="Longest whole answer.")

    # Moved by providers/breaker.py alone.
    breaker = models.CharField(max_length=16, choices=Breaker, default=Breaker.CLOSED, editable=False)
    forced = models.CharField(max_length=16, choices=Forced, blank=True, editable=False)
    failures_in_a_row = models.PositiveIntegerField(default=0, editable=False)
    openings = models.PositiveSmallIntegerField(default=0, editable=False, help_text="Since it last recovered.")
    opened_at = models.DateTimeField(null=True, editable=False)
    open_until = models.DateTimeField(null=True, editable=False, help_text="Then one request may try.")
    open_reason = models.CharField(max_length=300, blank=True, editable=False, help_text="For everybody.")
    open_detail = models.CharField(max_length=300, blank=True, editable=False, help_text="For admins: others' words.")

    # What the last check of its list of models said; providers/checkup.py.
    checked_at = models.DateTimeField(null=True, editable=False)
    check_ok = models.BooleanField(null=True, editable=False)
    check_result = models.CharField(max_length=300, blank=True, editable=False)

    class Meta:
        ordering = ["priority", "slug"]

    def __str__(self) -> str:
        return self.name


class Model(models.Model):
    """A model of a provider; people name it `provider:model`."""

    provider = models.ForeignKey(Provider, models.CASCADE, related_name="models")
    name = models.CharField(max_length=120, help_text="As the provider spells it.")
    label = models.CharField(max_length=120, blank=True, help_text="As people read it. Empty: the name.")
    priority = models.PositiveSmallIntegerField(
        default=100, help_text="Within the provider, the lowest is tried first."
    )
    enabled = models.BooleanField(default=True)
    context_window = models.PositiveIntegerField(null=True, blank=True, help_text="Tokens. Empty: unknown.")
    max_output = models.PositiveIntegerField(null=True, blank=True, help_text="Tokens of one answer. Empty: unknown.")
    vision = models.BooleanField(default=False, help_text="Takes images.")
    extra_body = models.JSONField(
        default=dict, blank=True, help_text="Added to the body of every request, as the provider's reference has it."
    )

    # `misconfigured` takes the model out, not its provider.
    out_until = models.DateTimeField(null=True, editable=False)
    out_reason = models.CharField(max_length=300, blank=True, editable=False, help_text="For everybody.")
    out_detail = models.CharField(max_length=300, blank=True, editable=False, help_text="For admins: others' words.")

    # Learned from the ledger; NULL until there is enough of it.
    first_token_p95_ms = models.PositiveIntegerField(null=True, editable=False)
    prompt_characters_per_token = models.FloatField(null=True, editable=False)
    characters_per_token = models.FloatField(null=True, editable=False)

    class Meta:
        ordering = ["provider__priority", "provider__slug", "priority", "name"]
        constraints = [
            models.UniqueConstraint(fields=["provider", "name"], name="model_name_once_per_provider"),
            models.CheckConstraint(condition=~Q(name=""), name="model_has_a_name"),
        ]

    def __str__(self) -> str:
        return f"{self.provider.slug}:{self.name}"


class PriceSource(models.TextChoices):
    """Where a price comes from; what an admin has set, no command replaces."""

    CATALOGUE = "catalogue", _("catalogue")
    SYNC = "sync", "genai-prices"
    ADMIN = "admin", _("set by hand")


# US dollars per million tokens. Six places, with which a cost of twelve is exact.
RATE: dict[str, Any] = {"max_digits": 12, "decimal_places": 6, "validators": [MinValueValidator(Decimal(0))]}
# US dollars.
COST: dict[str, Any] = {"max_digits": 20, "decimal_places": 12}


class Price(models.Model):
    """What a model costs from `valid_from` on, for requests of more than `above_tokens` input tokens.

    A change is a new row. The rows of one model with the same `valid_from` are the tiers of one price.
    """

    model = models.ForeignKey(Model, models.CASCADE, related_name="prices")
    valid_from = models.DateTimeField(default=timezone.now)
    above_tokens = models.PositiveIntegerField(
        default=0, help_text="For requests with more input tokens than this, cached ones included; 0: for all."
    )
    input = models.DecimalField(**RATE, help_text="USD per million tokens.")
    cache_read = models.DecimalField(**RATE, null=True, blank=True, help_text="Empty: as input.")
    cache_write = models.DecimalField(**RATE, null=True, blank=True, help_text="Empty: as input.")
    output = models.DecimalField(**RATE, help_text="USD per million tokens, reasoning included.")
    reasoning = models.DecimalField(**RATE, null=True, blank=True, help_text="Empty: as output.")
    source = models.CharField(max_length=16, choices=PriceSource, default=PriceSource.ADMIN)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["model", "-valid_from", "above_tokens"]
        constraints = [
            models.UniqueConstraint(
                fields=["model", "valid_from", "above_tokens"],
                name="one_price_at_a_time",
                violation_error_message="There is a price of this model from that moment on already.",
            ),
            models.CheckConstraint(
                condition=Q(input__gte=0, output__gte=0)
                & (Q(cache_read__isnull=True) | Q(cache_read__gte=0))
                & (Q(cache_write__isnull=True) | Q(cache_write__gte=0))
                & (Q(reasoning__isnull=True) | Q(reasoning__gte=0)),
                name="price_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} from {self.valid_from:%Y-%m-%d}"


class CountSource(models.TextChoices):
    """Where an attempt's token counts come from."""

    REPORTED = "reported", _("reported by the provider")
    ESTIMATED = "estimated", _("estimated")
    NOT_BILLED = "not billed", _("nothing was billed")
    UNKNOWN = "unknown", _("unknown")


class Attempt(models.Model):
    """One process that was asked for an answer, and what came of it: the ledger.

    Written before the process starts; the end only refines it. No foreign key leads to the chat: deleting a
    conversation does not delete what it cost.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    reply_id = models.UUIDField(db_index=True)
    conversation_id = models.UUIDField(db_index=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    username = models.CharField(max_length=150, blank=True)
    number = models.PositiveSmallIntegerField(default=1, help_text="Within the reply, from 1.")
    model = models.ForeignKey(Model, models.SET_NULL, null=True, related_name="attempts")
    provider_slug = models.CharField(max_length=32)
    model_name = models.CharField(max_length=120)
    reason = models.CharField(max_length=200, help_text="Why this one was asked.")
    trial = models.BooleanField(default=False, help_text="Asked to find out whether the provider has recovered.")
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    ending = models.CharField(max_length=16, choices=Ending.choices(), blank=True, help_text="Empty: running.")
    evidence = models.CharField(max_length=80, blank=True)
    exit_code = models.SmallIntegerField(null=True, blank=True)
    http_status = models.PositiveSmallIntegerField(null=True, blank=True)
    error = models.CharField(max_length=500, blank=True, help_text="The provider's own words, without keys.")
    stderr = models.TextField(blank=True, help_text="The end of it, without keys.")
    # Milliseconds since the start of the process, but for the gap, which is a length.
    spawn_ms = models.PositiveIntegerField(null=True, blank=True, help_text="Until the process was there.")
    request_ms = models.PositiveIntegerField(null=True, blank=True, help_text="Until it sent its request.")
    first_token_ms = models.PositiveIntegerField(null=True, blank=True, help_text="Until the first token came.")
    longest_gap_ms = models.PositiveIntegerField(null=True, blank=True, help_text="Between two tokens.")
    longest_gap_at_ms = models.PositiveIntegerField(null=True, blank=True, help_text="Until that gap began.")
    total_ms = models.PositiveIntegerField(null=True, blank=True)
    prompt_characters = models.PositiveIntegerField(default=0, help_text="Of everything that was sent.")
    text_from = models.PositiveIntegerField(default=0, help_text="Characters of the answer before this attempt's.")
    text_characters = models.PositiveIntegerField(default=0, help_text="Of text and reasoning received.")
    input_tokens = models.PositiveIntegerField(null=True, blank=True, help_text="Fresh ones; NULL is unknown.")
    cache_read_tokens = models.PositiveIntegerField(null=True, blank=True)
    cache_write_tokens = models.PositiveIntegerField(null=True, blank=True)
    output_tokens = models.PositiveIntegerField(null=True, blank=True, help_text="Reasoning included.")
    reasoning_tokens = models.PositiveIntegerField(null=True, blank=True)
    count_source = models.CharField(max_length=16, choices=CountSource, blank=True)
    count_method = models.CharField(max_length=80, blank=True, help_text="How an estimate was made.")
    price = models.JSONField(null=True, blank=True, help_text="The price applied, as it was then.")
    cost_usd = models.DecimalField(**COST, null=True, blank=True, help_text="NULL is unknown, which is never 0.")

    class Meta:
        ordering = ["-started_at"]
        constraints = [models.UniqueConstraint(fields=["reply_id", "number"], name="attempt_number_once_per_reply")]
        indexes = [
            models.Index(fields=["-started_at"], name="attempt_by_time"),
            models.Index(fields=["provider_slug", "-started_at"], name="attempt_by_provider"),
            models.Index(fields=["user", "-started_at"], name="attempt_by_user"),
        ]

    def __str__(self) -> str:
        return f"{self.provider_slug}:{self.model_name}, {self.ending or 'running'}"


class Scope(models.TextChoices):
    """Whose spending a budget limits."""

    SITE = "site", "the whole site"
    EVERYONE = "everyone", "each user"
    USER = "user", "one user"


class Period(models.TextChoices):
    """How often a budget begins anew, in the site's time zone."""

    DAY = "day", "day"
    MONTH = "month", "month"


class Budget(models.Model):
    """The most that may be spent in a period. A budget of one user takes the place of that of each user."""

    scope = models.CharField(max_length=16, choices=Scope, default=Scope.SITE)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="+", help_text="For one user."
    )
    period = models.CharField(max_length=16, choices=Period, default=Period.MONTH)
    limit_usd = models.DecimalField(max_digits=12, decimal_places=4, validators=[MinValueValidator(Decimal(0))])
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ["scope", "period"]
        constraints = [
            models.CheckConstraint(
                condition=Q(scope=Scope.USER, user__isnull=False) | (~Q(scope=Scope.USER) & Q(user__isnull=True)),
                name="budget_of_one_user_names_them",
                violation_error_message="Name a user for a budget of one user, and only for that.",
            ),
            models.CheckConstraint(condition=Q(limit_usd__gte=0), name="budget_not_negative"),
        ]

    def __str__(self) -> str:
        whose = self.user if self.scope == Scope.USER else self.get_scope_display()
        return f"{Decimal(self.limit_usd).normalize():f} USD per {self.period} for {whose}"


class BudgetUse(models.Model):
    """What one period of a budget has seen: moved by conditional updates alone, so that nobody spends twice."""

    budget = models.ForeignKey(Budget, models.CASCADE, related_name="uses")
    holder = models.PositiveBigIntegerField(default=0, help_text="The user's id; 0: the whole site.")
    begins = models.DateField()
    spent_usd = models.DecimalField(**COST, default=Decimal(0))
    reserved_usd = models.DecimalField(**COST, default=Decimal(0), help_text="By attempts that are running.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["budget", "holder", "begins"], name="one_use_per_period")]

    def __str__(self) -> str:
        return f"{self.budget}, {self.begins}"


class Reservation(models.Model):
    """The most that a running attempt may cost, held back in one budget until the attempt ends."""

    use = models.ForeignKey(BudgetUse, models.CASCADE, related_name="reservations")
    attempt_id = models.UUIDField(db_index=True)
    amount_usd = models.DecimalField(**COST)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["use", "attempt_id"], name="reserved_once")]

    def __str__(self) -> str:
        return f"{self.amount_usd} USD for {self.attempt_id}"
