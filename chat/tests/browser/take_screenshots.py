"""The pictures of the README, taken in Chromium of a real server: scripts/screenshots.

Not a test: it writes docs/images. What is asked, routed, cut, continued and priced is real, by the simulator; its words
are replaced by ones that somebody would like to read.
"""

from __future__ import annotations

import io
import uuid
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone
from PIL import Image
from playwright.async_api import Page, expect

from chat.models import Conversation, Message
from chat.tests.browser.pages import BROWSER, replies, say, until_ended
from providers.models import Model, Price

pytestmark = BROWSER

IMAGES = Path(settings.BASE_DIR) / "docs/images"
COLOURS = 160
CUT, WHOLE = "sim-n60-cut-at30-gap5", "sim-n120-gap5"
LABELS = {CUT: "Alder Large", WHOLE: "Birch 2"}
TITLES = ("Bread without kneading", "Letter to the landlord", "Why is the sky blue?", "Names for a small bakery")
QUESTIONS = ("How do I find the ten largest files in a folder?", "And how does the time grow with the number of files?")
CODE = """Walk through the folder and keep only the ten largest, so that memory stays small:

```python
from heapq import nlargest
from pathlib import Path

files = (path for path in Path(".").rglob("*") if path.is_file())
for path in nlargest(10, files, key=lambda path: path.stat().st_size):
    print(f"{path.stat().st_size:>12,} {path}")
```

Links are followed only where they name a file."""
BEFORE = """With $n$ files and the $k$ largest kept, a heap needs

$$T(n) = O(n \\log k)$$

while sorting all of them would need $O(n \\log n)$. """
AFTER = """For ten files out of a million:

| way | comparisons, about | memory |
|:--|--:|:--|
| sort everything | 20,000,000 | all names |
| keep the ten largest | 3,300,000 | ten names |

What takes the time in practice is asking the disk for each size."""


async def test_take_the_pictures(page, add):
    await prepare(add)
    await page.reload()
    for count, (question, model) in enumerate(zip(QUESTIONS, (f"birch:{WHOLE}", f"alder:{CUT}"), strict=True), 1):
        await page.select_option("[data-model]", model)
        await say(page, question)
        await until_ended(page, count)
    await reword()
    await list_others()
    await page.reload()
    await expect(replies(page).locator("math").last).to_be_attached()
    await page.emulate_media(reduced_motion="reduce")
    for width, height, name in ((1280, 800, "chat"), (390, 844, "phone")):
        await page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            await keep(page, f"{name}-{scheme}")
    await page.set_viewport_size({"width": 1280, "height": 1200})
    await page.emulate_media(color_scheme="light")
    await page.locator("[data-answered] summary").last.click()
    await expect(page.locator("[data-story]")).to_be_visible()
    await page.evaluate(
        "document.querySelector('[data-kind=seam]').scrollIntoView({ block: 'start' }), scrollBy(0, -90)"
    )
    await keep(page, "seam")


async def prepare(add) -> None:
    await add("alder", CUT, 10, name="Alder")
    await add("birch", WHOLE, 20, name="Birch")
    for name, label in LABELS.items():
        await Model.objects.filter(name=name).aupdate(label=label, context_window=128_000)
        model = await Model.objects.aget(name=name)
        await Price.objects.acreate(model=model, input=2, output=8)


async def reword() -> None:
    first, second = [message async for message in Message.objects.filter(role="assistant").order_by("created_at")]
    await Message.objects.filter(pk=first.pk).aupdate(text=CODE)
    notices = [{**notice, "at": len(BEFORE)} for notice in second.notices]
    await Message.objects.filter(pk=second.pk).aupdate(text=BEFORE + AFTER, notices=notices)


async def list_others() -> None:
    owner = await User.objects.aget()
    for days, title in enumerate(TITLES):
        other = await Conversation.objects.acreate(owner=owner, name=str(uuid.uuid4()), title=title)
        at = timezone.now() - timedelta(days=days, minutes=5)
        await Conversation.objects.filter(pk=other.pk).aupdate(updated_at=at)


async def keep(page: Page, name: str) -> None:
    picture = Image.open(io.BytesIO(await page.screenshot(animations="disabled")))
    picture.convert("RGB").quantize(COLOURS).save(IMAGES / f"{name}.png", optimize=True)
