from __future__ import annotations

import asyncio

from chat.exports.downloads import in_turn


async def test_a_person_s_downloads_take_turns_and_hold_up_nobody_else():
    begun = []

    async def pieces(name: str):
        begun.append(name)
        yield b"first"
        yield b"second"

    first, *others = [in_turn(1, pieces(name)) for name in ("first", "second", "third")]
    assert await anext(first) == b"first"
    waiting = [asyncio.create_task(anext(download)) for download in others]
    assert await anext(in_turn(2, pieces("another's"))) == b"first"
    await waiting[0]
    assert set(begun) == {"first", "second", "another's"}
    # Left in the middle, as by a reader who has gone.
    await first.aclose()
    await waiting[1]
    assert begun[-1] == "third"
