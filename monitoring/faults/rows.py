"""What can go wrong, and the providers that do it: every fault of the simulator, in every dialect. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import cached_property

from providers.endings import Ending
from providers.kinds import Kind
from providers.simulator import answer, parse_model

# The kinds that a chat is routed over, by the name that a row's slug has room for.
PROTOCOLS: dict[str, Kind] = {
    "compatible": Kind.OPENAI_COMPATIBLE,
    "openai": Kind.OPENAI,
    "claude": Kind.CLAUDE,
    "gemini": Kind.GEMINI,
}
# What the simulator's ledger calls the dialect of each.
DIALECTS = {"compatible": "openai", "openai": "openai", "claude": "anthropic", "gemini": "google"}
KEY_VARIABLES = {
    "compatible": "SIM_API_KEY",
    "openai": "OPENAI_API_KEY",
    "claude": "ANTHROPIC_API_KEY",
    "gemini": "GOOGLE_API_KEY",
}


class When(StrEnum):
    """On which side of the first token a fault strikes; `never` is no fault at all."""

    BEFORE = "before"
    AFTER = "after"
    NEVER = "never"


class By(StrEnum):
    """Who causes a fault, and how."""

    SIMULATOR = "simulator"
    ADDRESS = "address"  # nobody listens there
    KILL = "kill"  # the test kills the child


@dataclass(frozen=True)
class Fault:
    """One way to fail. `words` are those of the simulator's model.

    `clock`: it takes one of the site's clocks, of 1 s here. `once`: the row can be asked by one message at a time only.
    `context`: the row's context window, where that decides who is next.
    """

    name: str
    when: When
    words: str
    ending: Ending
    by: By = By.SIMULATOR
    clock: bool = False
    once: bool = False
    context: int | None = None

    @property
    def slug(self) -> str:
        return self.name if self.when is When.BEFORE else f"{self.name}-mid"


# Shorter than what a "good" row takes, and longer than any message of the test.
SMALL_CONTEXT = 4_000
LARGE_CONTEXT = 100_000

B, A = When.BEFORE, When.AFTER
FAULTS = (
    Fault("http400", B, "http400", Ending.MISCONFIGURED, once=True),
    Fault("http400key", B, "http400key", Ending.UNAUTHORISED),
    Fault("http401", B, "http401", Ending.UNAUTHORISED),
    Fault("http403", B, "http403", Ending.UNAUTHORISED),
    Fault("http404", B, "http404", Ending.MISCONFIGURED, once=True),
    Fault("http413", B, "http413", Ending.REJECTED, context=SMALL_CONTEXT),
    Fault("context", B, "http400context", Ending.REJECTED, context=SMALL_CONTEXT),
    Fault("http429", B, "http429", Ending.RATE_LIMITED),
    Fault("http429retry", B, "http429-retry7", Ending.RATE_LIMITED),
    Fault("http500", B, "http500", Ending.PROVIDER_ERROR),
    Fault("http502html", B, "http502html", Ending.PROVIDER_ERROR),
    Fault("http503", B, "http503", Ending.PROVIDER_ERROR),
    Fault("http529", B, "http529", Ending.PROVIDER_ERROR),
    Fault("unreachable", B, "n6", Ending.UNREACHABLE, by=By.ADDRESS),
    Fault("silent", B, "silent", Ending.TIMED_OUT, clock=True),
    Fault("stall", B, "n6-stall-at0", Ending.TIMED_OUT, clock=True),
    Fault("heartbeat", B, "n6-heartbeat-at0", Ending.TIMED_OUT, clock=True),
    Fault("cut", B, "n6-cut-at0", Ending.CUT),
    Fault("reset", B, "n6-reset-at0", Ending.CUT),
    Fault("error", B, "n6-error-at0", Ending.PROVIDER_ERROR),
    Fault("malformed", B, "n6-malformed-at0", Ending.PROVIDER_ERROR),
    Fault("empty", B, "empty", Ending.EMPTY),
    Fault("length", B, "n6-length-at0", Ending.LENGTH),
    Fault("filter", B, "n6-filter-at0", Ending.FILTERED),
    Fault("crashed", B, "stall-at0", Ending.CRASHED, by=By.KILL, once=True),
    Fault("stall", A, "n6-stall-at3", Ending.STALLED, clock=True),
    Fault("heartbeat", A, "n6-heartbeat-at3", Ending.STALLED, clock=True),
    Fault("cut", A, "n6-cut-at3", Ending.CUT),
    Fault("reset", A, "n6-reset-at3", Ending.CUT),
    Fault("error", A, "n6-error-at3", Ending.PROVIDER_ERROR),
    Fault("malformed", A, "n6-malformed-at3", Ending.CUT),
    Fault("length", A, "n6-length-at3", Ending.LENGTH),
    Fault("filter", A, "n6-filter-at3", Ending.FILTERED),
    Fault("crashed", A, "stall-at3", Ending.CRASHED, by=By.KILL, once=True),
)
NO_FAULT = Fault("none", When.NEVER, "", Ending.COMPLETE)


@dataclass(frozen=True)
class Price:
    """USD per million tokens; None: as input, as output. Awkward digits, so that a rounding somewhere would show."""

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None
    above_tokens: int = 0


@dataclass(frozen=True)
class Row:
    """A provider with its one model. `learns`: its rates of characters per token are the site's to learn."""

    slug: str
    protocol: str
    model: str
    fault: Fault = NO_FAULT
    prices: tuple[Price, ...] = field(default=(), compare=False)
    learns: bool = False
    context_window: int | None = None

    @property
    def name(self) -> str:
        """Return the name by which people ask for it."""
        return f"{self.slug}:{self.model}"

    @cached_property
    def text(self) -> str:
        """Return all that it says, whatever is asked."""
        return "" if self.fault.by is By.ADDRESS else answer(parse_model(self.model), "").text


