"""Leak audit: which held-out images a model has, in effect, already seen.

    fingerprints of both sides ──▶ audit_fingerprints ──▶ LeakAudit
    (one decode per image)         same_pixels, near_duplicate, same_group, same_series

`audit` does both steps. `train` keeps the fingerprints of its training images in the bundle, so
that `evaluate` can audit later, without those images:

    trained_on = trained_on_of(bundle)
    if trained_on is not None:
        found = audit_fingerprints(trained_on, fingerprint(images))
"""

from __future__ import annotations

from inspector.labelled.leaks.comparison import (
    MEANING,
    Leak,
    LeakAudit,
    LeakKind,
    audit,
    audit_fingerprints,
)
from inspector.labelled.leaks.fingerprints import (
    FINGERPRINTS,
    Fingerprints,
    fingerprint,
    load,
    save,
    trained_on_of,
)

__all__ = [
    "FINGERPRINTS",
    "MEANING",
    "Fingerprints",
    "Leak",
    "LeakAudit",
    "LeakKind",
    "audit",
    "audit_fingerprints",
    "fingerprint",
    "load",
    "save",
    "trained_on_of",
]
