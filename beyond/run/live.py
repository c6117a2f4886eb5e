"""What follows runs while they are trained: TensorBoard, MLflow, Weights & Biases, or yours.

A follower is told what the tables will have, in three calls; the tables stay the source. One that
fails is let go of with a line, and the run goes on.

    class Mine(Live):
        def begin(self, runs): ...              # follow=mine.Mine, with BEYOND_PLUGINS=mine
        def checkpoint(self, curves, layers): ...
        def end(self, runs): ...
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from statistics import mean
from time import time
from typing import Any, ClassVar

from beyond.catalog import find
from beyond.errors import STRANGE, InputError, require, said
from beyond.run.loop import Progress
from beyond.run.rows import Row

LOGGED = ("gradient_norm", "update_cosine")  # columns of the layers table


class Live(ABC):
    """Follows the runs of one program, mostly a cell's, from its beginning to its end.

    Parameters
    ----------
    study : Path
        The study's folder.

    Attributes
    ----------
    PACKAGE, EXTRA : str
        What it needs, and the extra that brings it; "" for nothing.
    """

    PACKAGE: ClassVar[str] = ""
    EXTRA: ClassVar[str] = ""

    def __init__(self, study: Path) -> None:
        self.study = study

    @abstractmethod
    def begin(self, runs: Sequence[Row]) -> None:
        """Take note of the replicas, a row each: run_id, method, task, seed, label, ..."""

    @abstractmethod
    def checkpoint(self, curves: Sequence[Row], layers: Sequence[Row]) -> None:
        """Take new rows of these two tables: scores and costs, and norms by layer."""

    @abstractmethod
    def end(self, runs: Sequence[Row]) -> None:
        """Take the rows of the runs table; none if the program was interrupted."""


class Means(Live):
    """Reduces rows to numbers of each cell, means over its replicas, by step."""

    def __init__(self, study: Path) -> None:
        super().__init__(study)
        self._opened: dict[str, Any] = {}  # by run_id

    def begin(self, runs: Sequence[Row]) -> None:
        for run_id, run in {run["run_id"]: run for run in runs}.items():
            self._opened[run_id] = self.start(run)

    def checkpoint(self, curves: Sequence[Row], layers: Sequence[Row]) -> None:
        steps = {row["run_id"]: row["steps"] for row in curves}
        told = [(row["run_id"], f"{row['split']}/{row['metric']}", row["value"]) for row in curves]
        for name in LOGGED:
            told += [(row["run_id"], f"{name}/{row['layer']}", row[name]) for row in layers]
        for run_id, values in _means(told).items():
            self.log(self._opened[run_id], int(steps[run_id]), values)

    def end(self, runs: Sequence[Row]) -> None:
        told = [(row["run_id"], "test", row["best_test_score"]) for row in runs]
        values = _means(told)
        for run_id, opened in self._opened.items():
            self.finish(opened, values.get(run_id, {}))

    @abstractmethod
    def start(self, run: Row) -> Any:
        """Begin a cell; return what its numbers go to."""

    @abstractmethod
    def log(self, opened: Any, step: int, values: Mapping[str, float]) -> None:
        """Take a cell's numbers after so many steps."""

    @abstractmethod
    def finish(self, opened: Any, values: Mapping[str, float]) -> None:
        """End a cell; `values` may have its `test` score at the best checkpoint."""


