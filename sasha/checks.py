"""What `manage.py check` says about this installation."""

from __future__ import annotations

import shutil
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register


@register
def check_aichat(**_: Any) -> list[CheckMessage]:
    """Without the program no reply can start; every other page works."""
    if settings.AICHAT and shutil.which(settings.AICHAT):
        return []
    hint = "Run scripts/install-aichat, or set AICHAT to its path."
    return [Warning("aichat was not found, so no message can be answered.", hint=hint, id="sasha.W001")]


@register
def check_sandbox(**_: Any) -> list[CheckMessage]:
    """A sandbox that is asked for and missing stops every reply, which is better than answering without."""
    if settings.AICHAT_SANDBOX == "none" or shutil.which("bwrap"):
        return []
    hint = "Install the package bubblewrap, or leave AICHAT_SANDBOX out."
    return [Warning("AICHAT_SANDBOX is bubblewrap, which was not found.", hint=hint, id="sasha.W002")]
