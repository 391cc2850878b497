"""A bucket of a server that others have written, changed while it is scanned."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import threading
import time
from importlib.util import find_spec

import pyarrow.dataset as ds
import pytest

from inspector.photos import stores
from inspector.results.verify import VerifyConfig, verify
from inspector.scanning import ScanConfig, scan
from tests.photos.files import encoded
from tests.scanning.walls import wall

for module in ("obstore", "moto", "flask"):
    if find_spec(module) is None:
        pytest.skip(f"{module} is not installed: no server was asked", allow_module_level=True)


@pytest.fixture
def bucket(monkeypatch):
    """A bucket of moto's server, as a client of obstore that writes."""
    from obstore.store import S3Store

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for name, value in (
            ("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}"),
            ("AWS_ACCESS_KEY_ID", "me"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "us-east-1"),
        ):
            monkeypatch.setenv(name, value)
        stores.open_store.cache_clear()
        wait_for(port)
        import urllib.request

        request = urllib.request.Request(f"http://127.0.0.1:{port}/photos", method="PUT")
        request.add_header("Authorization", "AWS4-HMAC-SHA256 Credential=me/20260101/us-east-1/s3/")
        urllib.request.urlopen(request).close()
        yield S3Store("photos", client_options={"allow_http": True})
    finally:
        server.kill()
        server.wait()
        stores.open_store.cache_clear()


def wait_for(port: int) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError("moto does not start")


def test_a_bucket_that_changes_while_it_is_scanned(bucket, tiny_bundle, tmp_path):
    """Each object has one row, which is that of one version; when all is quiet, the next scan
    brings the table to what is there."""
    keys = [f"prüf 1/{number:02}.png" for number in range(24)]
    for number, key in enumerate(keys):
        bucket.put(key, encoded(wall(number), "PNG"))
    done = threading.Event()

    def disturb() -> None:
        chosen = random.Random(0)
        while not done.is_set():
            key = chosen.choice(keys)
            if chosen.random() < 0.2:
                bucket.delete(key)
            else:
                bucket.put(key, encoded(wall(chosen.randrange(100)), "PNG"))

    config = ScanConfig(
        sources=("s3://photos/prüf 1",), out=tmp_path / "out", model=tiny_bundle.path, workers=1,
        precision="fp32", batch_size=4,
    )  # fmt: skip
    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        scan(config)
    finally:
        done.set()
        thread.join()
    rows = ds.dataset(tmp_path / "out" / "table").to_table().to_pylist()
    assert len({row["uri"] for row in rows}) == len(rows) > 0
    assert {row["failure_code"] for row in rows} <= {None, "vanished"}
    scan(
        ScanConfig(
            sources=config.sources, out=config.out, model=config.model, workers=0,
            precision="fp32", prune=True,
        )
    )  # fmt: skip
    rows = ds.dataset(tmp_path / "out" / "table").to_table().to_pylist()
    there = {about["path"] for chunk in bucket.list() for about in chunk}
    assert {row["path"].removeprefix("s3://photos/") for row in rows} == there
    result = verify(VerifyConfig(out=tmp_path / "out", photos=True))
    assert not result.damage and not result.notes
