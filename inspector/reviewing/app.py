"""The review's server: who may reach it, its addresses and its answers.

It listens on this machine only, but any web page that a browser on this machine shows could try to
reach it, by guessing the port or by a name that is made to point here (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import os
import secrets
import stat
import webbrowser
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from inspector.core import pages
from inspector.core.layout import RESULTS_DIR
from inspector.core.text import printable
from inspector.core.untrusted import checked, finite, parse_json
from inspector.errors import InspectorError, UsageError
from inspector.results.labels import Label
from inspector.results.reader import StaleTableError
from inspector.reviewing.queue import Filters
from inspector.reviewing.session import PhotoError
from inspector.workers.process import HelperError, Helpers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from inspector.core.untrusted import Made
    from inspector.photos.pictures import Picture
    from inspector.reviewing.session import Session


ASSETS = Path(__file__).parent / "assets"
_SHARED = ("viewer.js", "viewer.css")
"""Files that other pages have as well."""
_FILES = {
    "app.js": "text/javascript",
    "api.js": "text/javascript",
    "page.js": "text/javascript",
    "regions.js": "text/javascript",
    "viewer.js": "text/javascript",
    "style.css": "text/css",
    "viewer.css": "text/css",
    "icon.svg": "image/svg+xml",
}
_KEPT_PICTURES = 24
_LONGEST_REGION = 4000
"""Pixels; no screen is wider."""


@dataclass(slots=True)
class Workers:
    """The processes that open photos: `screens` show them whole, `details` zoom in, `heats` run the
    model; None where the model that made the table is not at hand, and `why_no_heat` says so."""

    screens: Helpers
    details: Helpers
    heats: Helpers | None
    bundle: Path | None
    why_no_heat: str = ""
    kept: OrderedDict[tuple[int, int], Picture] = field(default_factory=OrderedDict)
    """Whole photos by generation and row, encoded."""

    def close(self) -> None:
        for helper in (self.screens, self.details, self.heats):
            if helper is not None:
                helper.close()


@dataclass(frozen=True, slots=True)
class _Said:
    """Request of the page to keep a decision."""

    generation: int
    row: int
    uri: str
    label: str
    queue: str


@dataclass(frozen=True, slots=True)
class _SaidOfRegion:
    """Request of the page to keep a decision about one of a photo's regions; an empty `label`
    takes it back."""

    generation: int
    row: int
    uri: str
    region: int
    label: str
    queue: str


@dataclass(frozen=True, slots=True)
class _Undo:
    """Request of the page to take a decision back."""

    queue: str


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
        Route("/api/region/{generation:int}/{row:int}", api.region),
        Route("/api/heat/{generation:int}/{row:int}", api.heat),
        Route("/api/labels", api.label, methods=["POST"]),
        Route("/api/regions", api.label_region, methods=["POST"]),
        Route("/api/undo", api.undo, methods=["POST"]),
    ]
    refusals: dict[Any, Any] = {
        StaleTableError: partial(_refuse, 409, "stale"),
        PhotoError: partial(_refuse, 422, "photo"),
        HelperError: partial(_refuse, 422, "photo"),
        UsageError: partial(_refuse, 400, "request"),
        ValueError: partial(_refuse, 400, "request"),
        KeyError: partial(_refuse, 400, "request"),
        InspectorError: partial(_refuse, 507, "disk"),
    }
    return Guard(Starlette(routes=routes, exception_handlers=refusals), token)


class _Api:
    """One method per address. What blocks, blocks a thread."""

    def __init__(self, session: Session, workers: Workers) -> None:
        self._session = session
        self._workers = workers

    async def home(self, request: Request) -> Response:
        return FileResponse(ASSETS / "index.html", media_type="text/html")

    async def asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _FILES:
            return Response(status_code=404)
        folder = pages.ASSETS if name in _SHARED else ASSETS
        return FileResponse(folder / name, media_type=_FILES[name])

    async def about(self, request: Request) -> Response:
        clear_below, crack_from = self._session.thresholds
        known = clear_below == clear_below
        return JSONResponse(
            {
                "name": self._session.out.resolve().name,
                "heat": self._workers.heats is not None,
                "why_no_heat": self._workers.why_no_heat,
                "clear_below": clear_below if known else None,
                "crack_from": crack_from if known else None,
            }
        )

    async def queue(self, request: Request) -> Response:
        filters = Filters.parse(request.query_params)
        return JSONResponse(await asyncio.to_thread(self._session.start_queue, filters))

    async def rows(self, request: Request) -> Response:
        query = request.query_params
        ask = partial(self._session.page, query["queue"], int(query["start"]), int(query["count"]))
        return JSONResponse(finite(await asyncio.to_thread(ask)))

    async def row(self, request: Request) -> Response:
        facts = await asyncio.to_thread(self._session.facts, *_which(request))
        return JSONResponse(finite(facts))

    async def photo(self, request: Request) -> Response:
        generation, row = _which(request)
        kept = self._workers.kept
        picture = kept.get((generation, row))
        if picture is None:
            picture = await self._opened(request, self._workers.screens.ask)
            kept[generation, row] = picture
            if len(kept) > _KEPT_PICTURES:
                kept.popitem(last=False)
        same = await asyncio.to_thread(self._session.saw, generation, row, picture)
        return _as_response(picture, {"X-Same": str(int(same))})

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
        path = await asyncio.to_thread(self._session.path, *_which(request))
        view = (await asyncio.to_thread(self._session.facts, *_which(request)))["view"]
        png = await asyncio.to_thread(heats.ask, str(bundle), path, view)
        return Response(png, media_type="image/png")

    async def label(self, request: Request) -> Response:
        said = await _sent(_Said, request)
        ask = partial(
            self._session.decide, said.generation, said.row, said.uri, Label(said.label), said.queue
        )
        return JSONResponse(finite(await asyncio.to_thread(ask)))

    async def label_region(self, request: Request) -> Response:
        said = await _sent(_SaidOfRegion, request)
        label = Label(said.label) if said.label else None
        place = said.generation, said.row, said.uri, said.region
        ask = partial(self._session.decide_region, *place, label, said.queue)
        return JSONResponse(finite(await asyncio.to_thread(ask)))

    async def undo(self, request: Request) -> Response:
        queue = (await _sent(_Undo, request)).queue
        return JSONResponse(finite(await asyncio.to_thread(self._session.undo, queue)))

    async def _opened(self, request: Request, ask: Callable[..., Any], *more: Any) -> Picture:
        path = await asyncio.to_thread(self._session.path, *_which(request))
        picture: Picture = await asyncio.to_thread(ask, path, *more)
        return picture


async def _sent(kind: type[Made], request: Request) -> Made:
    """Parse a request's body. Raises ValueError for one that is none of the kind."""
    try:
        return checked(kind, parse_json(await request.body()))
    except TypeError as error:
        raise ValueError(str(error)) from error


