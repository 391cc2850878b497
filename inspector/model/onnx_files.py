"""Find the files that an ONNX file reads, without the onnx package, which a scan does without.

ONNX is a protocol buffer (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). Only the fields
that lead to tensors are followed; all others are skipped by their length.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from pathlib import Path

    Content = mmap.mmap | bytes

_INSIDE = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {4: "operator", 5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
    "entry": {1: "key", 2: "value"},
}
"""Message, field number, and what lies there."""
_VARINT, _EIGHT, _LENGTH, _FOUR = 0, 1, 2, 5
"""Encodings of a field's value."""
_COMPILED = "EPContext"
"""An operator whose tensor is an engine compiled for some device: a program."""


def files_read_by(file: Path) -> set[str]:
    """The names under which an ONNX file refers to other files. Raises OSError, and ValueError for
    what is no ONNX or holds a compiled program."""
    with file.open("rb") as stream:
        if stream.seek(0, 2) == 0:
            raise ValueError("it is empty")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _locations(content)


def unlisted(file: Path, listed: Container[str]) -> list[str]:
    """What is wrong with the files that an ONNX file reads: each that is not `listed`."""
    try:
        names = sorted(name for name in files_read_by(file) if name not in listed)
    except ValueError as error:
        return [f"{file.name} is no ONNX model ({error})"]
    return [f"{file.name} reads {name!r:.80}, which is not listed" for name in names]


def _locations(content: Content) -> set[str]:
    names, graphs = set(), 0
    waiting = [("model", 0, len(content))]
    while waiting:  # no recursion: graphs may be nested without end
        kind, begin, end = waiting.pop()
        entry = {}
        for number, first, last in _parts(content, begin, end):
            inside = _INSIDE[kind].get(number)
            if inside in _INSIDE:
                waiting.append((inside, first, last))
                graphs += inside == "graph"
            elif inside == "operator" and content[first:last] == _COMPILED.encode():
                raise ValueError("it holds a compiled engine, which is a program")
            elif inside is not None:
                entry[inside] = content[first:last]
        if entry.get("key") == b"location":
            names.add(entry.get("value", b"").decode())
    if not graphs:
        raise ValueError("it holds no graph")
    return names


def _parts(content: Content, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, begin and end of each field of a message that has a length."""
    place = begin
    while place < end:
        tag, place = _varint(content, place, end)
        number, encoding = tag >> 3, tag & 7
        if encoding == _VARINT:
            _, place = _varint(content, place, end)
        elif encoding in (_EIGHT, _FOUR):
            place += 8 if encoding == _EIGHT else 4
        elif encoding == _LENGTH:
            length, place = _varint(content, place, end)
            yield number, place, place + length
            place += length
        else:
            raise ValueError("it is no protocol buffer")
        if place > end:
            raise ValueError("it is cut off")


def _varint(content: Content, place: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while place < end and shift < 64:
        byte = content[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
    raise ValueError("it is cut off")
