"""Rules, tasks and networks that break a promise: the check says which, in one line."""

import logging
import subprocess
import sys
from functools import partial
from typing import ClassVar

import numpy as np
import pytest
import torch

from beyond.architectures.mlp import MLP
from beyond.contracts import Signal, TargetKind, TaskSpec
from beyond.data.arrays import ArrayTask, Examples
from beyond.errors import UnsupportedError
from beyond.kits.descent import Descent
from beyond.network.activation_layers import ReLU
from beyond.network.parts import Layered
from beyond.network.vector_layers import Linear
from beyond.settings import settings
from beyond.testing import check_method, check_network, check_task, methods, networks, steps
from beyond.testing.checks import Check, of
from beyond.testing.command import told
from beyond.testing.trial import Trial

FAULTS = [
    # a rule that goes uphill is a gradient too
    (
        "beyond/testing/steps.py",
        "along > 0 and off <= allowed",
        "off <= allowed",
    ),
    # what differs between two states is not noticed
    (
        "beyond/testing/compare.py",
        "rtol, atol, equal_nan=True):\n        return",
        "1, 1, equal_nan=True):\n        return",
    ),
    # anyone may unseal targets
    ("beyond/testing/methods.py", "asking == Problem.__module__", "True"),
    # a rule may do nothing for nothing, for ever
    ("beyond/testing/steps.py", "spent > 0 or rule.done(first)", "True"),
    # a layer that never changes is not noticed
    ("beyond/testing/steps.py", "require(not lost,", "require(True,"),
    # who fails is told of, and the exit status says nothing
    ("beyond/testing/command.py", "            failed += 1\n", ""),
]


