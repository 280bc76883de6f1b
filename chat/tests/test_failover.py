"""Answers that survive their provider: silently before the first token, with a seam after it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import DataError, OperationalError
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from chat.database import db
from chat.failover import OverlapTrimmer
from chat.models import Conversation, Message, SiteSettings
from providers.models import Attempt, Budget, BudgetUse, Model, Price, Provider
from sasha.testing import Socket, make_provider, text_of

pytestmark = pytest.mark.django_db(transaction=True)

# "word0 word1 … " for as many words.
GOOD = "sim-n5"


@pytest.fixture
def add(provider, simulator):
    """Add a provider with one model on the simulator; the fixtures' own comes last."""

    async def add(slug: str, model: str, **columns: object) -> Provider:
        values = {"slug": slug, "priority": 10} | columns
        return await db(make_provider, simulator.url("openai-compatible"), model, **values)

    return add


def words(*numbers: int) -> str:
    return "".join(f"word{number} " for number in numbers)


def notices(frames: list[dict]) -> list[tuple]:
    shown = [frame for frame in frames if frame["type"] == "notice"]
    return [(frame["kind"], frame["reason"], frame.get("oldModel"), frame.get("newModel")) for frame in shown]


async def attempts(reply_id: str) -> list[Attempt]:
    return [attempt async for attempt in Attempt.objects.filter(reply_id=reply_id).order_by("number")]


@pytest.mark.parametrize(
    ("model", "ending"),
    [
        ("sim-http500", "provider_error"),
        ("sim-http429", "rate_limited"),
        ("sim-http401", "unauthorised"),
        ("sim-http404", "misconfigured"),
        ("sim-n6-error-at0", "provider_error"),
        ("sim-n6-cut-at0", "cut"),
        ("sim-n6-reset-at0", "cut"),
        ("sim-empty", "empty"),
    ],
)
async def test_before_the_first_token_the_next_provider_answers_and_nothing_shows(site, add, model, ending):
    await add("first", model)
    await add("second", GOOD, priority=20)
    async with Socket("s") as socket:
        frames = await socket.say("Hi")
    assert text_of(frames) == words(0, 1, 2, 3, 4)
    assert notices(frames) == []
    # The page waits for somebody else now.
    assert [frame["provider"] for frame in frames if frame["type"] == "started"] == ["first", "second"]
    metadata = frames[-1]["metadata"]
    assert (metadata["ending"], metadata["provider"], metadata["attempts"]) == ("complete", "second", 2)
    made = await attempts(frames[-1]["replyId"])
    assert [(attempt.number, attempt.provider_slug, attempt.ending) for attempt in made] == [
        (1, "first", ending),
        (2, "second", "complete"),
    ]


async def test_who_chose_a_model_is_told_that_another_answers_and_why(site, add):
    await add("first", "sim-http500")
    await add("second", GOOD, priority=20)
    async with Socket("s") as socket:
        frames = await socket.say("Hi", model="first:sim-http500")
    assert notices(frames) == [
        (
            "fallback",
            f"First sim-http500: the provider reported an error of its own. Second {GOOD} answers.",
            "first:sim-http500",
            f"second:{GOOD}",
        )
    ]


async def test_only_this_model_is_a_promise(site, add):
    await add("first", "sim-http500")
    await add("second", GOOD, priority=20)
    async with Socket("s") as socket:
        frames = await socket.say("Hi", model="first:sim-http500", onlyModel=True)
    assert frames[-1]["metadata"]["ending"] == "provider_error"
    assert len(await attempts(frames[-1]["replyId"])) == 1


async def test_a_silent_provider_costs_its_first_token_clock_and_no_more(site, add):
    await add("first", "sim-silent", first_token_seconds=1)
    await add("second", GOOD, priority=20)
    async with Socket("s") as socket:
        frames = await socket.say("Hi")
    assert frames[-1]["metadata"]["provider"] == "second"
    first, _ = await attempts(frames[-1]["replyId"])
    assert (first.ending, first.evidence) == ("timed_out", "first token clock")
    assert 1000 <= first.total_ms < 2000


