"""What can be done to a message that is there: read its source, show another version of it, delete it."""

from __future__ import annotations

import uuid

from asgiref.sync import async_to_sync
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from chat import branches, runner
from chat.groups import tell_changed_from_view
from chat.identity import get_user_or_404
from chat.models import Conversation, Message

# A child that is asked to end is gone within a second; its last words are stored right after.
STOP_WITHIN_SECONDS = 2.0


@require_safe
@never_cache
def source(request: HttpRequest, message_id: uuid.UUID) -> HttpResponse:
    """Return the text of a message as it was written, for copying and editing."""
    return HttpResponse(_get_message(request, message_id).text, content_type="text/plain; charset=utf-8")


@require_POST
def switch_branch(request: HttpRequest, conversation_id: uuid.UUID) -> HttpResponse:
    """Make the newest branch through the `message` posted the one that is shown and goes on."""
    owned = Conversation.objects.of(get_user_or_404(request)).select_related("owner")
    conversation = get_object_or_404(owned, pk=conversation_id)
    try:
        message_id = uuid.UUID(request.POST.get("message", ""))
        branches.switch(conversation.pk, message_id)
    except (ValueError, Message.DoesNotExist):
        raise Http404 from None
    tell_changed_from_view(conversation, "branch")
    return redirect(_address_of(conversation.pk, message_id))


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def delete(request: HttpRequest, message_id: uuid.UUID) -> HttpResponse:
    """Ask whether a message should go with all that follows it; posted, delete it."""
    message = _get_message(request, message_id)
    conversation = message.conversation
    tree = branches.tree_of(conversation.pk)
    if request.method != "POST":
        context = {
            "message": message,
            "following": sum(1 for _ in tree.below(message_id)),
            "unfinished": bool(branches.find_unfinished(tree, message_id)),
            "back": _address_of(conversation.pk, message_id),
        }
        return render(request, "chat/delete_message.html", context)
    _stop(branches.find_unfinished(tree, message_id))
    try:
        branches.delete(conversation.pk, message_id)
    except Message.DoesNotExist:
        raise Http404 from None
    tell_changed_from_view(conversation, "deleted")
    return redirect("chat:conversation", conversation.pk)


def _stop(reply_ids: list[uuid.UUID]) -> None:
    """Stop replies and wait for their endings; those of another replica end as soon as it misses their rows."""
    if reply_ids:
        Message.objects.filter(pk__in=reply_ids).update(stop_requested=True)
        async_to_sync(runner.current().end)(reply_ids, STOP_WITHIN_SECONDS)


def _get_message(request: HttpRequest, message_id: uuid.UUID) -> Message:
    owned = Conversation.objects.of(get_user_or_404(request))
    messages = Message.objects.filter(conversation__in=owned).select_related("conversation__owner")
    return get_object_or_404(messages, pk=message_id)


def _address_of(conversation_id: uuid.UUID, message_id: uuid.UUID) -> str:
    """Return where the message is shown: at the end of its conversation, unless it stands far above."""
    tree = branches.tree_of(conversation_id)
    leaf_id = Conversation.objects.values_list("current_leaf_id", flat=True).get(pk=conversation_id)
    address = reverse("chat:conversation", args=[conversation_id])
    at = "" if message_id in branches.window_at_end(tree, leaf_id).ids else f"?at={message_id}"
    return f"{address}{at}#m-{message_id}"
