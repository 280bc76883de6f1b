"""What a reader is offered beside the ending of an answer."""

from __future__ import annotations

import json
import re

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from chat.next_steps import STEPS, Step, describe_endings, find_step
from chat.tests.talks import answer, make_talk, say
from providers.endings import Ending

# With the parts of an answer; without.
GO_ON, AGAIN, EDIT = ("go-on", "again"), ("again", "again"), ("edit", "edit")
EXPECTED = {
    "complete": (None, None),
    "length": GO_ON,
    "filtered": EDIT,
    "empty": AGAIN,
    "cut": GO_ON,
    "stalled": GO_ON,
    "timed_out": GO_ON,
    "rate_limited": GO_ON,
    "rejected": EDIT,
    "misconfigured": GO_ON,
    "unauthorised": GO_ON,
    "provider_error": GO_ON,
    "unreachable": GO_ON,
    "crashed": GO_ON,
    "stopped": GO_ON,
    "interrupted": GO_ON,
    "not_started": AGAIN,
}


def test_every_ending_but_a_whole_answer_has_one_step():
    found = {ending.value: (find_step(ending, has_text=True), find_step(ending, has_text=False)) for ending in Ending}
    assert found == EXPECTED
    assert find_step("", has_text=True) is None


@pytest.mark.django_db
@pytest.mark.parametrize("ending", list(Ending))
@pytest.mark.parametrize("text", ["Half", ""])
def test_the_page_has_the_same_button_for_an_answer_that_ends_on_it(client, ending, text):
    alice = User.objects.create_user("alice")
    client.force_login(alice)
    talk = make_talk(alice)
    answer(talk, text, say(talk, "Question"), ending=ending.value)
    html = client.get(reverse("chat:conversation", args=[talk.pk])).content.decode()
    step = find_step(ending, has_text=bool(text))
    button = re.search(r"data-messages.*?<button ([^>]*data-step[^>]*)>([^<]*)<", html, re.DOTALL)
    assert button
    assert f'data-step="{step or ""}"' in button[1]
    assert ("hidden" in button[1]) == (step is None)
    sent = json.loads(re.search(r'id="endings"[^>]*>(.*?)</script>', html)[1])
    assert sent == json.loads(json.dumps(describe_endings()))
    live = sent[ending]["withText" if text else "withoutText"]
    assert (live or {"step": "", "label": ""}) == {"step": step or "", "label": button[2]}


def test_the_script_knows_every_step(settings):
    script = (settings.BASE_DIR / "static/js/actions.js").read_text()
    table = re.search(r"const STEPS = \{(.*?)\n\};", script, re.DOTALL)[1]
    assert set(re.findall(r'^  "?([a-z-]+)"?: ', table, re.MULTILINE)) == {step.value for step in Step}
    assert set(STEPS) == set(Ending)
