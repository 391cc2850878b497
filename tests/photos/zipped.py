"""A second kind of source, as small as the protocol allows: photos in a ZIP, read in place."""

from __future__ import annotations

import os
import stat
import zipfile
from calendar import timegm
from io import BytesIO

from inspector.photos import source
from inspector.photos.address import path_of, quoted, uri_of
from inspector.photos.formats import named_like_an_image
from inspector.photos.reading import Refused
from inspector.types import FailureCode, FileFacts


def install():
    source.SOURCES.insert(0, Zipped())


class Member(BytesIO):
    def __init__(self, content, facts):
        super().__init__(content)
        self._facts = facts

    def facts(self):
        return self._facts


class Zipped:
    def owns(self, address):
        return address.endswith(".zip") or ".zip!/" in address

    def root(self, address):
        return ZipRoot(address, f"{uri_of(os.path.realpath(address))}!/")

    def named(self, address, listing):
        yield address, address, FileFacts()

    def plain(self, uri):
        return uri

    def facts(self, address):
        return self._member(address)[1]

    def open(self, address):
        if "locked" in address:
            raise Refused(FailureCode.UNSUPPORTED, "encrypted")
        return Member(*self._member(address))

    def is_gone(self, address):
        try:
            self._member(address)
        except FileNotFoundError:
            return os.path.exists(path_of(address.partition("!/")[0]))
        return False

    def _member(self, address):
        archive, _, name = address.partition("!/")
        with zipfile.ZipFile(path_of(archive)) as opened:
            for info in opened.infolist():
                if quoted(info.filename, safe="/") == name:
                    return opened.read(info), facts_of(info)
        raise FileNotFoundError(2, "No such file or directory")


class ZipRoot:
    is_dir = True
    may_repeat = False

    def __init__(self, path, uri):
        self.path, self.uri, self.key = path, uri, uri

    def check(self, listing):
        assert stat.S_ISREG(os.stat(self.path).st_mode)

    def covers(self, uri):
        return uri.startswith(self.uri)

    def photos(self, listing):
        with zipfile.ZipFile(self.path) as opened:
            for info in opened.infolist():
                if named_like_an_image(info.filename):
                    uri = self.uri + quoted(info.filename, safe="/")
                    yield uri, uri, facts_of(info)
                else:
                    listing.ignores(info.filename)

    def count(self, listing):
        return sum(1 for _ in self.photos(listing))


def facts_of(info):
    return FileFacts(info.file_size, timegm((*info.date_time, 0, 0, 0)) * 1_000_000)
