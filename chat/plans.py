"""What a reply needs before it can begin: what is said, on whose account, and who can be asked."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from chat.history import Branch, Line, branch_before, lines_of, site_settings
from chat.models import Account, Conversation, Message, State
from providers import ledger
from providers.routing import Route, route


@dataclass(frozen=True)
class Settings:
    """How an answer is to be given; None: as the site is set up."""

    system_prompt: str
    temperature: float | None
    max_tokens: int | None


@dataclass(frozen=True)
class Plan:
    """What a reply needs to begin: what is said, on whose account, and who can be asked, in order."""

    branch: Branch
    route: Route
    account: ledger.Account
    requested_model: str
    temperature: float | None = None
    max_tokens: int | None = None

    def describe_on(self, reply: Message) -> None:
        """Write on the row who is asked first, for an answer that is interrupted, and who is not asked, and why."""
        if self.route.candidates:
            reply.provider, reply.model = self.route.candidates[0].provider, self.route.candidates[0].model
        reply.skipped = self.skipped()

    def skipped(self) -> list[list[str]]:
        """Return who is not asked, and why, without those that were never set up to be."""
        return [[skipped.name, skipped.reason] for skipped in self.route.skipped if not skipped.expected]


def plan_for(reply: Message, lines: Iterable[Line], username: str) -> Plan:
    """Return the plan of a reply that is about to begin: its branch, and the providers as they are now."""
    chosen = settings_of(reply)
    branch = replace(branch_before(reply, lines), system=chosen.system_prompt)
    owner_id = reply.conversation.owner_id
    return Plan(
        branch=branch,
        route=route(
            reply.requested_model,
            only=reply.only_model,
            user_id=owner_id,
            prompt_characters=branch.characters,
            least_characters=branch.least_characters,
            max_tokens=chosen.max_tokens,
            needs_vision=bool(branch.all_images),
        ),
        account=ledger.Account(reply.id, reply.conversation_id, owner_id, username),
        requested_model=reply.requested_model,
        temperature=chosen.temperature,
        max_tokens=chosen.max_tokens,
    )


def settings_of(reply: Message) -> Settings:
    """Return what holds for a reply: as its message says, else its conversation, else its owner's account."""
    conversation = reply.conversation
    # Fetched with the owner; who has chosen nothing has none.
    account: Account | None = getattr(conversation.owner, "account", None)
    parameters = {**(account.parameters if account else {}), **conversation.parameters, **reply.parameters}
    prompt = conversation.system_prompt or (account.system_prompt if account else "")
    return Settings(prompt, parameters.get("temperature"), parameters.get("max_tokens"))


def find_policy(conversation_id: uuid.UUID) -> str:
    """Return what happens in this conversation when a provider fails in the middle of an answer."""
    own = Conversation.objects.filter(pk=conversation_id).values_list("failover", flat=True).first()
    return own or site_settings().failover


def find_continue_prompt() -> str:
    """Return what the next model is told after the text that it should continue."""
    return site_settings().continue_prompt


@transaction.atomic
def claim(reply_id: uuid.UUID, epoch: int) -> Plan | None:
    """Move a queued reply to running and return its plan, or None while it is not its turn.

    Raises Message.DoesNotExist where the reply is no longer ours, or gone.
    """
    mine = Message.objects.select_for_update(of=("self",)).select_related("conversation__owner__account")
    reply = mine.get(pk=reply_id, epoch=epoch, state=State.QUEUED)
    others = Message.objects.filter(conversation=reply.conversation_id).exclude(pk=reply_id)
    earlier = Q(state=State.QUEUED, created_at__lt=reply.created_at)
    if others.filter(earlier | Q(state=State.RUNNING)).exists():
        return None
    plan = plan_for(reply, lines_of(reply.conversation_id), reply.conversation.owner.username)
    reply.state, reply.started_at = State.RUNNING, timezone.now()
    plan.describe_on(reply)
    reply.save(update_fields=["state", "started_at", "provider", "model", "skipped"])
    return plan
