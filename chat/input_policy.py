"""What may be sent. The second wall, not the first: whatever passes is only text, which no shell or query sees."""

from __future__ import annotations

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from chat.figures import format_count
from chat.models import PolicyMode
from chat.policy import modes
from chat.policy.judging import Hit, judge
from chat.protocol import BadFrame

# What whoever is refused reads first; the rule's name, as the admin has it, goes along in `rule`.
REASONS = {
    "command_injection": gettext_noop("This reads like a command put into a shell, so it was not sent."),
    "script_injection": gettext_noop("This reads like a script put into a page, so it was not sent."),
    "path_traversal": gettext_noop("This reads like a path out of a folder, so it was not sent."),
    "sql_injection": gettext_noop("This reads like SQL put into a query, so it was not sent."),
}


def check(text: str, *, has_files: bool = False) -> tuple[str, ...]:
    """Return the rules that flag `text`. Raise BadFrame where it may not be sent; with a file it may be empty."""
    if not text.strip() and not has_files:
        raise BadFrame("empty_message", _("The message is empty."))
    flagged = []
    for hit in judge(text):
        mode = modes.mode_of(hit.rule)
        if mode == PolicyMode.REFUSE:
            modes.count(hit.rule, "refused")
            raise _refusal(hit, text)
        if mode == PolicyMode.FLAG:
            flagged.append(hit.rule)
    for rule in flagged:
        modes.count(rule, "flagged")
    return tuple(flagged)


def _refusal(hit: Hit, text: str) -> BadFrame:
    if hit.rule == "too_long":
        words = _("The message has %(count)s characters; %(most)s are allowed.")
        counts = {"count": format_count(len(text)), "most": format_count(settings.CHAT_MESSAGE_LENGTH)}
        return BadFrame("too_long", words % counts, rule=hit.rule)
    if hit.rule == "control_characters":
        words = _(
            "The message has a control character (%(character)s), which no text needs. Remove it and send it again."
        )
        return BadFrame("refused", words % {"character": hit.found}, rule=hit.rule)
    how = _(
        "To ask about it, say in a sentence what you want to know, "
        "or put it in a code block: a line of three back-ticks (```) above it and one below."
    )
    return BadFrame("refused", f"{_(REASONS[hit.rule])} {how}", rule=hit.rule)
