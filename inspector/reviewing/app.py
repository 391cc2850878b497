"""The review's server: its addresses and its answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from inspector.core import pages
from inspector.core.text import printable
from inspector.core.untrusted import finite, parse_json
from inspector.errors import InspectorError, UsageError
from inspector.results.manifest import DENSE, THRESHOLDS
from inspector.results.reader import StaleTableError
from inspector.reviewing.guard import Guard
from inspector.reviewing.queue import Filters
from inspector.reviewing.session import PhotoError
from inspector.workers.process import HelperError, Helpers

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from inspector.photos.pictures import Picture
    from inspector.reviewing.session import Session
    from inspector.types import JsonObject

    _Ask = Callable[..., Any]

ASSETS = Path(__file__).parent / "assets"
_KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_SHARED = ("viewer.js", "viewer.css")
"""Files that other pages have as well."""
_FILES = {
    file.name: file
    for file in (*ASSETS.iterdir(), *(pages.ASSETS / name for name in _SHARED))
    if file.suffix in _KINDS
}
SCREENS = 2
"""Processes that show photos whole: one for what is waited for, one for what comes next."""
_KEPT_PICTURES, _KEPT_THUMBS = 24, 400
_LONGEST_REGION = 4000
"""Pixels; no screen is wider."""


@dataclass(slots=True)
class Workers:
    """The processes that open photos: `screens` show them whole, `thumbs` small, `details` zoom in,
    `heats` run the model; None where the model that made the table is not at hand, and
    `why_no_heat` says so."""

    screens: Helpers
    thumbs: Helpers
    details: Helpers
    heats: Helpers | None
    bundle: Path | None
    why_no_heat: str = ""
    kept: dict[tuple[int, int], Picture] = field(default_factory=dict)
    """Whole photos by generation and row, encoded."""
    small: dict[tuple[int, int], Picture] = field(default_factory=dict)
    """The same for those of the list."""

    def close(self) -> None:
        for helper in (self.screens, self.thumbs, self.details, self.heats):
            if helper is not None:
                helper.close()


def make_app(session: Session, workers: Workers, token: str) -> ASGIApp:
    """Make the server's application, behind the guard."""
    api = _Api(session, workers)
    routes = [
        Route("/", api.home),
        Route("/assets/{name}", api.asset),
        Route("/api/about", api.about),
        Route("/api/queue", api.queue),
        Route("/api/rows", api.rows),
        Route("/api/row/{generation:int}/{row:int}", api.row),
        Route("/api/photo/{generation:int}/{row:int}", api.photo),
        Route("/api/thumb/{generation:int}/{row:int}", api.thumb),
        Route("/api/region/{generation:int}/{row:int}", api.region),
        Route("/api/heat/{generation:int}/{row:int}", api.heat),
        Route("/api/labels", partial(_change, session.decide), methods=["POST"]),
        Route("/api/regions", partial(_change, session.decide_region), methods=["POST"]),
        Route("/api/marks", partial(_change, session.mark), methods=["POST"]),
        Route("/api/notes", partial(_change, session.note), methods=["POST"]),
        Route("/api/undo", partial(_change, session.undo), methods=["POST"]),
    ]
    refusals: dict[Any, Any] = {
        StaleTableError: partial(_refuse, 409, "stale"),
        PhotoError: partial(_refuse, 422, "photo"),
        HelperError: partial(_refuse, 422, "photo"),
        UsageError: partial(_refuse, 400, "request"),
        ValueError: partial(_refuse, 400, "request"),
        KeyError: partial(_refuse, 400, "request"),
        InspectorError: partial(_refuse, 507, "disk"),
        ClientDisconnect: lambda *_: Response(status_code=204),
    }
    return Guard(Starlette(routes=routes, exception_handlers=refusals), token)


