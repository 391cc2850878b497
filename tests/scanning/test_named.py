"""Photos that lists and patterns name: their rows, when they are gone, and what is left out."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from inspector.core.text import print_lines
from inspector.scanning import ScanConfig, preview, scan
from inspector.scanning.outcome import print_preview, summary_lines
from tests.scanning.dying import quick_scan, table_of
from tests.scanning.walls import wall


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for k in range(3):
        wall(k).save(f"photos/{k}.png")
    Path("list").write_text("photos/0.png\nphotos/gone.png\nphotos/1.png\nphotos/0.png\n")
    return tmp_path


def config(bundle, *sources, **options):
    return ScanConfig(sources=sources, out=Path("out"), model=bundle.path, precision="fp32",
                      workers=0, **options)  # fmt: skip


def rows():
    table = ds.dataset("out").to_table().to_pylist()
    return {Path(row["path"]).name: row["failure_code"] or row["status"] for row in table}


def test_each_listed_photo_has_a_row_and_the_same_list_goes_on(place, tiny_bundle, capsys):
    assert preview(config(tiny_bundle, "@list")).discovered == 3
    summary = scan(config(tiny_bundle, "@list"))
    assert rows() == {"0.png": "ok", "1.png": "ok", "gone.png": "vanished"}
    assert (summary.discovered, summary.run.ok, summary.run.failed, summary.repeated) == (
        3,
        2,
        1,
        1,
    )
    print_lines(summary_lines(summary))
    assert "named more than once: 1; covered once" in capsys.readouterr().out
    again = scan(config(tiny_bundle, "@list"))
    assert (again.already_done, again.run.ok, again.run.failed) == (3, 0, 0)
    os.rename("photos/2.png", "photos/gone.png")
    assert scan(config(tiny_bundle, "@list")).changed == 1
    assert rows() == {"0.png": "ok", "1.png": "ok", "gone.png": "ok"}


def test_a_photo_that_a_list_names_and_that_is_gone_keeps_its_verdict(place, tiny_bundle, capsys):
    scan(config(tiny_bundle, "@list"))
    Path("photos/0.png").unlink()
    os.rename("photos", "unmounted")
    seen = preview(config(tiny_bundle, "@list"))
    assert (seen.new, seen.changed, seen.already_done) == (0, 0, 3)
    summary = scan(config(tiny_bundle, "@list", prune=True))
    assert rows() == {"0.png": "ok", "1.png": "ok", "gone.png": "vanished"}
    assert (summary.already_done, summary.gone_but_named, summary.pruned) == (3, 2, 0)
    print_lines(summary_lines(summary))
    assert "photos that a list names: 2; their rows are kept" in capsys.readouterr().out


def test_photos_excluded_later_keep_their_rows_until_they_are_gone(place, tiny_bundle, capsys):
    scan(config(tiny_bundle, "photos"))
    summary = scan(config(tiny_bundle, "photos", exclude=("[01].png",), prune=True))
    assert (summary.discovered, summary.vanished, summary.table.rows) == (1, 0, 3)
    assert summary.excluded == {"[01].png": 2}
    print_lines(summary_lines(summary))
    assert "excluded   [01].png 2" in capsys.readouterr().out
    seen = preview(config(tiny_bundle, "photos", exclude=("[01].png",)))
    print_preview(seen)
    assert "excluded   [01].png 2" in capsys.readouterr().out
    Path("photos/0.png").unlink()
    scan(config(tiny_bundle, "photos", exclude=("[01].png",), prune=True))
    assert set(rows()) == {"1.png", "2.png"}


def test_a_pattern_drops_only_rows_that_it_means(place):
    for name in ("a.jpg", "b.jpg", "c.png", "sub/d.jpg", "keep.jpg"):
        file = place / "files" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("ok")
    quick_scan("files", place / "out")
    for name in ("a.jpg", "c.png", "sub/d.jpg"):
        (place / "files" / name).unlink()
    quick_scan("files/*.jpg", place / "out", prune=True)
    assert set(table_of(place / "out")) == {"b.jpg", "c.png", "d.jpg", "keep.jpg"}
    quick_scan("files/**/*.jpg", place / "out", prune=True)
    assert set(table_of(place / "out")) == {"b.jpg", "c.png", "keep.jpg"}


def test_other_photos_in_the_table_are_said_aloud_before_and_after(place, tiny_bundle, capsys):
    scan(config(tiny_bundle, "photos"))
    Path("others").mkdir()
    wall(9).save("others/x.png")
    words = f"out holds 3 rows of other photos, such as {place}/photos/0.png"
    assert any(words in note for note in preview(config(tiny_bundle, "others")).notes)

    class Watch:
        def start(self, plan, backend, table, notes):
            self.said = list(notes)

        def update(self, tally):
            pass

    watch = Watch()
    summary = scan(config(tiny_bundle, "others"), watch=watch)
    assert any(words in note for note in watch.said) and watch.said[0] in summary.notes
    assert len(rows()) == 4
    again = scan(config(tiny_bundle, "others"), watch=watch)
    assert watch.said == [] and not any(words in note for note in again.notes)
