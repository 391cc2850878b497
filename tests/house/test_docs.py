"""The docs say what the code does: commands parse, tables and printed output are the real ones."""

from __future__ import annotations

import re
import shlex

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

FENCE = re.compile(r"^```\w*\n(.*?)^```", re.M | re.S)
P_TOLERANCE = 0.02
"""Another processor adds up in another order: probabilities may move a little, verdicts not."""


def commands(text: str) -> list[list[str]]:
    lines = "\n".join(FENCE.findall(text)).splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("inspector ")]


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md", "docs/results.md"])
def test_commands_in_the_docs_parse(repository, page):
    group = typer.main.get_command(app)
    for name, *arguments in commands((repository / page).read_text(encoding="utf-8")):
        command = group.commands[name]  # type: ignore[attr-defined]
        command.make_context(name, arguments)


def test_readme_shows_every_command(repository):
    shown = {words[0] for words in commands((repository / "README.md").read_text(encoding="utf-8"))}
    assert shown == set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def test_links_lead_somewhere(repository):
    for page in [repository / "README.md", *(repository / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_results_page_describes_the_table(repository):
    page = (repository / "docs" / "results.md").read_text(encoding="utf-8")
    for column in COLUMNS:
        assert f"| `{column.name}` |" in page and column.doc in page, column.name
    for word in (*FailureCode, *Reason, *Flaw, *Remark):
        assert f"`{word}`" in page, word


def test_readme_shows_what_the_demo_prints(repository, tmp_path, capsys):
    # In fp32 at full resolution, as in the Makefile: what else is fastest depends on the machine.
    scan(
        ScanConfig(
            sources=(str(repository / "samples"),), out=tmp_path, device="cpu", precision="fp32",
        )
    )  # fmt: skip
    result = CliRunner().invoke(app, ["verify", str(tmp_path)])
    shown = after(repository, "<!-- verify -->").splitlines()
    assert result.output.replace(str(tmp_path), "demo-results").splitlines() == shown[1:]
    show.show(tmp_path)
    printed = capsys.readouterr().out.splitlines()
    block = after(repository, "<!-- demo -->").splitlines()
    for real, claimed in zip(printed[:-1], block[: len(printed) - 1], strict=True):
        assert without_numbers(real) == without_numbers(claimed)
        for p, q in zip(numbers(real), numbers(claimed), strict=True):
            assert abs(p - q) <= P_TOLERANCE, claimed


def test_readme_figures_are_those_of_the_model_card(repository):
    card = (DEFAULT_PATH / CARD).read_text(encoding="utf-8").splitlines()
    claimed = after(repository, "<!-- card -->", fenced=False)
    rows = [line for line in claimed.splitlines() if line.startswith("|")]
    assert len(rows) > 2
    for row in rows:
        assert row in card, row


def after(repository, marker: str, *, fenced: bool = True) -> str:
    text = (repository / "README.md").read_text(encoding="utf-8").split(marker, 1)[1]
    match = FENCE.search(text)
    return match[1] if fenced and match else text.lstrip().split("\n\n", 1)[0]


def numbers(line: str) -> list[float]:
    return [float(word) for word in re.findall(r"\b[01]\.\d{3}\b", line)]


def without_numbers(line: str) -> str:
    return re.sub(r"\b[01]\.\d{3}\b", "#", line).rstrip()
