"""The list of conversations in a real browser: menus, scrolling, other tabs, wrong clocks, no JavaScript."""

from __future__ import annotations

import asyncio
import re
import uuid
from datetime import UTC, datetime, timedelta

from django.contrib.auth.models import User
from django.utils import timezone
from playwright.async_api import Page, expect

from chat.models import Conversation
from chat.tests.browser.pages import BROWSER, SHORT, replies, say, until_ended

pytestmark = BROWSER


async def make(count: int, **fields) -> list[Conversation]:
    """Store conversations of whoever has said something, the first one used last: one each hour before this one."""
    owner = await User.objects.aget()
    made = [Conversation(owner=owner, name=str(uuid.uuid4()), title=f"Number {n}", **fields) for n in range(count)]
    await Conversation.objects.abulk_create(made)
    for hours, conversation in enumerate(made, start=1):
        at = timezone.now() - timedelta(hours=hours)
        await Conversation.objects.filter(pk=conversation.pk).aupdate(updated_at=at)
    return made


def rows(page: Page, group: str = ""):
    return page.locator(f"{f'[data-group={group}]' if group else ''} [data-conversation]:visible")


async def open_menu(page: Page, title: str) -> None:
    await page.get_by_role("button", name=f"More: {title}", exact=True).last.press("Enter")


async def act(page: Page, title: str, action: str) -> None:
    await open_menu(page, title)
    await page.locator(".menu:popover-open").get_by_text(action, exact=True).click()


async def test_a_conversation_is_renamed_pinned_archived_and_deleted_and_that_is_undone(page, context):
    await say(page, "First words", SHORT)
    await until_ended(page)
    await make(2)
    await page.reload()
    await open_menu(page, "Number 0")
    await page.keyboard.press("Escape")
    await expect(page.locator(".menu:popover-open")).to_have_count(0)
    await act(page, "Number 0", "Rename")
    await page.keyboard.type("My own")
    await page.keyboard.press("Enter")
    await expect(rows(page)).to_have_text(["First words", "My own", "Number 1"])
    await expect(page.get_by_role("button", name="More: My own")).to_be_focused()
    await act(page, "My own", "Rename")
    await page.keyboard.type("Not kept")
    await page.keyboard.press("Escape")
    await act(page, "My own", "Pin")
    await expect(rows(page, "pinned")).to_have_text("My own")
    await act(page, "Number 1", "Archive")
    await expect(rows(page)).to_have_text(["My own", "First words"])
    await page.get_by_role("button", name="Undo").click()
    await expect(rows(page)).to_have_text(["My own", "First words", "Number 1"])
    await act(page, "My own", "Delete")
    await expect(rows(page)).to_have_text(["First words", "Number 1"])
    assert await Conversation.objects.filter(title="My own").exclude(deleted_at=None).aexists()
    await page.get_by_role("button", name="Undo").click()
    await expect(rows(page)).to_have_text(["My own", "First words", "Number 1"])
    # The open one, from its own menu: another page begins, and offers to undo it.
    url = page.url
    await page.locator("[data-bar-menu] [data-menu-button]").click()
    await page.locator(".menu:popover-open").get_by_text("Delete").click()
    await page.wait_for_url("**/")
    await expect(rows(page)).to_have_text(["My own", "Number 1"])
    await page.get_by_role("button", name="Undo").click()
    await page.wait_for_url(url)
    await expect(rows(page)).to_have_text(["My own", "First words", "Number 1"])


async def test_the_list_goes_on_as_it_is_scrolled_and_keeps_its_place(page):
    await say(page, "First words", SHORT)
    await until_ended(page)
    await make(95)
    await page.reload()
    await expect(rows(page)).to_have_count(30)
    scroller = page.locator("[data-conversations]")
    for count in (60, 90, 96):
        await scroller.evaluate("list => list.scrollTo(0, list.scrollHeight)")
        await expect(rows(page)).to_have_count(count)
    assert (await rows(page).all_text_contents())[1:] == [f"Number {n}" for n in range(95)]
    await expect(page.locator("[data-more]")).to_have_count(0)
    # Ninety rows down: more than the server sends at once.
    await page.get_by_role("link", name="Number 94", exact=True).click()
    await expect(page).to_have_title("Number 94 · Sasha Studio")
    await expect(page.get_by_role("link", name="Number 94", exact=True)).to_be_in_viewport()


async def test_what_another_tab_does_is_there_when_one_comes_back(page, context):
    await say(page, "First words", SHORT)
    await until_ended(page)
    kept, gone = await make(2)
    second = await context.new_page()
    await second.goto("/")
    await expect(rows(second)).to_have_text(["First words", "Number 0", "Number 1"])
    # In the first tab, of which the second knows nothing yet.
    await act(page, "First words", "Rename")
    await page.keyboard.type("Other words")
    await page.keyboard.press("Enter")
    await expect(page).to_have_title("Other words · Sasha Studio")
    await Conversation.objects.filter(pk=gone.pk).aupdate(deleted_at=timezone.now())
    await Conversation.objects.filter(pk=kept.pk).aupdate(pinned=True)
    await expect(rows(second)).to_have_text(["First words", "Number 0", "Number 1"])
    await second.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await expect(rows(second)).to_have_text(["Number 0", "Other words"])
    # A tab on the same conversation is told at once.
    third = await context.new_page()
    await third.goto(page.url)
    await act(page, "Other words", "Rename")
    await page.keyboard.type("Last words")
    await page.keyboard.press("Enter")
    await expect(third).to_have_title("Last words · Sasha Studio")
    await expect(rows(third)).to_have_text(["Number 0", "Last words"])


