"""What the audit says of a message's files."""

from __future__ import annotations

import pytest

from chat.database import db
from chat.identity import LOCAL_USER, Visitor
from chat.models import Attachment
from monitoring.models import AuditEntry
from sasha.testing import Socket

pytestmark = pytest.mark.django_db(transaction=True)


def keep_two(name: str) -> list[Attachment]:
    owner = Visitor(LOCAL_USER).make_user()
    make = Attachment.objects.create
    return [make(owner=owner, kind="text", name=name, media_type="text/plain", data=b"x" * size) for size in (3, 5)]


async def test_a_message_names_its_files_but_not_in_their_senders_words(by_hand, site):
    first, second = await db(keep_two, "my umbrella.txt")
    async with Socket("one") as socket:
        await socket.say("Look", model="sim:sim-n3", attachments=[str(second.pk), str(first.pk)])
        await socket.say("Again", model="sim:sim-n3")
    posted, without = [entry async for entry in AuditEntry.objects.filter(action="chat.message.posted").order_by("pk")]
    assert posted.data["files"] == [
        {"id": str(second.pk), "type": "text/plain", "bytes": 5},
        {"id": str(first.pk), "type": "text/plain", "bytes": 3},
    ]
    assert "umbrella" not in str(posted.data)
    assert "files" not in without.data
