"""Files that must agree with each other, and what no file may hold."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from inspector.version import __version__

PRIVATE_PATH = re.compile(r"(?<![\w.])/(?:home|root|work|Users)/\w")


def test_the_changelog_knows_this_version(repository):
    changelog = (repository / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[?{re.escape(__version__)}\b", changelog, re.MULTILINE)


def test_no_file_names_a_private_path(repository, own_files):
    found = []
    for path in own_files:
        try:
            text = (repository / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path}: {hit.group()}" for hit in PRIVATE_PATH.finditer(text)]
    assert not found


@pytest.fixture(scope="module")
def lock_lines(repository) -> list[str]:
    text = (repository / "requirements.lock").read_text(encoding="utf-8")
    return text.replace("\\\n", " ").splitlines()


def test_the_lock_is_hashed_pins_and_nothing_else(lock_lines):
    for line in lock_lines:
        text, *hashes = line.split(" --hash=")
        assert hashes, f"{line} has no hash: make lock"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}\s*", one) for one in hashes), line
        requirement = Requirement(text)  # a comment, option or address is no requirement
        (pin,) = requirement.specifier
        assert requirement.url is None
        assert pin.operator == "=="
        assert "+" not in pin.version, f"{line}: a local version is in no public registry"


@pytest.mark.parametrize(
    ("name", "holed"),
    [
        ("h11", "0.15.0"),  # CVE-2025-43859
        ("jinja2", "3.1.5"),  # CVE-2025-27516
        ("onnx", "1.20.1"),  # CVE-2026-27489
        ("pyarrow", "23.0.0"),  # CVE-2026-25087
        ("starlette", "1.0.0"),  # CVE-2026-48710
        ("torch", "2.9.1"),  # CVE-2026-24747
    ],
)
def test_no_range_admits_a_version_with_a_published_hole(repository, name, holed):
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ranges = [Requirement(text) for text in project["dependencies"]]
    (found,) = [one for one in ranges if canonicalize_name(one.name) == name]
    assert not found.specifier.contains(holed)


def test_every_direct_dependency_is_locked_within_its_range(repository, lock_lines):
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    locked: dict[str, list[str]] = {}
    for line in lock_lines:
        pin = Requirement(line.split(" --hash=")[0])
        version = next(iter(pin.specifier)).version
        locked.setdefault(canonicalize_name(pin.name), []).append(version)
    for text in wanted:
        requirement = Requirement(text)
        versions = locked.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement.name} is not locked: make lock"
        for version in versions:
            assert requirement.specifier.contains(version), f"{text} excludes {version}: make lock"


def test_every_page_forbids_what_it_does_not_need(repository, own_files):
    """A page shows names that others chose; if one slipped through as markup, it could still load
    nothing and run nothing."""
    pages = [path for path in own_files if path.name.endswith(".html.jinja")]
    assert len(pages) == 3
    for path in pages:
        text = (repository / path).read_text(encoding="utf-8")
        policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', text)
        assert policy is not None, path
        assert policy[1] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'", path
        assert text.index("<style>") > policy.start(), f"{path}: it holds for what follows it"
        assert "<script" not in text
