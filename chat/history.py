"""The branch of a conversation as a model should see it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple
from uuid import UUID

from django.db.models import UUIDField

from chat.attachments import File, choose_images, files_of, with_quotes
from chat.models import Message, Role, SiteSettings
from providers.aichat import Turn
from providers.endings import Ending
from providers.prepared import Given, Prepared

# What an image counts for where tokens are guessed from characters: a thousand tokens of the usual four characters.
# Of a picture of 2048 pixels, OpenAI makes 765 tokens, Anthropic up to 1,600, Google 258 a tile of 768 pixels
# (https://platform.openai.com/docs/guides/images-vision, https://docs.claude.com/en/docs/build-with-claude/vision,
# https://ai.google.dev/gemini-api/docs/tokens). What was really counted comes with the answer.
IMAGE_CHARACTERS = 4000

# The role of what is said before everything else; nobody's message has it.
SYSTEM = "system"


@dataclass(frozen=True)
class Branch:
    """What is sent: the system prompt, the turns before, and the prompt with its images.

    `unfinished`: the answer that the prompt asks to continue. `starts`: at which message of the conversation's branch
    each turn begins, and the prompt behind them; `left_out`: how many messages of it are not sent for lack of room.
    """

    turns: tuple[Turn, ...]
    prompt: str
    unfinished: str = ""
    images: tuple[str, ...] = ()
    system: str = ""
    starts: tuple[int, ...] = ()
    left_out: int = 0

    def continued(self, text: str, prompt: str) -> Branch:
        """Return what asks a model to go on behind `text`, the beginning of an answer to this branch.

        As a user's turn: newer models refuse a request that ends in words of their own.
        """
        asked = Turn(Role.USER.value, self.prompt, self.images)
        before = self.turns[:-1] if self.unfinished else (*self.turns, asked)
        whole = self.unfinished + text
        starts = self.starts if self.unfinished else (*self.starts, *self.starts[-1:], *self.starts[-1:])
        turns = (*before, Turn(Role.ASSISTANT.value, whole))
        return replace(self, turns=turns, prompt=prompt, unfinished=whole, images=(), starts=starts)

    def since(self, first: int) -> Branch:
        """Return the branch without the turns before number `first`."""
        starts = self.starts[first:]
        return replace(self, turns=self.turns[first:], starts=starts, left_out=starts[0])

    @property
    def history(self) -> tuple[Turn, ...]:
        """What is sent before the prompt."""
        return (Turn(SYSTEM, self.system), *self.turns) if self.system else self.turns

    @property
    def everything(self) -> list[Turn]:
        """All that is sent, the prompt included."""
        return [*self.history, Turn(Role.USER.value, self.prompt, self.images)]

    @property
    def texts(self) -> list[str]:
        """All text that is sent."""
        return [turn.text for turn in self.everything]

    @property
    def all_images(self) -> list[str]:
        """The ids of all images that are sent."""
        return [image for turn in self.everything for image in turn.images]

    @property
    def least_characters(self) -> int:
        """How much is sent to a model with room for nothing but the question."""
        images = len(self.images) * IMAGE_CHARACTERS
        return sum(map(len, (self.system, self.prompt, self.unfinished))) + images

    @property
    def characters(self) -> int:
        """How much is sent, in characters; an image counts as so many that stand for its tokens."""
        return sum(map(len, self.texts)) + len(self.all_images) * IMAGE_CHARACTERS


class Line(NamedTuple):
    """A message as far as a branch needs it."""

    id: UUID
    parent_id: UUID | None
    role: str
    text: str
    state: str
    continues: bool
    ending: str
    files: Sequence[File] = ()

    @classmethod
    def of(cls, message: Message, files: Sequence[File] = ()) -> Line:
        """Return the line of a message that is not stored yet."""
        return cls(*(getattr(message, name) for name in COLUMNS))._replace(files=files)

    @property
    def is_silent(self) -> bool:
        return not (self.text or self.files)


COLUMNS = Line._fields[:-1]


def lines_of(conversation_id: UUID) -> list[Line]:
    """Return every message of the conversation, in queries that build no models."""
    rows = _find_lines(conversation_id=conversation_id)
    files = files_of(conversation_id)
    return [Line(*row)._replace(files=files[row[0]]) if row[0] in files else Line(*row) for row in rows]


_find_lines = Prepared(
    lambda: (
        Message.objects.order_by().filter(conversation_id=Given("conversation_id", UUIDField())).values_list(*COLUMNS)
    )
)


def below(line: Line, lines: Iterable[Line]) -> list[Line]:
    """Return what follows a message in all branches, from the conversation's `lines` in any order."""
    children: dict[UUID | None, list[Line]] = defaultdict(list)
    for other in lines:
        children[other.parent_id].append(other)
    found, waiting = [], [line.id]
    while waiting:
        following = children[waiting.pop()]
        found += following
        waiting += [child.id for child in following]
    return found


def branch_before(reply: Message, lines: Iterable[Line]) -> Branch:
    """Return everything above `reply`, of the conversation's `lines`; one query where it continues an answer.

    Failed answers without text are left out, and so is a message that the provider refused: sent again, it would only
    be refused again, with everything after it. Neighbours may then have the same role, which some providers refuse:
    they are joined; an answer and its continuation without a seam. Text files are quoted, images go along.
    """
    path = _path_to(reply, lines)
    questions = [line.id for line in path if line.role == Role.USER]
    # The last question is what is asked, even where it was refused before.
    refused = {line.parent_id for line in path if line.ending == Ending.REJECTED and not line.text}
    refused = refused & set(questions[:-1])
    said = [line for line in path if not (line.is_silent or line.id in refused)]
    sent = choose_images(line.files for line in said)
    places = {line.id: place for place, line in enumerate(path)}
    turns: list[Turn] = []
    starts: list[int] = []
    for line in said:
        text = with_quotes(line.text, line.files, sent) if line.files else line.text
        images = tuple(file.id for file in line.files if file.id in sent)
        if turns and turns[-1].role == line.role:
            seam = "" if line.continues else "\n\n"
            before = turns[-1]
            turns[-1] = Turn(line.role, f"{before.text}{seam}{text}", before.images + images)
        else:
            turns.append(Turn(line.role, text, images))
            starts.append(places[line.id])
    if turns[-1].role == Role.ASSISTANT:
        # Only a continued answer comes right after another, and only where that has said something.
        starts.append(len(path))
        return Branch(tuple(turns), site_settings().continue_prompt, turns[-1].text, starts=tuple(starts))
    return Branch(tuple(turns[:-1]), turns[-1].text, images=turns[-1].images, starts=tuple(starts))


def has_words_before(reply: Message, lines: Iterable[Line]) -> bool:
    """Return whether anything was said above `reply`: an imported answer may stand at the very beginning."""
    return not all(line.is_silent for line in _path_to(reply, lines))


def site_settings() -> SiteSettings:
    """Return the site's settings, with their defaults where an admin has not saved any yet."""
    return SiteSettings.objects.first() or SiteSettings()


def _path_to(reply: Message, lines: Iterable[Line]) -> list[Line]:
    by_id = {line.id: line for line in lines}
    path, at = [], reply.parent_id
    while at is not None:
        path.append(by_id[at])
        at = path[-1].parent_id
    return path[::-1]
