"""The command that turns a scan's table into a page to hand in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from inspector.cli.options import Model, Verbose

commands = typer.Typer()


@commands.command(
    epilog="Examples:\n\ninspector report results\n\ninspector report results --html bridge-7.html "
    "--geojson bridge-7.geojson\n\ninspector report results --json"
)
def report(
    out: Annotated[Path, typer.Argument(help="Result directory of a scan.", show_default=False)],
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The page; OUT/_report.html if not given."),
    ] = None,
    geojson: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the photos with GPS, for a map (QGIS)."),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the counts as JSON; a page only with --html."),
    ] = False,
    pictures: Annotated[
        int, typer.Option(metavar="N", help="Show at most N cracks as pictures.")
    ] = 48,
    moved: Annotated[
        str | None,
        typer.Option(metavar="OLD=NEW", help="Photos scanned below OLD now lie below NEW."),
    ] = None,
    model: Model = None,
    verbose: Verbose = False,
) -> None:
    """Sum up a table: verdicts, folders, time, places, failures, and the cracks as pictures.

    One page that opens and prints anywhere, from the table alone. What people
    said in inspector review counts in its totals, beside the model's verdicts.
    """
    from inspector.core.layout import Layout
    from inspector.core.progress import CountingBar
    from inspector.reporting.console import print_files, print_report
    from inspector.reporting.report import ReportConfig
    from inspector.reporting.report import report as run_report

    page = html if html is not None or as_json else Layout(out).page
    config = ReportConfig(
        out=out, html=page, geojson=geojson, pictures=pictures, model=model, moved=moved
    )
    with CountingBar() as bar:
        counted = run_report(config, progress=bar)
    if as_json:
        print(json.dumps(counted.to_json(), indent=2))
    else:
        print_report(counted)
    print_files(page, geojson, to_stderr=as_json)
