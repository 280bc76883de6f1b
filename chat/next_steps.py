"""What a reader can sensibly do about an answer that is not whole: one thing for each ending."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from django.utils.translation import gettext_lazy as _

from providers.endings import Ending


class Step(StrEnum):
    """What a press of the button beside an ending does; static/js/actions.js does it."""

    GO_ON = "go-on"
    AGAIN = "again"
    EDIT = "edit"

    @property
    def label(self) -> str:
        """Return what stands on the button."""
        return str(LABELS[self])


LABELS = {Step.GO_ON: _("Continue"), Step.AGAIN: _("Try again"), Step.EDIT: _("Edit your message")}


@dataclass(frozen=True)
class Steps:
    """The step for an answer that has text, and for one that has none."""

    with_text: Step | None
    without_text: Step | None


# What is there is kept and continued; where there is nothing, the same question may fare better a second time. Not
# where its words were refused.
CONTINUABLE = Steps(Step.GO_ON, Step.AGAIN)
REPEATABLE = Steps(Step.AGAIN, Step.AGAIN)
REFUSED = Steps(Step.EDIT, Step.EDIT)
STEPS = {
    Ending.COMPLETE: Steps(None, None),
    Ending.LENGTH: CONTINUABLE,
    Ending.FILTERED: REFUSED,
    Ending.EMPTY: REPEATABLE,
    Ending.CUT: CONTINUABLE,
    Ending.STALLED: CONTINUABLE,
    Ending.TIMED_OUT: CONTINUABLE,
    Ending.RATE_LIMITED: CONTINUABLE,
    Ending.REJECTED: REFUSED,
    Ending.MISCONFIGURED: CONTINUABLE,
    Ending.UNAUTHORISED: CONTINUABLE,
    Ending.PROVIDER_ERROR: CONTINUABLE,
    Ending.UNREACHABLE: CONTINUABLE,
    Ending.CRASHED: CONTINUABLE,
    Ending.STOPPED: CONTINUABLE,
    Ending.INTERRUPTED: CONTINUABLE,
    Ending.NOT_STARTED: REPEATABLE,
}


def find_step(ending: str, *, has_text: bool) -> Step | None:
    """Return the one sensible step after `ending`; None for an answer that is whole, or has not ended."""
    if not ending:
        return None
    steps = STEPS[Ending(ending)]
    return steps.with_text if has_text else steps.without_text


def describe_endings() -> dict[str, dict[str, object]]:
    """Return what static/js/endings.js must know of each ending, to show an answer that ends as a reload would."""
    return {
        ending.value: {
            "sentence": ending.sentence,
            "withText": _describe(steps.with_text),
            "withoutText": _describe(steps.without_text),
        }
        for ending, steps in STEPS.items()
    }


def _describe(step: Step | None) -> dict[str, str] | None:
    return {"step": step.value, "label": step.label} if step else None
