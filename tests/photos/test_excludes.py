"""What is left out of a listing is what was asked for, or nobody's photo, and it is counted."""

from __future__ import annotations

import os

import pytest

from inspector.core.layout import RESULTS_DIR
from inspector.photos.address import uri_of
from inspector.photos.source import Discovery, count_images
from inspector.results.manifest import Manifest
from tests.photos.packed import JPEG, pack

APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X"


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        "a.jpg", "._real.jpg", "@eaDir/a.jpg/THUMB.jpg", "2024/__MACOSX/x.jpg", "2024/b.PNG",
        "2024/raw/c.jpg", "#recycle/d.jpg", "$Recycle.Bin/e.jpg", ".Trash-1000/f.jpg",
        "2024/.thumbnails/g.jpg", "thumbs/h.jpg", "lost+found.jpg",
    ):  # fmt: skip
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "photos/._a.jpg").write_bytes(APPLE_DOUBLE)
    (tmp_path / "photos/2024/._b.PNG").write_bytes(APPLE_DOUBLE)
    return tmp_path / "photos"


KEPT = ["._real.jpg", "2024/b.PNG", "2024/raw/c.jpg", "a.jpg", "lost+found.jpg", "thumbs/h.jpg"]
BY_DEFAULT = {
    "@eaDir/": 1, "__MACOSX/": 1, "#recycle/": 1, "$Recycle.Bin/": 1, ".Trash-1000/": 1,
    ".thumbnails/": 1, "._*": 2,
}  # fmt: skip


def listed(*sources, exclude=()):
    discovery = Discovery(sources, exclude=exclude)
    found = sorted(os.path.relpath(ref.path, "photos") for ref in discovery)
    return found, dict(discovery.excluded)


def test_what_machines_put_beside_photos_is_left_out_and_counted(photos):
    assert listed("photos") == (KEPT, BY_DEFAULT)
    assert count_images(Discovery(["photos"])) == len(KEPT)


def test_what_is_named_is_scanned_whatever_its_name(photos):
    assert listed("photos/@eaDir")[0] == ["@eaDir/a.jpg/THUMB.jpg"]
    assert listed("photos/._a.jpg")[0] == ["._a.jpg"]


@pytest.mark.parametrize(
    ("pattern", "gone", "count"),
    [
        ("*.jpg", {"._real.jpg", "2024/raw/c.jpg", "a.jpg", "lost+found.jpg", "thumbs/h.jpg"}, 5),
        ("thumb?", {"thumbs/h.jpg"}, 1),
        ("thumbs/", {"thumbs/h.jpg"}, 1),
        ("a.jpg/", set(), 0),
        ("/a.jpg", {"a.jpg"}, 1),
        ("c.jpg", {"2024/raw/c.jpg"}, 1),
        ("/c.jpg", set(), 0),
        ("2024/*", {"2024/b.PNG", "2024/raw/c.jpg"}, 2),
        ("2024/**/c.jpg", {"2024/raw/c.jpg"}, 1),
        ("**/raw", {"2024/raw/c.jpg"}, 1),
        ("*.png", set(), 0),
    ],
)
def test_patterns_leave_out_what_they_match(photos, pattern, gone, count):
    kept, excluded = listed("photos", exclude=[pattern])
    assert set(KEPT) - set(kept) == gone
    assert excluded == BY_DEFAULT | ({pattern: count} if count else {})


def test_patterns_leave_out_named_files_too(photos):
    named = ("photos/a.jpg", "photos/2024/b.PNG", "photos/thumbs")
    assert listed(*named, exclude=["*.PNG", "th*"]) == (["a.jpg"], {"*.PNG": 1, "th*": 1})
    (photos.parent / "list").write_text("photos/a.jpg\nphotos/2024/raw/c.jpg\nphotos/@eaDir/z.jpg")
    assert listed("@list", exclude=["2024"]) == (["@eaDir/z.jpg", "a.jpg"], {"2024": 1})


def test_a_source_is_not_left_out_for_where_it_lies(photos):
    assert listed("photos/2024/raw", exclude=["2024"])[0] == ["2024/raw/c.jpg"]


def test_only_a_directory_with_a_manifest_is_results(photos):
    for name in ("out", "other"):
        (photos / name / RESULTS_DIR).mkdir(parents=True)
        (photos / name / RESULTS_DIR / "x.jpg").write_bytes(b"x")
    Manifest(identity={"model": "m"}).write(photos / "out")
    (photos / "other" / RESULTS_DIR / "manifest.json").write_text('{"files": []}')
    kept, excluded = listed("photos")
    assert kept == sorted([*KEPT, "other/_inspector/x.jpg"])
    assert excluded == BY_DEFAULT | {"_inspector/ of a scan's results": 1}


@pytest.mark.parametrize(
    "pattern", ["Br\u00fccke @ S\u00fcd/", "a b.jpg", "a*", "Br*", "**/a b.jpg"]
)
def test_patterns_leave_out_what_a_list_names_by_its_uri(photos, pattern):
    file = photos / "Br\u00fccke @ S\u00fcd" / "a b.jpg"
    file.parent.mkdir()
    file.write_bytes(b"x")
    pack(photos / "x.zip", [("Br\u00fccke @ S\u00fcd/a b.jpg", JPEG)] * 2, "stored.zip")
    named = [uri_of(str(file.resolve())), *(ref.uri for ref in Discovery([str(photos / "x.zip")]))]
    assert named[2].endswith(";2")
    (photos.parent / "list").write_text("\n".join(named))
    discovery = Discovery(["@list"], exclude=[pattern])
    assert list(discovery) == [] and discovery.excluded == {pattern: 3}
