"""The errors that users can meet, as one tree.

A photo that cannot be decoded is not an error: it is a row with a failure code
(`types.FailureCode`).
"""

from __future__ import annotations


class InspectorError(Exception):
    """Base class; the message says what failed, where, and what to do next."""

    exit_code = 1


class UsageError(InspectorError, ValueError):
    """Options that cannot be right, whatever the data."""

    exit_code = 2


class MissingExtraError(UsageError):
    """A command whose optional packages are not installed."""


class SourceError(InspectorError):
    """A source that does not exist or cannot be listed."""


class DataError(InspectorError):
    """A labelled folder without the layout that training and evaluation need."""


class BundleError(InspectorError):
    """A model bundle that is missing, damaged or written by an incompatible version."""


class BackendError(InspectorError):
    """An inference engine, provider or device that is not what was asked for."""


class LoaderError(InspectorError):
    """A worker process that died or could not be started."""


class OutputError(InspectorError):
    """A result directory that cannot be written or that belongs to a different scan."""


class BusyError(OutputError):
    """A result directory that another process is writing."""


class ExportError(InspectorError):
    """An exported model whose predictions differ from those of the original."""


class TrainingError(InspectorError):
    """A training that cannot go on, for example because its loss is not finite."""


class DownloadError(InspectorError):
    """Pretrained weights that could not be downloaded."""
