"""Text from others cannot drive a terminal."""

from __future__ import annotations

from inspector.text import printable


def test_control_characters_are_spelled_out():
    text = "a\x1b[31m\r\n\x07\u202egpj\u009b0m\udcff\u00fc"
    assert printable(text) == r"a\x1b[31m\r\n\x07\u202egpj\x9b0m\udcff" + "\u00fc"
