"""The addresses of the wire protocol over plain HTTP."""

from __future__ import annotations

from django.urls import path, register_converter

from chat import protocol
from chat.views import api


class SessionName:
    """What `?session=` of the socket may be."""

    regex = protocol.SESSION_NAME.pattern.removeprefix(r"\A").removesuffix(r"\Z")

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


register_converter(SessionName, "session")

urlpatterns = [
    path("connection", api.connection, name="api-connection"),
    path("connection/events", api.connection_events, name="api-connection-events"),
    path("conversations/<session:name>/messages", api.messages, name="api-messages"),
    path("conversations/<session:name>/events", api.conversation_events, name="api-conversation-events"),
    path("replies/<uuid:reply_id>/events", api.reply_events, name="api-reply-events"),
    path("replies/<uuid:reply_id>/stop", api.stop, name="api-stop"),
]
