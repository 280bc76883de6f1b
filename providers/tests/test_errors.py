"""What each provider's errors mean: bodies as the providers send them, through aichat's log, to an ending."""

import json

import pytest

from providers.endings import Evidence, Verdict, decide, is_spent, is_too_long
from providers.errors import SIGNS
from providers.kinds import Kind
from providers.transcript import Transcript

AT = "2026-11-23T21:11:45.709Z [DEBUG] aichat::client::"


def refused(kind, status, body):
    """The evidence that an HTTP error leaves."""
    said = Transcript()
    said.feed(f"{AT}common: Invalid response, status: {status}, data: {json.dumps(body)}\n".encode(), now=0)
    return Evidence(
        exit_code=1,
        http_status=said.http_status,
        error_type=said.error_type,
        error_text=said.error_text,
        stderr="Error: Failed to call chat-completions api\n",
        request_sent=True,
        kind=kind,
        retry_seconds=said.retry_seconds,
    )


def broken(kind, module, body):
    """The evidence that an error inside a stream leaves."""
    said = Transcript()
    said.feed(f"{AT}{module}: stream-data: {json.dumps(body, separators=(',', ':'))}\n".encode(), now=0)
    return Evidence(
        exit_code=0,
        in_band_error=said.in_band_error,
        error_type=said.error_type,
        error_text=said.error_text,
        request_sent=True,
        has_text=True,
        kind=kind,
    )


def openai(message, kind="invalid_request_error", code=None):
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic(kind, message):
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def google(status, code, message, *details):
    return [{"error": {"code": status, "message": message, "status": code, "details": list(details)}}]


def quota(*ids):
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": name} for name in ids]}


COMPATIBLE, AZURE = "openai-compatible", "azure-openai"
AWAY = "The model `gpt-9` does not exist or you do not have access to it."
TOO_LARGE = (
    "Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Requested 38451. "
    "The input or output tokens must be reduced in order to run successfully."
)
CONTEXT = (
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens. Please reduce "
    "the length of the messages."
)
AZURE_FILTER = (
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify "
    "your prompt and retry."
)
AZURE_BUSY = (
    "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-12-01-preview have exceeded "
    "token rate limit of your current OpenAI S0 pricing tier. Please retry after 21 seconds."
)
QUOTA = "You exceeded your current quota, please check your plan and billing details."
CREDIT = (
    "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase "
    "credits."
)
LM_STUDIO = (
    "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length "
    "of only 4096 tokens, which is not enough."
)
VLLM = (
    "This model's maximum context length is 4096 tokens. However, you requested 4200 tokens (4000 in the messages, 200 "
    "in the completion). Please reduce the length of the messages or completion."
)
NO_BALANCE = openai("Insufficient Balance", "unknown_error", "invalid_request_error")
XAI_SPENT = "Your team 1 has either used all available credits or reached its monthly spending limit."
MODERATED = {"code": 403, "message": 'anthropic/claude requires moderation. Your input was flagged for "violence".'}