@pytest.mark.parametrize(
    ("fault", "ending", "columns"),
    [
        ("cut", "cut", {}),
        ("reset", "cut", {}),
        ("error", "provider_error", {}),
        ("malformed", "cut", {}),
        ("stall", "stalled", {"idle_seconds": 1}),
    ],
)
async def test_after_it_the_next_one_continues_behind_a_visible_seam(site, simulator, add, fault, ending, columns):
    first = f"sim-n6-{fault}-at3"
    await add("first", first, **columns)
    await add("second", GOOD, priority=20)
    async with Socket("s") as socket:
        frames = await socket.say("Tell me words")
    # The second says the first words again; they are not shown twice.
    assert text_of(frames) == words(0, 1, 2, 3, 4)
    ((kind, reason, old, new),) = notices(frames)
    assert (kind, old, new) == ("seam", f"first:{first}", f"second:{GOOD}")
    assert reason.endswith(f". Second {GOOD} continues.")
    row = await Message.objects.aget(pk=frames[-1]["replyId"])
    assert (row.ending, row.provider, row.text) == ("complete", "second", text_of(frames))
    assert [(notice["kind"], notice["at"]) for notice in row.notices] == [("seam", len(words(0, 1, 2)))]
    made = await attempts(row.pk)
    assert [(attempt.ending, attempt.text_from) for attempt in made] == [(ending, 0), ("complete", len(words(0, 1, 2)))]
    sent = simulator.last["body"]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]
    assert sent[0]["content"] == "Tell me words"
    assert sent[1]["content"].strip() == words(0, 1, 2).strip()
    assert sent[2]["content"].startswith("Your last answer was cut off.")


async def test_the_admins_own_words_ask_for_the_continuation(site, simulator, add):
    await SiteSettings.objects.acreate(continue_prompt="Bitte weiter.")
    await add("first", "sim-n6-cut-at3")
    await add("second", "sim-echo", priority=20)
    async with Socket("s") as socket:
        frames = await socket.say("Hi")
    assert text_of(frames) == words(0, 1, 2) + "Bitte weiter."


async def test_three_providers_can_write_one_answer(site, simulator, add):
    await add("first", "sim-n6-cut-at2")
    await add("second", "sim-n6-reset-at3", priority=20)
    await add("third", GOOD, priority=30)
    async with Socket("s") as socket:
        frames = await socket.say("Hi")
    assert [(kind, new) for kind, _, _, new in notices(frames)] == [
        ("seam", "second:sim-n6-reset-at3"),
        ("seam", f"third:{GOOD}"),
    ]
    assert text_of(frames) == words(0, 1, 2, 3, 4)
    # The last one was shown all that had been written, as one answer.
    assert simulator.last["body"]["messages"][1]["content"].strip() == words(0, 1, 2).strip()


async def test_a_seam_names_who_wrote_before_it_not_who_failed_in_between(site, add):
    await add("first", "sim-n6-cut-at2")
    await add("second", "sim-http401", priority=20)
    await add("third", GOOD, priority=30)
    async with Socket("s") as socket:
        frames = await socket.say("Hi")
    assert [(kind, old, new) for kind, _, old, new in notices(frames)] == [
        ("seam", "first:sim-n6-cut-at2", f"third:{GOOD}")
    ]
    assert frames[-1]["metadata"]["attempts"] == 3


async def test_where_nobody_can_continue_the_answer_is_cut_and_says_so(site, add):
    await Provider.objects.filter(slug="sim").aupdate(enabled=False)
    await add("first", "sim-n6-cut-at2")
    await add("second", "sim-http401", priority=20)
    async with Socket("s") as socket:
        frames = await socket.say("Hi")
    row = await Message.objects.aget(pk=frames[-1]["replyId"])
    assert (row.ending, row.provider, row.text) == ("cut", "first", words(0, 1))
    assert [attempt.ending for attempt in await attempts(row.pk)] == ["cut", "unauthorised"]


async def test_policy_ask_leaves_it_to_the_reader(site, add):
    await add("first", "sim-n6-cut-at2")
    await add("second", GOOD, priority=20)
    await SiteSettings.objects.acreate(failover="ask")
    async with Socket("s") as socket:
        frames = await socket.say("Hi")
        assert frames[-1]["metadata"]["ending"] == "cut"
        assert [(kind, new) for kind, _, _, new in notices(frames)] == [("ask", f"second:{GOOD}")]
        goes_on = await socket.say_frame("continue", messageId=frames[-1]["replyId"], model=f"second:{GOOD}")
    assert text_of(goes_on) == words(2, 3, 4)


async def test_policy_off_ends_the_answer_there(site, add):
    await add("first", "sim-n6-cut-at2")
    await add("second", GOOD, priority=20)
    await SiteSettings.objects.acreate(failover="off")
    async with Socket("s") as socket:
        frames = await socket.say("Hi")
    assert (frames[-1]["metadata"]["ending"], notices(frames)) == ("cut", [])


