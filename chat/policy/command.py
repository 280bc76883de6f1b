"""The shape of command injection: a value, then a separator or a substitution, then a command that attackers use."""

from __future__ import annotations

import re
from collections.abc import Iterator

from chat.policy import naming, prose
from chat.policy.reading import Reading
from chat.policy.shape import find_all, shape
from chat.policy.vocabulary import ALONE, ATTACKING, COMMANDS, COMMON, NAMES, TITLED, USUAL

ATTACK = "(?:" + "|".join(ATTACKING) + r"|mkfs[.\w]{0,6}|net (?:user|localgroup|view|share|use|start)"
ATTACK += r"|(?:sc|reg) (?:query|add|delete)|openssl s_client"
ATTACK += r"|(?:python[\d.]{0,5}|perl|ruby|php\d?|node|lua|awk)(?= -\w| ['\"]))(?:\.exe)?"
WORD = "(?:" + "|".join(COMMON) + r")(?:\.exe)?"
# A number that counts something is none: `sleep 8 hours`.
ARGUMENT = (
    r"(?:[-/~.$*'\"\\{<>@]|(?<=timeout )\d|\d(?!\d{0,8}(?:[a-z]{2}| [a-z]{3,20}s\b|:\d))|[a-z]:\\"
    r"|[\w-]{1,40}+[./:\\][\w./\\:-])"
)
# `echo hi` says nothing by itself; behind a separator it asks whether it was run.
SPEAKING = r"(?:echo|printf)(?: [^\s=;|&(]|\$)"
BEFORE = (
    r"(?:(?:sudo|command|exec|nohup) |(?:/(?:usr/)?(?:local/)?)?s?bin/|[\w./]{1,20}/bin/"
    r"|c:\\windows\\system32\\|\w{1,12}=\S{0,20} |\(|\{ ?|! ?|@)?"
)
# No assignment, call or attribute: `; id = 5`, `&& ls.length`. Nor a name beside another: `; curl or wget`.
NO_CODE = r"(?![\w.\[(]| ?[=:,)\]]|-[a-z]{3,}| (?:or|and|vs|versus|und|oder|et|ou) [a-z])"
SEPARATOR = r"[;&|][ \n;&|]{0,3}+(?=[a-z/({!@])"
# The second half of a title: `house & tree`, `reverb & echo pedals`.
IN_TITLE = r"(?<=[^\W\d_] & )(?:" + "|".join(TITLED) + r")\b(?!\.exe| ?" + ARGUMENT + r"| ?[|&;]| (?:aux|ef)\b)"

