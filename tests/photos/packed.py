"""Archives for tests: of each kind that is read, made here."""

from __future__ import annotations

import io
import tarfile
import warnings
import zipfile
from typing import Any

from inspector.photos.source import Discovery

JPEG = b"\xff\xd8\xff\xe0"
KINDS = ("stored.zip", "deflated.zip", "streamed.zip", "pax.tar", "gnu.tar", "packed.tgz")


class _OneWay(io.RawIOBase):
    """A file that cannot go back, so that sizes stand behind what they are of."""

    def __init__(self, file):
        self._file = file

    def writable(self):
        return True

    def write(self, data):
        return self._file.write(data)


def pack(path, members, kind=None):
    """Write names (str, or bytes in a tar) and contents, in this order, repeated names too."""
    kind = kind or path.name
    if kind.endswith(".zip"):
        method = zipfile.ZIP_STORED if "stored" in kind else zipfile.ZIP_DEFLATED
        with open(path, "wb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            target = _OneWay(file) if "streamed" in kind else file
            with zipfile.ZipFile(target, "w", method) as archive:
                for name, content in members:
                    archive.writestr(zipfile.ZipInfo(name), content, method)
        return path
    form = tarfile.GNU_FORMAT if "gnu" in kind else tarfile.PAX_FORMAT
    mode: Any = "w:gz" if kind.endswith("gz") else "w"
    with tarfile.open(path, mode, format=form, errors="surrogateescape") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def listed(*sources, **options):
    discovery = Discovery([str(source) for source in sources], **options)
    return list(discovery), discovery
