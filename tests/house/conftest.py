"""What the structure tests look at: the repository's own files."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("inspector", "export", "bench")


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def own_files() -> list[Path]:
    """Every file that is or could be committed, relative to the repository."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    names = listing.stdout.decode().split("\0")
    return [Path(name) for name in names if name and (REPOSITORY / name).is_file()]


@pytest.fixture(scope="session")
def modules() -> dict[str, ast.Module]:
    """Parsed modules of the shipped packages by dotted name; a package has its own name."""
    parsed = {}
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            parts = path.relative_to(REPOSITORY).with_suffix("").parts
            name = ".".join(parts).removesuffix(".__init__")
            parsed[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return parsed
