"""A review server as a user has it: a process of its own, talked to over HTTP or by its page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Live:
    """`address` ends with the token and a slash."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process = process
        self.address = address

    def ask(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
        """Status, headers and content (JSON where it is) for a path behind the token."""
        return ask(self.address + path, body, **headers)

    def get(self, path: str) -> Any:
        status, _, content = self.ask(path)
        assert status == 200, content
        return content


def ask(address: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        given = {"Content-Type": "application/json"} | given
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(address, data=data, headers=given)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as response:
            return response.status, response.headers, _content(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, _content(error)


def _content(response: Any) -> Any:
    content = response.read()
    if response.headers.get("Content-Type", "").startswith("application/json"):
        return json.loads(content)
    return content


class Page:
    """The open page, and everything that it asked for or complained about."""

    def __init__(self, browser: Any, address: str) -> None:
        self.page = browser.new_page(viewport={"width": 1280, "height": 800})
        self.wrong: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(_host(request.url)))
        self.page.goto(address)
        self.shown = ""
        self.wait_for_photo()

    def wait_for_photo(self) -> None:
        self.page.wait_for_selector(f"body[data-shown]:not([data-shown='{self.shown}'])")
        self.shown = self.page.get_attribute("body", "data-shown")

    def wait_until_saved(self) -> None:
        self.page.wait_for_selector("#saved:not(.busy)")

    def progress(self) -> str:
        said: str = self.page.text_content("#progress")
        return said


def _host(url: str) -> str:
    """Of a picture that the page already has, where it came from."""
    return urlsplit(url.removeprefix("blob:")).netloc


@contextmanager
def reviewing(out: Path, *options: str, browser: str = "") -> Iterator[Live]:
    """A server on any free port; ended when the block ends, unless it is already."""
    command = [sys.executable, "-m", "inspector", "review", str(out), "--port", "0", *options]
    command += [] if browser else ["--no-browser"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"BROWSER": browser},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().strip()
        if not address:
            raise AssertionError(process.stderr.read())
        try:
            yield Live(process, address)
        finally:
            process.terminate()
            process.communicate(timeout=30)
