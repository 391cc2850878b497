"""A container recipe without containers: `python -m tests.image docs/containers/slim.Dockerfile`.

Its steps are carried out in fresh roots on the base of this machine's system, in place of the
images that it names; then the result is measured and used as a container would: a user without
rights, a read-only root, no home, no /tmp, 64 MB of shared memory, no network. Needs root, Linux,
the package index, and a system Python of the version that builds.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.sandbox import NOBODY, Sandbox, is_possible

REPOSITORY = Path(__file__).parents[1]
BASE_MB = 60
"""Taken for the image that the last stage starts from, which is not here to be measured."""
MOST_MB = 450
_PHOTOS = ("crack_wide_diagonal.jpg", "clear_joint.jpg", "broken_empty.jpg", "crack_photo_12mp.jpg")


@dataclass
class Stage:
    """What a stage has made so far."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)
    user: str = ""
    entry: tuple[str, ...] = ()


def steps(recipe: str) -> list[tuple[str, str]]:
    """Return instruction and arguments of each step. Raises ValueError for one unknown here."""
    text = re.sub(r"^#.*\n", "", recipe, flags=re.MULTILINE).replace("\\\n", " ")
    found = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    for name, _ in found:
        if name not in ("FROM", "COPY", "RUN", "ENV", "USER", "ENTRYPOINT"):
            raise ValueError(f"{name} is not known here")
    return [(name, rest.strip()) for name, rest in found]


def build(recipe: Path, room: Path) -> Stage:
    """Carry out a recipe; the last stage is the image."""
    stages: dict[str, Stage] = {}
    stage = Stage(room)
    for name, rest in steps(recipe.read_text(encoding="utf-8")):
        print(name, rest, flush=True)
        words = shlex.split(rest)
        if name == "FROM":
            stage = Stage(room / f"{len(stages)}")
            stage.root.mkdir()
            stages[words[2] if "AS" in words else ""] = stage
        elif name == "COPY":
            *options, source, target = words
            place = stage.root / target.strip("/")
            if options:
                origin = stages[options[0].removeprefix("--from=")].root / source.strip("/")
                shutil.copytree(origin, place, symlinks=True)
            else:
                copy_checkout(source, place)
        elif name == "ENV":
            stage.env |= dict(word.split("=", 1) for word in words)
        elif name == "USER":
            stage.user = rest
        elif name == "ENTRYPOINT":
            stage.entry = tuple(json.loads(rest))
        else:
            _run(stage, rest)
    return stage


def copy_checkout(source: str, place: Path) -> None:
    """Copy a file of the checkout, or with `.` all that could be committed."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", source]
    done = subprocess.run(listing, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for name in filter(None, done.stdout.split("\0")):
        if (REPOSITORY / name).is_file() and not name.startswith("tests/"):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, place / name)


def _run(stage: Stage, command: str) -> None:
    base = Path(sys.base_prefix)
    own = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    box = Sandbox(
        root=stage.root,
        shown={base: str(base)},
        user=0,
        writable=True,
        tmp=True,
        network=True,
        env={"PATH": f"{base}/bin:/usr/bin:/bin", "PIP_ROOT_USER_ACTION": "ignore", **own},
    )
    done = box.run("sh", "-c", command, timeout=1800)
    if done.returncode:
        sys.exit(
            f"{command}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        )


def own_megabytes(stage: Stage) -> float:
    """Millions of bytes of the files that the image has beyond the one it starts from."""
    files = [path for path in stage.root.rglob("*") if path.is_file() and not path.is_symlink()]
    return sum(path.stat().st_size for path in files) / 1e6


def use(stage: Stage, room: Path) -> None:
    """Scan, continue, verify and report in it."""
    for name in ("photos", "results"):
        (room / name).mkdir()
    os.chown(room / "results", NOBODY, NOBODY)
    for name in _PHOTOS:
        shutil.copy(REPOSITORY / "samples" / name, room / "photos")
    box = Sandbox(
        root=stage.root,
        shown={room / "photos": "/photos"},
        lent={room / "results": "/results"},
        env={"PATH": "/usr/bin:/bin", **stage.env},
    )
    out = "/results/it"
    for line in (
        ("--version",),
        ("doctor",),
        ("scan", "/photos", "--out", out),
        ("scan", "/photos", "--out", out),
        ("verify", out),
        ("report", out),
        ("merge", out, "--out", "/results/all"),
        ("table", out),
    ):
        print("$ inspector", *line, flush=True)
        done = box.run(*stage.entry, *line, timeout=1200)
        print(done.stdout, done.stderr, flush=True)
        assert done.returncode == 0, f"exit code {done.returncode}"
        assert "Traceback" not in done.stderr
    assert (room / "results/it/_report.html").is_file()


def _is_like_the_base() -> bool:
    """Whether this system's Python, which runs the image, is as old as the one that builds it."""
    asked = "import sys; print(sys.version_info[:2])"
    try:
        said = subprocess.check_output(["/usr/bin/python3", "-c", asked], text=True)
    except OSError:
        return False
    return said.strip() == str(sys.version_info[:2])


def main(arguments: Sequence[str]) -> None:
    if not is_possible() or not _is_like_the_base():
        print("skipped: it needs root, Linux, and a /usr/bin/python3 of the version that builds")
        return
    with tempfile.TemporaryDirectory(prefix="inspector-image-") as folder:
        room = Path(folder)
        room.chmod(0o755)
        stage = build(Path(*arguments), room)
        assert stage.user.split(":")[0] not in ("", "0", "root"), "it runs as root"
        size = own_megabytes(stage)
        print(f"{size:.0f} MB, and {BASE_MB} MB that it starts from")
        use(stage, room)
        assert size + BASE_MB <= MOST_MB, f"more than {MOST_MB} MB"


if __name__ == "__main__":
    main(sys.argv[1:])
