"""`python -m bench formats` on a photo of some pixels."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from bench.studies.commands import app


def test_each_format_is_measured(tmp_path):
    out = tmp_path / "out"
    ended = CliRunner().invoke(app, ["formats", "--megapixels", "1", "--rounds", "1",
                                     "--out", str(out)])  # fmt: skip
    assert ended.exit_code == 0, ended.output
    cases = json.loads((out / "results.json").read_text())["cases"]
    assert {"jpeg", "png", "bigtiff deflate", "bigtiff jpeg"} <= {case["kind"] for case in cases}
    for case in cases:
        assert 0 < case["pixels_mib"] < min(case["peak_mib"])
