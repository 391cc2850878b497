"""The leak audit: copies in every disguise, groups, series; and no alarm where there is no leak."""

from __future__ import annotations

import json
import ntpath
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter

from inspector.errors import BundleError
from inspector.labelled import fingerprints
from inspector.labelled.fingerprints import (
    FINGERPRINTS,
    SIDE,
    TRAITS,
    fingerprint,
    load,
    looks,
    orientations,
    save,
    trained_on_of,
)
from inspector.labelled.folder import LabelledImage, find_labelled
from inspector.labelled.leaks import LeakKind, audit_fingerprints
from inspector.labelled.series import leaked_tiles
from inspector.model.bundle import ModelBundle, Thresholds
from inspector.model.preprocess import PreprocessSpec

METU = Path(__file__).parents[3] / "shared" / "data" / "train"


def concrete(seed: int, photo: int | None = None, side: int = 96) -> Image.Image:
    """Plain grey, low in contrast; tiles of one `photo` share light, colour and grain."""
    rng = np.random.default_rng(seed)
    shared = np.random.default_rng([7, seed if photo is None else photo])
    base = shared.uniform(110, 190) + shared.normal(0, 6, 3)
    grain, blotch = shared.uniform(1, 5), shared.uniform(4, 12)
    coarse = Image.fromarray(rng.normal(128, 40, (16, 16)).clip(0, 255).astype(np.uint8))
    stains = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), float) - 128
    pixels = base + (blotch / 40 * stains + rng.normal(0, grain, (side, side)))[..., None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def stored(file: Path, image: Image.Image, *, crack=False, group=None, **options) -> LabelledImage:
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file, **options)
    return LabelledImage(str(file), crack, "", group or str(file))


@pytest.fixture(scope="module")
def wall(tmp_path_factory) -> list[LabelledImage]:
    """40 different plain tiles."""
    folder = tmp_path_factory.mktemp("wall")
    return [stored(folder / f"{k}.png", concrete(k)) for k in range(40)]


def audit(training, held_out, *, workers=None):
    sides = (fingerprint(images, workers=workers) for images in (training, held_out))
    return audit_fingerprints(*sides, names=("training", "validation"))


def kinds(found) -> dict[str, set[str]]:
    return {kind: {Path(x.path).name for x in found.leaks if x.kind == kind} for kind in LeakKind}


def test_audit_finds_no_leak_between_different_grey_tiles(wall):
    found = audit(wall[:25], wall[25:])
    assert not found.leaks and not found.leaked_paths and found.undecodable == 0
    assert found.lines() == ["no leak found between training and validation images"]


def test_audit_finds_same_pixels_under_any_name_and_compression(wall, tmp_path):
    saved_again = stored(tmp_path / "other.png", concrete(3), compress_level=1)
    assert Path(saved_again.path).read_bytes() != Path(wall[3].path).read_bytes()
    one_level = np.array(concrete(4))
    one_level[50, 50, 0] ^= 1
    touched = stored(tmp_path / "touched.png", Image.fromarray(one_level))
    found = audit(wall[:20], [*wall[20:], saved_again, touched])
    assert found.counts == {
        "same_pixels": 1, "near_duplicate": 1, "same_group": 0, "same_series": 0,
    }  # fmt: skip
    same, near = found.leaks
    assert (same.path, same.other) == (saved_again.path, wall[3].path)
    assert (near.path, near.other) == (touched.path, wall[4].path)


