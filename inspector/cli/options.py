"""Options that several commands share."""

from __future__ import annotations

import json
import os
import re
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from inspect import Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from inspector.core.text import print_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


Command = TypeVar("Command", bound="Callable[..., Any]")
Config = TypeVar("Config")

_tracebacks_wanted = False


def tracebacks_wanted() -> bool:
    """Whether the command line asked for them."""
    return _tracebacks_wanted


def _want_tracebacks(verbose: bool) -> bool:
    global _tracebacks_wanted
    _tracebacks_wanted = _tracebacks_wanted or verbose
    return verbose


def completed(*words: str) -> Callable[[str], list[str]]:
    """What a shell offers for an option: those of `words` that begin with what is there."""

    def matching(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return matching


def one_of(*words: str) -> dict[str, Any]:
    """Parameters of an option that takes one of these words."""
    return {"metavar": "|".join(words), "autocompletion": completed(*words)}


photos = partial(typer.Option, rich_help_panel="Photos")
verdicts = partial(typer.Option, rich_help_panel="Verdicts")
speed = partial(typer.Option, rich_help_panel="Speed")
output = partial(typer.Option, rich_help_panel="Output")

Verbose = Annotated[
    bool,
    output(
        "-v", "--verbose", callback=_want_tracebacks, help="Say more; show an error's traceback."
    ),
]
Quiet = Annotated[bool, output("-q", "--quiet", help="Say nothing but errors.")]
Model = Annotated[
    Path | None, verdicts(metavar="BUNDLE", help="Another model than the one that comes along.")
]
Device = Annotated[
    str,
    speed(
        metavar="auto|cpu|cuda",
        autocompletion=completed("auto", "cpu", "cuda", "cuda:0", "cuda:all"),
        help="Where the model runs. cuda stops without a usable GPU; cuda:1 is the second one, "
        "cuda:all are all of them (scan only).",
    ),
]

View = Annotated[
    str,
    verdicts(
        **one_of("auto", "whole", "dense", "tiles"),
        help="whole: shrunk to the model's input; dense and tiles: at the photo's own scale; "
        "auto: dense for large photos.",
    ),
]
Threshold = Annotated[
    float | None,
    verdicts(metavar="P", help="Crack from this probability on, clear below it, no band between."),
]
MmPerPx = Annotated[
    float | None,
    verdicts(
        metavar="MM", help="How many millimetres a pixel shows; drones often tell it themselves."
    ),
]
MinCrackMm = Annotated[
    float | None,
    verdicts(
        metavar="MM",
        help="The narrowest crack that matters: a photo that cannot show it is never clear.",
    ),
]
Moved = Annotated[
    str | None,
    photos(metavar="OLD=NEW", help="What was scanned as OLD, a folder or a file, is NEW now."),
]
Since = Annotated[
    str | None,
    photos(
        metavar="TIME",
        help="Only photos that were judged then or later: 2026-11-30, or 2026-11-30T18:50.",
    ),
]
AnyOut = Annotated[
    str,
    typer.Argument(
        metavar="OUT",
        help="Result directory of a scan, or its address in a bucket.",
        show_default=False,
    ),
]


def with_options_of(other: Callable[..., Any], *without: str) -> Callable[[Command], Command]:
    """Give a function that ends in `**options` the parameters of `other`, before its own."""

    def decorate(command: Command) -> Command:
        own = dict(signature(command, eval_str=True).parameters)
        del own["options"]
        theirs = signature(other, eval_str=True).parameters
        taken = {name: theirs[name] for name in theirs if name not in (*own, *without)}
        parameters = sorted((taken | own).values(), key=lambda each: each.default is not each.empty)
        command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        return command

    return decorate


def at_home(word: str) -> str:
    """A word of the command line; `--out=~/x` and `-o~/x` with the home directory written out, as
    shells do it for a word of its own only."""
    match = re.fullmatch(r"(--[a-z-]+=|-[a-zA-Z])(~.*)", word, re.DOTALL)
    return match[1] + os.path.expanduser(match[2]) if match else word


def auto_or_count(text: str) -> int | None:
    """None for `auto`. Raises BadParameter for what is neither that nor a number."""
    if text == "auto":
        return None
    if not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is neither auto nor a number")
    return int(text)


_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kMGT]?)(i?)([PB]?)", re.IGNORECASE)


def size(text: str | int) -> int:
    """`180MP`, `1GB`, `1GiB` or a number as pixels or bytes. Raises BadParameter."""
    if match := _SIZE.fullmatch(str(text).strip()):
        number, prefix, binary, _ = match.groups()
        times: int = (1024 if binary else 1000) ** " kmgt".index(prefix.lower() or " ")
        value = float(number) * times
        if prefix or value.is_integer():
            return round(value)
    raise typer.BadParameter(f"{text!r} is no size like 180MP or 1GB")


@contextmanager
def working(phase: str, *, quiet: bool = False) -> Iterator[None]:
    """Name what is being done, as long as it takes."""
    from inspector.core.progress import CountingBar

    with CountingBar(quiet=quiet) as bar:
        bar(phase, 0, 0)
        yield


def from_options(config: type[Config], given: Mapping[str, Any], **other: Any) -> Config:
    """Make a config of the options of a command that have the names of its fields, and of `other`;
    a field whose option was not given (None) keeps its default."""
    values: dict[str, Any] = {}
    for field in fields(config):  # type: ignore[arg-type]
        if (value := given.get(field.name)) is not None:
            values[field.name] = tuple(value) if isinstance(value, list) else value
    return config(**values | other)


def called(name: str, given: Mapping[str, Any], **other: Any) -> tuple[Callable[..., Any], Any]:
    """Return the library's function of a name, and its config, made as by `from_options`."""
    from inspector import _CALLS
    from inspector.library.calls import find

    function, config = map(find, _CALLS[name])
    return function, from_options(config, given, **other)


def carry_out(
    name: str, given: Mapping[str, Any], *, as_json: bool, **other: Any
) -> tuple[Any, Any]:
    """Run the library's function of a name under a progress bar, and print its result, as JSON or
    in words; return it and the config. Ends with the exit code that the result has, if it has
    one."""
    from inspector import _LINES
    from inspector.core.progress import CountingBar
    from inspector.library.calls import find

    function, config = called(name, given, **other)
    with CountingBar() as bar:
        result = function(config, progress=bar)
    if as_json:
        print(json.dumps(result.to_json(), indent=2))
    else:
        print_lines(find(_LINES[name])(result))
    if code := getattr(result, "exit_code", 0):
        raise typer.Exit(code)
    return result, config
