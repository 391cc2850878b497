"""Labelled folders: classes found, groups kept together, mistakes named."""

from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from export.photos import find_photos
from inspector.errors import DataError
from inspector.labelled.folder import (
    TEST,
    TRAIN,
    VALIDATION,
    LabelledImage,
    find_labelled,
    read_labelled,
)
from inspector.labelled.split import data_digest, hold_back, split

PARTS = (TRAIN, VALIDATION, TEST, "")


def touch(root, *names):
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    return root


def labels(root, **options):
    found = find_labelled(root, **options)
    return {os.path.relpath(i.path, root): (i.is_crack, i.source) for i in found}


def test_classes_at_any_depth_and_case(tmp_path):
    touch(tmp_path, "Positive/a.jpg", "b/NEGATIVE/x.png", "c/d/no-crack/deep/y.jpg", "c/note.txt")
    assert labels(tmp_path) == {
        "Positive/a.jpg": (True, ""),
        "b/NEGATIVE/x.png": (False, "b"),
        "c/d/no-crack/deep/y.jpg": (False, "c/d"),
    }


def test_nearest_class_folder_wins(tmp_path):
    touch(tmp_path, "noncrack/Negative/a.jpg", "noncrack/Positive/b.jpg")
    assert labels(tmp_path) == {
        "noncrack/Negative/a.jpg": (False, "noncrack"),
        "noncrack/Positive/b.jpg": (True, "noncrack"),
    }


def test_other_class_names_with_positive(tmp_path):
    touch(tmp_path, "riss/a.jpg", "gut/b.jpg")
    assert labels(tmp_path, positive="riss") == {"riss/a.jpg": (True, ""), "gut/b.jpg": (False, "")}


def test_find_labelled_refuses_a_third_class(tmp_path):
    touch(tmp_path, "riss/a.jpg", "gut/b.jpg", "nass/c.jpg")
    with pytest.raises(DataError, match="gut, nass"):
        find_labelled(tmp_path, positive="riss")


def test_named_classes_may_have_folders_inside(tmp_path):
    touch(tmp_path, "Riß/wall1/a.jpg", "gut/wall1/b.jpg", "gut/wall2/c.jpg", "south/gut/x/d.jpg")
    decomposed = unicodedata.normalize("NFD", "Riß é")
    os.rename(tmp_path / "Riß", tmp_path / decomposed)
    assert labels(tmp_path, positive=["riß_É"]) == {
        f"{decomposed}/wall1/a.jpg": (True, ""),
        "gut/wall1/b.jpg": (False, ""),
        "gut/wall2/c.jpg": (False, ""),
        "south/gut/x/d.jpg": (False, "south"),
    }


@pytest.mark.parametrize("flat", [False, True])
def test_sdnet_has_three_names_for_each_class(tmp_path, flat):
    for deck in "DPW":
        place = "" if flat else f"{deck}/"
        touch(tmp_path, f"{place}C{deck}/1.jpg", f"{place}U{deck}/2.jpg")
    found = find_labelled(tmp_path, positive=("CD", "CP", "CW"))
    assert {i.folder.rsplit("/")[-1]: i.is_crack for i in found} == {
        "CD": True, "CP": True, "CW": True, "UD": False, "UP": False, "UW": False,
    }  # fmt: skip
    with pytest.raises(DataError, match=r"no folder of images named 'CX' .it has: .*CD"):
        find_labelled(tmp_path, positive=("CD", "CX"))


def test_read_labelled_leaves_out_masks(tmp_path):
    """MVTec keeps drawings of each defect in folders called like it."""
    touch(
        tmp_path, "ground_truth/crack/1_mask.png", "crack/1.png", "good/2.png", "good/masks/3.png"
    )
    found = read_labelled(tmp_path)
    assert sorted(os.path.basename(i.path) for i in found.images) == ["1.png", "2.png"]
    assert found.masks == {"ground_truth": 1, "good/masks": 1}
    told = [line.split() for line in found.lines({})]
    assert ["ground_truth", "mask", "1", "left", "out"] in told
    with pytest.raises(DataError, match="no images but masks"):
        find_labelled(touch(tmp_path / "m", "ground_truth/crack/1.png"))


