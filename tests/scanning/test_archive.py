"""Photos in archives, through everything that looks at photos."""

from __future__ import annotations

import os
from contextlib import closing
from io import BytesIO

import numpy as np
import pyarrow.dataset as ds
import pytest
import tifffile

from inspector.labelled.reviewed import read_reviewed
from inspector.photos.decode import decode
from inspector.photos.pictures import region, screen
from inspector.reporting.report import ReportConfig, report
from inspector.results.labels import Decision, Label, open_labels
from inspector.results.verify import Remark, VerifyConfig, verify
from inspector.scanning import ScanConfig, scan
from inspector.types import ImageRef
from inspector.workers.process import Helpers
from tests.photos.packed import pack
from tests.rows import rows_in
from tests.scanning.walls import wall

ODD_NAME = "wäll #1!.png"
NAMES = (ODD_NAME, "a/b.png", "a/large.jpg", "pages.tif", "broken.jpg", "../up.png")


def png(seed, *sides, form="PNG"):
    stream = BytesIO()
    wall(seed, *sides).save(stream, form)
    return stream.getvalue()


def pages():
    stream = BytesIO()
    with tifffile.TiffWriter(stream) as file:
        for seed in (8, 9):
            file.write(np.asarray(wall(seed)), photometric="rgb")
    return stream.getvalue()


def contents(seed=0):
    made = (png(seed), png(seed + 1), png(seed + 2, 400, 300, form="JPEG"), pages(), b"no image",
            png(seed + 3))  # fmt: skip
    return list(zip(NAMES, made, strict=True))


def config(room, tiny_bundle, *, workers=0, **options):
    return ScanConfig(
        sources=(str(room / "photos.zip"), str(room / "shards" / "*")), out=room / "out",
        model=tiny_bundle.path, precision="fp32", workers=workers, **options,
    )  # fmt: skip


def rows_of(room):
    return {row["uri"]: row for row in rows_in(room / "out")}


@pytest.fixture(scope="module")
def room(tmp_path_factory, tiny_bundle):
    room = tmp_path_factory.mktemp("Brücke Süd")
    (room / "shards").mkdir()
    pack(room / "photos.zip", contents(), "deflated.zip")
    pack(room / "shards" / "0.tar", contents(20))
    pack(room / "shards" / "1.tgz", contents(40))
    summary = scan(config(room, tiny_bundle, workers=1, heatmaps="all"))
    assert (summary.run.ok, summary.run.failed) == (18, 3)
    assert len(os.listdir(room / "out" / "_heatmaps")) == 18
    return room


def test_photos_in_archives_are_judged_as_files_are(room, tiny_bundle, tmp_path):
    rows = rows_of(room)
    assert len(rows) == 21
    for archive, seed in (("photos.zip", 0), ("shards/0.tar", 20), ("shards/1.tgz", 40)):
        for name, content in contents(seed):
            file = tmp_path / archive.replace("/", "-") / name.replace("../", "")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            found = [r for r in rows.values() if r["path"].startswith(f"{room}/{archive}!/{name}")]
            assert len(found) == (2 if name == "pages.tif" else 1)
    alone = ScanConfig(
        sources=(str(tmp_path),), out=tmp_path / "out", model=tiny_bundle.path, precision="fp32",
        workers=0,
    )  # fmt: skip
    scan(alone)
    files = ds.dataset(tmp_path / "out").to_table().to_pylist()

    def said(found):
        return sorted(
            (row["content_hash"] or "", round(row["p_crack"] or 0, 5), str(row["failure_code"]),
             row["view"] or "", row["size_bytes"], row["width"] or 0)
            for row in found
        )  # fmt: skip

    assert said(files) == said(rows.values())


def test_a_second_scan_finds_all_done_and_the_table_is_proven(room, tiny_bundle):
    summary = scan(config(room, tiny_bundle, verify_content=True))
    assert (summary.already_done, summary.run.ok, summary.vanished) == (21, 0, 0)
    result = verify(VerifyConfig(out=room / "out", photos=True))
    assert not result.damage and not result.notes


