"""A directory of every kind of file that a scan may meet, with what each must become."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

OK = "ok"
IGNORED = "ignored"


def wall(seed: int, width: int = 90, height: int = 70) -> Image.Image:
    """A smooth image that no other seed gives, so that its score is its own."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def make_zoo(root: Path) -> dict[bytes, str]:
    """Fill `root`; returns, by relative name, `ok`, a failure code, or `ignored`."""
    return {
        **_pixel_types(root / "types"),
        **_broken(root / "broken"),
        **_odd_files(root / "odd"),
        **_odd_names(root / "names"),
    }


def _pixel_types(folder: Path) -> dict[bytes, str]:
    folder.mkdir(parents=True)
    image = wall(1)
    image.save(folder / "rgb.jpg")
    image.save(folder / "UPPER.JPG", format="JPEG")
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.convert("L").save(folder / "grey.jpeg")
    image.save(folder / "rgb.png")
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(folder / "16.png")
    image.convert("1").save(folder / "bit.png")
    image.convert("LA").save(folder / "alpha.png")
    palette = image.quantize(16)
    palette.info["transparency"] = 3
    palette.save(folder / "palette.png", transparency=3)
    frames = [wall(2), wall(3)]
    image.save(folder / "moving.gif", save_all=True, append_images=frames)
    image.save(folder / "moving.webp", save_all=True, append_images=frames)
    image.save(folder / "plain.webp")
    image.save(folder / "plain.tiff")
    image.save(folder / "plain.bmp")
    image.save(folder / "wrong.png", format="JPEG")
    image.save(folder / "no_suffix", format="PNG")
    image.save(folder / "photo.dat", format="JPEG")
    return {f"types/{name}".encode(): OK for name in os.listdir(folder)}


def _broken(folder: Path) -> dict[bytes, str]:
    folder.mkdir()
    wall(4).save(folder / "whole.jpg")
    whole = (folder / "whole.jpg").read_bytes()
    wall(4).save(folder / "whole.png")
    png = (folder / "whole.png").read_bytes()
    contents = {
        "empty.jpg": (b"", "empty"),
        "cut_3.jpg": (whole[:3], "truncated"),
        "cut_100.jpg": (whole[:100], "truncated"),
        "cut_half.jpg": (whole[: len(whole) // 2], "truncated"),
        "cut_2.jpg": (whole[:-2], "truncated"),
        "cut.png": (png[: len(png) // 2], "truncated"),
        "text.jpg": (b"not a photo at all\n", "not_an_image"),
        "page.jpg": (b"<!DOCTYPE html><html>404</html>", "not_an_image"),
        "phone.heic": (struct.pack(">I", 24) + b"ftypheic" + b"\0" * 40, "unsupported"),
        "zeros.png": (b"\0" * 500, "not_an_image"),
    }
    for name, (content, _) in contents.items():
        (folder / name).write_bytes(content)
    expected = {f"broken/{name}".encode(): code for name, (_, code) in contents.items()}
    return expected | {b"broken/whole.jpg": OK, b"broken/whole.png": OK}


def _odd_files(folder: Path) -> dict[bytes, str]:
    folder.mkdir()
    wall(5).save(folder / "photo.jpg")
    (folder / "notes.txt").write_text("notes")
    (folder / "README").write_text("no photo")
    (folder / "link.jpg").symlink_to("photo.jpg")
    (folder / "dangling.jpg").symlink_to("nowhere.jpg")
    (folder / "dangling.txt").symlink_to("nowhere.txt")
    (folder / "linked_dir").symlink_to("..", target_is_directory=True)
    (folder / "folder.jpg").mkdir()
    wall(6).save(folder / "folder.jpg" / "inside.png")
    (folder / "_inspector").mkdir()
    wall(7).save(folder / "_inspector" / "ours.png")
    os.mkfifo(folder / "pipe.jpg")
    os.mkfifo(folder / "pipe")
    return {
        b"odd/photo.jpg": OK,
        b"odd/link.jpg": OK,
        b"odd/folder.jpg/inside.png": OK,
        b"odd/dangling.jpg": "vanished",
        b"odd/pipe.jpg": "not_a_file",
        b"odd/notes.txt": IGNORED,
        b"odd/README": IGNORED,
        b"odd/dangling.txt": IGNORED,
        b"odd/pipe": IGNORED,
    }


def _odd_names(folder: Path) -> dict[bytes, str]:
    folder.mkdir()
    names = [
        b"latin\xe9.png",
        b"new\nline.png",
        b"esc\x1b[31m.png",
        "m\u00fcnchen \u6a4b.png".encode(),
        b"a b#c?d%20.png",
        b"[red]x.png",
    ]
    for number, name in enumerate(names):
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            wall(10 + number).save(file, format="PNG")
    return {b"names/" + name: OK for name in names}
