"""What the input policy catches of the hostile corpus, and refuses of the benign one, in both halves."""

from __future__ import annotations

from collections import Counter

import pytest
from django.conf import settings

from chat.policy.judging import RULES, judge
from monitoring.security import corpus

# Texts of honest people that may be refused: less than one in two hundred.
FALSE_POSITIVES = 0.005


def count(samples) -> tuple[Counter, Counter, list[str]]:
    """Return how many samples each half and kind has, how many of them are refused, and those of the tuning half."""
    all_of, refused, texts = Counter(), Counter(), []
    for sample in samples:
        all_of[sample.half, sample.kind] += 1
        if sample.kind in (hits := [hit.rule for hit in judge(sample.text)]) or (sample.kind not in RULES and hits):
            refused[sample.half, sample.kind] += 1
            # Of the other half nothing but figures is ever shown.
            texts += [sample.text] if sample.half == corpus.TUNING else []
    for half, kind in sorted(all_of):
        print(f"{half:9} {kind:20} {refused[half, kind]:6} of {all_of[half, kind]:6} refused")
    return all_of, refused, texts


@pytest.mark.slow
def test_every_attack_is_refused_by_the_rule_of_its_class():
    all_of, refused, _ = count(corpus.hostile(settings.CHAT_MESSAGE_LENGTH))
    assert refused == all_of
    assert {kind for _, kind in all_of} == set(RULES)
    for half in (corpus.TUNING, corpus.HELD_OUT):
        assert min(all_of[half, kind] for kind in RULES if kind not in ("too_long", "control_characters")) > 500


def test_hardly_anything_that_people_say_is_refused():
    all_of, refused, texts = count(corpus.benign())
    for half in (corpus.TUNING, corpus.HELD_OUT):
        there = sum(number for (of, _), number in all_of.items() if of == half)
        wrong = sum(number for (of, _), number in refused.items() if of == half)
        assert there > 500
        assert wrong < FALSE_POSITIVES * there, texts
    assert sum(all_of.values()) > 1000


def test_what_is_exempt_passes_unless_it_looks_like_something_else():
    _, refused, _ = count(corpus.exempt())
    for kind in ("prompt_injection", "server_side_requests"):
        assert not refused[corpus.TUNING, kind]
        assert not refused[corpus.HELD_OUT, kind]


def test_no_text_is_in_two_corpora():
    texts = [sample.text for samples in (corpus.benign(), corpus.exempt()) for sample in samples]
    texts += [text for kind in corpus.kinds("hostile") for text in corpus.read("hostile", kind)]
    assert [text for text, times in Counter(texts).items() if times > 1] == []
