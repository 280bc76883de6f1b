"""A text as the rules read it."""

from __future__ import annotations

from dataclasses import dataclass

from chat.policy.normalise import normalise, reveal
from chat.policy.quoting import FENCE, set_apart

# Of a longer text its beginning and its end are read, where an attack is put: judging takes the loop's time.
END_LENGTH = 3000


@dataclass(frozen=True)
class Reading:
    """`raw` is what was sent; `text` what is judged of it, normalised; `spans` its code spans, normalised."""

    raw: str
    text: str
    spans: tuple[str, ...]

    @classmethod
    def of(cls, raw: str) -> Reading:
        """Read `raw`: set apart what it quotes, then normalise what is left."""
        quotings = [set_apart(reveal(part)) for part in _parts_of(raw)]
        text = "\n".join(normalise(quoting.said) for quoting in quotings)
        return cls(raw, text, tuple(normalise(span) for quoting in quotings for span in quoting.spans))


def _parts_of(raw: str) -> list[str]:
    if len(raw) <= 2 * END_LENGTH:
        return [raw]
    fences = FENCE.findall(raw, 0, len(raw) - END_LENGTH)
    # Whose code goes on at the end.
    opened = f"{fences[-1]}\n" if len(fences) % 2 else ""
    return [raw[:END_LENGTH], opened + raw[-END_LENGTH:]]
