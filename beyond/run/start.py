"""Where the weights that a method starts from come from: drawn, or learnt on a related task."""

from __future__ import annotations

from dataclasses import replace

from pydantic import InstanceOf

from beyond.contracts import Method, Task
from beyond.errors import require, require_one_of
from beyond.settings import NonNegativeInt, Text, settings

DEFAULT = "default"  # the first of the task's sources


@settings(kw_only=True)
class Start:
    """Learn a related task first: a warm start (Yosinski, Clune, Bengio & Lipson, 2014).

    The last layer goes back to the shared initial weights, unless `keep_head`. What it costs is
    told apart from the budget, in the columns `pretraining_...`.

    Parameters
    ----------
    source : str, optional
        One of the task's `sources`, or "default", its first; None for the weights as drawn.
    epochs : int, >= 0
        Backprop epochs on the source's training set.
    keep_head : bool
        Whether the last layer keeps what it learnt: for a source with the same labels.
    method : Method
        The rule that learns the source, the same for all methods that start from there.
    """

    source: Text | None = None
    epochs: NonNegativeInt = 20
    keep_head: bool = False
    method: InstanceOf[Method]

    def __post_init__(self) -> None:
        usual = (Start.epochs, Start.keep_head, type(self.method)())
        unset = (self.epochs, self.keep_head, self.method) == usual
        allowed = f"the name of a related task, or {DEFAULT}, where another setting of it is set"
        require("start.source", allowed, self.source, unset or self.source is not None)

    def on(self, task: Task) -> Start | None:
        """Return the start with its source's name; None for one that leaves the weights as drawn.

        Raises `InputError` for a source that the task has not. Where it has none at all, "default"
        stays: that is known to be unsupported only when the run begins.
        """
        if self.source is None or not self.epochs:
            return None
        require_one_of("start.source", [DEFAULT, *task.sources], self.source)
        if self.source != DEFAULT or not task.sources:
            return self
        return replace(self, source=task.sources[0])
