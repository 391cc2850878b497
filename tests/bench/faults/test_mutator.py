"""The mutator, what decoding makes of its files, and a scan of some."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.faults.mutants import scan_mutants
from bench.faults.mutator import CUT, DAMAGES, damaged, make_mutant, pieces_of
from bench.faults.scans import Setting
from bench.faults.seeds import make_seeds
from inspector.model.preprocess import PreprocessSpec
from inspector.photos.decode import decode
from inspector.types import Decoded, Failure, ImageRef

SEEDS = make_seeds()
SPEC = PreprocessSpec(size=64)


def decoded(content, file):
    file.write_bytes(content)
    return decode(ImageRef(0, str(file), file.as_uri(), len(content), 0), SPEC)


def test_mutants_are_the_same_every_time_and_cover_everything():
    count = len(SEEDS) * len(DAMAGES)
    mutants = [make_mutant(SEEDS, number) for number in range(count)]
    assert mutants == [make_mutant(SEEDS, number) for number in range(count)]
    assert set(Counter((m.seed.name, m.damage) for m in mutants).values()) == {1}
    assert all(mutant.content for mutant in mutants)
    changed = sum(mutant.content != mutant.seed.content for mutant in mutants)
    assert changed > 0.95 * count
    assert make_mutant(SEEDS, 0, seed=1) != mutants[0]


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.name)
def test_seeds_are_intact_and_fall_into_pieces(seed, tmp_path):
    assert isinstance(decoded(seed.content, tmp_path / f"seed{seed.suffix}"), Decoded)
    spans = pieces_of(seed.content)
    assert len(spans) > 1
    assert b"".join(seed.content[start:end] for start, end in spans) == seed.content


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    origin=st.sampled_from(SEEDS), damage=st.sampled_from(sorted(DAMAGES)), chance=st.integers(0)
)
def test_damage_gives_a_picture_or_a_failure(origin, damage, chance, tmp_path_factory, capfd):
    mutant = damaged(origin, damage, SEEDS, random.Random(chance))
    file = tmp_path_factory.getbasetemp() / f"mutant{origin.suffix}"
    outcome = decoded(mutant.content, file)
    assert isinstance(outcome, Decoded | Failure)
    if isinstance(outcome, Failure):
        assert outcome.detail
    else:
        assert outcome.pixels_HWC.shape == (64, 64, 3)
        if damage == CUT:
            whole = decoded(origin.content, file)
            assert np.array_equal(outcome.pixels_HWC, whole.pixels_HWC)


def test_a_scan_of_mutants(tiny_bundle, tmp_path):
    setting = Setting(model=tiny_bundle.path, workers=1)
    case = scan_mutants(setting, tmp_path, 120, seed=0, alone=1)
    assert not case.broken, case.to_json()
    assert (case.runs, case.rows) == (120, 133)
    assert case.facts["intact neighbours"] == 13
    assert 0 < sum(case.facts["judged mutants"].values()) < 90
