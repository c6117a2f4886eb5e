"""What a question costs, who may ask it, and what it answers."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from beyond import hardware, losses
from beyond.contracts import Batch, Signal, TargetKind
from beyond.ledger import Ledger, Work
from beyond.problem import Problem, seal
from beyond.streams import Stream

FAULTS = [
    # a method told the loss alone gets its derivative
    (
        "beyond/problem.py",
        "TOLD_DERIVATIVE = frozenset(Signal) - SEALED",
        "TOLD_DERIVATIVE = frozenset(Signal)",
    ),
    (
        "beyond/problem.py",
        "self.ledger.charge(**vars(work * self._n_lanes))",
        "self.ledger.charge(**vars(work))",
    ),
]

R, P, B = 3, 4, 5
QUESTIONS = {
    "outputs": lambda at: at.problem.outputs(at.params, at.batch.inputs),
    "outputs of a population": lambda at: at.problem.outputs(
        at.population.flatten(0, 1), at.batch.inputs
    ),
    "forward": lambda at: at.problem.forward(at.params, at.batch.inputs),
    "chain rule": lambda at: chain_rule(at),
    "chain rule for the last layer": lambda at: chain_rule(at, at.network.suffix(1)),
    "error": lambda at: at.problem.error(torch.zeros(R, B, 3), at.batch.targets),
    "gradient": lambda at: at.problem.gradient(at.params, at.batch),
    "directional derivative": lambda at: at.problem.directional_derivative(
        at.params, at.population, at.batch
    ),
    "example losses": lambda at: at.problem.example_losses(torch.zeros(R, B, 3), at.batch),
    "stages": lambda at: layerwise(at, at.problem.stages),
    "layers": lambda at: layerwise(at, at.problem.layers),
    "lanes": lambda at: lanes(at),
    "loss": lambda at: at.problem.loss(at.params, at.batch),
    "population loss": lambda at: at.problem.population_loss(at.population, at.batch),
    "reward": lambda at: at.problem.reward(torch.zeros(R, B, 2, dtype=torch.int64), at.batch),
}
PASSES = {  # examples a replica: forward, backward
    "outputs": (B, 0),
    "outputs of a population": (P * B, 0),
    "forward": (B, 0),
    "chain rule": (B, B),
    "chain rule for the last layer": (B, B),
    "error": (0, 0),
    "gradient": (B, B),
    "directional derivative": (B, P * B),
    "example losses": (0, 0),
    "stages": (B, B),
    "layers": (B, B),
    "lanes": (P * B, P * B),
    "loss": (B, 0),
    "population loss": (P * B, 0),
    "reward": (0, 0),
}
REFUSED = {
    "error": {Signal.LOSS, Signal.REWARD},
    "chain rule": {Signal.TARGETS},
    "chain rule for the last layer": {Signal.TARGETS},
    "directional derivative": {Signal.ERROR, Signal.TARGETS, Signal.LOSS, Signal.REWARD},
    "example losses": {Signal.REWARD},
    "gradient": {Signal.ERROR, Signal.TARGETS, Signal.LOSS, Signal.REWARD},
    "loss": {Signal.REWARD},
    "population loss": {Signal.REWARD},
    "reward": {Signal.LOSS},
}


def chain_rule(at, start=0):
    outputs, tape = at.problem.forward(at.params, at.batch.inputs)
    return at.problem.backward(
        tape, losses.error(at.problem.spec.target_kind, outputs, at.targets), start=start
    )


def layerwise(at, segments):
    """Forward and back, segment by segment; the gradient (R, n)."""
    x, tapes = at.batch.inputs, []
    for segment in segments:
        x, tape = segment.forward(at.params, x)
        tapes.append(tape)
    error = losses.error(at.problem.spec.target_kind, x, at.targets)
    gradients = []
    for segment, tape in zip(reversed(segments), reversed(tapes), strict=True):
        gradients.insert(0, segment.gradient(tape, error))
        if segment.start > 0:
            error = segment.carry(tape, error)
    return torch.cat(gradients, 1)


def lanes(at):
    """Forward and back with P networks a replica, each with its inputs."""
    problem, inputs = at.problem.lanes(P), at.batch.inputs.repeat_interleave(P, 0)
    outputs, tape = problem.forward(at.population.flatten(0, 1), inputs)
    if at.problem.signal is Signal.TARGETS:
        return None
    return problem.backward(tape, torch.ones_like(outputs))


@pytest.fixture
def ask(make_case):
    """Return a function that makes a problem to ask, and what to ask it with."""

    def make(
        name="mlp",
        signal=Signal.GRADIENT,
        target_kind=TargetKind.CLASSES,
        batch_size=B,
        n_candidates=P,
    ):
        case = make_case(name, batch_size=batch_size, target_kind=target_kind)
        steps = torch.linspace(0.5, 1.5, n_candidates).view(1, -1, 1)
        return SimpleNamespace(
            problem=Problem(case.network, case.spec, Ledger(), signal),
            network=case.network,
            params=case.params,
            population=case.params.unsqueeze(1) * steps,
            targets=case.targets,
            batch=seal(Batch(case.inputs, case.targets), signal),
        )

    return make


@pytest.mark.parametrize("name", ["mlp", "mlp on symbols"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_the_charge_is_the_passes_made_and_the_operations_torch_counts(question, name, ask):
    at = ask(name)
    with FlopCounterMode(display=False) as counter:
        QUESTIONS[question](at)
    ledger = at.problem.ledger
    assert (ledger.forward, ledger.backward) == pytest.approx(PASSES[question])
    assert ledger.flops * R == counter.get_total_flops()
    assert (ledger.steps, ledger.seconds) == (0, 0.0)
    assert ledger.rewards == (2 * B if question == "reward" else 0)


def test_without_a_ledger_nobody_is_charged(ask):
    at = ask()
    at.problem.ledger = None
    for question in QUESTIONS.values():
        question(at)


@pytest.mark.parametrize("signal", Signal)
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_answered_to_the_signals_it_is_for(question, signal, ask):
    at = ask(signal=signal)
    if signal in REFUSED.get(question, set()):
        with pytest.raises(
            PermissionError, match=f"^a method whose signal is {signal} may not ask for the [^\n]*$"
        ):
            QUESTIONS[question](at)
    else:
        QUESTIONS[question](at)


@pytest.mark.parametrize("signal", Signal)
def test_targets_are_sealed_for_methods_told_the_loss_or_the_reward(signal, ask):
    batch = ask(signal=signal).batch
    if signal not in (Signal.LOSS, Signal.REWARD):
        assert isinstance(batch.targets, torch.Tensor)
        return
    assert [name for name in dir(batch.targets) if not name.startswith("_")] == []
    readable = {f"__{name}__" for name in ("len", "iter", "getitem", "array", "eq")}
    assert not vars(type(batch.targets)).keys() & readable
    assert "sealed" in repr(batch.targets)
    assert not any(character.isdigit() for character in repr(batch.targets))


@pytest.mark.parametrize("target", TargetKind)
def test_sealed_or_not_the_answer_is_the_same(target, ask, close):
    sealed, open_ = ask(signal=Signal.LOSS, target_kind=target), ask(target_kind=target)
    close(
        sealed.problem.loss(sealed.params, sealed.batch),
        open_.problem.loss(open_.params, open_.batch),
        rtol=0,
    )


@pytest.mark.parametrize("target", TargetKind)
@pytest.mark.parametrize("name", ["mlp", "mlp with layer norm", "mlp on symbols", "deep", "cnn"])
def test_automatic_differentiation_is_the_chain_rule(name, target, ask, close):
    at = ask(name, target_kind=target)
    expected = chain_rule(at)
    # what is small among large numbers is rounded as they are
    rounding = max(1e-6, 1e-7 * float(expected.abs().max()))
    close(at.problem.gradient(at.params, at.batch), expected, atol=rounding)
    assert not at.params.requires_grad


def test_gradients_are_found_where_gradients_are_off(ask, close):
    at = ask()
    with torch.no_grad():
        close(at.problem.gradient(at.params, at.batch), chain_rule(at))


@pytest.mark.parametrize("target", TargetKind)
@pytest.mark.parametrize(
    ("n_candidates", "chunk"), [(1, 1), (1, 2), (7, 1), (7, 3), (7, 7), (7, 14), (5, 13), (4, 99)]
)
def test_population_loss_is_the_loop_over_candidates_whatever_the_chunk(
    n_candidates, chunk, target, ask, close, monkeypatch
):
    at = ask(target_kind=target, n_candidates=n_candidates)
    one = 8 * max(5, 4, 3) * B  # bytes a candidate: input and output of the widest layer
    monkeypatch.setattr(hardware, "CACHE_BYTES", one * chunk)
    assert at.network.chunk_size(B) == chunk
    with FlopCounterMode(display=False) as counter:
        together = at.problem.population_loss(at.population, at.batch)
    assert at.problem.ledger.flops * R == counter.get_total_flops()  # nobody is evaluated twice
    assert together.shape == (R, n_candidates)
    for replica in range(R):
        row = slice(replica, replica + 1)
        for candidate in range(n_candidates):
            outputs = at.network.outputs(at.population[row, candidate], at.batch.inputs[row])
            close(together[row, candidate], losses.loss(target, outputs, at.targets[row]))


def test_loss_is_the_mean_over_the_batch(ask, close):
    at = ask()
    outputs = at.network.outputs(at.params, at.batch.inputs)
    expected = [
        torch.nn.functional.cross_entropy(values, targets)
        for values, targets in zip(outputs, at.targets, strict=True)
    ]
    close(at.problem.loss(at.params, at.batch), torch.stack(expected))


def test_a_fresh_population_is_drawn_as_initial_weights_are(ask):
    at = ask()
    population = at.problem.fresh_population(Stream("init", range(R)), P)
    assert torch.equal(population.flatten(0, 1), at.network.init(Stream("init", range(R)), P))
    assert population.shape == (R, P, at.network.n_weights)


@pytest.mark.parametrize("cut", ["stages", "layers"])
@pytest.mark.parametrize(
    "name", ["linear", "mlp", "mlp with layer norm", "mlp on symbols", "deep", "cnn"]
)
def test_layer_by_layer_it_is_the_chain_rule(name, cut, ask, close):
    at = ask(name)
    segments = getattr(at.problem, cut)
    assert [segment.start for segment in segments[1:]] == [
        segment.stop for segment in segments[:-1]
    ]
    close(layerwise(at, segments), chain_rule(at))


def test_a_stage_is_a_layer_with_drawn_weights_and_what_follows_it(ask):
    names = [
        [type(layer).__name__ for layer in stage.layers]
        for stage in ask("mlp with layer norm").problem.stages
    ]
    assert names == [["Linear", "LayerNorm", "ReLU"], ["Linear", "LayerNorm", "ReLU"], ["Linear"]]
    names = [
        [type(layer).__name__ for layer in stage.layers]
        for stage in ask("mlp on images").problem.stages
    ]
    assert names == [["Flatten", "Linear", "Tanh"], ["Linear"]]


@pytest.mark.parametrize("target", TargetKind)
@pytest.mark.parametrize("name", ["mlp", "mlp with layer norm", "mlp on symbols", "cnn"])
def test_the_directional_derivative_is_the_product_with_the_gradient(name, target, ask, close):
    at = ask(name, target_kind=target)
    found = at.problem.directional_derivative(at.params, at.population, at.batch)
    close(found, (at.population * chain_rule(at).unsqueeze(1)).sum(-1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("target", TargetKind)
def test_losses_of_examples_average_to_the_loss(target, ask, close):
    at = ask(target_kind=target)
    outputs = at.problem.outputs(at.params, at.batch.inputs)
    close(
        at.problem.example_losses(outputs, at.batch).mean(1), at.problem.loss(at.params, at.batch)
    )


def test_own_products_and_counts_are_added_up(ask):
    at = ask()
    at.problem.charge(Work(7, 4))
    at.problem.lanes(3).charge(Work(2, 1))
    assert at.problem.ledger == Ledger(flops=13, bytes_moved=7)
    for _ in range(2):
        at.problem.count(spikes=torch.tensor([1.0, 2.0, 3.0]))
    assert at.problem.activity["spikes"].tolist() == [2.0, 4.0, 6.0]
