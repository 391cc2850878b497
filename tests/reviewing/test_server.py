"""The review's server: who gets in, what can be asked for, and what is true after it dies."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from inspector.reviewing.app import Workers, make_app
from inspector.reviewing.server import _listen
from inspector.scanning import ScanConfig, scan
from tests.reviewing.live import ask, reviewing
from tests.reviewing.tables import labelled
from tests.said import read_labels
from tests.scanning.walls import wall


@pytest.fixture(scope="module")
def scanned(tmp_path_factory, tiny_bundle):
    """Photos with their table: 10 walls, one that is cut off, one with an ugly name, no photo."""
    root = tmp_path_factory.mktemp("scanned")
    photos = root / "photos"
    photos.mkdir()
    for k in range(10):
        wall(k, 700, 500).save(photos / f"{k}.jpg")
    whole = (photos / "0.jpg").read_bytes()
    (photos / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "<img src=x onerror=alert(1)>.jpg").write_bytes(b"no photo")
    out = root / "out"
    scan(ScanConfig(sources=(str(photos),), out=out, model=tiny_bundle.path, workers=0))
    return out


@pytest.fixture(scope="module")
def live(scanned, tiny_bundle):
    with reviewing(scanned, "--model", str(tiny_bundle.path)) as server:
        yield server


@pytest.fixture
def queue(live):
    return live.get("api/queue")


def rows_of(live, queue):
    return live.get(f"api/rows?queue={queue['queue']}&start=0&count=100")


def decide(live, queue, row, label, **changes):
    facts = live.get(f"api/row/{queue['generation']}/{row}")
    said = {
        "generation": queue["generation"], "row": row, "uri": facts["uri"], "label": label,
        "queue": queue["queue"],
    }  # fmt: skip
    return live.ask("api/labels", said | changes)


def test_nothing_without_the_token(live):
    parts = urlsplit(live.address)
    base = f"{parts.scheme}://{parts.netloc}"
    for path in ("/", "/favicon.ico", "/api/about", "/wrong/", "/wrong/api/about", "//api/about"):
        status, headers, _ = ask(base + path)
        assert status == 403, path
        assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert ask(live.address[:-1])[0] == 403
    assert ask(live.address[:-2] + "/api/about")[0] == 403
    assert len(parts.path) >= 43, "too short a token can be guessed"


def test_another_name_for_this_machine_is_refused(live):
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example:80", ""):
        assert live.ask("api/about", Host=host)[0] in (400, 403), host
    port = urlsplit(live.address).port
    assert live.ask("api/about", Host=f"localhost:{port}")[0] == 200


def test_another_site_cannot_write(live, queue):
    row = rows_of(live, queue)[0]["row"]
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Content_Type": "text/plain"},
        {"Content_Type": "application/x-www-form-urlencoded"},
    ):
        status, _, _ = live.ask("api/undo", {"queue": queue["queue"]}, **headers)
        assert status == 403, headers
        assert row is not None
    assert live.ask("api/undo", {"queue": "x" * 20_000})[0] == 403


WRONG = [
    [], b"null", 1, "x", True, {}, [[]], {"queue": 3}, {"queue": None}, {"queue": ["1.1"]},
    {"generation": "1", "row": 0, "uri": "u", "label": "crack", "queue": "1.1"},
    {"generation": 1, "row": None, "uri": "u", "label": "crack", "queue": "1.1"},
    {"generation": 1, "row": True, "uri": "u", "label": "crack", "queue": "1.1"},
    {"generation": 1, "row": 1.5, "uri": "u", "label": "crack", "queue": "1.1"},
    {"generation": 1, "row": 0, "uri": ["u"], "label": "crack", "queue": "1.1"},
    {"generation": 1, "row": 0, "uri": "u", "label": {}, "queue": "1.1"},
    {"generation": 1, "row": 0, "uri": "u", "label": "\ud800", "queue": "1.1"},
    {"generation": 1, "row": 0, "uri": "u", "label": "crack", "queue": "1.1", "more": 1},
    {"generation": 1e400, "row": 0, "uri": "u", "label": "crack", "queue": "1.1"},
    b"[" * 9000, b"{" * 9000, b"\xff\xfe", b"", b"{", b"NaN", b'{"queue": 1e999}', b"1" * 9000,
]  # fmt: skip


@pytest.mark.parametrize("path", ["api/labels", "api/regions", "api/undo"])
def test_whatever_is_sent_is_refused_in_words(live, path):
    for body in WRONG:
        said = live.ask(path, body)
        assert said[0] == 400, (body, said)
        assert said[2]["error"] == "request"


def test_a_row_or_list_that_does_not_exist_is_stale(live, queue):
    decision = {"generation": 1, "row": 0, "uri": "u", "label": "crack", "queue": "1.1"}
    for body in ({"generation": 10**30}, {"row": 10**30}, {"row": -1}, {"uri": "\ud800"}):
        status, _, said = live.ask("api/labels", decision | body)
        assert (status, said["error"]) == (409, "stale"), body
    for query in ("queue=%ff&start=0&count=1", "queue=%00&start=0&count=9"):
        assert live.ask(f"api/rows?{query}")[0] == 409
    far = f"api/rows?queue={queue['queue']}&start={10**30}&count={10**30}"
    assert live.get(far) == []
    assert live.ask(f"api/rows?queue=a&start={'1' * 5000}&count=1")[0] == 400


BROWSER = """
import json, stat, sys
from pathlib import Path
from urllib.parse import unquote, urlsplit
page = Path(unquote(urlsplit(sys.argv[1]).path))
said = {"started": sys.argv, "page": page.read_text(), "mode": stat.S_IMODE(page.stat().st_mode)}
draft = Path(__file__).with_suffix(".draft")
draft.write_text(json.dumps(said))
draft.rename(Path(__file__).with_suffix(".said"))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_the_secret_is_in_no_command_line(scanned, tmp_path):
    """What a program is started with can be read by every user of the machine."""
    out = shutil.copytree(scanned, tmp_path / "out ä")
    browser = tmp_path / "browser.py"
    browser.write_text(BROWSER)
    with reviewing(out, browser=shlex.join([sys.executable, str(browser), "%s"])) as server:
        deadline = time.monotonic() + 60
        while not browser.with_suffix(".said").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        said = json.loads(browser.with_suffix(".said").read_text())
        assert urlsplit(server.address).path.strip("/") not in " ".join(said["started"])
        assert server.address in said["page"]
        assert said["mode"] == 0o600
        server.process.send_signal(signal.SIGINT)
        server.process.wait(timeout=30)
    assert not (out / "_inspector" / "review.html").exists()


