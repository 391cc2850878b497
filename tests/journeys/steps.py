"""The journeys: what a person types, one line after the other, and what must be seen.

Every option of every command is in here, every line of the README and of `--help` (perhaps with
more options, which make it small); `test_complete.py` compares.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.journeys.terminal import (
    Seen,
    Typed,
    at_terminal,
    command_line,
    flaws,
    in_pipe,
)
from tests.photos.packed import pack
from tests.reviewing.live import ask

HOME = {"BROWSER": "true"}
"""A browser that opens nothing."""


@dataclass(frozen=True)
class Step:
    """A line, and what it must lead to."""

    line: str
    """Behind `inspector`, as typed into a shell; relative to the working directory."""
    shows: tuple[str, ...] = ()
    """Patterns of what can be read, wherever lines end."""
    code: int = 0
    columns: int | None = 80
    """Of the terminal; None: there is none."""
    typed: tuple[Typed, ...] = ()
    before: Callable[[Path], object] | None = None
    """What the person does in the working directory first."""
    below: str = "."
    """The working directory, inside the room."""
    given: bytes = b""
    """What stands on stdin, where there is no terminal."""
    start: tuple[str, ...] = ()
    """What stands for `inspector`."""

    def __str__(self) -> str:
        return self.line

    @property
    def words(self) -> list[str]:
        return shlex.split(self.line)

    def take(self, room: Path) -> Seen:
        """Do it, and look for what no journey may meet."""
        if self.before:
            self.before(room)
        line = [*self.start, *self.words] if self.start else command_line(self.words)
        cwd = room / self.below
        if self.columns is None:
            seen = in_pipe(line, cwd, env=HOME, given=self.given)
        else:
            seen = at_terminal(line, cwd, columns=self.columns, typed=self.typed, env=HOME)
        assert seen.code == self.code, f"exit code {seen.code}\n{seen.text}"
        for pattern in self.shows:
            assert re.search(pattern, seen.prose), f"{pattern} is not in\n{seen.text}"
        found = [] if "-v" in self.words else flaws(seen, self.columns or 0)
        assert not found, "\n".join([*found, "", seen.text])
        return seen


def remove(*names: str) -> Callable[[Path], None]:
    def before(room: Path) -> None:
        for name in names:
            (room / name).unlink()

    return before


def move_photos(room: Path) -> None:
    (room / "photos").rename(room / "moved photos")


def move_back(room: Path) -> None:
    (room / "moved photos").rename(room / "photos")


def copy_bench(room: Path) -> None:
    for name in ("bench-results", "after", "main", "branch"):
        shutil.copytree(room / "before", room / name)


def make_walls(room: Path) -> None:
    for name in ("my walls", "south"):
        shutil.copytree(room / "other walls", room / name)
    shutil.copy(room / "photos" / "P0.png", room / "north.jpg")
    os.symlink(room / "photos", room / "south" / "link")


def say_crack(screen: str) -> str:
    """Label each photo of the queue by its page, then press Ctrl-C."""
    address = "".join(re.search(r"http://127\.0\.0\.1:\d+/\S+(\n\S+)?", screen)[0].split())  # type: ignore[index]
    queue = ask(address + "api/queue")[2]
    rows = ask(f"{address}api/rows?queue={queue['queue']}&start=0&count=100")[2]
    for at, row in enumerate(rows):
        number = row["row"]
        if ask(f"{address}api/photo/{queue['generation']}/{number}")[0] != 200:
            continue
        facts = ask(f"{address}api/row/{queue['generation']}/{number}")[2]
        label = "crack" if at % 2 else "clear"
        said = {
            "generation": queue["generation"], "row": number, "uri": facts["uri"],
            "label": label, "queue": queue["queue"],
        }  # fmt: skip
        status, _, answer = ask(address + "api/labels", said)
        assert status == 200, answer
    return "\x03"


def set_defaults(room: Path) -> None:
    (room / "für alle.toml").write_text('[scan]\nmodel = "tiny"\nlimit = 2\n', encoding="utf-8")


def make_archives(room: Path) -> None:
    """A ZIP with photos, and two shards, of which one is cut off."""
    pictures = [*(room / "photos").glob("P[0-3].png")]
    pack(room / "photos.zip", [(f"Süd/{p.name}", p.read_bytes()) for p in pictures])
    (room / "shards").mkdir()
    for name in ("0.tar", "1.tar"):
        pack(room / "shards" / name, [(p.name, p.read_bytes()) for p in pictures])
    whole = (room / "shards" / "1.tar").read_bytes()
    (room / "shards" / "1.tar").write_bytes(whole[: len(whole) // 2])


SCANS = (
    Step("", ("Usage: inspector", "scan Give every photo"), columns=60),
    Step("-V", (r"inspector \d",)),
    Step("scan photos --model tiny --dry-run", ("to scan 11 new and 0 again",), columns=60,
         before=make_walls),
    Step("scan photos --model tiny --max-failures 0 --json", ('"ok": 10', '"failed": 1'),
         code=3, columns=None),
    Step("scan photos --model tiny", ("0 ok . 0 failed . 11 already done",)),
    Step("scan photos --model tiny --retry-failed -q", columns=60),
    Step("scan photos -o photos-results --model tiny --retry-failed --verify-content --prune "
         "--json",
         ('"pruned": 1',), before=remove("photos/P9.png")),
    Step("scan photos -o limited --model tiny --limit 3 --threshold 0.5 -b 2 -j 0 "
         "--loader processes --device cpu "
         "--backend onnxruntime --precision fp32 --max-pixels 1MP "
         "--max-bytes 1MB --max-seconds 20 --exclude '*.txt' -v",
         ("photos 3 = 3 ok", "read it python -c"), columns=60),
    Step("scan photos --out results --max-failures 50% --model tiny", ("table results",)),
    Step("scan photos --out lines --model tiny --jsonl - -q", ('"verdict": ', ), columns=None),
    Step("scan ../photos -o ../limited --model ../tiny --limit 5 --threshold 0.5",
         ("3 already done",), below="labelled"),
    Step("scan north.jpg south --model tiny --out both --follow-symlinks --overwrite --json -q",
         ('"discovered": 31',), columns=None),
    Step("scan photos/P0.png photos/P1.png --model tiny --out 'a b' -j 4",
         ("2 = 2 ok", "table a b"), columns=60),
    Step("scan photos -o trusted --model tiny --backend torchscript --trust --limit 2 -q",
         columns=60),
    Step("scan photos -o both-ways --config 'für alle.toml' --limit 1",
         (r"defaults model tiny \(für alle.toml\)", "photos 1 = 1 ok"), columns=60,
         before=set_defaults),
    Step("scan nowhere", ("inspector: .*nowhere.*", ), code=1, columns=60),
    Step("scan photos --threshold 2", code=2, columns=60),
    Step("watch photos --model tiny --out watched", ("crack p 0", "failed empty 1"),
         typed=(("watching: 10 photos", "\x03"),)),
    Step("watch 'moved photos' photos --out watched", code=1, columns=60),
    Step("watch photos -o watched --model tiny --every 0.2 --shard 0/2 -q", code=1, columns=None),
    Step("watch photos -o 'watched ü' --every 0.2 --model tiny --threshold 0.5 --min-crack-mm 0.3 "
         "--mm-per-px 0.12 --shard 0/2 --prune --follow-symlinks --exclude 'N*' --max-pixels 1MP "
         "--max-bytes 1MB --max-seconds 20 --device cpu --backend torchscript --trust "
         "--precision fp32 --view whole --overlap 0.5 --heatmaps review -b 2 -j 0 "
         "--loader processes --jsonl found.jsonl -v", ("inspector report 'watched ü'",),
         columns=60, typed=((r"watching: [1-9]\d* photos", "\x03"),)),
    Step("verify watched", ("10 rows", "proven")),
    Step("verify photos-results", ("10 rows", "proven"), columns=60),
    Step("verify photos-results --photos -v", ("proven", "compared with the files")),
    Step("verify photos-results --photos --json", ('"damage": .*photo_changed|"notes"',),
         columns=None, before=lambda room: (room / "photos/P8.png").write_bytes(b"other")),
    Step("rejudge photos-results --threshold 0.6 --model tiny", ("now crack", "changed"),
         columns=60),
    Step("rejudge photos-results --model tiny -v", ("clear below 0.3, crack from 0.7",)),
    Step("rejudge photos-results --model tiny --json", ('"changed": 0',), columns=None),
    Step("verify nowhere", ("inspector: .*nowhere",), code=1, columns=60),
    Step("table photos-results", ("photos below",), columns=60),
    Step("table photos-results --rows 5 --columns path,p_crack,human_verdict,note -v",
         ("and 5 more",)),
    Step("table photos-results --export labelled.parquet", ("labelled.parquet",),
         columns=None),
    Step("report photos-results", ("photos 10", "report photos-results/_report.html")),
    Step("report photos-results --html bridge-7.html --geojson cracks.geojson --pictures 3 "
         "--moved nothing=nowhere --model tiny -v", ("report bridge-7.html",), columns=60),
    Step("table photos-results --since 2000-01-01", ("photos below",), columns=60),
    Step("table photos-results --since 2999-01-01", ("none was judged since 2999-01-01",)),
    Step("report photos-results --html bridge-7.html --title 'Bridge 7' --cover cover.toml "
         "--since 2000-01-01", ("since 2000-01-01 00:00", "report bridge-7.html"), columns=60),
    Step("report photos-results --since gestern", ("is no date",), code=2, columns=60),
    Step("report photos-results --cover groups.csv", ("inspector: cannot read --cover",), code=2,
         columns=60),
    Step("report photos-results --json", ('"photos": 10',), columns=None),
    Step("review photos-results --model tiny", (r"10 photos, 0 labelled, \d left", "http://127.0.0.1:"),
         typed=(("Ctrl-C ends it", "\x03"),)),
    Step("review nowhere", ("inspector: .*nowhere",), code=1, columns=None),
    Step("review photos-results --port 0 --no-browser --model tiny --reviewer Jörg -v",
         ("labelled in photos-results",), columns=60,
         typed=(("Ctrl-C ends it", say_crack),)),
    Step("review photos-results --no-browser --moved photos='moved photos' --model tiny",
         typed=(("Ctrl-C ends it", "\x03"),), before=move_photos),
    Step("scan 'moved photos' --out results --model tiny --moved photos='moved photos'",
         ("moved rows with the new address",), columns=60),
    Step("report photos-results --model tiny", ("people looked at",), columns=60,
         before=move_back),
    Step("scan north.jpg --out both --model tiny --source-gone south", ("1 rows",), columns=60,
         before=lambda room: shutil.rmtree(room / "south")),
    Step("scan - --model tiny --out listed -q", columns=None,
         given=b"photos/P0.png\0photos/P1.png\0"),
    Step("verify listed", ("2 rows",)),
    Step("scan photos.zip 'shards/*.tar' --model tiny --out packed",
         ("unreadable shards/1.tar: it is cut off",), code=3, columns=60, before=make_archives),
    Step("scan shards --model tiny --dry-run",
         ("archives not looked into: 2, first shards/0.tar",)),
    Step("scan photos --model tiny --out other --view dense", ("has no dense view",), code=1,
         columns=60),
    Step("scan photos --model tiny --out scaled --view whole --overlap 0.5 --min-crack-mm 0.3 "
         "--mm-per-px 0.12 --heatmaps review", (r"= \d+ ok", "overlays drawn")),
    Step("rejudge scaled --min-crack-mm 0.2 --mm-per-px 0.12 --model tiny", ("0.2 mm",),
         columns=60),
    Step("report scaled --html bridge-7.html --csv cracks.csv --xlsx cracks.xlsx "
         "--geojson bridge-7.geojson --geoparquet bridge-7.parquet --coco regions.json "
         "--annotate marked --crops regions --copy-cracks cracks",
         ("list cracks.csv", "marked marked")),
    Step("scan photos --model tiny --out half/0 --shard 0/2 --precision fp32",
         (r"shard 0/2; photos of the other shards: \d",), columns=60),
    Step("verify half/0", ("shard 0/2", "proven"), columns=60),
    Step("merge half/0 --out all", ("of 2 shards these are missing: 1/2",), code=1, columns=60),
    Step("scan photos --model tiny --out half/1 --shard 1/2 --precision fp32 -q", columns=None),
    Step("merge half/0 half/1 --out all", ("2 tables, all shards of a scan", "table all"),
         columns=60),
    Step("merge half/0 half/1 --out all --overwrite -v", ("2 tables, all shards of a scan",)),
    Step("merge half/0 half/1 --out all --json", ('"unchanged": true',), columns=None),
    Step("verify all", ("proven",)),
    Step("publish all --delta lake", (r"cannot lie below a name with \[ \]",), code=2),
    Step("publish all --delta ../lake", (r"published \.\./lake \(\d+ rows, version 0\)",)),
    Step("publish all --delta ../lake -v", ("version 0, as before",), columns=60),
    Step("publish all --delta ../lake --json", ('"unchanged": true',), columns=None),
    Step("scan photos --model tiny --out many --engine ray --address 127.0.0.1:9",
         ("no Ray cluster at 127.0.0.1:9", "start one with ray start --head"), code=1, columns=60),
)  # fmt: skip

_WALL = "'s3://photos/a wall'"

IN_A_BUCKET = (
    Step(f"scan photos --model tiny --precision fp32 --out {_WALL}",
         ("results go to s3://photos/a wall", "inspector report 's3://photos/a wall'")),
    Step(f"scan photos --model tiny --precision fp32 --out {_WALL}", ("already done",), columns=60),
    Step(f"scan photos --model tiny --out {_WALL} --retry-failed",
         ("only grows", "merge s3://photos/a wall --out DIR"), code=2, columns=60),
    Step(f"table {_WALL} --rows 2", ("2 more|more .--rows",)),
    Step(f"report {_WALL}", ("a wall-report.html",), columns=60),
    Step(f"verify {_WALL} --photos", ("proven", "compared with the files")),
    Step(f"review {_WALL} --no-browser", ("out must be on this machine",), code=2, columns=60),
    Step(f"rejudge {_WALL} --threshold 0.3", ("inspector merge ADDRESS",), code=2),
    Step(f"merge {_WALL} --out 'a wall'", ("table a wall",), columns=60),
    Step("verify 's3://photos/no wall'", ("holds no results of a scan",), code=1),
)  # fmt: skip

_HASTY = (
    sys.executable,
    "-c",
    """
