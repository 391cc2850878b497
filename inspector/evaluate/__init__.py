"""How far a model can be trusted on a labelled folder: figures per source, and a report."""

from inspector.evaluate.config import EvaluateConfig
from inspector.evaluate.console import render, to_json
from inspector.evaluate.run import Watcher, evaluate
from inspector.facade import make_callable

__all__ = ["EvaluateConfig", "Watcher", "evaluate", "render", "to_json"]

make_callable(__name__, evaluate)
