"""One answer is one process of aichat: the only module that starts processes, and the one that ends them all.

`stream()` yields what the child says as typed events and ends with the evidence of how it ended. How the program
behaves was measured on 0.30.0; the surprises: stdout gets a newline that the model did not write, reasoning comes
between <think> tags, and the exit code proves little, so a debug log through a pipe tells the rest.
"""

from __future__ import annotations

import asyncio
import atexit
import base64
import contextlib
import logging
import os
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from django.conf import settings

from providers import config, sandbox
from providers.addresses import find_proxy
from providers.endings import Clock, Evidence
from providers.output import Output, Reasoning, Text
from providers.secrets import redact
from providers.transcript import Transcript, Usage

logger = logging.getLogger(__name__)

# SIGTERM ends aichat at once; a program that ignores it gets this long.
KILL_AFTER_SECONDS = 2.0
# A process that has ended while something else holds its pipes open.
PIPES_AFTER_EXIT_SECONDS = 1.0
STDERR_BYTES = 8 * 1024
# How often the log is read while no text comes, how often while it fills fast, and how much at once: what a pipe holds.
LOG_SECONDS = 0.25
LOG_BUSY_SECONDS = 0.005
LOG_BUSY_BYTES = 4 * 1024
LOG_BYTES = 64 * 1024
# Unread output above this stops the reading, and with it the child.
PENDING_CHARACTERS = 256 * 1024
# It only prints it.
VERSION_SECONDS = 5.0


@dataclass(frozen=True)
class Clocks:
    """Seconds until the first token, between two tokens, and for everything."""

    first_token: float
    idle: float
    total: float


@dataclass(frozen=True)
class Turn:
    """A message of the history; `role` is system, user or assistant, `images` are keys of `Request.files`."""

    role: str
    text: str
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class Image:
    """An image as it is sent."""

    media_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Request:
    """Everything one process needs. `temperature` and `max_tokens` None: the default, the provider's own limit.

    `images` go with the prompt; `files` are those of the history too, by the names that the turns give them. What is
    not among the files is left out.
    """

    target: config.Target
    prompt: str
    clocks: Clocks
    key: str = field(default="", repr=False)
    history: tuple[Turn, ...] = ()
    images: tuple[str, ...] = ()
    files: Mapping[str, Image] = field(default_factory=dict, repr=False)
    temperature: float | None = None
    max_tokens: int | None = None
    needs_finish_reason: bool = True


@dataclass(frozen=True)
class RequestSent:
    """The child is about to send its request: start-up is over. `ms` since the spawn."""

    ms: float


@dataclass(frozen=True)
class Times:
    """Milliseconds since the start of the process, and how many characters of text and reasoning came.

    None: it never came so far. `longest_gap_ms` is a length, and `longest_gap_at_ms` where it began.
    """

    spawn_ms: int | None = None
    request_ms: int | None = None
    first_token_ms: int | None = None
    longest_gap_ms: int | None = None
    longest_gap_at_ms: int | None = None
    total_ms: int | None = None
    characters: int = 0


@dataclass(frozen=True)
class Finished:
    """The end: what is known about it, and the usage that the provider reported."""

    evidence: Evidence
    usage: Usage | None = None
    times: Times = Times()


Event = RequestSent | Text | Reasoning | Finished
# Who ended it: the person, the server, the size limit, or the queue before it began.
Reason = Literal["stopped", "interrupted", "too_long", "no_place"]


