"""The connection to a Ray cluster."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from inspector.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT_S = 5.0
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}
"""Ray reports its use to its makers, and prints what its daemons say to the standard output."""


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """The library, connected to the cluster at `address` or, without one, to that of this machine,
    which is started if there is none. Raises BackendError; ModuleNotFoundError without Ray."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield ray
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if address is not None:  # Ray tries for minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # of many kinds
        said = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
        raise BackendError(
            f"no Ray cluster at {address or 'this machine'}: {said.splitlines()[0]}; start one "
            "with ray start --head, and name it with --address HOST:PORT"
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray takes it
    try:
        yield ray
    finally:
        ray.shutdown()
