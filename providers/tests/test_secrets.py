"""Where keys come from, and that they are taken out of any text."""

import pytest

from providers.secrets import find_key, redact


def test_a_key_is_found_by_the_name_of_its_variable(settings):
    settings.PROVIDER_KEYS = {"THERE_API_KEY": "one"}
    assert (find_key("THERE_API_KEY"), find_key("OTHER_API_KEY"), find_key("")) == ("one", "", "")


KNOWN = {
    "A_API_KEY": "a key of no usual shape",
    "SHORT_API_KEY": "tiger-1",
    "LONG_API_KEY": "tiger-12345",
}
URL = "https://generativelanguage.googleapis.com/v1beta/models/m:streamGenerateContent"
TEXTS = {
    "known": ("bad: a key of no usual shape!", "bad: [key]!"),
    "known, twice": ("tiger-1 tiger-1", "[key] [key]"),
    "known, with another one inside": ("no tiger-12345 here", "no [key] here"),
    "OpenAI": ("Incorrect API key provided: sk-proj-abc_DEF-0123456789.", "Incorrect API key provided: [key]."),
    "Anthropic": ('"sk-ant-api03-0123456789abcdef"', '"[key]"'),
    "Google": ("AIzaSyA-0123456789abcdefghijklmnop", "[key]"),
    "Groq": ("(gsk_0123456789abcdef)", "([key])"),
    "xAI": ("xai-0123456789abcdef", "[key]"),
    "in an address": (f"for url ({URL}?key=0f%20x): dns error", f"for url ({URL}?key=[key]): dns error"),
    "in an address, with more": (f"{URL}?alt=sse&key=0f&x=1", f"{URL}?alt=sse&key=[key]&x=1"),
    "no key": ("a task-list, monkey=1, sk-short", "a task-list, monkey=1, sk-short"),
}


@pytest.mark.parametrize(("text", "redacted"), TEXTS.values(), ids=TEXTS)
def test_keys_are_taken_out(settings, text, redacted):
    settings.PROVIDER_KEYS = KNOWN
    assert redact(text) == redacted
    assert redact(redacted) == redacted