@pytest.fixture(autouse=True)
def silent():
    """A run that fails logs its traceback."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class Rule(Descent):
    signal: ClassVar[Signal] = Signal.GRADIENT
    UNBIASED: ClassVar[bool] = True

    def direction(self, state, batch, problem, rng):
        return problem.gradient(state["params"], batch, rng)


@settings
class Good(Rule):
    pass


@settings
class Uphill(Rule):
    def direction(self, state, batch, problem, rng):
        return -super().direction(state, batch, problem, rng)


@settings
class Lame(Rule):
    def direction(self, state, batch, problem, rng):
        found = super().direction(state, batch, problem, rng)
        half = problem.blocks[0].stop
        return torch.cat([0.5 * found[:, :half], found[:, half:]], 1)


@settings
class Noisy(Rule):
    def direction(self, state, batch, problem, rng):
        found = super().direction(state, batch, problem, rng)
        return found.roll(1, 1) + 0.1 * rng.normal(found.shape[1])


@settings
class Free(Rule):
    def direction(self, state, batch, problem, rng):
        return rng.normal(problem.n_weights)


@settings
class Global(Rule):
    def direction(self, state, batch, problem, rng):
        found = super().direction(state, batch, problem, rng)
        return found + torch.randn_like(found)


@settings
class Clocked(Rule):
    def direction(self, state, batch, problem, rng):
        found = super().direction(state, batch, problem, rng)
        return found + torch.from_numpy(np.random.default_rng().normal(size=found.shape)).float()


@settings
class InPlace(Rule):
    def step(self, state, batch, problem, rng):
        state["params"].sub_(self.direction(state, batch, problem, rng))
        return dict(state)


@settings
class Mixing(Rule):
    def direction(self, state, batch, problem, rng):
        found = super().direction(state, batch, problem, rng)
        return found - found.mean(0)


@settings
class Remembering(Rule):
    seen: ClassVar[list] = []

    def direction(self, state, batch, problem, rng):
        self.seen.append(1)
        return len(self.seen) * super().direction(state, batch, problem, rng)


@settings
class Unpaid(Rule):
    def direction(self, state, batch, problem, rng):
        found = super().direction(state, batch, problem, rng)
        product = torch.einsum("rn,rm->rnm", found, found)
        return torch.matmul(product, found.unsqueeze(2)).squeeze(2)


@settings
class Frozen(Rule):
    def direction(self, state, batch, problem, rng):
        found = super().direction(state, batch, problem, rng).clone()
        found[:, problem.blocks[1].start :] = 0
        return found


@settings
class Modest(Rule):
    def left_alone(self, problem):
        return ["linear_1"]


@settings
class Wordy(Rule):
    def require(self, problem):
        raise UnsupportedError("no\nand no again")


@settings
class Unsaved(Rule):
    def remembered(self, problem, params, rng):
        return {"rule": lambda: None}


@settings
class Growing(Rule):
    def step(self, state, batch, problem, rng):
        state = super().step(state, batch, problem, rng)
        return {**state, "params": state["params"].double()}


@settings
class Peeping(Rule):
    signal: ClassVar[Signal] = Signal.LOSS

    def direction(self, state, batch, problem, rng):
        problem.loss(state["params"], batch)
        return batch.targets._targets.float().mean() + rng.normal(problem.n_weights)


@settings
class Raising(Rule):
    def direction(self, state, batch, problem, rng):
        raise ValueError("no\nidea")


@settings
class Idle(Rule):
    PREDICTION: ClassVar[tuple[str, ...]] = ("n_trials",)

    n_trials: int = 1


@settings
class Told(Rule):
    signal: ClassVar[str] = "gradient"


TRAINS = partial(steps.trains_what_it_says, kind="mlp")
FOLLOWS = partial(steps.follows_the_gradient, kind="mlp")
BROKEN = {
    Uphill: (FOLLOWS, "cosine -1.0000; off by"),
    Lame: (FOLLOWS, "cosine 0.9"),
    Noisy: (FOLLOWS, "of the mean of 4,096 draws; off by"),
    Free: (TRAINS, "a step costs nothing, so that it would never end"),
    Global: (methods.repeats_itself, "it draws from a global generator, not from rng"),
    Clocked: (methods.repeats_itself, "curves: "),
    InPlace: (TRAINS, "the state that a step was given['params'] differs by up to "),
    Mixing: (methods.equals_the_seed_alone, "curves: "),
    Remembering: (TRAINS, "a step from a saved state['params'] differs by up to "),
    Unpaid: (TRAINS, " FLOPs, torch counts "),
    Frozen: (TRAINS, "never changed, and not named by left_alone: linear_2, linear_3"),
    Modest: (TRAINS, "changed, and named by left_alone: linear_1"),
    Wordy: (TRAINS, "must be one line: 'no\\nand no again'"),
    Unsaved: (methods.goes_on_from_anywhere, "Can't "),
    Growing: (TRAINS, ", torch.float64, not "),
    Peeping: (methods.respects_sealed_targets, "reads the targets, which are sealed"),
    Raising: (TRAINS, "ValueError: no"),
    Idle: (
        partial(methods.tests_other_predictions, setting="n_trials"),
        "a prediction does not use n_trials",
    ),
    Told: (methods.is_immutable_with_a_signal, "signal must be one of gradient, error"),
}


@pytest.mark.parametrize("rule", BROKEN, ids=lambda rule: rule.__name__)
def test_a_rule_that_breaks_a_promise_is_told_so_in_one_line(rule):
    check, message = BROKEN[rule]
    with pytest.raises(AssertionError, match=r"^[^\n]+$") as caught:
        Check("", lambda: check(Trial(rule(), "rule")))()
    assert message in str(caught.value)


@pytest.mark.once
def test_what_an_import_draws_is_not_laid_to_the_rule():
    """In a fresh interpreter, as where it is the first test of a user's file."""
    trial = "Trial(catalog.load('method', 'backprop'), 'backprop')"
    code = f"from beyond import catalog\nfrom beyond.testing.methods import repeats_itself\nfrom beyond.testing.trial import Trial\nrepeats_itself({trial})"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_rule_that_keeps_them_passes():
    for check, _ in BROKEN.values():
        if check is not BROKEN[Idle][0]:
            of(
                getattr(check, "func", check),
                *[Trial(Good(), "good"), *getattr(check, "keywords", {}).values()],
            )()


@pytest.mark.parametrize(
    "text", ["a @ b", "torch.einsum('i,i', a, a)", "problem.charge(3)", "problem._network"]
)
def test_products_and_private_parts_are_found_in_the_file(text):
    with pytest.raises(AssertionError, match=r"^x\.py, line 12: "):
        methods.goes_through_the_door(f"\n{text}\n", "x.py", 10)


