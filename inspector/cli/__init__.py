"""The command line: parse, build a config, call the library, print.

Heavy imports stand inside the commands, so that `inspector --help` costs nothing.
"""

from __future__ import annotations

import inspect
import sys
import traceback
from typing import Annotated

import typer

from inspector.cli import bench, calibrate, evaluate, model, report, review, scan
from inspector.cli.options import at_home, tracebacks_wanted
from inspector.core.streams import patient_streams
from inspector.errors import InspectorError
from inspector.version import __version__

app = typer.Typer(
    name="inspector",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Find cracks in photos of concrete: one verdict per photo, as a Parquet table.",
    epilog="Start with: inspector scan /photos",
)
for part in (scan, review, report, model, evaluate, calibrate, bench):
    app.add_typer(part.commands)
for group in (*app.registered_groups, bench.commands.registered_groups[0]):
    for command in group.typer_instance.registered_commands if group.typer_instance else ():
        # The lines of a docstring are those of the source; a screen has its own.
        paragraphs = inspect.cleandoc(str(command.callback.__doc__)).split("\n\n")
        command.help = "\n\n".join(" ".join(text.split()) for text in paragraphs)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"inspector {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None: ...


def main() -> None:
    """Run the command line; an InspectorError becomes one line and its exit code."""
    with patient_streams():
        try:
            app([at_home(word) for word in sys.argv[1:]])
        except InspectorError as error:
            from inspector.core.terminal import print_lines

            trace = traceback.format_exc().splitlines() if tracebacks_wanted() else []
            print_lines([*trace, f"inspector: {error}"], to_stderr=True)
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            sys.exit(130)
