"""How a file is turned down in the middle of decoding it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inspector.types import FailureCode


class Refused(Exception):
    """Carries the failure code from where a file is refused to where its row is made."""

    def __init__(self, code: FailureCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
