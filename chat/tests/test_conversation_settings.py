"""Instructions and parameters of a conversation, stored by its owner's form."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.test import Client

from chat.models import Conversation, Failover
from chat.protocol import FAILOVERS


def test_what_is_out_of_range_is_refused_beside_its_field_and_nothing_is_lost(db):
    alice = User.objects.create_user("alice")
    client = Client()
    client.force_login(alice)
    talk = Conversation.objects.create(owner=alice, name="talk", parameters={"temperature": 1})
    url = f"/c/{talk.pk}/settings"
    refused = client.post(url, {"system_prompt": "Be <kind>.", "temperature": "2.1", "max_tokens": "0"})
    assert refused.status_code == 400
    for words in ("less than or equal to 2", "greater than or equal to 1", "Be &lt;kind&gt;.", 'value="2.1"'):
        assert words in refused.text
    talk.refresh_from_db()
    assert (talk.system_prompt, talk.parameters) == ("", {"temperature": 1})
    stored = client.post(url, {"system_prompt": "Be kind.", "temperature": "", "max_tokens": "50"})
    assert stored["Location"] == f"/c/{talk.pk}/"
    talk.refresh_from_db()
    assert (talk.system_prompt, talk.parameters) == ("Be kind.", {"max_tokens": 50})
    assert 'value="50"' in client.get(url).text


def test_the_protocol_knows_what_can_follow_a_break():
    assert set(FAILOVERS) == set(Failover.values)