def test_what_a_scan_leaves_out_is_no_labelled_photo(tmp_path):
    touch(
        tmp_path, "crack/1.png", "crack/@eaDir/1.png/SYNOPHOTO_THUMB_M.png", "clear/2.png",
        "clear/@eaDir/2.png/SYNOPHOTO_THUMB_M.png", "__MACOSX/clear/._2.png", "clear/._not.png",
        "clear/.Trash-1000/3.png",
    )  # fmt: skip
    (tmp_path / "clear/._2.png").write_bytes(b"\x00\x05\x16\x07 attributes")
    found = read_labelled(tmp_path)
    kept = ["crack/1.png", "clear/2.png", "clear/._not.png"]
    assert [i.path for i in found.images] == sorted(str(tmp_path / name) for name in kept)
    assert list(found.lines({}))[-1] == (
        "left out, as in a scan: .Trash-1000/ 1, ._* 1, @eaDir/ 2, __MACOSX/ 1 "
        "(a directory counts once)"
    )
    assert find_photos(tmp_path) == sorted(tmp_path / name for name in kept)


def test_read_labelled_keeps_parts_of_a_divided_folder_apart(tmp_path):
    touch(
        tmp_path, "north/train/Positive/1.jpg", "north/train/Negative/2.jpg", "Test/crack/3.jpg",
        "Test/no crack/4.jpg", "val/crack/5.jpg", "val/intact/6.jpg", "crack/train/7.jpg",
        "intact/8.jpg",
    )  # fmt: skip
    found = read_labelled(tmp_path)
    by_part = {part: [os.path.basename(i.path)[0] for i in found.of(part)] for part in PARTS}
    assert {part: sorted(names) for part, names in by_part.items()} == {
        "train": ["1", "2", "7"], "validation": ["5", "6"], "test": ["3", "4"], "": ["8"],
    }  # fmt: skip
    assert {i.source for i in found.images} == {"", "north"}
    assert found.held_out(TEST, VALIDATION) == found.of(TEST)
    assert found.held_out(VALIDATION) == found.of(VALIDATION)
    told = [line.split("  ") for line in found.lines({"measuring": found.of(TEST)})]
    assert any("Test/crack" in line[1] and line[-1] == "measuring" for line in told[1:])
    assert sum(line[-1] == "left alone" for line in told) == 6


def test_held_out_names_the_parts_of_a_folder_divided_otherwise(tmp_path):
    touch(tmp_path, "train/crack/1.jpg", "train/clear/2.jpg", "test/crack/3.jpg")
    found = read_labelled(tmp_path)
    with pytest.raises(
        DataError, match=r"no validation part .it has: test, train.*name the folder"
    ):
        found.held_out(VALIDATION)
    with pytest.raises(DataError, match="without cracks in its test part"):
        found.held_out(TEST)


def test_links_to_folders_are_followed_once_and_never_in_circles(tmp_path):
    away = touch(tmp_path / "away", "p/1.jpg", "n/2.jpg")
    data = tmp_path / "data"
    data.mkdir()
    os.symlink(away / "p", data / "Positive")
    os.symlink("../away/n", data / "Negative")
    os.symlink(data, away / "n" / "up")
    os.symlink("loop", data / "loop")
    os.symlink(away / "p" / "1.jpg", away / "p" / "again.jpg")
    found = read_labelled(data)
    assert {os.path.relpath(i.path, data): i.is_crack for i in found.images} == {
        "Positive/1.jpg": True, "Negative/2.jpg": False,
    }  # fmt: skip
    assert found.repeated == 1
    assert "1 image is there twice, by links, and counts once" in list(found.lines({}))


