"""Overlays that a scan draws beside its table: heat, regions and what they mean, on the photo.

They are pictures, not results: one that cannot be drawn costs no row, and what a scan that was
killed has not drawn, nobody draws later.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Self

from inspector.core.durable import make_directory, publish
from inspector.core.text import display_path, quantity
from inspector.model.golden import read_golden
from inspector.photos.address import shown
from inspector.photos.drawing import CELLS, WINDOWS, HeatScale, Overlay, draw_overlay
from inspector.types import Verdict
from inspector.workers.process import HelperError, Helpers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.core.layout import Layout
    from inspector.model.bundle import ModelBundle
    from inspector.types import Judgement, Photo, Scores

DRAWN = {
    "crack": (Verdict.CRACK,),
    "review": (Verdict.CRACK, Verdict.REVIEW),
    "all": tuple(Verdict),
}
"""Verdicts of the photos that get an overlay, by the value of `--heatmaps`."""
MOST_WAITING = 32
"""Overlays that are waited for at most, some 50 kB of evidence each; a scan that has more to draw
than one process draws waits for it."""
_SECONDS = 60.0


class Explanations:
    """Makes of a model's answers what is drawn over a photo."""

    def __init__(self, bundle: ModelBundle) -> None:
        dense = bundle.dense
        self._offset = (0.0, 0.0) if dense is None else (dense.offset_x, dense.offset_y)
        self._whole = HeatScale.of(read_golden(bundle).scores.cam_NHW)

    def overlay(self, judgement: Judgement, scores: Scores, k: int) -> Overlay:
        """The overlay of the k-th photo of `scores`."""
        found = scores.found_N[k] if scores.found_N is not None else None
        evidence, scale = scores.cam_NHW[k], self._whole
        if found is not None:
            evidence = found.window_map
            scale = WINDOWS if evidence.cells_HW is None else CELLS
        peak = None
        if judgement.peak_x is not None and judgement.peak_y is not None:
            peak = judgement.peak_x, judgement.peak_y
        regions = [asdict(region) for region in judgement.regions or ()]
        return Overlay(evidence, scale, self._offset, regions, peak, words_of(judgement))


def words_of(judgement: Judgement) -> str:
    """A judgement in one line."""
    regions = f"{quantity(len(judgement.regions or ()), 'region')}, "
    return (
        f"{judgement.verdict} {judgement.p_crack:.3f} ({judgement.reason}), "
        f"{regions if judgement.regions is not None else ''}{judgement.view}"
    )


class Overlays:
    """Draws overlays in a process of their own, while the scan goes on; None draws none."""

    def __init__(self, kind: str | None, at: Layout, bundle: ModelBundle) -> None:
        """Raises OSError where there can be no directory for them."""
        self._verdicts = DRAWN[kind] if kind else ()
        self._at = at
        self.drawn = 0
        self._failed: list[str] = []
        self._stopped = False
        if not kind:
            return
        make_directory(at.heatmaps)
        self._explain = Explanations(bundle)
        self._places = threading.Semaphore(MOST_WAITING)
        self._helpers = Helpers(draw_overlay, _SECONDS)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inspector-overlays")

    def take(
        self, photos: Sequence[Photo], judgements: Sequence[Judgement], scores: Scores
    ) -> None:
        """Have the photos drawn whose verdict asks for it."""
        for k, (photo, judgement) in enumerate(zip(photos, judgements, strict=True)):
            if judgement.verdict in self._verdicts:
                overlay = self._explain.overlay(judgement, scores, k)
                self._places.acquire()
                self._thread.submit(self._draw, photo, overlay)

    def _draw(self, photo: Photo, overlay: Overlay) -> None:
        try:
            if self._stopped:
                return
            jpeg = self._helpers.ask(photo.ref.path, photo.facts.content_hash, overlay)
            publish(jpeg, self._at.heatmap(photo.ref.uri))
            self.drawn += 1
        except (HelperError, OSError) as error:
            self._failed.append(f"{shown(photo.ref.path)}: {error}")
        finally:
            self._places.release()

    def finish(self) -> None:
        """Wait for those that are still to be drawn."""
        if self._verdicts:
            self._thread.shutdown()

    @property
    def notes(self) -> list[str]:
        """What there is to say about them."""
        if not self._verdicts:
            return []
        place = display_path(str(self._at.heatmaps))
        lines = [f"{quantity(self.drawn, 'overlay')} drawn in {place}"]
        if self._failed:
            lines.append(f"{len(self._failed):,} could not be drawn, first {self._failed[0]}")
        return lines

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        if self._verdicts:
            self._helpers.close()
            self._thread.shutdown()
