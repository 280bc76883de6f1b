"""What the page's scripts and the rest of the site must agree on."""

from __future__ import annotations

import json
import re

from django.conf import settings
from django.core.management import call_command
from django.template import Context, Template

from chat import protocol

SCRIPTS = settings.BASE_DIR / "static" / "js"


def read(name: str) -> str:
    return (SCRIPTS / name).read_text()


def modules() -> set[str]:
    return {path.relative_to(SCRIPTS).as_posix() for path in SCRIPTS.rglob("*.js")}


def test_the_page_handles_every_frame_of_the_server():
    table = re.search(r"#handlers = \{(.*?)\n  \};", read("conversation.js"), re.DOTALL)
    assert set(re.findall(r"^    (\w+): ", table[1], re.MULTILINE)) == set(protocol.SERVER_FRAMES)


def test_the_page_sends_only_frames_that_exist():
    # The tokens of Markdown have types too.
    others = {name for name in modules() if name.startswith("markdown/")}
    sent = {name for module in modules() - others for name in re.findall(r'\btype: "(\w+)"', read(module))}
    assert {"start", "stop", "hello", "attach", "ping"} <= sent <= set(protocol.CLIENT_FRAMES)


def test_the_page_knows_the_close_codes_after_which_trying_again_is_useless():
    final = re.search(r"FINAL_CODES = new Set\(\[(.*?)\]\)", read("connection.js"))
    code = protocol.CloseCode
    assert {int(number) for number in final[1].split(",")} == {
        code.BAD_SESSION,
        code.SIGN_IN,
        code.FORBIDDEN,
        code.REPLACED,
    }


def test_no_script_turns_text_into_html():
    writing_html = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function")
    assert {name for name in modules() if writing_html.search(read(name))} == set()


def test_every_module_is_short_and_fetched_at_once():
    links = Template("{% load modules %}{% preload_modules %}").render(Context())
    # With or without the hash that `collectstatic` adds.
    chat = {name.removesuffix(".js") for name in modules() if not name.startswith("monitor/")}
    assert set(re.findall(r"js/([\w/]+)\.", links)) == chat - {
        "theme",
        "main",
        "shared",
        "conversations",
    }
    assert {name for name in modules() if read(name).count("\n") > 200} == set()


def test_collected_modules_import_each_other_by_hash(settings, tmp_path):
    settings.STATIC_ROOT = tmp_path
    call_command("collectstatic", interactive=False, verbosity=0)
    names = json.loads((tmp_path / "staticfiles.json").read_text())["paths"]
    main = (tmp_path / names["js/main.js"]).read_text()
    imported = re.findall(r'from "\./([^"]+)"', main)
    assert imported
    assert {f"js/{name}" for name in imported} <= set(names.values())
