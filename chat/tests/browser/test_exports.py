"""What leaves and enters the site, as people do it: downloads, a link opened elsewhere, a file sent."""

from __future__ import annotations

import json
import zipfile

import pytest
from playwright.async_api import expect

from chat.database import db
from chat.models import Conversation, Message
from chat.tests.browser.pages import BROWSER, SHORT, say, stored, until_ended, whole

pytestmark = BROWSER

ANSWER = "Yes:\n\n| a | b |\n|---|---|\n| 1 | **2** |\n\n<img src=x onerror=alert(1)>\n\n[link](https://example.org/)"


async def test_a_conversation_is_downloaded_and_imported_again(page, tmp_path):
    await say(page, "Hello", SHORT)
    await until_ended(page)
    conversation = page.url
    await page.click("[data-bar-menu] [data-menu-button]")
    await page.click("[data-bar-menu] [data-export-link]")
    async with page.expect_download() as downloading:
        await page.click("[data-export=md] button")
    download = await downloading.value
    title = (await Conversation.objects.aget()).title
    assert download.suggested_filename == f"{title}.md"
    await download.save_as(tmp_path / "Hello.md")
    assert whole(SHORT).strip() in (tmp_path / "Hello.md").read_text()

    async with page.expect_download() as downloading:
        await page.click("[data-export=json] button")
    await (await downloading.value).save_as(tmp_path / "Hello.json")
    await page.goto("/import")
    await page.set_input_files("[name=file]", tmp_path / "Hello.json")
    await page.check("[name=copies]")
    await page.click("[data-import] button")
    await expect(page.locator("[data-imported] h2")).to_have_text("1 conversation imported")
    await page.click("[data-imported] a")
    assert page.url != conversation
    await expect(page.locator("[data-role=assistant]")).to_have_count(1)
    row = await stored(page)
    assert (row.text, row.evidence) == (whole(SHORT), "imported")


@pytest.mark.parametrize("server", [{"CHAT_SHARING": "true"}], indirect=True)
async def test_a_shared_conversation_is_read_in_another_browser(page, browser, server):
    await say(page, "Hello", SHORT)
    await until_ended(page)
    await Message.objects.filter(pk=(await stored(page)).pk).aupdate(text=ANSWER)
    await page.goto(f"{page.url}export")
    await page.click("[data-share-button]")
    url = await page.input_value("[data-share-url]")

    stranger = await browser.new_context()
    sockets, requests, complaints = [], [], []
    reader = await stranger.new_page()
    reader.on("websocket", lambda socket: sockets.append(socket.url))
    reader.on("request", lambda request: requests.append(request.url))
    reader.on("console", lambda message: complaints.append(message.text))
    await reader.goto(url)
    await expect(reader.locator("td strong")).to_have_text("2")
    assert await reader.locator("img").count() == 0
    assert await reader.locator("form, textarea, button[type=submit]").count() == 0
    assert (sockets, complaints) == ([], [])
    assert all(request.startswith(server.url) for request in requests)

    await page.click("[data-revoke]")
    await expect(page.locator("[data-no-shares]")).to_be_visible()
    assert (await reader.goto(url)).status == 404
    await stranger.close()


@pytest.mark.parametrize("server", [{"CHAT_SHARING": "true"}], indirect=True)
async def test_a_shared_conversation_can_be_read_without_scripts(page, browser):
    await say(page, "Hello", SHORT)
    await until_ended(page)
    await page.goto(f"{page.url}export")
    await page.click("[data-share-button]")
    plain = await browser.new_context(java_script_enabled=False)
    reader = await plain.new_page()
    await reader.goto(await page.input_value("[data-share-url]"))
    await expect(reader.locator("[data-role=assistant] [data-text]")).to_have_text(whole(SHORT))
    await plain.close()


async def test_everything_is_downloaded_from_the_account_page(page, tmp_path):
    await say(page, "Hello", SHORT)
    await until_ended(page)
    await page.goto("/account/")
    async with page.expect_download() as downloading:
        await page.click("[data-everything]")
    await (await downloading.value).save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert archive.testzip() is None
        texts = [archive.read(name).decode() for name in archive.namelist() if name.endswith(".md")]
    assert [whole(SHORT).strip() in text for text in texts] == [True]


async def test_a_stranger_file_is_refused_in_a_sentence(page, tmp_path):
    await say(page, "Hello", SHORT)
    await until_ended(page)
    (tmp_path / "bad.json").write_text(json.dumps([{"title": "<img src=x onerror=alert(1)>"}]))
    await page.goto("/import")
    await page.set_input_files("[name=file]", tmp_path / "bad.json")
    async with page.expect_response("**/import") as answering:
        await page.click("[data-import] button")
    assert (await answering.value).status == 200
    await expect(page.locator("[data-failed]")).to_contain_text("This is no conversation of Sasha Studio")
    assert await page.locator("main img").count() == 0
    assert await db(Conversation.objects.count) == 1
