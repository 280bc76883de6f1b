"""The words of the scripts: in each language, small, and kept by browsers until they change."""

from __future__ import annotations

import re

import pytest

# What a page loads before its scripts run.
LARGEST = 24 * 1024


def address_in(page: str) -> str:
    return re.search(r'src="(/words/[^"]+)"', page)[1]


@pytest.mark.django_db
def test_a_browser_keeps_the_words_of_a_language(client):
    client.cookies["django_language"] = "de"
    address = address_in(client.get("/").content.decode())
    assert address.startswith("/words/de.js?v=")
    response = client.get(address)
    assert "immutable" in response["Cache-Control"]
    assert "Antwort" in response.content.decode()
    assert len(response.content) < LARGEST


@pytest.mark.django_db
def test_each_language_has_an_address_of_its_own(client):
    addresses = set()
    for language in ("en", "de", "he"):
        client.cookies["django_language"] = language
        addresses.add(address_in(client.get("/").content.decode()))
    assert len(addresses) == 3


@pytest.mark.parametrize("address", ["/words/de.js", "/words/de.js?v=old"])
def test_an_old_address_is_not_kept(client, address):
    assert "immutable" not in client.get(address).get("Cache-Control", "")


@pytest.mark.django_db
def test_there_are_no_words_of_other_languages(client):
    assert client.get("/words/fr.js").status_code == 404