class _Api:
    """One method per address. What blocks, blocks a thread."""

    def __init__(self, session: Session, workers: Workers) -> None:
        self._session = session
        self._workers = workers
        self._screens, self._thumbs, self._heats = map(asyncio.Semaphore, (SCREENS, 1, 1))
        """A list asks for a hundred at once, as does an arrow key that is held; all threads would
        wait for them, and none would be left for a decision."""

    async def home(self, request: Request) -> Response:
        return FileResponse(ASSETS / "index.html", media_type="text/html")

    async def asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _FILES:
            return Response(status_code=404)
        return FileResponse(_FILES[name], media_type=_KINDS[_FILES[name].suffix])

    async def about(self, request: Request) -> Response:
        return JSONResponse(
            {
                "name": self._session.out.resolve().name,
                "heat": self._workers.heats is not None,
                "why_no_heat": self._workers.why_no_heat,
                "thresholds": {"whole": self._thresholds(""), "own": self._thresholds(DENSE)},
            }
        )

    def _thresholds(self, prefix: str) -> list[float] | None:
        """`clear_below` and `crack_from` of photos of a kind; None where the table has none."""
        found = [self._session.scanned.get(prefix + name) for name in THRESHOLDS[:2]]
        return [float(value) for value in found if value] if all(found) else None

    async def queue(self, request: Request) -> Response:
        filters = Filters.parse(request.query_params)
        return await _answer(partial(self._session.start_queue, filters))

    async def rows(self, request: Request) -> Response:
        query = request.query_params
        start, count = int(query["start"]), int(query["count"])
        return await _answer(partial(self._session.page, query["queue"], start, count))

    async def row(self, request: Request) -> Response:
        return await _answer(partial(self._session.facts, *_which(request)))

    async def photo(self, request: Request) -> Response:
        workers = self._workers
        kept, ask = workers.kept, workers.screens.ask
        picture = await self._kept(request, kept, _KEPT_PICTURES, ask, self._screens)
        same = await asyncio.to_thread(self._session.saw, *_which(request), picture)
        return _as_response(picture, {"X-Same": str(int(same))})

    async def thumb(self, request: Request) -> Response:
        workers = self._workers
        kept, ask = workers.small, workers.thumbs.ask
        return _as_response(await self._kept(request, kept, _KEPT_THUMBS, ask, self._thumbs), {})

    async def region(self, request: Request) -> Response:
        box = tuple(float(share) for share in request.query_params["box"].split(","))
        width = int(request.query_params["width"])
        if len(box) != 4 or not 0 < width <= _LONGEST_REGION:
            raise ValueError("a region is four shares of the photo, and a width")
        return _as_response(await self._opened(request, self._workers.details.ask, box, width), {})

    async def heat(self, request: Request) -> Response:
        heats, bundle = self._workers.heats, self._workers.bundle
        if heats is None:
            raise PhotoError(self._workers.why_no_heat)
        async with self._heats:
            await _check_wanted(request)
            path = await asyncio.to_thread(self._session.path, *_which(request))
            view = (await asyncio.to_thread(self._session.facts, *_which(request)))["view"]
            png = await asyncio.to_thread(heats.ask, str(bundle), path, view)
        return Response(png, media_type="image/png")

    async def _kept(
        self,
        request: Request,
        kept: dict[tuple[int, int], Picture],
        most: int,
        ask: _Ask,
        turns: asyncio.Semaphore,
    ) -> Picture:
        """The picture that is kept, or one that is opened in its turn and kept, `most` of them."""
        which = _which(request)
        if which not in kept:
            async with turns:
                await _check_wanted(request)
                kept[which] = kept.get(which) or await self._opened(request, ask)
        picture = kept[which]
        if len(kept) > most:
            del kept[next(iter(kept))]
        return picture

    async def _opened(self, request: Request, ask: _Ask, *more: Any) -> Picture:
        path = await asyncio.to_thread(self._session.path, *_which(request))
        picture: Picture = await asyncio.to_thread(ask, path, *more)
        return picture


async def _change(method: Callable[..., JsonObject], request: Request) -> Response:
    """Keep what a person says, by a method of the session whose parameters are the fields of the
    request. Raises ValueError for a body without just these, each of its type."""
    sent = parse_json(await request.body())
    wanted = {name: each.annotation for name, each in signature(method).parameters.items()}
    if not isinstance(sent, dict) or {k: type(v).__name__ for k, v in sent.items()} != wanted:
        raise ValueError(f"the request is no object of {', '.join(wanted)}")
    return await _answer(partial(method, **sent))


async def _answer(ask: Callable[[], Any]) -> Response:
    return JSONResponse(finite(await asyncio.to_thread(ask)))


async def _check_wanted(request: Request) -> None:
    """Raise ClientDisconnect where nobody waits for the answer any more."""
    if await request.is_disconnected():
        raise ClientDisconnect


def _which(request: Request) -> tuple[int, int]:
    return request.path_params["generation"], request.path_params["row"]


def _as_response(picture: Picture, headers: dict[str, str]) -> Response:
    sides = {"X-Width": str(picture.width), "X-Height": str(picture.height)}
    return Response(picture.content, media_type=picture.media_type, headers={**sides, **headers})


def _refuse(status: int, kind: str, request: Request, error: Exception) -> Response:
    return JSONResponse({"error": kind, "message": printable(str(error))}, status_code=status)
