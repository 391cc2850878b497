"""`inspector train` as people type it: at a terminal, with relative folders and odd names, stopped
and gone on with, and where something at its end goes wrong."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import export
from inspector.calibration.run import CalibrateConfig, calibrate
from inspector.cli import app
from inspector.errors import BundleError, DataError, ExportError, OutputError, UsageError
from inspector.evaluation.run import EvaluateConfig, evaluate
from inspector.model.bundle import ModelBundle
from inspector.training import TrainConfig, train
from inspector.training.notes import NOTES
from tests.training.conftest import save_scene

REPOSITORY = Path(__file__).parents[2]
SMALL = ("--init", "random", "--epochs", "1", "--size", "64", "-b", "4", "-j", "0")
NAME = "Brücke [x] 1:2"


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    """Divided as data sets come, with masks, behind a linked class folder."""
    root = tmp_path_factory.mktemp("person") / NAME
    for k in range(4):
        for part in ("train", "val", "test"):
            seed = 10 * k + len(part) + 100 * (part == "test")
            save_scene(root / part / "Positive" / f"{k}.jpg", crack=True, seed=seed)
            save_scene(root / part / "Negative" / f"{k}.jpg", crack=False, seed=seed + 500)
    (root / "train" / "ground_truth" / "crack").mkdir(parents=True)
    Image.new("L", (64, 64)).save(root / "train" / "ground_truth" / "crack" / "0_mask.png")
    shutil.move(root / "train" / "Positive", root.parent / "elsewhere")
    os.symlink(root.parent / "elsewhere", root / "train" / "Positive")
    return root


def at_terminal(*arguments: str, cwd: Path, columns: int) -> tuple[int, str]:
    """The exit code, and all that was written to a screen of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {
        **os.environ, "PYTHONPATH": str(REPOSITORY), "TERM": "xterm", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-m", "inspector", *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, env=environment,
    ) as process:  # fmt: skip
        os.close(theirs)
        seen = b""
        while True:
            try:
                read = os.read(ours, 65536)
            except OSError:  # what Linux says when the other end is closed
                break
            if not read:
                break
            seen += read
        code = process.wait()
    os.close(ours)
    return code, seen.decode("utf-8")


def test_train_at_a_terminal_takes_a_divided_folder(lab):
    code, screen = at_terminal("train", NAME, *SMALL, "--out", "M [x] 1:2", cwd=lab.parent,
                               columns=60)  # fmt: skip
    assert code == 0 and "Traceback" not in screen, screen[-2000:]
    plain = re.sub(r"\s+", " ", screen)
    assert re.search(r"epoch 1/1 train loss .*images/s", plain)
    assert "use it: inspector scan /photos --model 'M [x] 1:2'" in plain
    for row in (
        "train/Positive crack 4 training",
        "val/Negative clear 4 validation",
        "test/Positive crack 4 left alone",
        "train/ground_truth mask 1 left out",
    ):
        assert row in plain
    bundle = ModelBundle.load(lab.parent / "M [x] 1:2")
    assert bundle.training["validation"]["images"] == 8
    assert "onnx-fp32" in bundle.variants and not list(bundle.path.rglob("*.pt"))


def small(data, out, **changes) -> TrainConfig:
    values = {
        "data": data, "out": out, "init": "random", "epochs": 1, "batch_size": 4, "size": 64,
        "device": "cpu", "workers": 0, "leak_audit": False,
    }  # fmt: skip
    return TrainConfig(**(values | changes))


def test_train_keeps_the_model_when_its_export_fails(lab, tmp_path, monkeypatch):
    def fails(*_):
        raise OSError("no space left")

    monkeypatch.setattr(export, "export_bundle", fails)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["train", str(lab), *SMALL, "--no-leak-audit", "--out", "a b"])
    assert isinstance(done.exception, ExportError)
    assert "no space left; the trained model is kept in a b" in str(done.exception)
    assert f"inspector export 'a b' --images '{lab}'" in str(done.exception)
    ModelBundle.load(tmp_path / "a b")


def test_train_refuses_an_unusable_out_at_the_start(lab, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    for out, words in (
        ("file", "is a file"), ("file/bundle", "is a file"), ("mine", r"other files.*letter\.txt"),
    ):  # fmt: skip
        with pytest.raises(OutputError, match=words):
            train(small(lab, tmp_path / out))
        with pytest.raises(OutputError, match=words):
            evaluate(EvaluateConfig(data=lab, out=tmp_path / out))
        with pytest.raises(OutputError, match=r"is a file|is not empty"):
            calibrate(CalibrateConfig(data=lab, out=tmp_path / out))
    assert sorted(os.listdir(tmp_path / "mine")) == ["letter.txt"]
    raw = Path(os.fsdecode(b"caf\xe9"))
    for config in (TrainConfig, CalibrateConfig):
        with pytest.raises(UsageError, match="must be UTF-8"):
            config(data=lab, out=raw)


def test_train_refuses_a_part_without_one_class_before_writing(lab, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(lab / "val", data / "train")
    shutil.copytree(lab / "val" / "Positive", data / "val" / "Positive")
    with pytest.raises(DataError, match=r"without cracks in its validation part"):
        train(small(data, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_train_warns_of_groups_that_do_not_match(lab, tmp_path, capsys):
    """And the parts that are left alone count as known."""
    rows = [f"{part}/Negative/{k}.jpg,{k}" for part in ("train", "val", "test") for k in range(4)]
    table = tmp_path / "groups.csv"
    table.write_text("\n".join(["file;group", *rows, "gone.jpg,1"]).replace(",", ";"), "utf-8")
    warnings: list[str] = []
    with pytest.raises(BundleError):  # so that nothing is trained here
        train(small(lab, tmp_path / "out", groups=table, init="none"), warn=warnings.append)
    assert capsys.readouterr() == ("", "")
    assert "no group to 12 of 24 images" in warnings[0] and "1 of 13 rows" in warnings[1]
    log = (tmp_path / "out" / NOTES / "log.txt").read_text(encoding="utf-8")
    assert "no group to 12 of 24" in log and "left alone" in log


def test_train_refuses_one_picture_with_two_labels(lab, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(lab / "val", data)
    with Image.open(data / "Positive" / "0.jpg") as photo:
        photo.save(data / "Negative" / "0 again.png")
    with pytest.raises(DataError, match=r"both labels.*0\.jpg \(crack\) and .*0 again\.png"):
        train(small(data, tmp_path / "out", leak_audit=True))
