"""Other programs judge the same files, and find their fastest settings."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import asdict, replace
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from bench.answers import examine
from bench.peers import eager_loop
from bench.peers.registry import PEERS, loop_seconds, read_answers
from bench.prepare import FULL_SIZE, right_answers
from inspector.engines import open_backend
from inspector.photos.source import Discovery


def expected_of(bundle, folder, *, full_size=False):
    margin = FULL_SIZE if full_size else bundle.preprocess.decode_margin
    spec = replace(bundle.preprocess, decode_margin=margin)
    with closing(open_backend(bundle, device="cpu")) as engine:
        refs = list(Discovery([str(folder)]))
        return right_answers(engine, bundle.thresholds, refs, spec)


@pytest.mark.parametrize("name", ["plain", "timm", "ray", "daft"])
def test_it_judges_the_same_files(name, tiny_bundle, sample_tiles, tmp_path):
    peer = PEERS[name]
    if peer.needs and find_spec(peer.needs) is None:
        pytest.skip(f"{peer.needs}, of the bench extra, is not installed")
    photos = tmp_path / "photos"
    shutil.copytree(sample_tiles, photos / "of a #wall")
    if name != "timm":  # which knows no failures
        (photos / "a %20broken?.jpg").write_bytes(b"junk")
    table = tmp_path / "table.parquet"
    command = peer.arguments(str(photos), str(tiny_bundle.path), str(table))
    began = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, check=True
    )
    assert 0 < loop_seconds(json.loads(ended.stdout)) < time.perf_counter() - began
    expected = expected_of(tiny_bundle, photos, full_size=peer.full_size)
    outcome = examine(expected, *read_answers(table), peer.rule, tiny_bundle.thresholds)
    assert outcome.trouble == ""
    assert outcome.images == len(expected) - (name != "timm") > 10


@pytest.mark.parametrize("name", ["tiles", "timm-tiles"])
def test_tiles_of_a_photo_are_judged_and_their_mean_told(name, tiny_bundle, tmp_path):
    peer = PEERS[name]
    if peer.needs and find_spec(peer.needs) is None:
        pytest.skip(f"{peer.needs}, of the bench extra, is not installed")
    photo_HWC = np.random.default_rng(1).integers(0, 256, (100, 130, 3), np.uint8)
    (photos := tmp_path / "photos").mkdir()
    Image.fromarray(photo_HWC).save(photos / "wall.png")
    (photos / "z broken.png").write_bytes(b"junk")
    table = tmp_path / "table.parquet"
    command = peer.arguments(str(photos), str(tiny_bundle.path), str(table))
    subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=True)
    answers, rows = read_answers(table)
    assert tiny_bundle.preprocess.size == 64
    tiles = [photo_HWC[y : y + 64, x : x + 64] for y in (0, 36) for x in (0, 51, 66)]
    with closing(open_backend(tiny_bundle, device="cpu")) as engine:
        right = engine.run(np.stack(tiles)).p_crack_N.mean()
    assert rows == 2
    assert answers[str(photos / "z broken.png")].p_crack is None
    assert answers[str(photos / "wall.png")].p_crack == pytest.approx(right, abs=1e-4)


@pytest.mark.skipif(find_spec("timm") is None, reason="timm, of the bench extra, is missing")
def test_the_fastest_setting_of_timm_is_found(tmp_path):
    from bench.peers.timm_loop import TimmSetting, tune

    class Machine:
        """On which contiguous pixels, a large batch and no worker are fast."""

        device = SimpleNamespace(type="cpu")

        def run(self, source, setting):
            slow = (setting.workers > 0) + setting.channels_last + (setting.batch_size < 128)
            return ["photo"] * 8, [], time.perf_counter() - 1 - slow

    found = tune(Machine(), tmp_path)  # type: ignore[arg-type]
    best = TimmSetting(workers=0, channels_last=False, batch_size=128)
    assert {**found["best"], "prefetcher": False} == asdict(best)
    assert len(found["tried"]) == len({json.dumps(t, sort_keys=True) for t in found["tried"]})


def test_eager_torch_in_a_loop(tiny_bundle, sample_tiles, tmp_path, monkeypatch, capsys):
    table = tmp_path / "table.parquet"
    monkeypatch.setattr(sys, "argv", ["", str(sample_tiles), str(tiny_bundle.path), str(table)])
    eager_loop.main()
    assert json.loads(capsys.readouterr().out)["loop_seconds"] > 0
    expected, rule = expected_of(tiny_bundle, sample_tiles), PEERS["eager"].rule
    assert examine(expected, *read_answers(table), rule, tiny_bundle.thresholds).trouble == ""