async def test_a_conversations_own_policy_comes_before_the_sites(site, add):
    await add("first", "sim-n6-cut-at2")
    await add("second", GOOD, priority=20)
    async with Socket("s") as socket:
        await socket.say("Hi", model="sim:sim-n5")
        await Conversation.objects.aupdate(failover="off")
        frames = await socket.say("Hi")
    assert frames[-1]["metadata"]["ending"] == "cut"


@pytest.mark.parametrize(("ending", "model"), [("length", "sim-n6-length-at3"), ("filtered", "sim-n6-filter-at3")])
async def test_an_answer_that_ended_for_a_reason_goes_nowhere_else(site, add, ending, model):
    await add("first", model)
    await add("second", GOOD, priority=20)
    async with Socket("s") as socket:
        frames = await socket.say("Hi")
    assert (frames[-1]["metadata"]["ending"], frames[-1]["metadata"]["attempts"]) == (ending, 1)


async def test_a_conversation_too_long_for_one_goes_to_a_model_with_more_context(site, add):
    first = await add("first", "sim-http400context")
    second = await add("second", GOOD, priority=20)
    third = await add("third", GOOD, priority=30)
    for provider, size in ((first, 1000), (second, 1000), (third, 2000)):
        await provider.models.aupdate(context_window=size)
    async with Socket("s") as socket:
        frames = await socket.say("Hi")
    assert frames[-1]["metadata"]["provider"] == "third"


async def test_when_all_fail_one_sentence_lists_them_all(site, add):
    await Provider.objects.filter(slug="sim").aupdate(enabled=False)
    await add("first", "sim-http500")
    await add("second", "sim-http401", priority=20)
    await add("third", "sim-empty", priority=30)
    async with Socket("s") as socket:
        *_, error, complete = await socket.say("Hi")
    assert error["error"] == (
        "Nobody could answer. First sim-http500: the provider reported an error of its own; "
        "Second sim-http401: the provider does not accept this site's key; "
        "Third sim-empty: the provider ended the answer without a word."
    )
    assert complete["metadata"]["attempts"] == 3


async def test_the_search_for_an_answer_has_an_end(site, add, settings):
    settings.CHAT_FAILOVER_SECONDS = 1
    await add("first", "sim-silent", first_token_seconds=1)
    await add("second", GOOD, priority=20)
    async with Socket("s") as socket:
        frames = await socket.say("Hi")
    assert (frames[-1]["metadata"]["ending"], frames[-1]["metadata"]["attempts"]) == ("timed_out", 1)


async def test_an_answer_that_has_begun_is_continued_however_long_it_took(site, add, settings):
    settings.CHAT_FAILOVER_SECONDS = 1
    await add("first", "sim-n6-stall-at3", idle_seconds=1)
    await add("second", GOOD, priority=20)
    async with Socket("s") as socket:
        frames = await socket.say("Hi")
    assert (frames[-1]["metadata"]["ending"], frames[-1]["metadata"]["attempts"]) == ("complete", 2)


async def test_the_wait_for_a_turn_does_not_count_as_search(site, add, settings):
    settings.CHAT_FAILOVER_SECONDS = 1
    await add("slow", "sim-n10-gap150")
    await add("first", "sim-http500", priority=20)
    async with Socket("s") as socket:
        await socket.send(message="One", model="slow:sim-n10-gap150")
        await socket.send(message="Two", model="first:sim-http500")
        await socket.until("complete")
        complete = (await socket.until("complete"))[-1]
    assert (complete["metadata"]["ending"], complete["metadata"]["attempts"]) == ("complete", 2)


async def test_a_rate_limit_of_a_provider_holds_for_its_other_models_too(site, add):
    await Provider.objects.filter(slug="sim").aupdate(enabled=False)
    first = await add("first", "sim-http429")
    await Model.objects.acreate(provider=first, name="sim-http429-n1")
    async with Socket("s") as socket:
        *_, error, complete = await socket.say("Hi")
    assert complete["metadata"]["attempts"] == 1
    assert "First sim-http429-n1: it has just been paused after a failure" in error["error"]


