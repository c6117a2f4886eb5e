"""The training loop: grid, budget, selection; neither stacking nor resuming changes a row."""

import io
import itertools
import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import r2_score

from beyond.architectures.mlp import MLP
from beyond.contracts import SPLITS, Method, Signal, TargetKind, TaskSpec
from beyond.data.arrays import ArrayTask, Examples
from beyond.data.sampler import Sampler
from beyond.errors import InputError, UnsupportedError
from beyond.ledger import COST_NAMES, Budget
from beyond.run import evaluation, probe, training
from beyond.run.loop import GRID, never, skip, train
from beyond.run.setup import Setup
from beyond.streams import Stream

FAULTS = [
    # the grid: its points, and a step late
    (
        "beyond/run/loop.py",
        "(-3 + step / 10) for step in range(31)",
        "(-3 + step / 10) for step in range(30)",
    ),
    (
        "beyond/run/loop.py",
        "training.spent() * (1 + ROUNDING)",
        "training.spent() * (1 - ROUNDING)",
    ),
    # the budget: exceeded by a step, and a step short of it
    ("beyond/run/training.py", "if spent > 1 + ROUNDING:", "if spent > 1.5:"),
    ("beyond/run/training.py", "if spent > 1 + ROUNDING:", "if spent > 1 - ROUNDING:"),
    # no batch size is one example
    (
        "beyond/run/training.py",
        "n_train if method.batch_size is None",
        "1 if method.batch_size is None",
    ),
    # what is tested is the end, or a run without a step
    (
        "beyond/run/selection.py",
        '"test": scores[best][replica]}',
        '"test": scores[max(tested)][replica]}',
    ),
    ("beyond/run/loop.py", "if not training.ledger.steps:", "if False:"),
    # the warm-up counts, or draws
    (
        "beyond/run/training.py",
        "            self.restore(before)",
        "            self.state = before['state']",
    ),
    (
        "beyond/run/loop.py",
        "            self.training.warm_up()",
        "            pass",
    ),
    # rows come before what only the first step refuses
    (
        "beyond/run/loop.py",
        "        run.warm_up()  # a step that is refused comes before any row\n"
        "        if begins:\n            yield run.checkpoint(0)\n",
        "        if begins:\n            yield run.checkpoint(0)\n        run.warm_up()\n",
    ),
    # goes on with the batches after those that it was to see again; with the first of what was
    # looked up, for ever
    ("beyond/run/training.py", '["sampler"])\n        self.ahead = iter(())', '["sampler"])'),
    (
        "beyond/run/training.py",
        "            batch = next(self.ahead)\n        self.sampler.advance()",
        "            batch = next(self.ahead)",
    ),
    (
        "beyond/run/rows.py",
        '"total_seconds": ledger.seconds * n_replicas',
        '"total_seconds": ledger.seconds',
    ),
    # the time limit leaves out the warm-up, or what was before an interruption
    (
        "beyond/run/training.py",
        "            self.began = began",
        "            self.began = perf_counter()",
    ),
    (
        "beyond/run/training.py",
        "        self.began = perf_counter() - snapshot",
        "        self.elapsed_before = snapshot",
    ),
    # stopped between two checkpoints, the last step is not evaluated, or nothing is known of it
    ("beyond/run/loop.py", "self.evaluated = last_step is None", "self.evaluated = True"),
    ("beyond/run/training.py", 'step["previous"], _batch(step["batch"])', 'step["previous"], None'),
    # predictions of another replica, or in standardised units
    # other predictions are scored as the method's
    (
        "beyond/run/evaluation.py",
        'self._answers(other, state, "test"',
        'self._answers(self.method, state, "test"',
    ),
    (
        "beyond/run/evaluation.py",
        "told = ids, targets, outputs\n",
        "told = ids, targets, outputs[:1].expand_as(outputs)\n",
    ),
    ("beyond/run/evaluation.py", "if targets.ndim == outputs.ndim:  # values", "if False:"),
    # a split that is kept is taken for another; none is
    (
        "beyond/run/evaluation.py",
        "if (split, n_at_once) in self._kept:\n            return self._kept[split, n_at_once]",
        "if self._kept:\n            return next(iter(self._kept.values()))",
    ),
    ("beyond/run/evaluation.py", "at_once(KEPT, 1):", "at_once(1, 1):"),
    # what validates is thinned too; nothing is; the examples are the first ones
    ("beyond/run/evaluation.py", 'if split == "train" and size > most:', "if size > most:"),
    ("beyond/run/evaluation.py", 'if split == "train" and size > most:', "if False:"),
    ("beyond/run/evaluation.py", ".permutation(size)[:, :most]", ".permutation(most)"),
    # inputs are varied by the draws of another purpose; after an interruption by the first draws
    (
        "beyond/run/training.py",
        "self.augmentation = Stream(streams.augmentation, seeds, setup.hardware)",
        "self.augmentation = Stream(streams.order, seeds)",
    ),
    ("beyond/run/training.py", 'self.augmentation.restore(snapshot["augmentation"])', "pass"),
    # the test scores at the best checkpoint stand beside the costs of the whole run
    (
        "beyond/run/loop.py",
        "replica, best, outcome.best_costs,",
        "replica, best, training.costs(),",
    ),
    ("beyond/run/selection.py", "sum(scores) / len(scores)", "sum(scores) / len(self.outcomes)"),
    (
        "beyond/run/rows.py",
        "        if outcome.last_checkpoint == checkpoint\n",
        "        if outcome\n",
    ),
    ("beyond/run/training.py", "tensor.numel() * tensor.element_size()", "tensor.numel() * 4"),
    (
        "beyond/run/training.py",
        "return total // len(self.setup.seeds)",
        "return total",
    ),
]

SEEDS = [0, 1, 2]
NEVER = 10**9


