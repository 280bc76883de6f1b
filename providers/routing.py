"""Who is asked, in which order, and why."""

from __future__ import annotations

from dataclasses import dataclass

from providers import config
from providers.aichat import Clocks
from providers.kinds import Kind
from providers.models import Model, Provider
from providers.secrets import find_key

# The kinds whose debug log the transcript can read; only these are held to a finish reason.
PARSED_KINDS = frozenset(Kind.values)


@dataclass(frozen=True)
class Candidate:
    """A model that can be asked, with everything a process needs to know about its provider."""

    provider: str
    model: str
    reason: str
    target: config.Target
    clocks: Clocks
    key: str
    needs_finish_reason: bool

    def __str__(self) -> str:
        return f"{self.provider}:{self.model}"


def candidates(preferred: str = "") -> list[Candidate]:
    """Return every model that can be asked: the preferred `provider:model` first, then by priority."""
    models = sorted(usable_models(), key=lambda model: str(model) != preferred)
    return [_candidate(model, "chosen" if str(model) == preferred else "next by priority") for model in models]


def usable_models() -> list[Model]:
    """Return the models that can be asked, by priority: enabled, of an enabled provider that has its key."""
    models = Model.objects.filter(enabled=True, provider__enabled=True).select_related("provider")
    return [model for model in models if _has_its_key(model.provider)]


def _has_its_key(provider: Provider) -> bool:
    return not provider.key_variable or bool(find_key(provider.key_variable))


def _candidate(model: Model, reason: str) -> Candidate:
    provider = model.provider
    return Candidate(
        provider=provider.slug,
        model=model.name,
        reason=reason,
        target=config.Target(provider.kind, provider.api_base, model.name, model.max_output),
        clocks=Clocks(provider.first_token_seconds, provider.idle_seconds, provider.total_seconds),
        key=find_key(provider.key_variable),
        needs_finish_reason=provider.sends_finish_reason and provider.kind in PARSED_KINDS,
    )
