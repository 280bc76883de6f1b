"""Where keys come from, that a stored one opens only in its place, and that keys are taken out of any text."""

import json
from decimal import Decimal
from io import StringIO
from urllib.parse import quote

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from providers.models import Provider
from providers.secrets import (
    KeyUnreadable,
    NoEncryptionKey,
    describe_key,
    encrypt_key,
    find_key,
    has_key,
    key_id_of,
    newest_key_id,
    redact,
    redact_event,
)

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))
SECRET = "an-unusual-key-9876"


@pytest.fixture(autouse=True)
def known_keys(settings):
    settings.ENCRYPTION_KEYS = [OLD]
    settings.PROVIDER_KEYS = {"THERE_API_KEY": "from-outside-1234"}


# --- Where keys come from ---------------------------------------------------------------------------------------------


def test_a_key_is_found_by_the_name_of_its_variable():
    assert (find_key("THERE_API_KEY"), find_key("OTHER_API_KEY"), find_key("")) == ("from-outside-1234", "", "")
    assert (has_key("THERE_API_KEY"), has_key("OTHER_API_KEY"), has_key("")) == (True, False, False)


def test_a_stored_key_comes_first():
    stored = encrypt_key(SECRET, 7)
    assert find_key("THERE_API_KEY", stored, 7) == SECRET
    assert has_key("", stored)


def test_what_is_stored_says_which_key_opens_it_and_nothing_of_the_key_itself():
    stored = encrypt_key(SECRET, 7)
    version, key_id, token = stored.split(":")
    assert (version, key_id) == ("v1", newest_key_id())
    assert (len(key_id), OLD.startswith(key_id), SECRET in stored) == (8, False, False)
    assert json.loads(Fernet(OLD).decrypt(token)) == ["providers.Provider", "encrypted_key", 7, SECRET]


def test_a_key_moved_to_another_row_is_refused():
    with pytest.raises(KeyUnreadable, match="stored for another provider"):
        find_key("", encrypt_key(SECRET, 7), 8)


def test_a_key_that_another_encryption_key_wrote_is_refused_by_name(settings):
    stored = encrypt_key(SECRET, 7)
    settings.ENCRYPTION_KEYS = [NEW]
    with pytest.raises(KeyUnreadable, match=f"with key {key_id_of(stored)}, which is not in ENCRYPTION_KEYS"):
        find_key("THERE_API_KEY", stored, 7)


def test_every_encryption_key_reads_and_the_first_one_writes(settings):
    stored = encrypt_key(SECRET, 7)
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    assert find_key("", stored, 7) == SECRET
    assert key_id_of(encrypt_key(SECRET, 7)) == newest_key_id() != key_id_of(stored)


@pytest.mark.parametrize("broken", ["sk-in-the-clear-1234", "v1:", "v1:00:", "v2:aaaaaaaa:token"])
def test_what_is_no_stored_key_is_never_handed_out_as_one(broken):
    with pytest.raises(KeyUnreadable, match="no encrypted key"):
        find_key("THERE_API_KEY", broken, 7)


def test_a_changed_token_is_refused():
    with pytest.raises(KeyUnreadable, match="has been changed"):
        find_key("", encrypt_key(SECRET, 7)[:-8] + "AAAAAAA=", 7)


def test_without_an_encryption_key_nothing_is_stored_and_variables_still_work(settings):
    settings.ENCRYPTION_KEYS = []
    with pytest.raises(NoEncryptionKey, match="set ENCRYPTION_KEYS"):
        encrypt_key(SECRET, 7)
    assert find_key("THERE_API_KEY") == "from-outside-1234"


def test_a_key_is_described_by_its_place_and_its_last_characters(settings):
    settings.PROVIDER_KEYS["SHORT_API_KEY"] = "eleven-char"
    assert describe_key("", encrypt_key(SECRET, 7), 7) == "set, ends with …9876"
    assert describe_key("", encrypt_key("eleven-char", 7), 7) == "set"
    assert describe_key("THERE_API_KEY") == "from THERE_API_KEY, ends with …1234"
    assert describe_key("SHORT_API_KEY") == "from SHORT_API_KEY"
    assert describe_key("OTHER_API_KEY") == "OTHER_API_KEY is not set"
    assert describe_key("") == "none"
    assert describe_key("", encrypt_key(SECRET, 7), 8).startswith("cannot be read: It was stored for another")


# --- Rotation ---------------------------------------------------------------------------------------------------------


def store(slug, key="", **columns):
    provider = Provider.objects.create(slug=slug, name=slug, kind="openai", **columns)
    if key:
        Provider.objects.filter(pk=provider.pk).update(encrypted_key=encrypt_key(key, provider.pk))
    return provider


