"""The branch that is shown as something to read: Markdown or plain text. Pure: works on rows that have been fetched."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone
from django.utils.translation import gettext as _

from chat.models import Attachment, Conversation, Message, Role, State
from chat.turns import Names, describe_ending, split_at_notices

# What would swallow everything behind it: https://spec.commonmark.org/0.31.2/#html-blocks, kinds 1 to 5.
# Within one line: what runs over line ends would look at many empty ones again and again.
UNTIL_ITS_END = re.compile(r"(?:\A|[\r\n])[^\S\r\n]*<(script|pre|style|textarea|!|\?)", re.IGNORECASE)
FENCE = re.compile(r"^( *)(`{3,}|~{3,})(.*)$")
# What Markdown would read as its own in one line of ours.
MARKS = re.compile(r"([\\`*_\[\]<&~])")
LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class Reading:
    """What is written down: the branch from its first message, with the attachments of each."""

    conversation: Conversation
    branch: Sequence[Message]
    attachments: Mapping[object, Sequence[Attachment]]
    names: Names
    reasoning: bool = False


def write_markdown(reading: Reading) -> str:
    """Return the branch as Markdown: rules and bold names, since a message may have headings of its own."""
    head = [f"# {_escape(title_of(reading.conversation))}", f"*{_escape(_describe_dates(reading.conversation))}*"]
    blocks = ["\n\n".join([*head, *_markdown_settings(reading.conversation)])]
    for message in reading.branch:
        speaker = f"**{_escape(_name_speaker(message, reading.names))}** · {_escape(format_time(message.created_at))}"
        blocks.append("\n\n".join([speaker, *_markdown_parts(message, reading)]))
    return "\n\n---\n\n".join(blocks) + "\n"


def write_text(reading: Reading) -> str:
    """Return the branch as plain text, with the messages as they are."""
    blocks = ["\n".join([title_of(reading.conversation), _describe_dates(reading.conversation)])]
    if reading.conversation.system_prompt:
        blocks[0] += "\n\n" + _("System prompt:") + "\n" + reading.conversation.system_prompt
    for message in reading.branch:
        speaker = f"{_name_speaker(message, reading.names)} ({format_time(message.created_at)}):"
        blocks.append("\n\n".join([speaker, *_text_parts(message, reading)]))
    return f"\n\n{'-' * 40}\n\n".join(blocks) + "\n"


def title_of(conversation: Conversation) -> str:
    """Return the title in one line, or words for having none."""
    return " ".join(conversation.title.split()) or _("Untitled conversation")


def format_time(moment: datetime) -> str:
    """Return a moment to the minute, with its zone."""
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M %Z}"


def _describe_dates(conversation: Conversation) -> str:
    return _("Begun %(begun)s, last message %(last)s. Exported from Sasha Studio.") % {
        "begun": format_time(conversation.created_at),
        "last": format_time(conversation.updated_at),
    }


def _name_speaker(message: Message, names: Names) -> str:
    if message.role == Role.USER:
        return _("You")
    if not message.model:
        return _("Answer")
    name = names.of_model(message.provider, message.model)
    return _("%(model)s, continuing") % {"model": name} if message.continues else name


def _markdown_settings(conversation: Conversation) -> list[str]:
    if not conversation.system_prompt:
        return []
    return ["**" + _("System prompt") + "**", _quote(conversation.system_prompt)]


def _markdown_parts(message: Message, reading: Reading) -> Iterable[str]:
    for attachment in reading.attachments.get(message.pk, ()):
        yield f"*{_escape(_describe_attachment(attachment))}*"
    if message.reasoning and reading.reasoning:
        yield "*" + _escape(_("Reasoning:")) + "*"
        yield _quote(message.reasoning)
    for part in split_at_notices(message.text, message.notices):
        if text := part.text.strip("\r\n"):
            yield text if stands_alone(text) else _quote(text)
        if part.notice:
            yield f"*[{_escape(part.notice.reason)}]*"
    if ending := _describe_end(message):
        yield f"*{_escape(ending)}*"


def _text_parts(message: Message, reading: Reading) -> Iterable[str]:
    for attachment in reading.attachments.get(message.pk, ()):
        yield f"[{_describe_attachment(attachment)}]"
    if message.reasoning and reading.reasoning:
        begin, end = _("Reasoning:"), _("End of the reasoning")
        yield f"[{begin}]\n{message.reasoning}\n[{end}]"
    for part in split_at_notices(message.text, message.notices):
        if text := part.text.strip("\r\n"):
            yield text
        if part.notice:
            yield f"[{part.notice.reason}]"
    if ending := _describe_end(message):
        yield f"[{ending}]"


def _describe_attachment(attachment: Attachment) -> str:
    return _("Attached: %(name)s") % {"name": " ".join(attachment.name.split())}


def _describe_end(message: Message) -> str:
    if message.state != State.ENDED:
        return _("This answer was still being written when it was exported.")
    return describe_ending(message.ending, message.error)


def _escape(words: str) -> str:
    return MARKS.sub(r"\\\1", " ".join(words.split()))


def _quote(text: str) -> str:
    """Return the text as a block quote, out of which no Markdown reaches."""
    return "\n".join(f"> {line}" if line else ">" for line in LINE_END.split(text))


def stands_alone(text: str) -> bool:
    """Whether Markdown behind `text` is read as it would be without it. False where that is not sure."""
    if UNTIL_ITS_END.search(text):
        return False
    indent, fence = 0, ""
    for line in LINE_END.split(text.expandtabs(4)):
        found = FENCE.match(line)
        if not fence:
            if found and not (found[2][0] == "`" and "`" in found[3]):
                indent, fence = len(found[1]), found[2]
            continue
        # Less indented: the list that the fence stood in may have ended, and the fence with it.
        if line.strip() and len(line) - len(line.lstrip(" ")) < indent:
            return False
        if found and found[2].startswith(fence) and not found[3].strip() and len(found[1]) <= indent + 3:
            fence = ""
    return not fence
