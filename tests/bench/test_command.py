"""`inspector bench` and `inspector bench compare` as commands."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

import bench.run
from bench.config import EFFORTS, BenchConfig
from bench.results import FAILED, PEER, SCAN, read_results, write_results
from inspector.cli import app
from inspector.core.machine import CACHE_VARIABLE
from inspector.engines.tuned import find_recommendation
from inspector.errors import OutputError, SourceError, UsageError
from tests.bench.made import made_results


@pytest.fixture
def measured(monkeypatch):
    """Made-up results, in place of a run."""
    found = made_results()
    monkeypatch.setattr(bench.run, "_measure", lambda config, bundle, progress: found)
    return found


@pytest.fixture(autouse=True)
def own_memory(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "memory"))


def run(*args):
    return CliRunner().invoke(app, ["bench", *map(str, args)])


def test_it_writes_every_report_and_says_what_to_use(measured, tiny_bundle_dir, tmp_path):
    ended = run("--quick", "--model", tiny_bundle_dir, "--out", tmp_path / "out")
    assert ended.exit_code == 0, ended.output
    names = {"report.html", "report.md", "results.json"}
    assert {file.name for file in (tmp_path / "out").iterdir()} == names
    assert read_results(tmp_path / "out") == measured
    said = " ".join(ended.stdout.split())
    assert measured.recommendation.tiles.name in said and "report.html" in said
    assert "Remembered: inspector scan follows this from now on" in said and "--no-remember" in said
    said = " ".join(
        run(
            "--quick", "--model", tiny_bundle_dir, "--out", tmp_path / "out", "--no-remember"
        ).stdout.split()
    )
    assert (
        "Not remembered: --no-remember was given. Scans go on with what an earlier benchmark"
        in said
    )
    assert max(map(len, ended.stdout.splitlines()[:-1])) <= 80


def test_a_wrong_case_makes_the_exit_code_1(measured, tiny_bundle_dir, tmp_path):
    case = next(c for c in measured.cases if c.level == PEER)
    case.status, case.reason, case.best = FAILED, "2 of 20 probabilities are wrong", False
    ended = run("--model", tiny_bundle_dir, "--out", tmp_path / "out")
    assert ended.exit_code == 1
    assert "probabilities are wrong" in " ".join(ended.stdout.split())


def test_scans_follow_only_what_compared_everything_and_was_right(
    measured, tiny_bundle, tmp_path, monkeypatch
):  # fmt: skip
    monkeypatch.setattr(bench.run, "write_results", lambda *about: None)

    def advice_after(**options):
        config = BenchConfig(model=tiny_bundle.path, out=tmp_path / "out", **options)
        bench.run.bench(config)
        return find_recommendation(tiny_bundle, "cpu")

    assert advice_after(backends=("onnxruntime",)) is None
    assert advice_after(precisions=("fp32",)) is None
    measured.cases[0].status = FAILED
    assert advice_after() is None
    measured.cases[0].status = "ok"
    assert advice_after(remember=False) is None
    measured.busy = "other programs took 40 % of the processor"
    assert advice_after() is None
    assert "took 40 %" in measured.recommendation.remembered
    measured.busy = ""
    advice = advice_after()
    picked = measured.recommendation.tiles
    assert (advice.tiles.backend, advice.precision) == (picked.backend, picked.precision)
    assert advice.tiles.batch_size == picked.batch_size


def test_comparing_a_run_with_itself_finds_nothing_and_with_a_slower_one_says_so(
    measured, tmp_path
):  # fmt: skip
    write_results(tmp_path / "a", measured)
    write_results(tmp_path / "b", made_results(times=1 / 3))
    same = run("compare", tmp_path / "a", tmp_path / "a")
    assert same.exit_code == 0, same.output
    worse = run("compare", tmp_path / "a", tmp_path / "b")
    assert worse.exit_code == 3 and "regression" in worse.stdout
    better = run("compare", tmp_path / "b", tmp_path / "a", "--json")
    assert better.exit_code == 0 and '"improvement"' in better.stdout
    assert "improvement" in run("compare", tmp_path / "b", tmp_path / "a", "--markdown").stdout


def test_a_folder_without_photos_is_refused_before_anything_is_made(monkeypatch, tmp_path):
    monkeypatch.setattr(bench.run, "_measure", lambda *_: pytest.fail("it went on"))
    ended = run(tmp_path / "nowhere", "--out", tmp_path / "out")
    assert ended.exit_code == 1 and not (tmp_path / "out").exists()
    with pytest.raises(SourceError, match="holds no photo that can be read"):
        bench.run.bench(BenchConfig(source=tmp_path, out=tmp_path / "out"))


def test_mistakes_are_named(tmp_path):
    assert run("--quick", "--full").exit_code == 2
    assert run("--batch-sizes", "1,x").exit_code == 2
    assert run("compare", tmp_path).exit_code == 2
    with pytest.raises(UsageError, match="not openvin"):
        BenchConfig(backends=("openvin",))
    with pytest.raises(UsageError, match="int7"):
        BenchConfig(precisions=("int7",))
    with pytest.raises(UsageError, match="batch-sizes"):
        BenchConfig(batch_sizes=(0,))
    with pytest.raises(UsageError, match="peers"):
        BenchConfig(peers=("spark",))
    with pytest.raises(UsageError, match="mode"):
        BenchConfig(mode="slow")
    with pytest.raises(UsageError, match="device"):
        BenchConfig(device="cuda:1")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        bench.run.bench(BenchConfig(out=tmp_path / "file" / "out"))


def test_a_fastest_that_chance_may_explain_is_not_remembered(tiny_bundle, tmp_path, measured):
    for case in measured.cases:
        if case.level == SCAN:
            case.rates = [rate * by for rate, by in zip(case.rates, (1, 9, 1, 9, 1), strict=True)]
    bench.run.bench(BenchConfig(model=tiny_bundle.path, out=tmp_path / "out"))
    assert "was not shown to be faster than" in measured.recommendation.remembered
    assert find_recommendation(tiny_bundle, "cpu") is None


def test_efforts_grow(tmp_path):
    budgets = [effort.budget_s for effort in EFFORTS.values()]
    assert budgets == sorted(budgets) and budgets[0] < 300
