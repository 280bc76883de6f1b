"""Finding one's own conversations by what was said in them and by their titles, with the words marked."""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Q
from django.urls import reverse
from django.utils.translation import gettext as _

from chat.models import Conversation, Message, State
from chat.search_index import INDEXED, PUNCTUATION

# Characters of a query.
LONGEST = 200
# Messages that are looked at, conversations that are shown, and messages of each.
MOST_HITS = 1000
MOST_CONVERSATIONS = 20
MOST_OF_ONE = 3
# Conversations that are read through where no index helps, the last used ones.
READ_THROUGH = 2000
# Characters of a snippet in front of the first hit, and altogether.
BEFORE, LENGTH = 40, 160

WORD = re.compile(r"[^\W_]")
# Scripts without spaces between words, and Korean, whose words end in many ways: no index of words finds these.
UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
    r"\U00020000-\U0003ffff]"
)
# A phrase in quotes, or what stands between two spaces.
CHUNK = re.compile(r'["“”„]([^"“”„]*)["“”„]?|([^\s"“”„]+)')
# Marks on letters, of which the index knows nothing.
MARKS = "[\u0300-\u036f]*"


def _variants() -> dict[str, str]:
    """Return for each plain letter all that the index takes for it: e, é, ê, É …"""
    found = defaultdict(set)
    for number in (*range(0xC0, 0x250), *range(0x386, 0x460), *range(0x1E00, 0x2000)):
        plain = unicodedata.normalize("NFKD", chr(number))[0].casefold()
        if plain != chr(number):
            found[plain].add(chr(number))
    return {plain: "".join(sorted(signs)) for plain, signs in found.items()}


VARIANTS = _variants()


@dataclass(frozen=True)
class Query:
    """What is looked for: chunks that must all be there, the last of which may go on."""

    text: str
    chunks: tuple[str, ...]
    is_open: bool

    @classmethod
    def parse(cls, text: str) -> Query:
        """Return the query that a person typed; whatever it is, it is one."""
        shown = "".join(" " if unicodedata.category(sign) in ("Cc", "Cs") else sign for sign in text[: LONGEST + 1])
        matches = list(CHUNK.finditer(shown))
        chunks = [" ".join((match[1] or match[2] or "").split()) for match in matches]
        worded = [chunk for chunk in chunks if WORD.search(chunk)]
        # Signs count only where there is nothing else, such as an emoji.
        # What begins with a single letter is nearly everything.
        is_open = bool(worded) and matches[-1][2] is not None and len(fold(worded[-1])) > 1
        return cls(text.strip(), tuple(dict.fromkeys(worded or filter(None, chunks))), is_open)

    @property
    def has_words(self) -> bool:
        """Whether an index of words can find it."""
        return all(WORD.search(chunk) and not UNSPACED.search(chunk) for chunk in self.chunks)

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What is marked in a text: where the chunks are, whatever their case and accents."""
        if not self.has_words:
            return re.compile("|".join(map(re.escape, self.chunks)), re.IGNORECASE)
        choices = []
        for number, chunk in enumerate(self.chunks, start=1):
            words = [_spelled(word) for word in re.findall(r"[^\W_]+", fold(chunk))]
            end = "" if self.is_open and number == len(self.chunks) else r"(?![^\W_])"
            choices.append(r"[\W_]+".join(words) + end)
        return re.compile(rf"(?<![^\W_])(?:{'|'.join(choices)})", re.IGNORECASE)


def fold(text: str) -> str:
    """Return a text as the index has it, without accents and case."""
    return re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFKD", text)).casefold()


def _spelled(word: str) -> str:
    return "".join(f"[{re.escape(sign)}{VARIANTS.get(sign, '')}]{MARKS}" for sign in word)


@dataclass(frozen=True)
class Piece:
    """A stretch of a text; `is_hit` where it is what was looked for."""

    text: str
    is_hit: bool = False


@dataclass(frozen=True)
class Hit:
    """A message in which something was found."""

    url: str
    role: str
    pieces: list[Piece]


@dataclass(frozen=True)
class Found:
    """A conversation with what was found in it."""

    conversation: Conversation
    title: list[Piece]
    hits: list[Hit] = field(default_factory=list)
    # Further messages with hits, which are not shown.
    more: int = 0


@dataclass(frozen=True)
class Results:
    """What a search has found; where that is nothing, `sentence` says so."""

    text: str
    found: list[Found] = field(default_factory=list)
    sentence: str = ""
    is_cut: bool = False


def search(user: User | None, text: str) -> Results:
    """Return the user's conversations, the archived ones too, in which everything that was asked for is found."""
    query = Query.parse(text)
    if len(text.strip()) > LONGEST:
        return Results(
            query.text[:LONGEST], sentence=_("Search for at most %(count)s characters.") % {"count": LONGEST}
        )
    if not query.chunks:
        return Results(query.text, sentence=_("Type what to look for.") if query.text else "")
    titles, messages = (_find_words if query.has_words else _find_text)(user, query) if user else ([], [])
    by_conversation: dict[uuid.UUID, list[uuid.UUID]] = {pk: [] for pk in titles}
    for message, conversation in messages:
        by_conversation.setdefault(conversation, []).append(message)
    shown = dict(list(by_conversation.items())[:MOST_CONVERSATIONS])
    found = list(_describe(query, shown))
    is_cut = len(by_conversation) > len(shown) or len(messages) == MOST_HITS
    return Results(query.text, found, "" if found else _("Nothing was found."), is_cut)


