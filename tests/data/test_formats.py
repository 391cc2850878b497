"""Images recognised by name and by content."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from inspector.data.formats import (
    DECODABLE,
    IMAGE_SUFFIXES,
    MAGIC_BYTES,
    named_like_an_image,
    sniff,
)


@pytest.mark.parametrize("form", [*DECODABLE, "MPO"])
def test_every_decodable_format_is_known_by_its_content(form):
    stream = io.BytesIO()
    Image.new("RGB", (9, 9)).save(stream, form)
    assert sniff(stream.getvalue()[:MAGIC_BYTES]) == ("JPEG" if form == "MPO" else form)


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_names(suffix):
    assert named_like_an_image(f"wall{suffix}")
    assert named_like_an_image(f"wall 3.b{suffix.upper()}")
    assert not named_like_an_image(f"wall{suffix}.txt")
    assert not named_like_an_image(suffix)  # a hidden file of that name has no suffix


@pytest.mark.parametrize("name", ["wall", "wall.", "wall.jpg.part", "jpg", "", "wall.mp4", "a.svg"])
def test_names_of_other_files(name):
    assert not named_like_an_image(name)


@pytest.mark.parametrize(
    "head", [b"", b"BM", b"BMW is a car maker", b"RIFF\0\0\0\0WAVE", b"%PDF-1.7", b"GIF", b"II*"]
)
def test_content_of_other_files(head):
    assert sniff(head[:MAGIC_BYTES]) is None


@given(st.binary(max_size=MAGIC_BYTES))
def test_any_bytes_get_an_answer(head):
    assert sniff(head) is None or isinstance(sniff(head), str)