async def test_who_insists_on_a_paused_model_gets_it_and_is_told(site, add):
    until = timezone.now() + timedelta(minutes=5)
    first = await add("first", GOOD, breaker="open", opened_at=timezone.now(), open_until=until)
    async with Socket("s") as socket:
        frames = await socket.say("Hi", model=f"first:{GOOD}", onlyModel=True)
    ((kind, reason, *_),) = notices(frames)
    assert (kind, reason) == (
        "last_resort",
        f"First {GOOD} was asked all the same: it is paused, but nobody else was wanted.",
    )
    await first.arefresh_from_db()
    assert first.breaker == "closed"


async def test_a_seam_waits_for_the_text_behind_it(site, add):
    await add("first", "sim-n6-cut-at3")
    await add("thinker", "sim-n6-reasoning-cut-at0", priority=20)
    await add("third", GOOD, priority=30)
    async with Socket("s") as socket:
        frames = await socket.say("Hi")
    assert [(kind, new) for kind, _, _, new in notices(frames)] == [("seam", f"third:{GOOD}")]


async def test_an_ending_that_the_database_refuses_does_not_keep_the_conversation(site, add, monkeypatch):
    from providers import ledger

    def refuse(*_, **__):
        raise DataError("out of range")

    monkeypatch.setattr(ledger, "close_attempt", refuse)
    async with Socket("s") as socket:
        frames = await socket.say("Hi", model="sim:sim-n5", onlyModel=True)
        assert frames[-1]["metadata"]["ending"] == "crashed"
        assert text_of(frames) == words(0, 1, 2, 3, 4)


async def test_a_queued_reply_outlives_a_blink_of_the_database(site, add, monkeypatch):
    from chat import plans

    claim, calls = plans.claim, []

    def blink(*args):
        calls.append(args)
        if len(calls) == 1:
            raise OperationalError("away")
        return claim(*args)

    monkeypatch.setattr(plans, "claim", blink)
    async with Socket("s") as socket:
        await socket.send(message="One", model="sim:sim-n5")
        await socket.send(message="Two", model="sim:sim-n5")
        await socket.until("complete")
        assert (await socket.until("complete"))[-1]["metadata"]["ending"] == "complete"


async def test_a_refused_first_question_can_be_asked_again_by_continuing(site, add, simulator):
    async with Socket("s") as socket:
        refused = (await socket.say("Far too long", model="sim:sim-http400context", onlyModel=True))[-1]
        frames = await socket.say_frame("continue", messageId=refused["replyId"], model="sim:sim-echo")
    assert text_of(frames) == "Far too long"


async def test_a_stop_between_two_providers_is_a_stop(site, add):
    await add("first", "sim-n6-stall-at2", idle_seconds=60)
    await add("second", GOOD, priority=20)
    async with Socket("s") as socket:
        await socket.send(message="Hi")
        frames = await socket.until_text("word1 ")
        await socket.send(type="stop", replyId=frames[0]["replyId"])
        complete = (await socket.until("complete"))[-1]
    assert (complete["metadata"]["ending"], complete["metadata"]["attempts"]) == ("stopped", 1)


async def test_after_three_failures_the_provider_is_not_asked_any_more(site, add):
    first = await add("first", "sim-http500")
    await add("second", GOOD, priority=20)
    made = []
    async with Socket("s") as socket:
        for _ in range(4):
            made.append((await socket.say("Hi"))[-1]["metadata"]["attempts"])
    assert made == [2, 2, 2, 1]
    await first.arefresh_from_db()
    assert (first.breaker, first.failures_in_a_row) == ("open", 3)
    row = await Message.objects.filter(role="assistant").order_by("-created_at").afirst()
    assert row.skipped[0][0] == "first:sim-http500"
    assert row.skipped[0][1].startswith("First: Paused until ")


async def test_where_all_are_paused_the_nearest_to_recovery_is_asked_and_the_answer_says_so(site, add):
    await Provider.objects.filter(slug="sim").aupdate(enabled=False)
    first = await add("first", "sim-http401")
    async with Socket("s") as socket:
        await socket.say("Hi")
        await first.models.aupdate(name=GOOD)
        frames = await socket.say("Hi")
    assert notices(frames) == [
        (
            "last_resort",
            f"First {GOOD} was asked all the same: it is paused, but the nearest to recovery of all.",
            None,
            f"first:{GOOD}",
        )
    ]
    await first.arefresh_from_db()
    assert first.breaker == "closed"