def _describe(query: Query, ids: dict[uuid.UUID, list[uuid.UUID]]) -> Iterator[Found]:
    """Yield the conversations with their titles and the first few messages that were found in them."""
    conversations = Conversation.objects.only("name", "title", "archived").in_bulk(list(ids))
    wanted = [message for found in ids.values() for message in found[:MOST_OF_ONE]]
    messages = {row[0]: row for row in Message.objects.filter(pk__in=wanted).values_list("id", "role", "text")}
    for pk, found in ids.items():
        conversation = conversations.get(pk)
        if conversation is None:
            # Gone since it was found.
            continue
        hits = [_hit(query, pk, *messages[message]) for message in found[:MOST_OF_ONE] if message in messages]
        title = mark(query, conversation.title or conversation.name)
        yield Found(conversation, title, hits, max(0, len(found) - MOST_OF_ONE))


def _hit(query: Query, conversation: uuid.UUID, message: uuid.UUID, role: str, text: str) -> Hit:
    url = f"{reverse('chat:conversation', args=[conversation])}?at={message}#m-{message}"
    return Hit(url, role, snippet(query, text))


def snippet(query: Query, text: str) -> list[Piece]:
    """Return what stands around the first hit, in one line."""
    text = text[:INDEXED]
    first = query.pattern.search(text)
    start = max(0, first.start() - BEFORE) if first else 0
    # Begins with a whole word, where there are any.
    if start and (space := text.find(" ", start, start + BEFORE)) >= 0:
        start = space + 1
    part = " ".join(text[start : start + LENGTH].split())
    before = "… " if start else ""
    return mark(query, f"{before}{part}{' …' if start + LENGTH < len(text) else ''}")


def mark(query: Query, text: str) -> list[Piece]:
    """Return the text in pieces, by what was found in it."""
    pieces, at = [], 0
    for match in query.pattern.finditer(text):
        pieces += [Piece(text[at : match.start()]), Piece(match[0], is_hit=True)]
        at = match.end()
    return [piece for piece in [*pieces, Piece(text[at:])] if piece.text]


# Titles: conversations. Messages: with their conversations. The newest first.
Ids = tuple[list[uuid.UUID], list[tuple[uuid.UUID, uuid.UUID]]]


def _find_words(user: User, query: Query) -> Ids:
    find = _find_in_postgres if connection.vendor == "postgresql" else _find_in_sqlite
    return find(user, query)


