"""What can be done to messages, in a real browser: edit, versions, answer again, delete, cancel."""

from __future__ import annotations

from playwright.async_api import Locator, Page, expect

from chat.models import Conversation, Message
from chat.tests.browser.pages import BROWSER, ECHO, LONG, SHORT, replies, say, text_of, until_ended, until_text, whole

pytestmark = BROWSER


def questions(page: Page):
    return page.locator("[data-messages] [data-role=user]")


async def edit(page: Page, at: int, text: str) -> None:
    question = questions(page).nth(at)
    await question.hover()
    await question.get_by_role("button", name="Edit").click()
    await question.locator("textarea").fill(text)
    await question.get_by_role("button", name="Save and send").click()


async def shown(page: Page) -> list[str]:
    return await page.locator("[data-messages] [data-message] [data-parts]").all_text_contents()


async def expect_clear(element: Locator) -> None:
    """Expect an element between the line on top and the composer, neither of which lies over it."""
    box = "e => e.getBoundingClientRect()"
    await expect(element).to_be_in_viewport(ratio=1)
    found = await element.evaluate(box)
    bar, dock = [await element.page.locator(name).evaluate(box) for name in (".bar", "[data-composer-form]")]
    assert bar["bottom"] <= found["top"]
    assert found["bottom"] <= dock["top"]


async def everything(page: Page) -> list[str]:
    """Return all words of the messages; what is out of sight is not laid out, and has no inner text."""
    parts = "[data-parts], [data-badge], [data-facts], .branches-at"
    words = await page.locator("[data-messages]").locator(parts).all_text_contents()
    return " ".join(words).split()


async def test_the_message_that_is_edited_stays_in_sight(page):
    for count in range(1, 4):
        await say(page, "one", SHORT)
        await until_ended(page, count)
    # Near the bottom, where the page follows the text.
    height = await page.evaluate("document.documentElement.scrollHeight")
    await page.set_viewport_size({"width": 1280, "height": height - 40})
    await page.evaluate("scrollTo(0, 0)")
    first = questions(page).first
    await first.hover()
    await first.get_by_role("button", name="Edit").click()
    await expect(first.locator("textarea")).to_be_focused()
    await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    await expect_clear(first.locator("textarea"))


async def test_an_edited_message_is_a_version_beside_the_old_one_in_every_tab(page, context):
    await say(page, "one", ECHO)
    await until_ended(page)
    await say(page, "two", ECHO)
    await until_ended(page, 2)
    second = await context.new_page()
    await second.goto(page.url)
    await page.fill("[data-composer]", "a draft")
    await edit(page, 0, "uno")
    for tab in (page, second):
        await expect(questions(tab).locator("[data-parts]")).to_have_text(["uno"])
        await until_ended(tab)
        assert await shown(tab) == ["uno", "uno"]
        await expect(tab.locator(".branches-at")).to_have_text("Version 2 / 2")
    assert await page.input_value("[data-composer]") == "a draft"
    previous = page.get_by_role("button", name="Previous version")
    await previous.focus()
    await page.keyboard.press("Enter")
    for tab in (page, second):
        await expect(tab.locator(".branches-at")).to_have_text("Version 1 / 2")
        assert await shown(tab) == ["one", "one", "two", "two"]
    await expect(previous).to_be_focused()
    await expect(previous).to_have_attribute("aria-disabled", "true")
    assert await page.input_value("[data-composer]") == "a draft"
    # What is sent from either goes on from what both show.
    await say(second, "three", ECHO)
    await until_ended(page, 3)
    assert await shown(page) == ["one", "one", "two", "two", "three", "three"]
    live = await everything(page)
    await page.reload()
    assert await everything(page) == live


async def test_an_edit_while_the_answer_runs_stops_it_and_answers_the_new_words(page):
    await say(page, "Hello", LONG)
    await until_text(page, "word5 ")
    await page.select_option("[data-model]", f"sim:{ECHO}")
    await edit(page, 0, "Hi")
    await until_ended(page)
    assert await shown(page) == ["Hi", "Hi"]
    await expect(page.locator("[data-stop]")).to_be_hidden()
    await page.get_by_role("button", name="Previous version").click()
    await expect(page.locator("[data-badge]:visible")).to_have_text("The answer was stopped.")
    assert (await text_of(page)).startswith("word0 word1 ")


