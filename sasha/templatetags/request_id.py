"""`{% request_id %}`: what all lines in the log about this request carry; "" outside one."""

from __future__ import annotations

from django import template
from structlog.contextvars import get_contextvars

register = template.Library()


@register.simple_tag
def request_id() -> str:
    """Return the id of the request, without any context: the page of a failure is made without one."""
    return str(get_contextvars().get("request_id", ""))
