"""The table of samples: what each file shows, its seed, its size and how it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from inspector.synthesis import CrackStyle, Kind, SurfaceStyle


class Damage(StrEnum):
    """How a broken sample is broken."""

    EMPTY = "empty"
    TRUNCATED = "truncated"
    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One sample file. The size is that of the image as displayed, in pixels."""

    name: str
    kind: Kind
    seed: int
    width: int
    height: int
    surface: SurfaceStyle
    crack: CrackStyle | None = None
    mode: Literal["RGB", "L", "P"] = "RGB"
    """Pillow mode it is stored in: colour, grayscale or palette."""
    quality: int = 88
    """JPEG quality."""
    orientation: Literal[1, 6, 8] = 1
    """EXIF orientation; the stored pixels are turned so that the display is upright."""
    camera: bool = False
    """Whether the EXIF data tell time, place and camera."""
    damage: Damage | None = None


_LIGHT = SurfaceStyle(brightness=196, cast=(1.02, 1.0, 0.97), mottle=0.02, grain=0.02, blur=0.6)
_PALE = SurfaceStyle(
    brightness=182, cast=(0.99, 1.0, 1.01), mottle=0.03, aggregate=0.05, gradient=0.15
)
_GREY = SurfaceStyle(brightness=142, mottle=0.03, grain=0.03, aggregate=0.06, voids_per_mpx=250)
_BEIGE = SurfaceStyle(brightness=168, cast=(1.06, 1.0, 0.90), mottle=0.025, aggregate=0.07)
_PLASTER = SurfaceStyle(brightness=150, cast=(1.02, 1.0, 0.98), relief=0.05, mottle=0.015)
_TROWELED = SurfaceStyle(brightness=160, cast=(0.97, 1.0, 1.02), streaks=0.015, gradient=0.2)
_DARK = SurfaceStyle(
    brightness=78, cast=(0.98, 1.0, 1.01), grain=0.04, aggregate=0.06, noise=3, gradient=0.2
)
_BOARDS = SurfaceStyle(brightness=135, boards_px=96, streaks=0.02, voids_per_mpx=300, gradient=0.15)
_PHOTO = SurfaceStyle(
    brightness=158,
    cast=(1.02, 1.0, 0.96),
    mottle=0.018,
    grain=0.02,
    boards_px=900,
    streaks=0.004,
    voids_per_mpx=60,
    gradient=0.25,
    noise=1.2,
    blur=1.0,
)