async def test_an_edit_that_is_refused_or_given_up_loses_nothing(page):
    await say(page, "Hello", ECHO)
    await until_ended(page)
    await edit(page, 0, "Not \0 storable")
    await expect(page.locator("[data-status]")).to_contain_text("NUL character")
    field = page.locator("[data-editor-text]")
    assert await field.input_value() == "Not \0 storable"
    await field.press("Escape")
    await expect(field).to_have_count(0)
    await expect(page.get_by_role("button", name="Edit")).to_be_focused()
    assert await shown(page) == ["Hello", "Hello"]


async def test_an_answer_is_given_again_also_by_another_model_and_both_are_kept(page):
    await say(page, "Hello", ECHO)
    await until_ended(page)
    await page.get_by_role("button", name="Answer again with another model").click()
    sheet = page.get_by_role("dialog", name="Answer again with another model")
    await sheet.get_by_role("button", name=f"sim:{SHORT}").or_(sheet.get_by_role("button", name=SHORT)).first.click()
    await expect(replies(page)).to_have_count(1)
    await until_text(page, "word19")
    await expect(page.locator(".branches-at")).to_have_text("Version 2 / 2")
    await until_ended(page)
    assert await text_of(page) == whole(SHORT)
    again = page.get_by_role("button", name="Answer again", exact=True)
    await again.click()
    await expect(page.locator(".branches-at")).to_have_text("Version 3 / 3")
    await until_ended(page)
    live = await everything(page)
    await page.reload()
    assert await everything(page) == live


async def test_an_answer_that_was_stopped_goes_on_and_both_parts_are_shown(page):
    await say(page, "Hello", LONG)
    await until_text(page, "word5 ")
    go_on = page.get_by_role("button", name="Continue", exact=True)
    await expect(go_on).to_have_count(0)
    await page.click("[data-stop]")
    await until_ended(page)
    await page.select_option("[data-model]", f"sim:{SHORT}")
    await go_on.click()
    await expect(replies(page)).to_have_count(2)
    await expect(go_on).to_have_count(0)
    await page.click("[data-stop]")
    await until_ended(page, 2)
    await expect(page.locator(".turn-continues")).to_have_count(1)


async def test_deleting_while_the_answer_runs_asks_stops_and_empties_the_other_tab_too(page, context, server):
    await say(page, "Hello", ECHO)
    await until_ended(page)
    await say(page, "More", LONG)
    await until_text(page, "word5 ")
    second = await context.new_page()
    await second.goto(page.url)
    await questions(page).nth(1).hover()
    link = questions(page).nth(1).get_by_role("link", name="Delete")
    await link.click()
    sheet = page.get_by_role("dialog", name="Delete this message?")
    await expect(sheet).to_contain_text("The message and the one that follows it will be deleted")
    await page.keyboard.press("Escape")
    await expect(link).to_be_focused()
    await link.click()
    await sheet.get_by_role("button", name="Delete").click()
    for tab in (page, second):
        await expect(tab.locator("[data-messages] [data-message]")).to_have_count(2)
        await expect(tab.locator("[data-stop]")).to_be_hidden()
    assert server.children() == []
    assert await Message.objects.acount() == 2
    # From here on it goes on as if nothing had been there.
    await say(second, "Again", ECHO)
    await until_ended(page, 2)
    assert await shown(page) == ["Hello", "Hello", "Again", "Again"]


async def test_what_waits_can_be_cancelled_in_any_tab_and_comes_back_to_the_composer(page, context):
    await say(page, "Hello", LONG)
    await until_text(page, "word5 ")
    await say(page, "Never mind", ECHO)
    await until_text(page, "Waiting for its turn")
    second = await context.new_page()
    await second.goto(page.url)
    waiting = replies(second, "queued")
    await expect(waiting).to_have_count(1)
    await waiting.get_by_role("button", name="Cancel").click()
    for tab in (page, second):
        await expect(questions(tab).locator("[data-parts]")).to_have_text(["Hello"])
    assert await second.input_value("[data-composer]") == "Never mind"
    assert await page.input_value("[data-composer]") == ""
    await page.click("[data-stop]")
    await until_ended(page)


