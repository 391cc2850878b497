"""The narrow first stage: a small network of the full one's stride, taught by its answers."""
