"""A file's row depends on the file alone: not on its neighbours, its place, its name, the batch it
was in, or who decoded it."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from bench.faults.bad_files import make_catalogue
from inspector.scanning import ScanConfig, scan
from tests.rows import rows_in
from tests.scanning.walls import wall

SAMPLES = Path(__file__).parents[2] / "samples"
OWN = ("uri", "path", "mtime")
"""Columns that tell of the name and the copy, not of the content."""
KERNELS_TIME = ("/failing.jpg", "mtime")
"""The time of a file of /proc is when the kernel last had to think of it anew."""


def rows_of(out, sources, model=None, **options):
    """By uri."""
    scan(ScanConfig(sources=tuple(map(str, sources)), out=out, model=model, **options))
    return {row["uri"]: row for row in rows_in(out)}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Every kind of good and bad file there is."""
    root = tmp_path_factory.mktemp("isolation") / "photos"
    make_catalogue(root)
    return root


@pytest.fixture(scope="module")
def judge(tiny_bundle, tmp_path_factory):
    """A scan by the tiny model in fp32, into a directory of its own."""

    def run(*sources, **options):
        out = tmp_path_factory.mktemp("out")
        plain = {"model": tiny_bundle.path, "precision": "fp32", "workers": 0}
        return rows_of(out, sources, **plain | options)

    return run


@pytest.fixture(scope="module")
def expected(photos, judge):
    rows = judge(photos, batch_size=5)
    assert {row["status"] for row in rows.values()} == {"ok", "failed"}
    scores = [row["p_crack"] for row in rows.values() if row["status"] == "ok"]
    assert len(scores) > 20 and len(set(scores)) > 10
    return rows


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (64, 2)])
def test_neither_order_nor_batch_nor_workers_matter(photos, judge, expected, batch_size, workers):
    sources = sorted(photos.iterdir(), reverse=True)
    found = judge(*sources, batch_size=batch_size, workers=workers)
    assert list(found) != list(expected)
    assert found.keys() == expected.keys()
    assert differences(found, expected) == {}


def differences(found, expected):
    """(path, column) to what was found and what was expected, where they differ."""
    return {
        (uri.rsplit("/", 1)[-1], column): (found[uri][column], value)
        for uri, row in expected.items()
        for column, value in row.items()
        if found[uri][column] != value and (uri[-12:], column) != KERNELS_TIME
    }


def test_neither_names_nor_neighbours_matter(photos, judge, expected, tmp_path):
    """Every plain file twice, under names that mix the good and the bad anew."""
    files = [path for path in photos.rglob("*") if path.is_file() and not path.is_symlink()]
    random.Random(1).shuffle(files)
    originals = {}
    for number, path in enumerate(files * 2):
        copy = tmp_path / f"{number:03}.jpg"
        shutil.copyfile(path, copy)
        originals[copy.as_uri()] = path.as_uri()
    found = judge(tmp_path, batch_size=7)
    assert len(found) == len(files) * 2
    compared = 0
    for uri, row in found.items():
        if originals[uri] in expected:
            assert content_of(row) == content_of(expected[originals[uri]])
            compared += 1
    assert compared > 50


def content_of(row):
    return {name: value for name, value in row.items() if name not in OWN}


def test_alone_as_among_others(photos, judge, expected):
    alone = [photos / "whole" / name for name in ("rgb.jpg", "cmyk.jpg", "rgb16.png")]
    for path in (*alone, photos / "broken" / "half.jpg"):
        assert judge(path) == {path.as_uri(): expected[path.as_uri()]}


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_shipped_model_too(tmp_path, precision):
    photos = sorted(SAMPLES.glob("*_plain_*.jpg")) + sorted(SAMPLES.glob("crack_s*"))
    wall(3).save(tmp_path / "small.png")
    options = {"precision": precision, "workers": 0, "device": "cpu"}
    one = rows_of(tmp_path / "one", photos, batch_size=1, **options)
    many = rows_of(
        tmp_path / "many", [tmp_path / "small.png", *photos[::-1]], batch_size=8, **options
    )
    assert {uri: many[uri] for uri in one} == one
    assert {row["verdict"] for row in one.values()} == {"clear", "crack"}