DISGUISES = {
    "jpeg": lambda image, file: image.save(file, quality=60),
    "half": lambda image, file: image.resize((48, 48)).save(file),
    "double": lambda image, file: image.resize((192, 192)).save(file),
    "brighter": lambda image, file: ImageEnhance.Brightness(image).enhance(1.15).save(file),
    "flatter": lambda image, file: ImageEnhance.Contrast(image).enhance(0.7).save(file),
    "sharper": lambda image, file: image.filter(ImageFilter.SHARPEN).save(file),
    "grey": lambda image, file: image.convert("L").save(file),
    "cropped": lambda image, file: image.crop((2, 2, 94, 94)).save(file),
} | {
    turn.name.lower(): lambda image, file, turn=turn: image.transpose(turn).save(file, quality=80)
    for turn in Image.Transpose
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_audit_finds_and_matches_near_duplicates(wall, tmp_path, disguise):
    held_out = []
    for k in range(8):
        file = tmp_path / f"{k}.jpg"
        DISGUISES[disguise](Image.open(wall[k].path), file)
        held_out.append(LabelledImage(str(file), False, "", str(file)))
    found = audit(wall, held_out)
    assert kinds(found)[LeakKind.NEAR_DUPLICATE] == {f"{k}.jpg" for k in range(8)}
    assert all(Path(leak.path).stem == Path(leak.other).stem for leak in found.leaks)


def test_audit_finds_groups_on_both_sides(wall):
    grouped = [replace(image, group=f"photo {k // 5}") for k, image in enumerate(wall)]
    found = audit(grouped[:22], [*grouped[22:30], wall[30]])
    assert {leak.path for leak in found.leaks} == {wall[k].path for k in (22, 23, 24)}
    assert {leak.kind for leak in found.leaks} == {LeakKind.SAME_GROUP}


def test_audit_counts_a_broken_image_and_keeps_its_group(wall, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    broken = LabelledImage(str(tmp_path / "broken.jpg"), True, "", "here")
    again = LabelledImage(str(tmp_path / "broken.jpg"), True, "", "here")
    found = audit([*wall[:3], broken], [again])
    assert found.undecodable == 2
    assert found.counts["same_group"] == 1 and found.counts["same_pixels"] == 0


def numbered(folder: Path, photos: int, tiles: int, *, shuffled: bool) -> list[LabelledImage]:
    """Tiles numbered photo by photo, from 1 on without leading zeros, or in any order."""
    of_photo = np.repeat(np.arange(photos), tiles)
    if shuffled:
        np.random.default_rng(1).shuffle(of_photo)
    return [
        stored(folder / f"IMG_{k + 1}.png", concrete(1000 + k, int(photo), 64), group=f"p{photo}")
        for k, photo in enumerate(of_photo)
    ]


def split_by_tile(prints):
    held = np.random.default_rng(2).random(len(prints)) < 0.25
    return prints.take(np.flatnonzero(~held)), prints.take(np.flatnonzero(held))


def split_by_photo(prints):
    held = np.isin(prints.groups, [f"p{k}" for k in range(1, 100, 4)])
    return prints.take(np.flatnonzero(~held)), prints.take(np.flatnonzero(held))


def without_groups(prints):
    return replace(prints, groups=("",) * len(prints))


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    return fingerprint(numbered(tmp_path_factory.mktemp("series"), 20, 6, shuffled=False))


def test_audit_finds_series_in_a_split_by_tile(series):
    training, held_out = split_by_tile(series)
    found = audit_fingerprints(without_groups(training), without_groups(held_out))
    assert len(kinds(found)[LeakKind.SAME_SERIES]) >= 0.85 * len(held_out)
    group_of = dict(zip(series.paths, series.groups, strict=True))
    right = [group_of[leak.path] == group_of[leak.other] for leak in found.leaks]
    assert np.mean(right) > 0.9


def test_audit_finds_no_series_in_a_split_by_photo(series):
    training, held_out = split_by_photo(series)
    assert not audit_fingerprints(without_groups(training), without_groups(held_out)).leaks


def test_audit_ignores_series_where_groups_are_known(series):
    training, held_out = split_by_tile(series)
    apart = replace(held_out, groups=tuple(f"other {group}" for group in held_out.groups))
    assert not audit_fingerprints(training, apart).leaks
    assert audit_fingerprints(training, without_groups(apart)).counts["same_series"]


def test_audit_recognises_a_folder_named_from_higher_up(series):
    training, held_out = map(without_groups, split_by_tile(series))
    higher = replace(training, sources=("north/metu",) * len(training))
    other = replace(higher, is_crack_N=~higher.is_crack_N)
    found = replace(held_out, sources=("metu",) * len(held_out))
    assert audit_fingerprints(higher, found).counts["same_series"]
    assert not audit_fingerprints(other, found).leaks
    elsewhere = replace(held_out, sources=("south/metu",) * len(held_out))
    assert not audit_fingerprints(higher, elsewhere).leaks


def test_audit_finds_no_series_in_a_shuffled_folder(tmp_path):
    shuffled = fingerprint(numbered(tmp_path, 20, 6, shuffled=True))
    assert not audit_fingerprints(*map(without_groups, split_by_tile(shuffled))).leaks


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.1, 0.6), st.integers(40, 300))
def test_leaked_tiles_finds_none_in_unordered_traits(seed, share, count):
    rng = np.random.default_rng(seed)
    traits = rng.normal(0, rng.uniform(0.1, 30, TRAITS), (count, TRAITS)).astype(np.float16)
    assert leaked_tiles(traits, rng.random(count) < share) == {}


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**31), st.integers(5, 30))
def test_leaked_tiles_finds_ordered_photos_unless_the_split_keeps_them_whole(seed, tiles):
    rng = np.random.default_rng(seed)
    photo = np.arange(600) // tiles
    traits = rng.normal(0, 1, (photo[-1] + 1, TRAITS))[photo] + rng.normal(0, 0.4, (600, TRAITS))
    is_held_out = rng.random(600) < 0.2
    leaked = leaked_tiles(traits, is_held_out)
    assert len(leaked) > 0.8 * is_held_out.sum()
    assert all(is_held_out[k] and not is_held_out[mate] for k, (mate, _) in leaked.items())
    assert leaked_tiles(traits, photo % 4 == 1) == {}