class TensorBoard(Means):
    """Event files in the study's `live`: `tensorboard --logdir runs/adhoc/live`."""

    PACKAGE = EXTRA = "tensorboard"

    def start(self, run: Row) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        short = "".join(letter if letter.isalnum() else "-" for letter in run["label"])[:80]
        return SummaryWriter(str(self.study / "live" / f"{short}-{run['run_id']}"))

    def log(self, opened: Any, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            opened.add_scalar(name, value, step)
        opened.flush()

    def finish(self, opened: Any, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            opened.add_scalar(name, value)
        opened.close()


class MLflow(Means):
    """A run a cell, on the server that MLFLOW_TRACKING_URI names, or in the study's `mlflow.db`."""

    PACKAGE = EXTRA = "mlflow"

    def start(self, run: Row) -> Any:
        from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]

        here = f"sqlite:///{(self.study / 'mlflow.db').resolve()}"
        self.client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", here))
        found = self.client.get_experiment_by_name(run["study"])
        experiment = found.experiment_id if found else self.client.create_experiment(run["study"])
        opened = self.client.create_run(experiment, run_name=run["label"]).info.run_id
        for name, value in run.items():
            self.client.log_param(opened, name, value)
        return opened

    def log(self, opened: Any, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric  # pyright: ignore[reportMissingImports]

        now = int(1000 * time())
        self.client.log_batch(
            opened, [Metric(name, value, now, step) for name, value in values.items()]
        )

    def finish(self, opened: Any, values: Mapping[str, float]) -> None:
        self.log(opened, 0, values)
        self.client.set_terminated(opened)


class WandB(Means):
    """A run a cell, in Weights & Biases; WANDB_MODE=offline keeps it in the study's folder."""

    PACKAGE = EXTRA = "wandb"

    def start(self, run: Row) -> Any:
        import wandb  # pyright: ignore[reportMissingImports]

        return wandb.init(
            project=run["study"].replace("/", "-"),
            name=run["label"],
            config=dict(run),
            dir=str(self.study),
            reinit="create_new",
        )

    def log(self, opened: Any, step: int, values: Mapping[str, float]) -> None:
        opened.log(dict(values), step=step)

    def finish(self, opened: Any, values: Mapping[str, float]) -> None:
        opened.summary.update(dict(values))
        opened.finish()


KNOWN = {kind.EXTRA: kind for kind in (TensorBoard, MLflow, WandB)}


def follower(named: str | None) -> type[Live] | None:
    """Return the class that is named, if any; `InputError` if it is none, or lacks its package."""
    if named is None:
        return None
    found = KNOWN.get(named) or find("follow", named)
    kind = isinstance(found, type) and issubclass(found, Live)
    require("follow", "a class derived from beyond.run.live.Live", named, kind)
    lacking = ", ".join(sorted(found.__abstractmethods__))
    require("follow", f"a class that has {lacking} too", named, not lacking)
    if found.PACKAGE and find_spec(found.PACKAGE) is None:
        raise InputError(
            f"follow={named} needs the package {found.PACKAGE}: "
            f"pip install 'beyond-backprop[{found.EXTRA}]'"
        )
    return found


@contextmanager
def following(
    kind: type[Live] | None, study: Path, runs: Sequence[Row], tell: Callable[[str], None]
) -> Iterator[Callable[[Progress], None]]:
    """Let a follower follow; yield what is to be told each progress."""
    left, ended = list[Live](), list[Row]()

    def call(name: str, *given: Any) -> None:
        for one in list(left):
            try:
                getattr(one, name)(*given)
            except STRANGE as error:
                left.remove(one)
                tell(f"{type(one).__name__} no longer follows: {said(error)}")

    if kind is not None:
        try:
            left.append(kind(study))
        except STRANGE as error:
            tell(f"{kind.__name__} does not follow: {said(error)}")

    def move(progress: Progress) -> None:
        ended.extend(progress.runs)
        if progress.curves or progress.layers:
            call("checkpoint", progress.curves, progress.layers)

    call("begin", runs)
    try:
        yield move
    finally:
        call("end", ended)


def _means(told: Iterable[tuple[str, str, float]]) -> dict[str, dict[str, float]]:
    """Means of the finite numbers of each run_id and name."""
    found: dict[str, dict[str, list[float]]] = {}
    for run_id, name, value in told:
        if isfinite(value):
            found.setdefault(run_id, {}).setdefault(name, []).append(value)
    return {
        run_id: {name: mean(values) for name, values in named.items()}
        for run_id, named in found.items()
    }