CHAINED = (
    shape(SEPARATOR + "(?!" + IN_TITLE + r"|(?<=\| )awk '\{ ?print)" + BEFORE + ATTACK + NO_CODE, ";", "&", "|",
          unless=(naming.is_listed,)),
    shape(SEPARATOR + "(?!" + IN_TITLE + ")" + BEFORE
          + r"(?:" + WORD + r"(?:[ <>]{1,3}+" + ARGUMENT + r"|\$|/[a-z?]|<)|" + SPEAKING + r")"
          # Filters at the end of a pipe are how everybody reads a log.
          r"(?<!\|grep -)(?<!\| grep ['\"/-])(?<!\| head -)(?<!\| tail -)(?<!\| sort -)(?<!\| cut -)(?<!\| xargs -)"
          r"(?<!\| sed ['\"-])(?<!\| awk ['\"-])(?<!\| uniq -)(?<!\| tee [a-z])(?<!\| less -)(?<!\| find \")",
          ";", "&", "|", unless=(naming.is_listed, naming.is_in_own_line)),
    # `Design & History` is a title.
    shape(r"(?:[;&|](?<! &)[ \n;&|]{0,3}+(?=[a-z/({!@])|& (?=(?:id|dir|env|ver|df)\b))" + BEFORE
          + r"(?:" + "|".join(ALONE) + r")(?:\.exe)? ?(?:$|[\n;|#)`\"'}>\\]|%|&(?! [a-z]))", ";", "&", "|",
          unless=(naming.is_listed, naming.is_in_own_line, naming.is_in_condition)),
)  # fmt: skip
SHAPES = (
    *CHAINED,
    # `$(…)` and `<(…)`; in capitals it is a variable of make.
    shape(r"[$<>]\([ \n]?" + BEFORE + r"(?:(?:" + ATTACK + r"|" + WORD + r")(?=[ <$]\S|[ \n]?\))|" + SPEAKING + r")",
          "$(", "<(", ">(", unless=(naming.is_looking_round, naming.is_assigned)),
    # Back-ticks that came to light by decoding, or stand where Markdown has no code.
    shape(r"`[ \n]?" + BEFORE + r"(?:(?:" + ATTACK + r"|" + WORD + r")(?=`| \S|\$)|" + SPEAKING + r")", "`",
          unless=(naming.is_assigned,)),
    # Words put together from pieces, which nobody types who has nothing to hide.
    shape(r"(?<!=\")\$\{?ifs\b|\$\{path:|\$@\w|\{(?:cat|ls|rm|wget|curl|nc|echo|id|ping),[^{}\n]{1,80}\}|/dev/(?:tcp|udp)/\w"
          r"|\(\) ?\{[ :;]{0,6}\}? ?;", "$", "{", "/dev/"),
    shape(r"/(?:usr/)?bin/[\w?*]{1,12} [-/]|/\?{2,3}/|\bc:\\windows\\system32\\cmd", "bin/", "/?", "cmd"),
    # A program by its path, maybe with letters left open.
    shape(SEPARATOR + r"/[\w?*]{1,12}/[\w?*/.-]{1,60}+(?:[ \n]|$)", ";/", "; /", "|/", "| /", "&/", "& /"),
    # The same by way of PHP or of a server that expands its pages.
    shape(r"(?:[;&|`]|<\?(?:php|=)?|\{?\$\{@?) {0,3}+(?:print\()?"
          r"(?:phpinfo|system|passthru|shell_exec|popen|proc_open|pcntl_exec) ?\(|\{\$\{\w{1,20}\(|;exec\("
          r"|<!-- ?#(?:exec|include|printenv)", "(", "<!"),
    # A line of its own, below one that is a value: `127.0.0.1`, then `cat /etc/passwd`.
    shape(r"^[^\n]{0,60}?(?:\n|\\[nr])" + BEFORE + r"(?:(?:cat|head|tail|more|less|type|tac|nl) [/.~c$]"
          r"|rm -|(?:wget|curl|nc|ncat) \S|ping -|sleep \d"
          r"|(?:id|whoami|ls|pwd|uname|ifconfig|ipconfig|dir|env|ps|netstat)(?: -\w{1,6}| /\w*)?(?:$|\n)"
          r"|(?:ba|z|k)?sh -|python\d? -c|perl -e|nslookup |powershell)", "\n", "\\n", "\\r"),
)  # fmt: skip

# A single command between back-ticks with hardly a word beside it: `test `whoami``.
SUBSTITUTED = re.compile(
    BEFORE + r"(?:" + ATTACK + r"(?:$| \S|\$)|(?:id|w|who|last|env)$|" + WORD + r"(?:\$| " + ARGUMENT + r")"
    r"|" + SPEAKING + ")"
)
# Spans around which so many words stand are named in a sentence.
SPAN_WORDS = 3
# A single word in front of a noun is named by fewer, HTML `id` attribute, and at the beginning by it: `curl` flags.
NAME_WORDS = 2
NOUNS = 1
NAME = re.compile(r"[\w-]{1,20}")
# Quotes, backslashes and variables that are empty: what a shell takes out of a word.
SPLITTING = re.compile(
    r"(?<=[a-z/])(?:''|\"\"|\\(?=[a-z/])|\$@|\$\*|\$\{\w\}|\$\d|(['\"])(?=[a-z]{1,4}\1[a-z])"
    r"|(?<=['\"][a-z])['\"](?=[a-z]))"
)
QUOTED_PART = re.compile(r"(?<=[a-z])(['\"])([a-z]{1,6})\1(?=[a-z])|(?<=[ ;|&/])(['\"])([a-z]{2,12})\3(?=[ ;|&/]|$)")