@dataclass(frozen=True, kw_only=True)
class Blobs(ArrayTask):
    """Three overlapping classes in the plane."""

    @property
    def spec(self):
        targets = (0.4, 0.7, 2.0)  # the last is out of reach
        return TaskSpec(
            "test/blobs", (2,), 3, TargetKind.CLASSES, MLP((4,)), "accuracy_score", targets
        )

    def examples(self):
        rng = np.random.default_rng(0)
        classes = np.arange(80) % 3
        centres = np.array([[0.0, 2.0], [2.0, -1.0], [-2.0, -1.0]])
        return Examples(centres[classes] + rng.normal(size=(80, 2)), classes.astype(np.int64))


@dataclass(frozen=True, kw_only=True)
class Jittered(Blobs):
    """Its training inputs are moved anew at every visit."""

    def augment(self, inputs, rng):
        return inputs + 0.3 * rng.normal(*inputs.shape[1:])


@dataclass(frozen=True)
class Descent(Method):
    """Noisy gradient descent; at step `at` something may go wrong."""

    signal: ClassVar[Signal] = Signal.GRADIENT
    batch_size: int | None = 8
    at: int = NEVER

    def init(self, problem, params, rng):
        return {"params": params, "n_steps": 0}

    def step(self, state, batch, problem, rng):
        outputs, tape = problem.forward(state["params"], batch.inputs)
        gradient = problem.backward(tape, problem.error(outputs, batch.targets))
        noise = 0.01 * rng.normal(gradient.shape[1])
        return {
            "params": state["params"] - 0.1 * (gradient + noise),
            "n_steps": state["n_steps"] + 1,
        }

    def params(self, state):
        return state["params"]


class Walk(Descent):
    """Costs nothing but steps."""

    def step(self, state, batch, problem, rng):
        return {"params": state["params"] + 0.01 * rng.normal(1), "n_steps": state["n_steps"] + 1}


class Diverging(Descent):
    """One replica's weights are no numbers any more after step `at`."""

    lost = 1

    def step(self, state, batch, problem, rng):
        state = super().step(state, batch, problem, rng)
        if state["n_steps"] >= self.at:
            state["params"][self.lost] = math.nan
        return state


class AllDiverging(Diverging):
    """All replicas' weights are, from the start if `at` is 0."""

    lost = slice(None)

    def init(self, problem, params, rng):
        return super().init(problem, params if self.at else params * math.nan, rng)


class Raising(Descent):
    def step(self, state, batch, problem, rng):
        if state["n_steps"] + 1 == self.at:
            raise RuntimeError("boom\nand more")
        return super().step(state, batch, problem, rng)


class RaisingInInit(Descent):
    def init(self, problem, params, rng):
        raise RuntimeError("boom")


class RaisingInPredict(Descent):
    def predict(self, state, problem, batch):
        if state["n_steps"] >= self.at:
            raise RuntimeError("boom")
        return super().predict(state, problem, batch)


class Finite(Descent):
    def done(self, state):
        return state["n_steps"] >= self.at


class Ticking(Descent):
    """A step takes 6 seconds of the fixture `clock`, a prediction 100."""

    now = 0.0

    def step(self, state, batch, problem, rng):
        Ticking.now += 6
        return super().step(state, batch, problem, rng)

    def predict(self, state, problem, batch):
        Ticking.now += 100
        return super().predict(state, problem, batch)


class Paced(Descent):
    """A step takes 6 seconds, all else none."""

    def step(self, state, batch, problem, rng):
        Ticking.now += 6
        return super().step(state, batch, problem, rng)


class SlowInit(Paced):
    """What comes before the first step takes 100 seconds, such as pre-training."""

    def init(self, problem, params, rng):
        Ticking.now += 100
        return super().init(problem, params, rng)


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(training, "perf_counter", lambda: Ticking.now)


class Unable(Descent):
    def init(self, problem, params, rng):
        raise UnsupportedError("no hands")


class Misconfigured(Descent):
    def init(self, problem, params, rng):
        raise InputError("n_hands must be > 0, got 0")


class UnableToStep(Descent):
    def step(self, state, batch, problem, rng):
        raise UnsupportedError("no hands")


class MisconfiguredInStep(Descent):
    def step(self, state, batch, problem, rng):
        raise InputError("n_hands must be > 0, got 0")


def setup(method=None, seeds=SEEDS, time_limit=None, task=None, **budget):
    task = task or Blobs()
    amounts = budget or {"epochs": 5}
    network = task.spec.network.build(task.spec)
    return Setup(
        method or Descent(),
        task,
        network,
        list(seeds),
        Budget.of(amounts),
        [{"method": "toy", "run_id": "toy"}] * len(seeds),
        time_limit,
    )


def whole(of, split):
    """All examples of a split, as each replica sees them."""
    splits = of.task.at(of.seeds)
    return splits.batch(split, torch.arange(splits.size(split)).unsqueeze(0))


def run(of, snapshot=None, before=None, stop=never):
    """The three tables, and what was yielded; `before` holds rows from before the snapshot."""
    rows = {name: list((before or {}).get(name, [])) for name in ("curves", "layers", "runs")}
    yielded = []
    for progress in train(of, snapshot, stop):
        yielded.append(progress)
        for name, listed in rows.items():
            listed += getattr(progress, name)
    return {name: pd.DataFrame(listed) for name, listed in rows.items()}, yielded


def without_clock(table):
    return table[[column for column in table.columns if "seconds" not in column]]


def assert_same(one, other, **tolerance):
    for name in one:
        pd.testing.assert_frame_equal(
            without_clock(one[name]), without_clock(other[name]), **tolerance
        )


def of_seed(tables, seed):
    return {
        name: table[table["seed"] == seed].reset_index(drop=True) for name, table in tables.items()
    }


# ------------------------------------------------------------------------------------------------ g


def test_the_grid_is_even_in_log_budget_and_ends_at_the_whole_of_it():
    np.testing.assert_allclose(np.diff(np.log10(GRID)), 0.1)
    assert GRID[0] == 0.001
    assert GRID[-1] == 1