@pytest.mark.parametrize("how", [shutil.copyfile, os.symlink, os.link])
def test_find_labelled_refuses_one_photo_in_both_classes(tmp_path, how):
    touch(tmp_path, "Positive/a.jpg", "Negative/b.jpg", "Positive/empty.jpg", "Negative/void.jpg")
    photo = tmp_path / "Positive" / "photo.png"
    Image.new("RGB", (9, 9), "red").save(photo)
    for name in ("empty", "void"):
        for file in tmp_path.rglob(f"{name}.jpg"):
            file.write_bytes(b"")
    assert len(find_labelled(tmp_path)) == 5
    how(photo, tmp_path / "Negative" / "other.png")
    with pytest.raises(
        DataError, match=r"photos with both labels.* 1: .*photo.png .crack.*other.png"
    ):
        find_labelled(tmp_path)


@pytest.mark.parametrize("root", [".", "../data", "./"])
def test_relative_folders_give_paths_that_open(tmp_path, monkeypatch, root):
    data = touch(tmp_path / "data", "Positive/a.jpg", "Negative/b.jpg")
    monkeypatch.chdir(data)
    found = find_labelled(Path(root))
    assert all(os.path.isfile(image.path) for image in found)
    assert {i.path for i in found} == {str(file) for file in find_photos(Path(root))}
    assert data_digest(found) == data_digest(find_labelled(data))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ((), "no images"),
        (("Positive/a.jpg",), "without cracks"),
        (("Negative/a.jpg",), "with cracks"),
        (("Positive/a.jpg", "stray.jpg"), "not inside a class folder"),
        (("cats/a.jpg", "dogs/b.jpg"), "--positive NAME"),
    ],
)
def test_wrong_layouts_name_folder_and_layout(tmp_path, files, words):
    touch(tmp_path, *files)
    with pytest.raises(DataError, match=words) as caught:
        find_labelled(tmp_path)
    assert str(tmp_path) in str(caught.value) and "Negative" in str(caught.value)


def test_find_labelled_refuses_a_missing_folder(tmp_path):
    with pytest.raises(DataError, match="not a folder"):
        find_labelled(tmp_path / "nowhere")


images = st.lists(
    st.tuples(st.booleans(), st.sampled_from("ab"), st.integers(0, 12)), min_size=1, max_size=120
).map(
    lambda rows: [
        LabelledImage(f"{k}", crack, source, f"{crack}{source}{group}")
        for k, (crack, source, group) in enumerate(rows)
    ]
)


@given(images, st.floats(0.05, 0.5), st.integers(0, 9))
def test_hold_back_keeps_groups_whole_and_strata_bounded(found, share, seed):
    rest, held = hold_back(found, share=share, seed=seed)
    assert sorted(i.path for i in rest + held) == sorted(i.path for i in found)
    assert not {i.group for i in rest} & {i.group for i in held}
    assert (rest, held) == hold_back(found, share=share, seed=seed)
    for stratum in {(i.source, i.is_crack) for i in found}:
        total = sum((i.source, i.is_crack) == stratum for i in found)
        taken = sum((i.source, i.is_crack) == stratum for i in held)
        assert taken <= max(1, total // 2)


def test_split_refuses_a_part_without_a_class():
    one_wall = [LabelledImage(str(k), k % 2 == 0, "", f"wall{k % 2}") for k in range(10)]
    with pytest.raises(DataError, match="lack one class"):
        split(one_wall, share=0.2, seed=0)


def test_digest_tells_sets_apart(tmp_path):
    touch(tmp_path, "Positive/a.jpg", "Negative/b.jpg")
    before = data_digest(find_labelled(tmp_path))
    assert before == data_digest(find_labelled(tmp_path))
    (tmp_path / "Negative/b.jpg").write_bytes(b"longer")
    assert data_digest(find_labelled(tmp_path)) != before
