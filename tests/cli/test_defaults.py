"""Defaults from inspector.toml: what they mean, who wins, and what is said about mistakes."""

from __future__ import annotations

import json
import os

import pytest
from typer.testing import CliRunner

from inspector.cli import app
from inspector.errors import UsageError
from tests.scanning.walls import wall


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with photos."""
    (tmp_path / "photos").mkdir()
    for k in range(4):
        wall(k).save(tmp_path / "photos" / f"{k}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text, file="inspector.toml"):
    with open(file, "w", encoding="utf-8") as stream:
        stream.write(text)


def invoke(*words):
    return CliRunner().invoke(app, list(words), env={"COLUMNS": "100", "NO_COLOR": "1"})


def dry_run(*words):
    return invoke("scan", "photos", "--dry-run", "--json", *words)


def test_the_file_gives_defaults_and_the_command_line_wins(place):
    write('[scan]\nlimit = 3\nexclude = ["0*"]\nmax-pixels = "1MP"\n[report]\npictures = 7\n')
    done = dry_run()
    assert json.loads(done.stdout)["discovered"] == 3
    assert json.loads(done.stdout)["excluded"] == {"0*": 1}
    assert done.stderr == ("defaults   limit 3, exclude 0*, max-pixels 1MP (inspector.toml)\n"), (
        "said once, and on stderr"
    )
    done = dry_run("--limit", "2", "--exclude", "3*")
    assert json.loads(done.stdout)["excluded"] == {}, "2 of 0, 1, 2"
    assert json.loads(done.stdout)["discovered"] == 2
    assert "limit" not in done.stderr and "max-pixels 1MP" in done.stderr
    assert dry_run("-q").stderr == ""


def test_config_names_another_file_and_paths_are_relative_to_it(place, tiny_bundle_dir):
    (place / "büro").mkdir()
    (place / "büro" / "model").symlink_to(tiny_bundle_dir)
    write("[scan]\nlimit = 1\n")
    write('[scan]\nmodel = "model"\nout = "out"\nview = "whole"\n', "büro/other.toml")
    done = invoke("scan", "photos", "-j", "0", "--config", "büro/other.toml")
    assert done.exit_code == 0, done.output
    assert "4 rows" in done.stdout and (place / "büro" / "out" / "table").is_dir()
    assert "model büro/model, view whole (büro/other.toml)" in done.stderr


def test_help_shows_the_defaults_that_hold(place):
    write('[scan]\nprecision = "int8"\nverify_content = true\n[bench.compare]\nthreshold = 0.25\n')
    shown = " ".join(invoke("scan", "-h").output.split())
    assert "[default: int8]" in shown and "[default: on]" in shown
    assert "[default: 0.25]" in invoke("bench", "compare", "-h").output
    assert "[default: 0.05]" in invoke("bench", "compare", "--config", "/dev/null", "-h").output


def test_bench_is_told_without_its_inner_command(place):
    write('[bench]\nbudget = "soon"\n[bench.compare]\nthreshold = 0.25\n')
    assert "inspector.toml: budget: " in str(invoke("bench", "photos").exception)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[scna]", "there is no command scna; did you mean scan?"),
        ("scan = 3", r"scan is a command, so write \[scan\]"),
        ('[scan]\npresicion = "int8"', "scan has no option presicion; did you mean precision?"),
        ("[scan]\nq = true", "scan has no option q; there are: out, model, "),
        ("[scan]\nas_json = true", "scan has no option as_json"),
        ('[scan]\nprecision = ["int8"]', r"precision is one value, not \['int8'\]"),
        ('[scan]\nexclude = "*.txt"', r"exclude is a list of texts, not '\*.txt'"),
        ("[scan]\nverify-content = 1", "verify-content is true or false, not 1"),
        ("[scan]\nlimit = true", "limit is one value, not True"),
        ('[scan]\nlimit = "many"', "limit: .*integer"),
        ('[scan]\nmax_pixels = "big"', "max-pixels: 'big' is no size"),
        ("[scan]\ntrust = true", "--trust stands on the command line only"),
        ("[scan]\noverwrite = true", "--overwrite stands on the command line only"),
        ("[scan]\nprune = true", "--prune stands on the command line only"),
        ('[scan]\nsource_gone = ["/a"]', "--source-gone stands on the command line only"),
        ('[scan]\naddress = "a:1"', "--address stands on the command line only"),
        ("[scan\nlimit = 1", "cannot read the defaults in inspector.toml: .*line 1"),
    ],
)
def test_a_mistake_is_named_with_file_and_key(place, text, said):
    write(text)
    done = dry_run()
    assert isinstance(done.exception, UsageError)
    with pytest.raises(UsageError, match=said):
        raise done.exception
    assert "inspector.toml" in str(done.exception) and done.stdout == ""


def test_a_file_that_is_asked_for_and_not_there_is_a_mistake(place):
    error = dry_run("--config", "nowhere.toml").exception
    assert isinstance(error, UsageError)
    assert str(error) == "cannot read the defaults in nowhere.toml: No such file or directory"


def test_completion_does_not_stumble_over_a_broken_file(place):
    write("[scan\n")
    typed = {"COMP_WORDS": "inspector scan --precision f", "COMP_CWORD": "3"}
    environment = {"_INSPECTOR_COMPLETE": "complete_bash", **typed}
    shown = CliRunner().invoke(app, [], env=environment, prog_name="inspector").output
    assert shown.split() == ["fp32", "fp16"]


def test_an_address_in_a_bucket_is_no_path_beside_the_file(place):
    write('[scan]\nout = "s3://bucket/a"\nretry-failed = true\n')
    done = invoke("scan", "photos", "--config", "inspector.toml")
    assert isinstance(done.exception, UsageError)
    assert "inspector merge s3://bucket/a --out DIR" in str(done.exception)


PLACES = {
    "scan": ["jsonl"],
    "watch": ["jsonl"],
    "report": "html csv xlsx geojson geoparquet coco annotate crops copy-cracks".split(),
    "table": ["export"],
    "publish": ["delta"],
    "train": ["out"],
    "evaluate": ["out"],
    "export": ["out"],
    "merge": ["out"],
    "bench": ["out"],
}
WORDS = {"bench": [], "export": [], "train": ["photos"], "evaluate": ["photos"]}


@pytest.mark.parametrize(
    ("command", "key"), [(command, key) for command, keys in PLACES.items() for key in keys]
)
def test_a_file_that_nobody_named_writes_below_its_folder_only(place, monkeypatch, command, key):
    home = place / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    (place / "a").mkdir()
    (place / "a" / "link").symlink_to(home)
    monkeypatch.chdir(place / "a")
    words = [command, *WORDS.get(command, ["../photos"])]
    for to in ("~/.bashrc", str(home / "x"), "../home/x", "link/x", "s3://bucket/x"):
        write(f"[{command}]\n{key} = {json.dumps(to)}\n")
        done = invoke(*words)
        assert isinstance(done.exception, UsageError), to
        assert f"inspector.toml: {key} {to.replace('~', str(home))}" in str(done.exception)
        assert f"--{key} on the command line" in str(done.exception)
        assert not list(home.iterdir())


def test_places_below_the_folder_and_on_the_command_line_are_fine(
    place, monkeypatch, tiny_bundle_dir
):
    (place / "a").mkdir()
    write('[scan]\njsonl = "x/../lines"\nout = "../out"\nworkers = 0\n', "a/inspector.toml")
    monkeypatch.chdir(place / "a")
    scanned = ["scan", "../photos", "--model", str(tiny_bundle_dir)]
    (place / "a" / "x").mkdir()
    assert invoke(*scanned).exit_code == 0
    assert len((place / "a" / "lines").read_text().splitlines()) == 4
    write('[scan]\njsonl = "../lines"\nworkers = 0\n')
    for more in (["--jsonl", "../named", "--out", "1"], ["--config", "inspector.toml", "-o", "2"]):
        assert invoke(*scanned, *more).exit_code == 0
    assert (place / "named").exists() and (place / "lines").exists()
    write('[scan]\njsonl = "-"\nout = "3"\nworkers = 0\n')
    assert '"verdict": ' in invoke(*scanned).stdout


@pytest.mark.parametrize("out", ["s3://bucket/x", "gs://bucket/x"])
def test_a_file_that_nobody_named_sends_no_rows_away(place, out):
    write(f'[scan]\nout = "{out}"\n')
    done = invoke("scan", "photos")
    assert isinstance(done.exception, UsageError) and "lies outside" in str(done.exception)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have no names here")
def test_a_pipe_in_place_of_the_file_is_refused_and_not_waited_for(place):
    os.mkfifo("inspector.toml")
    done = invoke("scan", "photos")
    assert isinstance(done.exception, UsageError) and "no file of settings" in str(done.exception)


def test_the_file_cannot_silence_what_is_said_of_it(place):
    write("[scan]\nquiet = true\nlimit = 1\n")
    assert dry_run().stderr == "defaults   limit 1, quiet on (inspector.toml)\n"
    assert dry_run("-q").stderr == ""
