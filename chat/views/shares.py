"""Links under which anybody can read a conversation: making, listing, revoking, following them."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from chat.identity import find_user, get_user_or_404
from chat.models import Conversation
from chat.sharing import find_shared, share, shares_of


@require_POST
def make_share(request: HttpRequest, conversation_id: uuid.UUID) -> HttpResponse:
    """Make a link to the branch that is shown, and show it among the others."""
    found = get_object_or_404(Conversation.objects.of(get_user_or_404(request)), pk=conversation_id)
    if not settings.CHAT_SHARING:
        raise Http404
    made = share(found)
    if made is None:
        return HttpResponseBadRequest(_("There is nothing to share yet."))
    return redirect(f"{reverse('chat:shares')}#share-{made.pk}")


@require_safe
@never_cache
def shares(request: HttpRequest) -> HttpResponse:
    """List the visitor's links."""
    user = find_user(request)
    links = shares_of(user) if user else []
    rows = [(link, request.build_absolute_uri(reverse("chat:shared", args=[link.key]))) for link in links]
    return render(request, "chat/shares.html", {"rows": rows, "sharing": settings.CHAT_SHARING})


@require_POST
def revoke_share(request: HttpRequest, share_id: uuid.UUID) -> HttpResponse:
    """End a link: from now on it shows nothing."""
    get_object_or_404(shares_of(get_user_or_404(request)), pk=share_id).delete()
    return redirect("chat:shares")


@login_not_required
@require_safe
@never_cache
def shared(request: HttpRequest, key: str) -> HttpResponse:
    """Show a shared conversation to anybody: never stored or indexed, and no other site learns of its address."""
    found = find_shared(key)
    if found is None:
        raise Http404
    response = render(request, "chat/shared.html", {"shared": found})
    response["X-Robots-Tag"] = "noindex, nofollow, noarchive"
    response["Referrer-Policy"] = "no-referrer"
    return response
