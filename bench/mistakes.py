"""Mistakes of preprocessing that move few verdicts, recognised by the probabilities they leave.

On grey concrete a model that is fed BGR instead of RGB changes 1 verdict in 160 (measured on METU
tiles), no more than int8 may. But its probabilities lie where the reference's lie when
it is given the same mistake, and that is what is looked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inspector.model.odds import log_odds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from inspector.engines import Backend
    from inspector.model.preprocess import PreprocessSpec

    Mistaken = Mapping[str, Mapping[str, float]]
    """Probabilities by image that the reference gives, by the mistake it was given."""

MISTAKEN = 48
"""Images on which the reference is given them: enough to tell, and a second's work."""
LEAST_IMAGES = 16
"""Below that a resemblance may be chance."""
MUCH_CLOSER = 0.8
"""Share of the squared distance to the right answers below which a mistake explains them better.
Rounding and resampling move answers in directions of their own and so away from both."""


def mistaken(
    eager: Backend, images: Mapping[str, NDArray[np.uint8]], spec: PreprocessSpec
) -> Mistaken:
    """What the reference answers to `images`, uint8 (size, size, 3), under each mistake."""
    pixels_NHWC = np.stack(list(images.values()))
    shares = pixels_NHWC / 255
    mean, std = np.array(spec.mean), np.array(spec.std)
    # The exported graph normalises; pixels that come out of it as if it did otherwise.
    versions = {
        "swapped channels": pixels_NHWC[..., ::-1],
        "mean and std of 0.5": np.rint(255 * (mean + std * (shares - 0.5) / 0.5)),
        "no normalisation": np.rint(255 * (mean + std * shares)),
    }
    answers = {}
    for mistake, wrong_NHWC in versions.items():
        wrong_NHWC = np.ascontiguousarray(wrong_NHWC.clip(0, 255), dtype=np.uint8)
        found_N = eager.run(wrong_NHWC).p_crack_N
        answers[mistake] = dict(zip(images, map(float, found_N), strict=True))
    return answers


def resembled(
    right: Mapping[str, float], found: Mapping[str, float], mistakes: Mistaken
) -> str | None:
    """The mistake whose answers are much closer to those `found` than the `right` ones are."""
    for mistake, answers in mistakes.items():
        images = [image for image in answers if image in right and image in found]
        if len(images) < LEAST_IMAGES:
            continue
        found_N = log_odds([found[image] for image in images])
        to_right = float(((found_N - log_odds([right[i] for i in images])) ** 2).sum())
        to_wrong = float(((found_N - log_odds([answers[i] for i in images])) ** 2).sum())
        if to_wrong < MUCH_CLOSER * to_right:
            return mistake
    return None
