"""The ledger against what the provider says that it served: every request once, and every cent. Pure."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from monitoring.faults.rows import DIALECTS, By, Price, Row
from providers.endings import Ending
from providers.models import CountSource

# Of what was estimated because a stop or a cut left nothing better.
TOLERANCE = 0.05
# A served request whose usage was told in full.
TOLD = {"whole", "length", "filter", "empty"}
TOKENS = ("input", "cache_read", "cache_write", "output", "reasoning")
# Nobody bills for these where the answer had not begun.
UNBILLED = {Ending.PROVIDER_ERROR}
# Whose server is gone: its text is what the last checkpoint had.
UNCOUNTABLE = {Ending.INTERRUPTED}


@dataclass(frozen=True)
class Spent:
    """One attempt of the ledger. `asked`: whether its request was sent; `message` is the user's, `before` the
    characters of the answer that it was asked to continue, 0 where it began it.
    """

    row: Row
    ending: str
    asked: bool
    message: str
    before: int
    source: str
    cost_usd: Decimal | None
    tokens: dict[str, int | None] = field(default_factory=dict)


@dataclass
class Account:
    """What came of the comparison. `deviations` are shares of what the provider would bill, of estimated attempts."""

    requests: int = 0
    attempts: int = 0
    unserved: int = 0
    exact: int = 0
    free: int = 0
    deviations: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    payloads: dict[str, list[dict[str, int]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, other: Account) -> None:
        """Take over another's numbers."""
        self.requests += other.requests
        self.attempts += other.attempts
        self.unserved += other.unserved
        self.exact += other.exact
        self.free += other.free
        self.deviations += other.deviations
        self.wrong += other.wrong
        for dialect, usages in other.payloads.items():
            self.payloads[dialect] += usages


def compare(spent: Iterable[Spent], lines: Sequence[dict[str, Any]], continue_prompt: str) -> Account:
    """Compare the attempts with the simulator's lines; each request must be one attempt's, and its money right.

    A prompt is known by its hash. Those that continue an answer share theirs, and are told apart by their size.
    """
    account = Account(requests=len(lines))
    served: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        served[(line["protocol"], line["model"], line["prompt_sha256"], line["input_characters"])].append(line)
    asked: dict[tuple[Any, ...], list[Spent]] = defaultdict(list)
    for attempt in spent:
        account.attempts += 1
        if attempt.asked and attempt.row.fault.by is not By.ADDRESS:
            asked[_key(attempt, continue_prompt)].append(attempt)
            continue
        account.unserved += 1
        if attempt.cost_usd != 0:
            account.wrong.append(f"{attempt.row.slug}: {attempt.cost_usd} USD for a request that nobody served")
    for key in served.keys() | asked.keys():
        _compare_same(account, asked[key], served[key])
    return account


def _key(attempt: Spent, continue_prompt: str) -> tuple[Any, ...]:
    prompt, size = attempt.message, len(attempt.message)
    if attempt.before:
        prompt, size = continue_prompt, size + attempt.before + len(continue_prompt)
    digest = hashlib.sha256(prompt.encode()).hexdigest()
    return DIALECTS[attempt.row.protocol], attempt.row.model, digest, size


def _compare_same(account: Account, attempts: list[Spent], lines: list[dict[str, Any]]) -> None:
    """Compare the attempts and requests that cannot be told apart, in the order of their tokens."""
    if len(attempts) != len(lines):
        what = attempts[0].row.slug if attempts else f"{lines[0]['protocol']} {lines[0]['model']}"
        account.wrong.append(f"{what}: {len(attempts)} attempts for {len(lines)} requests")
        return
    attempts.sort(key=lambda attempt: attempt.tokens.get("output") or 0)
    lines.sort(key=lambda line: line["tokens_sent"])
    for attempt, line in zip(attempts, lines, strict=True):
        if wrong := _judge(account, attempt, line):
            account.wrong.append(f"{attempt.row.slug} {attempt.ending}: {wrong}")


