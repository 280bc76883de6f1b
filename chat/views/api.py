"""The wire protocol over plain HTTP, as in docs/protocol.md: POSTs for what a client says, event streams back."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from chat import protocol
from chat.admission import Dismissed, admit
from chat.database import db
from chat.identity import Visitor, find_visitor, forged
from chat.models import Conversation, Message, Role
from chat.plain_http import END_MARK, FrameStream, SingleFrame, as_event, give_thread_back

# What the `code` of an `error` is as a status; everything else is the client's mistake.
STATUSES = {"not_found": 404, "still_running": 409, "not_waiting": 409, "too_many": 429, "restarting": 503}
# Of longer ones Python refuses to make a number.
NUMBER = re.compile(r"[0-9]{1,9}")
P = ParamSpec("P")
ForVisitor = Callable[Concatenate[HttpRequest, Visitor, P], Coroutine[Any, Any, HttpResponseBase]]


def for_visitor(view: ForVisitor[P]) -> Callable[..., Coroutine[Any, Any, HttpResponseBase]]:
    """Give the view its visitor, and refuse who has not signed in and what another site has made a browser send."""

    # Answers for itself: a script wants a status, not a page.
    @login_not_required
    @csrf_exempt
    @wraps(view)
    async def checked(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if int(request.META.get("CONTENT_LENGTH") or 0) > protocol.FRAME_LIMIT:
            return refuse_size()
        visitor = await db(find_visitor, request)
        if visitor is None:
            return refuse(401, "sign_in", _("Sign in first."))
        if forged(request):
            sentence = _("This request does not come from a page of this site, or from an old one.")
            return refuse(403, "forbidden", sentence)
        return await view(request, visitor, *args, **kwargs)

    return checked


def refuse(status: int, code: str, sentence: str) -> JsonResponse:
    """Return an `error` that is not the socket's."""
    return JsonResponse({"type": protocol.Error.type, "error": sentence, "code": code}, status=status)


def refuse_size() -> JsonResponse:
    """Return the refusal of a frame that no socket would take either."""
    return refuse(413, "too_large", f"A frame has at most {protocol.FRAME_LIMIT // 1024} KiB.")


def nothing() -> HttpResponse:
    """Return an answer without content, which is not a page either."""
    return HttpResponse(status=204, content_type="application/json")


@require_POST
@for_visitor
async def messages(request: HttpRequest, visitor: Visitor, name: str) -> HttpResponseBase:
    """Take one frame, and answer with the frame that answers it."""
    # Who sends in chunks does not say beforehand how much there is.
    body = request.read(protocol.FRAME_LIMIT + 1)
    if len(body) > protocol.FRAME_LIMIT:
        return refuse_size()
    return await _answer(visitor, name, body.decode(errors="replace"))


@require_POST
@for_visitor
async def stop(request: HttpRequest, visitor: Visitor, reply_id: uuid.UUID) -> HttpResponseBase:
    """End a reply."""
    return await _answer(visitor, "", json.dumps({"type": protocol.Stop.type, "replyId": str(reply_id)}))


async def _answer(visitor: Visitor, name: str, text: str) -> HttpResponseBase:
    answers = await SingleFrame(visitor, name).handle(text)
    if not answers:
        return nothing()
    answer = answers[0]
    if answer["type"] == protocol.Closing.type:
        # Dismissed in this very moment, or a fault of ours.
        if answer["code"] in (protocol.CloseCode.SIGN_IN, protocol.CloseCode.CHANGED):
            return refuse(401, "sign_in", answer["reason"])
        return refuse(500, "failed", answer["reason"])
    if answer["type"] == protocol.Error.type:
        return JsonResponse(answer, status=STATUSES.get(answer["code"], 400))
    return JsonResponse(answer, status=202)


@login_not_required
@csrf_exempt
@require_http_methods(["GET", "POST"])
async def connection(request: HttpRequest) -> HttpResponseBase:
    """Say what this server sees of a request, for whoever wants to know what is between them. Changes nothing.

    A POST, since browsers name their page's origin there and not in a GET.
    """
    origin = request.headers.get("Origin")
    seen = {
        "host": request.get_host(),
        "secure": request.is_secure(),
        "origin": origin,
        "allowed": origin in settings.CSRF_TRUSTED_ORIGINS,
        "signedIn": await db(find_visitor, request) is not None,
    }
    return JsonResponse(seen, headers={"Cache-Control": "no-store"})


@login_not_required
@require_GET
async def connection_events(request: HttpRequest) -> HttpResponseBase:
    """Stream three events, 200 ms apart: what arrives together has been held back."""
    return _stream(_three_events())


async def _three_events() -> AsyncIterator[bytes]:
    await give_thread_back()
    for number in range(1, 4):
        yield as_event({"type": "probe", "seq": number})
        await asyncio.sleep(0.2)


@require_GET
@for_visitor
async def conversation_events(request: HttpRequest, visitor: Visitor, name: str) -> HttpResponseBase:
    """Stream what a socket is sent that says `hello`."""
    after = dict(re.findall(r"([0-9a-f-]{36}):(\d{1,9})", request.GET.get("after", "")))
    hello = {"type": protocol.Hello.type, "after": {reply_id: int(seq) for reply_id, seq in after.items()}}
    seconds = request.GET.get("seconds", "")
    most = min(int(seconds), 60) if NUMBER.fullmatch(seconds) else None
    return _stream(FrameStream(visitor, name, hello, seconds=most))


@require_GET
@for_visitor
async def reply_events(request: HttpRequest, visitor: Visitor, reply_id: uuid.UUID) -> HttpResponseBase:
    """Stream one reply, from behind a number on, up to its `complete`."""
    after = request.headers.get("Last-Event-ID") or request.GET.get("after", "")
    if after.endswith(END_MARK):
        return nothing()
    session = await db(_find_session, visitor, reply_id)
    if session is None:
        return refuse(404, "not_found", _("There is no such answer."))
    attach = {
        "type": protocol.Attach.type,
        "replyId": str(reply_id),
        "after": int(after) if NUMBER.fullmatch(after) else 0,
    }
    return _stream(FrameStream(visitor, session, attach, reply_id=str(reply_id)))


def _find_session(visitor: Visitor, reply_id: uuid.UUID) -> str | None:
    try:
        owned = Message.objects.filter(conversation__in=Conversation.objects.of(admit(visitor)))
    except Dismissed:
        return None
    return owned.filter(pk=reply_id, role=Role.ASSISTANT).values_list("conversation__name", flat=True).first()


def _stream(frames: AsyncIterable[bytes]) -> StreamingHttpResponse:
    # The second is nginx's; the first keeps caches from storing what is private, and proxies from collecting events.
    headers = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(frames, content_type="text/event-stream; charset=utf-8", headers=headers)
