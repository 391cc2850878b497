"""The command that shows a scan's results to a person and keeps what that person says."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inspector.cli.options import Model, Verbose
from inspector.core.text import Whole

if TYPE_CHECKING:
    from inspector.reviewing.session import Session

commands = typer.Typer()


@commands.command(
    epilog="Examples:\n\ninspector review results\n\ninspector review results --port 9000 "
    "--no-browser\n\nthen: inspector train /labelled --labels results"
)
def review(
    out: Annotated[Path, typer.Argument(help="Result directory of a scan.", show_default=False)],
    port: Annotated[
        int | None, typer.Option(help="On 127.0.0.1; 8765 if it is free, else any.")
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only print the address.")
    ] = False,
    model: Model = None,
    moved: Annotated[
        str | None,
        typer.Option(metavar="OLD=NEW", help="Photos scanned below OLD now lie below NEW."),
    ] = None,
    reviewer: Annotated[
        str | None, typer.Option(help="Your name, kept with each label; the login if not given.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Look at photos, those most worth it first, and say crack or no crack by one key.

    Opens a page that only you can reach, by an address that holds a secret. Labels go to
    OUT/_inspector/labels.jsonl, each on disk before it counts; inspector train --labels OUT
    learns from them. Ctrl-C ends it.
    """
    from inspector.core.text import print_lines
    from inspector.reviewing.config import ReviewConfig, user_name
    from inspector.reviewing.door import door_of, open_in_browser
    from inspector.reviewing.server import review as run_review

    def ready(address: str, session: Session) -> None:
        about = f"{len(session):,} photos, {session.labelled:,} labelled"
        print_lines([f"reviewing  {out} ({about})"], to_stderr=True)
        print_lines([Whole(address)])
        print_lines(["Ctrl-C ends it; every label is kept at once"], to_stderr=True)
        if not no_browser:
            # A browser may take its time, or be one for the terminal that stays.
            threading.Thread(target=open_in_browser, args=(address, door), daemon=True).start()

    who = user_name() if reviewer is None else reviewer
    config = ReviewConfig(out=out, port=port, model=model, moved=moved, reviewer=who)
    door = door_of(out)
    try:
        result = run_review(config, ready=ready)
    finally:
        if not no_browser:
            door.unlink(missing_ok=True)
    print_lines([f"{result.labelled:,} photos of {out} are labelled"], to_stderr=True)
