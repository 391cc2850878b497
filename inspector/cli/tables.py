"""Commands that hand the table of a scan on: to people, to other scans, to other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from inspector.cli.help import examples
from inspector.cli.options import AnyOut, carry_out, from_options, output

commands = typer.Typer()


@commands.command(
    epilog=examples(
        ("inspector table results", "cracks first, with what people said"),
        (
            "inspector table results --rows 5 --columns path,p_crack,human_verdict,note",
            "some of it",
        ),
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
) -> None:
    """Print the table as people read it: cracks first, with what was said in inspector review.

    One view for every reader: the columns of the table, and human_verdict, note, human_regions,
    reviewer, labelled_at. A list for Excel: inspector report OUT --xlsx FILE.
    """
    from inspector.core.text import print_lines
    from inspector.library.frames import Results, table_lines

    results = Results(out)
    names = tuple(filter(None, (columns or "").split(",")))
    if export is None:
        print_lines(table_lines(results, rows, names))
    else:
        count = results.export(export, names)
        print_lines([f"wrote      {export} ({count:,} photos)"])


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
    from inspector.results.merge import MergeConfig, merged_lines
    from inspector.results.merge import merge as run_merge

    carry_out(run_merge, from_options(MergeConfig, locals()), merged_lines, as_json=as_json)


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
    versions stay readable. Needs: pip install 'crack-inspector[delta]'.
    """
    from inspector.results.publish import PublishConfig, published_lines
    from inspector.results.publish import publish as run_publish

    carry_out(run_publish, from_options(PublishConfig, locals()), published_lines, as_json=as_json)
