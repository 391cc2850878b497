"""The examples for shells, Slurm, Docker, Kubernetes start every shard once, with real options."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import typer

from inspector.cli import app
from inspector.photos.selection import Shard
from tests.house.conftest import REPOSITORY
from tests.image import steps

PAGE = (REPOSITORY / "docs/how-to/several-machines.md").read_text(encoding="utf-8")
_PYTHON = "#!/usr/bin/env python3\n"
STUBS = {
    "inspector": _PYTHON + "import json, os, sys\n"
    "words = sys.argv[1:]\n"
    "if words[0] == 'scan': os.makedirs(words[words.index('--out') + 1].lstrip('/'))\n"
    "with open(os.environ['SEEN'], 'a') as seen: seen.write(json.dumps(words) + '\\n')\n",
    "srun": '#!/bin/sh\nexec "$@"\n',
    "ssh": '#!/bin/sh\nshift\nexec sh -c "$*"\n',
    "docker": '#!/bin/sh\n[ "$1" = run ] || exit 0\n'
    'while [ $# -gt 0 ]; do\ncase "$1" in inspector*) shift; exec inspector "$@";; esac\n'
    "shift\ndone\n",
}  # fmt: skip


def example(name: str, page: str = PAGE) -> str:
    """The block behind a mark."""
    found = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```", page, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def run(tmp_path):
    """Runs a script where all programs but the shell's only say what they were asked to do."""
    (tmp_path / "bin").mkdir()
    for name, text in STUBS.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    seen = tmp_path / "seen"

    def run(script: str, **env: str) -> list[list[str]]:
        seen.unlink(missing_ok=True)
        path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        subprocess.run(
            ["sh", "-eu", "-c", script], cwd=tmp_path, check=True, timeout=60,
            env=os.environ | {"PATH": path, "SEEN": str(seen)} | env,
        )  # fmt: skip
        return [json.loads(line) for line in seen.read_text().splitlines()]

    return run


def options(words: list[str]) -> dict[str, object]:
    """What the command line makes of them."""
    command = typer.main.get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    return command.make_context(words[0], words[1:]).params


def shards_of(lines: list[list[str]]) -> set[tuple[int, int]]:
    found = [options(words) for words in lines if words[0] == "scan"]
    shards = [Shard.parse(str(each["shard"])) for each in found]
    assert len({each["out"] for each in found}) == len(found), "one --out for each"
    return {(shard.number, shard.count) for shard in shards}


def test_shell_loops_start_every_shard_and_merge_them(run):
    lines = run(example("shell"))
    assert shards_of(lines) == {(number, 4) for number in range(4)} and len(lines) == 5
    assert options(lines[-1])["tables"] == [f"results/{number}" for number in range(4)]
    lines = run(example("ssh"))
    assert shards_of(lines[:-1]) == {(number, 3) for number in range(3)} and len(lines) == 4


def test_a_slurm_array_has_a_task_for_every_shard(run):
    script = example("slurm")
    first, last = map(int, re.search(r"--array=(\d+)-(\d+)%\d+", script).groups())
    count = last - first + 1
    for number in (first, last):
        task = {"SLURM_ARRAY_TASK_ID": f"{number}", "SLURM_ARRAY_TASK_COUNT": f"{count}"}
        lines = run(script, **task, SLURM_CPUS_PER_TASK="8")
        assert shards_of(lines) == {(number, count)} and options(lines[0])["workers"] == 8
    assert first == 0


def test_a_kubernetes_job_has_an_index_for_every_shard():
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load(example("kubernetes"))
    spec = job["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert (job["kind"], spec["completionMode"]) == ("Job", "Indexed")
    count = spec["completions"]
    words = [
        [word.replace("$(JOB_COMPLETION_INDEX)", f"{index}") for word in container["args"]]
        for index in range(count)
    ]
    assert shards_of(words) == {(index, count) for index in range(count)}
    (fails, _) = spec["podFailurePolicy"]["rules"]
    assert fails["onExitCodes"]["containerName"] == container["name"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["template"]["spec"]["volumes"]}


@pytest.mark.parametrize("recipe", ["slim", "cuda"])
def test_an_image_is_made_of_what_is_here(repository, recipe):
    path = repository / f"docs/containers/{recipe}.Dockerfile"
    done = steps(path.read_text(encoding="utf-8"))
    stages = [rest.split()[2] for name, rest in done if name == "FROM" and " AS " in rest]
    users = [rest for name, rest in done if name == "USER"]
    assert done[-1][0] == "ENTRYPOINT" and "inspector" in json.loads(done[-1][1])[-1]
    assert len(users) == 1 and users[0].split(":")[0].isdecimal() and users[0] > "1000"
    for name, rest in done:
        if name == "RUN":
            subprocess.run(["sh", "-n", "-c", rest], check=True)
            for file in re.findall(r"/src/(\S+\.lock)", rest):
                assert (repository / file).is_file()
        if name == "COPY" and "--from" in rest:
            assert rest.split()[0].removeprefix("--from=") in stages
    listed = Path(f"{path}.dockerignore").read_text(encoding="utf-8").splitlines()
    taken = [line.removeprefix("!") for line in listed if line.startswith("!")]
    assert all(list(repository.glob(name)) for name in taken)


def test_containers_are_given_real_options(run):
    page = (REPOSITORY / "docs/how-to/containers.md").read_text(encoding="utf-8")
    for mark in ("build", "cuda"):
        for words in run(example(mark, page)):
            assert options(words) is not None


def test_docker_is_given_real_options(run):
    assert shards_of(run(example("docker"))) == {(0, 3)}
