"""The page on which conversations come in from a file."""

from __future__ import annotations

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from chat.admission import Dismissed, admit_or_make
from chat.identity import find_visitor
from chat.imports.run import Report, import_file
from chat.imports.upload import describe_too_large

# Lines of each kind on the page; the rest is a number.
SHOWN = 100


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def import_page(request: HttpRequest) -> HttpResponse:
    """Ask for a file, and say what became of each conversation in it."""
    if request.method != "POST":
        return _render(request)
    visitor = find_visitor(request)
    if visitor is None:
        raise Http404
    file = request.FILES.get("file")
    if not isinstance(file, UploadedFile):
        return _render(request, problem=_("Choose a file first."), status=400)
    if (file.size or 0) > settings.CHAT_IMPORT_BYTES:
        return _render(request, problem=describe_too_large(), status=413)
    try:
        # A guest may begin with what they said elsewhere.
        owner = admit_or_make(visitor)
    except Dismissed:
        raise Http404 from None
    report = import_file(owner, file, copies=request.POST.get("copies") == "1")
    unread = not (report.imported or report.skipped or report.failed)
    return _render(request, report, problem=report.problem, status=400 if unread else 200)


def _render(
    request: HttpRequest, report: Report | None = None, *, problem: str = "", status: int = 200
) -> HttpResponse:
    report = report or Report()
    context = {
        "problem": problem,
        "imported": report.imported[:SHOWN],
        "skipped": report.skipped[:SHOWN],
        "failed": report.failed[:SHOWN],
        "counts": {
            "imported": len(report.imported),
            "skipped": len(report.skipped),
            "failed": len(report.failed),
        },
        "shown": SHOWN,
        "megabytes": settings.CHAT_IMPORT_BYTES // 1_000_000,
    }
    return render(request, "chat/import.html", context, status=status)
