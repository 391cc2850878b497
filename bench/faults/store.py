"""An object store on this machine, as far away and as unreliable as is asked for: it speaks enough
of S3 and of HTTP to be scanned and to hold results, and counts what it is asked."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import Enum, auto
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Callable

BUCKET = "photos"
_STALLED_S = 3600


class Fault(Enum):
    """What is wrong with an object."""

    FORBIDDEN = auto()
    """403."""
    BROKEN = auto()
    """500, always."""
    SHAKY = auto()
    """500 the first time."""
    BUSY = auto()
    """503 the first two times, as a store says that it is asked too much."""
    CUT = auto()
    """Half of the body, then the connection ends."""
    DROPPED = auto()
    """The same the first time."""
    TORN = auto()
    """The same the first time, and then it is another object: `Stored.then`."""
    SHORT = auto()
    """Half of the bytes that the listing says, as if they were all."""
    LOST = auto()
    """Listed, and not there."""
    SILENT = auto()
    """No answer."""


@dataclass
class Stored:
    """An object: its bytes, the second of its last change, and what is wrong with it."""

    body: bytes
    changed: int = 1_790_000_000
    fault: Fault | None = None
    version: int = 0
    then: bytes = b""

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.body).hexdigest()}-{self.version}"'


@dataclass
class ObjectServer:
    """A server on a port of its own, in a thread; `objects` by key, of the one bucket `BUCKET`."""

    delay_s: float = 0.0
    """Between a request and its answer, and once for each connection."""
    objects: dict[str, Stored] = field(default_factory=dict)
    page: int = 1000
    """Objects in an answer of a listing."""
    asked: Counter[str] = field(default_factory=Counter)
    """Requests by method and key; listings as `LIST`."""
    lists: bool = True
    """Whether it can list; else that is an error of the server."""
    keeps: bool = True
    """Whether it puts an object only where none is, if asked so; else it overwrites."""
    unanswered: Callable[[str], bool] = lambda key: False
    """Keys whose objects are put, and the connection ends without an answer."""
    refused: Callable[[str], bool] = lambda key: False
    """Keys whose objects are not put, and the connection ends."""
    at_once: int = 0
    """Most requests that were under way together."""
    port: int = 0

    def __enter__(self) -> Self:
        self._busy = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which `s3://photos` is this bucket."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "me",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "here",
        }

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(self.delay_s)
            while head := await reader.readuntil(b"\r\n\r\n"):
                self._busy += 1
                self.at_once = max(self.at_once, self._busy)
                await asyncio.sleep(self.delay_s)
                stays = await self._answer(head.decode("latin-1"), reader, writer)
                self._busy -= 1
                if not stays:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer a request; whether the connection stays."""
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ")
        fields = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
        parts = urlsplit(target)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        body = await reader.readexactly(int(fields.get("content-length", 0)))
        if bucket != BUCKET:
            return await _send(writer, 404, _error("NoSuchBucket"), method)
        if not key:
            self.asked["LIST"] += 1
            if not self.lists:
                return await _send(writer, 500, _error("InternalError"), method)
            return await _send(writer, 200, self._listing(parse_qs(parts.query)), method)
        self.asked[f"{method} {key}"] += 1
        if method == "PUT":
            return await self._put(key, body, fields, writer)
        return await self._give(method, key, fields, writer)

    async def _put(
        self, key: str, body: bytes, fields: dict[str, str], writer: asyncio.StreamWriter
    ) -> bool:
        if self.refused(key):
            return False
        if fields.get("if-none-match") == "*" and self.keeps and key in self.objects:
            return await _send(writer, 412, _error("PreconditionFailed"), "PUT")
        self.objects[key] = Stored(body)
        if self.unanswered(key):
            return False
        return await _send(writer, 200, b"", "PUT", {"ETag": self.objects[key].etag})

    async def _give(
        self, method: str, key: str, fields: dict[str, str], writer: asyncio.StreamWriter
    ) -> bool:
        stored, tries = self.objects.get(key), self.asked[f"{method} {key}"]
        if stored is None or stored.fault is Fault.LOST:
            return await _send(writer, 404, _error("NoSuchKey"), method)
        if fields.get("if-match", stored.etag) != stored.etag:
            return await _send(writer, 412, _error("PreconditionFailed"), method)
        if stored.fault is Fault.SILENT:
            await asyncio.sleep(_STALLED_S)
        if stored.fault is Fault.FORBIDDEN:
            return await _send(writer, 403, _error("AccessDenied"), method)
        if stored.fault is Fault.BROKEN or (stored.fault is Fault.SHAKY and tries == 1):
            return await _send(writer, 500, _error("InternalError"), method)
        if stored.fault is Fault.BUSY and tries <= 2:
            return await _send(writer, 503, _error("SlowDown"), method)
        body, status = stored.body, 200
        if stored.fault is Fault.SHORT:
            body = body[: len(body) // 2]
        said = {"ETag": stored.etag, "Last-Modified": formatdate(stored.changed, usegmt=True)}
        if span := fields.get("range"):
            begin, _, end = span.removeprefix("bytes=").partition("-")
            last = min(int(end or len(body) - 1), len(body) - 1)
            said["Content-Range"] = f"bytes {begin}-{last}/{len(body)}"
            body, status = body[int(begin) : last + 1], 206
        once = stored.fault in (Fault.DROPPED, Fault.TORN) and tries == 1
        cut = len(body) // 2 if once or stored.fault is Fault.CUT else None
        if once and stored.fault is Fault.TORN:
            stored.body = stored.then
        return await _send(writer, status, body, method, said, cut)

    def _listing(self, query: dict[str, list[str]]) -> bytes:
        prefix = query.get("prefix", [""])[0]
        after = query.get("continuation-token", query.get("start-after", [""]))[0]
        found = sorted(key for key in tuple(self.objects) if key.startswith(prefix) and key > after)
        if delimiter := query.get("delimiter", [""])[0]:
            found = list(dict.fromkeys(_cut(key, len(prefix), delimiter) for key in found))
            found = [key for key in found if not (after and key <= after)]
        here, more = found[: self.page], len(found) > self.page
        contents = "".join(map(self._entry, here))
        token = f"<NextContinuationToken>{escape(here[-1])}</NextContinuationToken>" if more else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{BUCKET}</Name><KeyCount>{len(here)}</KeyCount>{token}"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{contents}</ListBucketResult>"
        ).encode()

    def _entry(self, key: str) -> str:
        stored = self.objects.get(key)
        if stored is None:
            return f"<CommonPrefixes><Prefix>{escape(key)}</Prefix></CommonPrefixes>"
        changed = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(stored.changed))
        return (
            f"<Contents><Key>{escape(key)}</Key><LastModified>{changed}</LastModified>"
            f"<ETag>{escape(stored.etag)}</ETag><Size>{len(stored.body)}</Size></Contents>"
        )


def _cut(key: str, start: int, delimiter: str) -> str:
    """The key, or what of it is a folder below the first `start` letters."""
    end = key.find(delimiter, start)
    return key if end < 0 else key[: end + 1]


def _error(code: str) -> bytes:
    return (
        f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
    )


async def _send(
    writer: asyncio.StreamWriter,
    status: int,
    body: bytes,
    method: str,
    said: dict[str, str] | None = None,
    cut: int | None = None,
) -> bool:
    """Send an answer; whether the connection stays. Only `cut` bytes of the body if that is set."""
    fields = {"Content-Length": str(len(body)), **(said or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"HTTP/1.1 {status} -\r\n{head}\r\n".encode())
    if method != "HEAD":
        writer.write(body[:cut])
    await writer.drain()
    return cut is None or method == "HEAD"
