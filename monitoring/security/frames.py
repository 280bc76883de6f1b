"""Abuse of the protocol: malformed and giant frames, floods, replays, others' ids, wrong origins, smuggled headers."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from monitoring.security.findings import Section, shown
from monitoring.security.messages import NOBODY
from monitoring.security.target import Socket, Target, new_session, open_socket

FRAME_LIMIT = 512 * 1024
DEEP = 100_000
FLOOD = 2_000
CLOSED_TOO_BIG = 1009
MALFORMED: dict[str, str] = {
    "nothing": "{",
    "a number": "1",
    "null": "null",
    "a list": "[]",
    "a string": '"start"',
    "an unknown type": '{"type": "evil"}',
    "a type that is a list": '{"type": ["start"]}',
    "a frame of the server's": '{"type": "complete", "replyId": "x"}',
    "a message that is a number": '{"message": 1}',
    "a message that is an object": '{"message": {"$gt": ""}}',
    "no message": '{"type": "start"}',
    "an id that is none": '{"type": "attach", "replyId": "../../etc/passwd"}',
    "a number without end": f'{{"type": "attach", "replyId": "{uuid.uuid4()}", "after": {"9" * 5000}}}',
    "not a number": '{"type": "ping", "t": NaN}',
    "a huge number": '{"type": "ping", "t": 1e400}',
    "half a character": '{"message": "\\ud800"}',
    "a NUL": '{"message": "\\u0000"}',
    "brackets without end": "[" * DEEP,
    "objects without end": '{"a":' * DEEP,
    "lists within lists": "[" * DEEP + "]" * DEEP,
    "too many ids": json.dumps({"type": "hello", "after": {str(uuid.uuid4()): 0 for _ in range(200)}}),
}


async def try_frames(target: Target) -> Section:
    """Send what is no frame: each gets an error of its own, and the socket goes on."""
    section = Section("malformed frames")
    async with target.script() as socket:
        for name, text in MALFORMED.items():
            await socket.websocket.send(text)
            frame = await socket.receive()
            section.check(frame["type"] == "error", f"{name} was answered by {frame['type']}")
        await socket.websocket.send(b"\x00\x01")
        section.check((await socket.receive())["type"] == "error", "a binary frame was taken")
        section.check(await _answers(socket), "after them the socket is deaf")
    await _try_giant(target, section)
    return section


async def _try_giant(target: Target, section: Section) -> None:
    async with target.script() as socket:
        try:
            await socket.websocket.send(json.dumps({"message": "a" * FRAME_LIMIT}))
            frame = await socket.receive()
            section.check(False, f"a frame of more than 512 KiB was answered by {frame['type']}")
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else "no close frame"
            section.check(code == CLOSED_TOO_BIG, f"a frame of more than 512 KiB was closed with {code}, not 1009")


async def _answers(socket: Socket) -> bool:
    await socket.send(type="ping", t=7)
    return (await socket.receive()).get("t") == 7


async def try_floods(target: Target) -> Section:
    """Send without reading, and read without end: others are answered meanwhile."""
    section = Section("floods and slow readers")
    async with target.script() as flooding, target.script() as other:
        for number in range(FLOOD):
            await flooding.send(type="ping", t=number)
        section.check(await _answers(other), "while one socket floods, another gets no answer")
        seen = 0
        while (await flooding.receive()).get("t") != FLOOD - 1:
            seen += 1
        section.check(seen == FLOOD - 1, f"of {FLOOD} pings {seen + 1} were answered")
    async with target.script() as slow, target.script() as other:
        # Nobody reads what this one asks for.
        slow.websocket.transport.pause_reading()
        for _ in range(FLOOD):
            await slow.send(type="hello")
        section.check(await _answers(other), "while one socket does not read, another gets no answer")
        slow.websocket.transport.abort()
    async with open_socket(target.url, new_session(), target.script_headers) as socket:
        extensions = (
            socket.websocket.response.headers.get("Sec-WebSocket-Extensions") if socket.websocket.response else None
        )
        section.check(not extensions, f"compression was negotiated: {extensions}")
    return section


async def try_ids(target: Target) -> Section:
    """Send again what was sent, and ask for what is another's."""
    section = Section("replayed and foreign ids")
    session, key = new_session(), f"replay-{uuid.uuid4().hex[:12]}"
    async with target.script(session) as socket:
        replies = []
        for _ in range(3):
            await socket.send(message="Once", clientId=key, **NOBODY)
            frames = await socket.until("complete")
            replies.append(next(frame["replyId"] for frame in frames if frame["type"] == "started"))
    section.check(len(set(replies)) == 1, "a message that was sent again was stored again")
    if target.user is None:
        section.left_out.append("others' ids: it takes somebody else who can sign in")
        return section
    async with target.user.socket(new_session()) as theirs:
        for frame in (
            {"type": "attach", "replyId": replies[0]},
            {"type": "stop", "replyId": replies[0]},
            {"type": "cancel", "replyId": replies[0]},
            {"type": "regenerate", "messageId": replies[0]},
            {"type": "continue", "messageId": replies[0]},
            {"type": "edit", "messageId": replies[0], "message": "mine"},
            {"message": "mine", "parentId": replies[0]},
            {"message": "mine", "attachments": [replies[0]]},
        ):
            await theirs.send(**frame)
            answer = await theirs.receive()
            section.check(
                answer.get("code") in ("not_found", "no_such_file"), f"{shown(frame)} was answered by {shown(answer)}"
            )
        await theirs.send(type="hello", after={replies[0]: 0})
        frames = [await theirs.receive()]
        section.check(await _answers(theirs) and frames[0]["type"] == "hello", "a hello told of another's answer")
    return section


