"""Conversations for tests of what leaves and enters the site."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.contrib.auth.models import User

from chat.models import Attachment, Conversation, Message, Role

BEGUN = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


def make_talk(owner: User, title: str = "Bread", **fields) -> Conversation:
    made = uuid.uuid4()
    talk = Conversation.objects.create(id=made, owner=owner, name=str(made), title=title, **fields)
    Conversation.objects.filter(pk=made).update(created_at=BEGUN, updated_at=BEGUN)
    talk.refresh_from_db()
    return talk


def say(talk: Conversation, text: str, parent: Message | None = None, **fields) -> Message:
    """Store a question, or with further fields an answer, as the end of the branch; each a minute after the last."""
    count = talk.messages.count()
    values = {"role": Role.ASSISTANT, "ending": "complete"} | fields if fields else {"role": Role.USER}
    message = Message.objects.create(conversation=talk, parent=parent, text=text, **values)
    Message.objects.filter(pk=message.pk).update(created_at=BEGUN + timedelta(minutes=count))
    Conversation.objects.filter(pk=talk.pk).update(current_leaf=message)
    talk.refresh_from_db()
    message.refresh_from_db()
    return message


def answer(talk: Conversation, text: str, parent: Message, **fields) -> Message:
    return say(talk, text, parent, role=Role.ASSISTANT, **fields)


def make_full_talk(owner: User) -> Conversation:
    """Store a conversation with everything that one can have: branches, a seam, money, reasoning, an attachment."""
    talk = make_talk(owner, "Bread & Brot", system_prompt="Be brief.", parameters={"temperature": 0.2}, pinned=True)
    question = say(talk, "Why does bread rise?")
    Attachment.objects.create(
        owner=owner, message=question, kind="text", name="notes.txt", media_type="text/plain", size=6, data=b"Yeast?"
    )
    answer(talk, "Magic.", question, provider="sim", model="other", cost_usd=None, attempts=1)
    seam = {"kind": "seam", "reason": "Sim continues.", "old_model": "a:b", "new_model": "sim:m", "seq": 3, "at": 6}
    cut = answer(
        talk,
        "Yeast. It eats sug",
        question,
        ending="length",
        evidence="finish reason length",
        reasoning="Let me think.\nYeast.",
        reasoning_ms=1200,
        notices=[seam],
        requested_model="a:b",
        provider="sim",
        model="m_1",
        attempts=2,
        duration_ms=3200,
        first_token_ms=420,
        chunks=7,
        input_tokens=12,
        cache_read_tokens=0,
        output_tokens=40,
        cost_usd=Decimal("0.000123000000"),
        cost_source="reported",
        started_at=BEGUN,
        ended_at=BEGUN + timedelta(seconds=3),
    )
    answer(talk, "ar and makes gas.", cut, continues=True, provider="sim", model="m_1", attempts=1)
    return talk