def faulty_rows() -> list[Row]:
    """Return a row for every fault in every dialect."""
    return [_faulty(fault, protocol, number) for number, protocol in enumerate(PROTOCOLS) for fault in FAULTS]


def _faulty(fault: Fault, protocol: str, number: int) -> Row:
    words = fault.words
    if fault.by is By.KILL:
        # A name of its own, by which its child is found.
        words = f"n{60 + number}-{words}"
    prices = _prices(number, len(fault.slug))
    return Row(f"{fault.slug}-{protocol}", protocol, f"sim-{words}", fault, prices, context_window=fault.context)


def good_rows() -> list[Row]:
    """Return the rows that answer, one for each protocol: cached and reasoning tokens, every dialect's usage."""
    words = {
        "compatible": "n8-gap1-cached-reasoning",
        "openai": "n10-gap0-cached-reasoning",
        "claude": "n9-gap1-cached",
        "gemini": "n7-gap1-cached-reasoning",
    }
    return [
        Row(f"good-{protocol}", protocol, f"sim-{words[protocol]}", prices=_prices(number, 23), learns=True)
        for number, protocol in enumerate(PROTOCOLS)
    ]


def other_rows() -> list[Row]:
    """Return rows for the mix alone: other text, a price in tiers, and one that never reports usage."""
    low, high = _prices(1, 5)[0], _prices(2, 77)[0]
    tiers = (low, Price(high.input, high.output, above_tokens=60))
    return [
        Row("emoji-claude", "claude", "sim-n7-emoji-split-gap0-reasoning", prices=_prices(3, 31)),
        Row("emoji-gemini", "gemini", "sim-n6-emoji-gap0", prices=_prices(4, 31)),
        Row("tiers-openai", "openai", "sim-n6-gap0-cached", prices=tiers),
        Row("nousage-compatible", "compatible", "sim-n9-nousage-gap0", prices=_prices(5, 31)),
    ]


def slow_rows() -> list[Row]:
    """Return the rows that are stopped, or killed, in the middle of an answer.

    They never end one: a stop that comes late is a stop all the same, and one that is lost shows.
    """
    return [
        Row(f"slow-{protocol}", protocol, "sim-n120-gap20-stall-at110", prices=_prices(number, 41))
        for number, protocol in enumerate(PROTOCOLS)
    ]


def _prices(one: int, other: int) -> tuple[Price, ...]:
    """Return a price of six decimal places that is no other row's."""
    step = Decimal(one * 7919 + other * 104_729).scaleb(-6)
    base = Decimal("2.718281") + step
    return (
        Price(
            input=base,
            output=base * 4 + Decimal("0.000003"),
            cache_read=Decimal("0.314159") + step if other % 2 == 0 else None,
            cache_write=base + Decimal("0.577215"),
            reasoning=base * 3 + Decimal("0.000007") if other % 3 else None,
        ),
    )
