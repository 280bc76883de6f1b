"""What the page costs its reader, measured in Chromium. Run it alone on a quiet machine: scripts/bench-page.

Not a test: it prints figures and fails for none. docs/performance.md has those that were seen.
"""

from __future__ import annotations

import time
import uuid
from datetime import timedelta
from statistics import median, quantiles

import psutil
from django.contrib.auth.models import User
from django.core import signing
from django.utils import timezone

from chat.database import db
from chat.identity import GUEST_COOKIE, SALT
from chat.models import Conversation, Message, Role
from chat.tests.browser.pages import BROWSER, MINUTE, SHORT, SLOW, STEADY, say, until_ended, until_text

pytestmark = BROWSER

STEADY_SECONDS = 300
ROUNDS = 20
CONVERSATIONS = 10_000
MESSAGES = 2000

# Notes when the first frame of each answer arrives, and when the first paint behind it has happened.
WATCH_FIRST = """
(() => {
  const Native = WebSocket;
  window.firsts = [];
  window.WebSocket = class extends Native {
    constructor(...all) {
      super(...all);
      this.addEventListener("message", ({ data }) => {
        const frame = JSON.parse(data);
        if (frame.type !== "chunk" || frame.from !== 1) return;
        const came = performance.now();
        const look = () => {
          const texts = document.querySelectorAll("[data-state=running] [data-text]");
          if (![...texts].some((text) => text.textContent.trim())) return requestAnimationFrame(look);
          requestAnimationFrame(() => firsts.push(performance.now() - came));
        };
        requestAnimationFrame(look);
      });
    }
  };
})()
"""
# Notes when the page has text of an answer, in milliseconds since its navigation began.
WATCH_RESUME = """
(() => {
  const look = () => {
    const texts = document.querySelectorAll("[data-role=assistant] [data-text]");
    if ([...texts].some((text) => text.textContent.trim())) window.resumed = performance.now();
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})()
"""


def report(name: str, values: list[float], unit: str = "ms") -> None:
    high = quantiles(values, n=20)[-1] if len(values) > 1 else values[0]
    print(f"\n{name}: median {median(values):.0f} {unit}, p95 {high:.0f} {unit} ({len(values)} rounds)", flush=True)


async def test_first_token(context):
    await context.add_init_script(WATCH_FIRST)
    page = await context.new_page()
    await page.goto("/")
    for number in range(1, ROUNDS + 1):
        await say(page, "Hello", SHORT)
        await until_ended(page, number)
    report("first token, from its frame to the paint", await page.evaluate("firsts"))


async def test_resume(context):
    await context.add_init_script(WATCH_RESUME)
    page = await context.new_page()
    await page.goto("/")
    await say(page, "Hello", MINUTE)
    await until_text(page, "word50 ")
    times = []
    for _ in range(ROUNDS):
        await page.reload()
        await page.wait_for_function("window.resumed")
        times.append(await page.evaluate("resumed"))
    report("resume, from the reload to the text", times)
    await page.click("[data-stop]")
    await until_ended(page)


async def test_steady_stream(context, browser, server):
    page = await context.new_page()
    await page.goto("/")
    session = await context.new_cdp_session(page)
    await session.send("Performance.enable")
    await say(page, "Hello", STEADY)
    await until_text(page, "word10 ")
    busy, cpu, began = await task_seconds(session), renderer_seconds(), time.monotonic()
    await page.wait_for_timeout(STEADY_SECONDS * 1000)
    took = time.monotonic() - began
    share = (await task_seconds(session) - busy) / took
    whole = (renderer_seconds() - cpu) / took
    print(f"\n60 tokens/s for {took:.0f} s: main thread {share:.1%} of a core, renderers {whole:.1%}", flush=True)
    await page.click("[data-stop]")
    await until_ended(page)


async def task_seconds(session) -> float:
    metrics = (await session.send("Performance.getMetrics"))["metrics"]
    return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")


def renderer_seconds() -> float:
    """Return the processor time of Chromium's renderers that belong to this process."""
    children = psutil.Process().children(recursive=True)
    return sum(sum(child.cpu_times()[:2]) for child in children if "--type=renderer" in child.cmdline())


async def test_large_histories(context, server):
    token = uuid.uuid4().hex
    conversation = await db(fill, token)
    await context.add_cookies(
        [{"name": GUEST_COOKIE, "value": signing.dumps(token, salt=SALT), "url": server.url, "httpOnly": True}]
    )
    page = await context.new_page()
    for name, address in (("new page", "/"), ("long conversation", f"/c/{conversation.pk}/")):
        answered, ready = [], []
        for _ in range(ROUNDS):
            await page.goto(address)
            timing = await page.evaluate("performance.getEntriesByType('navigation')[0].toJSON()")
            answered.append(timing["responseEnd"] - timing["requestStart"])
            ready.append(timing["domContentLoadedEventEnd"])
        report(f"{name}, {CONVERSATIONS} conversations, {MESSAGES} messages: server", answered)
        report(f"{name}: ready", ready)
    await say(page, "And now?", SLOW)
    await page.evaluate(
        """() => {
          window.longest = 0;
          let last = performance.now();
          const look = (now) => {
            window.longest = Math.max(window.longest, now - last);
            last = now;
            requestAnimationFrame(look);
          };
          requestAnimationFrame(look);
        }"""
    )
    await until_text(page, "word90 ")
    print(f"\nlongest frame while streaming there: {await page.evaluate('longest'):.0f} ms", flush=True)


def fill(token: str) -> Conversation:
    """Store a guest's CONVERSATIONS conversations, one of them with MESSAGES messages."""
    owner = User.objects.create(username=f"guest-{token}")
    now = timezone.now()
    rows = [
        Conversation(owner=owner, name=str(uuid.uuid4()), title=f"Conversation {number}")
        for number in range(CONVERSATIONS)
    ]
    Conversation.objects.bulk_create(rows)
    for number, row in enumerate(rows):
        row.updated_at = now - timedelta(hours=number)
    Conversation.objects.bulk_update(rows, ["updated_at"], batch_size=500)
    long, parent, messages = rows[0], None, []
    for number in range(MESSAGES):
        role = Role.ASSISTANT if number % 2 else Role.USER
        text = (
            f"# Answer {number}\n\n" + "Some words, *some* of them `code`. " * 20
            if number % 2
            else f"Question {number}"
        )
        ending = "complete" if number % 2 else ""
        parent = Message(conversation=long, parent=parent, role=role, text=text, ending=ending)
        messages.append(parent)
    Message.objects.bulk_create(messages, batch_size=200)
    long.current_leaf = parent
    long.save()
    return long
