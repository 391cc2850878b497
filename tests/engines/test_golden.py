"""Golden images from somebody else's bundle: what does not fit is refused before it is unpacked."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from inspector.errors import BundleError
from inspector.model.bundle import GOLDEN
from inspector.model.golden import Golden, read_golden
from inspector.types import Scores

SIZE = 64


@pytest.fixture
def write(tiny_bundle_copy):
    """Put one array of `golden.npz` aside for another, or for other bytes."""
    golden = read_golden(tiny_bundle_copy)
    arrays = {
        "names": np.array(golden.names), "images": golden.pixels_NHWC,
        "p_crack": golden.scores.p_crack_N, "cam": golden.scores.cam_NHW,
        "domain": golden.scores.ood_N,
    }  # fmt: skip

    def written(**others):
        with zipfile.ZipFile(tiny_bundle_copy.file(GOLDEN), "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in (arrays | others).items():
                if isinstance(array, bytes):
                    archive.writestr(f"{name}.npy", array)
                elif array is not None:
                    with archive.open(f"{name}.npy", "w") as stream:
                        np.lib.format.write_array(stream, array)
        return tiny_bundle_copy

    return written


def header(shape, descr="'|u1'", extra=b""):
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (118 - len(text)) + b"\n" if len(text) < 118 else b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + extra


def test_they_come_back(tmp_path, tiny_bundle_copy):
    scores = Scores(np.ones(2, np.float32), np.ones((2, 3, 4), np.float32), np.ones(2, np.float32))
    golden = Golden(("a", "ü"), np.ones((2, SIZE, SIZE, 3), np.uint8), scores)
    golden.write(tiny_bundle_copy.file(GOLDEN))
    found = read_golden(tiny_bundle_copy)
    assert found.names == golden.names
    np.testing.assert_array_equal(found.pixels_NHWC, golden.pixels_NHWC)
    np.testing.assert_array_equal(found.scores.cam_NHW, scores.cam_NHW)


COUNT = 8
ODD = {
    "a bomb of images": {"images": header((10**6, SIZE, SIZE, 3), extra=b"\0" * 10**6)},
    "a bomb of names": {"names": header((10**9,), "'<U9'", b"\0" * 10**6)},
    "a bomb of maps": {"cam": header("(K, 100000, 100000)", "'<f4'", b"\0" * 10**6)},
    "a negative length": {"names": header((-1,), "'<U9'", b"\0" * 10**6)},
    "objects": {"names": header((3,), "'|O'", b"cos\nsystem\n(S'true'\ntR.")},
    "a record": {"domain": header("(K,)", "[('a', '<f4')]")},
    "an endless header": {"domain": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 10**6},
    "a deep header": {"domain": header("(" * 9000)},
    "a call in the header": {"domain": header("(print(1),)")},
    "no array": {"domain": b"not an array"},
    "nothing": {"domain": b""},
    "none": {"domain": None},
    "too few": {"domain": np.zeros(1, np.float32)},
    "another type": {"p_crack": np.zeros(3, np.float64)},
    "one picture too small": {"images": np.zeros((3, 32, 32, 3), np.uint8)},
    "by column": {"images": np.asfortranarray(np.zeros((3, SIZE, SIZE, 3), np.uint8))},
    "cut off": {"images": header(f"(K, {SIZE}, {SIZE}, 3)", extra=b"\0" * 9)},
}


@pytest.mark.parametrize("case", ODD)
def test_what_does_not_fit_is_refused(write, case, tiny_bundle):
    count = str(len(read_golden(tiny_bundle).names)).encode()
    odd = {
        name: array.replace(b"(K", b"(" + count) if isinstance(array, bytes) else array
        for name, array in ODD[case].items()
    }
    with pytest.raises(BundleError, match=r"golden\.npz cannot be read .*inspector export"):
        read_golden(write(**odd))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_answers_that_are_no_numbers_are_refused(write, tiny_bundle, value):
    wrong = np.full_like(read_golden(tiny_bundle).scores.ood_N, value)
    with pytest.raises(BundleError, match="not finite"):
        read_golden(write(domain=wrong))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"x" * 1000])
def test_what_is_no_archive_is_refused(tiny_bundle_copy, content):
    tiny_bundle_copy.file(GOLDEN).write_bytes(content)
    with pytest.raises(BundleError, match="cannot be read"):
        read_golden(tiny_bundle_copy)


def test_one_that_is_not_listed_is_not_read(tiny_bundle):
    files = {name: digest for name, digest in tiny_bundle.files.items() if name != GOLDEN}
    with pytest.raises(BundleError, match="not listed"):
        read_golden(replace(tiny_bundle, files=files))


def test_any_damage_is_refused_or_harmless(tiny_bundle_copy):
    whole = tiny_bundle_copy.file(GOLDEN).read_bytes()
    draw = np.random.default_rng(5)
    for _ in range(150):
        content = io.BytesIO(whole)
        content.seek(int(draw.integers(len(whole))))
        content.write(draw.integers(0, 256, int(draw.integers(1, 9)), np.uint8).tobytes())
        tiny_bundle_copy.file(GOLDEN).write_bytes(content.getvalue())
        try:
            assert read_golden(tiny_bundle_copy).pixels_NHWC.dtype == np.uint8
        except BundleError as error:
            assert "cannot be read" in str(error)
