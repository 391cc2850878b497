"""The docs say what the code does: commands parse, tables and printed output are the real ones."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from inspector.cli import app
from inspector.model.bundle import CARD, DEFAULT_PATH
from inspector.results.schema import COLUMNS
from inspector.results.verify import Flaw, Remark
from inspector.scanning import ScanConfig, scan
from inspector.types import FailureCode, Reason
from samples import show
from tests.house.conftest import REPOSITORY

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
P_TOLERANCE = 0.02
"""Another processor adds up in another order: probabilities may move a little, verdicts not."""
PAGES = sorted(
    page.relative_to(REPOSITORY).as_posix()
    for page in (REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md"))
    if page.name not in ("commands.md", "python.md")  # generated, and not always there
)
README_LINES = 130
COMMANDS: Any = typer.main.get_command(app)


def fences(page: str, *languages: str) -> list[str]:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    return [code for language, code in FENCE.findall(text) if language in languages]


def commands(page: str) -> list[list[str]]:
    lines = "\n".join(fences(page, "", "bash")).splitlines()
    lines = [line.rpartition(" | ")[2] for line in lines]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("inspector ")]


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_the_docs_parse(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bridge-7.toml").touch()
    for words in commands(page):
        command, context, name = COMMANDS, None, "inspector"
        while words and words[0] in getattr(command, "commands", {}):
            context = command.context_class(command, parent=context, info_name=name)
            name = words.pop(0)
            command = command.commands[name]
        command.make_context(name, words, parent=context)


def test_the_docs_show_every_command():
    shown = {words[0] for page in PAGES for words in commands(page)}
    assert shown == set(COMMANDS.commands)


def test_the_readme_is_a_welcome(repository):
    assert len((repository / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(repository, page):
    text = (repository / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)[)#]", text):
        if not target.startswith("http"):
            assert ((repository / page).parent / target).exists(), target


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md"])
def test_files_named_in_the_docs_exist(repository, page):
    text = (repository / page).read_text(encoding="utf-8")
    named = re.findall(r"`((?:inspector|export|bench|tests|samples|docs)/[\w./*-]+)`", text)
    missing = [name for name in named if not any(repository.glob(name.rstrip("/")))]
    assert missing == []


def test_results_page_describes_the_table(repository):
    page = (repository / "docs" / "reference" / "results.md").read_text(encoding="utf-8")
    for column in COLUMNS:
        assert f"| `{column.name}` |" in page and column.doc in page, column.name
    for word in (*FailureCode, *Reason, *Flaw, *Remark):
        assert f"`{word}`" in page, word


@pytest.fixture(scope="module")
def demo(repository, tmp_path_factory):
    """The result of `make demo`: in fp32 at full resolution, as in the Makefile."""
    out = tmp_path_factory.mktemp("demo") / "demo-results"
    scan(
        ScanConfig(
            sources=(str(repository / "samples"),), out=out, device="cpu", precision="fp32",
        )
    )  # fmt: skip
    return out


def test_tutorial_shows_what_the_demo_prints(demo, capsys):
    result = CliRunner().invoke(app, ["verify", str(demo)])
    said = result.output.replace(str(demo), "demo-results")
    said = re.sub(r"part files: \d+", "part files: 1", said)  # more where scanning took long
    shown = after("docs/tutorial.md", "<!-- verify -->").splitlines()
    assert said.splitlines() == shown[1:]
    show.show(demo)
    printed = capsys.readouterr().out.splitlines()
    block = after("docs/tutorial.md", "<!-- demo -->").splitlines()
    for real, claimed in zip(printed[:-1], block[: len(printed) - 1], strict=True):
        assert without_numbers(real) == without_numbers(claimed)
        for p, q in zip(numbers(real), numbers(claimed), strict=True):
            assert abs(p - q) <= P_TOLERANCE, claimed


@pytest.mark.parametrize("page", ["docs/how-to/read-the-table.md", "docs/tutorial.md"])
def test_python_in_the_docs_runs_on_the_demo(page, demo, tmp_path):
    (tmp_path / "results").symlink_to(demo)
    (tmp_path / "demo-results").symlink_to(demo)
    programs = fences(page, "python")
    assert programs
    for program in programs:
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{program}\n{done.stderr}"


def test_readme_figures_are_those_of_the_model_card():
    card = (DEFAULT_PATH / CARD).read_text(encoding="utf-8").splitlines()
    claimed = after("README.md", "<!-- card -->", fenced=False)
    rows = [line for line in claimed.splitlines() if line.startswith("|")]
    assert len(rows) > 2
    for row in rows:
        assert row in card, row


def after(page: str, marker: str, *, fenced: bool = True) -> str:
    text = (REPOSITORY / page).read_text(encoding="utf-8").split(marker, 1)[1]
    match = FENCE.search(text)
    return match[2] if fenced and match else text.lstrip().split("\n\n", 1)[0]


def numbers(line: str) -> list[float]:
    return [float(word) for word in re.findall(r"\b[01]\.\d{3}\b", line)]


def without_numbers(line: str) -> str:
    return re.sub(r"\b[01]\.\d{3}\b", "#", line).rstrip()
