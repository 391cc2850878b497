"""Commands on the results of a scan."""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote

import typer

from inspector.cli.help import examples
from inspector.cli.options import (
    AnyOut,
    MinCrackMm,
    MmPerPx,
    Model,
    Moved,
    Since,
    Threshold,
    called,
    carry_out,
    output,
    photos,
)
from inspector.core.text import Whole, print_lines, quantity
from inspector.core.untrusted import in_bucket

if TYPE_CHECKING:
    from inspector.reviewing.session import Session


commands = typer.Typer()

_page = partial(typer.Option, rich_help_panel="Page")
_files = partial(typer.Option, rich_help_panel="More files")
Out = Annotated[
    str, typer.Argument(metavar="OUT", help="Result directory of a scan.", show_default=False)
]


@commands.command(
    epilog=examples(
        ("inspector verify results", "prove the table"),
        ("inspector verify results --photos", "and say which photos have changed since"),
    )
)
def verify(
    out: AnyOut,
    photos: Annotated[
        bool, photos(help="Read the photos, too, and say which have changed.")
    ] = False,
    as_json: Annotated[bool, output("--json", help="Print findings as JSON.")] = False,
) -> None:
    """Prove a table: every part as committed, one row per file, no row that contradicts itself.

    Nothing is changed. Exit code 0: proven; 1: damaged, each finding with what to do next.
    """
    carry_out("verify", locals(), as_json=as_json)


@commands.command(
    epilog=examples(
        ("inspector rejudge results --threshold 0.3", "crack from 0.3 on, clear below"),
        ("inspector rejudge results --model my-walls-model", "thresholds of inspector calibrate"),
        ("inspector rejudge results --min-crack-mm 0.3", "clear only where 0.3 mm would show"),
    )
)
def rejudge(
    out: Out,
    threshold: Threshold = None,
    model: Model = None,
    min_crack_mm: MinCrackMm = None,
    mm_per_px: MmPerPx = None,
    as_json: Annotated[bool, output("--json", help="Print what changed as JSON.")] = False,
) -> None:
    """Give a table other thresholds or another scale, without looking at its photos again.

    Verdicts follow from the stored probabilities; --model names a copy of the model with other
    thresholds. Killed, the same command completes it.

    Exit code 0: done; 3: done, but the photos that int8 cannot decide there have no row until a
    scan with the same thresholds judges them again.
    """
    carry_out("rejudge", locals(), as_json=as_json)


@commands.command(
    epilog=examples(
        ("inspector review results", "open the page in the browser"),
        ("inspector review results --port 9000 --no-browser", "only print its address"),
        ("inspector train /labelled --labels results", "learn from what was said"),
    )
)
def review(
    out: Out,
    port: Annotated[
        int | None,
        _page(metavar="N", help="Port on 127.0.0.1; not given: 8765 if it is free, else any."),
    ] = None,
    no_browser: Annotated[bool, _page(help="Only print the address.")] = False,
    model: Model = None,
    moved: Moved = None,
    reviewer: Annotated[
        str | None, _page(metavar="NAME", help="Kept with each label; not given: your login name.")
    ] = None,
) -> None:
    """Look at photos, those most worth it first, and say crack or clear by one key.

    Opens a page that only you can reach, by an address that holds a secret. Labels go to
    OUT/_inspector/labels.jsonl, each on disk before it counts; inspector train --labels OUT
    learns from them. Ctrl-C ends it.
    """
    from inspector.reviewing.guard import door_of, open_in_browser, tunnel_of

    opened = False

    def ready(address: str, session: Session) -> None:
        nonlocal opened
        left = f"{session.left:,} left"
        about = f"{quantity(len(session), 'photo')}, {session.labelled:,} labelled, {left}"
        print_lines([f"reviewing  {out} ({about})"], to_stderr=True)
        print_lines([Whole(address)])
        if tunnel := tunnel_of(address):
            print_lines(["from another machine, run there first:"], to_stderr=True)
            print_lines([Whole(tunnel)], to_stderr=True)
        print_lines(["Ctrl-C ends it; every label is kept at once"], to_stderr=True)
        if not no_browser:
            opened = True
            # A browser may take its time, or be one for the terminal that stays.
            threading.Thread(target=open_in_browser, args=(address, door), daemon=True).start()

    run, config = called("review", locals())
    door = door_of(config.out)
    try:
        result = run(config, ready=ready)
    finally:
        if opened:  # else it is that of another review, if there is one
            with suppress(OSError):
                door.unlink()
    print_lines([f"{quantity(result.labelled, 'photo')} labelled in {out}"], to_stderr=True)


