"""What a provider's error means: one table for each kind, by HTTP status, by the error's type and by its sentence.

Pure. The tables follow the providers' references and what their users quote in public issues. Read from the top: the
first line that fits decides. They hold only what the status does not tell: it has the word where no line fits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum


class Meaning(StrEnum):
    """What is wrong, in words for the person who runs the site."""

    KEY = "the key is not accepted"
    CREDIT = "no credit left"
    PLACE = "not offered in this place"
    QUOTA = "quota spent"
    BUSY = "too many requests"
    SERVER = "the provider's own failure"
    CONTEXT = "too long"
    CONTENT = "content refused"
    MODEL = "this model cannot be asked"


@dataclass(frozen=True)
class Sign:
    """One line of a table; whatever it gives must fit.

    `type` is searched in the error's type, code and status words, `text` in its sentence, whatever their case.
    `statuses` empty: any. An error inside a stream has no status; it fits by its words.
    """

    meaning: Meaning
    statuses: tuple[int, ...] = ()
    type: str = ""
    text: str = ""
    _type: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _text: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_type", re.compile(self.type, re.IGNORECASE))
        object.__setattr__(self, "_text", re.compile(self.text, re.IGNORECASE))

    def fits(self, status: int | None, kind_of_error: str, sentence: str) -> bool:
        """Whether an error with this status (None: inside a stream) is meant."""
        wordless = not (self.type or self.text)
        if self.statuses and status not in self.statuses and (status or wordless):
            return False
        return bool(self._type.search(kind_of_error) and self._text.search(sentence))


def find_meaning(kind: str, status: int | None, kind_of_error: str, sentence: str) -> Meaning | None:
    """Return what the error of a provider of `kind` means, or None where only its status can tell."""
    signs = SIGNS.get(kind, GENERIC)
    return next((sign.meaning for sign in signs if sign.fits(status, kind_of_error, sentence)), None)


# A request that was looked at and turned down; never a 429 or a failure of the server.
BAD = (400, 413, 422)

OPENAI = (
    # Its own status is 401; what relays it may say otherwise. The same for Anthropic below.
    Sign(Meaning.KEY, (400,), type="invalid_api_key"),
    Sign(Meaning.QUOTA, (400, 403, 429), type="insufficient_quota|billing_not_active"),
    # Larger than what the account may send in a minute: no waiting helps, and nobody else is kept out.
    Sign(Meaning.CONTEXT, (413, 429), text="request too large for .* tokens per min"),
    Sign(Meaning.BUSY, (429,), type="rate_limit"),
    Sign(Meaning.PLACE, (403,), type="unsupported_country_region_territory"),
    # A 403 too, where a project has no access to it.
    Sign(Meaning.MODEL, (403, 404), type="model_not_found"),
    Sign(Meaning.CONTEXT, BAD, type="context_length_exceeded|string_above_max_length"),
    Sign(Meaning.CONTEXT, BAD, text="maximum context length"),
    Sign(Meaning.CONTENT, (400, 403), type="content_filter|invalid_prompt"),
)
AZURE = (
    Sign(Meaning.QUOTA, (403,), text="out of call volume quota"),
    *OPENAI,
)
ANTHROPIC = (
    Sign(Meaning.KEY, (400,), type="authentication_error"),
    # A 400 like any other, but for its sentence.
    Sign(Meaning.CREDIT, (400, 402, 403), text="credit balance is too low"),
    Sign(Meaning.CREDIT, type="billing_error"),
    Sign(Meaning.QUOTA, (400, 403, 429), text="reached your specified .*usage limits"),
    Sign(Meaning.KEY, (400, 403), text="organization has been disabled"),
    Sign(Meaning.BUSY, type="rate_limit_error"),
    Sign(Meaning.CONTEXT, BAD, text="prompt is too long|exceed context limit"),
    Sign(Meaning.CONTENT, (400,), text="content filtering policy"),
)
GOOGLE = (
    Sign(Meaning.KEY, (400,), type="API_KEY_INVALID"),
    # "User location is not supported", "the free tier is not available in your country".
    Sign(Meaning.PLACE, (400,), type="FAILED_PRECONDITION"),
    Sign(Meaning.QUOTA, (429,), type="PerDay"),
    Sign(Meaning.QUOTA, (429,), text="credits are depleted|limit: 0"),
    Sign(Meaning.CONTEXT, (400,), text="token count.* exceeds|payload size exceeds"),
    Sign(Meaning.CONTENT, (400,), text="prompt was blocked"),
)
# One dialect, and a vocabulary for each of those who speak it.
COMPATIBLE = (
    # OpenRouter, DeepSeek, Together, xAI, Alibaba.
    Sign(Meaning.CREDIT, text="insufficient (credits|balance)|requires more credits|credit limit exceeded|arrearage"),
    Sign(Meaning.CREDIT, (403,), text="have any credits"),
    Sign(Meaning.QUOTA, (403, 429), text="used all available credits|free-models-per-day"),
    Sign(Meaning.QUOTA, (403, 429), type="exceeded_current_quota"),
    # A key that xAI does not know is a 400.
    Sign(Meaning.KEY, (400, 401, 403), text="(incorrect|invalid) api[ _]key|api[ _]key not valid"),
    # OpenRouter's moderation, xAI's usage guidelines, DeepSeek, Alibaba, Moonshot.
    Sign(Meaning.CONTENT, (400, 403), text="input was flagged|usage guidelines|content exists risk|high risk"),
    Sign(Meaning.CONTENT, (400, 403, 422), type="data_inspection_failed"),
    Sign(Meaning.CONTENT, BAD, text="content[ _](policy|filter)"),
    # llama.cpp, Groq, Cerebras; then vLLM, Mistral, OpenRouter, DeepSeek; LM Studio; Together; xAI; Ollama; Fireworks;
    # Moonshot; Alibaba.
    Sign(Meaning.CONTEXT, (400, 413, 422, 500), type="exceed_context_size"),
    Sign(
        Meaning.CONTEXT,
        (400, 413, 422, 500),
        text=r"maximum (context|prompt|model) length|context (length|window|size)|prompt is too long|too many tokens|"
        r"exceeds? the (available )?context|context the overflows|inputs. tokens \+ .?max_new_tokens|"
        r"inputs tokens \+ max_new_tokens|reduce the length of the messages|input token count|"
        r"exceeded model token limit|range of input length",
    ),
    # Groq's flexible tier, when it is full.
    Sign(Meaning.SERVER, (498,), type="capacity_exceeded"),
    # Ollama reports its own lack of memory for a model as a failure of the server.
    Sign(Meaning.MODEL, (500,), text="requires more system memory"),
    # Inside a stream, where there is no status.
    Sign(Meaning.BUSY, (429,), text="rate[ _-]limit"),
)
COHERE = (
    Sign(Meaning.QUOTA, (429,), text="trial key"),
    Sign(Meaning.CONTENT, (498,)),
    Sign(Meaning.CONTEXT, BAD, text="too many tokens"),
)
# Amazon names the kind of an error in a header, which nobody sees.
BEDROCK = (
    # No access to this one model.
    Sign(Meaning.MODEL, (403,), text="access to the model"),
    Sign(Meaning.QUOTA, (429,), text="tokens per day"),
    Sign(Meaning.CONTEXT, (400,), text="input is too long|prompt is too long"),
)
# Everybody's words: for a kind that has no table, and because gateways that speak OpenAI's dialect relay them all.
GENERIC = COMPATIBLE + OPENAI + ANTHROPIC + GOOGLE

SIGNS: dict[str, tuple[Sign, ...]] = {
    "openai": OPENAI,
    "azure-openai": AZURE,
    "claude": ANTHROPIC,
    "gemini": GOOGLE,
    "openai-compatible": GENERIC,
    "cohere": COHERE,
    "bedrock": BEDROCK,
}
