"""`inspector.scan` and `inspector.train` are packages and, for users of the library, functions.

Importing a package's submodule makes the package an attribute of `inspector`, whatever stood there
before; so `from inspector import scan` may give either, depending on what was imported earlier. A
package that can be called does what is meant in both cases.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def make_callable(package: str, function: Callable[..., Any]) -> None:
    """Calling the imported `package` (its `__name__`) calls `function`."""

    class CallablePackage(ModuleType):
        def __call__(self, *args: Any, **options: Any) -> Any:
            return function(*args, **options)

    sys.modules[package].__class__ = CallablePackage
