"""The ASGI application: HTTP by Django, /ws by the chat, static files before both, and before all who asks."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sasha.settings")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import path, re_path
from servestatic import ServeStaticASGI

from chat.consumers import ChatConsumer
from chat.identity import SocketIdentity, refuse
from chat.sockets import SocketLimits
from sasha.headers import SecurityHeaders
from sasha.proxy import ForwardedClient
from sasha.request_log import RequestLog

socket: Any = SocketLimits(SocketIdentity(ChatConsumer.as_asgi()))
other: Any = refuse

# Names that carry the hash of their content never change what they mean.
HASHED_NAME = r"\.[0-9a-f]{12}\."

site: Any = ServeStaticASGI(
    RequestLog(
        ProtocolTypeRouter(
            {
                "http": django_application,
                "websocket": URLRouter([path("ws", socket), re_path("", other)]),
            }
        )
    ),
    root=settings.STATIC_ROOT,
    prefix=settings.STATIC_URL,
    allow_all_origins=False,
    immutable_file_test=HASHED_NAME,
)
application = ForwardedClient(SecurityHeaders(site))
