"""Oracles: backpropagation where nothing is learnt first, and by hand where something is; a run
that is interrupted while it learns the source ends where the uninterrupted one ends.
"""

from itertools import count, islice
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

from beyond import catalog
from beyond.data.sampler import Sampler
from beyond.errors import InputError, UnsupportedError
from beyond.kits.optimizers import SGD, Adam
from beyond.ledger import Budget, Ledger
from beyond.problem import Problem
from beyond.run import training
from beyond.run.loop import never, skip, train
from beyond.run.pretraining import Pretraining
from beyond.run.setup import Setup
from beyond.run.start import Start
from beyond.streams import Stream
from methods.backprop import Backprop
from methods.feedback_alignment import FeedbackAlignment
from methods.genetic import Genetic
from tasks.digits import Digits, glyphs

FAULTS = [
    # the wrong part is kept
    (
        "beyond/run/pretraining.py",
        "[learnt[:, :head], initial[:, head:]]",
        "[initial[:, :head], learnt[:, head:]]",
    ),
    # the head is kept whether or not it is asked for
    ("beyond/run/pretraining.py", "if start.keep_head:", "if start:"),
    # the source is learnt by the rule that is started from it
    ("beyond/run/pretraining.py", "method=rule, task=source", "task=source"),
    # the run's budget, instead of the start's
    ("beyond/run/pretraining.py", ", budget=budget, start=None", ", start=None"),
    # another order of the source's examples
    ("beyond/run/pretraining.py", 'Streams("source", ', 'Streams("data", '),
    # one order for all replicas
    (
        "beyond/run/training.py",
        "order = Stream(streams.order, seeds)",
        "order = Stream(streams.order, [0 for _ in seeds])",
    ),
    # an interrupted one begins again
    (
        "beyond/run/pretraining.py",
        'self._begun().restore(snapshot["under_way"])',
        "self._begun()",
    ),
    # what it cost is forgotten with the training
    (
        "beyond/run/pretraining.py",
        'self.ledger.restore(Ledger(**snapshot["ledger"]))',
        "pass",
    ),
    # the rule's draws on the task go on where those before it ended
    (
        "beyond/run/training.py",
        "        self.rng = Stream(self.streams.rule, self.setup.seeds, self.setup.hardware)\n        self.state",
        "        self.state",
    ),
    # the time before the budget begins is nobody's
    (
        "beyond/run/loop.py",
        "            if training.late:\n                return self.end_late()\n",
        "",
    ),
    # the weights as drawn, after all
    (
        "beyond/run/loop.py",
        "training.start(*pretraining.finish(initial))",
        "pretraining.finish(initial)",
    ),
    # a start that leaves the weights alone is another arm
    (
        "beyond/run/start.py",
        "if self.source is None or not self.epochs:",
        "if self.source is None:",
    ),
    ("beyond/run/start.py", "task.sources[0]", "task.sources[-1]"),
]
SEEDS = [0, 1]


def setup(method=None, start=None, seeds=SEEDS, time_limit=None, task="image/digits", **settings):
    made = catalog.load("task", task, **settings)
    network = made.spec.network.build(made.spec)
    start = None if start is None else start.on(made)
    method = method or Backprop(SGD(learning_rate=0.1), batch_size=8)
    return Setup(method, made, network, seeds, Budget("epochs", 5), (), time_limit, start)


def warm(source="glyphs", epochs=1, keep_head=False, method=None):
    method = method or Backprop(SGD(learning_rate=0.1), batch_size=16)
    return Start(source=source, epochs=epochs, keep_head=keep_head, method=method)


def tables(of, snapshot=None, before=None, stop=never):
    """The rows of a run without their times, and all that it yielded."""
    rows = {name: list((before or {}).get(name, [])) for name in ("curves", "layers", "runs")}
    yielded = []
    for progress in train(of, snapshot, stop):
        yielded.append(progress)
        for name, found in rows.items():
            found += getattr(progress, name)
    timeless = {
        name: pd.DataFrame(found).filter(regex="^(?!.*second)") for name, found in rows.items()
    }
    return timeless, yielded


