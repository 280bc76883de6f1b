"""Whether a provider answers: free of charge by the list of its models, or for little money by one small question.

Everything here blocks: call it in a thread that runs no event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import ssl
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urljoin
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from providers import aichat, costs, ledger, routing
from providers.addresses import BadAddress, check_address, find_proxy
from providers.endings import RULES, Effect, Ending, Evidence, decide
from providers.kinds import KINDS, Kind, Listing
from providers.models import Attempt, Model, Provider
from providers.secrets import KeyUnreadable, find_key, redact
from providers.signals import provider_checked
from providers.spending import CHECK_USER
from providers.transcript import Usage, read_error

# A provider that takes longer to list its models is no help to anybody who waits for an answer.
TIMEOUT_SECONDS = 10.0
# The longest list known has a few hundred KB.
MOST_BYTES = 1024 * 1024
PIECE_BYTES = 64 * 1024
# What the column holds, and how much of it is the provider's own words.
SENTENCE_CHARACTERS = 300
WORDS_CHARACTERS = 160
# Missing models that are named.
NAMED = 5

# The live question, and the most tokens of its answer.
QUESTION = "Say OK"
QUESTION_TOKENS = 16
CLOCKS = aichat.Clocks(first_token=30, idle=30, total=60)


@dataclass(frozen=True)
class CheckResult:
    """`ok` None: there is nothing to check yet, or not in this way. `models`: the names in the provider's list.

    `trouble`: it would not answer either: it cannot be reached, fails, or refuses the key.
    """

    ok: bool | None
    sentence: str
    models: tuple[str, ...] = ()
    trouble: bool = False


@dataclass(frozen=True)
class LiveResult:
    """How one small question was answered, with `usage` and `cost_usd` as the ledger has them.

    `usage` None: nobody was asked. `cost_usd` None besides: the price is unknown.
    """

    ending: Ending
    sentence: str
    usage: Usage | None = None
    cost_usd: Decimal | None = None

    @property
    def ok(self) -> bool | None:
        """Whether there was an answer, if only a short one; None where nobody was asked."""
        return None if self.usage is None else RULES[self.ending].effect is Effect.SUCCESS


class CheckFailed(Exception):
    """The list was not had; the text is a sentence for an admin, without keys. `trouble`: as in CheckResult."""

    def __init__(self, sentence: str, *, trouble: bool = False) -> None:
        super().__init__(sentence)
        self.trouble = trouble


# --- The list of models -----------------------------------------------------------------------------------------------


def check(provider: Provider) -> CheckResult:
    """Ask for the provider's list of models, and write the result on its row. Takes little more than ten seconds."""
    result = _check(provider)
    result = replace(result, sentence=result.sentence[:SENTENCE_CHARACTERS])
    _store(provider, result)
    return result


@transaction.atomic
def _store(provider: Provider, result: CheckResult) -> None:
    seen = {"checked_at": timezone.now(), "check_ok": result.ok, "check_result": result.sentence}
    Provider.objects.filter(pk=provider.pk).update(**seen)
    provider_checked.send(Provider, provider_id=provider.pk, slug=provider.slug, ok=result.ok, sentence=result.sentence)


def _check(provider: Provider) -> CheckResult:
    if provider.kind not in KINDS:
        return CheckResult(False, f"Its kind, {provider.kind}, is unknown.")
    info = KINDS[Kind(provider.kind)]
    if info.needs_address and not provider.api_base:
        return CheckResult(None, "It has no address yet.")
    if info.listing is None:
        return CheckResult(None, f"{info.label} does not list its models for a key alone: only a live check can tell.")
    try:
        key = find_key(provider.key_variable, provider.encrypted_key, provider.pk)
    except KeyUnreadable as trouble:
        return CheckResult(False, str(trouble))
    if not key and (info.needs_key or provider.key_variable):
        return CheckResult(None, "It has no key yet.")
    try:
        names = _list_models(provider, info.listing, key)
    except CheckFailed as failure:
        return CheckResult(False, str(failure), trouble=failure.trouble)
    return CheckResult(True, _describe(provider, names, complete=info.listing.complete), names)


def _describe(provider: Provider, names: tuple[str, ...], *, complete: bool) -> str:
    sentence = f"It lists {len(names)} model{'' if len(names) == 1 else 's'}."
    # Ollama says ":latest" where nobody asked for it.
    known = {name.removesuffix(":latest") for name in names}
    enabled = provider.models.filter(enabled=True).order_by("priority", "name").values_list("name", flat=True)
    missing = [name for name in enabled if name.removesuffix(":latest") not in known]
    if not complete or not missing:
        return sentence
    more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    return f"{sentence} Not among them: {', '.join(missing[:NAMED])}{more}."


