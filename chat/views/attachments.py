"""Files for messages: taken in, shown to their owner, thrown away before they are sent."""

from __future__ import annotations

import uuid
from functools import partial

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import User
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from chat import attachments
from chat.admission import Dismissed, admit, admit_or_make
from chat.database import stepwise
from chat.exports.attached import PIECE_BYTES, read_pieces
from chat.exports.downloads import Download, in_turn
from chat.identity import find_visitor, forged
from chat.models import Attachment
from chat.uploads import BadUpload, clean_name, read_upload

# Opened by itself, a file is a page without a script, a form, or an origin of its own.
POLICY = "default-src 'none'; sandbox"


@login_not_required
@require_POST
@csrf_exempt
def upload(request: HttpRequest) -> HttpResponse:
    """Keep the form's `file` for the visitor's next message; answer with what is kept of it, or `error`, a sentence."""
    visitor = find_visitor(request)
    if visitor is None:
        return _refuse(401, _("Sign in first."))
    if forged(request):
        return _refuse(403, _("This page is too old. Reload it."))
    file = request.FILES.get("file")
    if not isinstance(file, UploadedFile) or file.size is None:
        return _refuse(400, _("There is no file in this request."))
    if file.size > settings.CHAT_FILE_BYTES:
        sentence = _("%(name)s is too large: a file may have %(most)s MB.")
        most = round(settings.CHAT_FILE_BYTES / 1_000_000, 1)
        return _refuse(413, sentence % {"name": clean_name(file.name or ""), "most": f"{most:g}"})
    try:
        kept = attachments.keep(admit_or_make(visitor), read_upload(file.name or "", file.read()))
    except BadUpload as refused:
        return _refuse(422, refused.sentence)
    except Dismissed as dismissed:
        return _refuse(401, str(dismissed))
    return JsonResponse(_describe(kept), status=201)


@require_safe
def attachment(request: HttpRequest, attachment_id: uuid.UUID) -> HttpResponseBase:
    """Return a file as it is kept; to anybody but its owner it does not exist."""
    user = _get_user_or_404(request)
    found = get_object_or_404(attachments.of_user(user), pk=attachment_id)
    headers = {
        "Content-Disposition": content_disposition_header(False, found.name) or "inline",
        "Cache-Control": "private, max-age=86400",
        "Cross-Origin-Resource-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": POLICY,
        "Content-Type": found.media_type if found.is_image else f"{found.media_type}; charset=utf-8",
        "Content-Length": str(found.size),
    }
    if found.size > PIECE_BYTES:
        return Download(in_turn(("file", user.pk), stepwise(partial(read_pieces, found.pk))), headers=headers)
    data = b"".join(read_pieces(found.pk))
    if len(data) != found.size:
        # Deleted a moment ago.
        raise Http404
    return HttpResponse(data, headers=headers)


@require_POST
@csrf_exempt
def delete(request: HttpRequest, attachment_id: uuid.UUID) -> HttpResponse:
    """Delete a file that no message has; what was sent goes with its message."""
    if forged(request) or not attachments.delete_unsent(_get_user_or_404(request), attachment_id):
        raise Http404
    return HttpResponse(status=204)


def _get_user_or_404(request: HttpRequest) -> User:
    visitor = find_visitor(request)
    try:
        user = admit(visitor) if visitor else None
    except Dismissed:
        user = None
    if user is None:
        raise Http404
    return user


def _describe(kept: Attachment) -> dict[str, object]:
    described = {
        "id": str(kept.pk),
        "kind": kept.kind,
        "name": kept.name,
        "mediaType": kept.media_type,
        "width": kept.width,
        "height": kept.height,
        "size": kept.size,
        "url": kept.get_absolute_url(),
    }
    return {name: value for name, value in described.items() if value is not None}


def _refuse(status: int, sentence: str) -> HttpResponse:
    return JsonResponse({"error": sentence}, status=status)