async def test_a_provider_switched_off_after_the_choice_is_not_started(site, add, monkeypatch):
    from providers import ledger

    first = await add("first", GOOD)

    def switch_off(*args):
        Provider.objects.filter(pk=first.pk).update(enabled=False)
        return opened(*args)

    opened = ledger.open_attempt
    monkeypatch.setattr(ledger, "open_attempt", switch_off)
    async with Socket("s") as socket:
        frames = await socket.say("Hi")
    assert frames[-1]["metadata"]["provider"] == "sim"
    assert [attempt.provider_slug for attempt in await attempts(frames[-1]["replyId"])] == ["sim"]


async def test_an_address_that_leads_astray_by_now_is_not_asked(site, add, provider):
    first = await add("first", GOOD)
    await Provider.objects.filter(pk=first.pk).aupdate(api_base="http://169.254.169.254/v1")
    async with Socket("s") as socket:
        *_, error, complete = await socket.say("Hi", model=f"first:{GOOD}", onlyModel=True)
    assert "where clouds and networks keep their own secrets" in error["error"]
    assert complete["metadata"]["ending"] == "not_started"
    assert await attempts(complete["replyId"]) == []


async def test_money_of_all_attempts_is_the_answers(site, add):
    first = await add("first", "sim-n6-cut-at3")
    second = await add("second", GOOD, priority=20)
    for provider in (first, second):
        await Price.objects.acreate(model=await provider.models.aget(), input=1, output=2)
    async with Socket("s") as socket:
        frames = await socket.say("Hi")
    cut, whole = await attempts(frames[-1]["replyId"])
    assert (cut.count_source, whole.count_source) == ("estimated", "reported")
    assert whole.cost_usd == (Decimal(whole.input_tokens) + 2 * Decimal(whole.output_tokens)) / 10**6 > 0
    assert cut.cost_usd > 0
    metadata = frames[-1]["metadata"]
    assert Decimal(metadata["costUsd"]) == cut.cost_usd + whole.cost_usd
    assert metadata["costSource"] == "estimated"
    assert whole.price["output"] == "2"


async def test_a_price_that_was_missing_reaches_the_answers_themselves(site, add):
    first = await add("first", GOOD)
    async with Socket("s") as socket:
        frames = await socket.say("Hi")
    assert "costUsd" not in frames[-1]["metadata"]
    long_ago = timezone.now() - timedelta(days=1)
    await Price.objects.acreate(model=await first.models.aget(), input=1, output=2, valid_from=long_ago)
    today = str(timezone.localdate())
    await db(call_command, "reprice", "--from", today, "--to", today, "--apply", stdout=StringIO())
    (attempt,) = await attempts(frames[-1]["replyId"])
    row = await Message.objects.aget(pk=frames[-1]["replyId"])
    assert row.cost_usd == attempt.cost_usd > 0


async def test_a_budget_that_is_used_up_refuses_with_what_is_left_and_when_it_renews(site, provider):
    for model in [model async for model in provider.models.all()]:
        await Price.objects.acreate(model=model, input=1, output=1000)
    await Budget.objects.acreate(scope="everyone", period="day", limit_usd=Decimal("0.01"))
    async with Socket("s") as socket:
        *_, error, complete = await socket.say("Hi", model="sim:sim-n5", onlyModel=True)
    assert complete["metadata"]["ending"] == "not_started"
    assert error["error"] == (
        "The answer could not be started: sim-n5 cannot be asked: your budget of 0.01 USD a day has 0.01 USD left, "
        "and this answer may cost up to 8.1921 USD, which is more than all of it: "
        "a cheaper model or a shorter answer may do."
    )
    assert await attempts(complete["replyId"]) == []


async def test_what_a_budget_does_not_allow_a_free_model_answers(site, add, provider):
    dear = await add("dear", GOOD)
    await Price.objects.acreate(model=await dear.models.aget(), input=1, output=1000)
    for model in [model async for model in provider.models.all()]:
        await Price.objects.acreate(model=model, input=0, output=0)
    await Budget.objects.acreate(scope="site", period="month", limit_usd=Decimal("0.01"))
    async with Socket("s") as socket:
        frames = await socket.say("Hi", model=f"dear:{GOOD}")
    ((kind, reason, *_),) = notices(frames)
    assert kind == "fallback"
    assert "this site's budget of 0.01 USD a month" in reason
    assert frames[-1]["metadata"]["provider"] == "sim"
    row = await Message.objects.aget(pk=frames[-1]["replyId"])
    ((name, reason),) = row.skipped
    assert name == f"dear:{GOOD}"
    assert reason.startswith("This site's budget of 0.01 USD a month")