def by_hand(of, initial):
    """Weights after the start's epochs of its rule on the source."""
    start, source = of.start, of.task.source(of.start.source)
    splits, problem = source.at(of.seeds), Problem(of.network, source.spec, Ledger())
    n_examples, size = splits.size("train"), start.method.batch_size
    sampler = Sampler(n_examples, size, Stream("source", of.seeds))
    rng = Stream("source step", of.seeds)
    state = start.method.init(problem, initial, rng)
    for _ in range(start.epochs * n_examples // size):
        state = start.method.step(state, splits.batch("train", sampler.next()), problem, rng)
    return start.method.params(state)


class Seen(Backprop):
    """Tells what it was started from."""

    starts: ClassVar = []

    def init(self, problem, params, rng):
        Seen.starts.append(params)
        return super().init(problem, params, rng)


@pytest.mark.parametrize("rule", [Backprop, FeedbackAlignment])
@pytest.mark.parametrize("keep_head", [True, False])
def test_a_method_starts_from_what_the_starts_rule_learnt_on_the_source(keep_head, rule, close):
    start = warm(keep_head=keep_head, method=rule(SGD(learning_rate=0.1), batch_size=16))
    Seen.starts.clear()
    of = setup(Seen(SGD(learning_rate=0.1), batch_size=8, n_layers=1), start)
    tables(of)
    initial = of.network.init(Stream("init", SEEDS))
    expected, head = by_hand(of, initial), of.network.suffix(1)
    assert not torch.equal(expected, initial)
    cold, started = Seen.starts
    close(cold, initial, rtol=0, atol=0)
    close(started[:, :head], expected[:, :head], rtol=0, atol=0)
    close(started[:, head:], (expected if keep_head else initial)[:, head:], rtol=0, atol=0)


@pytest.mark.parametrize("shots", [1, 5])
def test_without_epochs_on_the_source_it_is_a_cold_start(shots):
    of = setup(start=warm(epochs=0), shots=shots)
    assert of.start is None
    cold, yielded = tables(of)
    assert (cold["runs"]["pretraining_flops"] == 0).all()
    assert {progress.of for progress in yielded} == {"budget"}


def test_the_rule_draws_on_the_task_as_it_does_from_a_cold_start():
    """The task's draws depend neither on what is drawn on the source nor on a first try to serve."""
    draws = []

    class Drawing(Backprop):
        def init(self, problem, params, rng):
            rng.normal(1)
            return super().init(problem, params, rng)

        def step(self, state, batch, problem, rng):
            draws.append(rng.normal(1))
            return super().step(state, batch, problem, rng)

    method = Drawing(SGD(learning_rate=0.1), batch_size=8)
    for start in (None, warm(method=Backprop(SGD(learning_rate=0.1), gradient_noise=0.5))):
        tables(setup(method, start, shots=1))
    cold, hot = draws[: len(draws) // 2], draws[len(draws) // 2 :]
    assert len(cold) > 2
    assert torch.equal(torch.stack(cold), torch.stack(hot))


def test_the_same_weights_are_learnt_for_every_method():
    Seen.starts.clear()
    for n_layers in (1, None):
        tables(setup(Seen(Adam(learning_rate=0.01), n_layers=n_layers), warm(), shots=2))
    assert torch.equal(Seen.starts[1], Seen.starts[3])


def test_interrupted_at_any_moment_it_ends_where_the_uninterrupted_run_ends(tmp_path):
    start = warm(epochs=2, method=Backprop(Adam(learning_rate=0.01), gradient_noise=0.3))
    whole, yielded = tables(setup(start=start, shots=5))
    learning = [progress for progress in yielded if progress.of == "pre-training"]
    assert len(learning) > 50
    assert [progress.curves + progress.layers for progress in learning] == [[]] * len(learning)
    spent = [progress.spent for progress in learning]
    assert spent == sorted(spent)
    moments = [0, 40, len(learning) - 1, len(learning), len(yielded) - 3]
    for moment in moments:
        path = tmp_path / "state.pt"
        torch.save(yielded[moment].snapshot, path)
        before = {
            name: [row for progress in yielded[: moment + 1] for row in getattr(progress, name)]
            for name in whole
        }
        snapshot = torch.load(path, weights_only=True)
        resumed, rest = tables(setup(start=start, shots=5), snapshot, before)
        assert len(rest) == len(yielded) - moment - 1
        for name, table in whole.items():
            pd.testing.assert_frame_equal(resumed[name], table, check_exact=True)


@pytest.mark.parametrize("keep_head", [True, False])
def test_stopped_before_any_step_it_ends_where_the_uninterrupted_run_ends(keep_head, tmp_path):
    """Of the source, of the task, and between the two."""
    rule = Backprop(Adam(learning_rate=0.01), gradient_noise=0.3, batch_size=500)
    of = setup(start=warm(epochs=2, method=rule, keep_head=keep_head), shots=2)
    whole, _ = tables(of)
    assert whole["runs"]["pretraining_steps"].tolist() == [7, 7]
    for allowed in count():
        asked = count()
        _, left = tables(of, stop=lambda asked=asked, allowed=allowed: next(asked) >= allowed)
        if left[-1].runs:
            break
        torch.save(left[-1].snapshot, tmp_path / "state.pt")
        before = {name: [row for one in left for row in getattr(one, name)] for name in whole}
        snapshot = torch.load(tmp_path / "state.pt", weights_only=True)
        resumed, _ = tables(of, snapshot, before)
        for name, table in whole.items():
            pd.testing.assert_frame_equal(resumed[name], table, check_exact=True)
    assert allowed > 7 + 10


@pytest.mark.parametrize(("size", "n_steps"), [(16, 110), (1000, 1), (9999, 1)])
def test_it_takes_as_many_whole_steps_as_the_epochs_pay_for(size, n_steps):
    """Of 1,764 printed digits; a larger batch is all of them."""
    start = warm(method=Backprop(SGD(learning_rate=0.1), batch_size=size))
    row = list(train(setup(start=start, shots=5)))[-1].runs[0]
    assert row["pretraining_steps"] == n_steps
    assert row["pretraining_forward"] == n_steps * min(size, 1764)


def test_what_it_costs_has_columns_of_its_own():
    of = setup(start=warm(epochs=2), shots=5)
    found, _ = tables(of)
    plain, _ = tables(setup(shots=5))
    n_steps = 2 * of.task.source("glyphs").at(SEEDS).size("train") // 16
    flops = of.network.forward_flops + of.network.backward_flops()
    for _, row in found["runs"].iterrows():
        assert row["pretraining_forward"] == row["pretraining_backward"] == 16 * n_steps
        assert row["pretraining_flops"] == 16 * n_steps * flops
        assert row["pretraining_steps"] == n_steps
        assert row["pretraining_epochs"] == 16 * n_steps / 50  # of the task, ten classes of five
    for name in ("epochs", "forward", "backward", "flops", "steps"):
        assert found["runs"][name].equals(plain["runs"][name])


def test_its_seconds_are_a_replicas_share_of_the_steps(monkeypatch):
    ticks = iter(range(10**6))
    monkeypatch.setattr(training, "perf_counter", lambda: float(next(ticks)))
    row = list(train(setup(start=warm(epochs=2), shots=5)))[-1].runs[0]
    assert row["pretraining_seconds"] == row["pretraining_steps"] / len(SEEDS)


def test_transfer_helps_with_few_shots():
    method = Backprop(Adam(learning_rate=0.003))
    scores = [
        np.mean(tables(setup(method, start, shots=3))[0]["runs"]["best_test_score"])
        for start in (None, warm(epochs=20, keep_head=True, method=method))
    ]
    assert scores[1] > scores[0]


def test_the_default_source_is_the_tasks_first():
    task = catalog.load("task", "image/digits")
    assert warm("default").on(task) == warm("glyphs")
    half = catalog.load("task", "image/digits", half="upper")
    assert warm("default").on(half) == warm("other_half")

    class Several(Digits):
        def related(self):
            return {"letters": glyphs, "glyphs": glyphs}

    assert warm("default").on(Several()) == warm("letters")


def test_a_task_without_a_source_is_unsupported():
    of = setup(start=warm("default"), task="regression/diabetes")
    with pytest.raises(
        UnsupportedError, match=r"^regression/diabetes has no source task to learn "
    ):
        list(train(of))
    assert {row["status"] for row in skip(of, "no source").runs} == {"skipped"}


@pytest.mark.parametrize("task", ["image/digits", "regression/diabetes"])
def test_a_source_that_the_task_has_not_is_refused(task):
    with pytest.raises(InputError, match=r"^start\.source must be one of default.*; got 'runes'$"):
        warm("runes").on(catalog.load("task", task))


@pytest.mark.parametrize("settings", [{"epochs": 5}, {"keep_head": True}])
def test_settings_of_a_source_without_one_are_refused(settings):
    with pytest.raises(InputError, match=r"^start\.source must be the name of a related task, or "):
        Start(method=Backprop(), **settings)


def test_epochs_that_do_not_pay_for_a_step_are_refused():
    of = setup(start=warm(method=Genetic(population_size=64)))
    with pytest.raises(UnsupportedError, match=r"^start\.epochs is too small: one step costs "):
        list(train(of))


def test_it_is_within_the_time_limit():
    *learning, last = train(setup(start=warm(epochs=500), time_limit=0.2))
    assert {progress.of for progress in learning[:-1]} == {"pre-training"}
    assert {row["status"] for row in last.runs} == {"failed"}
    assert {row["reason"] for row in last.runs} == {"time limit of 0.2 s"}
    assert 0 < last.runs[0]["pretraining_steps"] < 500 * 110
    assert last.runs[0]["steps"] == 0


def test_a_method_that_cannot_serve_is_refused_before_anything_is_learnt(monkeypatch):
    class Unable(Backprop):
        def init(self, problem, params, rng):
            raise UnsupportedError("no hands")

    monkeypatch.setattr(Pretraining, "advance", None)
    with pytest.raises(UnsupportedError, match=r"^no hands$"):
        list(islice(train(setup(Unable(), warm())), 1))
