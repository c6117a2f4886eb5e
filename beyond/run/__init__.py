"""The harness: settings in, tables out."""

import sys
from types import ModuleType
from typing import Any


class _Wing(ModuleType):
    """The package `beyond.run`, which can be called as the function of that name."""

    def __call__(self, *args: Any, **settings: Any) -> Any:
        import beyond

        return beyond.__getattr__("run")(*args, **settings)


sys.modules[__name__].__class__ = _Wing
