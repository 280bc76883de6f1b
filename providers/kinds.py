"""The kinds of provider, in one table: what aichat calls them, what they need, and how their stream can be read."""

from __future__ import annotations

from django.db import models


class Kind(models.TextChoices):
    """The `type` of the client in aichat's configuration."""

    OPENAI = "openai", "OpenAI"
    CLAUDE = "claude", "Anthropic"
    GEMINI = "gemini", "Google Gemini"
    OPENAI_COMPATIBLE = "openai-compatible", "OpenAI-compatible"
