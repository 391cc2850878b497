"""A photo's address: one uri per photo, and the way back from it to a path.

The uri is that of the real path of the directory that holds the photo, with the photo's own name:
however a directory is spelled, and through whatever links it is reached, its photos keep their
uris, while a link to a file is a photo of its own. Pure ASCII; any bytes a name may have come back.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import quote_from_bytes, unquote_to_bytes

from inspector.core.text import display_path
from inspector.errors import UsageError
from inspector.photos.formats import ARCHIVES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inspector.photos.source import Found
    from inspector.types import FileFacts

LOCAL = "file://"
WEB = ("http://", "https://")
_HERE = f"{LOCAL}localhost/"
"""Another beginning of the uri of a file of this machine."""
_WINDOWS = os.name == "nt"
SLASHES = f"/{os.sep}"
"""Letters between the names in a path."""
_DRIVE = re.compile(r"/[A-Za-z]:(/|\Z)")
_BEGINS_ON_WINDOWS = re.compile(r"[A-Za-z]:[/\\]|\\\\")
"""Begins an absolute path with a drive or a server."""
MEMBER = "!"
"""Behind the uri of an archive, before a slash and the name of a photo in it; in any other local
uri, where it is quoted, it cannot stand. In an address the place of the photo in the archive, as a
hexadecimal number, may stand before the slash: `file:///photos.zip!1f3a/north/1.jpg`."""
_PLACE = re.compile(rf"{MEMBER}[0-9a-f]+/")
_ENDS = "|".join(map(re.escape, ARCHIVES))
_URI_INSIDE = re.compile(
    rf"(.*?(?:{_ENDS})){MEMBER}([0-9a-f]*)/(.*?)(?:;([1-9]\d{{0,17}}))?(?:#page=\d+)?", re.I | re.S
)
_PATH_INSIDE = re.compile(rf"(.*?(?:{_ENDS})){MEMBER}()/(.*)()", re.I | re.S)

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://")
_PAGE = re.compile(r"#page=([1-9]\d{0,5})\Z")
"""End of the uri of a page behind the first; in a name, the mark is quoted."""


def page_uri(uri: str, page: int) -> str:
    """Return the uri of a page of a file, counted from 1, which is the file itself."""
    return uri if page == 1 else f"{uri}#page={page}"


def pages(address: str, uri: str, facts: FileFacts, count: Callable[[], int]) -> Iterator[Found]:
    """Yield a file, and then each further one of the photos in it, which `count` counts. These have
    no path of their own: of a file with a path, their uri is their address."""
    yield address, uri, facts
    behind = address if address.startswith(LOCAL) else uri
    for page in range(2, count() + 1):
        yield page_uri(behind, page), page_uri(uri, page), facts


def page_of(address: str) -> int:
    """Return the page that an address names, 1 where it names none."""
    found = _PAGE.search(address) if is_uri(address) else None
    return int(found[1]) if found else 1


def without_page(uri: str) -> str:
    """Return the uri of the file itself, whatever page of it a uri names."""
    return _PAGE.sub("", uri)


def is_uri(address: str) -> bool:
    """Whether an address is a uri; all else is a path."""
    return _SCHEME.match(address) is not None


def uri_of(path: str, *, windows: bool = _WINDOWS) -> str:
    """Return the uri of an absolute path, as it is spelled."""
    if not windows:
        return f"{LOCAL}/{quoted(path.lstrip('/'), safe='/')}"
    plain = path.replace("\\\\?\\UNC\\", "\\\\", 1).removeprefix("\\\\?\\").replace("\\", "/")
    shared = plain.startswith("//")  # //server/share
    return f"{LOCAL}{'' if shared else '/'}{quoted(plain.lstrip('/'), safe='/:')}"


def path_of(uri: str, *, windows: bool = _WINDOWS) -> str:
    """Return the path that a `file://` uri stands for, of a page that of its file. Raises
    ValueError for any other."""
    if uri.startswith(_HERE):
        uri = f"{LOCAL}/{uri.removeprefix(_HERE)}"
    path = os.fsdecode(_unquoted(without_page(uri.removeprefix(LOCAL))))
    is_own = windows != path.startswith("/") or (windows and _DRIVE.match(path))
    if not uri.startswith(LOCAL) or not is_own or "\0" in path:
        raise ValueError(f"{uri!r} is no address of a file")
    return _on_windows(path) if windows else path


def _on_windows(path: str) -> str:
    """Return the path in a uri as Windows spells it; one of another system stays."""
    if not _DRIVE.match(path):
        return path if path.startswith("/") else f"\\\\{path}".replace("/", "\\")
    return path[1:].replace("/", "\\")


def directory_uri(path: str) -> str:
    """Return the uri of the directory that `path` leads to, with a slash at its end. A path that
    does not exist is taken as it is spelled."""
    uri = uri_of(os.path.realpath(path))
    return uri if uri.endswith("/") else f"{uri}/"


def quoted(name: str, safe: str = "") -> str:
    """Quote a name for use in a uri."""
    return quote_from_bytes(os.fsencode(name), safe=safe)


def unquoted(name: str) -> str:
    """Return what a uri, or a piece of one, has quoted, as `decoded`."""
    return decoded(_unquoted(name))


def _unquoted(name: str) -> bytes:
    return unquote_to_bytes(os.fsencode(name))


def decoded(name: bytes, *, windows: bool = _WINDOWS) -> str:
    r"""Decode a name that was made on any system. On Windows, whose own names have no other bytes,
    those that are not UTF-8 become \xNN."""
    return name.decode("utf-8", "backslashreplace") if windows else os.fsdecode(name)


def own_name(path: str, *, windows: bool = _WINDOWS) -> str:
    """Return a file's own name: on Windows, which takes it in capitals as well, as it is there,
    but that of a link as it is spelled."""
    if windows and not os.path.islink(path):
        path = os.path.realpath(path)
    return os.path.basename(path)


def text_of(uri: str, *, windows: bool = _WINDOWS) -> str:
    r"""Return a uri, or a piece of one, as people read it; bytes that are not UTF-8 as \xNN.
    Control characters stay; who prints it makes them harmless."""
    plain = _unquoted(without_place(uri).removeprefix(LOCAL)).decode("utf-8", "backslashreplace")
    return _on_windows(plain) if windows and uri.startswith(LOCAL) else plain


def without_place(address: str) -> str:
    """Return the uri of a photo in an archive, without its place there; other addresses as they
    are."""
    is_member = MEMBER in address and address.startswith(LOCAL)
    return _PLACE.sub(f"{MEMBER}/", address, count=1) if is_member else address


def shown(address: str) -> str:
    """Return an address as people read it: a path as it is, a uri as `text_of` it."""
    return text_of(address) if address.startswith(LOCAL) else display_path(address)


class Inside(NamedTuple):
    """The address of a photo in an archive, a path or a local uri, taken apart."""

    archive: str
    """The archive's own address."""
    place: str
    """Of the photo in the archive, hexadecimal; empty where the address does not say it."""
    name: str
    """In a uri quoted."""
    number: int
    """Which of several of this name, from 1 on."""

    @classmethod
    def of(cls, address: str, *, windows: bool = _WINDOWS) -> Self | None:
        """None for the address of anything else: a file's name, too, may have a `!`."""
        if MEMBER not in address:
            return None
        is_local = address.startswith(LOCAL)
        if not is_local and is_uri(address):
            return None
        if windows and not is_local:
            address = address.replace("\\", "/")
        found = (_URI_INSIDE if is_local else _PATH_INSIDE).fullmatch(address)
        return found and cls(found[1], found[2], found[3], int(found[4] or 1))


