"""Every error a user can meet, as one tree.

    InspectorError                 exit code 1, one line: what, where, what to do next
    ├── UsageError                 exit code 2: options that cannot be right
    ├── SourceError                a source that is missing or cannot be listed
    ├── DataError                  a training folder that does not have the expected layout
    ├── BundleError                a model bundle that is missing, damaged or of another version
    ├── BackendError               an engine or device that is not what was asked for
    ├── LoaderError                photos that cannot be loaded because a worker process died
    ├── OutputError                results that cannot be written or belong to another scan
    ├── ExportError                an exported model whose verdicts differ from the original
    ├── TrainingError              a training that cannot go on (a loss that is not finite)
    └── DownloadError              pretrained weights that could not be had

A photo that cannot be judged is no error: it is a row with a failure code (`types.FailureCode`).
"""

from __future__ import annotations


class InspectorError(Exception):
    """A failure that the user can act on; the message says what, where and what to do next."""

    exit_code = 1


class UsageError(InspectorError, ValueError):
    """Options that cannot be right, whatever the data."""

    exit_code = 2


class SourceError(InspectorError):
    """A source that does not exist or cannot be listed."""


class DataError(InspectorError):
    """A labelled folder that does not have the layout that training and evaluation need."""


class BundleError(InspectorError):
    """A model bundle that is missing, damaged or written by an incompatible version."""


class BackendError(InspectorError):
    """An inference engine, provider or device that is not what was asked for."""


class LoaderError(InspectorError):
    """A process that decodes photos died or could not be started."""


class OutputError(InspectorError):
    """A result directory that cannot be written or that belongs to a different scan."""


class ExportError(InspectorError):
    """An exported model that does not answer like the model it was made from."""


class TrainingError(InspectorError):
    """A training that cannot go on."""


class DownloadError(InspectorError):
    """Pretrained weights that could not be downloaded."""
