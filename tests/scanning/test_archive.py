"""Photos of another kind of source than directories, through everything that looks at photos."""

from __future__ import annotations

import zipfile
from contextlib import closing

import pyarrow.dataset as ds
import pytest

from inspector.labelled.reviewed import read_reviewed
from inspector.photos import source
from inspector.photos.decode import decode
from inspector.photos.pictures import region, screen
from inspector.reporting.shots import take_shots
from inspector.results.labels import Decision, Label, open_labels
from inspector.results.verify import Remark, VerifyConfig, verify
from inspector.scanning import ScanConfig, scan
from inspector.types import ImageRef
from inspector.workers import process
from inspector.workers.process import Helpers
from tests.photos.zipped import Zipped
from tests.scanning.walls import wall

ODD_NAME = "wäll #1!.png"


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "SOURCES", [Zipped(), *source.SOURCES])
    program = f"from tests.photos.zipped import install; install(); {process.PROGRAM}"
    monkeypatch.setattr(process, "PROGRAM", program)
    for number in range(2):
        wall(number).save(tmp_path / f"{number}.png")
    pack(tmp_path, {ODD_NAME: "0.png", "a/b.png": "1.png"})
    return tmp_path / "photos.zip"


def pack(folder, members):
    with zipfile.ZipFile(folder / "photos.zip", "w") as opened:
        for name, file in members.items():
            info = zipfile.ZipInfo(name, (2026, 11, 28, 12, 0, 0))
            opened.writestr(info, (folder / file).read_bytes())
        for name in ("broken.jpg", "locked.jpg", "notes.txt"):
            opened.writestr(zipfile.ZipInfo(name), b"no image")


def scanned(archive, tiny_bundle, *, workers=0, **options):
    summary = scan(
        ScanConfig(
            sources=(str(archive),), out=archive.parent / "out", model=tiny_bundle.path,
            precision="fp32", workers=workers, **options,
        )
    )  # fmt: skip
    table = ds.dataset(archive.parent / "out").to_table()
    return summary, {row["uri"]: row for row in table.to_pylist()}


@pytest.mark.parametrize("workers", [0, 1])
def test_photos_in_an_archive_are_scanned_as_files_are(archive, tiny_bundle, workers):
    summary, rows = scanned(archive, tiny_bundle, workers=workers)
    below = f"file://{archive}!/"
    assert set(rows) == {
        f"{below}w%C3%A4ll%20%231%21.png",
        f"{below}a/b.png",
        f"{below}broken.jpg",
        f"{below}locked.jpg",
    }
    assert summary.ignored_by_suffix == {".txt": 1}
    row = rows[f"{below}w%C3%A4ll%20%231%21.png"]
    assert (row["path"], row["width"]) == (f"{archive}!/{ODD_NAME}", 90)
    failed = {name: rows[f"{below}{name}.jpg"]["failure_code"] for name in ("broken", "locked")}
    assert failed == {"broken": "not_an_image", "locked": "unsupported"}
    file = archive.parent / "0.png"
    _, as_file = scanned(file, tiny_bundle, overwrite=True)
    assert as_file[f"file://{file}"]["p_crack"] == row["p_crack"]
    assert as_file[f"file://{file}"]["content_hash"] == row["content_hash"]


def test_photos_in_an_archive_are_followed_through_changes(archive, tiny_bundle):
    scanned(archive, tiny_bundle)
    assert scanned(archive, tiny_bundle)[0].already_done == 4
    pack(archive.parent, {ODD_NAME: "1.png"})
    assert {
        (str(note.code), note.where.partition("!/")[2])
        for note in verify(VerifyConfig(out=archive.parent / "out", photos=True)).notes
        if note.code != Remark.PHOTO_SKIPPED
    } == {("photo_changed", ODD_NAME), ("photo_gone", "a/b.png")}
    summary, rows = scanned(archive, tiny_bundle, prune=True)
    assert (summary.vanished, len(rows)) == (1, 3)
    result = verify(VerifyConfig(out=archive.parent / "out", photos=True))
    assert not result.damage and {note.code for note in result.notes} <= {Remark.PHOTO_SKIPPED}


def test_photos_in_an_archive_are_in_the_report(archive, tiny_bundle):
    _, rows = scanned(archive, tiny_bundle)
    judged = [row for row in rows.values() if row["verdict"]]
    shots = take_shots(judged, None, lambda *_: None)
    assert [(shot.whole[:15], shot.why) for shot in shots] == [("data:image/jpeg", "")] * 2


def test_photos_in_an_archive_are_shown_and_learned_from(archive, tiny_bundle):
    _, rows = scanned(archive, tiny_bundle)
    uri, row = next((uri, row) for uri, row in rows.items() if row["verdict"])
    with closing(Helpers(screen, 60)) as screens, closing(Helpers(region, 60)) as details:
        assert screens.ask(uri).content_hash == row["content_hash"]
        assert details.ask(uri, (0, 0, 1, 1), 50).width == row["width"]
    with open_labels(archive.parent / "out", "ann") as store:
        about = {name: row[name] for name in ("uri", "content_hash", "size_bytes", "mtime")}
        store.add(Decision(label=Label.CRACK, verdict=None, p_crack=None, model=None, **about))
    (image,) = read_reviewed([archive.parent / "out"]).images
    outcome = decode(ImageRef.of(image.path), tiny_bundle.preprocess)
    assert outcome.facts.content_hash == row["content_hash"]
