from __future__ import annotations

import pytest

from chat import titles
from chat.database import db
from chat.models import Conversation
from sasha.testing import Socket


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("Why does bread rise?", "Why does bread rise?"),
        ("why does bread rise.", "Why does bread rise"),
        ("Hi, can you please explain why bread rises?", "Explain why bread rises?"),
        ("Good morning!\n\nPlease help me to write a letter", "Write a letter"),
        ("Hallo zusammen, könntest du mir bitte einen Brief schreiben?", "Einen Brief schreiben?"),
        ("history of the hittites", "History of the hittites"),
        ("hi-fi amplifiers, which one?", "Hi-fi amplifiers, which one?"),
        ("# **Plan** for `main.py`", "Plan for main.py"),
        ("> quoted\n- [ ] a task", "Quoted"),
        ("1. first [link](https://example.com/x) and ![alt](y)", "First link and alt"),
        ('"What is love?"', "What is love?"),
        ("```python\nprint(1)\n```\nwhat does this print", "What does this print"),
        ("```python\nprint(1)\n```", "print(1)"),
        ("iPhone or Android", "iPhone or Android"),
        ("snake_case and 2 * 3 * 4", "snake_case and 2 * 3 * 4"),
        ("für 日本語", "Für 日本語"),
        ("请解释为什么面包会发酵", "请解释为什么面包会发酵"),
        ("hi", ""),
        ("Hello there!", ""),
        ("?", ""),
        ("hey, how are you?", ""),
        ("👋", ""),
        ("```\n```", ""),
        ("\n\n", ""),
    ],
)
def test_a_title_says_what_the_question_is_about(question, title):
    assert titles.from_question(question) == title


def test_a_long_title_is_cut_at_a_word():
    title = titles.from_question("Explain the difference between " + "concurrency and parallelism " * 9)
    assert title == "Explain the difference between concurrency and parallelism…"
    assert titles.from_question("字" * 200) == "字" * 59 + "…"
    assert len(titles.from_question("x" * 100_000)) == titles.LENGTH


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        ("Hello! How can I help you today?", "How can I help you today?"),
        ("Sure.\n\n## The *rise* of bread\n\nText", "The rise of bread"),
        ("Python 3.11 is faster. It has more.", "Python 3.11 is faster"),
        ("这是答案。后面还有。", "这是答案。"),
        ("", ""),
        ("👋 !", ""),
    ],
)
def test_an_answer_names_what_the_question_did_not(answer, title):
    assert titles.from_answer(answer) == title


def test_a_persons_own_title_is_one_line_without_control_characters():
    assert titles.clean("  a\0b\n\tc \u202e d ") == "ab c d"
    assert titles.clean("\u202e\0 ") == ""
    assert len(titles.clean("x" * 999)) == titles.OWN_LENGTH


async def test_a_question_that_says_nothing_is_named_after_its_answer_in_every_tab(site):
    named = "word0 word1 word2 word3 word4"
    async with Socket("greeting") as first, Socket("greeting") as second:
        await second.send(type="hello")
        await second.until("hello")
        await first.send(message="hi", model="sim:sim-n5")
        for title in ("Hi", named):
            await first.until("title", title=title)
            await second.until("title", title=title)
    assert (await Conversation.objects.aget()).title == named


async def test_a_persons_own_title_is_not_made_anew(site):
    async with Socket("greeting") as socket:
        await socket.send(message="hi", model="sim:sim-n400-gap10")
        await socket.until("chunk")
        await db(Conversation.objects.update, title="Mine", has_own_title=True)
        await socket.until("complete")
        await socket.say("Thanks", model="sim:sim-n5")
    assert (await Conversation.objects.aget()).title == "Mine"
