"""Whether a crowd of one keeps others waiting: 300 connections of one user, all with messages, and somebody else's.

The provider takes 100 ms for its first token and 20 ms for each one after it, as in the load test. A figure of this
machine at this moment, so that it is measured on request alone.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from statistics import median

from monitoring.security.findings import Section
from monitoring.security.target import Target, Visitor, new_session

CROWD = 300
MESSAGES = 15
# As docs/security-test.md has it.
MOST_RATIO = 1.5


async def try_crowd(target: Target) -> Section:
    """Measure somebody's first token alone, then while another user has CROWD connections with a message each."""
    section = Section("a crowd of one user")
    if not (target.user and target.steady):
        section.left_out.append("it takes a steady model and somebody who can sign in: --start has both")
        return section
    # Once, so that neither side pays for what is only done once.
    await _first_token_ms(target.user, target.steady)
    alone = [await _first_token_ms(target.user, target.steady) for _ in range(MESSAGES)]
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(target.script()) for _ in range(CROWD)]
        await asyncio.gather(*(socket.send(message="Tell me more", model=target.steady) for socket in sockets))
        # Reads nothing more: they are as slow readers as any.
        await sockets[0].until("chunk")
        crowded = [await _first_token_ms(target.user, target.steady) for _ in range(MESSAGES)]
    ratio = median(crowded) / median(alone)
    section.figures |= {
        "first token alone, median": f"{median(alone):.0f} ms",
        f"beside {CROWD} connections of another": f"{median(crowded):.0f} ms",
        "ratio": f"{ratio:.2f}",
    }
    section.check(ratio <= MOST_RATIO, f"others wait {ratio:.2f} times as long for their first token")
    return section


async def _first_token_ms(visitor: Visitor, model: str) -> float:
    async with visitor.socket(new_session()) as socket:
        began = time.monotonic()
        await socket.send(message="Hi", model=model)
        reply_id = (await socket.until("chunk"))[-1]["replyId"]
        waited = time.monotonic() - began
        await socket.send(type="stop", replyId=reply_id)
        await socket.until("complete")
    return waited * 1000
