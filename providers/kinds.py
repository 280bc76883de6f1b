"""The kinds of provider, in one table: what aichat calls them, what they need, and how their stream can be read.

Two of aichat 0.30.0's client types need a word (read off its source, src/client):

- `vertexai` is left out: it takes its access token from a file of Google's and from nowhere else, and a child may find
  no secret on disk. The same models: kind `gemini` with the address
  https://aiplatform.googleapis.com/v1/publishers/google and a Vertex AI API key.
- `bedrock` needs two values. The access key's id, which Amazon likens to a user name, stands in the configuration; the
  secret is the provider's key and goes by environment as all keys do.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db import models


class Kind(models.TextChoices):
    """The `type` of the client in aichat's configuration."""

    OPENAI = "openai", "OpenAI"
    CLAUDE = "claude", "Anthropic"
    GEMINI = "gemini", "Google Gemini"
    OPENAI_COMPATIBLE = "openai-compatible", "OpenAI-compatible"
    AZURE_OPENAI = "azure-openai", "Azure OpenAI"
    COHERE = "cohere", "Cohere"
    BEDROCK = "bedrock", "Amazon Bedrock"


@dataclass(frozen=True)
class Option:
    """A value of `Provider.options` that stands in aichat's configuration under the same name, and is no secret.

    `pattern` must fit the whole value. `header`: where aichat sends it along, so that a check can do the same.
    """

    name: str
    help: str
    pattern: str
    required: bool = False
    header: str = ""


@dataclass(frozen=True)
class Listing:
    """How a kind lists its models, free of charge.

    `path` is relative to the address. The names stand in the array `array` as `name`; `prefix` is what comes before
    each. `key_header` brings the key, after `scheme`. `complete`: a model that it does not name does not exist.
    """

    path: str
    array: str = "data"
    name: str = "id"
    prefix: str = ""
    key_header: str = "Authorization"
    scheme: str = "Bearer "
    headers: tuple[tuple[str, str], ...] = ()
    complete: bool = True


@dataclass(frozen=True)
class KindInfo:
    """What the site has to know about a kind.

    `dialect`: the module of aichat that logs its chunks, by which the transcript reads them; None: unreadable, so that
    nothing holds it to a finish reason. `address`: where aichat goes when no address is given. `limit`: where in a
    request's body the longest answer stands. `hottest`: the highest temperature it takes. `key_field`: what aichat
    calls the key. `asks_for_usage`: the provider reports usage only when the request says so.
    """

    label: str
    dialect: str | None
    address: str = ""
    needs_address: bool = False
    takes_address: bool = True
    needs_key: bool = True
    key_field: str = "api_key"
    options: tuple[Option, ...] = ()
    limit: tuple[str, ...] = ("max_tokens",)
    hottest: float = 2.0
    asks_for_usage: bool = False
    listing: Listing | None = None


KINDS: dict[Kind, KindInfo] = {
    Kind.OPENAI: KindInfo(
        label=Kind.OPENAI.label,
        dialect="openai",
        address="https://api.openai.com/v1",
        options=(
            Option(
                "organization_id", "The organization that pays.", r"[A-Za-z0-9_-]{1,80}", header="OpenAI-Organization"
            ),
        ),
        # Its newer models know only the longer name; everybody else's servers know the shorter.
        limit=("max_completion_tokens",),
        asks_for_usage=True,
        listing=Listing("models"),
    ),
    Kind.CLAUDE: KindInfo(
        label=Kind.CLAUDE.label,
        dialect="claude",
        address="https://api.anthropic.com/v1",
        hottest=1.0,
        listing=Listing(
            "models?limit=1000", key_header="x-api-key", scheme="", headers=(("anthropic-version", "2023-06-01"),)
        ),
    ),
    Kind.GEMINI: KindInfo(
        label=Kind.GEMINI.label,
        # Gemini's chunks are logged by the module that it shares with Vertex AI.
        dialect="vertexai",
        address="https://generativelanguage.googleapis.com/v1beta",
        limit=("generationConfig", "maxOutputTokens"),
        # The key could stand in the address as well, where proxies and error messages would show it.
        listing=Listing(
            "models?pageSize=1000",
            array="models",
            name="name",
            prefix="models/",
            key_header="x-goog-api-key",
            scheme="",
        ),
    ),
    Kind.OPENAI_COMPATIBLE: KindInfo(
        label=Kind.OPENAI_COMPATIBLE.label,
        dialect="openai",
        needs_address=True,
        needs_key=False,
        asks_for_usage=True,
        listing=Listing("models"),
    ),
    Kind.AZURE_OPENAI: KindInfo(
        label=Kind.AZURE_OPENAI.label,
        dialect="openai",
        needs_address=True,
        limit=("max_completion_tokens",),
        asks_for_usage=True,
        # A model is named by its deployment there, and the list has the names of what could be deployed.
        listing=Listing("openai/models?api-version=2024-10-21", key_header="api-key", scheme="", complete=False),
    ),
    Kind.COHERE: KindInfo(
        label=Kind.COHERE.label,
        dialect="cohere",
        address="https://api.cohere.ai/v2",
        hottest=1.0,
        # Chat is v2 and the list is v1.
        listing=Listing("../v1/models?page_size=1000", array="models", name="name"),
    ),
    Kind.BEDROCK: KindInfo(
        label=Kind.BEDROCK.label,
        dialect="bedrock",
        hottest=1.0,
        takes_address=False,
        key_field="secret_access_key",
        options=(
            Option("access_key_id", "The id of the access key; its secret is the key.", r"[A-Z0-9]{16,128}", True),
            # It becomes part of a host name.
            Option("region", "Such as us-east-1.", r"[a-z]{2,3}(-[a-z]+){1,3}-\d{1,2}", True),
        ),
        limit=("inferenceConfig", "maxTokens"),
        # Listing takes a signed request to another service, with rights of its own.
        listing=None,
    ),
}