def _list_models(provider: Provider, listing: Listing, key: str) -> tuple[str, ...]:
    """Return the names in the list, in its order. Raises CheckFailed."""
    address = provider.api_base or KINDS[Kind(provider.kind)].address
    try:
        check_address(address, provider.kind)
    except BadAddress as trouble:
        raise CheckFailed(str(trouble)) from trouble
    body = _fetch(urljoin(address.rstrip("/") + "/", listing.path), _headers(provider, listing, key), provider.kind)
    try:
        return tuple(str(entry[listing.name]).removeprefix(listing.prefix) for entry in json.loads(body)[listing.array])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CheckFailed("What answers at this address does not list models. Is the address right?") from None


def _headers(provider: Provider, listing: Listing, key: str) -> dict[str, str]:
    headers = {"Accept": "application/json", "User-Agent": "sasha-studio", **dict(listing.headers)}
    for option in KINDS[Kind(provider.kind)].options:
        if option.header and (value := provider.options.get(option.name)):
            headers[option.header] = str(value)
    if key:
        headers[listing.key_header] = listing.scheme + key
    return headers


def _fetch(url: str, headers: dict[str, str], kind: str) -> bytes:
    """Return the body at `url`. Raises CheckFailed, whose text has no key, whatever went wrong."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    try:
        # The scheme was checked with the address.
        request = Request(url, headers=headers)  # noqa: S310
        with _opener(url).open(request, timeout=TIMEOUT_SECONDS) as response:
            return _read(response, deadline)
    except HTTPError as refusal:
        with refusal:
            raise _explain(refusal, kind, deadline) from None
    except (URLError, OSError, http.client.HTTPException) as trouble:
        reason = getattr(trouble, "reason", None) or trouble
        words = redact(str(getattr(reason, "strerror", None) or reason or type(reason).__name__))
        raise CheckFailed(f"{Ending.UNREACHABLE.sentence[:-1]}: {words[:WORDS_CHARACTERS]}.", trouble=True) from None
    except ValueError:
        # Its text would repeat the header.
        raise CheckFailed("The key has a character that no request can carry.") from None


class _NoRedirect(HTTPRedirectHandler):
    """A redirect would take the key to another host."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _opener(url: str) -> OpenerDirector:
    handlers: list[Any] = [_NoRedirect(), HTTPSHandler(context=make_tls_context())]
    proxy = find_proxy(url)
    handlers.append(ProxyHandler({"http": proxy, "https": proxy} if proxy else {}))
    return build_opener(*handlers)


def make_tls_context() -> ssl.SSLContext:
    """Return what a connection of the site's own trusts: the certificates that `aichat` is given, too."""
    return ssl.create_default_context(cafile=settings.CA_BUNDLE if os.path.exists(settings.CA_BUNDLE) else None)


def _read(response: IO[bytes], deadline: float) -> bytes:
    body = bytearray()
    # The timeout of the socket is that of one read: a server that drips could hold us for ever.
    while piece := response.read1(PIECE_BYTES):  # type: ignore[attr-defined]
        body += piece
        if len(body) > MOST_BYTES:
            raise CheckFailed("What answers at this address sends more than any list of models has.")
        if time.monotonic() > deadline:
            raise TimeoutError("the list of its models takes too long")
    return bytes(body)


def _explain(refusal: HTTPError, kind: str, deadline: float) -> CheckFailed:
    """Return what an HTTP error means, with the provider's own words."""
    if 300 <= refusal.code < 400:
        sentence = f"It answers with a redirect (HTTP {refusal.code}), which is not followed. Give the final address."
        return CheckFailed(sentence)
    data: Any = {}
    with contextlib.suppress(OSError, ValueError, RecursionError, http.client.HTTPException, CheckFailed):
        data = json.loads(_read(refusal, deadline))
    said = read_error(data)
    seen = Evidence(exit_code=1, http_status=refusal.code, error_type=said.type, error_text=said.text, kind=kind)
    verdict = decide(seen)
    if verdict.ending in (Ending.MISCONFIGURED, Ending.REJECTED):
        # Nobody asked for a model.
        sentence = f"It does not list its models (HTTP {refusal.code}). Is the address right?"
    else:
        sentence = f"{verdict.ending.sentence[:-1]} ({verdict.evidence})."
    trouble = verdict.ending in (Ending.UNAUTHORISED, Ending.PROVIDER_ERROR)
    return CheckFailed(sentence + _quote(said.text), trouble=trouble)


