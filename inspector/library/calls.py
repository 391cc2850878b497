"""The functions of `inspector`: each takes its config, or in its place what the config is made of.

    inspector.scan("photos", out="o")        is    scan(ScanConfig(sources=("photos",), out="o"))

`inspector/__init__.pyi` has their whole signatures, for editors and type checkers.
"""

from __future__ import annotations

import inspect
import os
from contextlib import ExitStack
from dataclasses import MISSING, fields
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any

from inspector.library.notebook import NotebookBar, in_a_notebook

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import Field
    from inspect import Parameter

    from _typeshed import DataclassInstance

    Config = type[DataclassInstance]

_CALIBRATE, _EVALUATE = "inspector.calibration.run", "inspector.evaluation.run"
HOMES = {
    "bench": ("bench.run:bench", "bench.config:BenchConfig"),
    "calibrate": (f"{_CALIBRATE}:calibrate", f"{_CALIBRATE}:CalibrateConfig"),
    "evaluate": (f"{_EVALUATE}:evaluate", f"{_EVALUATE}:EvaluateConfig"),
    "export": ("export.run:export_bundle", "export.config:ExportConfig"),
    "merge": ("inspector.results.merge:merge", "inspector.results.merge:MergeConfig"),
    "publish": ("inspector.results.publish:publish", "inspector.results.publish:PublishConfig"),
    "rejudge": ("inspector.scanning:rejudge", "inspector.scanning:RejudgeConfig"),
    "report": ("inspector.reporting.report:report", "inspector.reporting.report:ReportConfig"),
    "review": ("inspector.reviewing.server:review", "inspector.reviewing.server:ReviewConfig"),
    "scan": ("inspector.scanning:scan", "inspector.scanning:ScanConfig"),
    "train": ("inspector.training:train", "inspector.training:TrainConfig"),
    "verify": ("inspector.results.verify:verify", "inspector.results.verify:VerifyConfig"),
    "watch": ("inspector.scanning:watch", "inspector.scanning:ScanConfig"),
}  # fmt: skip
"""Where each function and its config live."""
WATCHES = ("progress", "watch")
"""Names of arguments that are told how far a function is."""


def find(place: str) -> Any:
    """Import what `module:name` says."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def load(name: str) -> Callable[..., Any]:
    """The function of that name, which takes a config or its fields, the first of them by place. In
    a notebook it shows how far it is, unless it is told whom to tell."""
    function, kind = map(find, HOMES[name])
    own = list(inspect.signature(function).parameters.values())[1:]
    names = {parameter.name for parameter in own}
    first = fields(kind)[0].name

    @wraps(function)
    def call(*given: Any, **options: Any) -> Any:
        rest = {key: options.pop(key) for key in names & options.keys()}
        if given and isinstance(given[0], kind):
            if len(given) > 1 or options:
                raise TypeError(f"{name}() takes a config or its fields, not both")
            config = given[0]
        else:
            if len(given) > 1:
                raise TypeError(f"{name}() takes one argument by place; name the others")
            named = {first: given[0]} if given else {}
            config = kind(**_fitting(kind, options | named))
        with ExitStack() as stack:
            for each in names.intersection(WATCHES) - rest.keys():
                if in_a_notebook():
                    rest[each] = stack.enter_context(NotebookBar(config))
            return function(config, **rest)

    call.__name__ = call.__qualname__ = name
    call.__signature__ = signature(kind, own)  # type: ignore[attr-defined]
    return call


def signature(kind: Config, own: list[Parameter]) -> inspect.Signature:
    """The fields of a config, the first of them by place, and a function's own arguments."""
    taken = [_parameter(field, place) for place, field in enumerate(fields(kind))]
    by_name = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
    return inspect.Signature([*taken, *by_name])


def _parameter(field: Field[Any], place: int) -> Parameter:
    default: Any = field.default
    if field.default_factory is not MISSING:
        default = field.default_factory()
    elif default is MISSING:
        default = inspect.Parameter.empty
    by_place, by_name = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(
        field.name, by_name if place else by_place, default=default, annotation=field.type
    )


def _fitting(kind: Config, options: dict[str, Any]) -> dict[str, Any]:
    """Options with one text, or a list, where a config wants a tuple: a tuple of the letters of a
    word is nobody's wish."""
    tuples = {field.name for field in fields(kind) if str(field.type).startswith("tuple")}
    fitting = dict(options)
    for name in tuples & options.keys():
        value = options[name]
        fitting[name] = (value,) if isinstance(value, str | os.PathLike) else tuple(value)
    return fitting