async def test_without_scripts_versions_and_deleting_work(page, browser, context):
    await say(page, "one", ECHO)
    await until_ended(page)
    await edit(page, 0, "uno")
    await expect(page.locator(".branches-at")).to_have_text("Version 2 / 2")
    await until_ended(page)
    state = await context.storage_state()
    scriptless = await browser.new_context(java_script_enabled=False, storage_state=state)
    reader = await scriptless.new_page()
    await reader.goto(page.url)
    await reader.get_by_role("button", name="Previous version").click()
    await expect(questions(reader).locator("[data-parts]")).to_have_text(["one"])
    await expect(reader.get_by_role("button", name="Edit")).to_have_count(0)
    await questions(reader).hover()
    await questions(reader).get_by_role("link", name="Delete").click()
    await reader.get_by_role("button", name="Delete").click()
    await expect(questions(reader).locator("[data-parts]")).to_have_text(["uno"])
    await expect(reader.locator("[data-branch-form]")).to_have_count(0)
    await scriptless.close()


async def test_instructions_and_parameters_are_kept_with_the_first_message_and_checked(page):
    link = page.get_by_role("link", name="Instructions and parameters")
    sheet = page.get_by_role("dialog", name="Instructions and parameters")
    await link.click()
    await sheet.get_by_label("Instructions for every answer").fill("Be brief.")
    await sheet.get_by_label("Temperature").fill("0.2")
    await sheet.get_by_role("button", name="Save").click()
    await expect(sheet).to_be_hidden()
    await say(page, "Hello", ECHO)
    await until_ended(page)
    stored = await Conversation.objects.aget()
    assert (stored.system_prompt, stored.parameters) == ("Be brief.", {"temperature": 0.2})
    await link.click()
    limit = sheet.get_by_label("Longest answer")
    await expect(sheet.get_by_label("Temperature")).to_have_value("0.2")
    await limit.fill("0")
    # What is out of range stays where it is.
    await sheet.get_by_role("button", name="Save").click()
    await expect(limit).to_be_focused()
    await expect(sheet).to_be_visible()
    await limit.fill("40")
    await sheet.get_by_role("button", name="Save").click()
    await expect(sheet).to_be_hidden()
    await stored.arefresh_from_db()
    assert stored.parameters == {"temperature": 0.2, "max_tokens": 40}


async def test_of_two_thousand_messages_the_last_are_shown_and_the_rest_as_one_scrolls(page):
    await say(page, "Hello", ECHO)
    await until_ended(page)
    conversation = await Conversation.objects.aget()
    rows = [Message(conversation=conversation, parent_id=conversation.current_leaf_id, role="user", text="Question 0")]
    for n in range(1, 2000):
        role, ending = ("assistant", "complete") if n % 2 else ("user", "")
        rows.append(Message(conversation=conversation, parent=rows[-1], role=role, ending=ending, text=f"Number {n}"))
    await Message.objects.abulk_create(rows)
    await Conversation.objects.aupdate(current_leaf=rows[-1])
    await page.reload()
    turns = page.locator("[data-messages] [data-message]")
    await expect(turns).to_have_count(60)
    await expect(turns.last).to_contain_text("Number 1999")
    assert await page.evaluate("document.documentElement.scrollHeight - innerHeight - scrollY < 60")
    first = await turns.first.get_attribute("id")
    top = f"document.getElementById('{first}').getBoundingClientRect().top"
    before = await page.evaluate(f"scrollTo(0, 300), {top}")
    await expect(turns).to_have_count(120)
    assert abs(await page.evaluate(top) - before) < 2
    # A link into the middle shows what is around it, and from there one goes on at the end.
    wanted = rows[1000]
    await page.goto(f"/c/{conversation.pk}/?at={wanted.pk}")
    marked = page.locator("[data-marked]")
    await expect(marked).to_contain_text("Number 1000")
    await expect(marked).to_be_in_viewport()
    # So does one of the search, whose fragment the browser heeds; nothing lies over the message.
    await page.goto(f"/c/{conversation.pk}/?at={rows[1010].pk}#m-{rows[1010].pk}")
    await expect(marked).to_contain_text("Number 1010")
    await expect_clear(marked.locator("[data-parts]"))
    await say(page, "At the end", ECHO)
    await expect(turns.last).to_contain_text("At the end")
    await expect(turns.nth(-3)).to_contain_text("Number 1999")
    assert "at=" not in page.url
