"""Files that must agree with each other, and what no file may hold."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from itertools import chain

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from inspector.cli import EXTRAS
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


def test_commands_to_install_are_quoted_so_that_windows_knows_it(repository, own_files):
    texts = {
        str(path): (repository / path).read_text(encoding="utf-8")
        for path in own_files
        if path.suffix in (".md", ".py")
    }
    assert any('pip install "crack-inspector[' in text for text in texts.values())
    assert not [path for path, text in texts.items() if f"pip install {chr(39)}" in text]


@pytest.fixture(scope="module", params=["requirements.lock", "requirements-slim.lock"])
def lock_lines(repository, request) -> list[str]:
    text = (repository / request.param).read_text(encoding="utf-8")
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
    found = [one for one in ranges(repository) if canonicalize_name(one.name) == name]
    assert found and not any(one.specifier.contains(holed) for one in found)


def test_every_direct_dependency_is_locked_within_its_range(repository):
    locked = pins(repository, "requirements.lock")
    for requirement in ranges(repository):
        versions = locked.get(canonicalize_name(requirement.name), set())
        assert versions, f"{requirement.name} is not locked: make lock"
        for version in versions:
            excluded = not requirement.specifier.contains(version.removeprefix("=="))
            assert not excluded, f"{requirement} excludes {version}: make lock"


def ranges(repository) -> list[Requirement]:
    """Ranges of what `make test` installs, which is everything but the extra `bench`."""
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = dict(project["optional-dependencies"])
    del extras["bench"]
    found = map(Requirement, {*project["dependencies"], *chain(*extras.values())})
    return [one for one in found if one.name != project["name"]]


def pins(repository, name: str) -> dict[str, set[str]]:
    """Locked versions by name; several where they depend on the Python version."""
    text = (repository / name).read_text(encoding="utf-8").replace("\\\n", " ")
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        pin = Requirement(line.split(" --hash=")[0])
        found.setdefault(canonicalize_name(pin.name), set()).add(str(pin.specifier))
    return found


def test_the_slim_lock_is_a_part_of_the_whole_one_and_for_the_cpu(repository):
    slim, whole = pins(repository, "requirements-slim.lock"), pins(repository, "requirements.lock")
    assert slim.items() <= whole.items(), "make lock"
    assert not slim.keys() & {"torch", "onnx", "onnxruntime-gpu", "scikit-learn", "scipy"}


def test_extras_are_named_for_what_they_install(repository):
    """The command line names the extra of a module that is missing."""
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extra, modules in EXTRAS.items():
        texts = project["optional-dependencies"][extra]
        names = {canonicalize_name(Requirement(text).name) for text in texts} - {project["name"]}
        assert {"scikit-learn" if one == "sklearn" else one for one in modules} == names


def test_no_checkout_changes_a_byte_of_what_is_hashed(repository):
    model = repository / "inspector/model/default"
    files = [str(model / name) for name in json.loads((model / "bundle.json").read_text())["files"]]
    told = subprocess.run(
        ["git", "check-attr", "text", "--", *files],
        cwd=repository, capture_output=True, check=False, text=True,
    )  # fmt: skip
    if told.returncode:
        pytest.skip("not a git checkout")
    assert [line.rpartition(" ")[2] for line in told.stdout.splitlines()] == ["unset"] * len(files)


def test_every_page_forbids_what_it_does_not_need(repository, own_files):
    """A page shows names that others chose; if one slipped through as markup, it could still load
    nothing and run nothing: a page with a script of its own lets that one run, by its hash."""
    texts = {
        path.name.removesuffix(".html.jinja"): (repository / path).read_text(encoding="utf-8")
        for path in own_files
        if path.name.endswith(".html.jinja")
    }
    skeleton, _ = texts.pop("page"), texts.pop("parts")
    policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', skeleton)
    assert policy is not None
    sources = "{% block sources %}img-src data:{% endblock %}"
    assert policy[1] == f"default-src 'none'; style-src 'unsafe-inline'; {sources}"
    assert skeleton.index("<style>") > policy.start(), "it holds for what follows it"
    assert "<script" not in skeleton
    assert set(texts) == {"bench", "evaluation", "summary"}
    for name, text in texts.items():
        assert text.startswith('{% extends "page.html.jinja" %}') and "http-equiv" not in text, name
        scripts = text.count("<script") - text.count('<script type="application/json">')
        own = re.findall(r"{% block sources %}(.*?){% endblock %}", text)
        allowed = (
            "img-src data: file: 'self'; script-src '{{ script_allowed }}'"  # photos lie beside
        )
        assert own == [allowed] * scripts, name
        assert text.count('<script type="module">{{ script }}</script>') == scripts <= 1
