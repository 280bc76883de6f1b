"""One spelling for what can be spelled in many ways, so that a disguise is judged as what is behind it."""

from __future__ import annotations

import html
import re
import unicodedata

# Nobody decodes more often; what is not encoded costs one.
ROUNDS = 8

ESCAPE = re.compile(
    r"((?:%[0-9a-fA-F]{2})+)"
    r"|%u([0-9a-fA-F]{4})"
    r"|\\u([0-9a-fA-F]{4})"
    r"|\\u\{([0-9a-fA-F]{1,6})\}"
    r"|\\x([0-9a-fA-F]{2})"
    r"|&#[xX]([0-9a-fA-F]{1,12});?"
    r"|&#([0-9]{1,12});?"
)
# UTF-8 that is longer than it must be, which careless decoders take: the bytes of one ASCII character in two or three.
OVERLONG = re.compile(
    rb"\xc0[\x80-\xbf]|\xc1[\x80-\xbf]|\xe0\x80[\x80-\xbf]|\xe0\x81[\x80-\xbf]|\xf0\x80\x80[\x80-\xbf]"
)
# Written between shown letters by whoever hides a word: zero width, bidi, soft hyphens, variation selectors, tags.
INVISIBLE = [
    0x00AD, 0x034F, 0x061C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180E, 0x3164, 0xFEFF, 0xFFA0,
    *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), *range(0xFE00, 0xFE10),
    *range(0xE0000, 0xE0080),
]  # fmt: skip
SLASHES = {0x2215: "/", 0x2044: "/", 0x29F8: "/", 0x2571: "/", 0x27CB: "/", 0x1735: "/",
           0x2216: "\\", 0x29F5: "\\", 0x29F9: "\\", 0x2572: "\\", 0x27CD: "\\", 0x20E5: "\\"}  # fmt: skip
# Blocks with characters that stand for one of ASCII: superscripts to enclosed letters, full width, mathematical.
COMPATIBLE = [range(0xA0, 0x3400), range(0xFE10, 0xFFF0), range(0x1D400, 0x1D800), range(0x1F100, 0x1F200)]


def _plain() -> dict[int, str | None]:
    """Return what every character is read as that is not read as itself."""
    table: dict[int, str | None] = {}
    for block in COMPATIBLE:
        for code in block:
            plain = unicodedata.normalize("NFKC", chr(code))
            if plain.isascii() and len(plain) <= 3:
                table[code] = plain
    # Control characters are a rule of their own; between letters they hide a word.
    controls = [*range(0x20), *range(0x7F, 0xA0)]
    return {
        **table, **SLASHES, **dict.fromkeys(INVISIBLE), **dict.fromkeys(controls),
        9: " ", 10: "\n", 11: " ", 12: " ", 13: "\n", 0x85: "\n", 0xA0: " ", 0x2028: "\n", 0x2029: "\n",
    }  # fmt: skip


PLAIN = _plain()
UNSEEN = re.compile("[" + "".join(map(chr, INVISIBLE)) + "]")
CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
SPACES = re.compile(r"  +")
BLANK_LINES = re.compile(r" ?\n[ \n]*")


def reveal(text: str) -> str:
    """Return `text` without what nobody sees."""
    return text if text.isascii() else UNSEEN.sub("", text)


def normalise(raw: str) -> str:
    """Return `raw` decoded, folded to ASCII where that is meant, in small letters, with single spaces and lines."""
    text = decode(raw)
    text = SPACES.sub(" ", text)
    if "\n" in text:
        text = BLANK_LINES.sub("\n", text)
    # A line break that somebody encoded to begin with is there for a shell.
    lead = "\n" if text[:1] == "\n" and not raw[:1].isspace() else ""
    return lead + text.strip().lower()


def decode(text: str) -> str:
    """Return `text` without encodings and disguises: percent, entities, escapes, wide and invisible characters."""
    text = _fold(text)
    for _ in range(ROUNDS):
        before = text
        if "%" in text or "\\" in text or "&#" in text:
            text = ESCAPE.sub(_unescape, text)
        if "&" in text:
            text = html.unescape(text)
        if text == before:
            break
        text = _fold(text)
    return text


def _fold(text: str) -> str:
    if text.isascii() and not CONTROLS.search(text):
        return text
    return text.translate(PLAIN)


def _unescape(match: re.Match[str]) -> str:
    percents, *hexadecimals, decimal = match.groups(default="")
    if percents:
        octets = bytes.fromhex(percents.replace("%", ""))
        return OVERLONG.sub(_shorten, octets).decode(errors="replace")
    code = int(decimal) if decimal else int(next(filter(None, hexadecimals)), 16)
    # What no character has, and halves of pairs, stay as they are written.
    return chr(code) if code < 0xD800 or 0xE000 <= code < 0x110000 else match[0]


def _shorten(match: re.Match[bytes]) -> bytes:
    *_, before, last = match[0]
    return bytes([(before & 1) << 6 | last & 0x3F])
