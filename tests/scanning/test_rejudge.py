"""Other thresholds for a table: the verdicts that a scan would give, or the old ones, not both."""

from __future__ import annotations

import dataclasses
import errno
import functools
import os
import shutil
from contextlib import suppress

import numpy as np
import pyarrow.dataset as ds
import pytest
from typer.testing import CliRunner

from inspector.cli import app
from inspector.core.durable import write_synced
from inspector.engines.combined import UncertaintyBand
from inspector.errors import OutputError, UsageError
from inspector.model.bundle import ModelBundle, Thresholds
from inspector.results import switch
from inspector.results.schema import SCHEMA
from inspector.results.verify import VerifyConfig, verify
from inspector.scanning import RejudgeConfig, ScanConfig, pipeline, preview, rejudge, scan
from inspector.scanning.pipeline import ParquetSink
from inspector.scanning.rejudge import _Rule
from tests.sandbox import as_nobody
from tests.scanning.dying import Killed, dying_at
from tests.scanning.walls import wall

PLACE = ("peak_x", "peak_y")


@pytest.fixture(scope="module")
def root(tmp_path_factory, tiny_bundle):
    """Walls of one size and one that is shrunk a lot, a broken photo, in parts of six rows."""
    root = tmp_path_factory.mktemp("walls")
    (root / "photos").mkdir()
    for k in range(16):
        wall(k).save(root / f"photos/{k:02}.png")
    wall(3, 900, 700).save(root / "photos/large.png")
    (root / "photos/bad.png").write_bytes(b"broken")
    scan_of(root, tiny_bundle, root / "out")
    return root


def scan_of(root, bundle, out, **options):
    config = ScanConfig(
        sources=(str(root / "photos"),), out=out, model=bundle.path, precision="fp32",
        batch_size=4, **options,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "ParquetSink", functools.partial(ParquetSink, rows_per_part=6))
        return scan(config)


@pytest.fixture
def out(root, tmp_path):
    return shutil.copytree(root / "out", tmp_path / "out")


def rows_of(out):
    rows = ds.dataset(out).to_table().sort_by("uri").to_pylist()
    return {row["uri"]: row for row in rows}


def changed_to(out, bundle, threshold):
    return rejudge(RejudgeConfig(out=out, model=bundle.path, threshold=threshold))


@pytest.mark.parametrize("threshold", [0.02, 0.3, 0.5, 0.98])
def test_verdicts_are_those_of_a_scan_with_these_thresholds(
    root, out, tmp_path, tiny_bundle, threshold
):
    fresh = scan_of(root, tiny_bundle, tmp_path / "fresh", threshold=threshold)
    before = rows_of(out)
    result = changed_to(out, tiny_bundle, threshold)
    expected, found = rows_of(tmp_path / "fresh"), rows_of(out)
    assert found.keys() == expected.keys()
    for uri, row in found.items():
        was = before[uri]["verdict"]
        expected[uri]["judged_at"] = before[uri]["judged_at"]
        dark = row["verdict"] not in ("clear", None) and was == "clear"
        known = [name for name in row if not (dark and name in PLACE)]
        assert [row[name] for name in known] == [expected[uri][name] for name in known], uri
        if dark:
            assert row["peak_x"] is row["peak_y"] is None, "no place is known"
    assert result.table == fresh.table and result.again == 0 and result.exit_code == 0
    assert result.changed == sum(
        (row["verdict"], row["reason"]) != (before[uri]["verdict"], before[uri]["reason"])
        for uri, row in found.items()
    )
    assert verify(VerifyConfig(out=out)).damage == ()
    again = scan_of(root, tiny_bundle, out, threshold=threshold)
    assert (again.already_done, again.run.rows, again.exit_code) == (18, 0, 0)


def test_back_again_is_as_before_but_for_places(root, out, tiny_bundle):
    before = rows_of(out)
    changed_to(out, tiny_bundle, 0.5)
    rejudge(RejudgeConfig(out=out, model=tiny_bundle.path))
    after = rows_of(out)
    for uri, row in before.items():
        assert {**after[uri], **dict.fromkeys(PLACE)} == {**row, **dict.fromkeys(PLACE)}
    assert rejudge(RejudgeConfig(out=out, model=tiny_bundle.path)).changed == 0
    assert scan_of(root, tiny_bundle, out).already_done == 18