# The last words in front of a separator, among which the command would be that it follows.
WORDS_BEFORE = 3
COMMAND_WORD = re.compile("|".join([*ATTACKING, *COMMON, *USUAL, "line", "shell", "commands"]))
SENTENCE_END = re.compile(r"[.?!:,\n\"()]")
LONGEST_APPENDED = 2000
VOCABULARY = COMMANDS
# `cd src && ls`: a chain of nothing but what developers do, or that only looks round, is no attack.
RUNNING = {"sudo", "command", "echo", "python", "java"}
HARMLESS = [*sorted({*USUAL} - RUNNING), *naming.LOOKING, "touch", "source", "echo(?![^;|&]{0,200}>)"]
DEVELOPING = re.compile(
    "(?:" + "|".join(USUAL) + r") [^;|&$`]{1,200}+(?:&& ?(?:" + "|".join(HARMLESS) + r")\b[^;|&$`]{0,200}+){1,8}$"
)


def find(reading: Reading) -> Iterator[re.Match[str]]:
    """Yield what a shell would run, were the text put into a line of it."""
    if DEVELOPING.match(reading.text):
        return
    # In this order, and each once.
    for text in dict.fromkeys([reading.text, join_words(reading.text)]):
        yield from find_all(SHAPES, text)
    yield from _find_substituted(reading)


def rest_of(reading: Reading) -> str:
    """Return what is written around the attack: commands are no words."""
    return reading.text


def is_appended(match: re.Match[str]) -> bool:
    """Whether a sentence was only put in front: `what is the weather; rm -rf /` chains no commands, it adds one."""
    text = match.string
    if (
        match.re not in APPENDING
        or COLUMN.match(match[0])
        or len(text) > LONGEST_APPENDED
        or "\n" in text[match.start() :]
    ):
        return False
    before = SENTENCE_END.split(text[: match.start()])[-1].split()
    if (
        not before
        or not before[-1].isalpha()
        or any(COMMAND_WORD.fullmatch(word.strip("'\"`")) for word in before[-WORDS_BEFORE:])
    ):
        return False
    # What follows is one command line, to the end.
    after = text[match.end() :]
    return prose.count_words(after, VOCABULARY) <= 1 and not prose.QUESTION.search(after)


APPENDING = {each.pattern for each in CHAINED}
# What joins names more often than commands: `name & id`.
COLUMN = re.compile(r"[|&] ?(?:" + "|".join(ALONE) + r")(?:$|[ |&])")


def _find_substituted(reading: Reading) -> Iterator[re.Match[str]]:
    """Yield the code span that is the substitution of a command, not code that a sentence shows."""
    if len(reading.spans) != 1:
        return
    span = reading.spans[0]
    about = prose.is_about_it(reading.text, frozenset(NAMES), least=_least_words(span, reading.raw))
    if not about and (match := SUBSTITUTED.match(span)):
        yield match


def _least_words(span: str, raw: str) -> int:
    """Return how many words beside `span` make it one that is named."""
    before, _, behind = raw.rpartition("`")
    if not (NAME.fullmatch(span) and prose.count_words(behind.partition("\n")[0].lower())):
        return SPAN_WORDS
    return NOUNS if before.lstrip().startswith("`") else NAME_WORDS


def join_words(text: str) -> str:
    """Return `text` without the marks that split a command's name: `w'h'o'am'i`, `c\\at`."""
    if not any(mark in text for mark in "'\"\\$*"):
        return text
    return QUOTED_PART.sub(r"\2\4", SPLITTING.sub("", text))
