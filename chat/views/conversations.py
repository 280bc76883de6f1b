"""The list of conversations, and what can be done with each of them. Every form works without JavaScript."""

from __future__ import annotations

import uuid

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from chat import deletion, groups, titles
from chat.groups import tell_changed_from_view
from chat.identity import find_user, get_user_or_404
from chat.listing import Place, find_zone, list_conversations
from chat.models import Conversation, ConversationQuerySet

# A script that asks for what has changed says so: it gets the one row of the list instead of a page.
SCRIPT = "fetch"


@require_safe
@never_cache
def conversation_list(request: HttpRequest, *, archived: bool = False) -> HttpResponse:
    """Show a page of the list; the scripts of the other pages take its rows."""
    text = request.GET.get("after", "")
    try:
        after = Place.parse(text) if text else None
    except ValueError:
        return HttpResponseBadRequest(_("The list has no such place. Open it again from its beginning."))
    listing = list_conversations(find_user(request), find_zone(request), after=after, archived=archived)
    return render(request, "chat/conversations.html", {"listing": listing, "is_first": after is None})


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def rename(request: HttpRequest, conversation_id: uuid.UUID) -> HttpResponse:
    """Ask for a title, and store it; from then on none is made by itself."""
    owned, found = _get(request, conversation_id)
    if request.method != "POST":
        return render(request, "chat/rename.html", {"conversation": found})
    title = titles.clean(request.POST.get("title", ""))
    if not title:
        return HttpResponseBadRequest(_("Give it a title of at least one character."))
    owned.update(title=title, has_own_title=True)
    found.title = title
    groups.tell_title_from_view(found)
    return _answer(request, found, stay=False)


@require_POST
def pin(request: HttpRequest, conversation_id: uuid.UUID) -> HttpResponse:
    return _change(request, conversation_id, pinned=True)


@require_POST
def unpin(request: HttpRequest, conversation_id: uuid.UUID) -> HttpResponse:
    return _change(request, conversation_id, pinned=False)


@require_POST
def archive(request: HttpRequest, conversation_id: uuid.UUID) -> HttpResponse:
    return _change(request, conversation_id, archived=True)


@require_POST
def unarchive(request: HttpRequest, conversation_id: uuid.UUID) -> HttpResponse:
    return _change(request, conversation_id, archived=False)


@require_POST
def delete(request: HttpRequest, conversation_id: uuid.UUID) -> HttpResponse:
    """Take a conversation out of sight, and stop what it is being answered; the next page offers to undo it."""
    _, found = _get(request, conversation_id)
    deletion.delete(found)
    tell_changed_from_view(found, "gone")
    if _is_script(request):
        return HttpResponse()
    return redirect(f"{reverse('chat:new')}?deleted={found.pk}")


@require_POST
def restore(request: HttpRequest, conversation_id: uuid.UUID) -> HttpResponse:
    """Undo a deletion."""
    found = deletion.find_deleted(get_user_or_404(request), conversation_id)
    if found:
        deletion.restore(found)
        tell_changed_from_view(found, "restored")
    # Twice does no harm.
    return _answer(request, found or _get(request, conversation_id)[1], stay=False)


def _get(request: HttpRequest, conversation_id: uuid.UUID) -> tuple[ConversationQuerySet, Conversation]:
    """Return the visitor's conversation, as a query for updates too. Raises Http404 for anybody else's."""
    owned = Conversation.objects.of(get_user_or_404(request)).filter(pk=conversation_id)
    return owned, get_object_or_404(owned)


def _change(request: HttpRequest, conversation_id: uuid.UUID, **columns: bool) -> HttpResponse:
    owned, found = _get(request, conversation_id)
    # `updated_at` stays: nothing was said.
    owned.update(**columns)
    for name, value in columns.items():
        setattr(found, name, value)
    return _answer(request, found)


def _answer(request: HttpRequest, conversation: Conversation, *, stay: bool = True) -> HttpResponse:
    """Answer a script with the row of the list as it is now; a form with the page that it was sent from, if it `stay`s,
    or with the conversation.
    """
    if _is_script(request):
        return render(request, "chat/sidebar_item.html", {"item": conversation})
    origin = _find_origin(request) if stay else ""
    return redirect(origin or reverse("chat:conversation", args=[conversation.pk]))


def _is_script(request: HttpRequest) -> bool:
    return request.headers.get("X-Requested-With") == SCRIPT


def _find_origin(request: HttpRequest) -> str:
    """Return the page of this site that a menu's form was sent from, "" where that is no page to come back to."""
    referer = request.headers.get("Referer", "")
    is_ours = url_has_allowed_host_and_scheme(referer, {request.get_host()}, require_https=request.is_secure())
    return referer if is_ours else ""
