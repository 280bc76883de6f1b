"""The chat page, and how its answers were made. Everything live comes over the socket."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from chat import deletion
from chat.answered import make_story
from chat.branches import Tree, Window, tree_of, window_around, window_at_end, window_before
from chat.forms import ConversationSettingsForm
from chat.identity import find_user, get_user_or_404
from chat.listing import find_zone, list_conversations
from chat.models import Conversation, Message, Role
from chat.next_steps import describe_endings
from chat.picker import introduce, list_providers, list_unavailable
from chat.shown import list_turns
from chat.sums import find_sums
from chat.turns import Notice, Turn

# What a browser offers first; what a file is, its content decides. Told so, an iPhone makes JPEGs of its photos.
ACCEPTED_FILES = (
    "image/png,image/jpeg,image/webp,image/gif,text/*,application/json,application/xml,.md,.csv,.log,.json,.yaml,.yml,"
    ".toml,.ini,.sql,.sh,.py,.js,.ts,.tsx,.jsx,.css,.html,.c,.h,.cpp,.java,.go,.rs,.rb,.php,.kt,.swift,.tex"
)
EXAMPLES = [
    _("Explain in three sentences why the sky is blue"),
    _("Write a friendly reminder to water the plants"),
    _("Suggest five names for a small bakery"),
]


@require_safe
@never_cache
def new_conversation(request: HttpRequest) -> HttpResponse:
    """Show an empty conversation under a fresh name; it is stored with its first message.

    `?c=` names the one of a page that has been reloaded before its first message was stored.
    """
    user = find_user(request)
    conversation_id = _find_id(request.GET.get("c", "")) or uuid.uuid4()
    if Conversation.objects.of(user).filter(pk=conversation_id).exists():
        return redirect("chat:conversation", conversation_id)
    fresh = Conversation(pk=conversation_id, name=str(conversation_id))
    return _render(request, user, fresh, Window([], [], 0), [])


def _find_id(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


@require_safe
@never_cache
def conversation(request: HttpRequest, conversation_id: uuid.UUID) -> HttpResponse:
    """Show the visitor's conversation; to anybody else it does not exist."""
    user = get_user_or_404(request)
    found = get_object_or_404(Conversation.objects.of(user), pk=conversation_id)
    tree = tree_of(found.pk)
    if "at" in request.GET and _find_id(request.GET["at"]) not in tree.nodes:
        # The message of an old link has been deleted; what was said around it may still be there.
        return redirect("chat:conversation", found.pk)
    return _render(request, user, found, *_find_shown(request, found, tree))


def _find_shown(request: HttpRequest, found: Conversation, tree: Tree) -> tuple[Window, list[Turn]]:
    """Return what `?before=` or `?at=` names of the conversation, otherwise the last messages of its branch."""
    for name, window_of in (("before", window_before), ("at", window_around)):
        if name in request.GET:
            window = window_of(tree, found.current_leaf_id, _get_message_id(request.GET[name], tree))
            return window, list_turns(tree, window)
    window = window_at_end(tree, found.current_leaf_id)
    return window, list_turns(tree, window)


def _get_message_id(text: str, tree: Tree) -> uuid.UUID:
    message_id = _find_id(text)
    if message_id not in tree.nodes:
        raise Http404
    return message_id


@require_safe
@never_cache
def conversation_sums(request: HttpRequest, conversation_id: uuid.UUID) -> HttpResponse:
    """Show what the conversation has used, for a page on which an answer has just ended."""
    user = get_user_or_404(request)
    found = get_object_or_404(Conversation.objects.of(user).only("pk"), pk=conversation_id)
    return render(request, "chat/sums.html", {"sums": find_sums(found.pk, user.pk)})


@require_safe
@never_cache
def attempts(request: HttpRequest, reply_id: uuid.UUID) -> HttpResponse:
    """Show how an answer was made: a page of its own, of which the chat page takes the part that matters."""
    owned = Message.objects.filter(
        conversation__in=Conversation.objects.of(get_user_or_404(request)), role=Role.ASSISTANT
    )
    reply = get_object_or_404(owned.select_related("conversation"), pk=reply_id)
    context = {"conversation": reply.conversation, "reply": reply, "story": make_story(reply)}
    return render(request, "chat/attempts.html", context)


def _render(
    request: HttpRequest, user: User | None, shown: Conversation, window: Window, turns: list[Turn]
) -> HttpResponse:
    providers = list_providers(user.pk if user else None)
    context = {
        "conversation": shown,
        "is_new": shown._state.adding,
        "url": reverse("chat:conversation", args=[shown.pk]),
        "listing": list_conversations(user, find_zone(request)),
        "deleted": _find_deleted(request, user),
        "can_sign_up": settings.CHAT_SIGN_UP,
        "turns": turns,
        "first_id": window.ids[0] if window.start else None,
        "is_partial": bool(window.branch) and not (window.at_end and window.is_current),
        "settings_form": ConversationSettingsForm(),
        "marked": request.GET.get("at", ""),
        "blank_question": Turn(None, Role.USER),
        "blank_reply": Turn(None, Role.ASSISTANT),
        "blank_notice": Notice("ask"),
        "providers": providers,
        "unavailable": list_unavailable(providers),
        "sums": find_sums(shown.pk if turns else None, user.pk if user else None),
        "introduction": introduce(providers),
        "examples": EXAMPLES,
        "endings": describe_endings(),
        "message_length": settings.CHAT_MESSAGE_LENGTH,
        "files_per_message": settings.CHAT_FILES_PER_MESSAGE,
        "file_bytes": settings.CHAT_FILE_BYTES,
        "accepted_files": ACCEPTED_FILES,
    }
    return render(request, "chat/page.html", context)


def _find_deleted(request: HttpRequest, user: User | None) -> Conversation | None:
    """Return the conversation whose deletion this page offers to undo."""
    try:
        return deletion.find_deleted(user, uuid.UUID(request.GET.get("deleted", "")))
    except ValueError:
        return None