@pytest.mark.parametrize("steps", [7, 100, 1000])
def test_it_is_evaluated_at_the_start_and_at_the_first_step_past_each_point(steps):
    tables, _ = run(setup(Walk(), [0], steps=steps))
    expected = {0, *(math.ceil(round(steps * point, 6)) for point in GRID)}
    for name, column in (("curves", "steps"), ("layers", "checkpoint")):
        assert tables[name][column].nunique() == len(expected)
    assert sorted(tables["curves"]["steps"].unique()) == sorted(expected)


@pytest.mark.parametrize(
    "budget", [{"steps": 1000}, {"steps": 13}, {"epochs": 5}, {"epochs": 4.93}, {"examples": 999}]
)
def test_a_checkpoints_number_tells_one_place_of_the_grid(budget):
    tables, _ = run(setup(seeds=[0], **budget))
    curves = tables["curves"].query("split != 'test'")
    assert not curves.duplicated(["split", "metric", "checkpoint"]).any()
    assert not curves.duplicated(["split", "metric", "steps"]).any()
    steps = curves.groupby("checkpoint")["steps"].first()
    assert steps.is_monotonic_increasing
    if "steps" in budget:
        for checkpoint, step in steps.items():
            assert checkpoint == 0 or step / budget["steps"] > GRID[checkpoint - 1] * (1 - 1e-6)


@pytest.mark.parametrize(
    "budget",
    [
        {"epochs": 5},
        {"epochs": 4.93},
        {"examples": 999},
        {"flops": 123_456},
        {"steps": 17},
        {"seconds": 0.05},
    ],
)
def test_the_budget_is_never_exceeded_and_used_to_the_last_step(budget):
    of = setup(**budget)
    tables, yielded = run(of)
    spent = [progress.spent for progress in yielded]
    assert spent == sorted(spent)
    assert spent[-1] <= 1 + 1e-9
    n_steps = tables["runs"]["steps"].iloc[0]
    if "seconds" in budget:
        assert n_steps > 3
    else:
        assert spent[-1] * (n_steps + 1) / n_steps > 1 + 1e-9  # one more would have been too many


def test_the_ledger_of_backpropagation_is_steps_times_batch_and_epochs_are_passes():
    of = setup(epochs=4)
    n_train = of.task.at([0]).size("train")
    tables, _ = run(of)
    row = tables["runs"].iloc[0]
    assert row["steps"] == 4 * n_train // 8
    assert row["forward"] == row["backward"] == 8 * row["steps"]
    assert row["flops"] == row["forward"] * (of.network.forward_flops + of.network.backward_flops())
    assert row["epochs"] == pytest.approx(8 * row["steps"] / n_train)


def test_every_point_of_the_curve_carries_what_was_spent_in_every_currency():
    tables, _ = run(setup(epochs=4))
    curves = tables["curves"].query("split == 'train' and metric == 'accuracy_score'")
    assert (curves["forward"] == 8 * curves["steps"]).all()
    assert (curves["backward"] == 8 * curves["steps"]).all()
    assert (
        curves.groupby("seed")["seconds"]
        .apply(lambda seconds: seconds.is_monotonic_increasing)
        .all()
    )
    assert not tables["curves"].isna().any().any()


def test_a_training_set_smaller_than_the_batch_is_taken_whole():
    of = setup(Descent(batch_size=1000), steps=3)
    tables, _ = run(of)
    assert tables["runs"]["forward"].tolist() == [3 * of.task.at([0]).size("train")] * 3


@pytest.mark.parametrize("batch_size", [None, 1000])
def test_all_of_the_training_set_is_that_many_examples(batch_size):
    size = setup().task.at([0]).size("train")
    by_number, _ = run(setup(Descent(batch_size=size), steps=3))
    taken, _ = run(setup(Descent(batch_size=batch_size), steps=3))
    assert_same(taken, by_number, check_exact=True)


def test_a_step_that_costs_more_than_the_budget_is_not_taken():
    tables, _ = run(setup(epochs=0.05))
    rows = tables["runs"]
    assert (rows[["steps", "forward", "backward", "flops"]] == 0).all(axis=None)
    assert set(rows["status"]) == {"untrained"}
    # 8 of 56 examples
    assert set(rows["reason"]) == {"one step costs 0.1429 epochs, the budget is 0.05"}
    assert set(rows["unspent"]) == {1.0}
    assert rows["best_test_score"].notna().all()
    assert rows.filter(like="final_").isna().all(axis=None)
    assert tables["curves"]["checkpoint"].unique().tolist() == [0]
    # the best is the end: tested once
    assert not tables["curves"].duplicated(["seed", "split", "metric"]).any()


def test_a_method_that_is_done_before_its_first_step_has_not_trained():
    rows = run(setup(Finite(at=0)))[0]["runs"]
    assert set(rows["status"]) == {"untrained"}
    assert set(rows["reason"]) == {"the method was done before its first step"}


@pytest.mark.parametrize(
    ("budget", "unspent"), [({"steps": 4}, 0), ({"examples": 100}, 0.04), ({"epochs": 4}, 0)]
)
def test_what_is_left_of_the_budget_is_told(budget, unspent):
    rows = run(setup(**budget))[0]["runs"]
    # a step costs 8 + 2 * 8 examples
    assert rows["unspent"].tolist() == pytest.approx([unspent] * 3)


def test_a_method_that_is_done_ends_early():
    tables, _ = run(setup(Finite(at=7), epochs=20))
    rows = tables["runs"]
    assert (rows["steps"] == 7).all()
    assert (rows["status"] == "finished").all()
    assert (rows["reason"] == "").all()
    assert tables["curves"].query("split == 'validation'")["steps"].max() == 7
    assert rows["final_test_score"].notna().all()
    assert rows["unspent"].tolist() == pytest.approx([1 - 7 * 8 / 56 / 20] * 3)


# ----------------------------------------------------------------------- replicas and resuming


def test_same_seeds_same_rows():
    assert_same(run(setup())[0], run(setup())[0], check_exact=True)


