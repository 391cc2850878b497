"""The groups CSV as Excel, `find`, Windows and a Mac write it, and what does not match."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.errors import DataError
from inspector.labelled.folder import find_labelled
from inspector.labelled.groups import read_table, with_groups

UMLAUT = "Brücke/é.jpg"


@pytest.fixture
def data(tmp_path) -> Path:
    root = tmp_path / "data"
    for name in ("Positive/a.jpg", "Positive/b, c.jpg", f"Positive/{UMLAUT}", "Negative/d.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def groups_of(data: Path, table: Path) -> dict[str, str]:
    found = find_labelled(data, groups_csv=table)
    return {os.path.relpath(i.path, data): i.group for i in found if i.group != i.path}


WRITTEN = {
    "plain": "file,group\nPositive/a.jpg,w\nPositive/Brücke/é.jpg,w\n",
    "mark": "\ufefffile,group\nPositive/a.jpg,w\nPositive/Brücke/é.jpg,w\n",
    "excel": "\ufefffile;group\r\nPositive/a.jpg;w\r\nPositive/Brücke/é.jpg;w\r\n;\r\n",
    "sep": "sep=;\r\nfile;group\r\nPositive/a.jpg;w\r\nPositive/Brücke/é.jpg;w\r\n",
    "tabs": "file\tgroup\nPositive/a.jpg\tw\nPositive/Brücke/é.jpg\tw\n",
    "case": "Group , File\nw, Positive/a.jpg\n w,Positive/Brücke/é.jpg\n",
    "find": "file,group\n./Positive/a.jpg,w\n./Positive/Brücke/é.jpg,w\n",
    "windows": "file,group\r\nPositive\\a.jpg,w\r\n.\\Positive\\Brücke\\é.jpg,w\r\n",
    "quotes": '"file","group"\n"Positive/a.jpg","w"\n"Positive/Brücke/é.jpg","w"\n',
    "old mac": "file,group\rPositive/a.jpg,w\rPositive/Brücke/é.jpg,w\r",
    "mac": "file,group\nPositive/a.jpg,w\n"
    + unicodedata.normalize("NFD", f"Positive/{UMLAUT},w\n"),
    "more columns": "camera,file,width,group\nx,Positive/a.jpg,1,w\n,Positive/Brücke/é.jpg,,w,,\n",
    "short rows": "group,file,width\nw,Positive/a.jpg\nw,Positive/Brücke/é.jpg\n",
    "above": "file,group\ndata/Positive/a.jpg,w\ndata/Positive/Brücke/é.jpg,w\n",
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("coding", ["utf-8", "utf-16", "cp1252"])
def test_groups_csv_is_read_however_it_is_written(data, tmp_path, text, coding):
    table = tmp_path / "groups.csv"
    if coding != "utf-8":
        text = unicodedata.normalize("NFC", text.removeprefix("\ufeff"))
    table.write_bytes(text.encode(coding))
    assert groups_of(data, table) == {"Positive/a.jpg": "w", f"Positive/{UMLAUT}": "w"}


@pytest.mark.parametrize(
    "group", [b"Br\xfccke", "Brücke".encode(), unicodedata.normalize("NFD", "Brücke").encode()]
)
def test_group_names_are_normalised_whatever_their_encoding(data, tmp_path, group):
    table = tmp_path / "groups.csv"
    table.write_bytes(b"file,group\nPositive/a.jpg," + group + b"\n")
    assert groups_of(data, table) == {"Positive/a.jpg": "Brücke"}


def test_decomposed_file_names_match_composed_ones(data, tmp_path):
    """The names on disk may be the decomposed ones, too."""
    decomposed = unicodedata.normalize("NFD", UMLAUT)
    (data / "Positive" / decomposed).parent.mkdir()
    os.rename(data / "Positive" / UMLAUT, data / "Positive" / decomposed)
    table = tmp_path / "groups.csv"
    table.write_text(f"file,group\nPositive/{UMLAUT},w\n", encoding="utf-8")
    assert groups_of(data, table) == {f"Positive/{decomposed}": "w"}


def test_absolute_paths_links_and_the_working_directory(data, tmp_path, monkeypatch):
    os.symlink(data, tmp_path / "linked")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    table = elsewhere / "groups.csv"
    monkeypatch.chdir(tmp_path)
    for where in (f"{data}", "data", f"{tmp_path}/linked", "linked", "./data/../data"):
        table.write_text(f"file,group\n{where}/Positive/a.jpg,w\n", encoding="utf-8")
        for root in (data, Path("data"), Path("linked")):
            found = find_labelled(root, groups_csv=table)
            assert [i.group for i in found if i.path.endswith("a.jpg")] == ["w"], (where, root)


def test_file_names_that_are_not_text_match_by_their_bytes(data, tmp_path):
    raw = os.fsencode(data / "Positive") + b"/\xff.jpg"
    with open(raw, "wb") as file:
        file.write(b"x")
    table = tmp_path / "groups.csv"
    table.write_bytes(b"file,group\nPositive/\xff.jpg,w\n")
    assert set(groups_of(data, table).values()) == {"w"}


def test_with_groups_counts_and_names_what_does_not_match(data, tmp_path):
    table = tmp_path / "groups.csv"
    rows = ["Positive/a.jpg,w", "Positive/gone.jpg,w", "Negative/d.jpg,"]
    table.write_text("\n".join(["file,group", *rows]), encoding="utf-8")
    images = find_labelled(data)
    found, remarks = with_groups(images, table, [data])
    assert [image.group == image.path for image in found].count(True) == 3
    assert "no group to 3 of 4 images" in remarks[0] and "d.jpg" in remarks[0]
    assert "1 of 3 rows" in remarks[1] and "Positive/gone.jpg" in remarks[1]
    table.write_text("file,group\nelse.jpg,1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"names none of the images.*else\.jpg"):
        with_groups(images, table, [data])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is empty"),
        ("a,b\n1,2\n", r"no column `file` .its first line has: a, b.*file,group"),
        ("Positive/a.jpg,w\n", r"its first line has: positive/a\.jpg, w"),
        ("file,kind\nPositive/a.jpg,w\n", "no column `group`"),
        ("file,group\nPositive/b, c.jpg,w\n", "3 cells in line 2 and 2 in the first.*in quotes"),
        ("sep=,\ngroup,file\nw,Positive/a.jpg\nw\n", "names no file in line 4"),
        ("file,group\nPositive/a.jpg,w\n./Positive/a.jpg,v\n", r"'w' in line 2 and 'v' in line 3"),
        ('file,group\n"Positive/a.jpg,w\n', "cannot read"),
        ("file,group\nPositive/a.jpg,\n", "nothing in its column `group`"),
    ],
)
def test_wrong_csv_is_refused_with_reason_and_line(data, tmp_path, text, words):
    table = tmp_path / "groups.csv"
    table.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=words):
        find_labelled(data, groups_csv=table)


def test_missing_csv_or_folder_is_refused(data, tmp_path):
    for table in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(DataError, match="cannot read"):
            find_labelled(data, groups_csv=table)


@settings(max_examples=200)
@given(
    st.binary(max_size=200), st.sampled_from([b"", b"file,group\n", b"\xff\xfe", b"file;group\r"])
)
def test_read_table_of_any_bytes_returns_or_raises_data_error(tmp_path_factory, content, head):
    table = tmp_path_factory.getbasetemp() / "any.csv"
    table.write_bytes(head + content)
    try:
        found = read_table(table)
    except DataError:
        return
    assert "file" in found.columns and all(row.file for row in found.rows)
