"""The one place where provider keys are read, encrypted and decrypted, and where they are taken out of text again."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
from collections.abc import Iterator, MutableMapping
from typing import Any
from urllib.parse import quote

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.views.decorators.debug import sensitive_variables


class KeyUnreadable(Exception):
    """A stored key cannot be decrypted; the text is a sentence for an admin."""


class NoEncryptionKey(Exception):
    """No key can be stored; the text is a sentence for an admin."""


# --- Keys -------------------------------------------------------------------------------------------------------------

VERSION = "v1"
# What a stored key is bound to: moved to another row, it is worth nothing.
PLACE = ("providers.Provider", "encrypted_key")
# The last characters are shown only of keys so long that they say little.
SHOWN, LONG_ENOUGH = 4, 12


@sensitive_variables()
def find_key(variable: str, encrypted: str = "", provider_id: int | None = None) -> str:
    """Return the provider's key: the stored one first, else that of the environment variable, else "".

    Raises KeyUnreadable: a stored key that is broken is never passed over in silence.
    """
    if encrypted:
        return _decrypt(encrypted, provider_id, tuple(settings.ENCRYPTION_KEYS))
    return settings.PROVIDER_KEYS.get(variable, "")


def has_key(variable: str, encrypted: str = "") -> bool:
    """Return whether there is a key, readable or not, without decrypting anything."""
    return bool(encrypted or settings.PROVIDER_KEYS.get(variable))


@sensitive_variables()
def encrypt_key(key: str, provider_id: int) -> str:
    """Return what to store as `encrypted_key` of this provider: `v1:<id of the encryption key>:<Fernet token>`.

    Raises NoEncryptionKey.
    """
    check_storable()
    _SEEN.add(key)
    payload = json.dumps([*PLACE, provider_id, key]).encode()
    return f"{VERSION}:{newest_key_id()}:{_fernet(tuple(settings.ENCRYPTION_KEYS)).encrypt(payload).decode()}"


def check_storable() -> None:
    """Raise NoEncryptionKey where this site cannot store any key."""
    if not settings.ENCRYPTION_KEYS:
        raise NoEncryptionKey(
            "No key can be stored here, since this site has no encryption key: set ENCRYPTION_KEYS, or name an "
            "environment variable that holds the provider's key."
        )


def newest_key_id() -> str:
    """Return the id of the encryption key that writes, "" where there is none."""
    return _key_id(settings.ENCRYPTION_KEYS[0]) if settings.ENCRYPTION_KEYS else ""


def key_id_of(encrypted: str) -> str:
    """Return the id of the encryption key that wrote this, "" where the text is no stored key."""
    version, _, rest = encrypted.partition(":")
    key_id, _, token = rest.partition(":")
    return key_id if version == VERSION and token else ""


@sensitive_variables()
def describe_key(variable: str, encrypted: str = "", provider_id: int | None = None) -> str:
    """Return where the provider's key is, in words that give nothing of it away."""
    try:
        key = find_key(variable, encrypted, provider_id)
    except KeyUnreadable as problem:
        return f"cannot be read: {problem}"
    if encrypted:
        return f"set{_ends_with(key)}"
    if not variable:
        return "none"
    return f"from {variable}{_ends_with(key)}" if key else f"{variable} is not set"


def _ends_with(key: str) -> str:
    return f", ends with …{key[-SHOWN:]}" if len(key) >= LONG_ENOUGH else ""


# Routing asks for every candidate of every message. What cannot be read is not remembered.
@functools.lru_cache(maxsize=256)
@sensitive_variables()
def _decrypt(encrypted: str, provider_id: int | None, keys: tuple[str, ...]) -> str:
    key_id = key_id_of(encrypted)
    if not key_id:
        raise KeyUnreadable("What is stored is no encrypted key. Type the key again.")
    if key_id not in map(_key_id, keys):
        raise KeyUnreadable(f"It was encrypted with key {key_id}, which is not in ENCRYPTION_KEYS.")
    try:
        payload = json.loads(_fernet(keys).decrypt(encrypted.split(":", 2)[2].encode()))
    except InvalidToken:
        raise KeyUnreadable("What is stored has been changed. Type the key again.") from None
    if payload[:3] != [*PLACE, provider_id]:
        raise KeyUnreadable("It was stored for another provider. Type the key again.")
    key: str = payload[3]
    _SEEN.add(key)
    return key


@functools.lru_cache(maxsize=4)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


@functools.lru_cache(maxsize=16)
def _key_id(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:8]


# --- Redaction --------------------------------------------------------------------------------------------------------

MASK = "[key]"
# Shorter ones are no secrets but placeholders (`ollama`, `EMPTY`), whose loss would make errors unreadable.
SECRET_CHARACTERS = 7
# How much of a known key, cut off by the end of a text, is still taken out.
CUT_CHARACTERS = 8
# Every key that this process has encrypted or decrypted; what it never held, it cannot give away.
_SEEN: set[str] = set()

