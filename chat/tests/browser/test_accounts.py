"""Accounts in a real browser."""

from __future__ import annotations

import pytest_asyncio
from django.contrib.auth.models import User
from django.test import Client
from playwright.async_api import Page, expect

from chat.database import db
from chat.tests.browser.pages import BROWSER, SHORT, SLOW, say, text_of, until_ended, until_text, whole
from chat.tests.browser.test_axe import assert_clean

pytestmark = BROWSER

PASSWORD = "correct horse battery"


async def sign_up(page: Page, name: str) -> None:
    await page.get_by_role("link", name="Sign up").click()
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_label("Password again").fill(PASSWORD)
    await page.get_by_role("button", name="Sign up").click()


async def test_what_a_guest_wrote_is_there_after_signing_up_and_after_signing_in_elsewhere(page, browser, server):
    await say(page, "Hello", SHORT)
    await until_ended(page)
    conversation = page.url
    await sign_up(page, "alice")
    await expect(page.locator("[data-account]")).to_have_text("alice")
    # Back where they came from.
    assert page.url == conversation
    assert await text_of(page) == whole(SHORT)
    async with await browser.new_context(base_url=server.url) as device:
        other = await device.new_page()
        await other.goto("/account/sign-in")
        # A telephone begins it with a capital letter.
        await other.get_by_label("Name").fill("Alice")
        await other.get_by_label("Password").fill("wrong")
        await other.keyboard.press("Enter")
        await expect(other.get_by_role("alert")).to_have_text("The name or the password is wrong.")
        await other.get_by_label("Password").fill(PASSWORD)
        await other.keyboard.press("Enter")
        await other.locator("[data-conversation]").click(timeout=8000)
        await until_text(other, whole(SHORT))


async def test_an_answer_that_is_being_written_goes_on_in_the_account(page, context):
    await say(page, "Hello", SLOW)
    await until_text(page, "word3 ")
    other = await context.new_page()
    await other.goto("/account/sign-up")
    await other.get_by_label("Name").fill("alice")
    await other.get_by_label("Password", exact=True).fill(PASSWORD)
    await other.get_by_label("Password again").fill(PASSWORD)
    await other.get_by_role("button", name="Sign up").click()
    # The first tab comes back as the account by itself.
    await until_ended(page)
    assert await text_of(page) == whole(SLOW)
    await say(page, "And now?", SHORT)
    await until_ended(page, 2)
    assert await User.objects.acount() == 1


@pytest_asyncio.fixture
async def alice(context, server):
    """The browser is Alice's, who has signed in."""
    user = await db(User.objects.create_user, "alice", password=PASSWORD)
    client = Client()
    await db(client.force_login, user)
    await context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": server.url}])
    return user


async def test_signing_out_in_one_tab_closes_the_other_within_a_second(alice, page, context):
    await say(page, "Hello", SHORT)
    await until_ended(page)
    other = await context.new_page()
    await other.goto("/account/")
    await other.get_by_role("button", name="Sign out", exact=True).click()
    # Within a second: chat/tests/test_signed_out.py. A browser may be slow.
    await expect(page.locator("[data-status]")).to_be_visible()
    await expect(page.locator("[data-sign-in] a")).to_be_visible()
    await page.locator("[data-sign-in] a").click()
    await page.get_by_label("Name").fill("alice")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await until_text(page, whole(SHORT))


async def test_a_draft_goes_with_the_guest_into_the_account_and_to_nobody_else(page):
    field = page.locator("[data-composer]")
    await field.fill("My secret")
    await sign_up(page, "alice")
    await page.goto("/")
    await expect(field).to_have_value("My secret")
    await page.goto("/account/")
    await page.get_by_role("button", name="Sign out", exact=True).click()
    await page.goto("/")
    await expect(field).to_have_value("")
    await sign_up(page, "bob")
    await expect(page.locator("[data-account]")).to_have_text("bob")
    await expect(field).to_have_value("")


async def test_a_token_is_shown_once(alice, page):
    await page.goto("/account/")
    await page.get_by_label("What is it for?").fill("My script")
    await page.get_by_role("button", name="Make a token").click()
    token = await page.get_by_label("Your new token").input_value()
    assert token.startswith("sasha_")
    await assert_clean(page)
    await page.goto("/account/")
    await expect(page.get_by_text("My script")).to_be_visible()
    assert token not in await page.content()
    await page.get_by_role("button", name="Revoke My script").click()
    await expect(page.get_by_text("has been revoked")).to_be_visible()
    await expect(page.get_by_text("My script")).to_have_count(0)