def test_resumed_from_any_snapshot_it_ends_where_the_uninterrupted_run_ends():
    whole, yielded = run(setup())
    before = {name: [] for name in whole}
    for progress in yielded[:-1]:
        for name, listed in before.items():
            listed += getattr(progress, name)
        saved = io.BytesIO()
        torch.save(progress.snapshot, saved)
        saved.seek(0)
        resumed, _ = run(setup(), torch.load(saved, weights_only=True), before)
        assert_same(resumed, whole, check_exact=True)
    assert len(yielded) > 15


def stopped(of, allowed, snapshot=None, before=None):
    """A run that goes on from a file, and is stopped after it has asked so often; what it leaves."""
    asked = itertools.count()
    tables, yielded = run(of, reread(snapshot), before, stop=lambda: next(asked) >= allowed)
    rows = {name: table.to_dict("records") for name, table in tables.items()}
    return yielded[-1].snapshot, rows, yielded


def reread(snapshot):
    saved = io.BytesIO()
    torch.save(snapshot, saved)
    saved.seek(0)
    return torch.load(saved, weights_only=True)


@pytest.mark.parametrize("budget", [{"steps": 9}, {"epochs": 1.45}], ids=["steps", "epochs"])
@pytest.mark.parametrize("task", [Blobs, Jittered])
def test_stopped_before_any_step_it_ends_where_the_uninterrupted_run_ends(task, budget):
    """Also where the budget does not pay for the step that comes next."""
    of = setup(task=task(), **budget)
    whole, yielded = run(of)
    for allowed in itertools.count():
        snapshot, before, left = stopped(of, allowed)
        if left[-1].runs:
            break
        resumed, rest = run(of, reread(snapshot), before)
        assert_same(resumed, whole, check_exact=True)
        assert_same_predictions(rest, yielded)
        assert sum(bool(one.curves) for one in [*left, *rest]) == len(yielded)
    assert allowed > 8


def test_stopped_after_every_step_it_ends_where_the_uninterrupted_run_ends():
    of = setup(task=Jittered(), epochs=1.45)
    whole, yielded = run(of)
    snapshot, before, rest = stopped(of, 0)
    while not rest[-1].runs:
        snapshot, before, rest = stopped(of, 2, snapshot, before)
    assert_same({name: pd.DataFrame(rows) for name, rows in before.items()}, whole)
    assert_same_predictions(rest, yielded)


def assert_same_predictions(one, other):
    for name, column in other[-1].predictions.items():
        np.testing.assert_array_equal(one[-1].predictions[name], column)


def test_a_resumed_run_varies_its_inputs_as_the_uninterrupted_one_does():
    of = setup(task=Jittered())
    whole, yielded = run(of)
    moment = len(yielded) // 2
    before = {
        name: [row for progress in yielded[: moment + 1] for row in getattr(progress, name)]
        for name in whole
    }
    assert_same(run(of, yielded[moment].snapshot, before)[0], whole, check_exact=True)


def test_snapshots_taken_earlier_are_not_changed_by_going_on():
    snapshots, texts = [], []
    for progress in train(setup(epochs=1)):
        snapshots.append(progress.snapshot)
        texts.append(repr(progress.snapshot))
    assert [repr(snapshot) for snapshot in snapshots] == texts


def test_a_replica_of_the_stack_is_its_seed_alone_after_100_steps(close):
    stacked, yielded = run(setup(steps=100))
    for seed in SEEDS:
        alone, yielded_alone = run(setup(seeds=[seed], steps=100))
        assert_same(of_seed(stacked, seed), alone, check_exact=False, rtol=1e-5, atol=1e-6)
        ends = [end[-2].snapshot["state"]["params"] for end in (yielded, yielded_alone)]
        close(ends[0][seed], ends[1][0])


# ------------------------------------------------------------------------------------------------ w


def test_a_replica_that_diverges_ends_alone():
    whole, _ = run(setup(steps=50))
    tables, _ = run(setup(Diverging(at=20), steps=50))
    rows = tables["runs"].set_index("seed")
    assert rows["status"].tolist() == ["finished", "diverged", "finished"]
    assert rows.loc[1, "reason"] == "a loss is not finite after 20 steps"
    assert rows.loc[1, "best_test_score"] >= 0
    assert rows.loc[1].filter(like="final_").isna().all()
    for seed in (0, 2):
        assert_same(of_seed(tables, seed), of_seed(whole, seed), check_exact=True)
    assert tables["curves"].query("seed == 1")["steps"].max() < 20
    assert np.isfinite(tables["curves"]["value"]).all()


class Exploding(Descent):
    """One replica's weights are 1e12 times too large after step `at`: no number overflows."""

    def step(self, state, batch, problem, rng):
        state = super().step(state, batch, problem, rng)
        if state["n_steps"] == self.at:
            state["params"][1] *= 1e12
        return state


def test_a_loss_beyond_all_measure_has_diverged_though_it_is_finite():
    whole, _ = run(setup(steps=50))
    tables, _ = run(setup(Exploding(at=20), steps=50))
    rows = tables["runs"].set_index("seed")
    assert rows["status"].tolist() == ["finished", "diverged", "finished"]
    assert re.fullmatch(
        r"a loss of \d\S*e\+\d\d after 20 steps, from \d\S* at the start", rows.loc[1, "reason"]
    )
    assert rows.loc[1, "best_test_score"] >= 0
    assert tables["curves"].query("seed == 1")["steps"].max() < 20
    for seed in (0, 2):
        assert_same(of_seed(tables, seed), of_seed(whole, seed), check_exact=True)


@pytest.mark.parametrize("lost", [[2], [0, 1], [1, 2], [0]])
def test_whoever_diverges_the_others_are_measured_on(lost, monkeypatch):
    """A group of the probe may be without a replica that is alive."""
    of = setup(Diverging(at=20), steps=50)
    monkeypatch.setattr(Diverging, "lost", lost)
    monkeypatch.setattr(probe, "GROUP", of.network.n_weights)  # one replica at a time
    whole, _ = run(setup(steps=50))
    tables, _ = run(of)
    assert tables["runs"]["status"].tolist() == [
        "diverged" if seed in lost else "finished" for seed in SEEDS
    ]
    for seed in set(SEEDS) - set(lost):
        assert_same(of_seed(tables, seed), of_seed(whole, seed), check_exact=True)


