"""Whether the model has seen the images that it is measured on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from inspector.errors import DataError
from inspector.labelled.folder import TEST, read_labelled
from inspector.labelled.groups import GROUP, read_table
from inspector.labelled.leaks import audit_fingerprints, fingerprint, trained_on_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.evaluation.config import EvaluateConfig
    from inspector.labelled.folder import LabelledImage
    from inspector.labelled.leaks import LeakAudit
    from inspector.model.bundle import ModelBundle

SIDES = ("training", "evaluation")


def audit_against_training(
    config: EvaluateConfig, bundle: ModelBundle, images: Sequence[LabelledImage]
) -> LeakAudit | None:
    """Against the images that the bundle remembers and those below `config.trained_on`; None where
    neither is known. Raises DataError with `config.strict_splits` unless it is known that nothing
    leaked."""
    remembered = trained_on_of(bundle)
    sides = [] if remembered is None else [remembered]
    if config.trained_on is not None:
        known = read_labelled(config.trained_on, positive=config.positive).images
        learned = [image for image in known if image.part != TEST]
        sides.append(fingerprint(_in_groups(config, learned)))
    if not sides:
        if config.strict_splits:
            raise DataError(
                f"--strict-splits: {bundle.path} does not say what it learned from; name that "
                "folder with --trained-on"
            )
        return None
    held_out = fingerprint(images)
    found = _joined([audit_fingerprints(side, held_out, names=SIDES) for side in sides])
    if config.strict_splits and found.leaks:
        raise DataError(
            f"--strict-splits: {len(found.leaked_paths)} of {len(images)} images are not new to "
            f"the model, first {found.leaks[0].path} ({found.leaks[0].kind}); remove them or "
            "measure without --strict-splits, which gives both figures"
        )
    return found


def _in_groups(config: EvaluateConfig, images: list[LabelledImage]) -> list[LabelledImage]:
    """With the CSV's groups for those of the images that it names: it may name DATA's alone."""
    if config.groups is None or config.trained_on is None:
        return images
    groups, _ = read_table(config.groups).column(GROUP, images, [config.trained_on])
    return [
        replace(image, group=group or image.path)
        for image, group in zip(images, groups, strict=True)
    ]


def _joined(audits: Sequence[LeakAudit]) -> LeakAudit:
    """One audit of several training sides; an image leaks at most once per kind."""
    first = {(leak.kind, leak.path): leak for audit in reversed(audits) for leak in audit.leaks}
    order = list(dict.fromkeys(leak.kind for audit in audits for leak in audit.leaks))
    return replace(
        audits[0],
        training_images=sum(audit.training_images for audit in audits),
        leaks=tuple(sorted(first.values(), key=lambda leak: order.index(leak.kind))),
    )