def test_it_listens_on_this_machine_only(live):
    port = urlsplit(live.address).port
    others = {str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None)}
    for address in others - {"127.0.0.1", "127.0.1.1"}:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.settimeout(2)
            assert probe.connect_ex((address, port)) != 0, address


def test_files_are_reached_by_row_only(live, queue):
    for path in (
        "api/photo/1/999999", "api/photo/1/-1", "api/photo/9/0", "api/photo/1/../../etc/passwd",
        "api/photo/1/0?path=/etc/passwd", "assets/../app.py", "assets/..%2fapp.py",
        "assets/%2e%2e/app.py", "assets//etc/passwd", "etc/passwd",
        "api/region/1/0?box=0,0,1&width=9",
        "api/region/1/0?box=0,0,1,1&width=999999", "api/region/1/0?box=nan,0,1,1&width=9",
    ):  # fmt: skip
        status, _, content = live.ask(path)
        assert status != 500, path
        assert status >= 400 or path.endswith("passwd"), path
        assert b"root:" not in (content if isinstance(content, bytes) else b""), path


def test_the_page_needs_nothing_from_elsewhere(live):
    _, headers, page = live.ask("")
    assert headers["Content-Type"].startswith("text/html")
    assert headers["Referrer-Policy"] == "no-referrer"
    named = re.findall(rb'(?:src|href)="([^"]+)"', page)
    assert named
    for name in named:
        content = live.get(name.decode())
        assert b"http://" not in content.replace(b"http://www.w3.org/2000/svg", b"")
        assert b"https://" not in content


def test_photos_regions_and_heat_of_a_row(live, queue):
    rows = rows_of(live, queue)
    assert len(rows) == 12
    row = next(r["row"] for r in rows if r["path"].endswith("3.jpg"))
    where = f"{queue['generation']}/{row}"
    status, headers, content = live.ask(f"api/photo/{where}")
    assert (status, headers["X-Width"], headers["X-Same"]) == (200, "700", "1")
    assert Image.open(BytesIO(content)).size == (700, 500)
    part = live.get(f"api/region/{where}?box=0,0,0.5,0.5&width=350")
    assert Image.open(BytesIO(part)).size == (350, 250)
    heat = Image.open(BytesIO(live.get(f"api/heat/{where}")))
    assert heat.mode == "RGBA"
    broken = next(r for r in rows if r["failure_code"] == "not_an_image")
    status, _, said = live.ask(f"api/photo/{queue['generation']}/{broken['row']}")
    assert (status, said["error"]) == (422, "photo")


