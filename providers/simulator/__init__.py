"""A stand-in for every provider, on loopback: what tests, the load test and fault injection talk to.

`script` reads a model's name and knows its answer, `dialects` and `refusals` say it as OpenAI, Anthropic and Google do,
`playback` keeps its pace, `server` listens and counts.
"""

from __future__ import annotations

from providers.simulator.script import Answer, Fault, Spec, UnknownModelError, answer, parse_model
from providers.simulator.server import Simulator

__all__ = ["Answer", "Fault", "Simulator", "Spec", "UnknownModelError", "answer", "parse_model"]