async def test_days_are_the_readers_own_whatever_their_clock_says(browser, server):
    context = await browser.new_context(base_url=server.url, timezone_id="Pacific/Kiritimati")
    page = await context.new_page()
    # Three years behind, and fourteen hours ahead of Greenwich.
    await page.clock.install(time=datetime.now(UTC) - timedelta(days=1100))
    await page.goto("/")
    await say(page, "First words", SHORT)
    await expect(rows(page, "today")).to_have_text("First words")
    today, yesterday, week, earlier = await make(4)
    midnight = (datetime.now(UTC) + timedelta(hours=14)).replace(hour=0, minute=0, second=0) - timedelta(hours=14)
    for conversation, hours in ((today, 0), (yesterday, 1), (week, 30), (earlier, 24 * 8)):
        at = midnight - timedelta(hours=hours)
        await Conversation.objects.filter(pk=conversation.pk).aupdate(updated_at=at)
    for _ in range(2):
        # By the script the first time, then by the server, which knows the time zone now.
        await page.goto("/")
        await expect(rows(page, "today")).to_have_text(["First words", "Number 0"])
        await expect(rows(page, "yesterday")).to_have_text("Number 1")
        await expect(rows(page, "week")).to_have_text("Number 2")
        await expect(rows(page, "earlier")).to_have_text("Number 3")
    await context.close()


async def test_everything_works_without_javascript(page, browser, server, context):
    await say(page, "First words", SHORT)
    await until_ended(page)
    await make(40)
    plain = await browser.new_context(base_url=server.url, java_script_enabled=False)
    await plain.add_cookies(await context.cookies())
    page = await plain.new_page()
    await page.goto("/")
    await expect(rows(page)).to_have_count(30)
    await act(page, "Number 0", "Pin")
    await expect(rows(page, "pinned")).to_have_text("Number 0")
    await act(page, "Number 1", "Rename")
    await page.fill("[name=title]", "My own")
    await page.click("text=Save")
    await expect(page).to_have_title("My own · Sasha Studio")
    await page.goto("/")
    await act(page, "My own", "Archive")
    await act(page, "Number 2", "Delete")
    await page.click("text=Undo")
    await expect(page).to_have_title("Number 2 · Sasha Studio")
    await page.click("text=Show more")
    await expect(rows(page)).to_have_count(10)
    await page.click("text=Archived")
    await expect(rows(page)).to_have_text("My own")
    await act(page, "My own", "Take out of the archive")
    await expect(rows(page)).to_have_count(0)
    await plain.close()


async def test_on_a_phone_a_deletion_is_undone_over_the_open_drawer(page, browser, server, context):
    await say(page, "First words", SHORT)
    await until_ended(page)
    await make(1)
    state = await context.storage_state()
    small = await browser.new_context(
        base_url=server.url, viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True, storage_state=state
    )
    page = await small.new_page()
    await page.goto("/")
    await page.locator(".bar [popovertarget=sidebar]").tap()
    await page.get_by_role("button", name="More: Number 0", exact=True).tap()
    await page.locator(".menu:popover-open").get_by_text("Delete", exact=True).tap()
    await expect(rows(page)).to_have_text(["First words"])
    await page.get_by_role("button", name="Undo").tap()
    await expect(page.locator("[data-conversation]")).to_have_text(["First words", "Number 0"])
    assert not await Conversation.objects.exclude(deleted_at=None).aexists()
    await small.close()


async def test_what_was_said_is_found_as_one_types(page, browser, server, context):
    await say(page, "Where is the needle?", SHORT)
    await until_ended(page)
    await make(3)
    await page.reload()
    # Late answers to earlier letters must not win.
    await page.route("**/search?q=need", lambda route: asyncio.sleep(1))
    await page.locator("[data-search]").press_sequentially("needl", delay=200)
    found = page.locator("[data-results]")
    await expect(found.locator("mark")).to_have_text(["needl", "needl"])
    await expect(page.locator("[data-conversations]")).to_be_hidden()
    # Whoever types slowly has heard of nothing before.
    await expect(page.locator("[data-announce]")).to_have_text(re.compile(r"1 conversation found\. $"))
    message = await page.locator("[data-role=user]").get_attribute("data-id")
    await expect(found.locator(".found-hit")).to_have_attribute("href", re.compile(f"at={message}#m-{message}$"))
    await found.locator(".found-hit").click()
    await page.wait_for_url(f"**/?at={message}#m-{message}")
    await until_ended(page)
    await page.fill("[data-search]", "no such words")
    await expect(found).to_have_text("Nothing was found.")
    await page.press("[data-search]", "Escape")
    await expect(rows(page)).to_have_count(4)
    await expect(page.locator("[data-search]")).to_have_value("")
    # Without scripts, the same on a page of its own.
    plain = await browser.new_context(base_url=server.url, java_script_enabled=False)
    await plain.add_cookies(await context.cookies())
    page = await plain.new_page()
    await page.goto("/")
    await page.fill("[data-search]", "needle")
    await page.press("[data-search]", "Enter")
    await expect(page.locator("[data-results] mark")).to_have_text(["needle", "needle"])
    await plain.close()


async def test_another_tab_says_that_its_conversation_is_gone(page, context):
    await say(page, "Hello", SHORT)
    await until_ended(page)
    other = await context.new_page()
    await other.goto(page.url)
    await expect(replies(other, "ended")).to_have_count(1)
    conversation = await Conversation.objects.aget()
    token = await page.locator("[name=csrfmiddlewaretoken]").first.input_value()
    await page.request.post(
        f"/c/{conversation.pk}/delete", form={"csrfmiddlewaretoken": token}, headers={"Referer": page.url}
    )
    await expect(other.locator("[data-status]")).to_contain_text("This conversation has been deleted.")
    # What was read stays in sight.
    await expect(replies(other, "ended")).to_have_count(1)
