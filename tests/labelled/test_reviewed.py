"""Labelled photos as images to learn from: only those that still are what was looked at."""

from __future__ import annotations

import os

import pytest

from inspector.core.layout import RESULTS_DIR
from inspector.errors import DataError
from inspector.labelled import reviewed
from inspector.labelled.folder import LabelledImage
from inspector.labelled.reviewed import Reviewed, alone, merge_reviewed, read_reviewed
from inspector.photos.opened import DecodeLimits
from inspector.photos.pictures import LIMITS
from inspector.results.labels import Decision, Label, RegionLabel, open_labels
from tests.reviewing.tables import row_of, write_table


def label(out, path, said, reviewer="ann"):
    row = row_of(path)
    seen = {name: row[name] for name in ("uri", "content_hash", "size_bytes", "mtime")}
    with open_labels(out, reviewer) as store:
        store.add(Decision(**seen, label=Label(said), verdict=None, p_crack=None, model=None))


@pytest.fixture
def photos(tmp_path):
    files = [tmp_path / "photos" / f"{k}.jpg" for k in range(6)]
    files[0].parent.mkdir()
    for k, file in enumerate(files):
        file.write_bytes(b"photo" + bytes([k]))
    return files


@pytest.fixture
def out(tmp_path, photos):
    says = ("crack", "clear", "crack", "clear", "crack", "unsure")
    for file, said in zip(photos, says, strict=True):
        label(tmp_path / "out", file, said)
    return tmp_path / "out"


def test_read_reviewed_takes_unchanged_files_only(out, photos):
    photos[0].write_bytes(b"other")
    photos[1].unlink()
    os.utime(photos[2], (1, 1))  # copied, but the same bytes
    photos[3].write_bytes(b"OTHER\x03")
    found = read_reviewed([out])
    assert [(image.path, image.is_crack) for image in found.images] == [
        (str(photos[2]), True),
        (str(photos[4]), True),
    ]
    assert (found.gone, found.changed, found.unsure) == (1, 2, 1)
    assert {image.source for image in found.images} == {"out"}
    text = str(found)
    assert text.startswith("2 photos labelled in reviews (2 with cracks, 0 without)")
    assert "2 left out because their files have changed" in text
    with pytest.raises(DataError, match="no usable photos without cracks"):
        alone(found)


def test_read_reviewed_takes_the_later_of_two_labels(out, photos, tmp_path):
    label(tmp_path / "second", photos[0], "clear", "bob")
    by_path = {image.path: image for image in read_reviewed([tmp_path / "second", out]).images}
    assert not by_path[str(photos[0])].is_crack
    assert by_path[str(photos[0])].source == "second"
    assert len(by_path) == 5


def test_read_reviewed_refuses_what_is_no_review(tmp_path):
    with pytest.raises(DataError, match="no result directory"):
        read_reviewed([tmp_path])
    (tmp_path / RESULTS_DIR).mkdir()
    with pytest.raises(DataError, match="inspector review"):
        read_reviewed([tmp_path])


@pytest.mark.parametrize(("label", "said", "counts", "left_out"), [
    (None, "crack", "1 with cracks, 0 without", 0),
    (None, "clear", "0 with cracks, 1 without", 0),
    ("crack", "clear", "1 with cracks, 0 without", 0),
    ("crack", None, "0 with cracks, 0 without", 1),
])  # fmt: skip
def test_read_reviewed_counts_a_large_photo_by_what_is_said_of_its_places(
    photos, tmp_path, label, said, counts, left_out
):
    box = {"x": 1, "y": 2, "width": 30, "height": 40}
    lengths = {"length_at_least": 9.0, "length_at_most": 90.0}
    found = [{**box, **lengths, "p_crack": 0.9, "stage": "fp32@224"}] if said else []
    row = row_of(photos[0], view="dense", regions=found)
    out = write_table(tmp_path / "large", [row])
    seen = {name: row[name] for name in ("uri", "content_hash", "size_bytes", "mtime")}
    places = (RegionLabel(**box, label=Label(said)),) if said else ()
    with open_labels(out, "ann") as store:
        store.add(Decision(**seen, label=label and Label(label), verdict=None, p_crack=None,
                           model=None, regions=places))  # fmt: skip
    reviewed = read_reviewed([out])
    assert counts in str(reviewed)
    assert reviewed.unplaced == left_out


def image(path, is_crack, group=""):
    return LabelledImage(str(path), is_crack, "s", group or str(path))


def test_merge_reviewed_keeps_sides_apart_and_corrects_labels(tmp_path, photos):
    link = tmp_path / "link.jpg"
    link.symlink_to(photos[1])
    images = [image(photos[0], False), image(photos[1], True), image(photos[2], True)]
    reviewed = Reviewed(images, said={image.path: image.is_crack for image in images})
    training, validation = merge_reviewed(
        [image(photos[0], True), image(photos[3], False)], [image(link, True)], reviewed
    )
    assert [(i.path, i.is_crack) for i in training] == [
        (str(photos[0]), False),
        (str(photos[3]), False),
        (str(photos[2]), True),
    ]
    assert [(i.path, i.is_crack) for i in validation] == [(str(link), True)]
    assert reviewed.corrected == 1


def test_read_reviewed_groups_by_folder_where_there_are_enough(tmp_path):
    out = tmp_path / "out"
    for k in range(8):
        file = tmp_path / f"wall{k}" / "1.jpg"
        file.parent.mkdir()
        file.write_bytes(bytes([k]))
        label(out, file, "crack" if k % 2 else "clear")
        if k == 6:
            assert {i.group for i in read_reviewed([out]).images} == {
                i.path for i in read_reviewed([out]).images
            }
    assert {i.group for i in read_reviewed([out]).images} == {
        str(tmp_path / f"wall{k}") for k in range(8)
    }


def test_read_reviewed_compares_photos_beyond_the_limits_of_a_scan(out, photos, monkeypatch):
    os.utime(photos[0], (1, 1))
    asked = []
    monkeypatch.setattr(reviewed, "sha256_within", lambda uri, most: asked.append(most))
    assert read_reviewed([out]).changed == 1
    assert asked == [LIMITS.max_bytes] and LIMITS.max_bytes > DecodeLimits().max_bytes