@pytest.mark.parametrize("at", [0, 20])
def test_a_run_whose_replicas_all_diverged_ends_there(at):
    tables, _ = run(setup(AllDiverging(at=at), steps=50))
    assert set(tables["runs"]["status"]) == {"diverged"}
    assert set(tables["runs"]["reason"]) == {f"a loss is not finite after {at} steps"}
    assert set(tables["runs"]["steps"]) == {at}
    assert tables["runs"]["best_test_score"].isna().all() == (at == 0)


class RaisingAfterPasses(Descent):
    def step(self, state, batch, problem, rng):
        state = super().step(state, batch, problem, rng)
        if state["n_steps"] > self.at:
            raise RuntimeError("boom")
        return state


def test_a_method_that_never_spends_its_budget_fails_instead_of_running_for_ever():
    tables, _ = run(replace(setup(Walk()), budget=Budget("flops", 1e6)))
    assert set(tables["runs"]["status"]) == {"failed"}
    assert set(tables["runs"]["reason"]) == {
        "RuntimeError: a step spends nothing of the budget in flops: it would never end"
    }


def test_the_passes_of_a_step_that_fails_are_not_charged():
    tables, _ = run(setup(RaisingAfterPasses(at=5), steps=50))
    assert set(tables["runs"]["steps"]) == {5}
    assert set(tables["runs"]["forward"]) == {5 * 8}


@pytest.mark.parametrize("kind", [Raising, RaisingInPredict])
def test_a_fault_of_the_method_is_a_row_and_the_best_so_far_is_kept(kind):
    whole, _ = run(setup(steps=50))
    tables, _ = run(setup(kind(at=20), steps=50))
    rows = tables["runs"]
    assert rows["status"].tolist() == ["failed"] * 3
    assert rows["reason"].tolist() == ["RuntimeError: boom"] * 3
    assert rows.filter(like="final_").isna().all(axis=None)
    before = whole["curves"].query("steps < 20 and split != 'test'").reset_index(drop=True)
    curves = tables["curves"]
    assert_same(
        {"curves": curves.query("split != 'test'").reset_index(drop=True)}, {"curves": before}
    )
    for _, row in rows.iterrows():
        validation = before.query(
            "seed == @row.seed and split == 'validation' and metric == 'accuracy_score'"
        )
        assert row["best_validation_score"] == validation["value"].max()
        test = curves.query("seed == @row.seed and split == 'test' and metric == 'accuracy_score'")
        assert row["best_test_score"] == test["value"].item()


def test_a_fault_before_the_first_step_is_a_row_too():
    tables, _ = run(setup(RaisingInInit()))
    assert tables["runs"]["status"].tolist() == ["failed"] * 3
    assert tables["runs"]["reason"].tolist() == ["RuntimeError: boom"] * 3
    assert tables["runs"]["best_test_score"].isna().all()
    assert tables["curves"].empty


@pytest.mark.parametrize(
    ("kind", "error"), [(Unable, UnsupportedError), (Misconfigured, InputError)]
)
def test_what_cannot_serve_or_is_out_of_range_raises(kind, error):
    with pytest.raises(error, match="hands"):
        run(setup(kind()))


@pytest.mark.parametrize("kind", [UnableToStep, MisconfiguredInStep])
def test_what_only_the_first_step_refuses_has_no_row(kind):
    told = train(setup(kind()))
    with pytest.raises((UnsupportedError, InputError), match="hands"):
        next(told)


def test_a_skipped_method_has_a_row_a_seed_and_a_reason():
    progress = skip(setup(Unable()), "no hands")
    rows = pd.DataFrame(progress.runs)
    assert rows["seed"].tolist() == SEEDS
    assert set(rows["status"]) == {"skipped"}
    assert set(rows["reason"]) == {"no hands"}
    assert not progress.curves
    assert {len(column) for column in progress.predictions.values()} == {0}
    assert set(rows.columns) == set(run(setup(epochs=1))[0]["runs"].columns)


def test_beyond_the_time_limit_a_run_counts_as_failed(clock):
    tables, _ = run(setup(Paced(), time_limit=30, epochs=500))
    rows = tables["runs"]
    assert rows["status"].tolist() == ["failed"] * 3
    assert set(rows["reason"]) == {"time limit of 30 s"}
    assert (rows["steps"] == 5).all()  # and one to warm up
    assert rows["best_test_score"].notna().all()
    assert rows["final_test_score"].isna().all()
    assert set(run(setup(Paced(), time_limit=30, steps=4))[0]["runs"]["status"]) == {"finished"}


@pytest.mark.parametrize("kind", ["Ticking", "ColdStart", "SlowInit"])
def test_the_time_limit_is_of_the_whole_run_with_predictions_first_calls_and_what_comes_before(
    kind, clock, monkeypatch
):
    monkeypatch.setattr(ColdStart, "warm", False)
    rows = run(setup(globals()[kind](), time_limit=30, steps=4))[0]["runs"]
    assert set(rows["reason"]) == {"time limit of 30 s"}
    assert set(rows["steps"]) == {0}


def test_time_before_an_interruption_counts_and_time_in_between_does_not(clock):
    of = setup(Paced(), time_limit=30, steps=500)
    _, yielded = run(of)
    Ticking.now += 1000
    rows = run(of, yielded[2].snapshot)[0]["runs"]
    assert yielded[2].snapshot["ledger"]["steps"] == 2
    assert set(rows["steps"]) == {4}  # it has to warm up again