def test_a_copy_of_the_model_with_other_thresholds_will_do_and_no_other_model(
    out, tiny_bundle, tiny_bundle_copy
):
    other = Thresholds(clear_below=0.4, crack_from=0.6, chosen="for tests")
    copy = dataclasses.replace(tiny_bundle_copy, thresholds=other)
    copy.save()
    rejudge(RejudgeConfig(out=out, model=copy.path))
    verdicts = [row["verdict"] for row in rows_of(out).values() if row["verdict"]]
    right = ["crack" if row["p_crack"] >= np.float32(0.6) else "clear"
             if row["p_crack"] < np.float32(0.4) else "review"
             for row in rows_of(out).values() if row["verdict"]]  # fmt: skip
    assert all(
        v == r or (v, r) == ("review", "clear") for v, r in zip(verdicts, right, strict=True)
    )
    dataclasses.replace(tiny_bundle_copy, temperature=2.0).save()
    before = rows_of(out)
    with pytest.raises(OutputError, match="in more than its thresholds"):
        changed_to(out, ModelBundle.load(copy.path, verify=False), 0.2)
    assert rows_of(out) == before


def test_killed_at_every_step_the_table_is_the_old_one_or_the_new_one(out, tiny_bundle, tmp_path):
    shutil.copytree(out, tmp_path / "before")
    old = {row["uri"]: row["verdict"] for row in rows_of(out).values()}
    with dying_at(None) as steps:
        changed_to(out, tiny_bundle, 0.5)
    new = {row["uri"]: row["verdict"] for row in rows_of(out).values()}
    assert old != new
    # Before the announcement, which is the last but one thing written, all is drafts.
    announced = [number for number, step in enumerate(steps) if step == "write"][-2]
    for step in (0, 1, 5, *range(announced - 1, len(steps))):
        shutil.rmtree(out)
        shutil.copytree(tmp_path / "before", out)
        with suppress(Killed), dying_at(step):
            changed_to(out, tiny_bundle, 0.5)
        if (out / "table").is_dir():  # there is an instant between two renames
            seen = {row["uri"]: row["verdict"] for row in rows_of(out).values()}
            assert seen in (old, new), (step, steps[step])
        assert verify(VerifyConfig(out=out)).damage == (), (step, steps[step])
        changed_to(out, tiny_bundle, 0.5)
        assert {row["uri"]: row["verdict"] for row in rows_of(out).values()} == new, step
        found = verify(VerifyConfig(out=out))
        assert found.damage == found.notes == () and not list(out.rglob("*.partial"))
        assert {path.name for path in (out / "_inspector").iterdir()} == {
            "lock", "manifest.json", *(f"{p.stem}.photos" for p in (out / "table").iterdir())
        }  # fmt: skip


@pytest.mark.parametrize("at", ["parts", "lists"])
def test_on_a_full_disk_the_table_is_as_it_was_and_no_draft_is_left(
    out, tiny_bundle, monkeypatch, at
):
    written = []

    def full(content, file):
        written.append(file)
        if len(written) == (3 if at == "parts" else 4):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_synced(content, file)

    before = rows_of(out)
    monkeypatch.setattr(switch, "write_synced", full)
    with pytest.raises(OutputError, match="No space left on device; its table is as it was"):
        changed_to(out, tiny_bundle, 0.5)
    assert rows_of(out) == before and not list(out.rglob("*.partial"))
    monkeypatch.undo()
    assert changed_to(out, tiny_bundle, 0.5).changed > 0


def test_what_file_managers_leave_beside_the_parts_stops_no_change(out, tiny_bundle):
    litter = (".DS_Store", "._part-000000.parquet", "Thumbs.db", "desktop.ini")
    before = out / "_inspector/before"
    for threshold in (0.5, 0.3, 0.5):
        for folder in (out / "table", before):
            folder.mkdir(exist_ok=True)
            for name in litter:
                (folder / name).touch()
        changed_to(out, tiny_bundle, threshold)
        assert not before.exists() and not set(litter) & {*os.listdir(out / "table")}


