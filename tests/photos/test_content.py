"""A file's content as one number: of regular files only, and never by waiting."""

from __future__ import annotations

import hashlib
import os
import socket

from inspector.photos.reading import sha256_within


def test_regular_files_up_to_the_bound(tmp_path):
    file = tmp_path / "photo.jpg"
    file.write_bytes(b"x" * 3_000_000)
    digest = hashlib.sha256(b"x" * 3_000_000).digest()
    (tmp_path / "link").symlink_to(file)
    assert sha256_within(str(file), 3_000_000) == digest
    assert sha256_within(str(tmp_path / "link"), 3_000_000) == digest
    assert sha256_within(str(file), 2_999_999) is None


def test_what_is_no_file_or_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's name may be no longer than 107 bytes
    os.mkfifo("pipe")
    os.symlink("loop", "loop")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        for name in ("pipe", "loop", "socket", "missing", ".", "n" * 5000, "/dev/zero"):
            assert sha256_within(name, 1 << 30) is None, name
