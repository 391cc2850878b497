"""The three files of a report, each written in one step."""

from __future__ import annotations

import io
import json
import os
from typing import TYPE_CHECKING

from inspector.core.durable import check_writable, make_directory, publish, reporting
from inspector.core.untrusted import parse_json
from inspector.errors import DataError, OutputError
from inspector.evaluation.figures import Evaluation
from inspector.evaluation.page import Subject, render_page

if TYPE_CHECKING:
    from pathlib import Path

    from inspector.evaluation.judged import JudgedImages
    from inspector.labelled.leaks import LeakAudit
    from inspector.model.bundle import ModelBundle

PAGE = "report.html"
METRICS = "metrics.json"
PREDICTIONS = "predictions.parquet"
FILES = (PAGE, METRICS, PREDICTIONS)


def check_free(out: Path) -> None:
    """Raises OutputError when `out` holds anything but an earlier report."""
    check_writable(out)
    with reporting(out, lambda: "nothing was judged"):
        foreign = sorted(set(os.listdir(out)) - set(FILES)) if out.exists() else []
    if foreign:
        raise OutputError(
            f"{out} holds other files than an earlier report ({foreign[0]}"
            f"{', ...' if len(foreign) > 1 else ''}); choose another --out"
        )


def write_report(
    out: Path,
    subject: Subject,
    evaluation: Evaluation,
    judged: JudgedImages,
    bundle: ModelBundle,
    leaks: LeakAudit | None = None,
) -> None:
    """Write or replace `report.html`, `metrics.json` and `predictions.parquet` in `out`. Raises
    OutputError."""
    page = render_page(subject, evaluation, judged, bundle, leaks)
    leaked = leaks.leaked_paths if leaks is not None else None
    figures = json.dumps(evaluation.to_json(), indent=2) + "\n"
    with reporting(out, lambda: "the figures are lost"):
        make_directory(out)
        publish(predictions(judged, leaked), out / PREDICTIONS)
        publish(figures.encode(), out / METRICS)
        publish(page.encode(), out / PAGE)


def read_metrics(file: Path) -> Evaluation:
    """What `metrics.json` holds. Raises DataError when it is not one."""
    try:
        return Evaluation.from_json(parse_json(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file} does not hold the figures of a report ({error!r}); make them with: "
            "inspector evaluate DATA --out DIR"
        ) from error


def predictions(judged: JudgedImages, leaked: frozenset[str] | None) -> bytes:
    r"""A Parquet table: one row per labelled image, sorted by path; `p_crack`, `verdict` and
    `reason` are null and `failure_code` is not where it could not be decoded; `leaked` is null
    where no leak was looked for. Bytes of a path that are not UTF-8 appear as \xNN."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("path", pa.string()), ("source", pa.string()), ("group", pa.string()),
            ("truth", pa.string()), ("p_crack", pa.float32()), ("verdict", pa.string()),
            ("reason", pa.string()), ("domain", pa.float32()), ("leaked", pa.bool_()),
            ("failure_code", pa.string()),
        ]
    )  # fmt: skip
    rows = [
        {
            "p_crack": float(judged.p_crack_N[k]),
            "verdict": str(judged.verdict_N[k]),
            "reason": str(judged.reason_N[k]),
            "domain": None if judged.ood_N is None else float(judged.ood_N[k]),
        }
        for k in range(len(judged.images))
    ]
    rows += [{"failure_code": str(item.code)} for item in judged.unjudged]
    images = [*judged.images, *(item.image for item in judged.unjudged)]
    for row, image in zip(rows, images, strict=True):
        row["path"], row["source"], row["group"] = map(
            _text, (image.path, image.source, image.group)
        )
        row["truth"] = "crack" if image.is_crack else "clear"
        row["leaked"] = None if leaked is None else image.path in leaked
    rows.sort(key=lambda row: str(row["path"]))
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), file)
    return file.getvalue()


def _text(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")