SAMPLES: tuple[Sample, ...] = (
    Sample(
        name="crack_wide_diagonal.jpg",
        kind=Kind.CRACK,
        seed=101,
        width=320,
        height=320,
        surface=_LIGHT,
        crack=CrackStyle(width_px=8, contrast=0.8, direction_deg=45, rim=0.5, blur_px=0.8),
    ),
    Sample(
        name="crack_hairline_vertical.jpg",
        kind=Kind.CRACK,
        seed=102,
        width=300,
        height=400,
        surface=_PALE,
        crack=CrackStyle(width_px=1.1, contrast=0.65, direction_deg=90, roughness=0.08),
    ),
    Sample(
        name="crack_hairline_dark_wall.jpg",
        kind=Kind.CRACK,
        seed=103,
        width=360,
        height=270,
        surface=_DARK,
        crack=CrackStyle(width_px=1.5, contrast=0.75, direction_deg=165, roughness=0.1),
    ),
    Sample(
        name="crack_branching_low_contrast.jpg",
        kind=Kind.CRACK,
        seed=104,
        width=480,
        height=360,
        surface=_GREY,
        crack=CrackStyle(width_px=3, contrast=0.4, direction_deg=30, branches=3),
    ),
    Sample(
        name="crack_medium_horizontal.png",
        kind=Kind.CRACK,
        seed=105,
        width=256,
        height=256,
        surface=_TROWELED,
        crack=CrackStyle(width_px=3.5, contrast=0.7, direction_deg=0, roughness=0.1),
    ),
    Sample(
        name="crack_spalled_beige.jpg",
        kind=Kind.CRACK,
        seed=106,
        width=227,
        height=227,
        surface=_BEIGE,
        crack=CrackStyle(width_px=5, contrast=0.75, direction_deg=120, rim=1.0, branches=1),
    ),
    Sample(
        name="crack_interrupted_grayscale.jpg",
        kind=Kind.CRACK,
        seed=107,
        width=448,
        height=300,
        surface=_PLASTER,
        crack=CrackStyle(width_px=2.2, contrast=0.7, direction_deg=15, gaps=0.12),
        mode="L",
    ),
    Sample(
        name="crack_short_palette.png",
        kind=Kind.CRACK,
        seed=108,
        width=240,
        height=240,
        surface=_LIGHT,
        crack=CrackStyle(width_px=4, contrast=0.8, direction_deg=70, through=False),
        mode="P",
    ),
    Sample(
        name="crack_exif_rotated.jpg",
        kind=Kind.CRACK,
        seed=109,
        width=300,
        height=450,
        surface=_BOARDS,
        crack=CrackStyle(width_px=3, contrast=0.7, direction_deg=80, branches=1),
        orientation=8,
    ),
    Sample(
        name="crack_photo_12mp.jpg",
        kind=Kind.CRACK,
        seed=110,
        width=3000,
        height=4000,
        surface=_PHOTO,
        crack=CrackStyle(
            width_px=4, contrast=0.7, direction_deg=75, branches=2, roughness=0.08, blur_px=1.0
        ),
        quality=85,
        orientation=6,
        camera=True,
    ),
    Sample(
        name="clear_plain_light.jpg",
        kind=Kind.CLEAN,
        seed=201,
        width=320,
        height=240,
        surface=_LIGHT,
    ),
    Sample(
        name="clear_plain_dark.jpg", kind=Kind.CLEAN, seed=202, width=300, height=300, surface=_DARK
    ),
    Sample(
        name="clear_boards.jpg", kind=Kind.CLEAN, seed=203, width=480, height=320, surface=_BOARDS
    ),
    Sample(name="clear_joint.jpg", kind=Kind.JOINT, seed=204, width=400, height=300, surface=_PALE),
    Sample(
        name="clear_joint_wide.jpg",
        kind=Kind.JOINT,
        seed=503,
        width=300,
        height=300,
        surface=_PLASTER,
    ),
    Sample(name="clear_stain.jpg", kind=Kind.STAIN, seed=205, width=360, height=360, surface=_GREY),
    Sample(
        name="clear_shadow.jpg", kind=Kind.SHADOW, seed=206, width=384, height=288, surface=_BEIGE
    ),
    Sample(
        name="clear_shadow_edge.jpg",
        kind=Kind.SHADOW,
        seed=503,
        width=300,
        height=300,
        surface=_TROWELED,
    ),
    Sample(
        name="clear_holes.jpg", kind=Kind.HOLES, seed=207, width=320, height=320, surface=_TROWELED
    ),
    Sample(
        name="clear_scratch.jpg",
        kind=Kind.SCRATCH,
        seed=208,
        width=300,
        height=227,
        surface=_GREY,
    ),
    Sample(name="clear_rust.jpg", kind=Kind.RUST, seed=209, width=300, height=400, surface=_PALE),
    Sample(
        name="broken_empty.jpg",
        kind=Kind.CLEAN,
        seed=301,
        width=227,
        height=227,
        surface=_GREY,
        damage=Damage.EMPTY,
    ),
    Sample(
        name="broken_truncated.jpg",
        kind=Kind.CRACK,
        seed=302,
        width=320,
        height=320,
        surface=_GREY,
        crack=CrackStyle(width_px=4, contrast=0.7),
        damage=Damage.TRUNCATED,
    ),
    Sample(
        name="broken_text.jpg",
        kind=Kind.CLEAN,
        seed=303,
        width=227,
        height=227,
        surface=_GREY,
        damage=Damage.TEXT,
    ),
)