def test_leaked_tiles_finds_a_split_of_every_second_tile():
    rng = np.random.default_rng(0)
    traits = rng.normal(0, 1, (20, TRAITS))[np.arange(200) // 10] + rng.normal(
        0, 0.3, (200, TRAITS)
    )
    assert leaked_tiles(traits, np.arange(200) % 2 == 1)


@pytest.mark.parametrize("count", [0, 1, 12])
def test_leaked_tiles_skips_small_and_one_sided_folders(count):
    assert leaked_tiles(np.zeros((count, TRAITS), np.float16), np.zeros(count, bool)) == {}
    assert leaked_tiles(np.zeros((count, TRAITS), np.float16), np.ones(count, bool)) == {}


def test_leaked_tiles_finds_none_in_equal_images():
    assert leaked_tiles(np.ones((100, TRAITS), np.float16), np.arange(100) % 3 == 0) == {}


def test_orientations_are_those_of_the_turned_pixels():
    pixels = np.stack([np.asarray(concrete(k, side=SIDE)) for k in range(3)])
    ways = list(orientations(looks(pixels)[0]))
    for k, upright in enumerate((pixels, pixels.transpose(0, 2, 1, 3))):
        for n, turned in enumerate(
            (upright, upright[:, :, ::-1], upright[:, ::-1], upright[:, ::-1, ::-1])
        ):
            expected = looks(np.ascontiguousarray(turned))[0]
            assert np.bitwise_count(expected ^ ways[4 * k + n]).sum(axis=1).max() <= 2


def test_fingerprints_kept_in_a_bundle_audit_without_the_images(series, tmp_path):
    seen, held_out = split_by_tile(series)
    new = without_groups(held_out)
    bundle = ModelBundle(
        path=tmp_path, labels=("clear", "crack"), positive="crack", preprocess=PreprocessSpec(),
        temperature=1.0, thresholds=Thresholds(clear_below=0.3, crack_from=0.7, chosen=""),
        files={},
    )  # fmt: skip
    assert trained_on_of(bundle) is None
    (tmp_path / FINGERPRINTS).parent.mkdir()
    save(seen, tmp_path / FINGERPRINTS)
    kept = trained_on_of(bundle)
    assert kept is not None and kept.groups == seen.groups
    assert kept.paths == tuple(Path(path).name for path in seen.paths)
    assert str(Path(seen.paths[0]).parent).encode() not in (tmp_path / FINGERPRINTS).read_bytes()
    direct, later = audit_fingerprints(seen, new), audit_fingerprints(kept, new)
    assert direct.counts == later.counts and direct.leaked_paths == later.leaked_paths
    assert later.counts["same_series"] > 0
    assert audit_fingerprints(kept, seen).counts["same_pixels"] == len(seen)


