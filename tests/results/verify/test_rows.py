"""What a row must be, and that no file has two."""

from __future__ import annotations

import pytest

from inspector.model.bundle import Thresholds
from inspector.model.scale import Scale
from inspector.photos.address import text_of
from inspector.results.schema import to_table
from inspector.results.verify.rows import fits, flaws_in
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
        ("file:///C:/p/a.tif#page=2", "C:\\p\\a.tif#page=2", True),
        ("file:///C:/p/x.zip!/caf%E9.jpg", "C:\\p\\x.zip!\\caf\\xe9.jpg", True),
        ("file://server/share/a.jpg", "\\\\server\\share\\a.jpg", True),
    ],
)
@pytest.mark.parametrize("windows", [False, True])
def test_which_path_can_be_a_uris(uri, path, expected, windows, monkeypatch):
    monkeypatch.setattr(text_of, "__kwdefaults__", {"windows": windows})
    assert fits(uri, path) is expected
    assert not expected or fits(uri, text_of(uri)), "as a table has it"


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


FOUND = {
    "x": 1, "y": 2, "width": 3, "height": 4, "p_crack": 0.5,
    "length_at_least": 1.0, "length_at_most": 2.0, "stage": "int8@dense",
}  # fmt: skip
DENSE = {
    "view": "dense", "windows": 40, "crack_windows": 10, "crack_fraction": 0.25,
    "regions": [FOUND], "width": 9, "height": 9, "verdict": "crack", "reason": "model",
    "p_crack": 0.8, "ood_score": 1.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({}, None),
        ({"regions": []}, None),
        ({"view": "sliced"}, "unknown view"),
        ({"windows": 0, "crack_windows": 0}, "windows is below 1"),
        ({"windows": None}, "ok without windows"),
        ({"crack_windows": 41}, "crack_windows is not in 0..windows"),
        ({"crack_windows": -1}, "crack_windows is not in 0..windows"),
        ({"crack_fraction": 0.26}, "crack_fraction is not"),
        ({"crack_fraction": None}, "at its own scale, without crack_fraction"),
        ({"regions": None}, "at its own scale, without regions"),
        ({"view": "whole"}, "judged whole, with regions"),
        ({"view": None}, "ok without view"),
        ({"status": "failed"}, "failed with view"),
        ({"regions": [FOUND, {**FOUND, "x": 7}]}, "not inside the photo"),
        ({"regions": [{**FOUND, "y": -1}]}, "not inside the photo"),
        ({"regions": [{**FOUND, "width": 0}]}, "not inside the photo"),
        ({"regions": [{**FOUND, "p_crack": 1.5}]}, "p_crack of a region"),
        ({"regions": [{**FOUND, "length_at_least": 3.0}]}, "length of a region"),
        ({"p_crack": 0.5, "verdict": "crack"}, "contradicts"),
        ({"p_crack": 0.1, "verdict": "clear"}, None),
        ({"p_crack": 0.1, "verdict": "review", "reason": "downscaled"}, "contradicts"),
    ],
)
def test_what_a_photo_at_its_own_scale_must_be(changes, what):
    tiles, own = (
        Thresholds(clear_below=0.9, crack_from=0.9),
        Thresholds(clear_below=0.3, crack_from=0.7),
    )
    values = {"uri": "file:///a.jpg", "path": "/a.jpg", "status": "ok", "stage": "x"}
    table = to_table([values | {"format": "JPEG"} | DENSE | changes], {})
    (batch,) = table.to_batches()
    said = [words for _, words, _ in flaws_in(batch, tiles, own, Scale(), peaks=False)]
    if what is None:
        assert said == []
    else:
        assert any(what in words for words in said), said