def test_the_first_that_fails_is_raised():
    with pytest.raises(
        AssertionError, match=r"^mlp: its direction is the gradient by finite dif[^\n]+$"
    ):
        check_method(Uphill())


@settings(kw_only=True)
class Points(ArrayTask):
    levels: tuple[float, ...] = (0.6, 0.8, 0.9)
    repeats: bool = True

    @property
    def spec(self):
        return TaskSpec(
            "points", (2,), 2, TargetKind.CLASSES, MLP((4,)), "accuracy_score", self.levels
        )

    def examples(self):
        rng = np.random.default_rng(0 if self.repeats else None)
        x = rng.normal(size=(200, 2))
        return Examples(x, (x[:, 0] > 0).astype(np.int64))


@settings(kw_only=True)
class Labelled(Points):
    """Classes from 1."""

    def examples(self):
        raw = super().examples()
        return Examples(raw.inputs, raw.targets + 1)


@settings(kw_only=True)
class Backwards(Points):
    def score(self, outputs, targets):
        return {"accuracy_score": -super().score(outputs, targets)["accuracy_score"]}


def test_a_task_that_keeps_its_promises_passes():
    check_task(Points())


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (Labelled(), "targets of points must be integers in [0, 2), got 2 in row "),
        (Points(levels=(0.9, 0.8, 0.7)), "levels must rise, got (0.9, 0.8, 0.7)"),
        (Points(levels=(0.1, 0.8, 0.9)), ", the easiest level is 0.1"),
        (Points(repeats=False), "with the same settings: another checksum"),
        (Backwards(), "accuracy_score is -1 for the right answer"),
    ],
)
def test_a_task_that_breaks_one_is_told_so(task, message):
    with pytest.raises(AssertionError, match=r"^[^\n]+$") as caught:
        check_task(task)
    assert message in str(caught.value)


class Wrong(Linear):
    """Carries half of the error."""

    def backward(self, *arguments, **named):
        found = super().backward(*arguments, **named)
        return (0.5 * found[0], *found[1:]) if isinstance(found, tuple) else found


@settings
class Net(Layered):
    layer: ClassVar[type[Linear]] = Linear
    initialisation: str = "he"
    init_std: float = 0.1

    @property
    def name(self):
        return "net"

    def stack(self, spec):
        return [Linear(5), ReLU(), self.layer(spec.n_outputs)]


@settings
class Costly(Net):
    def build(self, spec):
        network = super().build(spec)
        network.forward_flops = 7
        return network


@settings
class Fixed(Net):
    def build(self, spec):
        network = super().build(spec)
        draw = network.init
        network.init = lambda rng, n_copies=1: draw(rng, n_copies)[:1].expand(3 * n_copies, -1)
        return network


@settings
class Shaken(Net):
    def build(self, spec):
        network = super().build(spec)
        draw = network.init
        network.init = lambda rng, n_copies=1: draw(rng, n_copies) + torch.randn(network.n_weights)
        return network


@pytest.mark.parametrize(
    ("network", "check", "message"),
    [
        (Costly(), networks.counts_its_operations, "forward_flops is 7, torch counts "),
        (Fixed(), networks.draws_from_the_stream, "drawn alone, weights"),
        (Shaken(), networks.draws_from_the_stream, "it draws from a global generator"),
    ],
)
def test_a_network_that_breaks_a_promise_is_told_so(network, check, message):
    with pytest.raises(AssertionError, match=message):
        of(check, networks.Recipe(network), "features")()


def test_the_first_of_a_network_is_raised():
    with pytest.raises(AssertionError, match=r"^features: "):
        check_network(Fixed())


def test_the_command_counts_and_says_what_fails(capsys):
    def refused():
        raise UnsupportedError("why")

    def failing():
        raise AssertionError("how")

    checks = [
        Check("a", lambda: "0.5"),
        Check("b", lambda: ""),
        Check("c", refused),
        Check("d", failing),
    ]
    assert told("method x", checks) == 1
    assert capsys.readouterr().out.splitlines()[:4] == [
        "holds    a: 0.5",
        "holds    b",
        "refused  c: why",
        "FAILS    d: how",
    ]