# Kind, status, body; the ending and what else the evidence says.
REFUSALS = {
    # https://platform.openai.com/docs/guides/error-codes
    "OpenAI, key": ("openai", 401, openai("Incorrect API key provided: x.", code="invalid_api_key"), "unauthorised"),
    "OpenAI, rate": (
        "openai",
        429,
        openai("Rate limit reached for gpt-4. Please try again in 20s.", "tokens", "rate_limit_exceeded"),
        "rate_limited",
    ),
    "OpenAI, quota": (
        "openai",
        429,
        openai(QUOTA, "insufficient_quota", "insufficient_quota"),
        "rate_limited, quota spent",
    ),
    "OpenAI, more than a minute's worth": (
        "openai",
        429,
        openai(TOO_LARGE, "tokens", "rate_limit_exceeded"),
        "rejected, length",
    ),
    "OpenAI, model": ("openai", 404, openai(AWAY, code="model_not_found"), "misconfigured"),
    "OpenAI, model of another project": (
        "openai",
        403,
        openai("Project `p` does not have access to model `gpt-9`", code="model_not_found"),
        "misconfigured",
    ),
    "OpenAI, context": ("openai", 400, openai(CONTEXT, code="context_length_exceeded"), "rejected, length"),
    "OpenAI, a message too long": (
        "openai",
        400,
        openai("Invalid 'messages[0].content': string too long.", code="string_above_max_length"),
        "rejected, length",
    ),
    "OpenAI, context without a code": ("openai", 400, openai(CONTEXT), "rejected, length"),
    "OpenAI, content": (
        "openai",
        400,
        openai(
            "Invalid prompt: your prompt was flagged as potentially violating our usage policy.", code="invalid_prompt"
        ),
        "rejected, content refused",
    ),
    "OpenAI, country": (
        "openai",
        403,
        openai(
            "Country, region, or territory not supported", "request_forbidden", "unsupported_country_region_territory"
        ),
        "unauthorised, not offered in this place",
    ),
    "OpenAI, parameter": (
        "openai",
        400,
        openai("Unsupported value: 'temperature' does not support 0.7.", code="unsupported_value"),
        "misconfigured",
    ),
    "OpenAI, its own": ("openai", 500, openai("The server had an error.", "server_error"), "provider_error"),
    # https://learn.microsoft.com/azure/ai-services/openai/
    "Azure, key": (
        AZURE,
        401,
        {"error": {"code": "401", "message": "Access denied due to invalid subscription key or wrong API endpoint."}},
        "unauthorised",
    ),
    "Azure, deployment": (
        AZURE,
        404,
        {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}},
        "misconfigured",
    ),
    "Azure, content": (
        AZURE,
        400,
        {"error": {"message": AZURE_FILTER, "type": None, "param": "prompt", "code": "content_filter", "status": 400}},
        "rejected, content refused",
    ),
    "Azure, rate": (AZURE, 429, {"error": {"code": "429", "message": AZURE_BUSY}}, "rate_limited"),
    "Azure, quota": (
        AZURE,
        403,
        {"error": {"code": "403", "message": "Out of call volume quota."}},
        "rate_limited, quota spent",
    ),
    "Azure, context": (AZURE, 400, openai(CONTEXT, code="context_length_exceeded"), "rejected, length"),
    # https://docs.anthropic.com/en/api/errors
    "Anthropic, key": ("claude", 401, anthropic("authentication_error", "invalid x-api-key"), "unauthorised"),
    "Anthropic, credit": (
        "claude",
        400,
        anthropic("invalid_request_error", CREDIT),
        "unauthorised, no credit left",
    ),
    "Anthropic, billing": (
        "claude",
        402,
        anthropic("billing_error", "Check your payment."),
        "unauthorised, no credit left",
    ),
    "Anthropic, own limit": (
        "claude",
        400,
        anthropic("invalid_request_error", "You have reached your specified API usage limits."),
        "rate_limited, quota spent",
    ),
    "Anthropic, rate": (
        "claude",
        429,
        anthropic("rate_limit_error", "This would exceed your rate limit"),
        "rate_limited",
    ),
    "Anthropic, overload": ("claude", 529, anthropic("overloaded_error", "Overloaded"), "provider_error"),
    "Anthropic, model": ("claude", 404, anthropic("not_found_error", "model: claude-9"), "misconfigured"),
    "Anthropic, context": (
        "claude",
        400,
        anthropic("invalid_request_error", "prompt is too long: 212345 tokens > 200000 maximum"),
        "rejected, length",
    ),
    "Anthropic, context with the answer": (
        "claude",
        400,
        anthropic(
            "invalid_request_error", "input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000"
        ),
        "rejected, length",
    ),
    "Anthropic, size": (
        "claude",
        413,
        anthropic("request_too_large", "Request exceeds the maximum size"),
        "rejected, length",
    ),
    "Anthropic, content": (
        "claude",
        400,
        anthropic("invalid_request_error", "Output blocked by content filtering policy"),
        "rejected, content refused",
    ),
    "Anthropic, parameter": (
        "claude",
        400,
        anthropic("invalid_request_error", "This model does not support assistant message prefill."),
        "misconfigured",
    ),
    # https://ai.google.dev/gemini-api/docs/troubleshooting
    "Google, key": (
        "gemini",
        400,
        google(400, "INVALID_ARGUMENT", "API key not valid.", {"reason": "API_KEY_INVALID"}),
        "unauthorised",
    ),
    "Google, expired key": (
        "gemini",
        400,
        google(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key.", {"reason": "API_KEY_INVALID"}),
        "unauthorised",
    ),
    "Google, blocked": (
        "gemini",
        400,
        google(400, "INVALID_ARGUMENT", "The prompt was blocked."),
        "rejected, content refused",
    ),
    "Google, leaked key": ("gemini", 403, google(403, "PERMISSION_DENIED", "Your key was leaked."), "unauthorised"),
    "Google, country": (
        "gemini",
        400,
        google(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
        "unauthorised, not offered in this place",
    ),
    "Google, a minute's quota": (
        "gemini",
        429,
        google(429, "RESOURCE_EXHAUSTED", QUOTA, quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier")),
        "rate_limited",
    ),
    "Google, a day's quota": (
        "gemini",
        429,
        google(429, "RESOURCE_EXHAUSTED", QUOTA, quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier")),
        "rate_limited, quota spent",
    ),
    "Google, not on the free tier": (
        "gemini",
        429,
        google(429, "RESOURCE_EXHAUSTED", f"{QUOTA} * Quota exceeded for metric: x, limit: 0, model: gemini-3-pro"),
        "rate_limited, quota spent",
    ),
    "Google, context": (
        "gemini",
        400,
        google(
            400, "INVALID_ARGUMENT", "The input token count (1200345) exceeds the maximum number of tokens allowed."
        ),
        "rejected, length",
    ),
    "Google, size": (
        "gemini",
        400,
        google(400, "INVALID_ARGUMENT", "Request payload size exceeds the limit: 20971520 bytes."),
        "rejected, length",
    ),
    "Google, model": ("gemini", 404, google(404, "NOT_FOUND", "models/gemini-9 is not found"), "misconfigured"),
    "Google, parameter": ("gemini", 400, google(400, "INVALID_ARGUMENT", "Unknown name"), "misconfigured"),
    "Google, overload": ("gemini", 503, google(503, "UNAVAILABLE", "The model is overloaded."), "provider_error"),
    # OpenAI's dialect, everybody's words.
    "OpenRouter, credit": (
        COMPATIBLE,
        402,
        {"error": {"message": "Insufficient credits. Add more.", "code": 402}},
        "unauthorised, no credit left",
    ),
    "OpenRouter, moderation": (COMPATIBLE, 403, {"error": MODERATED}, "rejected, content refused"),
    "OpenRouter, free models": (
        COMPATIBLE,
        429,
        {"error": {"message": "Rate limit exceeded: free-models-per-day.", "code": 429}},
        "rate_limited, quota spent",
    ),
    "Groq, rate": (
        COMPATIBLE,
        429,
        openai("Rate limit reached for model `x`. Please try again in 7m12.5s.", "tokens", "rate_limit_exceeded"),
        "rate_limited",
    ),
    "Groq, more than a minute's worth": (
        COMPATIBLE,
        413,
        openai(
            "Request too large for model `x` in organization `o` service tier `on_demand` on tokens per minute (TPM): "
            "Limit 6000, Requested 6294, please reduce your message size and try again.",
            "tokens",
            "rate_limit_exceeded",
        ),
        "rejected, length",
    ),
    "Groq, full": (COMPATIBLE, 498, openai("Flex tier is full", "service", "capacity_exceeded"), "provider_error"),
    "Mistral, context": (
        COMPATIBLE,
        400,
        {
            "object": "error",
            "message": "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
        },
        "rejected, length",
    ),
    "Mistral, key": (COMPATIBLE, 401, {"message": "Unauthorized", "request_id": "1"}, "unauthorised"),
    "Mistral, rate": (COMPATIBLE, 429, {"message": "Requests rate limit exceeded"}, "rate_limited"),
    "DeepSeek, balance": (COMPATIBLE, 402, NO_BALANCE, "unauthorised, no credit left"),
    "DeepSeek, content": (COMPATIBLE, 400, openai("Content Exists Risk"), "rejected, content refused"),
    "xAI, key": (
        COMPATIBLE,
        400,
        {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: na***ys."},
        "unauthorised",
    ),
    "xAI, spent": (
        COMPATIBLE,
        429,
        {"code": "Some resource has been exhausted", "error": XAI_SPENT},
        "rate_limited, quota spent",
    ),
    "xAI, context": (
        COMPATIBLE,
        400,
        {"code": "x", "error": "This model's maximum prompt length is 131072 but the request contains 140000 tokens."},
        "rejected, length",
    ),
    "Together, context": (
        COMPATIBLE,
        422,
        openai("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000"),
        "rejected, length",
    ),
    "Together, credit": (COMPATIBLE, 402, openai("Credit limit exceeded"), "unauthorised, no credit left"),
    "vLLM, context": (COMPATIBLE, 400, openai(VLLM, "BadRequestError", 400), "rejected, length"),
    "vLLM, model": (COMPATIBLE, 404, openai("The model `x` does not exist.", "NotFoundError", 404), "misconfigured"),
    "Ollama, model": (
        COMPATIBLE,
        404,
        openai('model "x" not found, try pulling it first', "api_error"),
        "misconfigured",
    ),
    "Ollama, memory": (
        COMPATIBLE,
        500,
        openai("model requires more system memory (9.5 GiB) than is available (3.1 GiB)", "api_error"),
        "misconfigured",
    ),
    "LM Studio, context": (COMPATIBLE, 400, {"error": LM_STUDIO}, "rejected, length"),
    "llama.cpp, context": (
        COMPATIBLE,
        400,
        {"error": {"code": 400, "message": "the request exceeds the size", "type": "exceed_context_size_error"}},
        "rejected, length",
    ),
    "llama.cpp, loading": (
        COMPATIBLE,
        503,
        {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
        "provider_error",
    ),
    "a gateway's Anthropic": (COMPATIBLE, 400, openai(f"AnthropicException: {CREDIT}"), "unauthorised, no credit left"),
    # https://docs.cohere.com/reference/errors
    "Cohere, key": ("cohere", 401, {"message": "invalid api token"}, "unauthorised"),
    "Cohere, trial": (
        "cohere",
        429,
        {"message": "You are using a Trial key, which is limited to 1000 API calls / month."},
        "rate_limited, quota spent",
    ),
    "Cohere, context": ("cohere", 400, {"message": "too many tokens: size limit exceeded by 9."}, "rejected, length"),
    "Cohere, content": ("cohere", 498, {"message": "blocked"}, "rejected, content refused"),
    # https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html
    "Bedrock, key": (
        "bedrock",
        403,
        {"message": "The security token included in the request is invalid."},
        "unauthorised",
    ),
    "Bedrock, model": (
        "bedrock",
        403,
        {"Message": "You don't have access to the model with the specified model ID."},
        "misconfigured",
    ),
    "Bedrock, context": ("bedrock", 400, {"message": "Input is too long for requested model."}, "rejected, length"),
    "Bedrock, rate": ("bedrock", 429, {"message": "Too many tokens, please wait before trying again."}, "rate_limited"),
    # What only one line of a table knows.
    "OpenAI, inactive": ("openai", 429, openai("Not active", code="billing_not_active"), "rate_limited, quota spent"),
    "OpenAI, context in newer words": (
        "openai",
        400,
        openai("Your input exceeds the context window of this model.", code="context_length_exceeded"),
        "rejected, length",
    ),
    "Anthropic, closed account": (
        "claude",
        400,
        anthropic("invalid_request_error", "This organization has been disabled."),
        "unauthorised",
    ),
    "Google, prepaid": (
        "gemini",
        429,
        google(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."),
        "rate_limited, quota spent",
    ),
    "xAI, no credit": (
        COMPATIBLE,
        403,
        {"code": "x", "error": "Your newly created team doesn't have any credits yet."},
        "unauthorised, no credit left",
    ),
    "xAI, content": (
        COMPATIBLE,
        403,
        {"code": "x", "error": "Content violates usage guidelines."},
        "rejected, content refused",
    ),
    "Moonshot, quota": (
        COMPATIBLE,
        429,
        openai("Your account is suspended", "exceeded_current_quota_error"),
        "rate_limited, quota spent",
    ),
    "Moonshot, content": (
        COMPATIBLE,
        400,
        openai("The request was rejected because it was considered high risk"),
        "rejected, content refused",
    ),
    "Moonshot, context": (COMPATIBLE, 400, openai("Your request exceeded model token limit: 8192"), "rejected, length"),
    "Alibaba, content": (
        COMPATIBLE,
        400,
        openai("Input data may contain inappropriate content.", "data_inspection_failed"),
        "rejected, content refused",
    ),
    "Alibaba, context": (
        COMPATIBLE,
        400,
        openai("Range of input length should be [1, 30720]"),
        "rejected, length",
    ),
    "OpenAI, key behind a proxy": ("openai", 400, openai("Bad", code="invalid_api_key"), "unauthorised"),
    "Anthropic, key behind a proxy": ("claude", 400, anthropic("authentication_error", "Bad"), "unauthorised"),
    "a gateway, key": (COMPATIBLE, 400, openai("Bad", code="invalid_api_key"), "unauthorised"),
    "a gateway, key in other words": (COMPATIBLE, 400, openai("Bad", "authentication_error"), "unauthorised"),
    "a gateway, content": (
        COMPATIBLE,
        400,
        openai("This violates our content policy."),
        "rejected, content refused",
    ),
    "Bedrock, a day's quota": (
        "bedrock",
        429,
        {"message": "Too many tokens per day, please wait before trying again."},
        "rate_limited, quota spent",
    ),
    "Bedrock, context of Anthropic's": (
        "bedrock",
        400,
        {"message": "The model returned the following errors: prompt is too long: 2 tokens > 1 maximum"},
        "rejected, length",
    ),
    # A kind nobody has heard of.
    "unknown, context": ("", 400, anthropic("invalid_request_error", "prompt is too long: 2 > 1"), "rejected, length"),
    "unknown, key": ("", 400, google(400, "INVALID_ARGUMENT", "API key not valid."), "unauthorised"),
}


def told(evidence):
    """The ending, and what else the site has to know about it."""
    verdict = decide(evidence)
    ending, _, note = f"{verdict.ending},{verdict.evidence.partition(',')[2]}".partition(",")
    words = [ending, note.strip(), "length" if is_too_long(evidence) else ""]
    return ", ".join(word for word in words if word)


@pytest.mark.parametrize(("kind", "status", "body", "means"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_means_what_the_provider_meant(kind, status, body, means):
    evidence = refused(kind, status, body)
    assert told(evidence) == means
    assert decide(evidence).evidence.startswith(f"HTTP {status}")
    assert is_spent(evidence) == means.endswith(("spent", "left"))


IN_STREAMS = {
    "Anthropic, overload": ("claude", "claude", anthropic("overloaded_error", "Overloaded"), "provider_error"),
    "Anthropic, rate": ("claude", "claude", anthropic("rate_limit_error", "Slow down"), "rate_limited"),
    "Google, overload": ("gemini", "vertexai", google(503, "UNAVAILABLE", "Later")[0], "provider_error"),
    "Google, rate": ("gemini", "vertexai", google(429, "RESOURCE_EXHAUSTED", "Later")[0], "rate_limited"),
    "OpenAI, rate": ("openai", "openai", openai("Slow", "tokens", "rate_limit_exceeded"), "rate_limited"),
    "OpenAI, its own": ("openai", "openai", openai("Sorry", "server_error"), "provider_error"),
    "OpenRouter, a status too late": (
        COMPATIBLE,
        "openai",
        {"error": {"code": 429, "message": "Later"}},
        "rate_limited",
    ),
    "OpenRouter, its provider": (COMPATIBLE, "openai", {"error": {"code": 502, "message": "x"}}, "provider_error"),
    "vLLM, context": (COMPATIBLE, "openai", openai(VLLM, "BadRequestError"), "rejected, length"),
    "a gateway, rate": (COMPATIBLE, "openai", openai("Rate limit reached"), "rate_limited"),
    "nobody's words": (COMPATIBLE, "openai", openai("Oh"), "provider_error"),
    "Cohere, its own": (
        "cohere",
        "cohere",
        {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "Oh"}},
        "provider_error",
    ),
}


@pytest.mark.parametrize(("kind", "module", "body", "means"), IN_STREAMS.values(), ids=IN_STREAMS)
def test_an_error_inside_a_stream_means_what_the_provider_meant(kind, module, body, means):
    evidence = broken(kind, module, body)
    assert told(evidence) == means
    assert decide(evidence).evidence == "error in the stream"


def test_each_kind_has_a_table():
    assert set(SIGNS) == set(Kind)


def test_a_kind_reads_its_own_table_and_nobody_elses():
    # Amazon's sentence for a full minute speaks of tokens, as Cohere's for a full context does.
    body = {"message": "Too many tokens, please wait before trying again."}
    assert decide(refused("bedrock", 400, body)).ending == "misconfigured"
    assert decide(refused("cohere", 400, body)).ending == "rejected"


def test_only_a_refusal_is_too_long():
    too_long = refused("openai", 400, openai(CONTEXT, code="context_length_exceeded"))
    assert is_too_long(too_long)
    stopped = Evidence(**vars(too_long) | {"stopped": True})
    assert decide(stopped) == Verdict("stopped", "stop request")
    assert not is_too_long(stopped)
    assert is_too_long(Evidence(exit_code=1, http_status=413, request_sent=True))


def test_nothing_is_spent_where_nobody_refused():
    assert not is_spent(Evidence(exit_code=0, error_text="insufficient credits", request_sent=True))
