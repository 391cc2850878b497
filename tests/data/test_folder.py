"""Labelled folders: classes found, groups kept together, mistakes named."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.data.folder import LabelledImage, data_digest, find_labelled, hold_back, split
from inspector.errors import DataError


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


def test_third_class_is_refused(tmp_path):
    touch(tmp_path, "riss/a.jpg", "gut/b.jpg", "nass/c.jpg")
    with pytest.raises(DataError, match="gut, nass"):
        find_labelled(tmp_path, positive="riss")


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


def test_missing_folder(tmp_path):
    with pytest.raises(DataError, match="not a folder"):
        find_labelled(tmp_path / "nowhere")


@pytest.mark.parametrize("beside", ["data", "."])
def test_groups_relative_to_csv_or_data(tmp_path, beside):
    data = touch(tmp_path / "data", "Positive/a.jpg", "Positive/b.jpg", "Negative/c.jpg")
    csv = tmp_path / "groups.csv"
    prefix = "" if beside == "data" else "data/"
    csv.write_text(f"file,group\n{prefix}Positive/a.jpg,wall\n{prefix}Positive/b.jpg,wall\n")
    groups = [image.group for image in find_labelled(data, groups_csv=csv)]
    assert groups[1:] == ["wall", "wall"] and groups[0].endswith("c.jpg")


def test_groups_follow_links(tmp_path):
    data = touch(tmp_path / "data", "Positive/a.jpg", "Negative/c.jpg")
    linked = tmp_path / "linked"
    for name in ("Positive/a.jpg", "Negative/c.jpg"):
        (linked / name).parent.mkdir(parents=True)
        os.symlink(data / name, linked / name)
    csv = data / "g.csv"
    csv.write_text("file,group\nPositive/a.jpg,wall\n")
    assert [i.group for i in find_labelled(linked, groups_csv=csv)][1] == "wall"


@pytest.mark.parametrize(
    ("text", "words"),
    [("file,group\nelse.jpg,1\n", "names none"), ("a,b\n1,2\n", "columns"), ("", "columns")],
)
def test_wrong_group_files(tmp_path, text, words):
    data = touch(tmp_path / "data", "Positive/a.jpg", "Negative/c.jpg")
    csv = tmp_path / "groups.csv"
    csv.write_text(text)
    with pytest.raises(DataError, match=words):
        find_labelled(data, groups_csv=csv)


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
