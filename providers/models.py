"""Who can answer: providers and their models, as an admin sees and orders them."""

from __future__ import annotations

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q


class Kind(models.TextChoices):
    """The `type` of the client in aichat's configuration; the transcript parses each of these."""

    OPENAI = "openai", "OpenAI"
    CLAUDE = "claude", "Anthropic"
    GEMINI = "gemini", "Google Gemini"
    OPENAI_COMPATIBLE = "openai-compatible", "OpenAI-compatible"


class Provider(models.Model):
    """A service that answers, at one address, with one key."""

    slug = models.SlugField(max_length=32, unique=True, help_text="The first half of provider:model.")
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=32, choices=Kind)
    api_base = models.CharField(max_length=400, blank=True, help_text="Empty: the service's own address.")
    key_variable = models.CharField(
        max_length=80,
        blank=True,
        validators=[RegexValidator(r"\A[A-Z][A-Z0-9_]*_API_KEY\Z", "Name a variable that ends in _API_KEY.")],
        help_text="The environment variable that holds the key. Empty: no key is sent.",
    )
    priority = models.PositiveSmallIntegerField(default=100, help_text="The lowest is tried first.")
    enabled = models.BooleanField(default=True)
    sends_finish_reason = models.BooleanField(
        default=True,
        help_text="Off: a clean exit counts as a whole answer, for services that never say why they stopped.",
    )
    first_token_seconds = models.PositiveSmallIntegerField(default=60, help_text="Longest wait for the first token.")
    idle_seconds = models.PositiveSmallIntegerField(default=60, help_text="Longest silence between two tokens.")
    total_seconds = models.PositiveSmallIntegerField(default=900, help_text="Longest whole answer.")

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

    class Meta:
        ordering = ["provider__priority", "provider__slug", "priority", "name"]
        constraints = [
            models.UniqueConstraint(fields=["provider", "name"], name="model_name_once_per_provider"),
            models.CheckConstraint(condition=~Q(name=""), name="model_has_a_name"),
        ]

    def __str__(self) -> str:
        return f"{self.provider.slug}:{self.name}"