def test_a_crack_must_have_been_seen_and_a_failed_photo_can_be_skipped(live, queue, scanned):
    rows = rows_of(live, queue)
    unseen = next(r["row"] for r in rows if r["path"].endswith("7.jpg"))
    status, _, said = decide(live, queue, unseen, "crack")
    assert (status, "not been shown" in said["message"]) == (422, True)
    assert decide(live, queue, unseen, "maybe")[0] == 400
    broken = next(r["row"] for r in rows if r["failure_code"] == "not_an_image")
    status, _, said = decide(live, queue, broken, "unsure")
    assert (status, said["row"]["label"]) == (200, "unsure")
    live.get(f"api/photo/{queue['generation']}/{unseen}")
    status, _, said = decide(live, queue, unseen, "clear")
    assert (status, said["labelled"]) == (200, 2)
    told = labelled(scanned).to_pylist()
    assert sorted(t["human_verdict"] for t in told) == ["clear", "unsure"]
    for _ in range(2):
        assert live.ask("api/undo", {"queue": queue["queue"]})[0] == 200
    assert read_labels(scanned).num_rows == 0


def test_a_second_review_is_refused_and_names_are_escaped(live, scanned):
    command = [sys.executable, "-m", "inspector", "review", str(scanned), "--no-browser"]
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert second.returncode == 1
    assert "being reviewed by another process" in second.stderr


def test_review_that_is_refused_leaves_the_page_of_the_running_one(live, scanned):
    door = scanned / "_inspector" / "review.html"
    door.write_text("the way in")
    command = [sys.executable, "-m", "inspector", "review", str(scanned)]
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert second.returncode == 1 and "another process" in second.stderr
    assert door.read_text() == "the way in"
    door.unlink()


def test_review_of_a_photo_is_refused_in_words(scanned):
    photo = scanned.parent / "photos" / "0.jpg"
    command = [sys.executable, "-m", "inspector", "review", str(photo)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) < 4


def test_a_changed_photo_cannot_be_labelled(scanned, tmp_path):
    """The photos lie elsewhere now, and one of them is another one."""
    old, new = scanned.parent / "photos", tmp_path / "photos"
    shutil.copytree(old, new)
    wall(99, 700, 500).save(new / "4.jpg")
    out = shutil.copytree(scanned, tmp_path / "out")
    with reviewing(out, "--moved", f"{old}={new}") as server:
        about, queue = server.get("api/about"), server.get("api/queue")
        assert not about["heat"], "another model made this table"
        assert "--model" in about["why_no_heat"]
        by_name = {r["path"].rsplit("/", 1)[1]: r["row"] for r in rows_of(server, queue)}
        for name, same, status in (("4.jpg", "0", 422), ("5.jpg", "1", 200)):
            _, headers, _ = server.ask(f"api/photo/{queue['generation']}/{by_name[name]}")
            assert headers["X-Same"] == same
            assert decide(server, queue, by_name[name], "crack")[0] == status
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(timeout=30) == 0
    assert [row["path"][-5:] for row in labelled(out).to_pylist()] == ["5.jpg"]


def test_what_is_no_result_is_said(tmp_path):
    command = [sys.executable, "-m", "inspector", "review", str(tmp_path), "--no-browser"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "holds no results" in done.stderr


def test_no_second_review_takes_the_port_of_one(monkeypatch):
    """Windows has an option of its own for that; the one that is used elsewhere would allow it."""
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_KEEPALIVE, raising=False)
    with _listen(0) as listening:
        options = (socket.SO_KEEPALIVE, socket.SO_REUSEADDR)
        assert [listening.getsockopt(socket.SOL_SOCKET, one) for one in options] == [1, 0]


@pytest.mark.parametrize("kind", ["photo", "thumb", "heat"])
def test_nothing_is_opened_for_a_page_that_has_gone(kind):
    opened: list[Any] = []
    sent: list[Any] = []
    helpers: Any = SimpleNamespace(ask=lambda *asked: opened.append(asked))
    methods = ("decide", "decide_region", "mark", "note", "undo", "path", "facts")
    session: Any = SimpleNamespace(**dict.fromkeys(methods, lambda *_: {"view": "whole"}))
    workers = Workers(helpers, helpers, helpers, helpers, Path("bundle"))
    app: Any = make_app(session, workers, "token")
    scope = {"type": "http", "method": "GET", "path": f"/token/api/{kind}/1/0",
             "headers": [(b"host", b"localhost")], "query_string": b""}  # fmt: skip

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    assert opened == [] and sent[0]["status"] == 204
