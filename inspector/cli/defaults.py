"""Defaults of options from a file: `inspector.toml` in the current directory, or `--config FILE`.

A table for each command, and in it long names of options:

    [scan]
    precision = "int8"
    max-failures = "5%"
    exclude = ["*_thumb.jpg"]

A value means what it would mean on the command line, which wins. Paths are relative to the file.
The file of the current directory may be that of somebody else, who sent a folder: what it has
written stays below it, or is a table on this machine to which rows are added.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from inspector.cli.help import Command, worded
from inspector.cli.options import Verbose, output
from inspector.core.text import print_lines, wrapped
from inspector.core.untrusted import LARGEST_JSON, in_bucket
from inspector.errors import UsageError

HERE = "inspector.toml"
_PLACES = ("BUNDLE", "CSV", "DIR", "FILE", "OUT", "-|FILE")
"""Metavars of options that take a path."""
_NEVER = ("address", "config", "moved", "overwrite", "prune", "source-gone", "trust")
"""Options that a person gives each time: they change or remove results, run a program, or call a
machine."""
_READ = ("calibration", "cover", "groups", "images", "labels", "model", "trained-on", "validation")
"""Options of places that are only read."""
_ADDING = ("calibrate", "scan", "watch")
"""Commands whose --out loses nothing that is there, whoever names it."""


def _options() -> list[Any]:
    """The options that every command has, as it has `--help`."""
    alone = typer.Typer(add_completion=False)

    @alone.command()
    def _(
        verbose: Verbose = False,
        config: Annotated[
            Path | None,
            output(
                "--config",
                metavar="FILE",
                show_default=HERE,
                help="TOML file with defaults of options, a table for each command.",
            ),
        ] = None,
    ) -> None: ...

    options = typer.main.get_command(alone).params
    for option in options:
        option.expose_value = False
    return options


_VERBOSE, _CONFIG = _options()


class Configured(Command):
    """A command whose options have their defaults from a file, where there is one."""

    def __init__(self, *args: Any, **about: Any) -> None:
        super().__init__(*args, **about)
        for param in self.params:
            param.secondary_opts = []  # flags are off where they are not given: no --no-flag
        if not any(param.name == "verbose" for param in self.params):
            self.params.append(_VERBOSE)

    def get_params(self, ctx: Any) -> list[Any]:
        return [*super().get_params(ctx), _CONFIG]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if ctx.resilient_parsing:  # a shell completes
            return super().parse_args(ctx, args)
        named = self.make_parser(ctx).parse_args(args=[*args])[0].get("config")
        if named is None and not os.path.lexists(HERE):
            return super().parse_args(ctx, args)
        ctx.meta[HERE] = file = Path(named or HERE)
        ctx.default_map = _defaults(file, self, ctx)
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            if error.param is None or not _is_from_file(error.param, ctx):
                raise
            raise UsageError(f"{file}: {_key(error.param)}: {error.message}") from error

    def invoke(self, ctx: Any) -> Any:
        """Say once which file gave which defaults, then run. Raises UsageError for a place that
        the file of the current directory may not have written to."""
        taken = [param for param in self.params if _is_from_file(param, ctx)]
        if ctx.get_parameter_source("config").name == "DEFAULT":
            for param in taken:
                _refuse_elsewhere(param, ctx)
        if taken and (not ctx.params.get("quiet") or any(p.name == "quiet" for p in taken)):
            said = (f"{_key(p)} {worded(ctx.default_map[p.name])}".strip() for p in taken)
            text = f"{', '.join(said)} ({ctx.meta[HERE]})"
            print_lines(wrapped("defaults", text), to_stderr=True)
        from inspector.results.schema import leave_pandas_out

        leave_pandas_out()
        return super().invoke(ctx)


def _is_from_file(param: Any, ctx: Any) -> bool:
    source = ctx.get_parameter_source(param.name)
    return bool(source is not None and source.name == "DEFAULT_MAP")


def _refuse_elsewhere(param: Any, ctx: Any) -> None:
    """Raise UsageError where a value of the file has something written outside of its folder."""
    file, key, place = ctx.meta[HERE], _key(param), ctx.default_map[param.name]
    adds = key == "out" and ctx.info_name in _ADDING and not in_bucket(place)
    if param.metavar not in _PLACES or key in _READ or adds or place == "-":
        return
    inside = Path(os.path.realpath(place)).is_relative_to(os.path.realpath(file.parent))
    if in_bucket(place) or not inside:
        raise UsageError(
            f"{file}: {key} {place} lies outside of the file's folder; give --{key} on the command "
            "line, or name the file by --config"
        )


def _key(param: Any) -> str:
    """The long name of an option; empty for an argument."""
    return next((str(name)[2:] for name in param.opts if name.startswith("--")), "")


def _defaults(file: Path, command: Command, ctx: Any) -> dict[str, Any]:
    """The file's values for a command, by the names its function has. Raises UsageError."""
    values = _table(file, ctx)
    params = {_key(param): param for param in command.params}
    there = [key for key in params if key and key not in _NEVER]
    found = {}
    for key, value in values.items():
        name = key.replace("_", "-")
        if name in _NEVER:
            raise UsageError(f"{file}: --{name} stands on the command line only; take out {key}")
        if name not in there:
            what = f"{ctx.info_name} has no option {key}"
            raise UsageError(f"{file}: {what}{_nearest(name, there)}")
        found[params[name].name] = _as_typed(file, key, value, params[name])
    return found


def _table(file: Path, ctx: Any) -> dict[str, Any]:
    """The table of the command that `ctx` runs. Raises UsageError."""
    import tomllib

    if file.name == HERE and file.exists() and not _is_plain(file):
        raise UsageError(f"{file} is no file of settings; --config /dev/null goes without it")
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot read the defaults in {file}: {why}") from error
    known = list(ctx.find_root().command.commands)
    for name, value in tables.items():
        if name not in known:
            raise UsageError(f"{file}: there is no command {name}{_nearest(name, known)}")
        if not isinstance(value, dict):
            raise UsageError(f"{file}: {name} is a command, so write [{name}] and options below")
    _, *words = ctx.command_path.split()
    table: dict[str, Any] = tables.get(words[0], {})
    if words[0] == "bench":  # [bench] for itself, [bench.compare] for what follows it
        inner = table.get("compare", {})
        table = inner if words[-1] == "compare" else {k: table[k] for k in table if k != "compare"}
    return table


def _is_plain(file: Path) -> bool:
    """Whether it is a file, and of a size that somebody may have written."""
    return file.is_file() and file.stat().st_size <= LARGEST_JSON


def _nearest(name: str, there: list[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, there, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(there)}"


def _as_typed(file: Path, key: str, value: Any, param: Any) -> Any:
    """A value as the command line would have it: a text, several, or whether a flag is there.
    Raises UsageError for one of another type."""
    several = getattr(param, "multiple", False)
    wanted = "true or false" if param.is_flag else "a list of texts" if several else "one value"
    each = value if several and isinstance(value, list) else [value]
    right = (isinstance(value, list) == several) and all(
        isinstance(one, bool if param.is_flag else str | int | float)
        and isinstance(one, bool) == param.is_flag
        for one in each
    )
    if not right:
        raise UsageError(f"{file}: {key} is {wanted}, not {value!r}")
    if param.is_flag:
        return value
    texts = [_placed(file, str(one)) if param.metavar in _PLACES else str(one) for one in each]
    return texts if several else texts[0]


def _placed(file: Path, text: str) -> str:
    if text == "-" or in_bucket(text):
        return text
    return str(file.parent / os.path.expanduser(text))