@pytest.mark.parametrize("content", [b"", b"PAR1 nothing"])
def test_load_refuses_damaged_fingerprints(tmp_path, content):
    (tmp_path / "f.parquet").write_bytes(content)
    with pytest.raises(BundleError, match="train again"):
        load(tmp_path / "f.parquet")


def test_load_refuses_fingerprints_of_another_version(tmp_path):
    pq.write_table(pa.table({"path": ["a"]}), tmp_path / "f.parquet")
    with pytest.raises(BundleError, match="another version"):
        load(tmp_path / "f.parquet")


def test_audit_makes_odd_file_names_printable(wall, tmp_path):
    name = b"wall\x1b[31m\xff.png".decode("utf-8", "surrogateescape")
    copy = stored(tmp_path / name, concrete(3))
    found = audit(wall, [copy])
    assert found.counts["same_pixels"] == 1
    text = "\n".join(found.lines()) + json.dumps(found.to_json())
    text.encode()
    assert "\x1b" not in text
    save(fingerprint([copy]), tmp_path / "f.parquet")
    assert load(tmp_path / "f.parquet").paths == (r"wall\x1b[31m\udcff.png",)


def test_audit_of_an_empty_side_finds_no_leak(wall):
    assert not audit([], wall[:2]).leaks
    assert not audit(wall[:2], []).leaks


def test_fingerprint_is_the_same_with_and_without_processes(wall):
    seen = []
    alone = fingerprint(wall, workers=0, progress=lambda _, done, total: seen.append((done, total)))
    assert seen[-1] == (40, 40)
    other = fingerprint(wall, workers=1)
    assert np.array_equal(alone.pixels_N, other.pixels_N)
    assert np.array_equal(alone.hashes_NB, other.hashes_NB)
    assert np.array_equal(alone.traits_NF, other.traits_NF)


@pytest.mark.skipif(not (METU / "metu").is_dir(), reason="the METU tiles are not here")
def test_audit_finds_series_in_metu_cracks_but_not_in_shuffled_negatives():
    """Positive is numbered photo by photo, Negative is shuffled."""
    images = find_labelled(METU / "metu", groups_csv=METU.parent / "train.csv")
    ordered = [x for x in images if x.is_crack and int(Path(x.path).stem) <= 600]
    shuffled = [x for x in images if not x.is_crack][:200]
    prints = without_groups(fingerprint([*ordered, *shuffled]))
    training, held_out = split_by_tile(prints)
    found = audit_fingerprints(training, held_out)
    called = {leak.path for leak in found.leaks if leak.kind == LeakKind.SAME_SERIES}
    of_series = {held_out.paths[k] for k in np.flatnonzero(held_out.is_crack_N)}
    assert called <= of_series
    assert len(called) > 0.85 * len(of_series)


def test_fingerprints_of_relative_and_absolute_paths_are_kept_together(tmp_path, monkeypatch):
    """Reviewed photos are absolute, whatever DATA is; and a bundle may have any name."""
    (tmp_path / "data").mkdir()
    for name in ("data/a.png", "b.png"):
        concrete(len(name)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    images = [LabelledImage("data/a.png", True, "", "data/a.png"),
              LabelledImage(str(tmp_path / "b.png"), True, "", "b")]  # fmt: skip
    file = Path(os.fsdecode(b"caf\xe9:1.parquet"))
    save(fingerprint(images, workers=0), file)
    assert load(file).paths == ("data/a.png", "b.png")
    assert audit(images, images[1:], workers=0).leaks


def test_paths_on_two_drives_begin_at_what_those_of_each_share(monkeypatch):
    monkeypatch.setattr(fingerprints, "os", SimpleNamespace(path=ntpath, sep="\\"))
    paths = ["C:\\a\\b\\1.jpg", "c:\\a\\c\\2.jpg", "D:\\x\\3.jpg", "\\\\nas\\s\\y\\4.jpg"]
    assert fingerprints.below_shared(paths) == ["b/1.jpg", "c/2.jpg", "3.jpg", "4.jpg"]
    assert fingerprints.below_shared([]) == []
