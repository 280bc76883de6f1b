"""What each provider answers instead of a stream: the JSON of its HTTP errors, for the simulator.

The bodies are the providers' own, as their users quote them in public issues; only names and numbers are made up.
"""

from __future__ import annotations

from typing import Any


def openai_error(status: int, variant: str, model: str, *, sentence: str = "", retry: int = 20) -> Any:
    """Return OpenAI's body for `status`; `variant` and `retry` are those of `Spec`; `sentence` replaces its own."""
    usual, kind, code = OPENAI_ERRORS.get(variant or str(status), (OTHER, _blame(status, "server_error"), None))
    message = sentence or usual.format(model=model, status=status, retry=retry)
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic_error(status: int, variant: str, model: str, *, sentence: str = "", retry: int = 20) -> Any:
    """Return Anthropic's body; the arguments are those of `openai_error`. The real service says `retry` in a header."""
    usual, kind = ANTHROPIC_ERRORS.get(variant or str(status), (OTHER, _blame(status, "api_error")))
    error = {"type": kind, "message": sentence or usual.format(model=model, status=status)}
    return {"type": "error", "error": error, "request_id": "req_sim"}


def google_error(status: int, variant: str, model: str, *, sentence: str = "", retry: int = 20) -> Any:
    """Return Google's body, an array as the stream would have been; the arguments are those of `openai_error`."""
    server = _blame(status, "INTERNAL", "INVALID_ARGUMENT")
    usual, kind, details = GOOGLE_ERRORS.get(variant or str(status), (OTHER, server, []))
    if status == 429 and not variant:
        details = [*details, {"@type": f"{GOOGLE_TYPES}.RetryInfo", "retryDelay": f"{retry}s"}]
    error = {"code": status, "message": sentence or usual.format(model=model, status=status), "status": kind}
    return [{"error": error | ({"details": details} if details else {})}]


def cohere_error(status: int, variant: str, model: str, *, sentence: str = "", retry: int = 20) -> Any:
    """Return Cohere's body, a sentence alone; the arguments are those of `openai_error`. It never says `retry`."""
    usual = COHERE_ERRORS.get(variant or str(status), OTHER)
    return {"id": "sim", "message": sentence or usual.format(model=model, status=status)}


def proxy_page(status: int, phrase: str) -> str:
    """Return what a proxy in front of any provider says when it cannot reach it."""
    title = f"{status} {phrase}"
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )


def _blame(status: int, server: str, client: str = "invalid_request_error") -> str:
    return server if status >= 500 else client


OTHER = "Simulated failure {status}."

OPENAI_BAD_KEY = (
    "Incorrect API key provided: sim-****. You can find your API key at https://platform.openai.com/account/api-keys.",
    "invalid_request_error",
    "invalid_api_key",
)
OPENAI_ERRORS: dict[str, tuple[str, str, str | None]] = {
    "context": (
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens. "
        "Please reduce the length of the messages.",
        "invalid_request_error",
        "context_length_exceeded",
    ),
    "key": OPENAI_BAD_KEY,
    "401": OPENAI_BAD_KEY,
    "404": (
        "The model `{model}` does not exist or you do not have access to it.",
        "invalid_request_error",
        "model_not_found",
    ),
    "429": (
        "Rate limit reached for {model} in organization org-sim on tokens per min (TPM): Limit 30000, Used 29937, "
        "Requested 385. Please try again in {retry}s. Visit https://platform.openai.com/account/rate-limits to learn "
        "more.",
        "tokens",
        "rate_limit_exceeded",
    ),
    "500": ("The server had an error while processing your request. Sorry about that!", "server_error", None),
    "503": ("That model is currently overloaded with other requests. Please retry your request.", "server_error", None),
}

ANTHROPIC_BAD_KEY = ("invalid x-api-key", "authentication_error")
ANTHROPIC_ERRORS: dict[str, tuple[str, str]] = {
    "context": ("prompt is too long: 212345 tokens > 200000 maximum", "invalid_request_error"),
    "key": ANTHROPIC_BAD_KEY,
    "401": ANTHROPIC_BAD_KEY,
    "403": ("Your API key does not have permission to use the specified resource.", "permission_error"),
    "404": ("model: {model}", "not_found_error"),
    "413": ("Request exceeds the maximum size", "request_too_large"),
    "429": (
        "This request would exceed the rate limit for your organization of 50,000 input tokens per minute. "
        "For details, refer to: https://docs.anthropic.com/en/api/rate-limits.",
        "rate_limit_error",
    ),
    "500": ("Internal server error", "api_error"),
    "529": ("Overloaded", "overloaded_error"),
}

GOOGLE_TYPES = "type.googleapis.com/google.rpc"
GOOGLE_ERRORS: dict[str, tuple[str, str, list[dict[str, Any]]]] = {
    "context": (
        "The input token count (1200345) exceeds the maximum number of tokens allowed (1048576).",
        "INVALID_ARGUMENT",
        [],
    ),
    "key": (
        "API key not valid. Please pass a valid API key.",
        "INVALID_ARGUMENT",
        [{"@type": f"{GOOGLE_TYPES}.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}],
    ),
    "401": ("Request had invalid authentication credentials.", "UNAUTHENTICATED", []),
    "403": ("The caller does not have permission", "PERMISSION_DENIED", []),
    "404": (
        "models/{model} is not found for API version v1beta, or is not supported for generateContent. "
        "Call ListModels to see the list of available models and their supported methods.",
        "NOT_FOUND",
        [],
    ),
    # The time stands in the details alone.
    "429": (
        "You exceeded your current quota, please check your plan and billing details.",
        "RESOURCE_EXHAUSTED",
        [{"@type": f"{GOOGLE_TYPES}.QuotaFailure", "violations": [{"quotaId": "GenerateRequestsPerMinute"}]}],
    ),
    "503": ("The model is overloaded. Please try again later.", "UNAVAILABLE", []),
    "504": ("The request timed out. Please try again.", "DEADLINE_EXCEEDED", []),
}

COHERE_ERRORS = {
    "context": "too many tokens: size limit exceeded by 1001 tokens. Try using shorter or fewer inputs.",
    "key": "invalid api token",
    "401": "invalid api token",
    "404": "model '{model}' not found, make sure the correct model ID was used and that you have access to the model.",
    "429": "You are past the per minute request limit, please wait and try again later.",
    "500": "internal server error",
}
