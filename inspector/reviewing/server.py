"""`review`: a page over a result directory, served on this machine until it is stopped."""

from __future__ import annotations

import contextlib
import errno
import getpass
import secrets
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import uvicorn

from inspector.core.layout import refuse_other
from inspector.core.untrusted import take_paths
from inspector.errors import UsageError
from inspector.model.stamp import find_bundle
from inspector.photos.address import Moved
from inspector.photos.pictures import region, screen, thumb
from inspector.results.labels import open_labels
from inspector.reviewing.app import SCREENS, Workers, make_app
from inspector.reviewing.heat import heat
from inspector.reviewing.session import Session
from inspector.workers.process import Helpers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.types import ASGIApp


DEFAULT_PORT = 8765
HOST = "127.0.0.1"
_SECONDS = 60.0
"""Longest time for opening one photo."""


@dataclass(frozen=True, slots=True)
class ReviewResult:
    """Result of a review."""

    labelled: int
    """Photos of the table that have a label."""


def review(config: ReviewConfig, *, ready: Callable[[str, Session], None]) -> ReviewResult:
    """Serve the review until SIGINT or SIGTERM; `ready` is told its address once it answers.

    Raises OutputError (no results, a second review of the same directory, labels that cannot be
    read), UsageError (the port is taken), BundleError (`config.model` is none).
    """
    refuse_other(config.out)
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(_listen(config.port))
        store = stack.enter_context(open_labels(config.out, config.reviewer))
        session = Session(config.out, store, Moved.parse(config.moved) if config.moved else None)
        stack.callback(session.close)
        workers = _workers(config.model, session.model)
        stack.callback(workers.close)
        workers.screens.start()
        workers.details.start()
        token = secrets.token_urlsafe(32)  # 256 random bits
        port = listening.getsockname()[1]
        server = _Server(
            make_app(session, workers, token),
            lambda: ready(f"http://{HOST}:{port}/{token}/", session),
        )
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
        return ReviewResult(session.labelled)


class _Server(uvicorn.Server):
    """Server that calls `started` once it answers and logs nothing but errors."""

    def __init__(self, app: ASGIApp, started: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_level="error",
                access_log=False,  # addresses hold the token
                lifespan="off",
                ws="none",
                http="h11",
                loop="asyncio",
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        self._when_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._when_started()


def _workers(model: Path | None, digest: str) -> Workers:
    bundle = find_bundle(model, digest)
    why = (
        ""
        if bundle
        else "The model that made this table is not at hand; name it with --model to see its heat "
        f"maps (digest {digest[:12]})."
    )
    return Workers(
        screens=Helpers(screen, _SECONDS, SCREENS),
        thumbs=Helpers(thumb, _SECONDS),
        details=Helpers(region, _SECONDS),
        heats=Helpers(heat, _SECONDS) if bundle else None,
        bundle=bundle,
        why_no_heat=why,
    )


@contextlib.contextmanager
def _listen(port: int | None) -> Iterator[socket.socket]:
    """A listening socket on 127.0.0.1. Raises UsageError for a port that was named and is taken."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        # On Windows, that other option would let two reviews have one port.
        alone = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
        listening.setsockopt(socket.SOL_SOCKET, alone, 1)
        try:
            listening.bind((HOST, DEFAULT_PORT if port is None else port))
        except OSError as error:
            if port is not None or error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise UsageError(
                    f"cannot listen on port {port}: {error.strerror}; choose another --port"
                ) from error
            listening.bind((HOST, 0))
        yield listening


def user_name() -> str:
    """Return the name of the user who is logged in, as far as the system tells."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewConfig:
    """Options of a review. Raises UsageError when a value cannot be right."""

    out: Path
    """Result directory of a scan."""
    port: int | None = None
    """On 127.0.0.1; None: 8765, or any free one."""
    model: Path | None = None
    """Bundle that made the table, for heat maps; None: the one that comes along."""
    moved: str | None = None
    """`OLD=NEW`: what was scanned as OLD, a folder or a file, is NEW now."""
    reviewer: str = field(default_factory=user_name)

    def __post_init__(self) -> None:
        take_paths(self)
        if self.port is not None and not 0 <= self.port <= 65535:
            raise UsageError(f"--port {self.port} is not between 0 and 65535")
        if self.moved is not None:
            Moved.parse(self.moved)
        if not self.reviewer:
            raise UsageError("--reviewer needs a name")
