"""The order in which people get what there is too little of: counted, never timed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from chat.fairness import FairSemaphore, Turns
from chat.runner import is_news
from chat.tests.test_identity import ORIGIN, guest_cookie
from sasha.testing import Socket


@dataclass
class One:
    """What waits for somebody; named by its owner and a number."""

    name: str

    @property
    def owner_key(self) -> str:
        return self.name[0]


def ones(names: str) -> list[One]:
    return [One(name) for name in names.split()]


@pytest.mark.parametrize(
    ("waiting", "having", "order"),
    [
        ("a1 a2 a3", "", "a1 a2 a3"),
        ("a1 a2 a3 b1", "", "a1 b1 a2 a3"),
        ("a1 a2 b1 b2 c1", "", "a1 b1 c1 a2 b2"),
        # Who has some already comes after who has none.
        ("a1 b1", "a8 a9", "b1 a1"),
        ("a1 a2 b1 b2", "a9", "b1 a1 b2 a2"),
        ("", "a9", ""),
    ],
)
def test_each_has_a_turn_before_anybody_has_the_next(waiting, having, order):
    assert Turns().order(ones(waiting), ones(having)) == ones(order)


def test_of_those_who_have_as_much_who_was_served_longest_ago_is_next():
    turns = Turns()
    turns.note("b")
    turns.note("a")
    assert turns.order(ones("a1 a2 b1 c1"), []) == ones("c1 b1 a1 a2")
    # Who has been away is as new.
    turns.forget_all_but({"b"})
    assert turns.order(ones("a1 b1"), []) == ones("a1 b1")


async def test_of_three_hundred_that_one_waits_for_the_other_s_is_next():
    places, got = FairSemaphore(2), []

    async def take(owner: str) -> None:
        await places.acquire(owner)
        got.append(owner)

    greedy = [asyncio.create_task(take("greedy")) for _ in range(300)]
    await asyncio.sleep(0)
    assert got == ["greedy"] * 2
    other = asyncio.create_task(take("other"))
    await asyncio.sleep(0)
    places.release("greedy")
    await asyncio.sleep(0)
    assert got[2:] == ["other"]
    # Alone again, all are the one's.
    places.release("other")
    await asyncio.sleep(0)
    assert got[3:] == ["greedy"]
    for task in [*greedy, other]:
        task.cancel()
    await asyncio.gather(*greedy, other, return_exceptions=True)


async def test_a_single_place_goes_round():
    places, got = FairSemaphore(1), []

    async def take(owner: str) -> None:
        await places.acquire(owner)
        got.append(owner)
        places.release(owner)

    await places.acquire("a")
    waiting = [asyncio.create_task(take(owner)) for owner in "aaabb"]
    await asyncio.sleep(0)
    places.release("a")
    await asyncio.gather(*waiting)
    assert got == ["b", "a", "b", "a", "a"]


async def test_who_gives_up_waiting_loses_no_place_for_the_others():
    places = FairSemaphore(1)
    await places.acquire("a")
    gone, next_one = asyncio.create_task(places.acquire("b")), asyncio.create_task(places.acquire("c"))
    await asyncio.sleep(0)
    gone.cancel()
    places.release("a")
    await asyncio.wait_for(next_one, 5)
    # Also in the very moment in which the place was given.
    late = asyncio.create_task(places.acquire("d"))
    await asyncio.sleep(0)
    places.release("c")
    late.cancel()
    await asyncio.gather(gone, late, return_exceptions=True)
    await asyncio.wait_for(places.acquire("e"), 5)


# --- Answers ----------------------------------------------------------------------------------------------------------


def guest(session: str, name: str) -> Socket:
    return Socket(session, {"Origin": ORIGIN, "Cookie": guest_cookie(name)})


@pytest.mark.django_db(transaction=True)
async def test_one_who_asks_for_everything_leaves_places_for_others(site, settings):
    settings.CHAT_PLACES, settings.CHAT_PLACES_PER_USER = 3, 2
    async with guest("1", "a") as first, guest("2", "a") as second, guest("3", "a") as third, guest("4", "b") as other:
        for socket in (first, second):
            await socket.send(message="x", model="sim:sim-stall-at2")
            await socket.until("chunk")
        await third.send(message="x", model="sim:sim-n5")
        await third.until("queued")
        assert (await other.say("x", model="sim:sim-n5"))[-1]["metadata"]["ending"] == "complete"


@pytest.mark.django_db(transaction=True)
async def test_who_has_least_is_next_in_the_line(site, settings):
    settings.CHAT_PLACES = 1
    async with guest("1", "a") as first, guest("2", "a") as second, guest("3", "a") as third, guest("4", "b") as other:
        await first.send(message="x", model="sim:sim-stall-at2")
        started = (await first.until("chunk"))[0]
        for position, socket in enumerate((second, third), start=1):
            await socket.send(message="x", model="sim:sim-stall-at2")
            assert (await socket.until("queued"))[-1]["position"] == position
        await other.send(message="x", model="sim:sim-n5")
        assert (await other.until("queued"))[-1]["position"] == 1
        await second.until("queued", position=2)
        await first.send(type="stop", replyId=started["replyId"])
        await other.until("complete")


@pytest.mark.django_db(transaction=True)
async def test_one_cannot_fill_the_line(site, settings):
    settings.CHAT_PLACES, settings.CHAT_WAITING_PER_USER = 1, 1
    async with guest("1", "a") as first, guest("2", "a") as second, guest("3", "a") as third, guest("4", "b") as other:
        await first.send(message="x", model="sim:sim-stall-at2")
        await first.until("chunk")
        await second.send(message="x", model="sim:sim-n5")
        await second.until("queued")
        await third.send(message="x", model="sim:sim-n5")
        refused = await third.receive()
        assert (refused["type"], refused["code"]) == ("error", "too_many")
        await other.send(message="x", model="sim:sim-n5")
        await other.until("queued")


@pytest.mark.parametrize(
    ("position", "told", "news"),
    [(None, 5, True), (4, 5, True), (5, 5, False), (1, 2, True), (99, 100, False), (90, 100, True), (101, 100, True)],
)
def test_who_stands_far_back_is_told_of_what_matters_there(position, told, news):
    assert is_news(position, told) is news
