from __future__ import annotations

import re
from pathlib import Path

from django.conf import settings

README = (Path(settings.BASE_DIR) / "README.md").read_text()


def test_the_readme_lists_every_setting():
    source = (Path(settings.BASE_DIR) / "sasha/settings.py").read_text()
    read = set(re.findall(r'env(?:\.\w+|_choice|_positive|_proxies|_rate|_secret|_usd|_days)\(\s*"([A-Z_]+)"', source))
    table = README.split("## Settings\n")[1].split("\n## ")[0]
    listed = set(
        re.findall(r"`([A-Z_]+)`", "".join(row.split("|")[1] for row in table.splitlines() if row.startswith("|")))
    )
    assert listed == (read | {"DATABASE_URL", "SECRET_KEY_FILE"}) - {"XDG_CACHE_HOME"}


def test_every_page_and_picture_that_the_readme_names_is_there():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (Path(settings.BASE_DIR) / target).is_file(), target
