"""What addresses and servers may say: a password is nowhere to be read, and a page of words from a
server becomes one line."""

from __future__ import annotations

import json

import pyarrow.dataset as ds
import pytest
from typer.testing import CliRunner

from inspector.cli import app
from inspector.core.text import printable
from inspector.errors import SourceError
from inspector.photos import stores
from inspector.photos.source import Discovery

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://me:{}@nas/photo.jpg", "https://***@nas/photo.jpg"),
        ("https://me:{}@x@nas/@a/ü.jpg#page=2", "https://***@nas/@a/%C3%BC.jpg%23page=2"),
        ("HTTPS:///{}@nas/photo.jpg", "HTTPS://***@nas/photo.jpg"),
        ("https://me:{}@näs/photo.jpg", "https://***@n%C3%A4s/photo.jpg"),
        ("s3://me:{}@bucket/photo.jpg", "s3://***@bucket/photo.jpg"),
        ("https://me:{}/more@nas/photo.jpg", "https://***@nas/photo.jpg"),
        ("https://me:{}?#@nas/photo.jpg", "https://***@nas/photo.jpg"),
    ],
)
def test_a_password_in_an_address_is_nowhere(tiny_bundle, tmp_path, address, shown):
    address = address.format(SECRET)
    (tmp_path / "list.txt").write_text(address, encoding="utf-8")
    out = tmp_path / "out"
    said = ""
    for words in (
        ["scan", f"@{tmp_path}/list.txt", "-o", out, "--model", tiny_bundle.path, "-j", "0",
         "--jsonl", tmp_path / "lines"],
        ["report", out, "--html", tmp_path / "page.html", "--csv", tmp_path / "list.csv"],
        ["table", out],
    ):  # fmt: skip
        said += CliRunner().invoke(app, list(map(str, words)), env={"COLUMNS": "100"}).output
    (row,) = ds.dataset(out / "table").to_table().to_pylist()
    assert (row["uri"], row["verdict"], row["failure_code"]) == (shown, None, "vanished")
    assert any(why in row["detail"] for why in ("password", "names no", "port is no number"))
    assert json.loads((tmp_path / "lines").read_text())["uri"] == shown
    written = [file for file in tmp_path.rglob("*") if file.is_file() and file.name != "list.txt"]
    assert {"page.html", "list.csv", "lines"} <= {file.name for file in written}
    for file in written:
        assert SECRET.encode() not in file.read_bytes(), file
    assert SECRET not in said
    with pytest.raises(SourceError) as raised:
        Discovery([address])
    assert "***@" in str(raised.value) and SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "<Message>{}</Message>",
        "status code: 500 {}",
        "{}",
        "- HTTP error: {}\n",
        "token request {}",
    ],
)
def test_what_a_server_says_is_one_short_line(text):
    words = "Bad \x1b[2J\x07\u202eword\r " * 1000
    with pytest.raises(OSError) as raised, stores.store_errors("https"):
        raise ValueError(text.format(words))
    said = raised.value.strerror or ""
    assert len(said) < 540 and said == printable(said)
    assert "Bad" in said
