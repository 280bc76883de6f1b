"""Downloads: one conversation as a file. Nothing here is ever served as a page."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from chat.database import stepwise
from chat.exports.archive import write_archive
from chat.exports.downloads import Download, in_turn
from chat.exports.files import as_download, name_file
from chat.exports.rows import Rows, fetch
from chat.exports.texts import title_of, write_markdown, write_text
from chat.exports.tree import write_json, write_json_with_files
from chat.identity import get_user_or_404
from chat.models import Conversation
from chat.signals import tell
from chat.views.account import person_required


class Format(NamedTuple):
    """A way to write a conversation down. `write` takes its rows and whether the option was chosen.

    With its option, what `stream` yields is sent instead, where there is one.
    """

    media_type: str
    label: str | Promise
    option: str
    option_label: str | Promise
    write: Callable[[Rows, bool], str]
    stream: Callable[[Conversation], Iterator[bytes]] | None = None


FORMATS = {
    "md": Format(
        "text/markdown",
        _("Markdown: the branch you see, to read or to publish"),
        "reasoning",
        _("With reasoning"),
        lambda rows, chosen: write_markdown(rows.as_reading(reasoning=chosen)),
    ),
    "txt": Format(
        "text/plain",
        _("Plain text: the branch you see, for any editor"),
        "reasoning",
        _("With reasoning"),
        lambda rows, chosen: write_text(rows.as_reading(reasoning=chosen)),
    ),
    "json": Format(
        "application/json",
        _("JSON: every branch with all that is known, to import again"),
        "attachments",
        _("With the attached files"),
        lambda rows, _chosen: write_json(rows),
        write_json_with_files,
    ),
}


@require_safe
@never_cache
def export_page(request: HttpRequest, conversation_id: uuid.UUID) -> HttpResponse:
    """Offer the conversation as a file, and by link where the site shares."""
    found = get_object_or_404(Conversation.objects.of(get_user_or_404(request)), pk=conversation_id)
    formats = [
        (reverse(f"chat:export-{extension}", args=[found.pk]), extension, format)
        for extension, format in FORMATS.items()
    ]
    context = {
        "conversation": found,
        "title": title_of(found),
        "formats": formats,
        "sharing": settings.CHAT_SHARING,
    }
    return render(request, "chat/export.html", context)


@require_safe
@never_cache
def export(request: HttpRequest, conversation_id: uuid.UUID, extension: str) -> HttpResponseBase:
    """Send the conversation as a file, in one of FORMATS; `?reasoning=1` or `?attachments=1` add to it."""
    found = get_object_or_404(Conversation.objects.of(get_user_or_404(request)), pk=conversation_id)
    chosen = FORMATS[extension]
    option = request.GET.get(chosen.option) == "1"
    if request.method == "GET":
        tell("chat.conversation.exported", found.owner, "conversation", found.pk, format=extension)
    media_type = f"{chosen.media_type}; charset=utf-8"
    if option and chosen.stream:
        response = _stream(found.owner_id, partial(chosen.stream, found), media_type)
    else:
        # A lone surrogate cannot be sent; none is stored, but a file must not fail for one.
        response = HttpResponse(chosen.write(fetch(found), option).encode(errors="replace"), content_type=media_type)
    return as_download(response, name_file(title_of(found), extension))


@require_safe
@person_required
@never_cache
def everything(request: HttpRequest) -> HttpResponseBase:
    """Send all that the visitor has here as one archive, while it is being made."""
    user = get_user_or_404(request)
    if request.method == "GET":
        tell("chat.archive.exported", user, "user", user.pk)
    make = partial(write_archive, user, get_language())
    return as_download(_stream(user.pk, make, "application/zip"), f"sasha-studio-{timezone.localdate()}.zip")


def _stream(user_id: int, make: Callable[[], Iterator[bytes]], media_type: str) -> HttpResponseBase:
    return Download(in_turn(user_id, stepwise(make)), content_type=media_type)
