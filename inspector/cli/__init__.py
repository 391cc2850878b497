"""The command line: parse options, build a config, call the library, print the result.

Heavy imports stand inside the commands, so that `inspector --help` stays fast.
"""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from inspector.cli import bench, directory, labelled, model, scan
from inspector.cli.defaults import Configured
from inspector.cli.help import Group, examples
from inspector.cli.options import at_home, tracebacks_wanted
from inspector.core.text import patient_streams, print_lines
from inspector.errors import InspectorError, MissingExtraError
from inspector.version import __version__

EXTRAS = {
    "evaluate": ("sklearn", "scipy", "matplotlib", "onnx"),
    "train": ("torch", "torchvision"),
    "openvino": ("openvino",),
    "delta": ("deltalake",),
    "ray": ("ray",),
}
"""Import names of the optional packages, by the extra that installs them."""

app = typer.Typer(
    name="inspector",
    cls=Group,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find cracks in photos of concrete: one verdict per photo, in one table.",
    epilog=examples(
        ("inspector scan /photos", "judge every photo"),
        ("inspector report photos-results", "look at the cracks"),
        ("inspector COMMAND -h", "options and examples of a command"),
    ),
)
for part in (scan, directory, labelled, model, bench):
    app.add_typer(part.commands)
for group in (*app.registered_groups, bench.commands.registered_groups[0]):
    for command in group.typer_instance.registered_commands if group.typer_instance else ():
        command.cls = Configured


def _version(wanted: bool) -> None:
    if wanted:
        print(f"inspector {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("-V", "--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None: ...


def main() -> None:
    """Run the command line; an InspectorError becomes one line and its exit code."""
    arguments = [at_home(word) for word in sys.argv[1:]] or ["--help"]
    with patient_streams():
        try:
            app(arguments, prog_name="inspector")
        except InspectorError as error:
            _fail(error)
        except ModuleNotFoundError as error:
            if (missing := _missing_extra(error, *arguments[:1])) is None:
                raise
            _fail(missing)
        except KeyboardInterrupt:
            sys.exit(130)


def _fail(error: InspectorError) -> None:
    trace = traceback.format_exc().splitlines() if tracebacks_wanted() else []
    print_lines([*trace, f"inspector: {error}"], to_stderr=True)
    sys.exit(error.exit_code)


def _missing_extra(error: ModuleNotFoundError, command: str = "") -> MissingExtraError | None:
    """The error to show for an optional package that is not installed; None for other packages."""
    from importlib.util import find_spec

    module = str(error.name).partition(".")[0]
    extra = next((extra for extra, modules in EXTRAS.items() if module in modules), None)
    if extra == "evaluate" and command not in ("evaluate", "calibrate"):
        extra = "train"
    if extra is None:
        return None
    absent = next((name for name in EXTRAS[extra] if find_spec(name) is None), module)
    return MissingExtraError(
        f'{command} needs {absent}; install it with: pip install "crack-inspector[{extra}]"'
    )
