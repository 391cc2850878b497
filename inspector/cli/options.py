"""Options that several commands share, and how their words are read."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

import typer

_tracebacks_wanted = False


def tracebacks_wanted() -> bool:
    """Whether the command line asked for them."""
    return _tracebacks_wanted


def _want_tracebacks(verbose: bool) -> bool:
    global _tracebacks_wanted
    _tracebacks_wanted = _tracebacks_wanted or verbose
    return verbose


Verbose = Annotated[
    bool,
    typer.Option("-v", "--verbose", callback=_want_tracebacks, help="Show an error's traceback."),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.")]
Model = Annotated[
    Path | None, typer.Option(help="Model bundle; the one that comes along if not given.")
]
Device = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda[:i] or, to scan, cuda:all; cuda stops without a usable GPU."
    ),
]


def at_home(word: str) -> str:
    """A word of the command line; `--out=~/x` and `-o~/x` with the home directory written out, as
    shells do it for a word of its own only."""
    match = re.fullmatch(r"(--[a-z-]+=|-[a-zA-Z])(~.*)", word, re.DOTALL)
    return match[1] + os.path.expanduser(match[2]) if match else word


def auto_or_count(option: str, text: str) -> int | None:
    """None for `auto`. Raises BadParameter for what is neither that nor a number."""
    if text == "auto":
        return None
    if not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is neither auto nor a number", param_hint=option)
    return int(text)
