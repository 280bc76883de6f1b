"""Files on the page: attached, shown, sent, kept and refused."""

from __future__ import annotations

import io

from PIL import Image
from playwright.async_api import expect

from chat.models import Attachment, Message
from chat.tests.browser.pages import BROWSER, ECHO, say, stored, until_ended
from chat.tests.browser.test_axe import assert_clean
from providers.models import Model

pytestmark = BROWSER


def picture(name: str = "cat.png", size: tuple[int, int] = (640, 480)) -> dict[str, object]:
    file = io.BytesIO()
    Image.new("RGB", size, (20, 120, 90)).save(file, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": file.getvalue()}


NOTES = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"one\ntwo\n"}


async def attach(page, *files) -> None:
    await page.set_input_files("[data-file-input]", list(files))


async def let_the_echo_see(page) -> None:
    await Model.objects.filter(name=ECHO).aupdate(vision=True)
    await page.reload()


async def test_files_are_sent_with_their_message_and_shown_with_it_everywhere(page, context):
    await let_the_echo_see(page)
    await attach(page, picture(), NOTES)
    chips = page.locator("[data-files] [data-file]")
    await expect(chips).to_have_count(2)
    # At once: it goes out as soon as both are there.
    await say(page, "Look", ECHO)
    await until_ended(page)
    assert (await stored(page)).text == "notes.txt:\n```\none\ntwo\n```\n\nLook"
    await expect(chips).to_have_count(0)
    image = page.locator("[data-message-files] img")
    await expect(image).to_have_attribute("alt", "cat.png")
    assert await image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 640
    await expect(page.locator("[data-message-files] [data-file-name]")).to_have_text("notes.txt")
    shown = "list => [...list.querySelectorAll('*')].map(node => [node.tagName, node.className, node.href, node.alt])"
    live = await page.locator("[data-message-files]").evaluate(shown)
    second = await context.new_page()
    await second.goto(page.url)
    assert await second.locator("[data-message-files]").evaluate(shown) == live
    await attach(page, picture("dog.png"))
    await say(page, "", ECHO)
    await until_ended(page, 2)
    await expect(second.locator("[data-message-files] img").nth(1)).to_have_attribute("alt", "dog.png")
    question = await Message.objects.aget(pk=(await stored(page, 0)).parent_id)
    assert question.text == "Look"
    await assert_clean(page)


async def test_files_survive_a_reload_and_are_removed_by_keyboard(page):
    await attach(page, picture("a.png"), NOTES)
    chips = page.locator("[data-files] [data-file]")
    await expect(page.locator("[data-file][data-state=there]")).to_have_count(2)
    await page.reload()
    await expect(page.locator("[data-file][data-state=there]")).to_have_count(2)
    await expect(chips.first.locator("img")).to_be_visible()
    await page.get_by_role("button", name="Remove a.png").focus()
    async with page.expect_response("**/delete"):
        await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Remove notes.txt")).to_be_focused()
    async with page.expect_response("**/delete"):
        await page.keyboard.press("Space")
    await expect(page.locator("[data-composer]")).to_be_focused()
    assert not await Attachment.objects.aexists()
    await page.reload()
    await expect(chips).to_have_count(0)


async def test_what_cannot_be_taken_says_so_beside_the_file_and_loses_nothing(page):
    await let_the_echo_see(page)
    await page.fill("[data-composer]", "Look")
    # In place of the browser's own complaint about the status.
    refused = '{"error": "b.bin is neither a text nor a picture."}'
    await page.route("**/attachments", lambda route: route.fulfill(body=refused, content_type="application/json"))
    await attach(page, {"name": "b.bin", "mimeType": "application/octet-stream", "buffer": b"\0"})
    await expect(page.locator("[data-file-error]")).to_have_text("b.bin is neither a text nor a picture.")
    await expect(page.locator("[data-file-again]")).to_be_hidden()
    await assert_clean(page)
    await page.press("[data-composer]", "Enter")
    await expect(page.locator("[data-message]")).to_have_count(0)
    assert await page.input_value("[data-composer]") == "Look"
    await page.get_by_role("button", name="Remove b.bin").click()
    await page.unroute("**/attachments")
    await page.route("**/attachments", lambda route: route.abort("connectionrefused"))
    await attach(page, NOTES)
    await expect(page.locator("[data-file-error]")).to_have_text("The server cannot be reached.")
    await page.unroute("**/attachments")
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator("[data-file][data-state=there]")).to_have_count(1)
    await page.get_by_role("button", name="Remove notes.txt").click()
    await attach(page, *[{**NOTES, "name": f"{number}.txt"} for number in range(9)])
    await expect(page.locator("[data-status]")).to_have_text("A message has at most 8 files.")
    await expect(page.locator("[data-file][data-state=there]")).to_have_count(8)


async def test_files_come_by_drop_and_by_paste(page):
    give = """([kind, name]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File(["hello"], name, {type: "text/plain"}));
        const target = document.querySelector("[data-composer]");
        if (kind === "paste") {
            target.dispatchEvent(new ClipboardEvent(kind, {clipboardData: transfer, bubbles: true, cancelable: true}));
        } else {
            for (const step of ["dragover", "drop"]) {
                target.dispatchEvent(new DragEvent(step, {dataTransfer: transfer, bubbles: true, cancelable: true}));
            }
        }
    }"""
    await page.evaluate(give, ["paste", "pasted.txt"])
    await page.evaluate(give, ["drop", "dropped.txt"])
    await expect(page.locator("[data-file][data-state=there]")).to_have_count(2)
    names = await page.locator("[data-files] [data-file-name]").all_text_contents()
    assert sorted(names) == ["dropped.txt", "pasted.txt"]
    await expect(page.locator("[data-dropping]")).to_have_count(0)


async def test_the_page_says_beforehand_that_a_model_sees_no_images(page):
    await attach(page, picture())
    note = page.locator("[data-vision-note]")
    await expect(note).to_have_text("No model that can be asked just now takes images.")
    await expect(page.locator("[data-file][data-state=there]")).to_have_count(1)
    await let_the_echo_see(page)
    await expect(note).to_be_hidden()
    await page.select_option("[data-model]", "sim:sim-n20-gap20")
    await expect(note).to_have_text("sim-n20-gap20 takes no images: another model will answer.")
    await page.get_by_label("Only this model").check()
    await expect(note).to_have_text("sim-n20-gap20 takes no images, and no other model may answer.")
    await page.select_option("[data-model]", f"sim:{ECHO}")
    await expect(note).to_be_hidden()