async def test_where_a_budget_chose_who_answers_the_reader_is_told(site, add, provider):
    dear = await add("dear", GOOD)
    await Price.objects.acreate(model=await dear.models.aget(), input=1, output=1000)
    for model in [model async for model in provider.models.all()]:
        await Price.objects.acreate(model=model, input=0, output=0)
    await Budget.objects.acreate(scope="everyone", period="day", limit_usd=Decimal(10))
    async with Socket("s") as socket:
        assert notices(await socket.say("Hi")) == []
        await BudgetUse.objects.aupdate(spent_usd=Decimal(5))
        ((kind, reason, old, new),) = notices(await socket.say("Hi"))
    assert (kind, old, new) == ("budget", f"dear:{GOOD}", "sim:sim-echo")
    assert reason == (
        f"Dear {GOOD}: your budget of 10.00 USD a day has 5.00 USD left, and this answer may cost up to 8.1921 USD. "
        "It renews at 00:00 (UTC). sim-echo answers."
    )


async def test_when_an_admin_has_paused_everybody_the_reader_is_told_so(site, provider):
    await Provider.objects.aupdate(forced="open")
    async with Socket("s") as socket:
        *_, error, _ = await socket.say("Hi")
    assert error["error"] == "The answer could not be started: Sim is paused by an admin."


async def test_who_insists_on_a_model_at_its_limit_hears_when_to_ask_again(site, add):
    await add("first", "sim-http429-retry7")
    async with Socket("s") as socket:
        *_, error, _ = await socket.say("Hi", model="first:sim-http429-retry7", onlyModel=True)
    assert error["error"].endswith("for now. It may be asked again in 7 s.")


async def test_the_warning_comes_at_eighty_percent(site, provider):
    for model in [model async for model in provider.models.all()]:
        await Price.objects.acreate(model=model, input=1, output=1000)
    await Budget.objects.acreate(scope="everyone", period="day", limit_usd=Decimal("5"))
    async with Socket("s") as socket:
        frames = await socket.say("Hi", model="sim:sim-n5", parameters={"maxTokens": 100})
        assert notices(frames) == []
        await BudgetUse.objects.aupdate(spent_usd=Decimal(4))
        frames = await socket.say("Hi", model="sim:sim-n5", parameters={"maxTokens": 100})
    assert notices(frames) == [
        ("budget", "Your budget of 5.00 USD a day is used to 80 %. It renews at 00:00 (UTC).", None, None)
    ]


# --- Overlap ----------------------------------------------------------------------------------------------------------


def trimmed(before: str, *pieces: str) -> str:
    trimmer = OverlapTrimmer(before)
    return "".join(trimmer.feed(piece) for piece in pieces) + trimmer.finish()


def test_the_last_words_said_again_are_dropped():
    before = "The capital of France is Paris, and its river"
    assert trimmed(before, "is Paris, ", "and its river", " is the Seine.") == " is the Seine."


def test_a_new_beginning_is_left_alone():
    assert trimmed("one two three four five", "six ", "seven") == "six seven"


def test_a_few_letters_that_happen_to_agree_are_no_repetition():
    assert trimmed("This is the", "the end") == "the end"


def test_what_began_like_a_repetition_and_was_none_comes_whole():
    assert trimmed("to be or not to be, that is the question", "to be or not to ", "have") == "to be or not to have"


@pytest.mark.parametrize("line", ["|------------", "0.000000000000", "=============="])
def test_a_line_that_goes_on_as_it_began_is_no_repetition(line):
    assert trimmed(line, line[1:]) == line[1:]


def test_a_continuation_that_only_repeats_adds_nothing():
    assert trimmed("It was a dark and stormy night", "a dark and ", "stormy night") == ""


def test_text_is_held_back_only_while_it_may_be_a_repetition():
    trimmer = OverlapTrimmer("It was a dark and stormy night")
    assert trimmer.feed("a dark") == ""
    assert trimmer.feed(" horse") == "a dark horse"
    assert trimmer.feed("a dark") == "a dark"


@given(st.text(), st.lists(st.text()))
def test_nothing_is_ever_invented_or_lost_but_a_repetition(before, pieces):
    whole, shown = "".join(pieces), trimmed(before, *pieces)
    dropped = whole.removesuffix(shown)
    assert dropped + shown == whole
    assert before.endswith(dropped)
    assert dropped == "" or len(dropped) >= 12