def test_what_int8_is_not_sure_of_at_a_threshold_is_judged_again(
    root, out, tiny_bundle, monkeypatch, capsys
):
    """As if a reduced precision had judged the table: rows within its margin lose their row and
    are missed until they have one again; none where their photos are gone."""
    p_cracks = {row["path"]: row["p_crack"] for row in rows_of(out).values() if row["verdict"]}
    middle = sorted(p_cracks.values())[8]
    rule = _Rule.of

    def reduced(*asked):
        made = rule(*asked)
        band = UncertaintyBand.around(made.thresholds, 0.3, 0.1)
        return dataclasses.replace(made, bands={"fp32@64": band})

    monkeypatch.setattr(_Rule, "of", reduced)
    logit = lambda p: np.log(p / (1 - p))  # noqa: E731
    near = {path for path, p in p_cracks.items() if abs(logit(p) - logit(middle)) < 0.3}
    gone = next(iter(near))
    shutil.move(gone, f"{gone}.away")
    with pytest.raises(OutputError, match="is not there; mount or restore it"):
        changed_to(out, tiny_bundle, middle)
    assert len(rows_of(out)) == 18
    shutil.move(f"{gone}.away", gone)
    result = changed_to(out, tiny_bundle, middle)
    assert (result.again, result.exit_code) == (len(near), 3) and result.again >= 1
    assert not near & {row["path"] for row in rows_of(out).values()}
    damage = {str(f.code): f.what for f in verify(VerifyConfig(out=out)).damage}
    assert "to be judged again" in damage["lost_rows"]
    summary = scan_of(root, tiny_bundle, out, threshold=float(middle))
    assert (summary.run.rows, summary.lost, summary.table.rows) == (len(near), 0, 18)
    assert verify(VerifyConfig(out=out)).damage == ()


def test_rows_of_a_stage_that_is_not_final_are_unsure_inside_the_band():
    import pyarrow as pa

    rule = _Rule(
        thresholds=Thresholds(clear_below=0.5, crack_from=0.5), size=64, precision="int8",
        bands={"int8@64": UncertaintyBand(((0.4, 0.6),)), "fp32@64": UncertaintyBand()},
    )  # fmt: skip
    rows = [
        {"status": "ok", "stage": stage, "p_crack": p, "ood_score": 1.0, "view": "whole"}
        for stage in ("int8@64", "fp32@64")
        for p in (0.001, 0.5)
    ] + [{"status": "failed"}]
    table = pa.table({
        name: pa.array([row.get(name) for row in rows], SCHEMA.field(name).type)
        for name in ("status", "stage", "p_crack", "ood_score", "view")
    })  # fmt: skip
    assert rule.unsure(table).tolist() == [False, True, False, False, False]


def test_the_command_says_what_changed(out, tiny_bundle, tmp_path):
    def run(*words):
        return CliRunner().invoke(app, ["rejudge", *map(str, words)])

    ended = run(out, "--model", tiny_bundle.path, "--threshold", 0.5)
    assert ended.exit_code == 0, ended.output
    assert "clear below 0.5, crack from 0.5" in ended.output and "before" in ended.output
    assert '"again": 0' in run(out, "--model", tiny_bundle.path, "--json").output
    assert isinstance(run(out).exception, UsageError)
    with pytest.raises(UsageError, match="name what is new"):
        RejudgeConfig(out=out)
    with pytest.raises(OutputError, match="holds no results"):
        changed_to(tmp_path / "none", tiny_bundle, 0.5)
    (tmp_path / "locked").mkdir(mode=0)
    with as_nobody(), pytest.raises(OutputError, match="Permission denied"):
        changed_to(tmp_path / "locked", tiny_bundle, 0.5)
    config = ScanConfig(sources=(str(tmp_path),), out=out, model=tiny_bundle.path)
    assert preview(config).discovered >= 0
