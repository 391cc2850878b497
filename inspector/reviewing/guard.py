"""Who may reach the review's server, and the page that opens it.

It listens on this machine only, but any web page that a browser on this machine shows could try to
reach it, by guessing the port or by a name that is made to point here (DNS rebinding).
"""

from __future__ import annotations

import contextlib
import getpass
import html
import os
import secrets
import stat
import webbrowser
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

from inspector.core.layout import RESULTS_DIR

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

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


def tunnel_of(address: str) -> str:
    """The command by which the machine that somebody sits at reaches the review, where they are
    logged in here from another one (SSH); else nothing."""
    connection = os.environ.get("SSH_CONNECTION", "").split()
    if len(connection) != 4:
        return ""
    port = urlsplit(address).port
    return f"ssh -L {port}:127.0.0.1:{port} {getpass.getuser()}@{connection[2]}"
