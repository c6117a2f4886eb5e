"""Prechelt's criteria against his sums written out; what stops early is what a whole run was then."""

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from beyond import catalog
from beyond.architectures.mlp import MLP
from beyond.contracts import TargetKind
from beyond.errors import InputError
from beyond.kits.optimizers import SGD
from beyond.ledger import Budget
from beyond.run.loop import GRID, train
from beyond.run.outcome import Outcome
from beyond.run.setup import Setup
from beyond.run.stopping import Stopping
from beyond.settings import RunSettings

FAULTS = [
    # of the first loss; of the losses on the training split; a strip too few
    ("beyond/run/stopping.py", "lowest = min(validation for", "lowest = max(validation for"),
    ("beyond/run/stopping.py", "lost = 100 * _above(losses[-1][1]", "lost = _above(losses[-1][1]"),
    ("beyond/run/stopping.py", "for train, _ in losses[-2:]", "for _, train in losses[-2:]"),
    ("beyond/run/stopping.py", "len(strips) == int(limit)", "len(strips) <= int(limit)"),
    ("beyond/run/stopping.py", "later > before for", "later >= before for"),
    # a stopped replica goes on, or is told as one that failed; it is tested at the end of the run;
    # it has spent what the others have
    (
        "beyond/run/outcome.py",
        "if not self.going:\n            return\n        self.start",
        "if not self.alive:\n            return\n        self.start",
    ),
    ("beyond/run/outcome.py", "if self.going:\n", "if self.alive:\n"),
    ("beyond/run/selection.py", "wanted |= {outcome.last", "_ = {outcome.last"),
    (
        "beyond/run/selection.py",
        "for outcome in self.outcomes if outcome.going}",
        "for outcome in self.outcomes if outcome.alive}",
    ),
    ("beyond/run/loop.py", "if outcome.stopped:", "if False:"),
    ("beyond/run/loop.py", "self.selection.going and not", "self.selection.alive and not"),
    # at the end there is nothing to stop
    ("beyond/run/loop.py", "if index < len(GRID) else None", "if index else None"),
    ("beyond/run/arm.py", "if self.early_stopping else []", "if False else []"),
]
SEEDS = [0, 1, 2, 3]


def by_hand(name, train_losses, validation_losses):
    """The first checkpoint at which to stop, by the source's sums; None for never."""
    kind, _, alpha = name.partition("_")
    for t in range(len(train_losses)):
        optimum = np.min(validation_losses[: t + 1])
        loss = 100 * (validation_losses[t] / optimum - 1)
        strip = train_losses[max(0, t - 1) : t + 1]
        progress = 1000 * (np.sum(strip) / (len(strip) * np.min(strip)) - 1)
        if kind == "GL" and loss > float(alpha):
            return t
        if kind == "PQ" and loss > 0 and (progress == 0 or loss / progress > float(alpha)):
            return t
        s = int(alpha) if kind == "UP" else 0
        if s and t >= s and (np.diff(validation_losses[t - s : t + 1]) > 0).all():
            return t
    return None


def first(name, train_losses, validation_losses):
    losses = list(zip(train_losses, validation_losses, strict=True))
    stops = (t for t in range(len(losses)) if Stopping(name).fires(losses[: t + 1]))
    return next(stops, None)


@pytest.mark.parametrize("name", ["GL_1", "GL_12.5", "PQ_0.05", "PQ_0.3", "UP_1", "UP_2", "UP_3"])
def test_a_criterion_fires_where_its_sums_say(name):
    rng, found = np.random.default_rng(0), set()
    for _ in range(60):
        train_losses = np.exp(-np.linspace(0, 2, 12)) + 0.02 * rng.random(12)
        validation_losses = train_losses + np.linspace(0, rng.random(), 12) + 0.1 * rng.random(12)
        expected = by_hand(name, train_losses, validation_losses)
        assert first(name, train_losses.tolist(), validation_losses.tolist()) == expected
        found.add(expected)
    assert len(found) > 2


def test_a_loss_that_stays_or_is_nothing_stops_nobody_and_one_that_rises_from_nothing_all():
    assert first("UP_1", [1, 1, 1], [2, 2, 2]) is None
    for name in ("GL_1", "PQ_1"):
        assert first(name, [1, 1, 1], [0, 0, 0]) is None
        assert first(name, [1, 0.5, 0.2], [1, 0, 1e-9]) == 2


@pytest.mark.parametrize("name", ["GL_5", "PQ_0.75", "UP_3", None])
def test_criteria_are_typed_as_the_source_writes_them(name):
    assert RunSettings(early_stopping=name).early_stopping == name


@pytest.mark.parametrize(
    "name", ["GL", "GL_0", "GL_-1", "UP_0", "UP_1.5", "PQ_x", "gl_5", "", "GL_5 "]
)
def test_others_are_refused(name):
    message = "^early_stopping must be GL_a, PQ_a or UP_s, numbers > 0 and s whole, or null, got "
    with pytest.raises(InputError, match=message):
        RunSettings(early_stopping=name)


def test_a_quotient_of_losses_that_may_be_negative_is_refused():
    Stopping("UP_2").require(TargetKind.DISTRIBUTIONS)
    Stopping("GL_2").require(TargetKind.CLASSES)
    with pytest.raises(
        InputError, match=r"^early_stopping must be UP_s where values are predicted"
    ):
        Stopping("GL_2").require(TargetKind.DISTRIBUTIONS)


