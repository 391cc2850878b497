"""The shipped model's view of photos, fitted: `python -m bench.recipe.photos DATA IMAGES`.

Replaces the dense view of a bundle by one that is fitted on photos with known cracks
(`bench.studies.photos`), keeps the study's figures in it as `photos.json`, and has its card tell
them. Nothing else changes: not a weight, and no verdict on a photo that is judged whole.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from bench.studies.photos.measure import FIRST
from bench.studies.photos.report import families_table
from bench.studies.photos.run import RESULTS, PhotosConfig, study_photos
from export.restamp import write_copy
from inspector.core.durable import publish
from inspector.evaluation.page import METRICS
from inspector.model.bundle import CARD, DEFAULT_PATH, ModelBundle

if TYPE_CHECKING:
    from inspector.types import JsonObject

_HEADING, _NEXT = "## Photos at their own scale\n", "## What it is bad at\n"
_SECTION = """{heading}\
A photo whose longer side is more than 1.5 times the model's input is judged at its own scale, by
every window of it, with thresholds of its own: `clear` below {clear_below}, `crack` from
{crack_from}, out of distribution from {ood}, chosen {chosen}.

Measured on other photos, which were looked at while the rule was made (`python -m bench
photos`; `photos.json` has all figures, among them recall by width and contrast of the crack):

{table}
{before}\
**This calibration is semi-synthetic until labelled photos come in through review**: it rests on
drone crops of one flight and on photos composed of real surfaces, drawn joints, and cracks that are
drawn or taken from drone crops. Half of the composed photos have a crack. `inspector calibrate
--view dense` moves the thresholds to photos of your own; `docs/explanation/photos.md` says more.

"""


_BEFORE = """The model that was shipped before, on the same photos:

{table}
"""


def fit_photos(
    data: Path, images: Path, work: Path, target: Path, before: JsonObject | None = None
) -> JsonObject:
    """Fit the dense view of the bundle at `target`, in place, and return the study's figures.
    `data` and `images` as for `PhotosConfig`; `work` keeps the model's answers; `before` are the
    figures of the model that was shipped, None: those that the bundle already tells."""
    source = ModelBundle.load(target)
    with TemporaryDirectory(dir=work) as folder:
        fitted, model = Path(folder) / "bundle", target
        if source.dense is None:  # newly made
            model = Path(folder) / "first"
            write_copy(source, replace(source, dense=FIRST), model)
        config = PhotosConfig(data=data, images=images, out=work, model=model, fit=fitted)
        bundle, found = study_photos(config)
        if before is None and RESULTS in source.files:
            before = json.loads(source.file(RESULTS).read_text(encoding="utf-8")).get("before")
        if before is not None:
            found["before"] = {name: before[name] for name in ("settings", "families")}
        publish((json.dumps(found, indent=1) + "\n").encode(), fitted / RESULTS)
        card = (target / CARD).read_text(encoding="utf-8")
        (fitted / CARD).write_text(told(card, source, bundle, found), encoding="utf-8")
        names = [CARD, RESULTS]
        if METRICS in bundle.files:  # measured on photos judged whole: nothing of that changes
            metrics = json.loads((target / METRICS).read_text(encoding="utf-8"))
            metrics["digest"] = bundle.digest
            (fitted / METRICS).write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
            names.append(METRICS)
        bundle.with_files(*names).save()
        for file in fitted.iterdir():
            shutil.copyfile(file, target / file.name)
    ModelBundle.load(target)
    return found


def told(card: str, source: ModelBundle, bundle: ModelBundle, found: JsonObject) -> str:
    """The card with the section on photos, and with the bundle's own digest."""
    assert bundle.dense is not None
    thresholds = bundle.dense.thresholds
    section = _SECTION.format(
        heading=_HEADING,
        clear_below=thresholds.clear_below,
        crack_from=thresholds.crack_from,
        ood=thresholds.out_of_distribution,
        chosen=thresholds.chosen,
        table="\n".join(families_table(found)) + "\n",
        before=_BEFORE.format(table="\n".join(families_table(found["before"])) + "\n")
        if "before" in found
        else "",
    )
    before, _, after = card.partition(_NEXT)
    before = before.partition(_HEADING)[0]
    digest = next(
        (line.split("`")[1] for line in before.splitlines() if line.startswith("| bundle digest")),
        source.digest,
    )
    return (before + section + _NEXT + after).replace(digest, bundle.digest)


def main(
    data: Annotated[Path, typer.Argument(help="Folder with photos/.")],
    images: Annotated[Path, typer.Argument(help="Tiles, as the recipe lays them out.")],
    work: Annotated[Path, typer.Option(help="Where answers and figures are kept.")] = Path(
        "runs/photos"
    ),
    out: Annotated[Path, typer.Option(help="Bundle whose dense view is fitted.")] = DEFAULT_PATH,
) -> None:
    """Fit the shipped model's view of photos."""
    work.mkdir(parents=True, exist_ok=True)
    fit_photos(data, images, work, out)


if __name__ == "__main__":
    typer.run(main)