def _quote(text: str) -> str:
    """Return the beginning of the provider's own words as a sentence, "" where there are none."""
    words = redact(" ".join(text.split()))
    if len(words) > WORDS_CHARACTERS:
        words = words[: WORDS_CHARACTERS - 1] + "…"
    return f" It says: {words}" if words else ""


# --- One small question -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Begun:
    """A live check whose row in the ledger is open."""

    attempt_id: uuid.UUID
    candidate: routing.Candidate


def check_live(model: Model) -> LiveResult:
    """Ask `model` one small question, as any message would: through aichat, the breaker, the budgets and the ledger."""
    begun = begin_live(model)
    if isinstance(begun, LiveResult):
        return begun
    # Closed as interrupted where somebody presses Ctrl-C.
    finished = aichat.Finished(Evidence(interrupted=True, request_sent=True))
    try:
        finished = asyncio.run(ask_live(begun))
    finally:
        result = end_live(begun, finished)
    return result


def first_model(provider: Provider) -> Model | None:
    """Return the model that a live check asks: the first that is switched on."""
    return provider.models.select_related("provider").filter(enabled=True).order_by("priority", "name").first()


def begin_live(model: Model) -> Begun | LiveResult:
    """Open the check's row in the ledger, or return why it cannot be made."""
    name = str(model)
    route = routing.route(name, only=True)
    if not route.candidates:
        return LiveResult(Ending.NOT_STARTED, f"{name} cannot be asked: {route.why_not(name)}.")
    candidate = replace(route.candidates[0], reason="live check")
    reply_id = uuid.uuid4()
    account = ledger.Account(reply_id, conversation_id=reply_id, username=CHECK_USER)
    opened = ledger.open_attempt(account, 1, candidate, _SIZE)
    if isinstance(opened, ledger.Refused):
        return LiveResult(Ending.NOT_STARTED, f"{name} cannot be asked: {opened.reason}.")
    return Begun(opened.attempt_id, candidate)


@transaction.atomic
def end_live(begun: Begun, finished: aichat.Finished) -> LiveResult:
    """Close the check's row, and return what came of it."""
    verdict = decide(finished.evidence)
    ledger.close_attempt(begun.attempt_id, verdict, finished)
    attempt = Attempt.objects.get(pk=begun.attempt_id)
    words = f" It says: {attempt.error[:WORDS_CHARACTERS]}" if attempt.error else ""
    sentence = f"{verdict.ending.sentence[:-1]} ({verdict.evidence}).{words}"
    result = LiveResult(verdict.ending, sentence, costs.usage_of(attempt), attempt.cost_usd)
    candidate = begun.candidate
    provider_checked.send(
        Provider, provider_id=candidate.provider_id, slug=candidate.provider, ok=result.ok, sentence=sentence
    )
    return result


def find_most(models: Iterable[Model]) -> tuple[Decimal, list[Model]]:
    """Return the most USD that a live check of `models` may cost, and those whose price is unknown."""
    most, unknown = Decimal(0), []
    for model in models:
        size = _SIZE
        cost = costs.worst_case(
            size.characters,
            size.utf8_bytes,
            size.max_tokens,
            model.max_output,
            model.context_window,
            costs.find_price(model.pk, timezone.now()),
        )
        if cost is None:
            unknown.append(model)
        else:
            most += cost
    return most, unknown


_SIZE = ledger.Size(len(QUESTION), len(QUESTION.encode()), QUESTION_TOKENS)


async def ask_live(begun: Begun) -> aichat.Finished:
    """Run the check's process; on the loop's thread, where processes are started."""
    candidate = begun.candidate
    request = aichat.Request(
        target=candidate.target,
        prompt=QUESTION,
        clocks=CLOCKS,
        key=candidate.key,
        max_tokens=QUESTION_TOKENS,
        needs_finish_reason=candidate.needs_finish_reason,
    )
    async with contextlib.aclosing(aichat.stream(request, aichat.Stop())) as events:
        async for event in events:
            if isinstance(event, aichat.Finished):
                return event
    raise AssertionError("a stream ends with Finished")