def _which(request: Request) -> tuple[int, int]:
    return request.path_params["generation"], request.path_params["row"]


def _as_response(picture: Picture, headers: dict[str, str]) -> Response:
    sides = {"X-Width": str(picture.width), "X-Height": str(picture.height)}
    return Response(picture.content, media_type=picture.media_type, headers={**sides, **headers})


def _refuse(status: int, kind: str, request: Request, error: Exception) -> Response:
    return JSONResponse({"error": kind, "message": printable(str(error))}, status_code=status)


_HOSTS = frozenset({"127.0.0.1", "localhost"})
_LONGEST_BODY = 10_000
"""Bytes of a request; a decision is a few hundred."""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def new_token() -> str:
    """Return 256 random bits, fit for an address."""
    return secrets.token_urlsafe(32)


class Guard:
    """Lets a request through to `app` if its path begins with the token, it names this machine as
    the host, and it was not sent by another site; `app` sees the path behind the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # nothing else is spoken here; the server closes what nobody accepts

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await PlainTextResponse(refusal, status_code=403)(scope, receive, with_headers)
            return
        behind = scope["path"].removeprefix("/").partition("/")[2]
        inner = {**scope, "path": f"/{behind}", "raw_path": None}
        await self._app(inner, receive, with_headers)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if host.rsplit(":", 1)[0] not in _HOSTS:
            return "this server answers to 127.0.0.1 and localhost only"
        token, slash, _ = scope["path"].removeprefix("/").partition("/")
        if not secrets.compare_digest(token.encode(), self._token) or not slash:
            return "open the whole address that `inspector review` printed"
        if scope["method"] not in ("GET", "HEAD"):
            return _refuse_writing(headers, host)
        return None


def _refuse_writing(headers: Headers, host: str) -> str | None:
    """Another site can send neither JSON nor this origin without being asked first."""
    if headers.get("origin", f"http://{host}") != f"http://{host}":
        return "the request was sent by another site"
    if headers.get("content-type") != "application/json":
        return "decisions are sent as application/json"
    if not headers.get("content-length", "").isdecimal():
        return "the request has no Content-Length"
    return "the request is too long" if int(headers["content-length"]) > _LONGEST_BODY else None


_PAGE = """<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={address}">
<title>inspector review</title>
<a href="{address}">Open the review</a>
"""


def door_of(out: Path) -> Path:
    """The page that leads to the review of `out`. It lies beside the labels: browsers that are shut
    in, such as Ubuntu's, see neither `/tmp` nor hidden folders."""
    return out.resolve() / RESULTS_DIR / "review.html"


def open_in_browser(address: str, door: Path) -> bool:
    """Write a page that leads to `address` and that only this user can read, and open it. False,
    and nothing is opened, where files cannot be kept from others."""
    with contextlib.suppress(OSError):
        door.unlink(missing_ok=True)
        descriptor = os.open(door, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as stream:
            if os.name != "posix" or not stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
                stream.write(_PAGE.format(address=html.escape(address)))
                stream.flush()
                return webbrowser.open(door.as_uri())
    return False