def test_photos_in_archives_are_reported_and_handed_on(room, tmp_path):
    folders = {"annotate": tmp_path / "1", "crops": tmp_path / "2", "copy_cracks": tmp_path / "3"}
    found = report(
        ReportConfig(out=room / "out", html=tmp_path / "a.html", csv=tmp_path / "a.csv", **folders)
    )
    page = (tmp_path / "a.html").read_text()
    assert found.total.crack and "data:image/jpeg" in page and "!/" in page
    assert 'href="file:' not in page
    assert "photos.zip!" in (tmp_path / "a.csv").read_text("utf-8-sig")
    copies = [path for path in (tmp_path / "3").rglob("*") if path.is_file()]
    assert len(copies) == found.total.crack
    assert not list(tmp_path.parent.glob("up.png*"))
    known = {content for seed in (0, 20, 40) for _, content in contents(seed)}
    assert {path.read_bytes() for path in copies} <= known
    assert all(os.path.commonpath([path, tmp_path / "3"]) == str(tmp_path / "3") for path in copies)


def test_photos_in_archives_are_shown_and_learned_from(room, tiny_bundle):
    uri, row = next((u, r) for u, r in rows_of(room).items() if u.endswith("0.tar!/a/b.png"))
    with closing(Helpers(screen, 60)) as screens, closing(Helpers(region, 60)) as details:
        assert screens.ask(uri).content_hash == row["content_hash"]
        assert details.ask(uri, (0, 0, 1, 1), 50).width == row["width"]
    with open_labels(room / "out", "ann") as store:
        about = {name: row[name] for name in ("uri", "content_hash", "size_bytes", "mtime")}
        store.add(Decision(label=Label.CRACK, verdict=None, p_crack=None, model=None, **about))
    (image,) = read_reviewed([room / "out"]).images
    outcome = decode(ImageRef.of(image.path), tiny_bundle.preprocess)
    assert outcome.facts.content_hash == row["content_hash"]


def test_a_photo_named_beside_its_archive_has_one_row_and_the_table_goes_on(tmp_path, tiny_bundle):
    archive = pack(tmp_path / "x.zip", contents()[:2], "deflated.zip")
    again = ScanConfig(
        sources=(str(archive), f"{archive}!/{NAMES[1]}"), out=tmp_path / "out", workers=0,
        model=tiny_bundle.path, precision="fp32",
    )  # fmt: skip
    assert scan(again).table.rows == 2
    assert not verify(VerifyConfig(out=tmp_path / "out")).damage
    assert scan(again).already_done == 2


def test_an_encrypted_photo_is_there_but_cannot_be_compared(tmp_path, tiny_bundle):
    archive = pack(tmp_path / "deflated.zip", contents()[:2])
    data = archive.read_bytes()
    for signature, at in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        place = data.find(signature) + at
        data = data[:place] + b"\1" + data[place + 1 :]
    archive.write_bytes(data)
    out = tmp_path / "out"
    scan(ScanConfig(sources=(str(archive),), out=out, model=tiny_bundle.path, workers=0))
    (note,) = verify(VerifyConfig(out=out, photos=True)).notes
    assert note.code == Remark.PHOTO_SKIPPED
    row = next(row for row in ds.dataset(out).to_table().to_pylist() if row["failure_code"])
    with open_labels(out, "ann") as store:
        about = {name: row[name] for name in ("uri", "content_hash", "size_bytes", "mtime")}
        store.add(Decision(label=Label.CRACK, verdict=None, p_crack=None, model=None, **about))
    assert read_reviewed([out]).gone == 0


def test_only_photos_of_changed_archives_are_judged_anew(room, tiny_bundle):
    """Last: it changes what the others look at."""
    pack(room / "photos.zip", contents(60)[:2], "deflated.zip")
    changed = {
        (str(note.code), note.where.partition("!/")[2])
        for note in verify(VerifyConfig(out=room / "out", photos=True)).notes
    }
    gone = {"a/large.jpg", "pages.tif", "pages.tif#page=2", "broken.jpg", "../up.png"}
    assert changed == {("photo_gone", name) for name in gone} | {
        ("photo_changed", name) for name in NAMES[:2]
    }
    summary = scan(config(room, tiny_bundle))
    assert (summary.already_done, summary.changed, summary.vanished) == (14, 2, 5)
    os.remove(room / "shards" / "1.tgz")
    summary = scan(config(room, tiny_bundle, prune=True))
    assert (summary.vanished, summary.pruned, summary.table.rows) == (12, 12, 9)
    result = verify(VerifyConfig(out=room / "out", photos=True))
    assert not result.damage and {note.code for note in result.notes} <= {Remark.PHOTO_SKIPPED}
