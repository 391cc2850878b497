"""Photos in a bucket and on a web server, scanned through a store on this machine that is slow,
refuses, cuts and changes things as it is told."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from io import BytesIO

import numpy as np
import pyarrow.dataset as ds
import pytest
import tifffile

from bench.faults.store import Fault, ObjectServer, Stored
from inspector.errors import SourceError
from inspector.labelled.reviewed import read_reviewed
from inspector.photos import object_file, objects, store_root, stores
from inspector.photos.decode import decode
from inspector.photos.object_file import ObjectFile, canonical, facts_of, is_far
from inspector.photos.objects import OBJECTS
from inspector.photos.pictures import region, screen
from inspector.photos.source import Discovery, is_gone
from inspector.reporting.shots import take_shots
from inspector.results.labels import Decision, Label, open_labels
from inspector.results.verify import Remark, VerifyConfig, verify
from inspector.scanning import ScanConfig, scan
from inspector.types import FileFacts, ImageRef
from inspector.workers.process import Helpers
from tests.photos.files import SPEC, encoded
from tests.rows import rows_in
from tests.scanning.walls import wall

pytest.importorskip("obstore", reason="obstore is not installed: no bucket was read")

ODD = "prüf 1/wäll #1%20!.png"
ODD_URI = "s3://photos/pr%C3%BCf%201/w%C3%A4ll%20%231%2520%21.png"


@pytest.fixture(autouse=True)
def nobody(tmp_path, monkeypatch):
    """Nobody's credentials and settings."""
    for name in (
        "AWS_PROFILE",
        "AWS_ACCESS_KEY_ID",
        "AWS_ENDPOINT_URL",
        "HTTP_PROXY",
        "http_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    stores.open_store.cache_clear()


@pytest.fixture
def server(monkeypatch):
    with ObjectServer() as opened:
        for name, value in opened.environment.items():
            monkeypatch.setenv(name, value)
        yield opened
    stores.open_store.cache_clear()


def png(seed: int) -> bytes:
    return encoded(wall(seed), "PNG")


def scanned(source, out, tiny_bundle, **options):
    sources = (source,) if isinstance(source, str) else tuple(source)
    config = {"workers": 0, "precision": "fp32", "model": tiny_bundle.path} | options
    summary = scan(ScanConfig(sources=sources, out=out, **config))
    rows = rows_in(out)
    by_uri = {row["uri"]: row for row in rows}
    assert len(by_uri) == len(rows)
    return summary, by_uri


def listed(*sources, **options):
    found = Discovery([str(source) for source in sources], **options)
    return [ref.uri for ref in found], found


@pytest.mark.parametrize("workers", [0, 1])
def test_objects_are_scanned_as_files_are(server, workers, tiny_bundle, tmp_path):
    server.page = 2
    for place, key in enumerate([ODD, "prüf 1/a/b.png", "prüf 1/a-b.png", "prüf 1/z.jpg"]):
        server.objects[key] = Stored(png(place))
        (tmp_path / "near").mkdir(exist_ok=True)
        (tmp_path / "near" / f"{place}.png").write_bytes(png(place))
    server.objects["prüf 1/broken.jpg"] = Stored(b"no image")
    server.objects["prüf 1/empty.jpg"] = Stored(b"")
    for key in ("prüf 1/", "prüf 1/notes.txt", "prüf 1/._z.jpg", "prüf 1/@eaDir/z.jpg", "prüf.jpg"):
        server.objects[key] = Stored(b"else")
    summary, rows = scanned("s3://photos/prüf 1", tmp_path / "out", tiny_bundle, workers=workers)
    assert summary.ignored_by_suffix == {".txt": 1}
    assert summary.excluded == {"._*": 1, "@eaDir/": 1}
    _, near = scanned(str(tmp_path / "near"), tmp_path / "o", tiny_bundle)
    judged = {row["content_hash"]: row["p_crack"] for row in rows.values() if row["verdict"]}
    assert judged == {row["content_hash"]: row["p_crack"] for row in near.values()}
    assert {row["failure_code"] for row in rows.values()} == {None, "not_an_image", "empty"}
    row = rows[ODD_URI]
    assert (row["path"], row["width"]) == (f"s3://photos/{ODD}", 90)
    assert row["mtime"].strftime("%s") != "0" and row["size_bytes"] == len(png(0))
    assert len(rows) == 6


def test_every_fault_is_a_row(server, tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setitem(stores.CLIENT, "read_timeout", "1s")
    monkeypatch.setattr(stores, "RETRIES", 1)
    faults = {fault.name.lower(): fault for fault in Fault}
    for place, (name, fault) in enumerate(faults.items()):
        server.objects[f"{name}.png"] = Stored(png(place), fault=fault, then=png(20))
    server.objects["gone.png"] = Stored(png(9))
    server.objects["other.png"] = Stored(png(10))
    config = ScanConfig(
        sources=("s3://photos",), out=tmp_path / "out", model=tiny_bundle.path, workers=0,
        precision="fp32",
    )  # fmt: skip
    listing = Discovery.__iter__

    def and_then(self):
        yield from listing(self)
        del server.objects["gone.png"]
        server.objects["other.png"] = Stored(png(11) + b"\0", changed=1_790_000_777)

    monkeypatch.setattr(Discovery, "__iter__", and_then)
    scan(config)
    rows = ds.dataset(tmp_path / "out" / "table").to_table().to_pylist()
    codes = {row["uri"].removeprefix("s3://photos/")[:-4]: row["failure_code"] for row in rows}
    assert len(rows) == len(codes) == len(faults) + 2
    assert codes == {
        "forbidden": "permission", "broken": "io_error", "shaky": None, "busy": "io_error",
        "cut": "io_error", "dropped": None, "torn": "io_error", "short": "truncated",
        "lost": "vanished", "silent": "io_error", "gone": "vanished", "other": None,
    }  # fmt: skip
    details = {row["failure_code"]: row["detail"] for row in rows}
    assert "AccessDenied" in details["permission"]
    changed = next(row for row in rows if row["uri"].endswith("other.png"))
    assert changed["size_bytes"] == len(png(11)) + 1
    assert changed["mtime"].second == time.gmtime(1_790_000_777).tm_sec


def test_objects_are_followed_through_changes(server, tiny_bundle, tmp_path):
    for place in range(3):
        server.objects[f"{place}.png"] = Stored(png(place))
    out = tmp_path / "out"
    scanned("s3://photos/", out, tiny_bundle)
    server.asked.clear()
    assert scanned("s3://photos", out, tiny_bundle)[0].already_done == 3
    assert set(server.asked) == {"LIST"}
    server.objects["1.png"].version += 1  # of the same size, in the same second
    del server.objects["2.png"]
    notes = verify(VerifyConfig(out=out, photos=True)).notes
    assert {(note.code, note.where) for note in notes} == {
        (Remark.PHOTO_CHANGED, "s3://photos/1.png"),
        (Remark.PHOTO_GONE, "s3://photos/2.png"),
    }
    summary, rows = scanned("s3://photos", out, tiny_bundle, prune=True)
    assert (summary.already_done, summary.changed, summary.vanished) == (1, 1, 1)
    assert sorted(rows) == ["s3://photos/0.png", "s3://photos/1.png"]
    result = verify(VerifyConfig(out=out, photos=True))
    assert not result.damage and not result.notes


def test_objects_are_shown_reported_and_learned_from(server, tiny_bundle, tmp_path):
    server.objects[ODD] = Stored(png(0))
    out = tmp_path / "out"
    _, rows = scanned("s3://photos", out, tiny_bundle)
    (row,) = rows.values()
    (shot,) = take_shots([row], [False], None, lambda *_: None)
    assert shot.whole.startswith("data:image/jpeg")
    with closing(Helpers(screen, 60)) as screens, closing(Helpers(region, 60)) as details:
        assert screens.ask(ODD_URI).content_hash == row["content_hash"]
        assert details.ask(ODD_URI, (0, 0, 1, 1), 50).width == 90
    with open_labels(out, "ann") as store:
        about = {name: row[name] for name in ("uri", "content_hash", "size_bytes", "mtime")}
        store.add(Decision(label=Label.CRACK, verdict=None, p_crack=None, model=None, **about))
    (image,) = read_reviewed([out]).images
    assert decode(ImageRef.of(image.path), SPEC).facts.content_hash == row["content_hash"]


def test_what_is_named(server, tmp_path):
    below_a = ["a/1.png", "a/2.jpg", "a/b/3.png"]
    for key in (*below_a, "ab/4.png", "a[1].png", "dup.png", "dup.png/5.png"):
        server.objects[key] = Stored(png(1))
    below = "s3://photos"
    assert listed(f"{below}/a")[0] == [f"{below}/{key}" for key in below_a]
    assert listed(f"{below}/a[1].png")[0] == [f"{below}/a%5B1%5D.png"]
    assert listed(f"{below}/dup.png")[0] == [f"{below}/dup.png"]
    assert listed(f"{below}/dup.png/")[0] == [f"{below}/dup.png/5.png"]
    assert listed(f"{below}/a*/*.png")[0] == [f"{below}/a/1.png", f"{below}/ab/4.png"]
    assert len(listed(below, exclude=["b", "*.jpg"])[0]) == 5
    uris, found = listed(f"{below}/a", f"{below}/a/b/", f"{below}/a/1.png", f"{below}/a/")
    assert sorted(uris) == [f"{below}/{key}" for key in below_a]
    assert len(found.notes) == 3
    names = tmp_path / "list.txt"
    names.write_text(f"{below}/a/1.png\n{below}/no.png\n{below}/a/b/\n{below}/a/1%2Epng\n")
    uris, found = listed(f"@{names}")
    assert uris == [f"{below}/a/1.png", f"{below}/no.png", f"{below}/a/b/3.png"]
    assert found.repeated == 1
    assert is_gone(f"{below}/no.png") and not is_gone(f"{below}/a/1.png")


def test_a_listing_streams(server, monkeypatch):
    monkeypatch.setattr(store_root, "_LISTED", 10)
    server.page = 10
    for place in range(200):
        server.objects[f"{place:03}.png"] = Stored(b"x")
    found = iter(Discovery(["s3://photos"]))
    server.asked.clear()
    assert [next(found).uri for _ in range(12)][-1] == "s3://photos/011.png"
    assert server.asked["LIST"] <= 5


@pytest.mark.parametrize("page", [1, 2, 100])
def test_keys_that_cannot_be_read_cost_no_other(server, page, monkeypatch):
    """`//` and `..` are allowed in a key, and the client refuses a whole answer with one."""
    monkeypatch.setattr(store_root, "_LISTED", 1)
    good = ["0.png", "a/1.png", "b/c/2.png", "b/d.png", "z.png"]
    for key in (*good, "b/c//3.png", "b/e/../4.png"):
        server.objects[key] = Stored(png(1))
    server.page = page
    uris, found = listed("s3://photos/")
    lost = dict(unread.split(": ", 1) for unread in found.unreadable_dirs)
    assert set(lost) == {"s3://photos/b/c/", "s3://photos/b/e/"}
    assert "empty path segment" in lost["s3://photos/b/c/"]
    assert uris == [f"s3://photos/{key}" for key in good if not key.startswith("b/c/")]


def test_a_listing_that_breaks_off_is_said(server, monkeypatch):
    monkeypatch.setattr(stores, "RETRIES", 0)
    monkeypatch.setattr(store_root, "_LISTED", 2)
    monkeypatch.setattr(store_root, "_LOOKED_AT", 1)
    for place in range(4):
        server.objects[f"{place}.png"] = Stored(png(place))
    server.page = 2
    found = Discovery(["s3://photos/"])
    refs = iter(found)
    uris = [next(refs).uri]
    server.lists = False
    uris += [ref.uri for ref in refs]
    assert uris == ["s3://photos/0.png", "s3://photos/1.png"]
    (unread,) = found.unreadable_dirs
    assert unread.startswith("s3://photos/: ") and "the rest was not listed" in unread


def test_photos_on_a_web_server(server, tiny_bundle, tmp_path):
    for place in range(12):
        server.objects[f"{place} ü.png"] = Stored(png(place))
    server.delay_s = 0.02
    names = [f"{server.url}/photos/{place} ü.png" for place in range(12)]
    names += [f"{server.url}/photos/0%20%C3%BC.png?sign=a%2Fb", f"{server.url}/photos/no.png"]
    (tmp_path / "list").write_text("\n".join(names))
    summary, rows = scanned(f"@{tmp_path / 'list'}", tmp_path / "out", tiny_bundle)
    assert len(rows) == 14 and server.at_once > 3
    assert summary.run.failures == {"vanished": 1}
    assert f"{server.url}/photos/0%20%C3%BC.png?sign=a%2Fb" in rows
    server.asked.clear()
    again, _ = scanned(f"@{tmp_path / 'list'}", tmp_path / "out", tiny_bundle)
    assert again.already_done == 14
    assert {request.partition(" ")[0] for request in server.asked} == {"HEAD"}


def test_pages_of_a_tiff_in_a_bucket(server, tiny_bundle, tmp_path):
    with tifffile.TiffWriter(tmp_path / "scan.tif") as file:
        for grey in (30, 90, 150):
            file.write(np.full((40, 50, 3), grey, np.uint8), photometric="rgb")
    server.objects["scan.tif"] = Stored((tmp_path / "scan.tif").read_bytes())
    server.objects["torn.tif"] = Stored(b"II*\0\xff\xff\xff\xff")
    below = "s3://photos/"
    pages = [f"{below}scan.tif{page}" for page in ("", "#page=2", "#page=3")]
    assert listed(below)[0] == [*pages, f"{below}torn.tif"]
    _, rows = scanned(below, tmp_path / "out", tiny_bundle)
    _, near = scanned(str(tmp_path / "scan.tif"), tmp_path / "o", tiny_bundle)
    assert [rows[page]["p_crack"] for page in pages] == [row["p_crack"] for row in near.values()]


def test_what_is_fetched_ahead_is_bounded(server, monkeypatch):
    monkeypatch.setattr(objects, "_AHEAD_BYTES", 250)
    refs = []
    for place in range(8):
        server.objects[f"{place}.png"] = Stored(bytes(100))
        refs.append(ImageRef(place, f"s3://photos/{place}.png", "", 100, None))
    with OBJECTS.fetched(refs):
        time.sleep(0.3)
        assert sum(server.asked.values()) == 2
        for ref in refs:
            with OBJECTS.open(ref.path) as file:
                assert file.read(200) == bytes(100)
    assert sum(server.asked.values()) == 8


def test_a_large_object_is_not_held_in_memory(server, monkeypatch):
    for module in (objects, object_file):
        monkeypatch.setattr(module, "HELD_BYTES", 1000)
    server.objects["big.png"] = Stored(bytes(range(256)) * 16)
    ref = ImageRef(0, "s3://photos/big.png", "", 4096, None)
    with OBJECTS.fetched([ref]):
        assert not server.asked
    with OBJECTS.open(ref.path) as file:
        assert file.read(4) == bytes(range(4))
        file.seek(4000)
        assert len(file.read(1000)) == 96


@pytest.mark.parametrize(
    "source, words",
    [
        ("s3://other/a", "NoSuchBucket"),
        ("s3://photos/a", "no such object, and none below it"),
        ("s3://photos/*.png", "no object matches"),
        ("s3://", "names no bucket"),
        ("http://127.0.0.1:1/a/", "no listing"),
        ("http://me:secret@127.0.0.1:1/a.jpg", "password"),
        ("http://127.0.0.1:1/a.jpg", "error sending request"),
        ("s3://photos/flight 1.ZIP", "unpack it into the bucket"),
        ("gs://photos/a", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("az://photos/a", "AZURE_STORAGE_ACCOUNT_NAME"),
    ],
)  # fmt: skip
def test_what_cannot_be_listed_is_said_in_one_line(server, source, words, monkeypatch):
    monkeypatch.setattr(stores, "RETRIES", 0)
    with pytest.raises(SourceError, match=words) as raised:
        Discovery([source])
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 300


def test_without_obstore_it_is_said(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(SourceError, match=r"crack-inspector\[buckets\]"):
        Discovery(["s3://photos/a"])


def test_an_aws_profile_is_used(server, tmp_path, monkeypatch):
    environment = {name: value for name, value in server.environment.items()}
    for name in environment:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_PROFILE", "bridge")
    server.objects["1.png"] = Stored(png(1))
    (tmp_path / "config").write_text(
        f"[profile bridge]\nregion = here\nendpoint_url = {server.url}\n"
        "[profile login]\nsso_session = x\n"
    )
    (tmp_path / "credentials").write_text(
        "[bridge]\naws_access_key_id = me\naws_secret_access_key = secret\n"
    )
    assert listed("s3://photos")[0] == ["s3://photos/1.png"]
    monkeypatch.setenv("AWS_PROFILE", "login")
    monkeypatch.setitem(sys.modules, "boto3", None)
    stores.open_store.cache_clear()
    with pytest.raises(SourceError, match="pip install boto3"):
        Discovery(["s3://photos"])


def test_aws_settings_that_cannot_be_read_are_said_in_one_line(server, tmp_path):
    for content in (b"region = x\n", b"[a]\n[a]\n", b"\xff"):
        (tmp_path / "config").write_bytes(content)
        stores.open_store.cache_clear()
        with pytest.raises(SourceError, match=r"config cannot be read: .+\Z"):
            Discovery(["s3://photos"])


def test_a_page_is_listed_once_beside_all_that_it_lies_in(server):
    stream = BytesIO()
    wall(1).save(stream, "TIFF", save_all=True, append_images=[wall(2)])
    server.objects["p/1.tif"] = Stored(stream.getvalue())
    file = "s3://photos/p/1.tif"
    assert listed("s3://photos/p", f"{file}#page=2")[0] == [file, f"{file}#page=2"]
    assert listed(file, f"{file}#page=2")[0] == [file, f"{file}#page=2"]


def test_addresses():
    assert canonical("S3://photos/a b%20c") == "s3://photos/a%20b%20c"
    assert canonical("s3://photos") == "s3://photos/"
    assert canonical("https://Host:80/ü b?q=ü") == "https://host:80/%C3%BC%20b?q=%C3%BC"
    assert canonical("s3://photos/a#page=2") == "s3://photos/a#page=2"
    assert is_far("az://a/b") and not is_far("file:///s3://a") and not is_far("s3:/a")


def test_an_etag_is_the_same_with_and_without_quotes():
    about = {"size": 3, "last_modified": datetime(2026, 11, 29, 1, 2, 3, 4, UTC), "version": None}
    facts = [facts_of(about | {"e_tag": etag}) for etag in ('"0x8D"', "0x8D", '"0x8E"')]
    assert facts[0] == facts[1] != facts[2]
    assert (facts[0].mtime_us or 0) // 1_000_000 == datetime(
        2026, 11, 29, 1, 2, 3, tzinfo=UTC
    ).timestamp()


def test_of_the_listed_version_the_time_stays_as_listed(server):
    server.objects["1.png"] = Stored(png(1))
    (ref,) = Discovery(["s3://photos/1.png", "s3://photos/1.png"])
    listed_us = (ref.mtime_us or 0) - 1_000_000  # as the listings of some stores have it
    listed = FileFacts(ref.size, listed_us)
    assert ObjectFile.of(ref.path, listed).facts() == listed
    server.objects["1.png"].version += 1
    assert ObjectFile.of(ref.path, listed).facts().mtime_us not in (listed_us, ref.mtime_us)
