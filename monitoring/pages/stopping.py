"""Ending somebody else's answer: asked for in the database, so that whichever server has it sees it, and audited."""

from __future__ import annotations

import time
import uuid
from enum import StrEnum

from asgiref.sync import async_to_sync
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from chat import runner
from chat.models import Message, Role, State
from chat.signals import acted

# A server looks for requests four times a second, and its child is gone within one more.
WAIT_SECONDS = 2.0
LOOK_SECONDS = 0.05


class Stopped(StrEnum):
    """When the answer ended, as it is told."""

    NOW = "Stopped. With its server's next reading it leaves the table."
    BEFORE = "It had ended already."
    NOT_YET = "It has been told to stop, and its server has not ended it yet."


def stop(reply_id: uuid.UUID, user: AbstractBaseUser) -> Stopped:
    """End a reply for `user`, and wait a moment for its end. Raises Message.DoesNotExist."""
    if not _request(reply_id, user):
        return Stopped.BEFORE
    async_to_sync(runner.current().end)([reply_id], WAIT_SECONDS)
    deadline = time.monotonic() + WAIT_SECONDS
    while not Message.objects.filter(pk=reply_id, state=State.ENDED).exists():
        if time.monotonic() > deadline:
            return Stopped.NOT_YET
        time.sleep(LOOK_SECONDS)
    return Stopped.NOW


@transaction.atomic
def _request(reply_id: uuid.UUID, user: AbstractBaseUser) -> bool:
    """Ask for the end of a reply; return whether it was still going on."""
    reply = Message.objects.select_related("conversation__owner").get(pk=reply_id, role=Role.ASSISTANT)
    unfinished = Message.objects.filter(pk=reply_id).exclude(state=State.ENDED)
    if unfinished.filter(stop_requested=False).update(stop_requested=True):
        data = {"owner": reply.conversation.owner.get_username(), "model": _model_of(reply)}
        acted.send(Message, action="process.stopped", user=user, target_kind="reply", target_id=reply_id, data=data)
        return True
    # Somebody else has asked for it a moment ago.
    return unfinished.exists()


def _model_of(reply: Message) -> str:
    return f"{reply.provider}:{reply.model}" if reply.provider else reply.requested_model
