"""The bundle's weights in eager torch behind this project's own decoder, one batch after the other
in one process with torch's default threads: what the network costs without an export."""

from __future__ import annotations

import time

from bench.peers.common import BATCH, finish, peer_arguments
from inspector.core.text import display_path
from inspector.engines import open_backend
from inspector.model.bundle import ModelBundle
from inspector.photos.source import Discovery
from inspector.predict import predict_batches


def main() -> None:
    """`python -m bench.peers.eager_loop SOURCE BUNDLE TABLE [--device cpu|cuda]`."""
    args = peer_arguments().parse_args()
    bundle = ModelBundle.load(args.bundle, verify=False)
    eager = open_backend(bundle, "eager", device=args.device)
    started = time.perf_counter()
    answers: dict[str, float | None] = {}
    refs = Discovery([str(args.source)])
    batches = predict_batches(
        refs, bundle.preprocess, lambda batch: eager.run(batch.pixels_NHWC), batch_size=BATCH,
        workers=0,
    )  # fmt: skip
    for batch, scores in batches:
        answers |= {display_path(item.ref.path): None for item in batch.items}
        paths = (display_path(photo.ref.path) for photo in batch.photos)
        answers |= zip(paths, scores.p_crack_N.tolist() if scores else (), strict=True)
    finish(args.table, list(answers), list(answers.values()), started=started, device=eager.device)


if __name__ == "__main__":
    main()
