"""What leaves the machine: straight, and through a proxy that lets only known hosts through."""

import asyncio
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from providers.addresses import find_proxy
from providers.endings import Ending
from providers.tests.attempts import attempt, request

HOST = "provider.example"
REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Listener:
    """A server on loopback that notes what it is asked."""

    def __init__(self, answer):
        self.asked = []
        self._answer = answer

    @asynccontextmanager
    async def running(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.split(b" ", 2)[1].decode())
        await self._answer(self, head, reader, writer)
        writer.close()


def allow(host, port):
    """How a proxy answers that knows one host, which is at a port of loopback."""

    async def answer(proxy, head, reader, writer):
        if urlsplit(proxy.asked[-1]).hostname != host:
            writer.write(REFUSED)
            return
        upstream, onwards = await asyncio.open_connection("127.0.0.1", port)
        onwards.write(head.replace(f"http://{host}".encode(), b"", 1))
        await asyncio.gather(copy(reader, onwards), copy(upstream, writer))

    return answer


async def copy(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


def redirect_to(url):
    async def answer(_, head, reader, writer):
        writer.write(f"HTTP/1.1 307 Moved\r\nLocation: {url}/\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()

    return answer


async def refuse(_, head, reader, writer):
    writer.write(REFUSED)
    await writer.drain()


async def test_requests_go_through_the_proxy(settings, simulator):
    async with Listener(allow(HOST, simulator.port)).running() as proxy:
        settings.EGRESS_PROXY = proxy.url
        made = await attempt(request(f"http://{HOST}/v1", "sim-n3"))
    assert (made.text, made.ending) == ("word0 word1 word2 ", Ending.COMPLETE)
    assert proxy.asked == [f"http://{HOST}/v1/chat/completions"]


async def test_a_redirect_to_elsewhere_ends_at_the_proxy(settings, simulator):
    async with (
        Listener(refuse).running() as inside,
        Listener(redirect_to(inside.url)).running() as provider,
        Listener(allow(HOST, provider.port)).running() as proxy,
    ):
        settings.EGRESS_PROXY = proxy.url
        made = await attempt(request(f"http://{HOST}/v1", "m"))
    assert made.ending is not Ending.COMPLETE
    assert [urlsplit(url).hostname for url in proxy.asked] == [HOST, "127.0.0.1"]
    assert inside.asked == []


async def test_without_a_proxy_the_program_follows_a_redirect_anywhere(settings, simulator):
    # What docs/isolation.md warns of; if it fails some day, the program has learned better, and the words can go.
    async with Listener(refuse).running() as inside, Listener(redirect_to(inside.url)).running() as provider:
        await attempt(request(f"{provider.url}/v1", "m"))
    assert inside.asked == ["/"]


@pytest.mark.parametrize(
    ("url", "through"),
    [
        ("", True),
        ("https://api.example.com/v1", True),
        ("https://93.184.216.34/v1", True),
        ("http://localhost:11434/v1", False),
        ("http://127.0.0.1:1/v1", False),
        ("http://[::1]:1/v1", False),
        ("http://192.168.0.10:1/v1", False),
    ],
)
def test_only_what_is_private_is_asked_directly(settings, url, through):
    settings.EGRESS_PROXY = "http://proxy.example:3128"
    assert find_proxy(url) == ("http://proxy.example:3128" if through else "")


def test_without_the_setting_there_is_no_proxy(settings, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://somebody.example:1")
    assert find_proxy("https://api.example.com/v1") == ""
