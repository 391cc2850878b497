"""What a row must be, and that no file has two."""

from __future__ import annotations

import pytest

from inspector.results.verify.rows import fits
from inspector.results.verify.table import UriCensus


@pytest.mark.parametrize(
    ("uri", "path", "expected"),
    [
        ("file:///p/a.jpg", "/p/a.jpg", True),
        ("file:///a.jpg", "/a.jpg", True),
        ("file:///p/a.jpg", "a.jpg", False),
        ("file:///p/a.jpg", "/p/b.jpg", False),
        ("file:///p/a.jpg", "/q/a.jpg", False),
        ("file:///p/xa.jpg", "a.jpg", False),
        ("file:///p/q/a.jpg", "/q/a.jpg", False),
        ("file:///p/latin%E9%0A.png", "/p/latin\\xe9\n.png", True),
        ("file:///p/m%C3%BC.png", "/p/mü.png", True),
        ("file:///C:/p/a.jpg", "C:\\p\\a.jpg", True),
        ("file:///C:/p/a.jpg", "C:\\p\\b.jpg", False),
        ("file://server/share/a.jpg", "\\\\server\\share\\a.jpg", True),
    ],
)
def test_which_path_can_be_a_uris(uri, path, expected):
    assert fits(uri, path) is expected


class Twin(str):
    """A uri whose hash is that of any other of its kind."""

    __slots__ = ()

    def __hash__(self):
        return 7


def test_equal_hashes_alone_are_no_doubles():
    parts = {"a": [Twin("x"), "z"], "b": [Twin("y"), "z"]}
    census = UriCensus()
    for part, uris in parts.items():
        census.add(part, uris[:1])
        census.add(part, uris[1:])
    assert list(census.doubled(parts.__getitem__)) == [("z", "a", "b")]
    assert list(UriCensus().doubled(parts.__getitem__)) == []
