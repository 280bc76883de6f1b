"""Keys, amounts and ages in the environment, and the secrets that local mode makes for itself."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from sasha.settings import checked_encryption_keys, env_days, env_usd, kept_secret, make_encryption_key

NEW, OLD = make_encryption_key(), make_encryption_key()


def test_encryption_keys_stand_in_one_text_with_commas_or_lines():
    assert checked_encryption_keys(f"{NEW},{OLD}\n") == checked_encryption_keys(f"{NEW}\n {OLD}") == [NEW, OLD]


@pytest.mark.parametrize("bad", ["short", "not base64 at all!", "é"])
def test_a_malformed_encryption_key_stops_the_start_and_is_not_quoted(bad):
    with pytest.raises(ImproperlyConfigured) as caught:
        checked_encryption_keys(f"{NEW},{bad}")
    assert str(caught.value) == "Key 2 of ENCRYPTION_KEYS is not 32 bytes in URL-safe base64."


def test_a_secret_is_made_once_and_only_its_owner_may_read_it(tmp_path):
    path = tmp_path / "new" / "encryption_key"
    first = kept_secret(path, make_encryption_key)
    assert kept_secret(path, make_encryption_key) == first
    assert checked_encryption_keys(first) == [first]
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_of_two_that_make_a_secret_at_once_both_take_the_first(tmp_path):
    path = tmp_path / "secret"

    def make_second():
        kept_secret(path, lambda: "first")
        return "second"

    assert (kept_secret(path, make_second), path.read_text()) == ("first", "first")


@pytest.mark.parametrize("bad", ["ten", "-1", "NaN", "Infinity"])
def test_an_amount_that_is_none_stops_the_start_with_a_sentence(bad, monkeypatch):
    monkeypatch.setenv("SOME_USD", bad)
    with pytest.raises(ImproperlyConfigured, match=r"it must be an amount such as 0\.10"):
        env_usd("SOME_USD", "1")


@pytest.mark.parametrize(("value", "least", "days"), [("0", 62, 0), ("62", 62, 62), ("1", 0, 1), (None, 62, 400)])
def test_an_age_is_a_number_of_days(value, least, days, monkeypatch):
    if value is not None:
        monkeypatch.setenv("SOME_DAYS", value)
    assert env_days("SOME_DAYS", 400, least) == days


@pytest.mark.parametrize(("value", "least"), [("-1", 0), ("-1", 62), ("61", 62)])
def test_an_age_that_removes_too_much_stops_the_start_with_a_sentence(value, least, monkeypatch):
    monkeypatch.setenv("SOME_DAYS", value)
    with pytest.raises(ImproperlyConfigured, match=f"it must be 0 for ever, or at least {max(least, 1)}"):
        env_days("SOME_DAYS", 400, least)
