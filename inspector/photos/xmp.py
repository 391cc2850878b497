"""XMP packets, read by ourselves and within limits: they come from anybody."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.parsers import expat

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_BYTES = 1 << 18
"""Of a packet; what is longer is none."""
_PREFIXES = {
    "http://ns.adobe.com/exif/1.0/": "exif",
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://ns.adobe.com/photoshop/1.0/": "photoshop",
    "http://www.dji.com/drone-dji/1.0/": "drone-dji",
    "http://www.parrot.com/drone-parrot/1.0/": "drone-parrot",
    "http://pix4d.com/camera/1.0": "Camera",
    "http://pix4d.com/camera/1.0/": "Camera",
}
"""The namespaces that are read, and what they are called here, whatever a file calls them."""
_NAMESPACE_END = " "
"""No namespace can contain it."""


def number(value: object) -> float | None:
    """Return a finite number of EXIF or XMP, which may be a fraction as text; None for others."""
    top, _, bottom = value.partition("/") if isinstance(value, str) else (value, "", "")
    try:
        number = float(top) / float(bottom or 1)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def read_xmp(block: object) -> Mapping[str, str]:
    """Read the simple properties of an XMP packet (ISO 16684-1) by name, with the prefix that is
    usual for the namespace: `exif:DateTimeOriginal`. Empty where the packet is damaged or large."""
    if not isinstance(block, bytes) or len(block) > MOST_BYTES:
        return {}
    found: dict[str, str] = {}
    texts: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        texts.clear()
        for attribute, value in attributes.items():
            keep(attribute, value)

    def end(name: str) -> None:
        keep(name, "".join(texts))
        texts.clear()

    def keep(name: str, value: str) -> None:
        namespace, _, local = name.rpartition(_NAMESPACE_END)
        prefix = _PREFIXES.get(namespace)
        if prefix and value.strip():
            found.setdefault(f"{prefix}:{local}", value.strip())

    def refuse(*_: object) -> None:
        raise ValueError("it declares entities, which XMP does not need and bombs are made of")

    parser = expat.ParserCreate(namespace_separator=_NAMESPACE_END)
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = texts.append
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(block.strip(b"\0 \r\n\t"), True)
    except (expat.ExpatError, ValueError):  # ValueError also: an encoding nobody knows
        return {}
    return found