def _find_in_sqlite(user: User, query: Query) -> Ids:
    phrases = ['"' + chunk.replace('"', '""') + '"' for chunk in query.chunks]
    words = " AND ".join(phrases) + ("*" if query.is_open else "")
    # In the index's own order, from the end: it stops where there is enough, however many there are.
    titles = """
        SELECT c.id FROM chat_search s JOIN chat_searchentry e ON e.id = s.rowid
        JOIN chat_conversation c ON c.id = e.target
        WHERE chat_search MATCH %s AND c.owner_id = %s AND c.deleted_at IS NULL ORDER BY s.rowid DESC LIMIT %s
    """
    messages = """
        SELECT m.id, c.id FROM chat_search s JOIN chat_searchentry e ON e.id = s.rowid
        JOIN chat_message m ON m.id = e.target JOIN chat_conversation c ON c.id = m.conversation_id
        WHERE chat_search MATCH %s AND c.owner_id = %s AND c.deleted_at IS NULL ORDER BY s.rowid DESC LIMIT %s
    """

    def match(column: str) -> str:
        return f'owner : "u{user.pk}" AND {column} : ({words})'

    with connection.cursor() as cursor:
        cursor.execute(titles, [match("title"), user.pk, MOST_CONVERSATIONS + 1])
        found = [uuid.UUID(row[0]) for row in cursor.fetchall()]
        cursor.execute(messages, [match("text"), user.pk, MOST_HITS])
        return found, [(uuid.UUID(message), uuid.UUID(talk)) for message, talk in cursor.fetchall()]


def _find_in_postgres(user: User, query: Query) -> Ids:
    titles = """
        SELECT c.id FROM chat_conversation c, to_tsquery('simple', %s) q
        WHERE c.words @@ q AND c.owner_id = %s AND c.deleted_at IS NULL ORDER BY c.updated_at DESC LIMIT %s
    """
    messages = """
        SELECT m.id, c.id FROM chat_message m JOIN chat_conversation c ON c.id = m.conversation_id,
        to_tsquery('simple', %s) q
        WHERE m.words @@ q AND c.owner_id = %s AND c.deleted_at IS NULL ORDER BY m.created_at DESC LIMIT %s
    """
    words = _as_tsquery(query)
    with connection.cursor() as cursor:
        cursor.execute(titles, [words, user.pk, MOST_CONVERSATIONS + 1])
        found = [row[0] for row in cursor.fetchall()]
        cursor.execute(messages, [words, user.pk, MOST_HITS])
        return found, cursor.fetchall()


def _as_tsquery(query: Query) -> str:
    spaces = str.maketrans(dict.fromkeys(PUNCTUATION, " "))
    phrases = []
    for chunk in query.chunks:
        words = [word.replace("\\", "").replace("'", "") for word in fold(chunk).translate(spaces).split()]
        phrases.append(" <-> ".join(f"'{word}'" for word in words if WORD.search(word)))
    return (
        " & ".join(f"({phrase})" for phrase in phrases[:-1])
        + (" & " if phrases[1:] else "")
        + phrases[-1]
        + (":*" if query.is_open else "")
    )


def _find_text(user: User, query: Query) -> Ids:
    """Look for the very characters, in what was used last: nothing says beforehand where they are."""
    own = Conversation.objects.of(user).order_by("-updated_at")
    titles = own.filter(_contains("title", query.chunks)).values_list("pk", flat=True)[: MOST_CONVERSATIONS + 1]
    recent = list(own.values_list("pk", flat=True)[:READ_THROUGH])
    said = Message.objects.filter(_contains("text", query.chunks), conversation__in=recent, state=State.ENDED)
    messages = said.order_by("-created_at").values_list("pk", "conversation")[:MOST_HITS]
    return list(titles), list(messages)


def _contains(column: str, chunks: Iterable[str]) -> Q:
    condition = Q()
    for chunk in chunks:
        condition &= Q(**{f"{column}__icontains": chunk})
    return condition