@dataclass(frozen=True, slots=True)
class Moved:
    """Photos that were listed below one directory and lie below another now, under the same names;
    or a file that has another name now, a photo or an archive. Where a link stood for the old
    directory, its name and that of its target both mean it."""

    old: tuple[str, ...]
    """Uris; that of a directory ends in a slash."""
    new: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `OLD=NEW`, split at the first `=` that leaves on the right what is there. Raises
        UsageError."""
        cuts = [at for at, letter in enumerate(text) if letter == "=" and 0 < at < len(text) - 1]
        if not cuts:
            raise UsageError(f"--moved {text!r} is not OLD=NEW")
        pairs = [(text[:at], os.path.expanduser(text[at + 1 :])) for at in cuts]
        old, new = next((pair for pair in pairs if os.path.exists(pair[1])), pairs[0])
        if not os.path.isfile(new):
            return cls(spellings(old), directory_uri(new))
        folder, name = os.path.split(os.path.abspath(os.path.expanduser(old)))
        olds = (*(at + quoted(name) for at in spellings(folder)), *_foreign(old))
        folder, name = os.path.split(os.path.abspath(new))
        return cls(olds, directory_uri(folder) + quoted(name))

    def is_there(self) -> bool:
        """Whether the new directory or file exists."""
        return os.path.exists(path_of(self.new))

    def apply(self, uri: str) -> str:
        """Return the uri that a photo has now; of one that lies below the new directory already,
        where that is below the old one, its own."""
        if uri.startswith(self.new) and self.new.startswith(self.old):
            return uri
        for old in self.old:
            rest = uri.removeprefix(old)
            # Behind a file's name come its pages or, of an archive, the photos in it.
            if rest != uri and (old.endswith("/") or rest[:1] in ("", "#", MEMBER)):
                return self.new + rest
        return uri


def spellings(path: str) -> tuple[str, ...]:
    """Return the uris, each with a slash at its end, of a directory that may be gone: that to which
    links lead, that of its own name, and that which it had on the other kind of system; of a part
    of a bucket the one that it has."""
    if is_uri(path) and not path.startswith(LOCAL):
        scheme, _, rest = path.partition("://")
        return (f"{scheme}://{quoted(unquoted(rest), safe='/').rstrip('/')}/",)
    plain = os.path.abspath(os.path.expanduser(path))
    uris = uri_of(plain), *_foreign(path)
    return tuple(dict.fromkeys((directory_uri(plain), *(f"{uri.rstrip('/')}/" for uri in uris))))


def _foreign(path: str, *, windows: bool = _WINDOWS) -> list[str]:
    """Return the uri that an absolute path has on Windows where this is another system, or the
    reverse; nothing for one that cannot be from there."""
    begins = path.startswith("/") if windows else _BEGINS_ON_WINDOWS.match(path)
    return [uri_of(path[:1].upper() + path[1:], windows=not windows)] if begins else []
