from __future__ import annotations

from asgiref.sync import iscoroutinefunction
from django.http import HttpResponse

from sasha.csp import HEADER, ContentSecurityPolicyMiddleware, build_policy

POLICY = {"default-src": ["'none'"], "img-src": ["'self'", "data:"]}


def test_a_policy_is_one_line():
    assert build_policy(POLICY) == "default-src 'none'; img-src 'self' data:"


def test_every_response_gets_the_policy(rf, settings):
    settings.SECURE_CSP = POLICY
    middleware = ContentSecurityPolicyMiddleware(lambda request: HttpResponse())
    assert middleware(rf.get("/"))[HEADER] == build_policy(POLICY)


def test_a_policy_of_the_view_is_kept(rf):
    middleware = ContentSecurityPolicyMiddleware(lambda request: HttpResponse(headers={HEADER: "default-src 'self'"}))
    assert middleware(rf.get("/"))[HEADER] == "default-src 'self'"


async def test_an_asynchronous_site_stays_asynchronous(rf, settings):
    settings.SECURE_CSP = POLICY

    async def view(request):
        return HttpResponse()

    middleware = ContentSecurityPolicyMiddleware(view)
    assert iscoroutinefunction(middleware)
    assert (await middleware(rf.get("/")))[HEADER] == build_policy(POLICY)
