"""What Prometheus is told, and whom it is not told of."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings as site_settings
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

from chat import runner, tokens
from chat.database import db
from chat.models import Message
from chat.signals import reply_ended
from monitoring import metrics, sampler
from providers import breaker
from providers.aichat import LIVE
from providers.models import Attempt, Forced, Model, Price, Provider
from providers.signals import attempt_ended
from sasha.testing import Socket, eventually

ROOT = Path(site_settings.BASE_DIR)


class Since:
    """How much each series has grown since this was made; the registry lives as long as the process."""

    def __init__(self) -> None:
        self.before = self._read()

    def _read(self) -> dict[tuple[str, str], float]:
        return {
            (sample.name, json.dumps(sample.labels, sort_keys=True)): sample.value
            for family in metrics.REGISTRY.collect()
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        key = (f"sasha_{name}", json.dumps(labels, sort_keys=True))
        return self._read().get(key, 0) - self.before.get(key, 0)


def read(name: str, **labels: str) -> float | None:
    return metrics.REGISTRY.get_sample_value(f"sasha_{name}", labels)


def price(**values: Any) -> None:
    Price.objects.create(model=Model.objects.get(name="sim-n5"), input=1, output=2, **values)


@pytest.mark.django_db(transaction=True)
async def test_the_counts_are_what_the_simulator_served_in_a_run_with_faults(by_hand, site, simulator):
    await db(price)
    since = Since()
    endings: Counter[str] = Counter()
    async with Socket("a") as socket:
        for model in ("sim-n5", "sim-n6-cut-at3", "sim-http500", "sim-http400context", "sim-n5") * 3:
            frames = await socket.say("Hi", model=f"sim:{model}")
            endings[frames[-1]["metadata"]["ending"]] += 1
    served = simulator.served
    assert len(served["by_fault"]) > 2
    attempts = [attempt async for attempt in Attempt.objects.all()]
    counted = {
        ending: since("attempts_total", provider="sim", ending=ending) for ending in {a.ending for a in attempts}
    }
    assert sum(counted.values()) == served["requests"]
    assert counted["complete"] == served["by_fault"]["none"]
    assert counted["provider_error"] == sum(line["fault"].startswith("http5") for line in served["served"])
    assert {ending: since("replies_total", ending=ending) for ending in endings} == endings
    assert since("first_token_seconds_count") == sum(1 for line in served["served"] if not line["fault"])
    assert since("spawn_seconds_count") == served["requests"]
    unknown = [attempt for attempt in attempts if attempt.cost_usd is None]
    assert since("attempts_of_unknown_cost_total", provider="sim") == len(unknown) > 0
    known = float(sum(attempt.cost_usd for attempt in attempts if attempt.cost_usd is not None))
    assert since("cost_usd_total", provider="sim") == pytest.approx(known)
    output = sum(attempt.output_tokens or 0 for attempt in attempts)
    assert since("tokens_total", provider="sim", kind="output") == output > 0


@pytest.mark.django_db(transaction=True)
def test_what_is_rolled_back_does_not_count():
    since = Since()
    for vain in (True, False):
        with transaction.atomic():
            reply_ended.send(None, reply=Message(ending="complete"))
            attempt_ended.send(None, attempt=Attempt(provider_slug="sim", ending="complete"))
            transaction.set_rollback(vain)
        assert since("replies_total", ending="complete") == (not vain)
        assert since("attempts_total", provider="sim", ending="complete") == (not vain)


@pytest.mark.django_db(transaction=True)
async def test_gauges_show_the_last_reading_and_the_breakers(by_hand, site, provider):
    async with Socket("a") as socket:
        await socket.send(message="Hi", model="sim:sim-stall-at2")
        await socket.until("chunk")
        await sampler.sample()
        assert (read("active_processes"), read("open_sockets"), read("queued_replies")) == (1, 1, 0)
        assert read("memory_bytes", of="children", kind="unique") > 0
        assert read("breaker_state", provider="sim", state="closed") == 1
    await eventually(lambda: not LIVE)
    await db(breaker.force, provider, Forced.OPEN)
    await sampler.sample()
    assert (read("breaker_state", provider="sim", state="closed"), read("active_processes")) == (0, 0)
    assert read("breaker_state", provider="sim", state="open") == 1
    await db(Provider.objects.all().delete)
    await sampler.sample()
    assert read("breaker_state", provider="sim", state="open") is None


@pytest.mark.django_db(transaction=True)
async def test_no_series_names_a_user_a_conversation_or_a_prompt(by_hand, site):
    async with Socket("canary-session") as socket:
        reply = (await socket.say("canary-prompt", model="sim:sim-echo"))[-1]["replyId"]
        await sampler.sample()
    shown = metrics.render().decode()
    assert 'ending="complete"' in shown
    for secret in ("canary", "local", reply):
        assert secret not in shown


class TestAccess:
    pytestmark = pytest.mark.django_db

    @pytest.fixture(autouse=True)
    def _runner(self):
        yield
        runner.forget()

    def ask(self, authorization: str = "", **headers: str) -> int:
        headers |= {"Authorization": authorization} if authorization else {}
        return Client().get("/metrics", headers=headers).status_code

    def test_local_mode_shows_them_but_not_under_another_sites_name(self):
        assert self.ask() == 200
        assert self.ask(host="evil.example.org") == 400

    def test_production_without_a_token_has_no_such_page(self, settings):
        settings.LOCAL_MODE = False
        _, text = tokens.make(User.objects.create_user("root", is_staff=True), "probe")
        assert self.ask() == 404
        assert self.ask("Bearer ") == 404
        assert self.ask(f"Bearer {text}") == 404

    @pytest.mark.parametrize("local", [True, False])
    def test_with_a_token_nothing_else_opens_them(self, settings, local):
        settings.LOCAL_MODE, settings.METRICS_TOKEN = local, "scrape-me"
        assert self.ask() == 401
        for wrong in ("scrape-me", "Bearer scrape-m", "Bearer scrape-me2", "Bearer  scrape-me", "Basic é"):
            assert self.ask(wrong) == 401
        assert self.ask("Bearer scrape-me", host="10.0.0.7:8000") == 200

    def test_a_setting_switches_them_off(self, settings):
        settings.MONITORING = False
        assert self.ask() == 404

    def test_they_are_in_prometheus_format(self):
        response = Client().get("/metrics")
        assert response["Content-Type"].startswith("text/plain; version=")
        assert f'sasha_build_info{{aichat="0.30.0",version="{site_settings.VERSION}"}} 1.0' in response.content.decode()


# --- What names them --------------------------------------------------------------------------------------------------


def families() -> dict[str, str]:
    """Return each series by the name that a query uses for it, and its type."""
    return {
        family.name + ("_total" if family.type == "counter" else ""): family.type
        for family in metrics.REGISTRY.collect()
    }


def named_in(text: str) -> set[str]:
    """Return the series in `text`, without what a histogram hangs on its name."""
    found = re.findall(r"\bsasha_\w+", text)
    kinds = families()
    return {name if name in kinds else re.sub(r"_(bucket|sum|count)$", "", name) for name in found}


@pytest.mark.parametrize("path", ["deploy/grafana-dashboard.json", "deploy/prometheus-alerts.yml"])
def test_dashboards_and_alerts_name_only_what_there_is(path):
    named = named_in((ROOT / path).read_text())
    assert len(named) > 5
    assert named <= families().keys()


def test_the_page_lists_every_series_with_its_type_and_labels():
    rows = re.findall(r"^\| `(sasha_\w+)` \| (\w+) \| (.*?) \|", (ROOT / "docs/monitoring.md").read_text(), re.M)
    listed = {(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    collectors = set(metrics.REGISTRY._collector_to_names)
    known = {
        (one._name + ("_total" if one._type == "counter" else ""), one._type, tuple(one._labelnames))
        for one in collectors
    }
    assert listed == known


def test_every_panel_has_a_query_and_every_alert_a_sentence():
    dashboard = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text())
    assert all(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    rules = yaml.safe_load((ROOT / "deploy/prometheus-alerts.yml").read_text())["groups"][0]["rules"]
    assert all(rule["annotations"]["summary"].endswith(".") and rule["expr"] for rule in rules)