def rotate():
    out, err = StringIO(), StringIO()
    try:
        call_command("rotate_keys", stdout=out, stderr=err)
    except CommandError as problem:
        return out.getvalue(), err.getvalue(), problem.returncode
    return out.getvalue(), err.getvalue(), 0


@pytest.mark.django_db
def test_rotation_encrypts_every_key_anew_and_only_once(settings):
    providers = [store("a", "key-of-a-1"), store("b", "key-of-b-1"), store("none")]
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    assert rotate() == (f"2 encrypted anew with key {newest_key_id()}, 0 unreadable.\n", "", 0)
    after = list(Provider.objects.order_by("slug").values_list("encrypted_key", flat=True))
    assert rotate() == (f"0 encrypted anew with key {newest_key_id()}, 0 unreadable.\n", "", 0)
    assert list(Provider.objects.order_by("slug").values_list("encrypted_key", flat=True)) == after
    settings.ENCRYPTION_KEYS = [NEW]
    for provider, key in zip(providers, ["key-of-a-1", "key-of-b-1", ""], strict=True):
        provider.refresh_from_db()
        assert find_key("", provider.encrypted_key, provider.pk) == key


@pytest.mark.django_db
def test_rotation_names_what_it_cannot_read_and_goes_on(settings):
    store("lost", "key-of-lost")
    settings.ENCRYPTION_KEYS = [NEW]
    moved = store("moved", encrypted_key=encrypt_key("key-of-another", 999_999))
    store("fine", "key-of-fine")
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode(), NEW]
    out, err, code = rotate()
    assert (out.split()[0], out.split()[-2], code) == ("1", "2", 1)
    assert [line.split(":")[0] for line in err.splitlines()] == ["lost", "moved"]
    assert Provider.objects.get(pk=moved.pk).encrypted_key == moved.encrypted_key


@pytest.mark.django_db
def test_rotation_needs_a_key(settings):
    settings.ENCRYPTION_KEYS = []
    assert rotate()[2] == 1


# --- Redaction --------------------------------------------------------------------------------------------------------

KNOWN = {
    "A_API_KEY": "a key of no usual shape",
    "SHORT_API_KEY": "tiger-1",
    "LONG_API_KEY": "tiger-12345",
    "ODD_API_KEY": 'q"u\\o/t+é=ed',
    "PLACEHOLDER_API_KEY": "ollama",
}
URL = "https://generativelanguage.googleapis.com/v1beta/models/m:streamGenerateContent"
TEXTS = {
    "Google, in an address": (
        f"error sending request for url ({URL}?alt=sse&key=AIzaSyA-0123456789abcdefghijklmnop): dns error",
        f"error sending request for url ({URL}?alt=sse&key=[key]): dns error",
    ),
    "known": ("bad: a key of no usual shape!", "bad: [key]!"),
    "known, twice": ("tiger-1 tiger-1", "[key] [key]"),
    "known, on two lines": ("tiger-1\ntiger-1", "[key]\n[key]"),
    "known, with another one inside": ("no tiger-12345 here", "no [key] here"),
    "known, in an address": (f"/{quote(KNOWN['ODD_API_KEY'], safe='')}/", "/[key]/"),
    "known, in an address, lower case": ("/q%22u%5co%2ft%2b%c3%a9%3ded/", "/[key]/"),
    "known, in JSON": (json.dumps({"a": KNOWN["ODD_API_KEY"]}), '{"a": "[key]"}'),
    "known, in JSON of UTF-8": (json.dumps({"a": KNOWN["ODD_API_KEY"]}, ensure_ascii=False), '{"a": "[key]"}'),
    "known, cut at the beginning": ("no usual shape, says the end of stderr", "[key], says the end of stderr"),
    "known, cut at the end": ("it was: a key of no u", "it was: [key]"),
    "a placeholder": ("ollama: not found", "ollama: not found"),
    "OpenAI": ("Incorrect API key provided: sk-proj-abc_DEF-0123456789.", "Incorrect API key provided: [key]."),
    "Anthropic": ('"sk-ant-api03-0123456789abcdef"', '"[key]"'),
    "OpenRouter": ("sk-or-v1-0123456789abcdef", "[key]"),
    "after an escape": (r"said:\nsk-0123456789abcdef", r"said:\n[key]"),
    "after an escape of an address": ("q%3Dsk-0123456789abcdef", "q%3D[key]"),
    "after an underscore": ("my_sk-0123456789abcdef", "my_[key]"),
    "Google": ("AIzaSyA-0123456789abcdefghijklmnop", "[key]"),
    "Google, newer": ("AQ.Ab8RN6I0123456789abcdef", "[key]"),
    "Groq": ("(gsk_0123456789abcdef)", "([key])"),
    "xAI": ("xai-0123456789abcdef", "[key]"),
    "Hugging Face": ("hf_0123456789abcdefgh", "[key]"),
    "Replicate": ("r8_0123456789abcdefgh", "[key]"),
    "GitHub": ("ghp_0123456789abcdefgh", "[key]"),
    "Amazon": ("AKIAIOSFODNN7EXAMPLE", "[key]"),
    "a bearer": ("Authorization: Bearer abc.DEF-123/=", "Authorization: Bearer [key]"),
    "basic": ('"authorization": "Basic dXNlcjpwYXNz"', '"authorization": "Basic [key]"'),
    "a header": ("x-goog-api-key: 0123abcd, accept: */*", "x-goog-api-key: [key], accept: */*"),
    "a variable": ("P_API_KEY=0123abcd", "P_API_KEY=[key]"),
    "a user in an address": ("https://user:pa@ss@host/v1", "https://[key]@host/v1"),
    "in an address": (f"for url ({URL}?key=0f%20x): dns error", f"for url ({URL}?key=[key]): dns error"),
    "in an address, with more": (f"{URL}?alt=sse&key=0f&x=1", f"{URL}?alt=sse&key=[key]&x=1"),
    "in an address, in JSON": (r'"/m?alt=sse\u0026key=0f"', r'"/m?alt=sse\u0026key=[key]"'),
    "in an address taken apart": ('query: Some("key=0123")', 'query: Some("key=[key]")'),
    "no key": ("a task-list, monkey=1, sk-short", "a task-list, monkey=1, sk-short"),
    "a key that is missing": ("Miss 'api_key'", "Miss 'api_key'"),
    "a bearer that is asked for": ("Bearer authentication is needed", "Bearer authentication is needed"),
    "an address": ("https://host/v1/a@b", "https://host/v1/a@b"),
    "nothing": ("", ""),
}


