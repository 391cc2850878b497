"""Other thresholds, or another scale, for a table whose photos have been judged: verdicts follow
from what is stored.

How the table changes at once, whatever happens meanwhile, stands in docs/explanation/durability.md.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from inspector.core.durable import as_before, reporting
from inspector.core.layout import Layout
from inspector.core.progress import no_progress
from inspector.core.text import display_path
from inspector.core.untrusted import take_paths
from inspector.engines.combined import FAMILIAR, UncertaintyBand, chain
from inspector.engines.contract import VARIANTS
from inspector.engines.photo import screening_variant
from inspector.errors import OutputError, UsageError
from inspector.model.bundle import DEFAULT_PATH, NARROW, ModelBundle
from inspector.model.scale import NOTHING_ASKED, Scale
from inspector.model.verdict import decide_each
from inspector.photos.address import text_of
from inspector.photos.source import is_gone
from inspector.results.manifest import DENSE, THRESHOLDS, Manifest, fingerprint_of
from inspector.results.parts import FINGERPRINT, REJUDGED, read_part
from inspector.results.schema import METADATA_PREFIX, SCHEMA, are_previews, held
from inspector.results.store import open_results
from inspector.results.switch import next_table
from inspector.scanning.config import ScanConfig
from inspector.scanning.identity import identity_of
from inspector.scanning.summary import EXIT_INCOMPLETE, Counts
from inspector.types import VISIBLE_PX, ScaleSource, Scores, Status, Verdict, View

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from inspector.core.progress import Progress
    from inspector.model.bundle import DenseView, Thresholds
    from inspector.results.store import Results
    from inspector.results.switch import NextTable
    from inspector.types import JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class RejudgeConfig:
    """Raises UsageError when a value cannot be right."""

    out: Path
    """The result directory."""
    threshold: float | None = None
    """Crack from this probability on, clear below, as of a scan; None: the model's own."""
    model: Path | None = None
    """The bundle that judged the table, or one that differs from it in its thresholds only; None:
    the one that comes with the package."""
    mm_per_px: float | None = None
    """As of a scan; None: as it is."""
    min_crack_mm: float | None = None
    """As of a scan; None: as it is."""

    def __post_init__(self) -> None:
        take_paths(self)
        if not self.has_thresholds and self.mm_per_px is None and self.min_crack_mm is None:
            raise UsageError(
                "name what is new: --threshold P, a --model that has other thresholds, "
                "--min-crack-mm MM or --mm-per-px MM"
            )
        self.as_scan()

    @property
    def has_thresholds(self) -> bool:
        """Whether it names thresholds; else those of the table hold."""
        return self.threshold is not None or self.model is not None

    def as_scan(self) -> ScanConfig:
        """The scan that continues the table afterwards, but for its sources."""
        return ScanConfig(
            sources=(".",),
            out=self.out,
            threshold=self.threshold,
            model=self.model,
            mm_per_px=self.mm_per_px,
            min_crack_mm=self.min_crack_mm,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RejudgeResult:
    """`before` and `table` are the rows by what they said and say."""

    out: Path
    before: Counts
    table: Counts
    changed: int
    """Rows with another verdict or reason."""
    again: int
    """Photos that have no row now and are to be judged again: what decided them is not sure enough
    of them at these thresholds."""
    thresholds: JsonObject
    scale: JsonObject
    """What is said about the scale of the photos now: `mm_per_px`, `min_crack_mm`."""

    @property
    def exit_code(self) -> int:
        """0 done; 3 photos have to be judged again."""
        return EXIT_INCOMPLETE if self.again else 0

    def to_json(self) -> JsonObject:
        return asdict(self) | {"out": display_path(str(self.out)), "exit_code": self.exit_code}


def rejudge(config: RejudgeConfig, *, progress: Progress = no_progress) -> RejudgeResult:
    """Give every row of the table at `config.out` the verdict that other thresholds make of its
    scores; a scan with the same thresholds then continues the table.

    Killed anywhere, the table is the old one or the new one, and the same call completes it. Raises
    OutputError where there is no table, another model made it, it is damaged, or photos that must
    be judged again are not there; nothing has changed then.
    """
    with reporting(config.out, as_before):
        has_results = Layout(config.out).manifest.is_file()
    if not has_results:
        raise OutputError(f"{config.out} holds no results of a scan; name the --out of one")
    bundle = ModelBundle.load(config.model or DEFAULT_PATH)
    with open_results(config.out, None, overwrite=False) as results:
        before, changed, again = Counts.of(results.outcomes), 0, 0
        rule = _Rule.of(config, bundle, Manifest(identity=results.identity))
        identity = {**results.identity, **rule.scale.identity}
        if config.has_thresholds:  # as the scan that continues the table has it
            asked, view = config.as_scan(), results.identity["view"]
            overlap = float(results.identity.get("overlap", asked.overlap))
            own = replace(asked, view=view, overlap=overlap)
            identity |= identity_of(own, bundle, rule.precision) | rule.scale.identity
        if identity != results.identity:
            _refuse_missing_photos(results, rule, progress)
            table, changed = _rewritten(results, identity, rule, progress)
            again = sum(part.rows for part in table.again)
            results.switch(identity, table)
    return RejudgeResult(
        out=config.out,
        before=before,
        table=Counts.of(results.outcomes),
        changed=changed,
        again=again,
        thresholds={name: getattr(rule.thresholds, name) for name in THRESHOLDS},
        scale=asdict(rule.scale),
    )


@dataclass(frozen=True, slots=True)
class _Rule:
    """The rule by which rows get new verdicts, and by which some are not sure enough for it."""

    thresholds: Thresholds
    size: int
    precision: str
    bands: Mapping[str, UncertaintyBand]
    """Answers that a stage leaves to the next, by its name."""
    dense: Thresholds | None = None
    """Of photos that were judged at their own scale."""
    scale: Scale = NOTHING_ASKED
    rescreened: bool = False
    """A narrow network looked at photos at their own scale, and may not for these thresholds, or
    left less of them to the model than it would for those of the bundle."""

    @classmethod
    def of(cls, config: RejudgeConfig, bundle: ModelBundle, made: Manifest) -> _Rule:
        """The rule for a table that was `made` so; what `config` does not name is as it was. Raises
        OutputError unless `bundle` judges like the one that made it."""
        old, old_dense = made.thresholds(), made.thresholds(DENSE)
        own, dense = old or bundle.thresholds, bundle.dense
        if dense is not None:
            dense = replace(dense, thresholds=old_dense or dense.thresholds)
        model, identity = made.identity["model"], made.identity
        if model not in (bundle.digest, replace(bundle, thresholds=own, dense=dense).digest):
            raise OutputError(
                f"the table was made by model {model[:12]}, and {bundle.path} is another "
                "in more than its thresholds; name that one, or a copy of it, as --model"
            )
        asked, scale = config.as_scan(), made.scale() or NOTHING_ASKED
        now, now_dense = asked.thresholds(bundle.thresholds), asked.dense_thresholds(bundle)
        if not config.has_thresholds:
            now, now_dense = old or now, old_dense or now_dense
        precision, size = identity["precision"].partition(" ")[0], bundle.preprocess.size
        for each in chain(bundle, precision, now):
            if each != "fp32" and bundle.find(VARIANTS, each) is None:
                raise OutputError(
                    f"the table was judged in {precision}, and {bundle.path} has no {each} "
                    "variant, so nobody knows which rows still hold; judge the photos anew: "
                    f"inspector scan PHOTOS --model {bundle.path} --out ANOTHER"
                )
        judged = bundle.dense if model == bundle.digest else dense
        screened = config.has_thresholds and identity.get("dense", "").startswith(NARROW)
        return cls(
            thresholds=now,
            dense=now_dense,
            scale=Scale(
                mm_per_px=config.mm_per_px or scale.mm_per_px,
                min_crack_mm=config.min_crack_mm or scale.min_crack_mm,
            ),
            size=size,
            precision=precision,
            bands={f"{each}@{size}": band for each, band in chain(bundle, precision, now).items()},
            rescreened=screened and not _screens_alike(bundle, judged, now_dense),
        )

    def unsure(self, table: pa.Table) -> NDArray[np.bool_]:
        """Whether each row would have been deferred at these thresholds, and was not: its answer
        lies in the band of the stage that it comes from. Photos at their own scale are never
        deferred as a whole."""
        p_N, ood_N = _numbers(table, "p_crack"), _numbers(table, "ood_score")
        stage_N = np.array(table["stage"].to_pylist(), object)
        ok_N = pc.equal(table["status"], Status.OK.value).to_numpy()
        scores = Scores(p_N, np.empty((len(p_N), 0, 0), np.float32), ood_N)
        unsure_N = ~_is_whole(table) & self.rescreened
        for stage, band in self.bands.items():
            unsure_N |= _is_whole(table) & (stage_N == stage) & band.contains(scores)
        return np.asarray(ok_N & unsure_N)

    def apply(self, table: pa.Table) -> tuple[pa.Table, int]:
        """Rows with new verdicts, and the number that changed; one that was clear has no peak."""
        shrink_N = self._shrinks(table)
        if self.scale.mm_per_px is not None:
            table = _at_scale(table, self.scale.mm_per_px, shrink_N)
        ok = pc.equal(table["status"], Status.OK.value)
        verdicts, reasons = (
            pc.if_else(ok, pa.array(words.tolist(), pa.string()), None)
            for words in decide_each(
                _numbers(table, "p_crack"),
                ~_is_whole(table),
                self.thresholds,
                self.dense,
                ood_N=_numbers(table, "ood_score"),
                shrink_N=shrink_N,
                hidden_N=self.scale.hides_N(_numbers(table, "smallest_visible_mm")),
                preview_N=are_previews(table["format"]),
            )
        )
        clear = pc.fill_null(pc.equal(verdicts, Verdict.CLEAR.value), False)
        new = {"verdict": verdicts, "reason": reasons}
        new |= {name: pc.if_else(clear, None, table[name]) for name in ("peak_x", "peak_y")}
        same = pc.and_(pc.equal(verdicts, table["verdict"]), pc.equal(reasons, table["reason"]))
        differ = table.num_rows - pc.sum(pc.fill_null(same, True)).as_py() if len(table) else 0
        return _with_columns(table, new), differ

    def _shrinks(self, table: pa.Table) -> NDArray[np.float64]:
        """Photo pixels per model pixel, as they were when the photos were judged."""
        sides_N = np.maximum(*(_numbers(table, name, np.float64) for name in ("width", "height")))
        shrink_N: NDArray[np.float64] = np.where(_is_whole(table), sides_N / self.size, 1.0)
        return shrink_N


def _screens_alike(bundle: ModelBundle, judged: DenseView | None, asked: Thresholds | None) -> bool:
    """Whether a narrow network may look at photos first where `asked` decides, and has left as much
    of them to the model of `judged` as it would for that of `bundle`, which stands for it then."""
    if bundle.dense is None or judged is None:
        return False
    if screening_variant(bundle, NARROW, asked) is None:
        return False
    own, theirs = bundle.dense.thresholds, judged.thresholds
    familiar = (own.out_of_distribution or FAMILIAR) >= (theirs.out_of_distribution or FAMILIAR)
    return own.clear_below >= theirs.clear_below and familiar


def _is_whole(table: pa.Table) -> NDArray[np.bool_]:
    return held(pc.equal(table["view"], View.WHOLE.value), null=True)


def _at_scale(table: pa.Table, mm_per_px: float, shrink_N: NDArray[np.float64]) -> pa.Table:
    """Photos with the scale that a person gives, as `Photo.smallest_visible_mm` has it."""
    ok = pc.equal(table["status"], Status.OK.value)
    visible = pa.array(VISIBLE_PX * np.maximum(1.0, shrink_N) * mm_per_px)
    given = {"mm_per_px": mm_per_px, "mm_per_px_source": str(ScaleSource.FLAG)}
    new = {name: pc.if_else(ok, value, table[name]) for name, value in given.items()}
    return _with_columns(table, new | {"smallest_visible_mm": pc.if_else(ok, visible, None)})


def _with_columns(table: pa.Table, new: Mapping[str, Any]) -> pa.Table:
    """The table with other values in some of its columns."""
    for name, column in new.items():
        place = SCHEMA.get_field_index(name)
        field = SCHEMA.field(place)
        table = table.set_column(place, field, column.cast(field.type))
    return table


def _numbers(table: pa.Table, name: str, dtype: Any = np.float32) -> NDArray[Any]:
    """A column, by default in the scores' own precision; NaN where null."""
    numbers: NDArray[Any] = table[name].to_numpy(zero_copy_only=False).astype(dtype)
    return numbers


def _refuse_missing_photos(results: Results, rule: _Rule, progress: Progress) -> None:
    """Raises OutputError where photos that must be judged again are gone: their rows would be lost.
    Also for a part that is not as it was committed."""
    for table in _tables(results, "checking", progress):
        for uri in table["uri"].filter(pa.array(rule.unsure(table))).to_pylist():
            if is_gone(uri):
                raise OutputError(
                    f"{text_of(uri)} would have to be judged again at these thresholds, and is not "
                    "there; mount or restore it, then run the same command again"
                )


def _rewritten(
    results: Results, identity: Mapping[str, str], rule: _Rule, progress: Progress
) -> tuple[NextTable, int]:
    """All parts anew, without rows to be judged again, and how many others say something else."""
    was = results.identity
    facts = {**identity, FINGERPRINT: fingerprint_of(identity)}
    facts[REJUDGED] = f"from {was['clear_below']} and {was['crack_from']}"
    metadata = {f"{METADATA_PREFIX}{name}".encode(): fact.encode() for name, fact in facts.items()}
    changed, again = 0, []
    with next_table(results) as new:
        for old in _tables(results, "deciding", progress):
            unsure = pa.array(rule.unsure(old))
            again += old["uri"].filter(unsure).to_pylist()
            table, differ = rule.apply(old.filter(pc.invert(unsure)))
            changed += differ
            if table.num_rows or not old.num_rows:
                about = {**(table.schema.metadata or {}), **metadata}
                new.write(table.replace_schema_metadata(about))
        new.leave_out(again)
        if not new.parts:
            new.write(SCHEMA.empty_table().replace_schema_metadata(metadata))
    return new, changed


def _tables(results: Results, phase: str, progress: Progress) -> Iterator[pa.Table]:
    """The parts as they were committed. Raises OutputError for another."""
    for number, part in enumerate(results.parts):
        progress(phase, number, len(results.parts))
        yield read_part(part, Layout(results.out).table / part.file)