def test_seconds_are_step_time_shared_by_the_replicas_and_evaluation_is_off_the_clock(clock):
    rows = run(setup(Ticking(), steps=5))[0]["runs"]
    assert set(rows["seconds"]) == {5 * 6 / 3}
    assert set(rows["total_seconds"]) == {5 * 6}
    assert set(run(setup(Ticking(), seconds=9))[0]["runs"]["steps"]) == {4}


class ColdStart(Ticking):
    """The first call of a process takes 100 seconds more than the others."""

    warm = False

    def step(self, state, batch, problem, rng):
        Ticking.now += 0 if ColdStart.warm else 100
        ColdStart.warm = True
        return super().step(state, batch, problem, rng)


def test_what_only_a_first_call_costs_is_off_the_clock(clock, monkeypatch):
    monkeypatch.setattr(ColdStart, "warm", False)
    rows = run(setup(ColdStart(), steps=5))[0]["runs"]
    assert ColdStart.warm
    assert set(rows["total_seconds"]) == {5 * 6}
    assert set(rows["steps"]) == {5}


def test_a_resumed_run_is_warmed_up_too(clock, monkeypatch):
    monkeypatch.setattr(ColdStart, "warm", False)
    _, yielded = run(setup(ColdStart(), steps=5))
    monkeypatch.setattr(ColdStart, "warm", False)  # another process
    assert set(
        run(setup(ColdStart(), steps=5), yielded[3].snapshot)[0]["runs"]["total_seconds"]
    ) == {5 * 6}


class Recording(Descent):
    """Remembers what its steps were given."""

    seen: ClassVar[list] = []

    def step(self, state, batch, problem, rng):
        self.seen.append((state["params"], batch.inputs, rng.state(), problem.ledger.copy()))
        return super().step(state, batch, problem, rng)


def test_warming_up_is_the_first_step_forgotten(monkeypatch):
    monkeypatch.setattr(Recording, "seen", [])
    rows = run(setup(Recording(), steps=5))[0]["runs"]
    warm, first, second, *_ = Recording.seen
    assert len(Recording.seen) == 6
    assert set(rows["forward"]) == {5 * 8}
    assert not torch.equal(first[0], second[0])
    torch.testing.assert_close(warm[:3], first[:3], rtol=0, atol=0)
    assert warm[3] == first[3]


def test_order_variation_and_rule_each_draw_from_the_stream_of_their_name(monkeypatch):
    monkeypatch.setattr(Recording, "seen", [])
    of = setup(Recording(), task=Jittered(), steps=9)
    run(of)
    splits = of.task.at(SEEDS)
    order = Sampler(splits.size("train"), 8, Stream("data", SEEDS))
    moves, rule = Stream("augment", SEEDS), Stream("step", SEEDS)
    for _, inputs, drawn, _ in Recording.seen[1:]:  # the first one warms up
        expected = next(splits.training(order.next().unsqueeze(0), moves)).inputs
        torch.testing.assert_close([inputs, *drawn], [expected, *rule.state()], rtol=0, atol=0)
        rule.normal(of.network.n_weights)


def test_a_method_that_is_done_is_not_warmed_up(monkeypatch):
    monkeypatch.setattr(Recording, "seen", [])

    class Done(Recording):
        def done(self, state):
            return True

    run(setup(Done()))
    assert not Recording.seen


# --------------------------------------------------------------------------------------------------


def test_the_test_split_is_touched_at_the_best_checkpoint_and_at_the_end_alone():
    tables, _ = run(setup())
    curves, rows = tables["curves"], tables["runs"].set_index("seed")
    last = curves["checkpoint"].max()
    for seed, curve in curves.query("split == 'test'").groupby("seed"):
        assert set(curve["checkpoint"]) == {rows.loc[seed, "best_checkpoint"], last}
        assert set(Counter(zip(curve["metric"], curve["checkpoint"], strict=True)).values()) == {1}
        scores = curve[curve["metric"] == "accuracy_score"].set_index("checkpoint")["value"]
        assert rows.loc[seed, "best_test_score"] == scores[rows.loc[seed, "best_checkpoint"]]
        assert rows.loc[seed, "final_test_score"] == scores[last]


def test_test_scores_stand_beside_what_was_spent_at_their_checkpoint():
    curves = run(setup())[0]["curves"].query("metric == 'accuracy_score'")
    key = ["seed", "checkpoint"]
    spent = curves.query("split == 'validation'").set_index(key)[list(COST_NAMES)]
    tested = curves.query("split == 'test'").set_index(key)[list(COST_NAMES)]
    assert len(set(tested["steps"])) > 1
    pd.testing.assert_frame_equal(tested, spent.loc[tested.index], check_exact=True)


def test_what_is_shown_and_measured_is_of_the_replicas_left():
    _, yielded = run(setup(Diverging(at=20), steps=50))
    alive = set()
    for progress in yielded[:-1]:
        rows = pd.DataFrame(progress.curves)
        shown = rows.query("split == 'validation' and metric == 'accuracy_score'")
        assert progress.score == pytest.approx(shown["value"].mean())
        assert {row["seed"] for row in progress.layers} == set(shown["seed"])
        alive.add(len(shown))
    assert alive == {2, 3}


@dataclass(frozen=True)
class Doubting(Descent):
    """Predicts by the network, or by its opposite."""

    sign: int = 1

    def predict(self, state, problem, batch):
        return self.sign * super().predict(state, problem, batch)


def test_other_predictions_are_scored_on_the_test_split_alone_and_change_nothing_else():
    of = replace(setup(Doubting()), also={"opposite": Doubting(sign=-1)})
    tables, yielded = run(of)
    curves = tables["curves"]
    added = curves["metric"].str.startswith("opposite_")
    assert_same({**tables, "curves": curves[~added].reset_index(drop=True)}, run(setup())[0])
    assert set(curves[added]["split"]) == {"test"}
    test = whole(of, "test")
    outputs = of.network.outputs(yielded[-2].snapshot["state"]["params"], test.inputs)
    expected = of.task.score(-outputs, test.targets)["accuracy_score"]
    at_the_end = (
        added
        & (curves["metric"] == "opposite_accuracy_score")
        & (curves["checkpoint"] == len(GRID))
    )
    assert curves[at_the_end]["value"].tolist() == pytest.approx(expected.tolist())


