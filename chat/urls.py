"""The addresses of the chat page."""

from __future__ import annotations

from django.urls import path

from chat import views

app_name = "chat"
urlpatterns = [
    path("", views.new_conversation, name="new"),
    path("c/<uuid:conversation_id>/", views.conversation, name="conversation"),
    path("c/<uuid:conversation_id>/total", views.conversation_total, name="total"),
    path("c/<uuid:conversation_id>/failover", views.choose_failover, name="failover"),
    path("replies/<uuid:reply_id>/attempts", views.attempts, name="attempts"),
]
