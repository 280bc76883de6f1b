"""What `check_connection` says of a real server, behind proxies that do and do not let it through."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from chat import reach
from chat.tests.browser.proxy import running_proxy
from sasha.testing import eventually, free_port, server_process

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

SAMPLE = re.search(r"```nginx\n(.*?)```", (settings.BASE_DIR / "docs/proxies.md").read_text(), re.DOTALL)[1]


async def findings(url: str) -> list[reach.Finding]:
    return [finding async for finding in reach.check(url)]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def server(transactional_db, port):
    with server_process(ALLOWED_ORIGINS=f"http://127.0.0.1:{port}") as server:
        yield server


@pytest.mark.parametrize(
    ("switches", "wrong"),
    [
        ({}, []),
        ({"refuses_sockets": True}, ["The WebSocket is refused"]),
        ({"removes": {"origin"}}, ["Something on the way removes the header Origin"]),
        ({"holds_streams": True}, ["Event streams are held back"]),
        ({"delay": 1.8}, ["The first frame of the WebSocket takes"]),
        ({"refuses_api": True}, ["HTTP does not work: the answer is status 400"]),
    ],
    ids=str,
)
async def test_each_thing_that_a_proxy_does_wrong_has_a_sentence(server, port, switches, wrong):
    async with running_proxy(port, server.port) as proxy:
        for name, value in switches.items():
            setattr(proxy, name, value)
        found = await findings(proxy.url)
    said = [finding.sentence for finding in found if not finding.ok]
    assert len(said) == len(wrong), found
    assert all(sentence.startswith(start) for sentence, start in zip(said, wrong, strict=True)), said


async def test_an_origin_that_is_not_allowed_and_a_server_that_is_not_there(server, port):
    async with running_proxy(free_port(), server.port) as proxy:
        said = [finding.sentence for finding in await findings(proxy.url) if not finding.ok]
    assert said[0] == f"The server does not accept pages from {proxy.url}: add it to ALLOWED_ORIGINS."
    (down,) = await findings(f"http://127.0.0.1:{port}")
    assert "Connection refused" in down.sentence


async def test_the_command_prints_and_judges(server):
    out = StringIO()
    await asyncio.to_thread(call_command, "check_connection", server.url, stdout=out)
    assert [line[:2] for line in out.getvalue().splitlines()] == ["ok"] * 4
    out = StringIO()
    with pytest.raises(SystemExit):
        await asyncio.to_thread(
            call_command, "check_connection", server.url, "--json", "--origin=http://evil.example", stdout=out
        )
    assert json.loads(out.getvalue())["ok"] is False
    with pytest.raises(CommandError):
        await asyncio.to_thread(call_command, "check_connection", "example.org")


@pytest.mark.slow
@pytest.mark.sqlite
@pytest.mark.skipif(not NGINX, reason="needs nginx")
async def test_the_sample_for_nginx_lets_everything_through(server, port, tmp_path):
    sample = SAMPLE.replace("127.0.0.1:8080", f"127.0.0.1:{port}").replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
    with nginx(sample, tmp_path):
        await eventually(lambda: (tmp_path / "pid").exists())
        assert [finding.sentence for finding in await findings(f"http://127.0.0.1:{port}") if not finding.ok] == []
    without = re.sub(r".*(Upgrade|Connection) \$.*\n", "", sample)
    with nginx(without, tmp_path):
        await eventually(lambda: (tmp_path / "pid").exists())
        said = [finding.sentence for finding in await findings(f"http://127.0.0.1:{port}") if not finding.ok]
    assert len(said) == 1
    assert said[0].startswith("The WebSocket is refused")


class nginx:
    """nginx with that part of a configuration, in the foreground, all of its files in one folder."""

    def __init__(self, sample: str, folder) -> None:
        places = "".join(
            f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        self.folder = folder
        (folder / "nginx.conf").write_text(
            f"daemon off; pid {folder}/pid; error_log stderr; events {{}}\nhttp {{ access_log off;\n{places}{sample} }}"
        )

    def __enter__(self) -> None:
        self.process = subprocess.Popen([NGINX, "-c", str(self.folder / "nginx.conf")])

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(20)
