"""Command line of the benchmark."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from inspector.cli.help import Group, examples
from inspector.cli.options import Model, called, one_of, output
from inspector.core.text import print_lines

REGRESSED = 3
"""Exit code of a comparison that found something slower or wrong."""


class _RunUnlessNamed(Group):
    """Group in which `bench SOURCE` means `bench run SOURCE`; a folder `compare` is `./compare`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in self.commands:
            args = ["run", *args]
        return super().parse_args(ctx, args)


group = typer.Typer(cls=_RunUnlessNamed)
commands = typer.Typer()
commands.add_typer(
    group, name="bench", help="Find out which engine and settings suit this machine."
)
_scope = partial(typer.Option, rich_help_panel="What is compared")
_time = partial(typer.Option, rich_help_panel="How long")


@group.command(
    epilog=examples(
        ("inspector bench --quick", "on generated photos, within 5 minutes"),
        ("inspector bench /photos --out bench-results", "on your own"),
        ("inspector bench --backends onnxruntime,openvino --batch-sizes 1,8,32", "only these"),
        ("inspector bench compare before after", "what changed between two benchmarks"),
    )
)
def run(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="SOURCE", help="Photos; not given: generated ones.", show_default=False
        ),
    ] = None,
    quick: Annotated[bool, _time(help="Within 5 minutes.")] = False,
    full: Annotated[bool, _time(help="All peers and batch sizes, an hour.")] = False,
    budget: Annotated[float | None, _time(metavar="SECONDS", help="About as long as this.")] = None,
    backends: Annotated[
        str | None,
        _scope(
            metavar="NAME,NAME",
            help="onnxruntime, openvino, tensorrt, torchscript, eager, channels-last, compile; "
            "not given: all.",
        ),
    ] = None,
    precisions: Annotated[
        str | None,
        _scope(metavar="NAME,NAME", help="fp32, bf16, fp16, int8, narrow; not given: all."),
    ] = None,
    batch_sizes: Annotated[
        str | None, _scope(metavar="N,N", help="Photos that the model takes at once.")
    ] = None,
    workers: Annotated[
        str | None, _scope(metavar="N,N", help="Processes that decode in a scan.")
    ] = None,
    peers: Annotated[
        str | None,
        _scope(
            metavar="NAME,NAME",
            help="Other programs: plain (Pillow, ONNX Runtime), eager, timm, tiles, timm-tiles, "
            "ray, daft; or none.",
        ),
    ] = None,
    device: Annotated[
        str,
        _scope(**one_of("auto", "cpu", "cuda"), help="auto: the CPU and the GPU, if there is one."),
    ] = "auto",
    model: Model = None,
    out: Annotated[
        Path, output("-o", "--out", metavar="DIR", help="Where the reports are written.")
    ] = Path("bench-results"),
    seed: Annotated[int, _time(metavar="N", help="Another seed, another order of the cases.")] = 0,
    no_remember: Annotated[
        bool, output(help="Later scans do not follow what it recommends.")
    ] = False,
) -> None:
    """Measure engines, precisions, loaders, batch sizes and workers, check answers, recommend.

    Engines alone, and whole paths from files to a table, on tiles and on 12 megapixel photos.
    Writes report.html, report.md and results.json; later scans follow the recommendation, unless
    the machine was busy. inspector bench compare A B says what changed between two such folders.

    Exit code 0: done; 1: a case failed or gave wrong answers.
    """
    from bench.config import FULL, QUICK, STANDARD
    from bench.report.markdown import terminal_lines
    from bench.results import FAILED, PAGE

    if quick and full:
        raise typer.BadParameter("--quick and --full exclude each other")
    bench, config = called(
        "bench",
        locals(),
        mode=QUICK if quick else FULL if full else STANDARD,
        backends=_words(backends),
        precisions=_words(precisions),
        batch_sizes=_numbers("--batch-sizes", batch_sizes),
        workers=_numbers("--workers", workers),
        peers=() if peers == "none" else _words(peers),
        budget_s=budget,
        remember=not no_remember,
    )

    def say(phase: str, seconds: int, budget: int) -> None:
        print_lines([phase], to_stderr=True)

    results = bench(config, progress=say)
    print_lines([*terminal_lines(results), "", f"reports: {out / PAGE}"])
    raise typer.Exit(int(any(case.status == FAILED for case in results.cases)))


@group.command(
    epilog=examples(
        ("inspector bench compare before after", "two folders"),
        (
            "inspector bench compare main/results.json branch/results.json --threshold 0.1 --json",
            "for a script",
        ),
    )
)
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="Results before.", show_default=False)],
    b: Annotated[Path, typer.Argument(metavar="B", help="Results after.", show_default=False)],
    threshold: Annotated[
        float, _scope(metavar="SHARE", help="Something must be slower by this share to count.")
    ] = 0.05,
    as_json: Annotated[bool, output("--json", help="Print it as JSON.")] = False,
    markdown: Annotated[bool, output(help="Print it as Markdown, for a pull request.")] = False,
) -> None:
    """Say what changed between two benchmarks: regressions, improvements, or nothing beyond chance.

    Exit code 0: nothing got worse; 3: something is slower beyond chance, or wrong now.
    """
    from bench.compare import compare as compare_results
    from bench.compare import markdown_lines, terminal_lines
    from bench.results import read_results

    found = compare_results(read_results(a), read_results(b), threshold=threshold)
    if as_json:
        print(json.dumps(found.to_json(), indent=2))
    elif markdown:
        print("\n".join(markdown_lines(found)))
    else:
        print_lines(terminal_lines(found))
    raise typer.Exit(REGRESSED if found.regressed else 0)


def _words(text: str | None) -> tuple[str, ...] | None:
    """Words between commas, without repetitions, which would be one case twice."""
    if text is None:
        return None
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _numbers(option: str, text: str | None) -> tuple[int, ...] | None:
    words = _words(text)
    if words is not None and not all(word.isdecimal() for word in words):
        raise typer.BadParameter(f"{text!r} are no numbers", param_hint=option)
    return None if words is None else tuple(map(int, words))
