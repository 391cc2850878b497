"""The command line: parse, build a config, call the library, print.

Heavy imports stand inside the commands, so that `inspector --help` costs nothing.
"""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from inspector.cli import bench, calibrate, evaluate, model, report, review, scan
from inspector.cli.options import at_home, tracebacks_wanted
from inspector.errors import InspectorError
from inspector.text import printable
from inspector.version import __version__

app = typer.Typer(
    name="inspector",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Find cracks in photos of concrete: one verdict per photo, as a Parquet table.",
    epilog="Start with: inspector scan /photos",
)
app.add_typer(scan.commands)
app.add_typer(review.commands)
app.add_typer(report.commands)
app.add_typer(model.commands)
app.add_typer(evaluate.commands)
app.add_typer(calibrate.commands)
app.add_typer(bench.commands)


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
    try:
        app([at_home(word) for word in sys.argv[1:]])
    except InspectorError as error:
        if tracebacks_wanted():
            for line in traceback.format_exc().splitlines():
                print(printable(line), file=sys.stderr)
        print(printable(f"inspector: {error}"), file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