def _judge(account: Account, attempt: Spent, line: dict[str, Any]) -> str:
    """Return what is wrong with the cost of an attempt, or ""."""
    if attempt.ending in UNCOUNTABLE:
        estimated = attempt.source == CountSource.ESTIMATED and attempt.cost_usd
        return "" if estimated else f"its money is {attempt.source}, {attempt.cost_usd}"
    served = line["served"]
    if served is None or (attempt.ending in UNBILLED and not line["usage"] and not line["tokens_sent"]):
        account.free += 1
        unbilled = attempt.source == CountSource.NOT_BILLED and attempt.cost_usd == 0
        return "" if unbilled else f"{attempt.cost_usd} USD for a refusal"
    due = cost_of(served, attempt.row.prices)
    if line["usage"] and line["ended"] in TOLD and attempt.ending != Ending.STOPPED:
        account.exact += 1
        account.payloads[line["protocol"]].append({name: served.get(name) or 0 for name in TOKENS})
        return _judge_exact(attempt, due)
    told = cost_of(served | {"output": max(_output(served), _output(line["usage"]))}, attempt.row.prices)
    return _judge_estimate(account, attempt, due, told)


def _judge_exact(attempt: Spent, due: Decimal) -> str:
    if attempt.source != CountSource.REPORTED:
        return f"count is {attempt.source}, not reported"
    return "" if attempt.cost_usd == due else f"cost {attempt.cost_usd}, not {due}"


def _judge_estimate(account: Account, attempt: Spent, due: Decimal, told: Decimal) -> str:
    """Judge an estimate by what was served, and by what was told where that is more.

    Anthropic tells of a first token in advance; whether that arrived before the end is chance.
    """
    if attempt.source != CountSource.ESTIMATED or attempt.cost_usd is None:
        return f"count is {attempt.source}, not estimated"
    deviation = min((float((attempt.cost_usd - right) / right) for right in (due, told)), key=abs)
    account.deviations.append(deviation)
    return "" if abs(deviation) <= TOLERANCE else f"estimate {attempt.cost_usd}, {deviation:+.1%} of {due}"


def _output(tokens: dict[str, int | None] | None) -> int:
    return (tokens or {}).get("output") or 0


def cost_of(served: dict[str, int | None], prices: Sequence[Price]) -> Decimal:
    """Return what the tokens cost, in USD, by the highest tier that the input reaches."""
    tokens = {name: served.get(name) or 0 for name in TOKENS}
    total = tokens["input"] + tokens["cache_read"] + tokens["cache_write"]
    price = max((one for one in prices if total > one.above_tokens), key=lambda one: one.above_tokens)
    read = price.input if price.cache_read is None else price.cache_read
    write = price.input if price.cache_write is None else price.cache_write
    reasoning = price.output if price.reasoning is None else price.reasoning
    millions = (
        tokens["input"] * price.input
        + tokens["cache_read"] * read
        + tokens["cache_write"] * write
        + (tokens["output"] - tokens["reasoning"]) * price.output
        + tokens["reasoning"] * reasoning
    )
    return millions.scaleb(-6)


def compare_with_genai_prices(payloads: dict[str, list[dict[str, int]]]) -> tuple[int, list[str]]:
    """Price the usage that each dialect reported as genai-prices does; return how many, and where they disagree."""
    from genai_prices import Usage as TheirUsage
    from genai_prices import calc_price

    from providers import costs, prices
    from providers.models import Provider
    from providers.transcript import Usage

    wrong, count = [], 0
    for dialect, (kind, service, name) in REAL_MODELS.items():
        info = prices.find_info(Provider(kind=kind), name)
        if info is None:
            wrong.append(f"genai-prices does not know {service}'s {name}")
            continue
        usages = Counter(tuple(usage[token] for token in TOKENS) for usage in payloads.get(dialect, []))
        for told in usages:
            fresh, read, write, output, _ = told
            theirs = TheirUsage(
                input_tokens=fresh + read + write,
                cache_read_tokens=read,
                cache_write_tokens=write,
                output_tokens=output,
            )
            moment = _now()
            their_price = calc_price(theirs, name, provider_id=service, genai_request_timestamp=moment).total_price
            ours = costs.charge(Usage(*told), prices.read_tiers(info.get_prices(moment)))
            count += usages[told]
            if ours is None or ours.cost_usd != their_price:
                wrong.append(f"{name}: {told} costs {ours and ours.cost_usd} here, {their_price} by genai-prices")
    return count, wrong


def _now() -> Any:
    from django.utils import timezone

    return timezone.now()


# A model of each service whose price has cached tokens, at which the same usage is priced by both.
REAL_MODELS = {
    "openai": ("openai", "openai", "gpt-4.1"),
    "anthropic": ("claude", "anthropic", "claude-3-haiku-20240307"),
    "google": ("gemini", "google", "gemini-2.5-pro"),
}
