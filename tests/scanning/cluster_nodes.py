"""Nodes of a cluster on which things go wrong."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace

from inspector.scanning.node import Node


class Slow(Node):
    """Takes its time, so that something can happen meanwhile."""

    def take(self):
        time.sleep(0.2)
        return super().take()


class Fragile(Node):
    """Is ended by any photo with a certain name."""

    def feed(self, refs):
        if any("poison" in ref.uri for ref in refs):
            os.kill(os.getpid(), signal.SIGKILL)
        super().feed(refs)


class Blind(Node):
    """Loses sight of the photos after it has proved that it can read them."""

    def feed(self, refs):
        super().feed([replace(ref, path=ref.path + ".gone") for ref in refs])
