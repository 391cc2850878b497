"""Photos that were judged at their own scale give tiles to learn from, place by place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from inspector.errors import DataError
from inspector.labelled.folder import LabelledImage
from inspector.labelled.reviewed import LargePhoto, read_reviewed
from inspector.results.labels import Decision, Label, RegionLabel, open_labels
from inspector.training import TrainConfig
from inspector.training.images import read_images
from inspector.training.tiles import ELSEWHERE, MOST, cut_tiles, squares
from tests.reviewing.tables import row_of, write_table

SIZE = 224
HEIGHT, WIDTH = 4900, 5000


@st.composite
def boxes(draw):
    x, y = draw(st.tuples(st.integers(0, 4000), st.integers(0, 4000)))
    return x, y, *draw(st.tuples(st.integers(0, 900), st.integers(0, 900)))


@given(boxes())
def test_squares_lie_where_the_place_is(box):
    x, y, width, height = box
    found = squares(box, SIZE, (HEIGHT, WIDTH))
    for left, top, side in found:
        assert 0 <= left <= WIDTH - side and 0 <= top <= HEIGHT - side
        assert SIZE <= side <= 2 * SIZE
        assert left <= x + width and left + side >= x and top <= y + height and top + side >= y
    if min(width, height) > SIZE:
        assert len(found) == (max(width, height) <= 2 * SIZE)
    else:  # the place is covered, all of its short side by every square
        assert min(left for left, _, _ in found) <= x
        assert max(left + side for left, _, side in found) >= x + width
        assert min(top for _, top, _ in found) <= y
        assert max(top + side for _, top, side in found) >= y + height
        assert len(found) == max(1, -(-max(width, height) // SIZE))


@pytest.fixture
def photo(tmp_path):
    """What lies at (x, y) has the colour (x / 8, y / 8, 0)."""
    x, y = np.meshgrid(np.arange(1200), np.arange(900))
    pixels = np.stack([x // 8, y // 8, np.zeros_like(x)], axis=-1).astype(np.uint8)
    file = tmp_path / "photos" / "größe 1.png"
    file.parent.mkdir()
    Image.fromarray(pixels).save(file)
    return file


def large(photo, cracks=(), clear=(), unsaid=(), *, is_clear=False):
    image = LabelledImage(str(photo), bool(cracks), "out", "wall")
    return LargePhoto(image, tuple(cracks), tuple(clear), tuple(unsaid), is_clear)


def colour_in_the_middle(file: str) -> Any:
    with Image.open(file) as image:
        return tuple(np.asarray(image.convert("RGB"))[image.height // 2, image.width // 2, :2])


def test_tiles_are_cut_where_people_pointed(photo, tmp_path):
    made = cut_tiles([large(photo, [(400, 80, 0, 0)], [(800, 640, 40, 20)])], tmp_path / "t", SIZE)
    assert [(tile.is_crack, tile.source, tile.group) for tile in made] == [
        (True, "out", "wall"), (False, "out", "wall"),
    ]  # fmt: skip
    assert colour_in_the_middle(made[0].path) == (400 // 8, 112 // 8), "pushed into the photo"
    assert colour_in_the_middle(made[1].path) == (820 // 8, 650 // 8)
    for tile in made:
        with Image.open(tile.path) as image:
            assert image.size == (SIZE, SIZE)
    again = cut_tiles([large(photo, [(400, 80, 0, 0)])], tmp_path / "t", SIZE)
    assert [tile.path for tile in again] == [made[0].path]


def test_what_is_beside_a_crack_is_not_learned_as_clear(photo, tmp_path):
    here, beside, apart = (300, 300, 40, 40), (420, 300, 40, 40), (700, 300, 40, 40)
    made = cut_tiles([large(photo, [here], [beside, apart])], tmp_path / "t", SIZE)
    assert [(t.is_crack, colour_in_the_middle(t.path)[0]) for t in made] == [
        (True, 320 // 8), (False, 720 // 8),
    ]  # fmt: skip
    made = cut_tiles([large(photo, [], [beside, apart], [here])], tmp_path / "t", SIZE)
    assert [colour_in_the_middle(tile.path)[0] for tile in made] == [720 // 8]


def test_a_tile_that_is_pushed_into_the_photo_does_not_touch_a_crack_there(photo, tmp_path):
    crack, at_the_border = (170, 400, 40, 40), (0, 400, 20, 20)
    (tile,) = cut_tiles([large(photo, [crack], [at_the_border])], tmp_path / "t", SIZE)
    assert tile.is_crack


def test_a_clear_photo_gives_tiles_from_all_over_it(photo, tmp_path):
    made = cut_tiles([large(photo, is_clear=True)], tmp_path / "t", SIZE)
    assert len(made) == len(ELSEWHERE) and not any(tile.is_crack for tile in made)
    assert len({colour_in_the_middle(tile.path) for tile in made}) == len(ELSEWHERE)


def test_a_photo_gives_only_so_many(photo, tmp_path):
    places = [(8 * k, 8 * k, 4, 4) for k in range(100)]
    assert len(cut_tiles([large(photo, places)], tmp_path / "t", SIZE)) == MOST


def test_a_photo_that_cannot_be_read_gives_none(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    assert cut_tiles([large(tmp_path / "broken.jpg", [(1, 1, 9, 9)])], tmp_path / "t", SIZE) == []


REGION = {"length_at_least": 9.0, "length_at_most": 90.0, "p_crack": 0.9, "stage": "fp32@224"}
BOX_1, BOX_2 = (100, 40, 60, 30), (500, 40, 60, 30)
FIRST, SECOND = (
    dict(zip(("x", "y", "width", "height"), box, strict=True)) | REGION for box in (BOX_1, BOX_2)
)


def judged(photo, **values):
    return row_of(photo, view="dense", regions=[FIRST, SECOND], **values)


def say(out, row, label, **regions):
    """`regions`: what is said of FIRST and SECOND."""
    seen = {name: row[name] for name in ("uri", "content_hash", "size_bytes", "mtime")}
    said = tuple(
        RegionLabel(*(BOX_1 if name == "first" else BOX_2), label=Label(what))
        for name, what in regions.items()
    )
    with open_labels(out, "ann") as store:
        store.add(Decision(**seen, label=label and Label(label), verdict=None, p_crack=None,
                           model=None, regions=said))  # fmt: skip


@pytest.mark.parametrize(
    ("label", "regions", "cracks", "clear"),
    [
        ("crack", {}, (BOX_1, BOX_2), ()),
        ("crack", {"first": "clear"}, (BOX_2,), (BOX_1,)),
        ("clear", {}, (), (BOX_1, BOX_2)),
        (None, {"second": "crack"}, (BOX_2,), ()),
        (None, {"first": "clear"}, (), (BOX_1,)),
    ],
)
def test_what_is_said_of_a_photo_and_of_its_regions(photo, tmp_path, label, regions, cracks, clear):
    row = judged(photo)
    out = write_table(tmp_path / "out", [row])
    say(out, row, label, **regions)
    found = read_reviewed([out])
    assert found.images == []
    (known,) = found.large
    assert (known.cracks, known.clear) == (cracks, clear)
    assert known.is_clear == (label == "clear")
    assert len({*known.cracks, *known.clear, *known.unsaid}) == 2
    assert known.image.path == str(photo)


def test_a_crack_that_nobody_has_marked_is_counted(photo, tmp_path):
    row = row_of(photo, view="dense", regions=[])
    out = write_table(tmp_path / "out", [row])
    say(out, row, "crack")
    found = read_reviewed([out])
    assert found.large == [] and found.unplaced == 1
    assert "1 large ones left out because nobody has marked where the crack is" in str(found)


def test_a_training_learns_from_large_photos_alone(tmp_path):
    files = [tmp_path / "walls" / f"{k}.png" for k in range(6)]
    files[0].parent.mkdir()
    for k, file in enumerate(files):
        Image.new("RGB", (700, 500), (20 * k, 90, 90)).save(file)
    rows = [judged(file) for file in files]
    out = write_table(tmp_path / "out", rows)
    for row in rows:
        say(out, row, "crack", first="clear")
    found = read_images(TrainConfig(out=tmp_path / "model", labels=(out,), validation_share=0.4))
    assert found.lines == [
        "6 photos labelled in reviews (6 with cracks, 0 without); 6 of them judged at their own "
        "scale, from which 12 tiles are cut (6 with cracks)"
    ]
    sides = [{Path(image.path).name.split("-")[0] for image in part}
             for part in (found.training, found.validation)]  # fmt: skip
    assert sides[0] and sides[1] and not sides[0] & sides[1], "a photo is on one side"
    tiles = [*found.training, *found.validation]
    assert len(tiles) == 12 and sum(tile.is_crack for tile in tiles) == 6
    assert {Path(tile.path).parent for tile in tiles} == {tmp_path / "model/training/tiles"}


def test_reviewed_photos_alone_are_validated_on_the_folder_that_is_named(tmp_path):
    files = [tmp_path / "walls" / f"{k}.png" for k in range(2)]
    held_out = [tmp_path / "other" / name / "x.png" for name in ("Positive", "Negative")]
    for k, file in enumerate([*files, *held_out]):
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (700, 500), (20 * k, 90, 90)).save(file)
    rows = [judged(file) for file in files]
    out = write_table(tmp_path / "out", rows)
    for row in rows:
        say(out, row, "crack", first="clear")
    found = read_images(
        TrainConfig(out=tmp_path / "model", labels=(out,), validation=tmp_path / "other")
    )
    assert {Path(image.path) for image in found.validation} == set(held_out)
    assert len(found.training) == 4
    with pytest.raises(DataError, match="elsewhere"):
        read_images(
            TrainConfig(out=tmp_path / "b", labels=(out,), validation=tmp_path / "elsewhere")
        )


def test_what_is_said_of_a_large_photo_corrects_its_label_in_the_data(tmp_path):
    data = tmp_path / "data"
    was = {
        "train/crack/a": "clear", "train/crack/b": None, "train/clear/c": "crack",
        "train/clear/d": "clear", "val/crack/e": "clear", "val/crack/f": None,
        "val/clear/g": "crack", "val/clear/h": "unsure",
    }  # fmt: skip
    files = {data / f"{place}.png": said for place, said in was.items()}
    for k, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (700, 500), (20 * k, 90, 90)).save(file)
    rows = {file: judged(file) for file in files}
    out = write_table(tmp_path / "out", list(rows.values()))
    for file, said in files.items():
        regions = {"first": "clear"} if said is None else {}
        say(out, rows[file], said, **regions)
    found = read_images(TrainConfig(data=data, out=tmp_path / "model", labels=(out,)))
    assert "4 of them labelled otherwise in DATA: the review counts" in found.lines[-1]
    learned = {Path(i.path).stem: i.is_crack for i in found.training if "tiles" not in i.path}
    assert learned == {"a": False, "b": True, "c": True, "d": False}
    truth = {Path(i.path).stem: i.is_crack for i in found.validation}
    assert truth == {"e": False, "f": True, "g": True, "h": False}
    cut = {Path(i.path).stem.split("-")[0] for i in found.training if "tiles" in i.path}
    assert len(cut) == 4
    (warning,) = found.warnings
    assert warning.startswith(f"WARNING: 8 of {8 + len(found.training) - 4} photos are larger than")
    assert "336 px" in warning and "--labels OUT" in warning


def test_a_large_photo_that_is_validated_on_gives_no_tiles(photo, tmp_path):
    data = tmp_path / "data"
    for k, place in enumerate(("train/crack/a", "train/clear/b", "val/crack/c", "val/clear/d")):
        (data / place).parent.mkdir(parents=True)
        Image.new("RGB", (300, 300), (20 * k, 90, 90)).save(data / f"{place}.png")
    same = data / "val/crack/same.png"
    same.symlink_to(photo)
    row = judged(same)
    out = write_table(tmp_path / "out", [row])
    say(out, row, "crack")
    found = read_images(TrainConfig(data=data, out=tmp_path / "model", labels=(out,)))
    assert {Path(image.path).parent.name for image in found.training} == {"crack", "clear"}
    assert not (tmp_path / "model").exists()
