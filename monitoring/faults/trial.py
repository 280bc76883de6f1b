"""The phases of the fault test, one after the other on one stand, and all that was seen in them."""

from __future__ import annotations

import asyncio
import random
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.utils import timezone

from chat.models import CONTINUE_PROMPT
from monitoring.faults import database, money
from monitoring.faults.asking import Site, ask_all
from monitoring.faults.database import Outcome
from monitoring.faults.killing import kill_in_mid_answer
from monitoring.faults.report import Cell, Check, Report
from monitoring.faults.rows import (
    FAULTS,
    LARGE_CONTEXT,
    NO_FAULT,
    PROTOCOLS,
    By,
    Fault,
    Row,
    When,
    faulty_rows,
    good_rows,
    other_rows,
    slow_rows,
)
from monitoring.faults.stand import MEMORY_SECONDS, Stand
from monitoring.faults.story import ASK, CONTINUE, OFF, Case, judge
from monitoring.load.ledger import read_ledger
from providers import costs
from providers.endings import Ending
from providers.models import Breaker, Model, Provider

AT_ONCE = 8
BATCH = 100
# Shares of the mix; the rest are faulty ones asked for by name.
STOPPED_SHARE, GOOD_SHARE, AUTO_SHARE = 0.05, 0.10, 0.10
# A second one that fails stands before the good ones in so many batches.
SECOND_SHARE = 0.3
# What takes a clock of a second is asked so much more rarely.
CLOCK_SHARE = 0.2
# Text of a message, so that its size differs from that of its neighbours, as their tokens and costs do.
SHORTEST_MESSAGE, SIZES = 120, 400
STOP_AFTER = 80
SWITCHES = 20
# Whole answers of each good model before anything is estimated by them.
LEARNING = 6
KILLS = 3
# Endings that leave nothing to continue, which a second failing row must not have.
FINAL = (Ending.LENGTH, Ending.FILTERED, Ending.REJECTED)
LEDGER_SECONDS = 5.0


