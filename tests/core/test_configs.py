"""Paths given as text, one or several: every config of the library takes them."""

from __future__ import annotations

import importlib
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from inspector import ModelBundle, ScanConfig, TrainConfig
from inspector.errors import UsageError

ALSO = {"TrainConfig": ["data"]}
"""Fields that a config wants although they have a default."""


@pytest.fixture(scope="module")
def configs() -> list[type]:
    """Every class of ours that is called ...Config."""
    root = Path(__file__).parents[2]
    modules = [
        importlib.import_module(".".join(file.relative_to(root).with_suffix("").parts))
        for package in ("inspector", "export", "bench")
        for file in (root / package).rglob("*.py")
        if "Config:" in file.read_text(encoding="utf-8")
    ]
    found = {
        kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type) and is_dataclass(kind) and kind.__name__.endswith("Config")
    }
    return sorted(found, key=lambda kind: kind.__name__)


def test_every_config_makes_paths_of_text(configs, tmp_path):
    assert len(configs) >= 14
    for kind in configs:
        required = [f.name for f in fields(kind) if f.type in ("Path", "Path | str")]
        optional = [
            f.name
            for f in fields(kind)
            if f.type in ("Path | None", "tuple[Path, ...]", "tuple[Path | str, ...]")
        ]
        names = [*required, *optional[-1:], *ALSO.get(kind.__name__, [])]
        given = {name: str(tmp_path / name) for name in names}
        for name in names:
            (tmp_path / name).mkdir(exist_ok=True)
        needed = {f.name for f in fields(kind) if f.default is f.default_factory is MISSING}
        made = kind(**given, **dict.fromkeys(needed - given.keys(), "photos"))
        for name in given:
            path = tmp_path / name
            assert getattr(made, name) in (path, (path,)), f"{kind.__name__}.{name}"
            assert not isinstance(getattr(made, name), str), f"{kind.__name__}.{name}"


def config(kind: Any = ScanConfig, **given: Any) -> Any:
    """One made of what its annotations do not name."""
    return kind(**given)


@pytest.mark.parametrize(
    "sources", ["photos", Path("photos"), ["photos"], [Path("photos")], ("photos",)]
)
def test_one_source_is_not_a_sequence_of_letters(sources):
    assert config(sources=sources, out="o").sources == ("photos",)


def test_text_that_may_be_a_path_is_taken_from_one():
    assert config(TrainConfig, out="o", data="lab", init=Path("my/model")).init == "my/model"
    gone = config(sources="photos", source_gone=Path("old/photos")).source_gone
    assert gone == ("old/photos",)


def test_one_result_directory_is_not_a_sequence_of_letters():
    assert config(TrainConfig, out="o", labels="lab").labels == (Path("lab"),)


@pytest.mark.parametrize("wrong", [5, "", b"o", None, True])
def test_what_is_no_path_is_named(wrong):
    with pytest.raises(UsageError, match="out must be a path"):
        config(sources="photos", out=wrong)


@pytest.mark.parametrize("wrong", [5, "", [5], [b"x"]])
def test_what_is_no_source_is_named(wrong):
    with pytest.raises(UsageError, match="sources must be a path"):
        config(sources=wrong)


def test_a_bundle_is_loaded_from_text(tiny_bundle):
    assert ModelBundle.load(str(tiny_bundle.path)) == tiny_bundle
