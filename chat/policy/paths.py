"""The shape of path traversal: steps up, with either slash, to where no file of a site is."""

from __future__ import annotations

import re
from collections.abc import Iterator

from chat.policy.reading import Reading
from chat.policy.shape import find_all, shape
from chat.policy.vocabulary import REQUESTS

# `../`, and what careless filters turn into it: `....//`, `..;/`, `..\/`, `.%00./` (whose NUL is gone by now).
UP = r"(?:\.{2,4}[ \n]?;?[\\/]{1,4})"
# What is in front of steps in somebody's own project: what takes a file of it in, and commands.
PROJECT = (
    *(r"from ['\"]", r"import ['\"]", r"include ['\"]", r"require\(['\"]", r"import\(['\"]", r"url\(", r"url\(['\"]"),
    *(r"src=['\"]", r"href=['\"]", r"\[['\"]", r"\bcd ", r"\bcp ", r"\bmv ", r"\bls ", r"\badd ", r"\bcopy "),
)
# No match begins in the middle of steps.
FIRST = r"(?<!\.\.[\\/])"
TARGET = (
    r"(?:etc[\\/]|windows\b|winnt\b|system32\b|boot\.ini|win\.ini|proc[\\/]|\.ssh\b|\.env\b|\.git\b|\.aws\b"
    r"|\.ht\w{4,8}|\.bash\w{0,12}"
    r"|web-inf|wp-config|web\.config|config\.(?:php|inc|ini|ya?ml|json)|passwd\b|shadow\b|id_rsa|global\.asa|inetpub"
    r"|sam\b|usr[\\/]"
    r"|var[\\/]|root\b|home[\\/]|dev[\\/]|opt[\\/]|tmp[\\/]|private[\\/]|users[\\/]|autoexec\.bat|settings\.py"
    r"|credentials|secrets?\b)"
)
SENSITIVE = (
    r"(?:/etc/(?:passwd|shadow|group|gshadow|sudoers|master\.passwd|hosts|issue|crontab|fstab|ssh/\w{1,20}"
    r"|mysql/my\.cnf|apache2/\S{1,40}|nginx/\S{1,40}|httpd/\S{1,40})"
    r"|/proc/(?:self|\d{1,7})/\w{1,16}|/proc/(?:version|cmdline|mounts|net/\w{1,8})"
    r"|/root/\.\w{1,20}|/home/[\w$]{1,20}/\.(?:ssh|aws|env|gnupg|netrc|pgpass|git-cred|docker|kube|\w{2,8}_history)\S{0,20}"
    r"|(?:[a-z]:)?[\\/]{1,4}(?:windows|winnt|boot\.ini|inetpub|autoexec\.bat)\b"
    r"|/var/log/\S{1,40}|/var/www/\S{1,60}|/(?:root|home/\w{1,20})/\.ssh/\w{1,20})"
)
SHAPES = (
    # The third step leaves every page's own tree, but not that of somebody's project.
    shape(FIRST + "".join(f"(?<!{before})" for before in PROJECT) + UP + r"{3,40}+", ".."),
    shape(UP + r"{1,2}+(?:[\w.$-]{1,40}+[\\/]{1,4}){0,4}?" + TARGET, ".."),
    # A value and nothing else: steps up in it have one purpose.
    shape(r"^(?:\S{0,80}?[=:/\\])?" + FIRST + UP + r"{2,40}\S{0,200}$", ".."),
    shape(r"^(?:\S{0,40}=)?(?:(?:file|php|zip|phar|expect|jar|netdoc):[\\/]{0,4})?\S{0,40}?" + SENSITIVE + r"\S{0,60}$",
          "/etc/", "/proc/", "/root/", "/home/", "windows", "winnt", "boot.ini", "inetpub", "autoexec", "/var/"),
    shape(r"^(?:\S{0,40}=)?(?:php://(?:filter|input)|expect://|phar://"
    r"|\\\\[\w.]{1,40}\\\w{1,20}\$)\S{0,300}$",
          "php:", "expect:", "phar:", "\\\\"),
)  # fmt: skip
STEP = shape(UP, "..")
VOCABULARY = frozenset(REQUESTS)


def find(reading: Reading) -> Iterator[re.Match[str]]:
    """Yield steps up the tree of files."""
    yield from find_all(SHAPES, reading.text)
    # Nobody encodes a step who does not hide it.
    if not STEP.pattern.search(reading.raw):
        yield from STEP.find(reading.text)


def rest_of(reading: Reading) -> str:
    """Return what is written around the attack: a path is no word anyhow."""
    return reading.text
