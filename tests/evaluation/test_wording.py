"""No sentence of the report says what the numbers do not, whatever the numbers are."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.evaluation.figures import assess
from inspector.evaluation.page import Subject, render_page
from inspector.evaluation.wording import FEW, flattery, of_100, plain_words, unseen_alone
from inspector.labelled.leaks import Leak, LeakAudit, LeakKind
from tests.evaluation.known import predictions_of

KEY_FIGURES = ("called clear", "called crack", "sent to review", "ROC AUC", "balanced accuracy")


@given(st.integers(0, 3000), st.integers(1, 3000))
def test_of_100_is_never_rounded_to_nothing_or_to_all(part, whole):
    share = min(part, whole) / whole
    said = of_100(share)
    assert (said == "none") == (share == 0) and (said == "100") == (share == 1)
    if said.isdecimal():
        assert abs(int(said) - 100 * share) <= 0.5
    elif share:
        assert said == ("fewer than 1" if share < 0.5 else "more than 99")


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [(1, 200, "fewer than 1"), (199, 200, "more than 99"), (0, 7, "none"), (7, 7, "100")],
)
def test_of_100_at_its_edges(part, whole, said):
    assert of_100(part / whole) == said


def walls(rng, sizes):
    """Sources with 5 to 30 cracks each, some of which are missed."""
    p, truth, sources = [], [], []
    for name, size in zip("abcd", sizes, strict=False):
        cracks = rng.integers(5, 31) if size else FEW
        p += [*rng.choice([0.1, 0.5, 0.9], cracks), *rng.choice([0.1, 0.5, 0.9], 6)]
        truth += [True] * cracks + [False] * 6
        sources += [name] * (cracks + 6)
    return predictions_of(p, truth, sources=sources)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.booleans(), min_size=1, max_size=4))
def test_sentences_agree_with_the_numbers(tiny_bundle, seed, sizes):
    rng = np.random.default_rng(seed)
    judged = walls(rng, sizes)
    leaked = [image.path for image in judged.images if rng.random() < rng.choice([0, 0.2, 1])]
    audit = LeakAudit(
        ("training", "evaluation"), 20, len(judged.images),
        tuple(Leak(LeakKind.SAME_PIXELS, path, "/seen.jpg") for path in leaked),
    )  # fmt: skip
    evaluation = assess(judged, tiny_bundle, leaks=audit)
    if leaked:
        check_leaks(evaluation)
    check_weakest(evaluation)


def check_leaks(evaluation):
    said = unseen_alone(evaluation)
    shown = {
        title: (without.value, both.value)
        for title, both, without in flattery(evaluation)
        if title.endswith(KEY_FIGURES)
    }
    if not shown:
        assert said.startswith("No other image could be judged")
        return
    told = re.findall(r"(?:: |, )([A-Za-z ]+?) ([\d.]+|-)(?: %)? instead of ([\d.]+|-)", said)
    changed = {t: pair for t, pair in shown.items() if pair[0] != pair[1]}
    assert {title for title, *_ in told} == set(changed)
    assert ("are the same" in said) == (not changed)
    for title, without, both in told:
        assert (without, both) == tuple(value.removesuffix(" %") for value in changed[title])


def check_weakest(evaluation):
    counted = {f.source: f.value("missed") for f in evaluation.sources[:-1] if f.cracks >= FEW}
    said = next((s for s in plain_words(evaluation) if f"{FEW} cracks or more" in s), "")
    assert bool(said) == bool(counted)
    if not counted:
        return
    worst = {name for name, share in counted.items() if share == max(counted.values())}
    if not max(counted.values()):
        assert said.startswith("No source")
    elif "misses most on" in said:
        assert {said.partition("misses most on ")[2][0]} == worst
        assert len(counted) > 1
    elif "the only source" in said:
        assert len(counted) == 1
    else:
        named = said.removeprefix("Of 100 cracks on ").partition(" each")[0]
        assert set(named.split(", ")) == worst


def test_the_page_about_leaks_that_change_nothing_says_so(tiny_bundle):
    judged = predictions_of([0.9, 0.9, 0.1, 0.1], [True, True, False, False])
    leak = Leak(LeakKind.SAME_GROUP, judged.images[0].path, "/seen.jpg")
    audit = LeakAudit(("training", "evaluation"), 4, 4, (leak,), undecodable=1)
    evaluation = assess(judged, tiny_bundle, leaks=audit)
    subject = Subject(title="t", data="/walls", made="today", gallery=0)
    one = replace(tiny_bundle, thresholds=replace(tiny_bundle.thresholds, clear_below=0.7))
    page = render_page(subject, evaluation, judged, one, audit)
    assert "the figures at the top are the same" in page and "lower" not in page
    assert "another image of the same group" in page and "the same picture is" not in page
    assert "each a group of its own" in page and "Dashed line: this model's one" in page
    assert "review</b> between" not in page and "1 of them could not be decoded" in page


def test_plain_words_name_all_images_where_they_have_no_source(tiny_bundle):
    judged = predictions_of([0.9, 0.1], [True, False], groups=["a", "b"], sources=[""] * 2)
    (said,) = (s for s in plain_words(assess(judged, tiny_bundle)) if "stand behind" in s)
    assert "stand behind: all images. " in said


def test_a_photo_sent_to_review_for_another_reason_is_not_said_to_lie_between(tiny_bundle):
    judged = predictions_of([0.1, 0.9], [True, False])
    judged = replace(judged, verdict_N=np.array(["review"] * 2),
                     reason_N=np.array(["out_of_distribution", "downscaled"]))  # fmt: skip
    subject = Subject(title="t", data="/walls", made="today")
    page = render_page(subject, assess(judged, tiny_bundle), judged, tiny_bundle)
    assert "Wrong at one half, left to a person: 2" in page
    assert "but between the thresholds" not in page
