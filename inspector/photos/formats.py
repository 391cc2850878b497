"""Image formats: recognized by name and by content, and those of them that can be decoded."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.util import find_spec
from os import path

_DECODABLE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .webp .tif .tiff .btf .tf8 .bmp .dib .gif .heic .heics .heif"
    " .heifs .hif .avif .avifs .dng .raw .cr2 .cr3 .crw .nef .nrw .arw .sr2 .srf .srw .orf .rw2"
    " .rwl .raf .pef .iiq .3fr .fff .erf .mef .mos .mrw .kdc .dcr .x3f .gpr".split()
)
_OTHER_IMAGE_SUFFIXES = frozenset(
    ".jxl .jp2 .j2k .j2c .jpc .jpf .jpx .jxr .wdp .psd .psb .xcf .exr .hdr .tga .pcx .dds .qoi .dpx"
    " .ppm .pgm .pbm .pnm .pam .pfm .ico .bpg".split()
)
IMAGE_SUFFIXES = _DECODABLE_SUFFIXES | _OTHER_IMAGE_SUFFIXES
"""Lower-case name endings that promise an image, decodable or not."""

RAW = "camera raw"
"""Beginning of the names of all formats of what a camera's sensor saw."""
EXTRAS = {"HEIC": ("heif", "pillow_heif"), RAW: ("raw", "rawpy")}
"""Formats that need an extra: its name, and the module that it brings."""

MAGIC_BYTES = 16
"""Number of leading bytes that `sniff` looks at."""

_SIGNATURES = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "TIFF": (b"II*\x00", b"MM\x00*"),
    "BigTIFF": (b"II+\x00", b"MM\x00+"),
    "GIF": (b"GIF87a", b"GIF89a"),
    "JPEG XL": (b"\xff\x0a", b"\x00\x00\x00\x0cJXL "),
    "JPEG 2000": (b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51"),
    "PSD": (b"8BPS",),
    "EXR": (b"v/1\x01",),
    "HDR": (b"#?RADIANCE", b"#?RGBE"),
    "camera raw (Fujifilm RAF)": (b"FUJIFILMCCD-RAW",),
    "camera raw (Olympus ORF)": (b"IIRO", b"IIRS", b"MMOR"),
    "camera raw (Panasonic RW2, Leica RWL)": (b"IIU\x00",),
    "camera raw (Minolta MRW)": (b"\x00MRM",),
    "camera raw (Sigma X3F)": (b"FOVb",),
    "JPEG XR": (b"II\xbc\x01",),
    "MNG": (b"\x8aMNG\r\n\x1a\n",),
    "JNG": (b"\x8bJNG\r\n\x1a\n",),
    "XCF": (b"gimp xcf ",),
    "DDS": (b"DDS ",),
    "QOI": (b"qoif",),
    "BPG": (b"BPG\xfb",),
    "DPX": (b"SDPX", b"XPDS"),
    "FITS": (b"SIMPLE  =",),
    "SGI": (b"\x01\xda\x00\x01", b"\x01\xda\x01\x01"),
    "PCX": (b"\x0a\x05\x01\x01", b"\x0a\x05\x01\x08"),
}
"""First bytes by format; those that stand elsewhere are in `sniff`."""
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis"), "HEIC"),
    **dict.fromkeys((b"hevc", b"hevx", b"hevm", b"hevs"), "HEIC"),
    **dict.fromkeys((b"mif1", b"mif2", b"mif3", b"msf1", b"miaf"), "HEIF"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    b"crx ": "camera raw (Canon CR3)",
}
"""Formats by the first brand of an ISO base media file (ISO/IEC 14496-12, section 4.3)."""
_NETPBM = re.compile(rb"P[1-6]\s+(?:#|\d+\s+\d)|P7\n[A-Z#]|P7 332|P[Ff]\n-?\d")
_ICON = re.compile(rb"\x00\x00\x01\x00[^\x00]\x00.{3}\x00", re.DOTALL)
_TARGA = re.compile(rb".[\x00\x01][\x01-\x03\x09-\x0b]", re.DOTALL)
"""The beginning of a TGA, and of many other files, too."""


PLAIN = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
"""The formats that Pillow opens by itself, by its names. An MPO (several JPEGs in one file) is
opened as a JPEG; Pillow knows no opener of that name."""


@lru_cache
def decodable() -> tuple[str, ...]:
    """The formats that what is installed decodes; nothing else ever reaches a decoder."""
    modules = {"AVIF": "PIL._avif", "HEIF": EXTRAS["HEIC"][1], RAW: EXTRAS[RAW][1]}
    optional = (form for form, module in modules.items() if find_spec(module))
    return (*PLAIN, *optional)


def missing_extra(form: str) -> str:
    """Say what to install for a format of `EXTRAS`, or for AVIF."""
    if form in EXTRAS:
        return f'{form} files need: pip install "crack-inspector[{EXTRAS[form][0]}]"'
    return f"{form} files need a Pillow that was built with it: pip install --upgrade pillow"


def named_like_an_image(name: str) -> bool:
    """Whether a name ends like that of an image, decodable or not."""
    return path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def named_like_a_tiff(name: str) -> bool:
    """Whether a name ends like that of a TIFF, which may hold several photos."""
    return name[-5:].lower().endswith((".tif", ".tiff", ".btf", ".tf8"))


ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
"""Lower-case ends of the names of archives that are read."""


UNREAD_ARCHIVES = (
    *(".7z", ".7z.001", ".rar", ".z01", ".tar.xz", ".txz"),
    *(".tar.bz2", ".tbz2", ".tbz", ".tar.zst", ".tzst"),
)
"""Lower-case ends of the names of other archives."""
_PACKED = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\xfd7zXZ\0": "an xz archive",
    b"BZh": "a bzip2 archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"PK\x07\x08PK": "a piece of a split ZIP archive",
}
"""Archives that are not read, by their first bytes."""
_BZIP2_BLOCK = b"1AY&SY"
"""What follows the first four bytes of a bzip2 file that is not empty."""


def named_like_an_archive(name: str) -> bool:
    """Whether a name ends like that of an archive that can be read."""
    return name[-7:].lower().endswith(ARCHIVES)


def named_like_an_unread_archive(name: str) -> bool:
    """Whether a name ends like that of an archive of another kind."""
    return name[-8:].lower().endswith(UNREAD_ARCHIVES)


def unread_archive(head: bytes) -> str | None:
    """Return what archive that is not read the first bytes of a file announce, or None."""
    for magic, kind in _PACKED.items():
        if head.startswith(magic) and (magic != b"BZh" or head[4:10] == _BZIP2_BLOCK):
            return kind
    return None


def sniff(head: bytes, name: str = "") -> str | None:
    """Return the image format that the first bytes of a file announce, or None. For a format that
    these do not tell apart from other files, its name has to announce it as well."""
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":
        return "BMP"
    if head[:2] == b"BA" and head[14:16] == b"BM":
        return "OS/2 bitmap array"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12])
    if head[8:12] == b"WEBP":
        return "WEBP"
    if head[6:14] == b"HEAPCCDR":
        return "camera raw (Canon CRW)"
    for form, signatures in _SIGNATURES.items():
        if head.startswith(signatures):
            return form
    if _NETPBM.match(head):
        return "Netpbm (PBM, PGM, PPM)"
    if _ICON.match(head):
        return "ICO"
    return "TGA" if name.lower().endswith(".tga") and _TARGA.match(head) else None
