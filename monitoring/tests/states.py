"""Builders for what the staff's pages read: servers and what they said, processes, answers."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from chat.models import Conversation, Message, Replica, Role, State
from monitoring.models import ReplicaState
from monitoring.pages.servers import Server
from providers.models import Attempt

REPLICA = "studio:42:abcd"


def make_data(**parts):
    """What a server that is well says; `parts` take the place of, or go into, its parts."""
    data = {
        "version": "0.1.0",
        "draining": False,
        "places": 100,
        "reading": {
            "rss": 90e6,
            "children_rss": 20e6,
            "cpu": 5.0,
            "children_cpu": 4.0,
            "processes": 2,
            "sockets": 9,
            "queued": 0,
            "loop_lag_ms": 3.0,
            "database_ms": 1.0,
        },
        "figures": {
            "responses": {"count": 10, "mean_ms": 1500, "p50_ms": 1400, "p95_ms": 2500, "p99_ms": 3000},
            "first_tokens": {"count": 0},
            "errors": {"ended": 100, "failed": 0, "ended_since_start": 500, "failed_since_start": 2},
            "memory": {"trend": "stable", "change_bytes": 0},
        },
        "processes": [],
        "processes_total": 0,
    }
    for name, value in parts.items():
        data[name] = data[name] | value if isinstance(value, dict) else value
    return data


def make_server(name=REPLICA, *, now=None, alive=True, said_ago=1, **parts):
    """A server, not stored; `said_ago` in seconds, None: it has said nothing."""
    now = now or timezone.now()
    at = None if said_ago is None else now - timedelta(seconds=said_ago)
    data = {} if said_ago is None else make_data(**parts)
    return Server(name, now - timedelta(hours=2), now - timedelta(seconds=1) if alive else None, at, data)


def store_server(name=REPLICA, **parts):
    """A server that lives for as long as the test, and what it said."""
    now = timezone.now()
    Replica.objects.create(name=name, started_at=now, heartbeat_at=now + timedelta(hours=1))
    return ReplicaState.objects.create(replica=name, at=now, data=make_data(**parts))


def make_process(**values):
    usual = {
        "reply_id": str(uuid.uuid4()),
        "attempt": 1,
        "pid": 777,
        "user": "alice",
        "provider": "sim",
        "model": "one",
        "phase": "streaming",
        "started_at": timezone.now().isoformat(),
        "rss": 9e6,
        "characters": 1200,
        "events": 40,
    }
    return usual | values


def make_reply(username="alice", **values):
    """An answer that has ended, in a conversation of its own."""
    owner, _ = User.objects.get_or_create(username=username)
    talk = Conversation.objects.create(owner=owner, name=str(uuid.uuid4()))
    now = timezone.now()
    usual = {"role": Role.ASSISTANT, "state": State.ENDED, "ending": "complete", "ended_at": now, "attempts": 1}
    usual |= {"provider": "sim", "model": "one", "text": "Secret answer", "stored_ms": 10, "begun_ms": 20}
    return Message.objects.create(conversation=talk, **(usual | {"duration_ms": 2000} | values))


def make_attempt(reply_id=None, **values):
    usual = {"reply_id": reply_id or uuid.uuid4(), "conversation_id": uuid.uuid4(), "username": "alice"}
    usual |= {"provider_slug": "sim", "model_name": "one", "reason": "first by priority", "ending": "complete"}
    return Attempt.objects.create(**(usual | values))