class Stop:
    """A request to end a stream, made once, from anywhere on the loop's thread; the first reason counts."""

    def __init__(self) -> None:
        self.reason: Reason | None = None
        self._callback: Callable[[], None] | None = None

    def request(self, reason: Reason) -> None:
        """Ask for the end. The stream still yields what it has, and `Finished`."""
        if self.reason is None:
            self.reason = reason
            if self._callback:
                self._callback()

    def on_request(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the end is asked for, at once where it has been already."""
        self._callback = callback
        if self.reason:
            callback()


async def stream(request: Request, stop: Stop) -> AsyncGenerator[Event, None]:
    """Run one child and yield its events; `Finished` is the last. Use it under `aclosing`.

    Never raises for what the child or the provider does. Leaving early ends the child and waits for it.
    """
    child = Child(request, stop)
    try:
        if error := await child.spawn():
            yield Finished(Evidence(spawn_error=error))
            return
        while (event := await child.next()) is not None:
            yield event
        yield child.finished()
    finally:
        child.end()
        await asyncio.shield(child.gone.wait())


def command_line(program: str, target: config.Target, session: Path) -> list[str]:
    """Return the child's arguments: constant text and names from our own tables, nothing that a person typed."""
    argv = ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--no-new-privs", "--"]
    argv += sandbox.wrap(program, config.home(), [config.write_config(target), session])
    return [*argv, "-m", f"{config.CLIENT}:{target.model}", "-s", session.stem]


def environment(request: Request, session: Path, log_fd: int) -> dict[str, str]:
    """Return the child's whole environment: an allow-list, and its own key."""
    target = request.target
    home = str(config.home())
    variables = {
        "PATH": "/usr/bin:/bin",
        "HOME": home,
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "TOKIO_WORKER_THREADS": "1",
        "AICHAT_CONFIG_DIR": str(config.write_config(target)),
        "AICHAT_SESSIONS_DIR": str(session.parent),
        "AICHAT_LOG_LEVEL": "debug",
        "AICHAT_LOG_PATH": f"/dev/fd/{log_fd}",
        "AICHAT_LOG_FILTER": "aichat::client",
    }
    if os.path.exists(settings.CA_BUNDLE):
        variables["SSL_CERT_FILE"] = settings.CA_BUNDLE
    if proxy := find_proxy(target.api_base):
        variables |= {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy}
    if request.key:
        variables[config.key_variable(target)] = request.key
    if patch := config.body_patch(target, request.max_tokens):
        variables[config.PATCH_VARIABLE] = patch
    return variables


def messages_before(request: Request) -> list[dict[str, Any]]:
    """Return what stands in the session file: the history, and the images of the prompt.

    Those are a message of their own, right before the prompt, since stdin holds text alone and aichat's only other way
    would be a path among its arguments. Providers take two messages of one role in a row for one.
    """
    messages = [_message(turn, request.files) for turn in request.history]
    if any(name in request.files for name in request.images):
        messages.append(_message(Turn("user", "", request.images), request.files))
    return messages


def _message(turn: Turn, files: Mapping[str, Image]) -> dict[str, Any]:
    urls = [_data_url(files[name]) for name in turn.images if name in files]
    if not urls:
        return {"role": turn.role, "content": turn.text}
    # Before the text, as Anthropic advises: https://docs.claude.com/en/docs/build-with-claude/vision
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"role": turn.role, "content": [*parts, {"type": "text", "text": turn.text}] if turn.text else parts}


def _data_url(image: Image) -> str:
    return f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"


def _write_session(request: Request) -> Path:
    return config.write_session(messages_before(request), request.target, request.temperature)


@contextlib.contextmanager
def file_in_memory(content: bytes) -> Iterator[IO[bytes]]:
    """Return an open file that holds `content`, has no name and is on no disk.

    As stdin it is better than a pipe: the child has everything from its first moment on, whatever the loop is busy
    with, and whatever its size.
    """
    with os.fdopen(os.memfd_create("prompt"), "r+b") as file:
        file.write(content)
        file.seek(0)
        yield file


def _clean(text: str) -> str:
    """Return what a provider said without keys, and without what no database takes: NUL and half surrogate pairs."""
    return redact(text).replace("\0", "\ufffd").encode(errors="replace").decode()


LIVE: set[Child] = set()


def living_pids() -> dict[Stop, int]:
    """Return the process id of every living child, by what stops it. On the loop's thread."""
    return {child.stop: child.pid for child in LIVE}


async def ask_version() -> str:
    """Return what version the program says it is, "" where there is none or it does not say."""
    if not (program := shutil.which(settings.AICHAT or "")):
        return ""
    with contextlib.suppress(OSError, TimeoutError):
        asked = await asyncio.create_subprocess_exec(
            program, "--version", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}
        )
        try:
            said, _ = await asyncio.wait_for(asked.communicate(), VERSION_SECONDS)
            return said.decode(errors="replace").removeprefix("aichat").strip()
        finally:
            if asked.returncode is None:
                asked.kill()
    return ""