# A key begins a word; in text inside JSON or an address the word may begin with an escape.
BEGIN = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2}))"
# The shapes of the usual keys. Every repeat is of one class of characters that ends where the next match can begin,
# so the work grows with the text and no faster.
SHAPES = (
    r"sk-[\w-]{8,}",  # OpenAI, Anthropic, OpenRouter, DeepSeek
    r"AIza[\w-]{20,}",  # Google
    r"AQ\.[\w-]{20,}",
    r"ya29\.[\w.-]{16,}",
    r"gsk_\w{8,}",  # Groq
    r"xai-[\w-]{8,}",
    r"(?:hf|r8)_[A-Za-z0-9]{16,}",  # Hugging Face, Replicate
    r"(?:gh[pousr]_|github_pat_)\w{16,}",
    r"(?:AKIA|ASIA)[A-Z0-9]{16,}",  # Amazon
    r"(?:pplx|nvapi|csk)-[\w-]{16,}",  # Perplexity, NVIDIA, Cerebras
)
KEY_SHAPE = re.compile(rf"{BEGIN}(?:{'|'.join(SHAPES)})")
# Where a secret stands, whatever its shape: the first group stays.
PLACES = (
    re.compile(r"(\bbearer(?:\s|%20|\+){1,4})(?!authenti|authori|credential)[\w.~+/=%-]{8,}", re.IGNORECASE),
    re.compile(r"(\bauthorization[\"']?\s{0,2}[:=]\s{0,2}[\"']?basic\s{1,4})[\w+/=]{4,}", re.IGNORECASE),
    # A parameter of an address. Google takes its key there, and Rust's errors quote the whole address.
    re.compile(
        r"((?:[?&;\"]|\\u0026|%3F|%26)(?:(?:x-goog-)?api[_-]?key|key|access_token|token|client_secret)(?:=|%3D))"
        r"[^&\s)\"'<>\\]+",
        re.IGNORECASE,
    ),
    # A header, or a variable of the environment.
    re.compile(r"(api[_-]key[\"']?(?:=|:\s{0,2}|\s=\s)[\"']?)[^\s\"',;&)}]{4,}", re.IGNORECASE),
    # User and password before a host.
    re.compile(r"(://)[^\s/?#\"'<>]+(?=@)"),
)


def redact(text: str) -> str:
    """Return `text` without any key that this site knows, or that looks like one: stands before every sink."""
    needles = _known_forms(_known_secrets())
    for needle in needles:
        text = text.replace(needle, MASK)
    text = KEY_SHAPE.sub(MASK, text)
    for place in PLACES:
        text = place.sub(rf"\1{MASK}", text)
    return _without_cut_keys(text, needles)


def _known_secrets() -> tuple[str, ...]:
    site = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS, settings.EMAIL_HOST_PASSWORD, settings.METRICS_TOKEN)
    return (*site, *settings.ENCRYPTION_KEYS, *settings.PROVIDER_KEYS.values(), *_SEEN.copy())


@functools.lru_cache(maxsize=4)
def _known_forms(secrets: tuple[str, ...]) -> tuple[str, ...]:
    """Return every spelling of these secrets, the longest first: one key may be the beginning of another."""
    forms = {form for secret in secrets if len(secret) >= SECRET_CHARACTERS for form in _spellings(secret)}
    return tuple(sorted(forms, key=len, reverse=True))


def _spellings(secret: str) -> Iterator[str]:
    """Yield the secret as it is, in an address and in JSON."""
    quoted = quote(secret, safe="")
    yield from (secret, quoted, re.sub(r"%..", lambda found: found[0].lower(), quoted), quote(secret))
    yield from (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])


def _without_cut_keys(text: str, needles: tuple[str, ...]) -> str:
    # A text cut to size, such as the end of stderr, may begin or end in the middle of a key.
    head, tail = text[:CUT_CHARACTERS], text[-CUT_CHARACTERS:]
    if len(head) < CUT_CHARACTERS:
        return text
    for needle in needles:
        if head in needle and text.startswith(rest := needle[needle.index(head) :]):
            text = MASK + text[len(rest) :]
        if tail in needle and text.endswith(begun := needle[: needle.rindex(tail) + CUT_CHARACTERS]):
            text = text[: -len(begun)] + MASK
    return text


def redact_event(_: Any, __: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """Take the keys out of a log event, as a processor of structlog: its fields are texts and numbers afterwards."""
    plain = {name: _loggable(value) for name, value in event.items()}
    texts = [text for pair in plain.items() for text in pair if isinstance(text, str)]
    if not _has_key(texts):
        return plain
    return {redact(name): redact(value) if isinstance(value, str) else value for name, value in plain.items()}


def _loggable(value: object) -> str | int | float | None:
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)


def _has_key(texts: list[str]) -> bool:
    """Return whether there is anything to take out of any of these: one look at all is cheaper than one at each."""
    together = "\n".join(texts)
    needles = _known_forms(_known_secrets())
    return redact(together) != together or any(_without_cut_keys(text, needles) != text for text in texts)
