"""The files that a child reads: what stands in them, who may read them, and that none is changed or left."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from providers.config import (
    Target,
    body_patch,
    home,
    key_variable,
    sweep_sessions,
    write_config,
    write_session,
)
from providers.kinds import Kind

TARGET = Target("openai-compatible", "http://127.0.0.1:1/v1", "m/1:free")
USAGE = {"stream_options": {"include_usage": True}}
REPORTS_USAGE = {"patch": {"chat_completions": {".*": {"body": USAGE}}}}


@pytest.fixture(autouse=True)
def directory(settings, tmp_path):
    settings.DATA_DIR = tmp_path
    return tmp_path / "aichat"


def written(target):
    return json.loads((write_config(target) / "config.yaml").read_text())


def test_nothing_is_saved_compressed_or_called():
    settings = written(TARGET)
    del settings["clients"]
    assert settings == {
        "model": "p:m/1:free",
        "temperature": 0.7,
        "stream": True,
        "save": False,
        "save_session": False,
        "compress_threshold": 0,
        "function_calling": False,
    }


CLIENTS = {
    "openai": (Target("openai", "", "m"), {"models": [{"name": "m"}]} | REPORTS_USAGE),
    "openai-compatible": (
        TARGET,
        {"api_base": "http://127.0.0.1:1/v1", "models": [{"name": "m/1:free"}]} | REPORTS_USAGE,
    ),
    "gemini": (Target("gemini", "", "m", max_output=99), {"models": [{"name": "m"}]}),
    "claude": (
        Target("claude", "", "m"),
        {"models": [{"name": "m", "max_output_tokens": 4096, "require_max_tokens": True}]},
    ),
    "claude, with a limit of its own": (
        Target("claude", "", "m", max_output=99),
        {"models": [{"name": "m", "max_output_tokens": 99, "require_max_tokens": True}]},
    ),
    "azure-openai": (
        Target("azure-openai", "https://r.openai.azure.com/", "m"),
        {"api_base": "https://r.openai.azure.com", "models": [{"name": "m"}]} | REPORTS_USAGE,
    ),
    "cohere": (Target("cohere", "", "m"), {"models": [{"name": "m"}]}),
    "bedrock": (
        Target("bedrock", "", "m", options=(("access_key_id", "AKIA"), ("region", "us-east-1"))),
        {"models": [{"name": "m"}], "access_key_id": "AKIA", "region": "us-east-1"},
    ),
    "openai, with an organization": (
        Target("openai", "", "m", options=(("organization_id", "org-1"),)),
        {"models": [{"name": "m"}], "organization_id": "org-1"} | REPORTS_USAGE,
    ),
    "options that are none of the kind's": (
        Target("cohere", "", "m", options=(("api_key", "k"), ("extra", "proxy"), ("region", "x"), ("name", "q"))),
        {"models": [{"name": "m"}]},
    ),
}


@pytest.mark.parametrize(("target", "client"), CLIENTS.values(), ids=CLIENTS)
def test_there_is_one_client_and_no_key(target, client):
    assert written(target)["clients"] == [{"type": target.kind, "name": "p"} | client]


PATCHES = {
    "openai": USAGE | {"max_completion_tokens": 7},
    "openai-compatible": USAGE | {"max_tokens": 7},
    "claude": {"max_tokens": 7},
    "gemini": {"generationConfig": {"maxOutputTokens": 7}},
    "azure-openai": USAGE | {"max_completion_tokens": 7},
    "cohere": {"max_tokens": 7},
    "bedrock": {"inferenceConfig": {"maxTokens": 7}},
}


def test_a_limit_has_a_place_in_every_kinds_body():
    assert set(PATCHES) == set(Kind)


@pytest.mark.parametrize("kind", PATCHES)
def test_a_limit_of_one_message_replaces_the_patch_of_the_body(kind):
    target = Target(kind, "", "m")
    assert json.loads(body_patch(target, 7)) == {".*": {"body": PATCHES[kind]}}
    assert body_patch(target, None) == ""


def test_a_models_own_body_is_part_of_every_request():
    extra = {"generationConfig": {"topK": 3, "maxOutputTokens": 1}, "safetySettings": []}
    target = Target("gemini", "", "m", extra_body=json.dumps(extra))
    assert written(target)["clients"][0]["patch"] == {"chat_completions": {".*": {"body": extra}}}
    limited = extra | {"generationConfig": {"topK": 3, "maxOutputTokens": 7}}
    assert json.loads(body_patch(target, 7)) == {".*": {"body": limited}}


def test_a_models_own_body_stands_beside_what_the_kind_needs():
    target = Target("openai", "", "m", extra_body='{"reasoning_effort": "low", "stream_options": {"x": 1}}')
    body = {"stream_options": {"include_usage": True, "x": 1}, "reasoning_effort": "low"}
    assert written(target)["clients"][0]["patch"] == {"chat_completions": {".*": {"body": body}}}


def test_the_keys_variable_is_the_one_that_aichat_reads():
    variables = {kind: key_variable(Target(kind, "", "m")) for kind in Kind}
    assert variables.pop(Kind.BEDROCK) == "P_SECRET_ACCESS_KEY"
    assert set(variables.values()) == {"P_API_KEY"}


def test_equal_targets_share_a_directory_that_never_changes():
    file = write_config(TARGET) / "config.yaml"
    before = file.stat()
    assert write_config(Target(TARGET.kind, TARGET.api_base, TARGET.model)) == file.parent
    assert file.stat() == before
    assert write_config(Target(TARGET.kind, TARGET.api_base, "other")) != file.parent


def test_many_writers_at_once_leave_one_directory(directory):
    with ThreadPoolExecutor(8) as pool:
        (path,) = set(pool.map(write_config, [TARGET] * 64))
    assert list((directory / "config").iterdir()) == [path]
    assert [file.name for file in path.iterdir()] == ["config.yaml"]


def test_only_the_owner_may_look(directory):
    session = write_session([], TARGET, None)
    for path in (write_config(TARGET), home(), session.parent, session):
        assert path.stat().st_mode & 0o77 == 0


def test_a_history_has_a_file_of_its_own():
    turns = [{"role": "user", "content": "é漢😀\x7f\x85\u2028\ufeff\ud800"}]
    one, two = write_session(turns, TARGET, 0.25), write_session([], TARGET, None)
    assert one != two
    assert json.loads(one.read_text()) == {
        "model": "p:m/1:free",
        "temperature": 0.25,
        "save_session": False,
        "messages": [{"role": "user", "content": "é漢😀\x7f\x85\u2028\ufeff?"}],
    }
    assert json.loads(two.read_text())["temperature"] == 0.7


def test_what_a_killed_server_left_is_swept_and_nothing_else(directory):
    left = write_session([], TARGET, None)
    os.utime(left, (time.time() - 61, time.time() - 61))
    starting = write_session([], TARGET, None)
    config = write_config(TARGET) / "config.yaml"
    sweep_sessions()
    assert starting.exists()
    assert not left.exists()
    assert config.exists()


def test_what_another_server_removes_in_between_is_no_failure(directory):
    left = write_session([], TARGET, None)
    # To whoever lists the directory and looks at each file then: a name, and no file.
    (directory / "sessions" / "s-gone.yaml").symlink_to(directory / "gone")
    os.utime(left, (time.time() - 61, time.time() - 61))
    sweep_sessions()
    assert not left.exists()


def test_there_is_something_to_sweep_only_after_a_first_reply(directory):
    sweep_sessions()
    assert list((directory / "sessions").iterdir()) == []
