"""The search: a page of its own, of which the list beside the chat takes the results as one types."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from chat.identity import find_user
from chat.search import search


@require_safe
@never_cache
def search_page(request: HttpRequest) -> HttpResponse:
    """Show what was found for `?q=`."""
    results = search(find_user(request), request.GET.get("q", ""))
    return render(request, "chat/search.html", {"results": results})