import dataclasses
import bench.inputs
from bench import config
from inspector.cli import main
bench.inputs.WIDTH, bench.inputs.HEIGHT = 500, 400
config.EFFORTS = {name: dataclasses.replace(
    effort, rounds=2, turn_s=0.01, tiles=20, photos=2, pool=18, ceilings_s=0.2, scans=1,
    scan_batch_sizes=(), peers=(), slow=False) for name, effort in config.EFFORTS.items()}
main()
""",
)
"""The command, with little to measure: a benchmark takes its time whatever is asked for."""

_SMALL = "-b 8 --size 40 -j 0 --device cpu"

LEARNING = (
    Step(f"train labelled --out my-model --init random --epochs 2 {_SMALL} --train-size 32 "
         "--lr 1e-3 --seed 1 --synthetic 0.2 --target-recall 0.5 --target-specificity 0.5 "
         "--confidence 0.8 --pooled --strict-splits",
         ("Linear 512 to 2", "11,177,538", r"^(?!.*Conv2d\()"), code=130, columns=60,
         typed=(("epoch 1/2 +train loss", "\x03"),), before=make_walls),
    Step(f"train labelled --out my-model --init random --epochs 2 {_SMALL} --train-size 32 "
         "--lr 1e-3 --seed 1 --synthetic 0.2 --target-recall 0.5 --target-specificity 0.5 "
         "--confidence 0.8 --pooled --strict-splits --resume",
         ("epoch 2/2 train loss", "report: my-model/training/report.html",
          "use it: inspector scan /photos --model my-model")),
    Step("scan photos --model my-model --out mine", ("11 = 10 ok",)),
    Step("scan photos --model tiny --out photos-results -q", columns=60),
    Step("review photos-results --no-browser --model tiny", columns=60,
         typed=(("Ctrl-C ends it", say_crack),)),
    Step("train labelled --labels photos-results --validation 'other walls' --groups groups.csv "
         f"--positive Positive --init default --freeze-backbone --epochs 1 {_SMALL} "
         "--no-leak-audit --out probe -q -v",
         columns=None),
    Step("evaluate 'other walls' --model my-model --out evaluation --gallery 2 -b 4 -j 1 "
         "--device cpu --view auto --trained-on labelled",
         ("cracks clear", "report: evaluation/report.html")),
    Step("evaluate 'other walls' --model my-model --out evaluation --groups groups.csv "
         "--by folder --positive Positive", ("folder",), columns=60),
    Step("evaluate 'other walls' --model my-model --strict-splits --json -v", ('"sources"',),
         columns=None),
    Step("calibrate 'other walls' --target-recall 0.5 --target-specificity 0.5 --confidence 0.8 "
         "--out my-walls --model my-model",
         ("use it: inspector scan /photos --model my-walls",)),
    Step("calibrate 'other walls' --target-recall 0.5 --target-specificity 0.5 --confidence 0.8 "
         "--allow-laxer --model my-model --device cpu -v",
         ("nothing was written",), columns=None),
    Step("calibrate 'other walls' --target-recall 0.99 --pooled --groups groups.csv "
         "--positive Positive --model my-model", ("too few", "it takes"), code=1, columns=60),
    Step("calibrate 'other walls' --view dense --out my-walls-dense --model tiny",
         ("has no dense view",), code=1),
    Step("export -h", ("Usage: inspector export",)),
    Step("export tiny --onnx --torchscript --out deploy --images 'other walls' --images-limit 5 -v",
         ("model.onnx",), columns=None),
    Step("export my-model --int8 --fp16 --calibration labelled --images 'other walls'",
         ("inspector: .*photos",), code=1, columns=60),
    Step("doctor my-model", ("Everything is in order|to be looked at",)),
    Step("doctor tiny -v", ("Everything is in order|to be looked at",), columns=60),
    Step("doctor nowhere", ("not a model bundle",), code=1, columns=None),
    Step("bench photos --quick --out before --backends onnxruntime --precisions fp32 "
         "--batch-sizes 1 --workers 0 --peers none --device cpu --model tiny --budget 1 --seed 3 "
         "--no-remember", ("reports: before/report.html",), columns=60, start=_HASTY),
    Step("bench --quick --full", code=2, columns=80),
    Step("bench compare nowhere after -v", ("inspector: nowhere does not exist",), code=1,
         columns=None),
    Step("bench photos --batch-sizes few -v", code=2, columns=None),
    Step("bench compare before after", ("0 regressions, 0 improvements",), before=copy_bench),
    Step("bench compare main/results.json branch/results.json --threshold 0.1", columns=60),
    Step("bench compare before after --markdown", ("### Benchmark: what changed",), columns=None),
    Step("bench compare before after --threshold 0.1 --json", ('"regressed": false',),
         columns=None),
)  # fmt: skip
