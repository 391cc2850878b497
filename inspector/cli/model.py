"""Commands around a model: export it, try it on this machine."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from inspector.cli.help import examples
from inspector.cli.options import called, working
from inspector.core.text import print_lines, quantity

commands = typer.Typer()

_variants = partial(typer.Option, rich_help_panel="What is written")
_gate = partial(typer.Option, rich_help_panel="Photos that decide whether it may be written")

Bundle = Annotated[
    Path | None,
    typer.Argument(metavar="BUNDLE", help="The model; not given: the one that comes along."),
]


@commands.command(
    epilog=examples(
        ("inspector export my-model", "ONNX and TorchScript, into the bundle"),
        ("inspector export --onnx --out deploy", "a file that stands alone"),
        ("inspector export my-model --int8 --calibration /photos", "faster on a CPU"),
    )
)
def export(
    bundle: Bundle = None,
    onnx: Annotated[bool, _variants(help="ONNX in fp32.")] = False,
    torchscript: Annotated[bool, _variants(help="TorchScript.")] = False,
    int8: Annotated[bool, _variants("--int8", help="ONNX in int8, for CPUs.")] = False,
    fp16: Annotated[bool, _variants("--fp16", help="ONNX in fp16, for GPUs.")] = False,
    out: Annotated[
        Path | None,
        _variants("-o", "--out", metavar="DIR", help="Where to write; not given: the bundle."),
    ] = None,
    calibration: Annotated[
        Path | None, _gate(metavar="DIR", help="Photos that set the ranges of int8.")
    ] = None,
    images: Annotated[
        Path | None, _gate(metavar="DIR", help="Other photos, on which verdicts must agree.")
    ] = None,
    images_limit: Annotated[
        int | None,
        _gate(metavar="N", help="Compare N of them at most.", show_default="256; int8: 6000"),
    ] = None,
) -> None:
    """Write a model as ONNX and TorchScript, or as what is named, and compare its verdicts.

    Nothing is written where verdicts differ: none may in fp32, 1 in 1,000 in int8 and fp16, where
    fp32 decides near the thresholds.
    """
    from inspector.core.progress import CountingBar

    with working("loading PyTorch"):
        run, config = called("export", locals())
    with CountingBar() as progress:
        exported = run(config, progress)
    for name in config.variants:
        variant = exported.variants.get(name)
        if variant is None:
            print_lines([f"{name} was left out: of no use for this model"])
            continue
        seen = variant.parity
        if variant.view == "dense":
            moved = f"largest difference of log odds {seen['max_difference']:.1e}"
            looked = (
                quantity(seen["windows"], "window")
                if "windows" in seen
                else quantity(seen["scenes"], "scene")
            )
            print_lines([f"{exported.file(variant.file)}  {looked}, {moved}"])
            continue
        line = (
            f"{exported.file(variant.file)}  {quantity(seen['images'], 'image')}, "
            f"largest probability difference {seen['max_difference']:.1e}"
        )
        if variant.margin:
            line += f", {seen['deferred']:.1%} of them judged again in fp32"
        print_lines([f"{line}, {len(seen['verdict_flips']) or 'no'} verdicts differ"])


@commands.command(
    epilog=examples(
        ("inspector doctor", "this machine, and the model that comes along"),
        ("inspector doctor my-model", "this machine, and your model"),
    )
)
def doctor(bundle: Bundle = None) -> None:
    """Check this machine and a model: versions, formats, hashes, known answers, speed.

    Safe for a bundle from somebody else: its TorchScript, which is a program, is not run.
    """
    from inspector.doctor import examine, exit_code, render

    with working("checking this machine and the model"):
        checks = examine(bundle)
    print_lines(render(checks))
    raise typer.Exit(exit_code(checks))