def origins_of(url: str) -> dict[str, str]:
    """Return origins that are not the site's, however close."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    other = "https" if parts.scheme == "http" else "http"
    return {
        "another site": "https://evil.example",
        "null": "null",
        "empty": "",
        "another scheme": f"{other}://{host}:{port}",
        "another port": f"{parts.scheme}://{host}:{port + 1}",
        "a longer name": f"{parts.scheme}://{host}.evil.example:{port}",
        "a user name": f"{parts.scheme}://{host}:{port}@evil.example",
        "a path": f"{parts.scheme}://{host}:{port}/path",
        "a file": "file://",
        "two of them": f"{parts.scheme}://{host}:{port} https://evil.example",
    }


async def try_handshakes(target: Target) -> Section:
    """Open sockets as other sites and broken proxies would: HTTP 403 or 400, and no cookie counts without an Origin."""
    section = Section("origins and handshakes")
    cookies = {"Cookie": target.user.cookie} if target.user else {}
    for name, origin in origins_of(target.url).items():
        status = await handshake(target.url, {"Origin": origin, **cookies})
        section.check(status in (400, 403), f"the origin of {name} ({origin!r}) got {status}")
    smuggled = await smuggle(target.url, f"X-A: a\x0bOrigin: {target.url}")
    section.check(smuggled == 400, f"a header hidden behind a vertical tab got {smuggled}")
    for session in ("", "a" * 65, "../etc", "a%00b", "a&session=b"):
        code = await _close_code(target, session)
        section.check(code == 4400, f"the session name {session!r} was closed with {code}")
    return section


async def handshake(url: str, headers: Mapping[str, str]) -> int:
    """Return the status of a handshake: 101 where it was accepted."""
    try:
        async with open_socket(url, new_session(), headers):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code
    except InvalidMessage:
        return 400


async def smuggle(url: str, line: str) -> int:
    """Return the status of a handshake with a raw header line in it; 400 also for a connection that is cut."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    lines = [
        f"GET /ws?session={new_session()} HTTP/1.1", f"Host: {parts.netloc}",
        "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", line, "", "",
    ]  # fmt: skip
    writer.write("\r\n".join(lines).encode("latin-1"))
    status = await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    return int(status.split()[1]) if status else 400


async def _close_code(target: Target, session: str) -> int | None:
    try:
        async with open_socket(target.url, session, target.script_headers) as socket:
            while True:
                await socket.receive()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None
    except InvalidStatus as refused:
        return refused.response.status_code
