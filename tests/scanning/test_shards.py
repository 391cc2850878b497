"""Shards have every photo once between them, and each speaks of its own photos only."""

from __future__ import annotations

import pyarrow.dataset as ds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from inspector.core.text import print_lines
from inspector.errors import OutputError, UsageError
from inspector.photos.selection import Shard
from inspector.photos.source import Discovery, count_images
from inspector.reporting.contents import state_of
from inspector.results.reader import Table
from inspector.results.verify import VerifyConfig, verify
from inspector.results.verify.findings import result_lines
from inspector.scanning import ScanConfig, preview, scan
from inspector.scanning.outcome import summary_lines
from tests.scanning.dying import quick_scan, table_of

COUNT = 3


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for k in range(40):
        place = folder / f"{k % 4}ä b"
        place.mkdir(exist_ok=True)
        (place / f"{k}.jpg").write_text("ok")
    (folder / "notes.txt").write_text("no photo")
    return folder


def uris(sources, shard=None):
    listing = Discovery([str(source) for source in sources], shard=shard)
    found = [ref.uri for ref in listing]
    return found, listing


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(1, 60),
    sources=st.lists(st.sampled_from(["", "0ä b", "1ä b", "2ä b/*.jpg"]), min_size=1, unique=True),
)
def test_shards_are_disjoint_and_complete_whatever_is_listed(photos, count, sources):
    given_sources = [photos / source for source in sources]
    everything, _ = uris(given_sources)
    shares = [uris(given_sources, Shard(number, count)) for number in range(count)]
    assert sorted(uri for found, _ in shares for uri in found) == sorted(everything)
    assert all(found == [u for u in everything if u in set(found)] for found, _ in shares), "order"
    if not any("*" in source for source in sources):  # what comes twice is left out after the share
        assert {len(f) + listing.elsewhere for f, listing in shares} == {len(everything)}


def test_a_photo_stays_in_its_shard(photos):
    """For ever: a table of another version continues it."""
    names = [f"file:///photos/{k}.jpg" for k in range(12)]
    numbers = [next(n for n in range(5) if Shard(n, 5).has(uri)) for uri in names]
    assert numbers == PINNED
    assert Shard(0, 1).has("file:///a.jpg")


PINNED = [1, 4, 2, 4, 0, 2, 2, 1, 1, 3, 3, 0]


@pytest.mark.parametrize(
    "text", ["", "1", "3/3", "-1/3", "0/0", "1/2/3", "a/b", "0 / 3", "\u0660/\u0663"]
)
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(UsageError, match="--shard"):
        ScanConfig(sources=("x",), shard=text)


def test_results_are_named_after_source_and_shard():
    config = ScanConfig(sources=("a/photos",), shard="1/3")
    assert str(config.out) == "photos-results-1-of-3"


def test_moved_photos_would_change_their_shard():
    with pytest.raises(UsageError, match="inspector merge"):
        ScanConfig(sources=("x",), shard="0/3", moved="a=b")


def test_a_shard_says_so_everywhere(tmp_path, tiny_bundle, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    for k in range(12):
        Image.new("RGB", (64, 64), (20 * k, 90, 90)).save(photos / f"{k}.png")
    common = {"sources": (str(photos),), "model": tiny_bundle.path, "precision": "fp32"}
    whole = scan(ScanConfig(out=tmp_path / "whole", **common))
    parts = [
        scan(ScanConfig(out=tmp_path / f"{k}", shard=f"{k}/{COUNT}", **common))
        for k in range(COUNT)
    ]
    assert sum(part.table.rows for part in parts) == whole.table.rows == 12
    assert {part.discovered + part.elsewhere for part in parts} == {12}
    columns = ["uri", "verdict", "p_crack", "content_hash"]
    rows = [ds.dataset(part.out).to_table(columns=columns).to_pylist() for part in parts]
    once = ds.dataset(whole.out).to_table(columns=columns).to_pylist()
    assert sorted(str(row) for share in rows for row in share) == sorted(map(str, once))

    out = tmp_path / "1"
    print_lines(summary_lines(parts[1]))
    assert f"1/3; photos of the other shards: {parts[1].elsewhere}" in capsys.readouterr().out
    proven = verify(VerifyConfig(out=out))
    assert (proven.damage, proven.shard) == ((), "1/3")
    assert any(line.startswith("shard ") and "1/3" in line for line in result_lines(proven))
    assert "shard 1/3 alone" in state_of(Table.open(out)).note
    assert state_of(Table.open(tmp_path / "whole")).shard is None
    mine = ScanConfig(out=out, shard="1/3", **common)
    assert preview(mine).already_done == scan(mine).already_done == parts[1].discovered
    for other in ("0/3", "1/2", None):
        with pytest.raises(OutputError, match=f"shard 1/3 there, {other or 'none'} now"):
            scan(ScanConfig(out=out, shard=other, **common))
    with pytest.raises(OutputError, match="shard none there, 1/3 now"):
        scan(ScanConfig(out=tmp_path / "whole", shard="1/3", **common))


def test_gone_photos_are_dropped_by_their_own_shard(photos, tmp_path):
    copy = tmp_path / "photos"
    copy.mkdir()
    for k in range(40):
        (copy / f"{k}.jpg").write_text("ok")
    for k in range(COUNT):
        quick_scan(copy, tmp_path / f"{k}", shard=f"{k}/{COUNT}")
    before = [table_of(tmp_path / f"{k}") for k in range(COUNT)]
    gone = [sorted(table)[0] for table in before]
    for name in gone:
        (copy / name).unlink()
    for k in range(COUNT):
        tally, results, _ = quick_scan(copy, tmp_path / f"{k}", shard=f"{k}/{COUNT}", prune=True)
        assert (tally.vanished, results.pruned) == (1, 1)
        assert set(table_of(tmp_path / f"{k}")) == set(before[k]) - {gone[k]}


def test_a_source_whose_photos_are_in_other_shards_is_no_missing_drive(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "only.jpg").write_text("ok")
    notes = [quick_scan(photos, tmp_path / f"{k}", shard=f"{k}/2")[2].discovery.notes
             for k in range(2)]  # fmt: skip
    assert notes == [[], []]
    (photos / "only.jpg").unlink()
    _, _, work = quick_scan(photos, tmp_path / "0", shard="0/2")
    assert "no photo was found" in work.discovery.notes[0]


def test_the_bar_has_about_the_share(photos):
    assert count_images(Discovery([str(photos)], shard=Shard(0, 8))) == 5
