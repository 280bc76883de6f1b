"""The chat page: a new conversation, and one that exists. Everything live comes over the socket."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from chat.identity import find_user
from chat.models import Conversation, Role
from chat.turns import Turn, find_branch, make_turn
from providers.endings import Ending
from providers.local_model import SLUG
from providers.routing import usable_models

# Conversations beside the page.
LIST_LENGTH = 100
EXAMPLES = [
    "Explain in three sentences why the sky is blue",
    "Write a friendly reminder to water the plants",
    "Suggest five names for a small bakery",
]


@dataclass(frozen=True)
class ProviderGroup:
    """A provider's models in the picker, as (provider:model, label)."""

    slug: str
    name: str
    options: list[tuple[str, str]]


@require_safe
@never_cache
def new_conversation(request: HttpRequest) -> HttpResponse:
    """Show an empty conversation under a fresh name; it is stored with its first message."""
    conversation_id = uuid.uuid4()
    return _render(request, find_user(request), Conversation(pk=conversation_id, name=str(conversation_id)), [])


@require_safe
@never_cache
def conversation(request: HttpRequest, conversation_id: uuid.UUID) -> HttpResponse:
    """Show the visitor's conversation; to anybody else it does not exist."""
    user = find_user(request)
    if user is None:
        raise Http404
    found = get_object_or_404(Conversation.objects.filter(owner=user), pk=conversation_id)
    branch = find_branch(found.messages.all(), found.current_leaf_id)
    return _render(request, user, found, [make_turn(message) for message in branch])


def _render(request: HttpRequest, user: User | None, shown: Conversation, turns: list[Turn]) -> HttpResponse:
    providers = list_providers()
    context = {
        "conversation": shown,
        "is_new": shown._state.adding,
        "url": reverse("chat:conversation", args=[shown.pk]),
        "conversations": list_conversations(user),
        "turns": turns,
        "blank_question": Turn(None, Role.USER),
        "blank_reply": Turn(None, Role.ASSISTANT),
        "providers": providers,
        "introduction": introduce(providers),
        "examples": EXAMPLES,
        "endings": {ending.value: ending.sentence for ending in Ending},
        "message_length": settings.CHAT_MESSAGE_LENGTH,
    }
    return render(request, "chat/page.html", context)


def list_conversations(user: User | None) -> list[Conversation]:
    """Return the user's conversations, the last used one first."""
    if user is None:
        return []
    return list(Conversation.objects.filter(owner=user).order_by("-updated_at")[:LIST_LENGTH])


def list_providers() -> list[ProviderGroup]:
    """Return what can be picked, in the order in which it is tried."""
    groups: dict[str, ProviderGroup] = {}
    for model in usable_models():
        provider = model.provider
        group = groups.setdefault(provider.slug, ProviderGroup(provider.slug, provider.name, []))
        group.options.append((str(model), model.label or model.name))
    return list(groups.values())


def introduce(providers: list[ProviderGroup]) -> list[str]:
    """Return who answers here and how far to trust it, for somebody who has not asked anything yet."""
    if not providers:
        return ["Nothing can answer yet: no model is set up.", "Whoever runs this site can change that."]
    first, *others = providers
    if first.slug == SLUG:
        sentences = ["A small model on this very machine answers here: private and free, but often wrong."]
    else:
        sentences = [f"{first.name} answers here."]
    if others:
        sentences.append(f"You can also choose {' or '.join(other.name for other in others)}.")
    return sentences
