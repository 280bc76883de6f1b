"""The usual disguises: each turns an attack into a text that means the same to what is behind a careless filter."""

from __future__ import annotations

import html
import random
import re
from collections.abc import Callable
from urllib.parse import quote

Disguise = Callable[[str], str]

ZERO_WIDTH = "\u200b"


def percent(text: str) -> str:
    """`<` is `%3C`, and so on for everything but letters and digits."""
    return quote(text, safe="")


def percent_twice(text: str) -> str:
    """`<` is `%253C`."""
    return percent(percent(text))


def percent_all(text: str) -> str:
    """Letters too: `s` is `%73`."""
    return "".join(f"%{octet:02X}" for octet in text.encode())


def entities(text: str) -> str:
    """`<` is `&lt;`."""
    return html.escape(text)


def decimal_entities(text: str) -> str:
    """Letters too: `s` is `&#115;`."""
    return "".join(f"&#{ord(letter)};" for letter in text)


def hexadecimal_entities(text: str) -> str:
    """Only what is no letter, with zeros in front: `<` is `&#x0003c;`."""
    return _marks(text, lambda letter: f"&#x{ord(letter):05x};")


def unicode_escapes(text: str) -> str:
    r"""`<` is `\u003c`."""
    return _marks(text, lambda letter: f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else letter)


def hexadecimal_escapes(text: str) -> str:
    r"""`<` is `\x3c`."""
    return _marks(text, lambda letter: f"\\x{ord(letter):02x}" if ord(letter) < 0x100 else letter)


def full_width(text: str) -> str:
    """ASCII as it is written between Chinese characters."""
    return "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in text)


def zero_width(text: str) -> str:
    """A character that nobody sees behind every second one."""
    return re.sub(r"(\S\S)", rf"\1{ZERO_WIDTH}", text)


def mixed_case(text: str) -> str:
    """Large and small letters by chance, the same at every run; where letters are no escapes, which have one case."""
    if "\\" in text or "&" in text:
        return text
    chance = random.Random(len(text))  # noqa: S311 (nothing secret)
    return "".join(chance.choice((letter.upper(), letter.lower())) for letter in text)


def wide_spaces(text: str) -> str:
    """Other white space than a space."""
    return text.replace(" ", "\u2003\t")


def comments_for_spaces(text: str) -> str:
    """SQL takes a comment for a space."""
    return text.replace(" ", "/**/")


def pluses_for_spaces(text: str) -> str:
    """As a form sends it."""
    return quote(text, safe=" ").replace(" ", "+")


def internal_field_separator(text: str) -> str:
    """A shell takes `${IFS}` for a space, but only behind the command."""
    head, _, rest = text.strip().rpartition(" ")
    return f"{head}${{IFS}}{rest}" if head and re.search(r"[a-z]$", head) else text


def overlong(text: str) -> str:
    """Dots and slashes in more bytes of UTF-8 than they need."""
    return text.replace("/", "%c0%af").replace("\\", "%c1%9c")


def other_slashes(text: str) -> str:
    """Slashes that only look like slashes."""
    return text.replace("/", "\u2215").replace("\\", "\u2216")


def doubled_steps(text: str) -> str:
    """What is left of `....//` where a filter removes `../` once."""
    return text.replace("../", "....//").replace("..\\", "....\\\\")


def _marks(text: str, spell: Callable[[str], str]) -> str:
    return "".join(letter if letter.isalnum() or letter == " " else spell(letter) for letter in text)


COMMON = (percent, percent_twice, percent_all, unicode_escapes, hexadecimal_escapes, full_width, zero_width)
OF_CLASS: dict[str, tuple[Disguise, ...]] = {
    "command_injection": (*COMMON, wide_spaces, internal_field_separator),
    "script_injection": (*COMMON, entities, decimal_entities, hexadecimal_entities, mixed_case),
    "path_traversal": (*COMMON, decimal_entities, mixed_case, overlong, other_slashes, doubled_steps),
    "sql_injection": (*COMMON, decimal_entities, mixed_case, wide_spaces, comments_for_spaces, pluses_for_spaces),
}
