"""Photos named by lists and patterns: each is covered once, and none is dropped in silence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inspector.errors import SourceError
from inspector.photos.address import uri_of
from inspector.photos.name_lists import names_in
from inspector.photos.opened import DecodeLimits
from inspector.photos.reading import read
from inspector.photos.source import Discovery, count_images
from inspector.types import Failure, FailureCode


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "sub/b.jpg", "sub/.c.jpg", "sub/deep/d.png", "sub/notes.txt", ".h/e.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def names(*sources, **options):
    discovery = Discovery(sources, **options)
    found = [ref.path.removeprefix("photos/") for ref in discovery]
    assert len(found) == discovery.discovered
    return found


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"a\r\nb c\r\n\r\n", ["a", "b c"]),
        (b"\xef\xbb\xbfa\n\n b", ["a", " b"]),
        (b"a\nb\0c\n\0d\0", ["a\nb", "c\n", "d"]),
        (b"caf\xe9\r", ["caf\udce9"]),
        (b"#1.jpg\n@x\n*.jpg", ["#1.jpg", "@x", "*.jpg"]),
        (b"", []),
        (b"\n" * 200_000 + b"x" * 4000, ["x" * 4000]),
    ],
)
def test_what_a_list_says(place, content, expected):
    Path("list").write_bytes(content)
    assert list(names_in("@list")) == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a.jpg\n".encode("utf-16"), "UTF-16"),
        (b"\xff\xd8\xff\xe0\0" * 9, "is a photo"),
        (b"x" * 200_000, "no list"),
        (b"a\n" * 40_000 + b"b\0c", "zero byte"),
    ],
)
def test_what_is_no_list(place, content, words):
    Path("list").write_bytes(content)
    with pytest.raises(SourceError, match=words):
        list(Discovery(["@list"]))


def test_a_list_without_names_says_so(place):
    Path("list").write_bytes(b"\n")
    discovery = Discovery(["@list"])
    assert list(discovery) == [] and discovery.notes == ["the list @list names nothing"]


def test_a_list_that_is_not_there(place):
    with pytest.raises(SourceError, match=r"@list: No such file .*\./@list"):
        Discovery(["@list"])
    Path("@list").write_bytes(b"x")
    assert names("./@list") == ["./@list"]


def test_listed_photos_are_covered_once_and_missing_ones_are_listed_too(place):
    Path("list").write_text(
        "photos/a.jpg\nphotos/gone.jpg\n./photos/a.jpg\nphotos/sub\nphotos/sub/b.jpg\n"
        f"{place}/photos/sub/notes.txt\nphotos/sub/../gone.jpg\n"
    )
    discovery = Discovery(["@list", "photos/sub/deep"])
    refs = list(discovery)
    assert [os.path.relpath(ref.path, "photos") for ref in refs] == [
        "a.jpg", "gone.jpg", "sub/.c.jpg", "sub/b.jpg", "sub/notes.txt", "sub/deep/d.png",
    ]  # fmt: skip
    assert refs[1].uri == uri_of(f"{place}/photos/gone.jpg") and refs[1].size is None
    assert discovery.repeated == 3
    assert count_images(Discovery(["@list"])) == 7


def test_photos_and_directories_may_be_named_by_their_uris(place):
    Path("list").write_text(f"{uri_of(f'{place}/photos/a.jpg')}\nphotos/a.jpg\n")
    assert names("@list") == [f"{place}/photos/a.jpg"]
    by_uri = [ref.uri for ref in Discovery([uri_of(f"{place}/photos/sub")])]
    assert by_uri == [ref.uri for ref in Discovery(["photos/sub"])] != []
    Path("list").write_text("ftp://bucket/a.jpg\n")
    (ref,) = Discovery(["@list"])
    outcome = read(ref, DecodeLimits())
    assert isinstance(outcome, Failure) and outcome.code == FailureCode.VANISHED
    with pytest.raises(SourceError, match="ftp://bucket"):
        Discovery(["ftp://bucket"])


@pytest.mark.parametrize(
    "name",
    ["file://server/share/a.jpg", "file:///a%00.jpg", "file://", "file:///x.zip!", "file://s/x.zip",
     "file://s/x.zip!/a.jpg", "file:///gone.tif#page=3", "file:///x.zip!1/a#b.jpg"],
)  # fmt: skip
def test_a_uri_that_is_no_photo_of_this_machine_has_a_row(place, name):
    Path("list").write_text(f"{name}\nphotos/a.jpg\n")
    ref, other = Discovery(["@list"])
    assert other.path == "photos/a.jpg" and ref.uri.isascii()
    outcome = read(ref, DecodeLimits())
    assert isinstance(outcome, Failure) and outcome.code == FailureCode.VANISHED
    assert not Discovery([str(place)]).sources[0].covers(ref.uri)
    with pytest.raises(SourceError, match="cannot scan"):
        Discovery([name])


def test_a_list_is_read_where_the_system_has_no_pread(place, monkeypatch):
    Path("list").write_text("photos/a.jpg\nphotos/sub/b.jpg\n")
    monkeypatch.delattr(os, "pread")
    assert names("@list") == ["a.jpg", "sub/b.jpg"]


def test_the_standard_input_may_be_a_list_and_is_read_by_all_who_need_it(place):
    program = (
        "from inspector.photos.source import *\n"
        "print(count_images(Discovery(['-'])), [ref.path for ref in Discovery(['-', '-'])])"
    )
    listing = b"photos/a.jpg\0photos/new\nline.jpg\0"
    done = subprocess.run(
        [sys.executable, "-c", program], input=listing, capture_output=True, check=True
    )
    assert done.stdout.decode() == "2 ['photos/a.jpg', 'photos/new\\nline.jpg']\n"


def test_a_list_may_come_through_a_pipe(place):
    program = "from inspector.photos.source import *; print(len([*Discovery(['@/dev/fd/0'])]))"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, input=b"photos/a.jpg\n", capture_output=True, check=True)
    assert done.stdout == b"1\n"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("photos/*.jpg", ["a.jpg"]),
        ("photos/**/*.jpg", ["a.jpg", "sub/b.jpg"]),
        ("photos/sub/.*.jpg", ["sub/.c.jpg"]),
        ("photos/s?b", ["sub/.c.jpg", "sub/b.jpg", "sub/deep/d.png"]),
        ("photos/*/[!b]*/*", ["sub/deep/d.png"]),
        ("photos/**", ["a.jpg", "sub/.c.jpg", "sub/b.jpg", "sub/deep/d.png"]),
        ("*/a.jpg", ["./photos/a.jpg"]),
        ("photos/**/deep/**/*.png", ["sub/deep/d.png"]),
        ("photos/*/", ["sub/.c.jpg", "sub/b.jpg", "sub/deep/d.png"]),
    ],
)
def test_patterns_mean_what_they_mean_in_a_shell(place, pattern, expected):
    assert names(pattern) == expected


def test_a_name_with_brackets_is_that_name_first(place):
    Path("site [x]/y").mkdir(parents=True)
    Path("site [x]/y/a.jpg").write_bytes(b"x")
    assert names("site [x]") == ["site [x]/y/a.jpg"]
    assert names("site [x]/*") == ["site [x]/y/a.jpg"]
    for wrong in ("photos/*.jgp", "photos/[x]", "site [y]"):
        with pytest.raises(SourceError, match="no file matches"):
            Discovery([wrong])
    with pytest.raises(SourceError, match="No such file"):
        Discovery(["nowhere/*.jpg"])


def test_patterns_that_overlap_and_links_cover_each_photo_once(place):
    Path("photos/zub").symlink_to("sub")
    discovery = Discovery(["photos/*/*.jpg", "photos/sub/b*", "photos/*.jpg"])
    assert [os.path.relpath(ref.path, "photos") for ref in discovery] == ["sub/b.jpg", "a.jpg"]
    assert discovery.repeated == 2


def test_a_pattern_of_the_home_directory(place, monkeypatch):
    monkeypatch.setenv("HOME", str(place))
    assert names("~/photos/*.jpg") == [f"{place}/photos/a.jpg"]
    Path("list").write_text("photos/a.jpg")
    assert names("@~/list") == ["a.jpg"]


def test_a_long_list_takes_little_memory(place):
    """Names are met in no order; each is there twice."""
    import tracemalloc

    count = 5_000
    numbers = sorted(range(count), key=lambda n: n * 7919 % count) * 2
    Path("list").write_text("".join(f"{'d' * 60}/{n % 500}/{n}.jpg\n" for n in numbers))
    discovery = Discovery(["@list"])
    listing = iter(discovery)
    next(listing)
    tracemalloc.start()
    assert sum(1 for _ in listing) == count - 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert discovery.repeated == count
    assert peak < 1_000_000


@pytest.mark.parametrize("kind", ["string", "large_string", "binary", "dictionary"])
@pytest.mark.parametrize("column", ["uri", "path"])
def test_a_column_of_a_parquet_file_is_a_list(place, kind, column):
    wanted = ["photos/a.jpg", None, uri_of(f"{place}/photos/sub/b.jpg"), "", "photos/a.jpg"]
    values = pa.array(wanted, pa.string())
    values = values.dictionary_encode() if kind == "dictionary" else values.cast(kind)
    others = {"path": pa.nulls(5)} if column == "uri" else {"label": pa.array(range(5))}
    pq.write_table(pa.table({**others, column: values}), "list.parquet", row_group_size=2)
    discovery = Discovery(["@list.parquet"])
    assert [os.path.relpath(ref.path) for ref in discovery] == ["photos/a.jpg", "photos/sub/b.jpg"]
    assert (discovery.repeated, count_images(Discovery(["@list.parquet"]))) == (1, 3)


def test_a_parquet_file_that_is_no_list(place):
    for table, words in (
        ({"name": ["a.jpg"]}, "neither a column uri nor one path"),
        ({"uri": [1]}, "holds no text"),
    ):
        pq.write_table(pa.table(table), "list")
        with pytest.raises(SourceError, match=words):
            list(Discovery(["@list"]))
    Path("list").write_bytes(b"PAR1 and no more")
    with pytest.raises(SourceError, match="cannot read the list @list"):
        list(Discovery(["@list"]))


def test_a_number_of_five_thousand_digits_is_a_name_like_others(place):
    address = f"file://{place}/a.zip!/b;{'1' * 5000}"
    Path("list").write_text(f"{address}\nphotos/a.jpg")
    missing, there = Discovery(["@list"])
    assert missing.uri == address.replace(";", "%3B") and there.size is not None
    assert read(missing, DecodeLimits()).code == "vanished"
