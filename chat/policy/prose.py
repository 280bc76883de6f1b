"""Whether a text speaks about what is in it: whoever asks uses words, a bare attack string has hardly any."""

from __future__ import annotations

import re
from collections.abc import Iterable

from chat.policy import vocabulary as words_of

# So many words beside the attack make a sentence about it.
SENTENCE = 5
# Of those words, each one in a language that is written without spaces stands for so many characters.
CHARACTERS_PER_WORD = 2
# Whoever needs more to say something has said it.
MOST_TOKENS = 2000
# Lines from which on a text is a document that was pasted, not a value with an attack in it.
DOCUMENT_LINES = 4
LETTERS = 2

# Lines of logs begin with a time, or with an address and a time.
LOG_LINE = re.compile(
    r"\[?\d{4}-\d\d-\d\d[ t]\d\d:\d\d|[a-z]{3} {1,2}\d{1,2} \d\d:\d\d:\d\d"
    r"|[\w.:]{3,45} \S{1,40} \S{1,40} \[\d\d?/[a-z]{3}/\d{4}"
)

MARKS = ".,:;!?…()\"'*_-–—«»„“”‚‘’¿¡。，、：；！？؟،؛।·"
LATIN_WORD = re.compile(r"[a-z]{2,24}(?:['’-][a-z]{1,12}){0,3}|[ai]")
TECHNICAL = re.compile(r"[/\\<>=|&;$`{}@#%*+^~\d]")
UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
QUESTION = re.compile(r"\?(?=\s|$|[\"')\]。])|؟")

ASKING = frozenset(words_of.ASKING)
TOPICS = frozenset(words_of.TOPICS)
# As many words does one of the topics count.
TOPIC_WORDS = 3
# What asks where no space ends a word.
ASKING_UNSPACED = re.compile(
    "什么|什麼|怎么|怎麼|怎样|如何|为什么|為什麼|为何|解释|解釋|说明|區別|区别|意思|含义|吗|嗎|错误|錯誤|攻击|攻擊|注入|防止|示例|帮|請|请"
    "|何|なぜ|どう|とは|説明|意味|違い|方法|エラー|攻撃|危険|教えて|ください|ですか|ますか"
    "|설명|무엇|뭐|왜|어떻게|차이|의미|오류|공격|위험|나요|인가요|까요"
    "|อะไร|ทำไม|อย่างไร|ยังไง|อธิบาย|หมายถึง|แตกต่าง|ข้อผิดพลาด|โจมตี"
    "|ဘာ|អ្វី|ហេតុអ្វី|ຫຍັງ|ເປັນຫຍັງ"
)


def is_about_it(rest: str, vocabulary: frozenset[str] = frozenset(), *, least: int = SENTENCE) -> bool:
    """Whether `rest`, a normalised text without the attack in it, has the words of somebody who speaks about it.

    `vocabulary`: what is written like a word, and belongs to the language of the attack.
    """
    if ASKING_UNSPACED.search(rest):
        return True
    words = 2 if QUESTION.search(rest) else 0
    for token in _tokens(rest):
        if token in ASKING and token not in vocabulary:
            return True
        words += TOPIC_WORDS if token in TOPICS else _count(token, vocabulary)
        if words >= least:
            return True
    return False


def count_words(rest: str, vocabulary: frozenset[str] = frozenset()) -> int:
    """Return how many words of prose are in `rest`."""
    return sum(_count(token, vocabulary) for token in _tokens(rest))


def _tokens(text: str) -> Iterable[str]:
    return (token.strip(MARKS) for token in text.split(maxsplit=MOST_TOKENS)[:MOST_TOKENS])


def _count(token: str, vocabulary: frozenset[str]) -> int:
    if token.isascii():
        return int(LATIN_WORD.fullmatch(token) is not None and token not in vocabulary)
    unspaced = len(UNSPACED.findall(token[:200]))
    if unspaced:
        return -(-unspaced // CHARACTERS_PER_WORD)
    return int(len(token) > 1 and not TECHNICAL.search(token))


def is_document(text: str, hits: Iterable[int]) -> bool:
    """Whether `text` is from a log, or has many lines, of which those at the offsets `hits` are fewer than half."""
    if LOG_LINE.match(text):
        return True
    # Letters on lines of their own are a word that was pulled apart.
    lines = sum(len(line) > LETTERS for line in text.split("\n"))
    if lines < DOCUMENT_LINES:
        return False
    last, hit_lines = -1, 0
    for at in sorted(hits):
        start = text.rfind("\n", 0, at) + 1
        hit_lines += start != last
        last = start
    return 2 * hit_lines < lines
