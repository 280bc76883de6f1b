"""Every sentence has its translation, and what is compiled is what is written."""

from __future__ import annotations

import gettext
import shutil
import subprocess

import polib
import pytest
from django.conf import settings

LANGUAGES = [code for code, _ in settings.LANGUAGES if code != "en"]
CATALOGUES = [(language, domain) for language in LANGUAGES for domain in ("django", "djangojs")]


def path_of(language: str, domain: str, kind: str):
    return settings.BASE_DIR / "locale" / language / "LC_MESSAGES" / f"{domain}.{kind}"


@pytest.mark.parametrize(("language", "domain"), CATALOGUES)
def test_every_sentence_is_translated(language, domain):
    catalogue = polib.pofile(str(path_of(language, domain, "po")))
    assert len(catalogue) > 20
    assert [entry.msgid for entry in catalogue if not entry.obsolete and not entry.translated()] == []


@pytest.mark.parametrize(("language", "domain"), CATALOGUES)
def test_translations_keep_the_placeholders(language, domain):
    catalogue = polib.pofile(str(path_of(language, domain, "po")))
    wrong = []
    for entry in catalogue:
        texts = list(entry.msgstr_plural.values()) or [entry.msgstr]
        if any(placeholders(text) - placeholders(entry.msgid + entry.msgid_plural) for text in texts):
            wrong.append(entry.msgid)
        if not entry.msgid_plural and placeholders(entry.msgid) != placeholders(entry.msgstr):
            wrong.append(entry.msgid)
    assert wrong == []


def placeholders(text: str) -> set[str]:
    return {part.split(")")[0] for part in text.split("%(")[1:]}


@pytest.mark.parametrize(("language", "domain"), CATALOGUES)
def test_what_is_compiled_is_what_is_written(language, domain):
    written = {
        entry.msgid: entry.msgstr for entry in polib.pofile(str(path_of(language, domain, "po"))) if entry.msgstr
    }
    with path_of(language, domain, "mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    context = {entry.msgid for entry in polib.pofile(str(path_of(language, domain, "po"))) if entry.msgctxt}
    assert {text for text, words in written.items() if text not in context and compiled.gettext(text) != words} == set()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("xgettext"), reason="needs gettext")
def test_the_catalogues_have_every_sentence_of_the_code(tmp_path):
    """Extracted anew, nothing is added."""
    copy = tmp_path / "site"
    kept = shutil.ignore_patterns(".venv", ".git", "var", "staticfiles", "vendor", "__pycache__", ".*_cache")
    shutil.copytree(settings.BASE_DIR, copy, ignore=kept)
    (copy / ".venv").symlink_to(settings.BASE_DIR / ".venv")
    subprocess.run(["scripts/translate"], cwd=copy, check=True, capture_output=True)
    for language, domain in CATALOGUES:
        before = polib.pofile(str(path_of(language, domain, "po")))
        after = polib.pofile(str(copy / "locale" / language / "LC_MESSAGES" / f"{domain}.po"))
        assert {entry.msgid for entry in after if not entry.translated() and not entry.obsolete} == set(), (
            language,
            domain,
        )
        assert {entry.msgid for entry in after} >= {entry.msgid for entry in before if not entry.obsolete}