def test_the_best_checkpoint_is_the_first_of_the_highest_validation_score():
    tables, _ = run(setup())
    rows = tables["runs"].set_index("seed")
    validation = tables["curves"].query("split == 'validation' and metric == 'accuracy_score'")
    for seed, curve in validation.groupby("seed"):
        best = curve.loc[curve["value"].idxmax()]  # the first of equals
        assert rows.loc[seed, "best_checkpoint"] == best["checkpoint"]
        assert rows.loc[seed, "best_validation_score"] == best["value"]
        assert rows.loc[seed, "steps_to_best"] == best["steps"]


def test_the_reported_test_score_is_that_of_the_best_weights(close):
    of = setup()
    tables, yielded = run(of)
    kept = {}
    for progress in yielded[:-1]:
        index = progress.layers[0]["checkpoint"]
        kept[index] = progress.snapshot["state"]["params"]
    test = whole(of, "test")
    for replica, row in tables["runs"].iterrows():
        outputs = of.network.outputs(kept[row["best_checkpoint"]], test.inputs)
        expected = of.task.score(outputs, test.targets)
        assert row["best_test_score"] == pytest.approx(expected["accuracy_score"][replica].item())
        assert row["best_test_loss"] == pytest.approx(
            expected["cross_entropy_loss"][replica].item()
        )


def test_scores_do_not_depend_on_the_chunks_of_an_evaluation(monkeypatch):
    whole, _ = run(setup(epochs=1))
    monkeypatch.setattr(evaluation, "EVALUATION_CHUNK", 7)
    assert_same(run(setup(epochs=1))[0], whole, rtol=1e-5)


@pytest.mark.parametrize(("kept", "n_looks"), [(evaluation.KEPT, 1), (0, 2)])
def test_what_is_scored_is_looked_up_once_where_it_is_small(kept, n_looks, monkeypatch):
    whole, _ = run(setup(epochs=1))
    monkeypatch.setattr(evaluation, "KEPT", kept)
    of = setup(epochs=1)
    splits, looks = of.task.at(of.seeds), Counter()
    look = type(splits).batch
    monkeypatch.setattr(
        type(splits),
        "batch",
        lambda self, split, at: looks.update([split]) or look(self, split, at),
    )
    scored = evaluation.Evaluation(of.method, of.task, of.network, of.seeds, splits, {})
    state = {"params": of.network.init(Stream("init", of.seeds))}
    first, again = (scored.scores(state, "train") for _ in range(2))
    assert all(first[name].equal(again[name]) for name in first)
    assert looks["train"] == n_looks
    assert_same(run(of)[0], whole)


def test_of_a_large_training_split_the_same_examples_are_scored_for_all(monkeypatch):
    """By hand: the scores of the rows that were looked up, among the outputs of all."""
    monkeypatch.setattr(evaluation, "TRAIN_SCORED", 8)
    of = setup()
    splits, looks = of.task.at(of.seeds), []
    look = type(splits).batch

    def watched(self, split, at):
        looks.append((split, at))
        return look(self, split, at)

    state = {"params": of.network.init(Stream("init", of.seeds))}
    scored = {}
    for seeds in (of.seeds, of.seeds[1:]):
        alone = {"params": state["params"][-len(seeds) :]}
        there = of.task.at(seeds)
        judge = evaluation.Evaluation(of.method, of.task, of.network, seeds, there, {})
        with monkeypatch.context() as patched:
            patched.setattr(type(splits), "batch", watched)
            scored[len(seeds)] = {
                split: judge.scores(alone, split) for split in ("train", "validation")
            }
        assert judge.n_examples("train") == splits.size("train") > 8
    (_, places), _, (_, again), _ = looks
    assert torch.equal(places, again)
    assert places.unique().numel() == 8
    assert 2 * places.max() > splits.size("train") > places.max()
    for split, at in (("train", places[0]), ("validation", slice(None))):
        batch = whole(of, split)
        expected = of.task.score(
            of.network.outputs(state["params"], batch.inputs)[:, at], batch.targets[:, at]
        )
        for name, values in expected.items():
            torch.testing.assert_close(scored[3][split][name], values)
            torch.testing.assert_close(scored[2][split][name], values[1:])


def test_cost_to_a_target_is_that_of_the_first_checkpoint_that_reaches_it():
    tables, _ = run(setup())
    rows = tables["runs"].set_index("seed")
    validation = tables["curves"].query("split == 'validation' and metric == 'accuracy_score'")
    for seed, curve in validation.groupby("seed"):
        for level, target in (("easy", 0.4), ("medium", 0.7)):
            first = curve[curve["value"] >= target].iloc[0]
            assert rows.loc[seed, f"target_{level}"] == target
            for name in COST_NAMES:
                assert rows.loc[seed, f"{name}_to_{level}"] == first[name]
    assert (rows[[f"{name}_to_hard" for name in COST_NAMES]] == math.inf).all(axis=None)


def test_a_run_says_how_many_examples_it_had_and_whose_split():
    of = setup(epochs=1)
    splits = of.task.at(SEEDS)
    rows = run(of)[0]["runs"]
    for split in SPLITS:
        assert set(rows[f"n_{split}"]) == {splits.size(split)}
    assert rows["n_train"][0] + rows["n_validation"][0] + rows["n_test"][0] == 80
    assert set(rows["split"]) == {"own"}
    assert set(run(setup(task=Blobs(split_seed=3), epochs=1))[0]["runs"]["split"]) == {"3"}


# -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Line(Blobs):
    """Two values to predict, each in another unit."""

    @property
    def spec(self):
        return TaskSpec(
            "test/line", (2,), 2, TargetKind.VALUES, MLP((4,)), "r2_score", (0.1, 0.5, 2.0)
        )

    def examples(self):
        inputs = super().examples().inputs
        return Examples(
            inputs, inputs @ np.array([[30.0, 0.1], [-10.0, 0.2]]) + np.array([500.0, 0.0])
        )


