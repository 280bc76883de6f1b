"""The configuration that an aichat child reads: one client, one model, nothing saved, no tools, no key."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from providers.kinds import KINDS, Kind, KindInfo

# The client's name in the file. aichat derives the variables of its key and its patch from it.
CLIENT = "p"
PATCH_VARIABLE = "AICHAT_PATCH_P_CHAT_COMPLETIONS"
DEFAULT_TEMPERATURE = 0.7
# Anthropic refuses a request without a limit; every model of theirs allows this one.
DEFAULT_MAX_OUTPUT = 4096
# Another server on the same data may have children that are just starting.
SESSION_SECONDS = 60


@dataclass(frozen=True)
class Target:
    """Where a request goes: aichat's client type, the address ("": the service's own), and the model's name there.

    `options` are those of the provider's row, by name; `extra_body` is a JSON object that is merged into every request.
    """

    kind: str
    api_base: str
    model: str
    max_output: int | None = None
    options: tuple[tuple[str, str], ...] = ()
    extra_body: str = ""


def key_variable(target: Target) -> str:
    """Return the environment variable from which the child takes its key."""
    return f"{CLIENT}_{_kind(target).key_field}".upper()


def write_config(target: Target) -> Path:
    """Return the directory that holds the configuration of `target`.

    It is named by the hash of its content and never changed, so that no running child sees a change.
    """
    name, content = _named_config(target)
    directory = root() / "config" / name
    if not directory.exists():
        _write_directory(directory, content)
    return directory


# Asked for with every message; a site has a few dozen models.
@functools.lru_cache(maxsize=256)
def _named_config(target: Target) -> tuple[str, str]:
    content = _yaml(_config(target))
    return hashlib.sha256(content.encode()).hexdigest()[:24], content


def write_session(messages: list[dict[str, Any]], target: Target, temperature: float | None) -> Path:
    """Write the history as a session file under a fresh name and return its path; the caller removes it."""
    content = {
        "model": f"{CLIENT}:{target.model}",
        # Hotter than the provider takes would be refused, by the next one as well.
        "temperature": DEFAULT_TEMPERATURE if temperature is None else min(temperature, _hottest(target)),
        "save_session": False,
    }
    # One by one: a message that is an image is ASCII, which is quick.
    whole = f'{_yaml(content)[:-1]}, "messages": [{", ".join(map(_yaml, messages))}]}}'
    handle, path = tempfile.mkstemp(suffix=".yaml", prefix="s", dir=_private(root() / "sessions"))
    # "replace": half a surrogate pair is text to Python, and to nobody else.
    with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
        file.write(whole)
    return Path(path)


def body_patch(target: Target, max_tokens: int | None) -> str:
    """Return the environment's patch of the request body, or "" where the configuration's own will do."""
    if max_tokens is None:
        return ""
    return json.dumps({".*": {"body": _merged(_body(target), _max_tokens(target, max_tokens))}})


def sweep_sessions() -> None:
    """Remove the session files that a killed server left behind; a child reads its own in its first second."""
    for path in _private(root() / "sessions").glob("s*.yaml"):
        # Another server with the same directory may remove any of them in between.
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > SESSION_SECONDS:
                path.unlink()


def root() -> Path:
    """Return the directory of everything that a child reads."""
    return Path(settings.DATA_DIR) / "aichat"


def home() -> Path:
    """Return the empty directory that the child calls its home."""
    return _private(root() / "home")


def _config(target: Target) -> dict[str, Any]:
    model: dict[str, Any] = {"name": target.model}
    if target.kind == Kind.CLAUDE:
        model |= {"max_output_tokens": target.max_output or DEFAULT_MAX_OUTPUT, "require_max_tokens": True}
    client: dict[str, Any] = {"type": target.kind, "name": CLIENT, "models": [model], **_options(target)}
    if target.api_base:
        # Not every client of aichat's takes a slash at the end.
        client["api_base"] = target.api_base.rstrip("/")
    if body := _body(target):
        client["patch"] = {"chat_completions": {".*": {"body": body}}}
    return {
        "model": f"{CLIENT}:{target.model}",
        "temperature": DEFAULT_TEMPERATURE,
        "stream": True,
        "save": False,
        "save_session": False,
        "compress_threshold": 0,
        "function_calling": False,
        "clients": [client],
    }


def _kind(target: Target) -> KindInfo:
    return KINDS[Kind(target.kind)]


def _hottest(target: Target) -> float:
    return KINDS[Kind(target.kind)].hottest


def _options(target: Target) -> dict[str, str]:
    # Those of the kind alone: any other name could be a field of aichat's, such as a proxy or a key.
    known = {option.name for option in _kind(target).options}
    return {name: value for name, value in target.options if name in known}


def _body(target: Target) -> dict[str, Any]:
    usage = {"stream_options": {"include_usage": True}} if _kind(target).asks_for_usage else {}
    # What an admin has set wins: some servers refuse to be asked for usage.
    return _merged(usage, json.loads(target.extra_body or "{}"))


def _max_tokens(target: Target, count: int) -> dict[str, Any]:
    *parents, name = _kind(target).limit
    body: dict[str, Any] = {name: count}
    for parent in reversed(parents):
        body = {parent: body}
    return body


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return both; where they disagree, `other` wins, within objects that both have as well."""
    merged = one | other
    for name in one.keys() & other.keys():
        if isinstance(one[name], dict) and isinstance(other[name], dict):
            merged[name] = _merged(one[name], other[name])
    return merged


def _write_directory(directory: Path, content: str) -> None:
    draft = Path(tempfile.mkdtemp(dir=_private(directory.parent)))
    (draft / "config.yaml").write_text(content, encoding="utf-8")
    try:
        draft.rename(directory)
    except OSError:
        (draft / "config.yaml").unlink()
        draft.rmdir()
        if not directory.exists():
            raise
        # Another process was faster with the same content.


def _yaml(content: object) -> str:
    """Return JSON that is YAML too: YAML refuses some characters outright and folds others, so those are escaped.

    Escaping everything would be wrong as well: YAML takes the halves of a surrogate pair for two characters.
    """
    text = json.dumps(content, ensure_ascii=False)
    if text.isascii() and "\x7f" not in text:
        return text
    return NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


# The characters that YAML 1.2 does not print, its extra line breaks, and the byte order mark.
NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


# Made once: a server does not outlive its data directory.
@functools.cache
def _private(directory: Path) -> Path:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory
