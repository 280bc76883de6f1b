"""What holds for the answers of one conversation: its system prompt, its parameters, what follows a break."""

from __future__ import annotations

import uuid

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from chat.forms import ConversationSettingsForm
from chat.groups import tell_changed_from_view
from chat.identity import get_user_or_404
from chat.models import Conversation


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def conversation_settings(request: HttpRequest, conversation_id: uuid.UUID) -> HttpResponse:
    """Show the settings of a conversation; posted, store them for its next message on."""
    owned = Conversation.objects.of(get_user_or_404(request)).select_related("owner")
    conversation = get_object_or_404(owned, pk=conversation_id)
    form = ConversationSettingsForm.of_conversation(conversation, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        chosen = {name: form.cleaned_data[name] for name in ("system_prompt", "failover")}
        owned.filter(pk=conversation.pk).update(parameters=form.parameters(), **chosen)
        tell_changed_from_view(conversation, "settings")
        return redirect("chat:conversation", conversation.pk)
    status = 400 if form.errors else 200
    context = {"conversation": conversation, "settings_form": form}
    return render(request, "chat/conversation_settings.html", context, status=status)
