"""The shape of script injection: tags and handlers that run, addresses that are script, attributes broken out of."""

from __future__ import annotations

import re
from collections.abc import Iterator

from chat.policy.reading import Reading
from chat.policy.shape import find_all, shape
from chat.policy.vocabulary import SCRIPT

EVENT = (
    r"(?:abort|activate|after\w{1,20}|anim\w{1,20}|auxclick|before\w{1,20}|begin|blur|bounce|canplay\w{0,8}|change"
    r"|click|close|conte\w{1,24}|copy|cue\w{1,8}|cut|dblclick|drag\w{0,8}|drop|duration\w{1,8}|emptied|end(?:ed)?"
    r"|error|finish|focus\w{0,4}|form\w{1,8}|fullscreen\w{1,8}|got\w{1,20}|hashchange|input|invalid|key\w{1,8}"
    r"|load\w{0,12}|lost\w{1,20}|message\w{0,8}|mouse\w{1,8}|mozfull\w{1,16}|offline|online|page\w{1,8}|paste|pause"
    r"|play\w{0,8}|pointer\w{1,16}|popstate|popup\w{1,8}|progress|property\w{1,8}|ratechange|ready\w{1,12}|repeat"
    r"|reset|resize|scroll\w{0,20}|search|security\w{1,16}|seek\w{1,8}|select\w{0,12}|show|slotchange|stalled|start"
    r"|storage|submit|suspend|time\w{1,8}|toggle|touch\w{1,8}|transition\w{1,8}|unhandled\w{1,12}|unload|volume\w{1,8}"
    r"|waiting|webkit\w{1,30}|wheel|zoom\w{0,4})"
)
TAG = r"<[ /\n]{0,3}+"
# Tags that run or load by themselves. Where the name is also that of a type (`List<Object>`), of a header or of what
# somebody asks for, only with an attribute, or with something glued to a frame.
ACTIVE_TAG = shape(
    TAG + r"(?:x:|svg:|xml:)?(?:(?:script|bgsound|xss|animate\w{0,12}|isindex|foreignobject|eval)(?![\w-])"
    r"|(?:object|base|set|import|portal|handler|layer|ilayer|frameset)(?=[ \n/][^>])"
    r"|(?:iframe|frame|embed|applet)(?=[ \n/][^>]|>\S))",
    "<",
)
# Others do where an attribute or a style makes them.
LOADING_TAG = shape(
    TAG + r"[a-z][\w:-]{0,24}+[^<>]{0,400}?(?:srcdoc|formaction|@import|expression ?\(|behaviou?r ?:|-moz-binding"
    r"|http-equiv(?! ?= ?[\"']?(?:content-|x-ua-))|rel ?= ?[\"']?import"
    r"|(?:src|href|data|action|background|poster|dynsrc|lowsrc|from|to|values|folder|style) ?= ?[\"'` ]{0,3}"
    r"(?:javascript|vbscript|data:))",
    "<",
)
# In braces a function that is only named or made, as in React: no page calls it. One that attackers call is none.
SINK = r"(?:alert|confirm|prompt|eval|fetch|import|document|window|location|cookie)\b"
BRACES = r"(?! ?\{ ?(?:[\w.]{1,40}\}|\(?[\w, ]{0,40}+\)? ?=>(?![^<>\n]{0,80}?" + SINK + ")))"
HANDLER_IN_TAG = shape(r"<[\w!?/:][^<>]{0,600}?[^\w<>.$-]on[a-z-]{2,24}[ \n]?=" + BRACES, "<")
# Outside of a tag: an attribute that was broken out of, or the rest of a tag.
HANDLER = shape(
    r"on(?<![\w.$-]on)" + EVENT + r" ?=" + BRACES
    + r" ?[\"'`]{0,2}+ ?(?!function\b|async\b|\()[\w.$\[\]'\"+\\/{}!-]{1,80}? ?[(`=]",
    "on",
)  # fmt: skip
# `JavaScript: map() vs forEach()` is a title: behind a space only what ends with its first call or assignment, or has a
# semicolon, is script.
SCHEME = shape(
    r"(?:j ?\n?a ?\n?v ?\n?a|v ?\n?b|l ?\n?i ?\n?v ?\n?e) ?\n?s ?\n?c ?\n?r ?\n?i ?\n?p ?\n?t[ \n]?:"
    r"(?:[^\s]|[ \n](?:(?:alert|confirm|prompt|eval) ?[(`]|//|/\*"
    r"|[^\s(=`]{0,60}(?:\((?!\)$)|`| ?=(?![=>]) ?)(?:\S{0,200}$|[^\n;]{0,200};)))",
    ":",
)
DATA_ADDRESS = shape(
    r"data: ?text/html|data: ?[,;]?[\w+=./-]{0,60}+[;,](?:[^ ]{0,60}?<|[^ ]{0,60}?script|base64,p[ghdn][a-z0-9])",
    "data:",
)
# A string of a script that was broken out of.
STRING_BREAK = shape(
    r"[\"'`][ )\]};,\n*/+-]{0,12}+(?:[\w.]{1,20}+[=+-] ?)?(?:window|self|top|this|parent|frames|globalthis)?"
    r"[.\[\"'(]{0,3}+(?:alert|confirm|prompt|eval|settimeout|setinterval|import|fetch"
    r"|document\.\w{1,16})[\"'\])]{0,3}+ ?[(`=]",
    "alert", "confirm", "prompt", "eval", "settimeout", "setinterval", "import", "fetch", "document.",
)  # fmt: skip
SHAPES = (ACTIVE_TAG, LOADING_TAG, HANDLER_IN_TAG, HANDLER, SCHEME, DATA_ADDRESS, STRING_BREAK)

# What belongs to the attack and is no prose: tags, what a script has between its own, addresses.
SCRIPT_BODY = re.compile(r"< ?(?:script|style|svg|xss)[^<>]{0,400}>[^<]{0,4000}")
MARKUP = re.compile(r"<[^<>]{0,2000}>|</?[a-z!?][^<>]{0,2000}")
ADDRESS = re.compile(r"(?:java|vb|live)script ?:\S{0,2000}|data:\S{0,2000}")
VOCABULARY = frozenset(SCRIPT)


def find(reading: Reading) -> Iterator[re.Match[str]]:
    """Yield what looks like script that would run in a page."""
    return find_all(SHAPES, reading.text)


def rest_of(reading: Reading) -> str:
    """Return what is written around the attack."""
    return ADDRESS.sub(" ", MARKUP.sub(" ", SCRIPT_BODY.sub(" ", reading.text)))
