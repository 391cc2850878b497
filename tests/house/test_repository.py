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
    return (repository / "requirements.lock").read_text(encoding="utf-8").splitlines()


def test_the_lock_is_pins_and_nothing_else(lock_lines):
    for line in lock_lines:
        requirement = Requirement(line)  # a comment, option or address is no requirement
        (pin,) = requirement.specifier
        assert requirement.url is None
        assert pin.operator == "=="
        assert "+" not in pin.version, f"{line}: a local version is in no public registry"


def test_every_direct_dependency_is_locked_within_its_range(repository, lock_lines):
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    locked: dict[str, list[str]] = {}
    for line in lock_lines:
        pin = Requirement(line)
        version = next(iter(pin.specifier)).version
        locked.setdefault(canonicalize_name(pin.name), []).append(version)
    for text in wanted:
        requirement = Requirement(text)
        versions = locked.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement.name} is not locked: make lock"
        for version in versions:
            assert requirement.specifier.contains(version), f"{text} excludes {version}: make lock"
