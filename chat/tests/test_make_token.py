"""`manage.py make_token`: a script's way in, made where no browser is at hand."""

from __future__ import annotations

import io

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from chat import tokens
from chat.models import ApiToken

pytestmark = pytest.mark.django_db


def make_token(username: str, name: str = "backup") -> str:
    out = io.StringIO()
    call_command("make_token", username, name, stdout=out)
    return out.getvalue().strip()


def test_it_prints_a_token_that_is_the_account_s():
    alice = User.objects.create_user("alice")
    text = make_token("alice")
    token = tokens.find_used(f"Bearer {text}", None)
    assert token is not None
    assert (token.user, token.name) == (alice, "backup")


@pytest.mark.parametrize(("username", "name"), [("nobody", "backup"), ("gone", "backup"), ("alice", "n" * 81)])
def test_what_cannot_be_is_refused_in_a_sentence(username, name):
    User.objects.create_user("alice")
    User.objects.create_user("gone", is_active=False)
    with pytest.raises(CommandError, match=r"\.$"):
        make_token(username, name)
    assert not ApiToken.objects.exists()
