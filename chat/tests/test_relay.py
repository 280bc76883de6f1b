"""Who should continue an answer may fail before a word of its own: then it goes on as before a first token."""

from __future__ import annotations

import pytest

from chat.database import db
from chat.models import CONTINUE_PROMPT
from providers.models import Attempt
from sasha.testing import Socket, make_provider, text_of

pytestmark = pytest.mark.django_db(transaction=True)

BEGINNING, WHOLE = "word0 word1 word2 ", "word0 word1 word2 word3 word4 "


@pytest.fixture
def add(provider, simulator):
    """Add a provider with one model on the simulator, asked in the order of the calls; the fixtures' own comes last."""
    priorities = iter(range(1, 9))

    async def add(slug: str, model: str, **columns: object) -> None:
        url = simulator.url("openai-compatible")
        made = await db(make_provider, url, model, slug=slug, priority=next(priorities))
        await made.models.aupdate(**columns)

    return add


async def attempts(reply_id: str) -> list[Attempt]:
    return [attempt async for attempt in Attempt.objects.filter(reply_id=reply_id).order_by("number")]


async def test_where_the_one_who_should_continue_says_nothing_a_third_does(site, add):
    await add("first", "sim-n6-cut-at3")
    await add("second", "sim-empty")
    await add("third", "sim-n5")
    async with Socket("s") as socket:
        frames = await socket.say("Hi")
    assert (frames[-1]["metadata"]["ending"], text_of(frames)) == ("complete", WHOLE)
    assert [one.ending for one in await attempts(frames[-1]["replyId"])] == ["cut", "empty", "complete"]


async def test_where_it_has_become_too_long_for_the_second_a_larger_model_continues(site, add):
    await add("first", "sim-n6-cut-at3")
    await add("second", "sim-http400context", context_window=1000)
    await add("third", "sim-n5", context_window=1000)
    await add("fourth", "sim-n5", context_window=2000)
    async with Socket("s") as socket:
        frames = await socket.say("Hi")
    assert (frames[-1]["metadata"]["provider"], text_of(frames)) == ("fourth", WHOLE)


async def test_the_ledger_counts_all_that_was_sent_to_who_continues(site, simulator, add):
    await add("first", "sim-n6-cut-at3")
    await add("second", "sim-n5")
    async with Socket("s") as socket:
        frames = await socket.say("Hi")
    first, second = await attempts(frames[-1]["replyId"])
    assert first.prompt_characters == len("Hi")
    assert second.prompt_characters == len("Hi" + BEGINNING + CONTINUE_PROMPT)
    assert second.prompt_characters == simulator.served["served"][-1]["input_characters"]
