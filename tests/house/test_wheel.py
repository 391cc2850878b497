"""What a user gets: the wheel, built from the committed files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest

PACKAGES = {"inspector", "export", "bench"}
ONLY_IN_THE_REPOSITORY = ("bench/faults/", "bench/studies/", "bench/recipe/")
LARGEST = 60_000_000
"""Bytes; a default bundle bigger than this has no place in a wheel."""


@pytest.fixture(scope="module")
def wheel(repository, own_files, tmp_path_factory) -> Path:
    """Built from a copy, so that leftovers of earlier builds cannot slip in."""
    copy = tmp_path_factory.mktemp("checkout")
    for path in own_files:
        if path.parts[0] in {*PACKAGES, "pyproject.toml", "README.md", "LICENSE"}:
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(repository / path, copy / path)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist"]
    build = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert build.returncode == 0, build.stdout + build.stderr
    (built,) = (copy / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_top_level_names(names):
    top = {PurePosixPath(name).parts[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == PACKAGES


def test_it_holds_every_module_that_a_user_runs(names, own_files):
    modules = {p.as_posix() for p in own_files if p.parts[0] in PACKAGES and p.suffix == ".py"}
    kept = {name for name in modules if name.startswith(ONLY_IN_THE_REPOSITORY)}
    assert {name for name in names if name.endswith(".py")} == modules - kept
    assert {f"{folder}__init__.py" for folder in ONLY_IN_THE_REPOSITORY} <= kept


def test_its_benchmark_imports_nothing_that_stays_behind(wheel, tmp_path):
    """Nor do fault injection and studies run from it: they say where they are."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    program = (
        "import importlib, pkgutil, sys, bench\n"
        "for module in pkgutil.walk_packages(bench.__path__, 'bench.'):\n"
        "    name = module.name.rpartition('.')[2]\n"
        "    if not name.startswith(('ray_', 'timm_', '__main__')):\n"
        "        importlib.import_module(module.name)\n"
        "print(*sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    kept = tuple(folder.replace("/", ".") for folder in ONLY_IN_THE_REPOSITORY)
    assert not [name for name in found.stdout.split() if f"{name}.".startswith(kept)]
    command = [sys.executable, "-m", "bench", "faults"]
    study = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert study.returncode == 2
    assert "need a checkout of the repository" in study.stderr


def test_it_holds_types_licence_and_the_whole_default_bundle(names, own_files):
    assert "inspector/py.typed" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    bundle = {p.as_posix() for p in own_files if p.is_relative_to("inspector/model/default")}
    assert "inspector/model/default/bundle.json" in bundle
    assert bundle <= names


def test_it_holds_every_template(names, own_files):
    """What pages are made of is named folder by folder in pyproject.toml."""
    folders = {"template", "assets"}
    shipped = [p for p in own_files if p.parts[0] in PACKAGES]
    assert {p.as_posix() for p in shipped if p.parent.name in folders} <= names


def test_it_holds_the_templates_of_all_pages(names, own_files):
    templates = {
        p.as_posix() for p in own_files if p.parts[0] in PACKAGES and "template" in p.parts
    }
    assert "bench/report/template/bench.html.jinja" in templates
    assert templates <= names


def test_it_is_small_enough(wheel):
    assert wheel.stat().st_size < LARGEST


def test_it_starts_the_command_line(wheel, names):
    (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
    with zipfile.ZipFile(wheel) as archive:
        assert b"inspector = inspector.__main__:main" in archive.read(entry_points)
