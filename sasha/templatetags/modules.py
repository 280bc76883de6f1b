"""What a page with scripts loads.

`{% preload_modules %}`: every ES module is fetched at once, not each after the one that imports it.
`{% words_address %}`: where the words of the scripts are.
"""

from __future__ import annotations

from django import template
from django.conf import settings
from django.templatetags.static import static
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from sasha.words import words_address

register = template.Library()
register.simple_tag(words_address)

# A script of its own, which is no module; the one that the page names; and those of other pages.
NOT_PRELOADED = {"theme.js", "main.js", "shared.js", "conversations.js"}
SCRIPTS = settings.BASE_DIR / "static" / "js"
# What staff's pages load stands in a folder of its own.
MODULES = sorted(
    path.relative_to(SCRIPTS).as_posix() for path in SCRIPTS.rglob("*.js") if path.parent != SCRIPTS / "monitor"
)


@register.simple_tag
def preload_modules() -> SafeString:
    """Return a `modulepreload` link for each module in static/js."""
    names = [name for name in MODULES if name not in NOT_PRELOADED]
    return format_html_join("\n", '<link rel="modulepreload" href="{}">', ((static(f"js/{name}"),) for name in names))