@commands.command(
    epilog=examples(
        ("inspector report results", "write results/_report.html"),
        ("inspector report results --title 'Bridge 7' --cover cover.toml", "with a cover"),
        ("inspector report results --html bridge-7.html --geojson bridge-7.geojson", "and a map"),
        ("inspector report results --xlsx cracks.xlsx --csv cracks.csv", "and lists"),
        ("inspector report results --json", "the counts, for a script"),
    )
)
def report(
    out: AnyOut,
    html: Annotated[
        Path | None,
        _page(metavar="FILE", help="Where to write it.", show_default="OUT/_report.html"),
    ] = None,
    csv: Annotated[
        Path | None, _files(metavar="FILE", help="A list of all photos, cracks first.")
    ] = None,
    xlsx: Annotated[
        Path | None, _files(metavar="FILE", help="The same for Excel, with small pictures.")
    ] = None,
    geojson: Annotated[
        Path | None, _files(metavar="FILE", help="The photos with GPS, for a map (QGIS).")
    ] = None,
    geoparquet: Annotated[
        Path | None, _files(metavar="FILE", help="The same as GeoParquet (QGIS, GeoPandas).")
    ] = None,
    coco: Annotated[
        Path | None, _files(metavar="FILE", help="The regions, for CVAT or Label Studio.")
    ] = None,
    annotate: Annotated[
        Path | None, _files(metavar="DIR", help="Photos with cracks, their regions marked.")
    ] = None,
    crops: Annotated[Path | None, _files(metavar="DIR", help="Their regions, cut out.")] = None,
    copy_cracks: Annotated[Path | None, _files(metavar="DIR", help="Copies of them.")] = None,
    as_json: Annotated[
        bool, output("--json", help="Print the counts as JSON; a page only with --html.")
    ] = False,
    title: Annotated[str | None, _page(metavar="TEXT", help="Its title.")] = None,
    cover: Annotated[
        Path | None,
        _page(
            metavar="FILE",
            help="TOML file with structure, client, inspector, date and logo (a file).",
        ),
    ] = None,
    pictures: Annotated[
        int, _page(metavar="N", help="Pictures of at most N photos, cracks first; in Excel too.")
    ] = 500,
    since: Since = None,
    moved: Moved = None,
    model: Model = None,
) -> None:
    """Write a page with all cracks, what is left to a person, failures, and counts, to hand on.

    It opens and prints anywhere, without a network. What people said in inspector review counts in
    its totals, beside the model's verdicts.
    """
    from inspector.reporting.wording import file_lines

    page = html if html is not None or as_json else _page_of(out)
    counted, config = carry_out("report", locals(), html=page, as_json=as_json)
    print_lines(file_lines(counted, config.files | config.folders), to_stderr=as_json)


@commands.command(
    epilog=examples(
        ("inspector table results", "cracks first, with what people said"),
        (
            "inspector table results --rows 5 --columns path,p_crack,human_verdict,note",
            "some of it",
        ),
        ("inspector table results --since 2026-11-30", "what was judged since"),
        ("inspector table results --export labelled.parquet", "all rows, for programs"),
    )
)
def table(
    out: AnyOut,
    rows: Annotated[int, output(metavar="N", min=1, help="Print the first N photos.")] = 20,
    columns: Annotated[
        str | None, output(metavar="NAME,...", help="Only these columns, in this order.")
    ] = None,
    export: Annotated[
        Path | None,
        output(metavar="FILE", help="Write all rows to a .parquet or .jsonl file instead."),
    ] = None,
    since: Since = None,
) -> None:
    """Print the table as people read it: cracks first, with what was said in inspector review.

    One view for every reader: the columns of the table, and human_verdict, note, human_regions,
    reviewer, labelled_at. A list for Excel: inspector report OUT --xlsx FILE.
    """
    from inspector.library.frames import Results, table_lines

    results = Results(out)
    names = tuple(filter(None, (columns or "").split(",")))
    if export is None:
        print_lines(table_lines(results, rows, names, since))
    else:
        count = results.export(export, names, since=since)
        print_lines([f"wrote      {export} ({quantity(count, 'photo')})"])


@commands.command(
    epilog=examples(
        ("inspector merge photos-results-*-of-8 --out photos-results", "one table of all shards"),
        ("inspector merge north south --out all --overwrite", "in place of whatever is there"),
    )
)
def merge(
    tables: Annotated[
        list[str],
        typer.Argument(
            metavar="OUT...",
            help="Result directories, or addresses in buckets.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", metavar="DIR", show_default=False, help="Result directory of all."
        ),
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove other results from --out first.")
    ] = False,
    as_json: Annotated[bool, output("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Make one table of all shards of a scan, or of scans of different photos.

    Every part is checked and then linked, or copied to another file system; labels come along.
    Refused: another model or other options, a missing shard, a photo with two rows, an unfinished
    scan. Run again, it takes what the tables hold by then; killed, the same command completes it.
    """
    carry_out("merge", locals(), as_json=as_json)


@commands.command(
    epilog=examples(
        ("inspector publish results --delta lake/cracks", "make it, or its next version"),
        ("inspector publish s3://bucket/results --delta s3://lake/cracks", "between buckets"),
    )
)
def publish(
    out: AnyOut,
    delta: Annotated[
        str,
        typer.Option(
            "--delta", metavar="DIR", show_default=False, help="The Delta table, also in a bucket."
        ),
    ],
    as_json: Annotated[bool, output("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Make a finished table, with what people said, the next version of a Delta Lake table.

    All rows in one transaction, by deltalake; what is there already is not written again. Earlier
    versions stay readable. Needs: pip install "crack-inspector[delta]".
    """
    carry_out("publish", locals(), as_json=as_json)


def _page_of(out: str) -> Path:
    """Where the page of a table lies: in its directory; of one in a bucket, here."""
    from inspector.core.layout import Layout

    if not in_bucket(out):
        return Layout(Path(out)).page
    return Path(f"{unquote(out.rstrip('/').rpartition('/')[2])}-report.html")
