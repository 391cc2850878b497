"""The gate: an exported model answers like the one it was made from, or it is not written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.engines.parity import CAM_TOLERANCE, OOD_TOLERANCE, PROBABILITY_TOLERANCE
from inspector.errors import ExportError

if TYPE_CHECKING:
    from inspector.engines.parity import ParityReport


def gate(variant: str, report: ParityReport) -> None:
    """Raises ExportError naming the image that is answered worst, or whose verdict differs."""
    if report.verdict_flips:
        problem = (
            f"{len(report.verdict_flips)} of {report.images} verdicts differ; "
            f"{report.verdict_flips[0]}"
        )
    elif report.max_difference > PROBABILITY_TOLERANCE:
        problem = f"{report.worst}, and {PROBABILITY_TOLERANCE:g} is allowed"
    elif report.max_cam_difference > CAM_TOLERANCE:
        problem = (
            f"activation maps differ by {report.max_cam_difference:.2g} of their magnitude, "
            f"and {CAM_TOLERANCE:g} is allowed"
        )
    elif report.max_ood_difference > OOD_TOLERANCE:
        problem = (
            f"out-of-distribution scores differ by {report.max_ood_difference:.2g} of their size, "
            f"and {OOD_TOLERANCE:g} is allowed"
        )
    else:
        return
    raise ExportError(
        f"{variant} does not answer like the model it was made from: {problem}; nothing was written"
    )
