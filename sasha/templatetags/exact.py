"""`{{ text|exact }}`: text that a script can read back out of the page as it is stored."""

from __future__ import annotations

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString

register = template.Library()


@register.filter
def exact(text: str) -> SafeString:
    """Return `text` escaped, its carriage returns too: a browser would make plain line feeds of them."""
    return SafeString(escape(text).replace("\r", "&#13;"))