class Trial:
    """One run of all phases. `only`: the names of the faults to try; `tell` says where it stands."""

    def __init__(self, stand: Stand, seed: int, only: Sequence[str], tell: Callable[[str], None]) -> None:
        self.report = Report(seed)
        self._stand = stand
        self._tell = tell
        self._random = random.Random(seed)  # noqa: S311 (a mix that can be repeated)
        self._number = 0
        self._last_line = 0
        self._faults = [fault for fault in FAULTS if not only or fault.name in only]
        self._bad = [row for row in faulty_rows() if row.fault in self._faults]
        self._good = good_rows()
        self._other = other_rows()
        self._slow = slow_rows()
        # Begins an answer that another must continue.
        self._begun = replace(
            self._good[1], slug="begun", model="sim-n6-cut-at3", fault=_fault("cut", When.AFTER), learns=False
        )
        # Two that refuse: what one phase has seen of its provider must not open the other's breaker.
        self._refusing, self._flaky = (
            replace(self._good[1], slug=slug, model="sim-http500", fault=_fault("http500", When.BEFORE), learns=False)
            for slug in ("refusing", "flaky")
        )
        everyone = [*self._bad, *self._good, *self._other, *self._slow, self._begun, self._refusing, self._flaky]
        self._rows = {row.slug: row for row in everyone}

    def run(self, count: int) -> Report:
        """Go through all phases; the mix fills up to `count` messages in all."""
        database.create(self._rows.values(), self._stand.simulator, self._stand.closed_address)
        self._stand.start()
        self._timed("learning", self._learn)
        self._timed("alternatives", self._alternatives)
        self._timed("alone", self._alone)
        self._timed("relay", self._relay)
        self._timed("policies", self._policies)
        self._timed("switching", self._switch)
        self._timed("breaker", self._break)
        # What the breaker's phase sends depends on time, and the same seed should give the same mix.
        left = count - len(self.report.cells)
        if left > 0:
            self._timed("mix", lambda: self._mix(left))
        self._timed("killing", self._kill)
        self._stand.stop()
        self._look_for_orphans("the end")
        tracebacks = self._stand.count_tracebacks()
        self._check("the end", "the server's log has no traceback", not tracebacks, f"{tracebacks}")
        self.report.genai_prices, wrong = money.compare_with_genai_prices(self.report.account.payloads)
        self.report.account.wrong += wrong
        return self.report

    def _timed(self, phase: str, do: Callable[[], None]) -> None:
        began = time.monotonic()
        self._tell(phase)
        try:
            do()
        except Exception as error:
            # What the other phases have seen is not thrown away for it.
            traceback.print_exc()
            self._check(phase, "it came to its end", False, repr(error))
        self.report.seconds[phase] = round(time.monotonic() - began, 1)
        self._look_for_orphans(phase)

    def _look_for_orphans(self, when: str) -> None:
        self.report.orphans += [f"{when}: {orphan}" for orphan in self._stand.find_orphans()]

    # --- Phases -------------------------------------------------------------------------------------------------------

    def _learn(self) -> None:
        """Let every good model give the answers from which the site learns how much text a token is."""
        database.arrange(self._good, [])
        self._run("learning", [self._case(row, []) for row in self._good for _ in range(LEARNING)])
        costs.learn_all(timezone.now() - timedelta(minutes=10))

    def _alternatives(self) -> None:
        """Every fault in every dialect, with one, two and three that could answer."""
        one, two, three, four = self._good
        for others in ([four], [two, _large(three)], [one, _large(four), two]):
            database.arrange(others, self._bad)
            self._run("alternatives", [self._case(row, others) for row in self._bad])

    def _alone(self) -> None:
        """Every fault with nobody else to ask: one by one, since whoever is switched on would be asked."""
        for row in self._bad:
            database.arrange([], [row])
            self._run("alone", [self._case(row, [])])

    def _relay(self) -> None:
        """Every fault in the one who should continue what another has begun; behind it stands one who can."""
        good = _large(self._good[3])
        for number, fault in enumerate(self._faults):
            protocol = list(PROTOCOLS)[number % len(PROTOCOLS)]
            row = next(row for row in self._bad if row.fault == fault and row.protocol == protocol)
            # A child is killed for who was asked first.
            if fault.by is not By.KILL:
                database.arrange([row, good], [self._begun])
                self._run("relay", [self._case(self._begun, [row, good])])

    def _policies(self) -> None:
        """What stops in mid-answer, under the two policies that leave it there."""
        others = self._good[:1]
        bad = [row for row in self._bad if row.fault.when is When.AFTER and row.fault.ending not in FINAL]
        database.arrange(others, bad)
        for policy in (ASK, OFF):
            database.set_policy(policy)
            self._run("policies", [self._case(row, others, policy=policy) for row in bad])
        database.set_policy(CONTINUE)

    def _switch(self) -> None:
        """One message at a time to a provider that refuses: how long until the next one is asked."""
        others = self._good[:1]
        database.arrange(others, [self._refusing])
        for _ in range(SWITCHES):
            (outcome,) = self._run("switching", [self._case(self._refusing, others)])
            self.report.switch_ms += database.switch_ms(outcome)
            self.report.request_ms += [one.request_ms for one in outcome.attempts if one.request_ms is not None]

    def _break(self) -> None:
        """A provider that is not forced to be asked: it fails, is left alone, is tried, and comes back."""
        others = self._good[:1]
        flaky = Provider.objects.filter(slug=self._flaky.slug)
        flaky.update(forced="", breaker=Breaker.CLOSED, failures_in_a_row=0, openings=0, open_until=None)
        database.arrange(others, [self._flaky])
        asked = [len(self._send(others).attempts) for _ in range(4)]
        self._check("breaker", "three failures, then it is not asked any more", asked == [2, 2, 2, 1], f"{asked}")
        trials, pauses = self._ask_while_down(others)
        words = f"{trials} messages in {pauses:.1f} pauses"
        self._check("breaker", "while it is down, one message a pause tries it", 1 <= trials <= pauses + 1, words)
        Model.objects.filter(provider__slug=self._flaky.slug).update(name=HEALED)
        deadline = time.monotonic() + 5 * MEMORY_SECONDS
        while (outcome := self._send(others, requested=f"flaky:{HEALED}")).seen.provider != "flaky":
            if time.monotonic() > deadline:
                break
            # The pause is over when the clock says so; asking faster would only be more messages.
            time.sleep(0.1)
        closed = flaky.values_list("breaker", flat=True).get() == Breaker.CLOSED
        self._check("breaker", "it answers again, and its breaker is closed", closed, outcome.seen.provider)

    def _ask_while_down(self, others: Sequence[Row]) -> tuple[int, float]:
        """Send messages over three pauses, some at once; return how many of them tried it, and in how many pauses."""
        began, tried = time.monotonic(), 0
        while time.monotonic() - began < 3 * MEMORY_SECONDS:
            outcomes = self._send_many([self._case(self._flaky, others) for _ in range(AT_ONCE)])
            tried += sum(len(outcome.attempts) > 1 for outcome in outcomes)
        return tried, (time.monotonic() - began) / MEMORY_SECONDS

    def _mix(self, count: int) -> None:
        """Messages of all kinds, in batches that each have other alternatives."""
        done = 0
        while done < count:
            self._tell(f"mix, {done} of {count}")
            done += self._mix_batch(min(BATCH, count - done))

    def _mix_batch(self, size: int) -> int:
        good = [_large(row) for row in self._random.sample(self._good, self._random.randint(1, 3))]
        seconds = [row for row in self._bad if not (row.fault.clock or row.fault.once or row.fault.ending in FINAL)]
        others = [*([self._random.choice(seconds)] if seconds and self._random.random() < SECOND_SHARE else []), *good]
        used: set[str] = {row.slug for row in others}
        cases = [self._pick(others, used) for _ in range(size)]
        database.arrange(others, [case.first for case in cases])
        self._run("mix", cases, at_once=AT_ONCE)
        return len(cases)

    def _pick(self, others: Sequence[Row], used: set[str]) -> Case:
        """Return any case; rows that can be asked once only are noted in `used`."""
        share, choice = self._random.random(), self._random.choice
        if share < STOPPED_SHARE:
            return self._case(choice(self._slow), others, stop_after=STOP_AFTER)
        if share < STOPPED_SHARE + GOOD_SHARE:
            return self._case(choice([*self._good, *self._other]), others)
        if share < STOPPED_SHARE + GOOD_SHARE + AUTO_SHARE:
            return self._case(others[0], others[1:], requested="")
        free = [row for row in self._bad if row.slug not in used]
        row = self._random.choices(free, [CLOCK_SHARE if row.fault.clock else 1.0 for row in free])[0]
        if row.fault.once:
            used.add(row.slug)
        return self._case(row, others)

    def _kill(self) -> None:
        """Kill the server while it streams, and see what is left of its answers."""
        database.arrange(self._good[:1], self._slow)
        for _ in range(KILLS):
            cases = [self._case(row, []) for row in self._slow]
            killed = kill_in_mid_answer(self._stand, cases)
            self.report.killed += killed
            self.report.messages.update(sent=len(killed), accepted=sum(bool(one.seen.reply_id) for one in killed))
            outcomes = database.read(cases, {one.case.number: one.seen for one in killed})
            self._settle(outcomes)
        wrong = [f"{one.case.first.slug}: {words}" for one in self.report.killed for words in one.wrong]
        name = f"{KILLS} × kill -9: all answers end interrupted, with their text"
        self._check("killing", name, not wrong, "; ".join(wrong[:3]))

    # --- Sending ------------------------------------------------------------------------------------------------------

    def _case(
        self,
        first: Row,
        others: Sequence[Row],
        *,
        policy: str = CONTINUE,
        requested: str | None = None,
        stop_after: int = 0,
    ) -> Case:
        self._number += 1
        name = f"fault-{self.report.seed}-{self._number}"
        chain = (first, *(row for row in others if row.slug != first.slug))
        return Case(
            number=self._number,
            session=name,
            message=f"{name} ".ljust(SHORTEST_MESSAGE + self._number % SIZES, "?"),
            requested=first.name if requested is None else requested,
            chain=chain,
            policy=policy,
            stop_after=stop_after,
            alternatives=len(chain) - 1,
        )

    def _send(self, others: Sequence[Row], requested: str | None = None) -> Outcome:
        (outcome,) = self._send_many([self._case(self._flaky, others, requested=requested)])
        return outcome

    def _send_many(self, cases: Sequence[Case], at_once: int = AT_ONCE) -> list[Outcome]:
        """Send these messages, count them, compare their money, and return what they came to, unjudged."""
        where = Site(self._stand.url, self._stand.pid, self._stand.simulator)
        seen = asyncio.run(ask_all(where, cases, at_once))
        outcomes = database.read(cases, seen)
        self._settle(outcomes)
        for outcome in outcomes:
            self._count(outcome)
        return outcomes

    def _run(self, phase: str, cases: Sequence[Case], at_once: int = 2 * AT_ONCE) -> list[Outcome]:
        """Send these messages and judge each by the story."""
        outcomes = self._send_many(cases, at_once)
        for outcome in outcomes:
            case = outcome.case
            wrong = judge(case, outcome.seen, outcome.stored, outcome.tried)
            fault = case.first.fault
            self.report.cells.append(
                Cell(
                    phase,
                    fault.name,
                    fault.when.value,
                    case.first.protocol,
                    case.alternatives,
                    outcome.seen.ending,
                    wrong,
                )
            )
        return outcomes

    def _count(self, outcome: Outcome) -> None:
        """Count a message: a person has an answer, unless they were shown an error."""
        seen, case = outcome.seen, outcome.case
        words = ["sent"] + (["accepted"] if seen.reply_id else [])
        if seen.reply_id and seen.completes != 1:
            words.append("lost")
        if seen.reply_id and _is_answerable(case):
            words.append("answerable")
            words += ["answered"] if seen.ending and not Ending(seen.ending).failed else []
        by_protocol = self.report.by_protocol.setdefault(case.first.protocol, Counter())
        self.report.messages.update(words)
        by_protocol.update(words)

    def _settle(self, outcomes: Sequence[Outcome]) -> None:
        """Compare the money of these messages with what the simulator has served since the last time."""
        lines = self._read_lines(LEAST_LINES + LINES_A_MESSAGE * len(outcomes))
        spent = database.spent(outcomes, self._rows)
        self.report.account.add(money.compare(spent, lines, CONTINUE_PROMPT))

    def _read_lines(self, last: int) -> list[dict[str, Any]]:
        """Return the simulator's new lines, once all of them are closed: it notices a moment later who has left."""
        deadline = time.monotonic() + LEDGER_SECONDS
        while True:
            found = asyncio.run(read_ledger(self._stand.simulator, last)) or []
            new = [line for line in found if line["id"] > self._last_line]
            if not any(line["open"] for line in new) or time.monotonic() > deadline:
                self._last_line = max([self._last_line, *(line["id"] for line in new)])
                return new
            # The simulator notices a closed connection with its next write, and tells nobody.
            time.sleep(0.02)

    def _check(self, phase: str, name: str, ok: bool, words: str = "") -> None:
        self.report.checks.append(Check(phase, name, ok, "" if ok else words))


HEALED = "sim-n8-gap0"
# More requests than some messages can have brought.
LEAST_LINES, LINES_A_MESSAGE = 50, 4


def _is_answerable(case: Case) -> bool:
    """Whether somebody healthy takes a message of this size, and may continue what another has begun."""
    size = case.first.fault.context or 0
    takes = [row for row in case.chain if row.fault is NO_FAULT and (not size or (row.context_window or 0) > size)]
    return bool(takes) and case.policy == CONTINUE


def _large(row: Row) -> Row:
    return replace(row, context_window=LARGE_CONTEXT)


def _fault(name: str, when: When) -> Fault:
    return next(fault for fault in FAULTS if (fault.name, fault.when) == (name, when))