def setup(name, seeds=SEEDS):
    """Forty digits, learnt by heart."""
    task = catalog.load("task", "image/digits", train_size=40)
    rule = replace(catalog.load("method", "backprop"), optimizer=SGD(learning_rate=0.3))
    network = MLP(hidden=(16,)).build(task.spec)
    identities = [{"run_id": "one"}] * len(seeds)
    stopping = Stopping(name) if name else None
    budget = Budget("steps", 300)
    return Setup(rule, task, network, list(seeds), budget, identities, stopping=stopping)


def run(of, snapshot=None, before=None):
    rows = {kind: list((before or {}).get(kind, ())) for kind in ("curves", "layers", "runs")}
    yielded = []
    for progress in train(of, snapshot):
        held = io.BytesIO()
        torch.save(progress.snapshot, held)
        for kind, listed in rows.items():
            listed += getattr(progress, kind)
        yielded.append((held, {kind: list(listed) for kind, listed in rows.items()}))
    return {kind: pd.DataFrame(listed) for kind, listed in rows.items()}, yielded


def timeless(table):
    return table[[name for name in table.columns if "seconds" not in name]].reset_index(drop=True)


@pytest.fixture(scope="module")
def both():
    return run(setup(None))[0], run(setup("UP_2"))


def test_it_stops_where_the_whole_run_fires_and_is_the_whole_run_until_then(both):
    whole, (tables, _) = both
    ends = set()
    for seed in SEEDS:
        curves, early = (
            table["curves"].query(f"seed == {seed} and split != 'test'")
            for table in (whole, tables)
        )
        losses = [
            curves.query(f"metric == 'cross_entropy_loss' and split == '{split}'")
            for split in ("train", "validation")
        ]
        stop = by_hand("UP_2", *(loss["value"].to_numpy() for loss in losses))
        last = losses[0]["checkpoint"].iloc[-1 if stop is None else stop]
        ends.add(int(last))
        expected = curves[curves["checkpoint"] <= last]
        pd.testing.assert_frame_equal(timeless(early), timeless(expected), rtol=1e-5)
        layers = tables["layers"].query("seed == @seed")
        assert set(layers["checkpoint"]) == set(expected["checkpoint"])
        row = tables["runs"].set_index("seed").loc[seed]
        then = expected.query("checkpoint == @last").iloc[0]
        assert row["status"] == "finished"
        assert (row["steps"], row["epochs"]) == (then["steps"], pytest.approx(then["epochs"]))
        assert row["unspent"] == pytest.approx(1 - then["steps"] / 300)
        told = f"UP_2 stopped it after {then['steps']} steps" if last <= GRID.index(1) else ""
        assert row["reason"] == told
        scores = expected.query("split == 'validation' and metric == 'accuracy_score'")["value"]
        assert row["best_validation_score"] == pytest.approx(scores.max())
        assert row["final_validation_score"] == pytest.approx(scores.iloc[-1])
    assert len(ends) > 1, "others go on"


def test_the_end_that_is_tested_is_where_it_stopped(both):
    _, (tables, _) = both
    for seed in SEEDS:
        row = tables["runs"].set_index("seed").loc[seed]
        test = tables["curves"].query(
            "seed == @seed and split == 'test' and metric == 'accuracy_score'"
        )
        last = test.loc[test["checkpoint"].idxmax()]
        assert (last["steps"], last["value"]) == (row["steps"], row["final_test_score"])
        alone, _ = run(setup("UP_2", [seed]))
        assert alone["runs"]["final_test_score"].item() == pytest.approx(row["final_test_score"])
        assert alone["runs"]["steps"].item() == row["steps"]


def test_a_run_that_was_interrupted_stops_where_it_would_have(both):
    _, (tables, yielded) = both
    for held, before in yielded[5:-1:6]:
        held.seek(0)
        again, _ = run(setup("UP_2"), torch.load(held, weights_only=True), before)
        for kind, table in tables.items():
            pd.testing.assert_frame_equal(timeless(again[kind]), timeless(table), check_exact=True)


def test_who_has_stopped_stays_so_whatever_becomes_of_the_others():
    made = Outcome((0.1, 0.2, 0.3))
    for step, loss in enumerate((1.0, 2.0, 0.5)):
        scores = {"accuracy_score": 0.5, "cross_entropy_loss": loss}
        made.update(
            step, {"steps": step}, {"train": scores, "validation": scores}, "accuracy_score"
        )
        made.stop(Stopping("UP_1"))
    made.end("failed", "time limit of 3 s")
    assert (made.status, made.reason) == ("finished", "UP_1 stopped it after 1 steps")
    assert (made.last_checkpoint, made.final_costs) == (1, {"steps": 1})


def test_a_stopped_replica_costs_nothing_once_all_have():
    tables, _ = run(setup("GL_0.001", [0]))
    assert tables["runs"]["steps"].item() < 300


def test_it_is_a_part_of_what_is_compared(beyond, tmp_path):
    for more in ((), ("early_stopping=UP_2",)):
        told = beyond("budget=steps", "budget.steps=30", "seeds=2", "task.train_size=40", *more)
        assert told[0] == 0
    found = pd.concat(map(pd.read_parquet, tmp_path.glob("runs/adhoc/*/runs.parquet")))
    assert found["run_id"].nunique() == 2
    assert sum("early_stopping=UP_2" in variant for variant in found["variant"]) == 2
