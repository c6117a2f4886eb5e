"""Tasks of which one half of the classes may be learnt after the other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar, Literal

from beyond.data.arrays import ArrayTask, Examples, select_classes
from beyond.settings import settings


@settings(kw_only=True)
class HalvedTask(ArrayTask):
    """A task of classes, of which either half is what to learn before the other.

    Parameters
    ----------
    half : {"lower", "upper"}, optional
        Name the first or the last half of the classes alone; the other is then what to learn from
        first, the source `other_half`. None names all.
    """

    N_CLASSES: ClassVar[int] = 10

    half: Literal["lower", "upper"] | None = None

    @abstractmethod
    def everything(self) -> Examples:
        """Load the raw examples of all classes."""

    def others(self) -> Mapping[str, Callable[[], Examples]]:
        """Return what loads each task to learn from before all classes; by default none."""
        return {}

    @property
    def labels(self) -> range:
        """Classes that are named."""
        middle = self.N_CLASSES // 2
        start = middle if self.half == "upper" else 0
        return range(start, middle if self.half == "lower" else self.N_CLASSES)

    def examples(self) -> Examples:
        return self.everything() if self.half is None else self._of(self.labels)

    def related(self) -> Mapping[str, Callable[[], Examples]]:
        if self.half is None:
            return self.others()
        rest = sorted(set(range(self.N_CLASSES)) - set(self.labels))
        return {"other_half": partial(self._of, range(rest[0], rest[-1] + 1))}

    def _of(self, labels: range) -> Examples:
        return select_classes(self.everything(), labels)