@atexit.register
def kill_all() -> None:
    """Kill every living child: for a server that leaves without unwinding its tasks."""
    for child in list(LIVE):
        child.kill(signal.SIGKILL)


class Child(asyncio.SubprocessProtocol):
    """A running aichat, its three pipes, its clocks and its end."""

    def __init__(self, request: Request, stop: Stop) -> None:
        self.request = request
        self.stop = stop
        self.transcript = Transcript()
        self.gone = asyncio.Event()
        self.clock: Clock | None = None
        self.exit_code: int | None = None
        self._loop = asyncio.get_running_loop()
        self._events: deque[Event] = deque()
        self._pending = 0
        self._waiter: asyncio.Future[None] | None = None
        self._stdout = Output(self.transcript)
        self._stderr = bytearray()
        self._open: set[int | str] = set()
        self._log_fd = -1
        self._session: Path | None = None
        self._transport: asyncio.SubprocessTransport | None = None
        self._log_timer: asyncio.TimerHandle | None = None
        self._ending = False
        self._next_check: asyncio.TimerHandle | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._progress_at = self._started = 0.0
        self._has_progress = self._has_text = self._paused = False
        self._spawned_at: float | None = None
        self._first_at: float | None = None
        self._last_at = self._longest_gap = 0.0
        self._longest_gap_at: float | None = None
        self._characters = 0
        self._broken = False

    @property
    def pid(self) -> int:
        """The id of the process, once it has been started."""
        assert self._transport is not None
        return self._transport.get_pid()

    # --- Start --------------------------------------------------------------------------------------------------------

    async def spawn(self) -> str:
        """Start the process; return "", or why that was impossible.

        Shielded: a caller that is cancelled in between leaves `end()` to kill the child as soon as there is one.
        """
        return await asyncio.shield(asyncio.ensure_future(self._spawn()))

    async def _spawn(self) -> str:
        program = shutil.which(settings.AICHAT) if settings.AICHAT else None
        try:
            if program is None:
                return "aichat is not installed"
            await self._exec(program)
        except (OSError, ValueError) as error:
            # ValueError: a name or a key that no process can be given, such as one with a NUL in it.
            return f"aichat did not start: {getattr(error, 'strerror', error)}"
        finally:
            if self._transport is None:
                self._forget()
        return ""

    async def _exec(self, program: str) -> None:
        self._log_fd, log_fd = os.pipe()
        try:
            os.set_blocking(self._log_fd, False)
            with file_in_memory(self.request.prompt.encode(errors="replace")) as stdin:
                await self._exec_with(program, stdin, log_fd)
        finally:
            os.close(log_fd)

    async def _exec_with(self, program: str, stdin: IO[bytes], log_fd: int) -> None:
        target = self.request.target
        if self.request.files:
            # Megabytes: elsewhere, so that the others' tokens go on.
            self._session = await self._loop.run_in_executor(None, _write_session, self.request)
        else:
            self._session = _write_session(self.request)
        self._started = self._progress_at = self._loop.time()
        self._open = {1, 2, "log"}
        await self._loop.subprocess_exec(
            lambda: self,
            *command_line(program, target, self._session),
            stdin=stdin,
            env=environment(self.request, self._session, log_fd),
            cwd=config.home(),
            pass_fds=(log_fd,),
            start_new_session=True,
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport = transport
        self._spawned_at = self._loop.time()
        LIVE.add(self)
        # First of all what can end it: nothing below may leave a child that nobody can stop.
        self._check_clocks()
        if self._ending:
            self._terminate()
        else:
            self.stop.on_request(self.end)
        sandbox.set_limits(transport.get_pid())
        self._loop.add_reader(self._log_fd, self._read_log)

    # --- What it says -------------------------------------------------------------------------------------------------

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        try:
            self._receive(fd, data)
        except Exception:
            self._break()

    def _break(self) -> None:
        """End a child that was not understood. asyncio would only log it, and what was lost would not be missed."""
        if not self._broken:
            logger.exception("what a child said could not be read")
        self._broken = True
        self.end()

    def _receive(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._stderr += data
            del self._stderr[:-STDERR_BYTES]
            return
        # A chunk's line in the log is written before its text: read first, it says what the text is.
        self._drain_log()
        self._add(self._stdout.feed(data))

    def _read_log(self) -> None:
        try:
            self._follow_log()
        except Exception:
            self._break()
            # Read again, it would only fail again.
            if "log" in self._open:
                self._close_log()
                self._closed("log")

    def _follow_log(self) -> None:
        """Read the log as it comes until the request is out, then with the text, and now and then.

        aichat writes a line in several pieces: waking up for each would double the cost of a token.
        """
        count = self._drain_log()
        if count == 0:
            self._close_log()
            self._closed("log")
        elif self.transcript.request_at is not None and self.exit_code is None:
            self._loop.remove_reader(self._log_fd)
            # A long prompt, or a provider that says much and no text, must not fill the pipe: that blocks the child.
            busy = self.transcript.skipping or (count or 0) > LOG_BUSY_BYTES
            self._log_timer = self._loop.call_later(LOG_BUSY_SECONDS if busy else LOG_SECONDS, self._read_log)

    def _drain_log(self) -> int | None:
        """Read what the log holds now and return how many bytes: 0 at its end, None where there are none yet.

        One read takes all that a pipe holds. A loop over it would serve a child that never pauses, and nobody else.
        """
        if "log" not in self._open:
            return None
        try:
            data = os.read(self._log_fd, LOG_BYTES)
        except BlockingIOError:
            return None
        sent = self.transcript.request_at is not None
        self.transcript.feed(data, self._loop.time())
        if not sent and self.transcript.request_at is not None:
            self._add([RequestSent((self.transcript.request_at - self._started) * 1000)])
        return len(data)

    def _add(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, (Text, Reasoning)):
                self._progress()
                self._has_text |= isinstance(event, Text)
                self._pending += len(event.text)
                self._characters += len(event.text)
            self._events.append(event)
        if events:
            self._flow()
            self._wake()

    def _flow(self) -> None:
        """Stop reading from a child that is far ahead of its reader, and go on when the reader has caught up."""
        # What an ended child has left is little, and must be read before its pipe is abandoned.
        paused = self._pending > PENDING_CHARACTERS and self.exit_code is None
        stdout: Any = self._transport and self._transport.get_pipe_transport(1)
        if paused == self._paused or not stdout or stdout.is_closing():
            return
        self._paused = paused
        if paused:
            stdout.pause_reading()
        else:
            stdout.resume_reading()
            # The silence was ours.
            self._progress_at = self._loop.time()
        self._check_clocks()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self) -> Event | None:
        """Return the next event, or None when the child and its pipes are at their end."""
        while not self._events:
            if self.gone.is_set():
                return None
            self._waiter = self._loop.create_future()
            await self._waiter
        event = self._events.popleft()
        if isinstance(event, (Text, Reasoning)):
            self._pending -= len(event.text)
            self._flow()
        return event

    def finished(self) -> Finished:
        """Return the evidence, once `gone`."""
        said = self.transcript
        return Finished(
            Evidence(
                exit_code=self.exit_code,
                finish=said.finish,
                in_band_error=said.in_band_error,
                http_status=said.http_status,
                error_type=_clean(said.error_type),
                error_text=_clean(said.error_text),
                stderr=_clean(self._stderr.decode(errors="replace")),
                request_sent=said.request_at is not None,
                has_text=self._has_text,
                clock=self.clock,
                stopped=self.stop.reason == "stopped",
                interrupted=self.stop.reason == "interrupted",
                too_long=self.stop.reason == "too_long",
                broken=self._broken,
                needs_finish_reason=self.request.needs_finish_reason,
                kind=self.request.target.kind,
                retry_seconds=said.retry_seconds,
            ),
            said.usage,
            self._times(),
        )

    def _times(self) -> Times:
        def since_start(at: float | None) -> int | None:
            return None if at is None else round((at - self._started) * 1000)

        return Times(
            spawn_ms=since_start(self._spawned_at),
            request_ms=since_start(self.transcript.request_at),
            first_token_ms=since_start(self._first_at),
            longest_gap_ms=None if self._first_at is None else round(self._longest_gap * 1000),
            longest_gap_at_ms=since_start(self._longest_gap_at),
            total_ms=since_start(self._loop.time()),
            characters=self._characters,
        )

    # --- Clocks -------------------------------------------------------------------------------------------------------

    def _progress(self) -> None:
        self._progress_at = now = self._loop.time()
        if self._first_at is None:
            self._first_at = now
        elif now - self._last_at > self._longest_gap:
            self._longest_gap, self._longest_gap_at = now - self._last_at, self._last_at
        self._last_at = now
        if not self._has_progress:
            # From now on it is the idle clock that counts.
            self._has_progress = True
            self._check_clocks()

    def _check_clocks(self) -> None:
        """End the child whose time is up, else look again when that could next be so."""
        if self._next_check:
            self._next_check.cancel()
        if self._ending or self.exit_code is not None:
            return
        due = self._due()
        clock = min(due, key=due.__getitem__)
        if due[clock] > self._loop.time():
            self._next_check = self._loop.call_at(due[clock], self._check_clocks)
        else:
            self.clock = clock
            self.end()

    def _due(self) -> dict[Clock, float]:
        """Return when each of the clocks that count now will have run out."""
        clocks = self.request.clocks
        due = {Clock.TOTAL: self._started + clocks.total}
        if not self._has_progress:
            due[Clock.FIRST_TOKEN] = self._started + clocks.first_token
        elif not self._paused:
            due[Clock.IDLE] = self._progress_at + clocks.idle
        return due

    # --- End ----------------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Ask the child to leave, and make it leave two seconds later."""
        if self._ending or self.gone.is_set():
            return
        self._ending = True
        if self._transport:
            self._terminate()

    def _terminate(self) -> None:
        self.kill(signal.SIGTERM)
        self._after(KILL_AFTER_SECONDS, lambda: self.kill(signal.SIGKILL))

    def _after(self, seconds: float, callback: Callable[[], None]) -> None:
        self._timers.append(self._loop.call_later(seconds, callback))

    def kill(self, number: int) -> None:
        """Send a signal to the child's process group."""
        if self._transport:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._transport.get_pid(), number)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._closed(fd)

    def process_exited(self) -> None:
        assert self._transport is not None
        self.exit_code = sandbox.exit_code(self._transport.get_returncode())
        self._flow()
        self._after(PIPES_AFTER_EXIT_SECONDS, self._abandon_pipes)
        if "log" in self._open:
            # What is left, up to the end.
            self._loop.add_reader(self._log_fd, self._read_log)
        self._finish_if_done()

    def _abandon_pipes(self) -> None:
        """Kill a descendant that holds the pipes; nothing that it says could be part of the answer."""
        self.kill(signal.SIGKILL)
        if "log" in self._open:
            self._close_log()
        self._open.clear()
        self._finish_if_done()

    def _close_log(self) -> None:
        if self._log_timer:
            self._log_timer.cancel()
        self._loop.remove_reader(self._log_fd)
        os.close(self._log_fd)

    def _closed(self, pipe: int | str) -> None:
        self._open.discard(pipe)
        self._finish_if_done()

    def _finish_if_done(self) -> None:
        if self._open or self.exit_code is None or self.gone.is_set():
            return
        self._add(self._stdout.finish(self.exit_code))
        self._forget()
        self._wake()

    def _forget(self) -> None:
        """Let go of everything; no callback of this child runs after it."""
        for timer in self._timers:
            timer.cancel()
        if self._next_check:
            self._next_check.cancel()
        if self._session:
            self._session.unlink(missing_ok=True)
        if self._transport:
            self._transport.close()
        elif self._log_fd >= 0:
            os.close(self._log_fd)
        LIVE.discard(self)
        self.gone.set()
