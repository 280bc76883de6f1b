"""Our Daphne: `python -m sasha.server`. It adds what a streaming site needs and Daphne has not.

- a lifespan: `sasha.lifespan` starts before the first request and drains at SIGTERM and Ctrl-C;
- backpressure both ways: a socket that does not read is waited for and then cut, one that floods is not read;
- limits for what comes in: sasha/requests.py;
- WebSocket close frames on shutdown (1012) and for messages over the limit (1009), a listen backlog for bursts.

It leans on Daphne's internals (hence the pin `<4.3`); sasha/tests/test_server.py holds every one of them.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import sys
from typing import Any, cast

import daphne.server  # installs Twisted's reactor, which must come before every other import of Twisted
from django.core.exceptions import ImproperlyConfigured

try:
    from sasha.asgi import application  # sets Django up, which must come before every import of a model
except ImproperlyConfigured as problem:
    sys.exit(str(problem))

# isort: split
from django.conf import settings
from twisted.internet import defer, error, reactor
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    STDLibLogObserver,
    globalLogPublisher,
)
from twisted.python.failure import Failure

from chat import protocol
from sasha import lifespan, logs, requests, websocket
from sasha.checks import check_safety
from sasha.websocket import Protocol

# Also where this module is the program.
logger = logging.getLogger("sasha.server")

# Twisted's own is 50: a burst of connections would wait for the kernel's retries.
BACKLOG = 2048
# Seconds that whoever reads may leave 64 KiB unread before they are cut.
STALL_SECONDS = 20.0
# What the kernel takes of one connection before it can be sent. By itself it takes 4 MB, and asks for more only after a
# third of that has been read.
UNSENT_BYTES = 64 * 1024
# Seconds between the close frame and the end of the process.
CLOSE_SECONDS = 1.0
PING_SECONDS = 15


def watch_children() -> None:
    """Wait for children without a thread for each, as asyncio does by itself from Python 3.12 on.

    Starting a thread waits for it to run, which takes long where the database's thread is busy.
    """
    if sys.version_info >= (3, 12):
        return
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        # A kernel or a sandbox without it: threads will do.
        return
    watcher = asyncio.PidfdChildWatcher()
    watcher.attach_loop(asyncio.get_running_loop())
    asyncio.set_child_watcher(watcher)


class Server(daphne.server.Server):
    """Daphne with a beginning and an end."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.exit_code = 0
        self.ports: list[Any] = []
        self.closing = False

    def run(self) -> int:
        """Serve until a signal; return the exit code."""
        daphne.server.WebSocketFactory = websocket.Factory
        daphne.server.HTTPFactory = requests.Factory
        reactor.callWhenRunning(self._start)
        super().run()
        return self.exit_code

    def _start(self) -> None:
        starting = asyncio.ensure_future(lifespan.start())
        starting.add_done_callback(self._started)

    def _started(self, starting: asyncio.Future[None]) -> None:
        if failure := starting.exception():
            self._fail(f"The site could not start: {failure}")
        watch_children()
        # What has been loaded by now stays: looked through for garbage, it would hold up everybody for 80 ms.
        gc.collect()
        gc.freeze()

    def _fail(self, sentence: str) -> None:
        logger.critical(sentence)
        self.exit_code = 1
        self.stop()

    def listen_success(self, port: Any) -> None:
        super().listen_success(port)
        self.ports.append(port)
        # Connections have it from the socket that they came in by.
        port.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        address = port.getHost()
        host = f"[{address.host}]" if ":" in address.host else address.host
        print(f"Sasha Studio is at http://{host}:{address.port}", flush=True)

    def listen_error(self, failure: Failure) -> None:
        if isinstance(failure.value, error.CannotListenError):
            self._fail(f"Port {settings.PORT} of {settings.HOST} is taken or not ours. Choose another: PORT=8001")
        else:
            self._fail(f"The server cannot listen: {failure.getErrorMessage()}")

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """Send what the application says, and hold it up while what was sent before waits in memory.

        A body comes in pieces, a large one that was made whole too: Django sends 64 KiB at a time.
        """
        if message["type"] in ("websocket.send", "http.response.body") and not protocol.writable.is_set():
            try:
                # Not wait_for, which forgets that it was cancelled where the reader goes at that moment.
                async with asyncio.timeout(STALL_SECONDS):
                    await protocol.writable.wait()
            except TimeoutError:
                protocol.cut()
        await super().handle_reply(protocol, message)

    def kill_all_applications(self) -> defer.Deferred[None]:
        """Drain before the reactor stops; Daphne alone would cut every connection and abandon the children."""
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._drain()))

    async def _drain(self) -> None:
        lifespan.announce_end()
        # Time for a load balancer to see it, and to send nobody here any more.
        await asyncio.sleep(settings.DRAIN_SECONDS)
        for port in self.ports:
            port.stopListening()
        try:
            await lifespan.stop(settings.CHAT_SHUTDOWN_GRACE)
        except Exception:
            logger.exception("the replies could not be drained")
        self.closing = True
        for connection in list(self.connections):
            if isinstance(connection, Protocol):
                connection.close_for_restart()
        await self._end(self._running())
        # A view that is cancelled has a thread that waits for it: without a loop it would never let the process go.
        for application in self._running():
            application.cancel()
        await self._end(self._running())

    def _running(self) -> list[asyncio.Future[None]]:
        applications = [details.get("application_instance") for details in self.connections.values()]
        return [application for application in applications if application and not application.done()]

    async def _end(self, applications: list[asyncio.Future[None]]) -> None:
        if applications:
            await asyncio.wait(applications, timeout=CLOSE_SECONDS)

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Begin nothing at the very end: what is asked over a connection that is still open is not answered."""
        if self.closing:
            return None
        if scope["type"] == "websocket":
            scope["extensions"] = {"websocket.http.response": {}}
        return super().create_application(protocol, scope)


def watch_twisted() -> None:
    """Log what Twisted complains of; its report of every request, with the query, is left out before it is written."""
    loud: Any = LogLevelFilterPredicate(LogLevel.warn)
    observer: Any = FilteringLogObserver(cast(Any, STDLibLogObserver("twisted")), [loud])
    globalLogPublisher.addObserver(observer)


def main() -> int:
    """Serve the site at the address of the settings."""
    logs.capture_the_rest()
    watch_twisted()
    if problems := check_safety():
        for problem in problems:
            logger.critical("%s %s", problem.msg, problem.hint)
        return 1
    host = settings.HOST.replace(":", r"\:")
    return Server(
        application,
        endpoints=[f"tcp:port={settings.PORT}:interface={host}:backlog={BACKLOG}"],
        websocket_timeout=-1,
        websocket_connect_timeout=5,
        websocket_max_message_size=protocol.FRAME_LIMIT,
        websocket_max_frame_size=protocol.FRAME_LIMIT,
        ping_interval=PING_SECONDS,
        ping_timeout=PING_SECONDS,
        application_close_timeout=5,
        server_name="",
    ).run()


if __name__ == "__main__":
    sys.exit(main())
