"""One import: from a file to conversations, and a report of what became of each."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import IO, Any

from django.contrib.auth.models import User
from django.utils.translation import gettext as _

from chat.imports import chatgpt, open_webui, ours
from chat.imports.drafts import Draft, Refused, read_label
from chat.imports.storing import find_stored, store
from chat.imports.upload import Found, read_documents
from chat.models import Conversation

# A request of more than a minute is cut off by most proxies. What is left over comes with the next one.
SECONDS = 40.0


@dataclass(frozen=True)
class Outcome:
    """What became of one conversation: `conversation` is the one that is here now, None where it failed."""

    title: str
    conversation: Conversation | None = None
    reason: str = ""


@dataclass
class Report:
    """What became of a file. `problem`: why it was not read to its end."""

    imported: list[Outcome] = field(default_factory=list)
    skipped: list[Outcome] = field(default_factory=list)
    failed: list[Outcome] = field(default_factory=list)
    problem: str = ""


def import_file(owner: User, file: IO[bytes], *, copies: bool = False) -> Report:
    """Import what is in `file`. `copies`: also what is here already."""
    report = Report()
    until = time.monotonic() + SECONDS
    try:
        for found in read_documents(file):
            if time.monotonic() > until:
                report.problem = _(
                    "That took long enough for one request. Send the file again: what is here already is skipped."
                )
                break
            _import_one(owner, found, report, until, copies=copies)
    except Refused as refusal:
        report.problem = str(refusal)
    if not (report.problem or report.imported or report.skipped or report.failed):
        report.problem = _("There are no conversations in this file.")
    return report


def _import_one(owner: User, found: Found, report: Report, until: float, *, copies: bool) -> None:
    title = _title_of(found.document)
    try:
        draft = _read(found)
        if not draft.messages:
            raise Refused(_("It has no messages."))
    except Refused as refusal:
        report.failed.append(Outcome(title, reason=str(refusal)))
        return
    if not copies and (stored := find_stored(owner, draft)):
        report.skipped.append(Outcome(title, stored, _("It is here already.")))
        return
    conversation, remarks = store(owner, draft, until)
    report.imported.append(Outcome(title, conversation, " ".join(remarks)))


def _read(found: Found) -> Draft:
    document = found.document
    if ours.recognises(document):
        return ours.read(document, found.find)
    if chatgpt.recognises(document):
        return chatgpt.read(document)
    if open_webui.recognises(document):
        return open_webui.read(document)
    raise Refused(_("This is no conversation of Sasha Studio, ChatGPT or Open WebUI."))


def _title_of(document: Any) -> str:
    title = document.get("title") if isinstance(document, dict) else None
    return read_label(title, 80) or _("Untitled conversation")
