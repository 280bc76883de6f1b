"""Abuse over HTTP: every address as everybody, without the tokens of our pages, and requests that are broken."""

from __future__ import annotations

import asyncio
import re
import uuid
from urllib.parse import urlencode, urlsplit

from chat.routes import find_routes
from monitoring.security.findings import Section, shown
from monitoring.security.target import FORM, Response, Target, Visitor

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
# What comes back where somebody may not, or where there is nothing.
REFUSALS = {301, 302, 303, 307, 400, 401, 403, 404, 405, 410, 413, 415, 429}
# Of the admin's addresses, those that everybody may open.
ADMINS_DOOR = ("admin/login/", "admin/logout/", "admin/jsi18n/")
# A POST, since browsers name their page's origin there; it only says what it sees.
HARMLESS = {("POST", "/api/connection")}
BIG_BYTES = 30_000_000
SECONDS_TO_REFUSE = 10.0
# What every page says about itself, and what may not be in it.
HEADERS = {
    "content-security-policy": r"(?!.*unsafe-(?:inline|eval)).*default-src 'none'",
    "x-content-type-options": r"nosniff",
    "x-frame-options": r"DENY",
    "referrer-policy": r"same-origin|no-referrer",
}
FILES_OUTSIDE = (
    "/static/../sasha/settings.py",
    "/static/..%2f..%2fetc/passwd",
    "/static/%2e%2e/%2e%2e/etc/passwd",
    "/static//etc/passwd",
    "/static/....//....//etc/passwd",
    "/words/..%2f..%2fsettings.js",
)


def addresses() -> list[str]:
    """Return every address of the site, with something that does not exist in place of each parameter."""
    return sorted({fill(route.template) for route in find_routes()})


def fill(route: str) -> str:
    """Return an address without parameters, whatever their form."""
    filled = re.sub(r"<uuid:\w+>", str(uuid.uuid4()), route)
    filled = re.sub(r"<int:\w+>", "999999", filled)
    filled = re.sub(r"<\w+:\w+>|<\w+>", "nothing", filled)
    return re.sub(r"\(\?P?.*?\)|[\^$?()\\*|]", "", filled)


async def try_pages(target: Target) -> Section:
    """Ask for every address with every method, as everybody that there is."""
    section = Section("every address as everybody")
    visitors: dict[str, Visitor | None] = {
        "a stranger": target.stranger(),
        "a user": target.user,
        "staff": target.staff,
    }
    for name, visitor in visitors.items():
        if visitor is None:
            section.left_out.append(f"as {name}: nobody was given who can sign in")
            continue
        for address in addresses():
            for method in METHODS:
                await _try_page(section, name, visitor, method, address)
    return section


async def _try_page(section: Section, name: str, visitor: Visitor, method: str, path: str) -> None:
    response = await visitor.ask(method, path)
    where = f"{method} {path} as {name}"
    section.check(response.status < 500, f"{where}: {response.status}")
    section.check("Traceback" not in response.text, f"{where}: a traceback")
    is_admins = path.startswith("/admin/") and not path.startswith(tuple(f"/{door}" for door in ADMINS_DOOR))
    if is_admins and name != "staff":
        section.check(response.status in REFUSALS, f"{where}: {response.status}")
    if method not in ("GET", "HEAD") and (method, path) not in HARMLESS:
        # No token of a page of ours came with it.
        section.check(response.status in REFUSALS, f"{where}, without a token: {response.status}")
    if response.status == 200 and "text/html" in response.headers.get("content-type", ""):
        _look_at(section, where, response)


def _look_at(section: Section, where: str, response: Response) -> None:
    for header, wanted in HEADERS.items():
        value = response.headers.get(header, "")
        section.check(bool(re.match(wanted, value)), f"{where}: {header} is {shown(value)}")
    for cookie in response.cookies:
        words = cookie.lower()
        taken_back = "max-age=0" in words
        section.check(
            taken_back or ("httponly" in words and "samesite" in words), f"{where}: the cookie {shown(cookie)} is open"
        )


async def try_requests(target: Target) -> Section:
    """Send requests that no browser of an honest person sends."""
    section = Section("broken and forged requests")
    stranger = target.stranger()
    for path in FILES_OUTSIDE:
        response = await stranger.ask("GET", path)
        leaked = "root:" in response.text or "SECRET_KEY" in response.text
        section.check(response.status in REFUSALS and not leaked, f"{path}: {response.status}")
    for method in ("TRACE", "CONNECT", "BREW"):
        response = await stranger.ask(method, "/")
        section.check(response.status in REFUSALS or response.status == 501, f"{method}: {response.status}")
    for header, value in (
        ("Host", "evil.example"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Original-URL", "/admin/"),
    ):
        response = await stranger.ask("GET", "/", headers={header: value})
        section.check("evil.example" not in response.text, f"{header}: {value} is repeated")
    await _try_redirects(target, section)
    await _try_body(target, section)
    return section


async def _try_redirects(target: Target, section: Section) -> None:
    visitor = Visitor(target.url)
    for there in (
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "http:evil.example",
    ):
        response = await visitor.post_form("/account/sign-in", "/account/language", language="en", next=there)
        place = response.headers.get("location", "")
        section.check(
            not urlsplit(place).netloc and ":" not in place and "\\" not in place, f"it leads to {shown(place)}"
        )
    for page, data in (("/account/sign-out", {}), ("/account/language", {"language": "de"})):
        forged = await visitor.ask(
            "POST", page, urlencode(data).encode(), {"Content-Type": FORM, "Origin": "https://evil.example"}
        )
        section.check(forged.status == 403, f"POST {page} from another site: {forged.status}")


async def _try_body(target: Target, section: Section) -> None:
    """Say that 30 MB come, and begin to send them: the refusal comes before they have."""
    parts = urlsplit(target.url)
    for header in (f"Content-Length: {BIG_BYTES}", "Transfer-Encoding: chunked"):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
        head = f"POST /account/sign-in HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: {FORM}\r\n{header}\r\n\r\n"
        writer.write(head.encode())
        status, sent = await _send_until_refused(reader, writer, chunked="chunked" in header)
        writer.close()
        where = f"a body of {BIG_BYTES // 1_000_000} MB ({header.partition(':')[0]})"
        section.check(status in (0, 400, 413), f"{where} was answered by {status}")
        section.check(sent < BIG_BYTES, f"{where} was read to its end")


async def _send_until_refused(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, chunked: bool
) -> tuple[int, int]:
    """Return the status (0: the connection was cut) and how many bytes had been sent by then."""
    answer = asyncio.create_task(reader.readline())
    piece, sent = b"a" * 65536, 0
    try:
        while not answer.done() and sent < BIG_BYTES:
            writer.write(b"10000\r\n" + piece + b"\r\n" if chunked else piece)
            await asyncio.wait_for(writer.drain(), SECONDS_TO_REFUSE)
            sent += len(piece)
            # Lets the refusal in, if there is one.
            await asyncio.wait({answer}, timeout=0.001)
        line = await asyncio.wait_for(answer, SECONDS_TO_REFUSE)
    except (OSError, TimeoutError):
        answer.cancel()
        return 0, sent
    return (int(line.split()[1]) if line else 0), sent
