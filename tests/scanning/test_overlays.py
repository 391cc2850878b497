"""Overlays beside the table: those asked for, one for each photo, none at a row's expense."""

from __future__ import annotations

import pytest
from PIL import Image

from inspector.core.layout import Layout
from inspector.errors import OutputError, UsageError
from inspector.results.verify import VerifyConfig, verify
from inspector.scanning import ScanConfig, scan
from inspector.scanning import overlays as overlays_module
from tests.rows import rows_in
from tests.scanning.walls import wall


@pytest.fixture
def photos(tmp_path):
    for k in range(4):
        folder = tmp_path / "photos" / f"span-{k}"
        folder.mkdir(parents=True)
        wall(k, 500, 300).save(folder / "IMG_1.jpg")
    (tmp_path / "photos" / "no photo.jpg").write_bytes(b"nothing")
    return tmp_path / "photos"


def run(photos, tiny_bundle, **options):
    out = photos.parent / "out"
    config = ScanConfig(sources=(str(photos),), out=out, model=tiny_bundle.path, workers=0,
                        **options)  # fmt: skip
    return out, scan(config)


def rows_of(out):
    return {row["uri"]: row for row in rows_in(out)}


def test_photos_of_one_name_have_overlays_of_their_own(photos, tiny_bundle):
    out, summary = run(photos, tiny_bundle, heatmaps="all")
    rows = rows_of(out)
    judged = [uri for uri, row in rows.items() if row["status"] == "ok"]
    files = {Layout(out).heatmap(uri) for uri in judged}
    assert len(judged) == 4 and set(Layout(out).heatmaps.iterdir()) == files
    for file in files:
        with Image.open(file) as drawn:
            assert drawn.width == 500 and drawn.height > 300
    assert any("4 overlays drawn in" in note for note in summary.notes)
    assert verify(VerifyConfig(out=out)).damage == (), "readers of the table do not see them"


@pytest.mark.parametrize(("kind", "threshold", "drawn"), [
    ("crack", 1e-6, 4), ("crack", 0.999999, 0), ("review", 0.999999, 4), ("all", 0.999999, 4),
])  # fmt: skip
def test_those_asked_for_are_drawn(photos, tiny_bundle, kind, threshold, drawn):
    """To the small model these photos are out of distribution, so none is clear."""
    out, _ = run(photos, tiny_bundle, heatmaps=kind, threshold=threshold, view="whole")
    assert len(list(Layout(out).heatmaps.iterdir())) == drawn


def test_an_overlay_that_cannot_be_drawn_costs_no_row(photos, tiny_bundle, monkeypatch):
    """Here each of them finds another photo than the one that was judged."""
    drawing = overlays_module.Overlays.take

    def change(self, taken, judgements, scores):
        for photo in taken:
            wall(99, 40, 40).save(photo.ref.path)
        drawing(self, taken, judgements, scores)

    monkeypatch.setattr(overlays_module.Overlays, "take", change)
    out, summary = run(photos, tiny_bundle, heatmaps="all")
    assert len(rows_of(out)) == 5
    assert summary.exit_code == 0
    assert any("4 could not be drawn, first" in note for note in summary.notes)


def test_overlays_change_no_row_and_nothing_is_drawn_unasked(photos, tiny_bundle):
    out, _ = run(photos, tiny_bundle)
    plain = rows_of(out)
    assert not Layout(out).heatmaps.exists()
    out, _ = run(photos, tiny_bundle, heatmaps="all", overwrite=True)
    assert rows_of(out) == plain


def test_a_link_in_their_place_is_refused(photos, tiny_bundle, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "_heatmaps").symlink_to(theirs)
    with pytest.raises(OutputError, match="is a link"):
        run(photos, tiny_bundle, heatmaps="all")
    assert not list(theirs.iterdir())


def test_another_kind_is_refused():
    with pytest.raises(UsageError, match="crack, review, all"):
        ScanConfig(sources=("x",), heatmaps="cracks")