@pytest.mark.parametrize(("text", "redacted"), TEXTS.values(), ids=TEXTS)
def test_keys_are_taken_out(settings, text, redacted):
    settings.PROVIDER_KEYS = KNOWN
    assert redact(text) == redacted
    assert redact(redacted) == redacted


def test_a_stored_key_is_known_once_it_was_written_or_read():
    assert redact("it is typed-in-1") == "it is typed-in-1"
    encrypt_key("typed-in-1", 7)
    assert redact("it is typed-in-1") == "it is [key]"


def test_a_stored_key_is_known_once_it_was_read(settings):
    token = Fernet(OLD).encrypt(json.dumps(["providers.Provider", "encrypted_key", 7, "read-only-1"]).encode())
    assert redact("read-only-1") == "read-only-1"
    find_key("", f"v1:{newest_key_id()}:{token.decode()}", 7)
    assert redact("read-only-1") == "[key]"


def test_the_sites_own_secrets_are_taken_out(settings):
    settings.SECRET_KEY = "signs-the-cookies"
    assert redact(f"{OLD} signs-the-cookies") == "[key] [key]"


MEBIBYTE = 1024 * 1024
REPEATED = ["sk-", "://", "://a", "a", "bearer ", "api_key", "?key=", "%3D", r"\n", "AKIA", "A_API_KEY ", '"', "é\n"]
BEGUN = [("bearer", " "), ("://", "a"), ("://", "@"), ("api-key: ", "a"), ("authorization: basic", " "), ("x", "sk-a")]


@pytest.mark.slow
@pytest.mark.timeout(30)  # work that grows with the square of a mebibyte takes hours
def test_hostile_text_costs_no_more_than_its_length(settings):
    settings.PROVIDER_KEYS = KNOWN
    for first, piece in [("", piece) for piece in REPEATED] + BEGUN:
        text = first + piece * (MEBIBYTE // len(piece))
        assert len(redact(text)) <= len(text) + len("[key]")


# --- Logs -------------------------------------------------------------------------------------------------------------


def test_a_logged_event_has_no_key_in_any_name_or_value():
    class Strange:
        def __str__(self):
            return "from-outside-1234"

    event = {"event": "sk-0123456789abcdef", "from-outside-1234": 1, "list": ["from-outside-1234"], "own": Strange()}
    assert redact_event(None, "info", event) == {"event": "[key]", "[key]": 1, "list": "['[key]']", "own": "[key]"}


def test_a_logged_event_holds_texts_and_numbers_alone():
    event = {"none": None, "yes": True, "whole": 3, "part": 0.5, "endless": float("inf"), "money": Decimal("0.10")}
    assert redact_event(None, "info", event) == event | {"endless": "inf", "money": "0.10"}