@pytest.fixture(
    params=[Blobs(), Blobs(split_seed=0), Line(), Line(split_seed=0)],
    ids=["classes", "classes, one split", "values", "values, one split"],
)
def answered(request):
    """A run on a task of each kind, and its predictions."""
    of = replace(
        setup(Diverging(at=20), task=request.param, steps=50), identities=[{"run_id": "abc"}] * 3
    )
    tables, yielded = run(of)
    return of, tables, yielded, pd.DataFrame(yielded[-1].predictions)


def test_there_is_a_row_a_replica_test_example_and_output(answered):
    of, _, yielded, predictions = answered
    splits = of.task.at(SEEDS)
    ids = splits.ids("test", torch.arange(splits.size("test")).unsqueeze(0)).expand(3, -1)
    assert all(not progress.predictions for progress in yielded[:-1])
    assert set(predictions["run_id"]) == {"abc"}
    n_outputs = 1 if of.task.spec.target_kind is TargetKind.CLASSES else 2
    for seed in SEEDS:  # one of them has diverged, after its best checkpoint
        answers = predictions[predictions["seed"] == seed]
        expected = [
            (int(i), output) for i in ids[seed].sort().values for output in range(n_outputs)
        ]
        assert list(zip(answers["example"], answers["output"], strict=True)) == expected
    assert predictions["seed"].is_monotonic_increasing


def test_targets_are_those_of_the_raw_examples(answered):
    of, _, _, predictions = answered
    raw = of.task.examples().targets
    where = (predictions["example"], predictions["output"])
    targets = raw[where[: raw.ndim]]
    np.testing.assert_allclose(predictions["target"], targets, rtol=1e-5)


def test_the_recorded_test_score_follows_from_the_predictions(answered):
    of, tables, _, predictions = answered
    for seed, row in tables["runs"].set_index("seed").iterrows():
        answers = predictions[predictions["seed"] == seed]
        if of.task.spec.target_kind is TargetKind.CLASSES:
            assert (answers["target"] == answers["prediction"]).mean() == row["best_test_score"]
        else:
            wide = answers.pivot_table(
                index="example", columns="output", values=["target", "prediction"]
            )
            found = r2_score(wide["target"], wide["prediction"])
            assert found == pytest.approx(row["best_test_score"], rel=1e-5)


def test_probabilities_are_those_of_the_best_weights():
    of = setup(steps=50)
    tables, yielded = run(of)
    predictions = pd.DataFrame(yielded[-1].predictions)
    kept = {
        progress.layers[0]["checkpoint"]: progress.snapshot["state"]["params"]
        for progress in yielded[:-1]
    }
    test, splits = whole(of, "test"), of.task.at(SEEDS)
    ids = splits.ids("test", torch.arange(splits.size("test")).unsqueeze(0))
    for replica, row in tables["runs"].iterrows():
        order = ids[replica].argsort()
        outputs = of.network.outputs(kept[row["best_checkpoint"]], test.inputs)
        outputs = outputs[replica][order].numpy()
        targets = test.targets[replica][order].numpy()
        shares = softmax(outputs.astype(float), axis=1)
        answers, each = predictions[predictions["seed"] == row["seed"]], np.arange(len(targets))
        np.testing.assert_allclose(answers["probability"], shares[each, targets], atol=1e-3)
        np.testing.assert_allclose(answers["confidence"], shares.max(1), atol=1e-3)
        np.testing.assert_allclose(
            answers["brier"], ((shares - np.eye(3)[targets]) ** 2).sum(1), atol=2e-3
        )
        assert answers["prediction"].tolist() == shares.argmax(1).tolist()
        loss = -np.log(shares[each, targets]).mean()
        assert loss == pytest.approx(row["best_test_loss"], rel=1e-6)


def test_who_diverged_before_any_checkpoint_has_no_predictions(monkeypatch):
    monkeypatch.setattr(AllDiverging, "lost", [1])

    class FromTheStart(Descent):
        def init(self, problem, params, rng):
            params[1] = math.nan
            return super().init(problem, params, rng)

    _, yielded = run(setup(FromTheStart(), steps=5))
    assert set(yielded[-1].predictions["seed"].tolist()) == {0, 2}


def test_what_a_prediction_costs_does_not_depend_on_the_replicas_beside_it(monkeypatch):
    class Spiking(Descent):
        """Its first inputs are those that spike."""

        def predict(self, state, problem, batch):
            problem.count(spikes=batch.inputs.abs().sum((1, 2)))
            return super().predict(state, problem, batch)

    monkeypatch.setattr(evaluation, "EVALUATION_CHUNK", 12)  # four examples of three replicas
    stacked, alone = (
        run(setup(Spiking(), steps=5))[0]["runs"],
        run(setup(Spiking(), seeds=[1], steps=5))[0]["runs"],
    )
    for name in ("inference_flops", "inference_spikes"):
        assert stacked[name][1] == pytest.approx(alone[name][0], rel=1e-6)
        assert stacked[name][1] > 0


def test_what_a_method_holds_between_steps_is_a_replicas_bytes():
    class Remembering(Descent):
        def init(self, problem, params, rng):
            held = [
                params.new_zeros(len(params), 5, dtype=torch.float64),
                params.new_zeros(3, 2) > 0,
            ]
            return {**super().init(problem, params, rng), "held": held}

        def step(self, state, batch, problem, rng):
            return {**super().step(state, batch, problem, rng), "held": state["held"]}

    of = setup(Remembering(), steps=3)
    rows = run(of)[0]["runs"]
    assert set(rows["state_bytes"]) == {4 * of.network.n_weights + 8 * 5 + 2}
    work = of.network.forward_work(8) + of.network.backward_work(8)
    changed = 4 * of.network.n_weights  # what is held stays as it is
    assert set(rows["bytes_moved"]) == {3 * (work.bytes_moved + 2 * changed)}
