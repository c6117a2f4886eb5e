"""Rules on a network with batch normalisation, against plain torch on the same batches."""

from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from torch import nn

from beyond.catalog import load
from beyond.contracts import Batch, Method, Signal
from beyond.errors import UnsupportedError
from beyond.ledger import Budget, Ledger
from beyond.network.wrapped import ModuleNetwork
from beyond.problem import Problem
from beyond.run.buffered import Buffered, buffered, with_buffers
from beyond.run.loop import train
from beyond.run.probe import Probe
from beyond.run.setup import Setup
from beyond.run.start import Start
from beyond.run.trained import Predictor, kept
from beyond.streams import Stream

FAULTS = [
    # replicas have the statistics of the first; a lane has those of another replica
    ("beyond/problem.py", "values[rows] for name", "values[:1] for name"),
    ("beyond/problem.py", "values.repeat_interleave(n_lanes, 0)", "values.repeat(n_lanes, 1)"),
    # a pass in training changes nothing, and each step pays for one more
    ("beyond/problem.py", "        if tape.buffers:\n", "        if False:\n"),
    # candidates change the statistics too; a pass that is not in training does
    ("beyond/network/wrapped.py", "rows == {len(params)}", "bool(rows)"),
    ("beyond/network/wrapped.py", "changed = rng is not None and", "changed ="),
    # the batch normalises where running statistics should
    ("beyond/network/wrapped.py", "self.template.train(training)", "self.template.train()"),
    # what one example alone fails in
    ("beyond/network/wrapped.py", "self.fewest = len(x)", "pass"),
    # a prediction without the statistics; a step that leaves them; at the weights that it ends with
    (
        "beyond/run/buffered.py",
        'problem.holding(state["buffers"]), batch)',
        "problem, batch)",
    ),
    (
        "beyond/run/buffered.py",
        "            door.forward(self.params(state), batch.inputs, rng)\n",
        "            pass\n",
    ),
    (
        "beyond/run/buffered.py",
        "door.forward(self.params(state)",
        "door.forward(self.rule.params(rule)",
    ),
    # what is kept is the network before training
    (
        "beyond/network/wrapped.py",
        "            module.get_buffer(name).copy_(values[0])\n",
        "            pass\n",
    ),
    # what else the rule says of itself is not heard
    ("beyond/run/buffered.py", 'return self.rule.carriers(state["rule"], problem)', "return None"),
    ("beyond/run/buffered.py", 'return self.rule.done(state["rule"])', "return False"),
    ("beyond/run/buffered.py", "return self.rule.left_alone(problem)", "return ()"),
    ("beyond/run/buffered.py", "self.batch_size = rule.batch_size", "self.batch_size = 32"),
    ("beyond/run/buffered.py", "for name, other in setup.also.items()}", "for name, other in ()}"),
    # what was learnt first is lost; the probe's network has not been trained
    ("beyond/run/pretraining.py", "buffers = buffers_of(training.state, network)", "buffers = {}"),
    ("beyond/run/probe.py", "problem = self.problem.holding(held)", "problem = self.problem"),
]
SEEDS = [0, 1, 2]


def normalised(momentum=0.1):
    # a bias would have no gradient but rounding errors, which Adam makes as large as any other
    return nn.Sequential(
        nn.Linear(6, 5, bias=False),
        nn.BatchNorm1d(5, momentum=momentum),
        nn.Tanh(),
        nn.Linear(5, 3),
    )


def convolutional():
    return nn.Sequential(
        nn.Unflatten(1, (1, 6)),
        nn.Conv1d(1, 3, 3, bias=False),
        nn.BatchNorm1d(3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12, 3),
    )


@pytest.fixture
def spec(make_spec):
    return make_spec()


def noise(seeds=SEEDS, n_examples=8):
    rng = Stream("noise", seeds)
    return Batch(rng.normal(n_examples, 6) * 2 + 1, rng.integers(3, n_examples))


def started(rule, factory, spec, seeds=SEEDS):
    """A rule with the buffers of a network, its problem and its first state."""
    network = ModuleNetwork(factory, spec)
    problem = Problem(network, spec, Ledger(), rule.signal)
    kept, rng = Buffered(rule), Stream("step", seeds)
    return kept, problem, kept.init(problem, network.init(Stream("init", seeds)), rng), rng


def plain(factory, weights):
    module = factory().train()
    nn.utils.vector_to_parameters(weights.clone(), module.parameters())
    return module


@pytest.mark.parametrize("factory", [normalised, lambda: normalised(None), convolutional])
@pytest.mark.parametrize(
    ("optimizer", "reference"),
    [
        ("sgd", lambda weights: torch.optim.SGD(weights, 0.1)),
        ("adam", lambda weights: torch.optim.Adam(weights, 0.1)),
    ],
)
def test_training_is_torchs_weights_statistics_and_outputs(
    factory, optimizer, reference, spec, close
):
    rule = replace(
        load("method", "backprop"), optimizer=load("optimizer", optimizer, learning_rate=0.1)
    )
    kept, problem, state, rng = started(rule, factory, spec)
    modules = [plain(factory, weights) for weights in kept.params(state)]
    steps = [reference(module.parameters()) for module in modules]
    stream = Stream("batches", SEEDS)
    for _ in range(7):
        batch = Batch(stream.normal(8, 6) * 2 + 1, stream.integers(3, 8))
        state = kept.step(state, batch, problem, rng)
        for row, (module, optimizer_step) in enumerate(zip(modules, steps, strict=True)):
            optimizer_step.zero_grad()
            nn.functional.cross_entropy(module(batch.inputs[row]), batch.targets[row]).backward()
            optimizer_step.step()
    outputs = kept.predict(state, problem, batch)
    for row, module in enumerate(modules):
        weights = nn.utils.parameters_to_vector(module.parameters())
        close(kept.params(state)[row], weights, rtol=1e-4, atol=1e-5)
        buffers = dict(module.named_buffers())
        assert buffers.keys() == state["buffers"].keys()
        for name, values in buffers.items():
            assert state["buffers"][name].dtype == values.dtype
            close(state["buffers"][name][row], values, rtol=1e-4, atol=1e-5)
        close(outputs[row], module.eval()(batch.inputs[row]), rtol=1e-4, atol=1e-4)
    assert problem.ledger.backward == 7 * 8
    assert problem.ledger.forward == (7 + 1) * 8  # the last is the prediction's


@pytest.mark.parametrize("name", ["weight_perturbation", "evolution_strategy", "genetic"])
def test_a_rule_that_tries_candidates_pays_for_one_pass_where_the_step_began(name, spec, close):
    rule, batch = load("method", name), noise()
    kept, problem, state, rng = started(rule, normalised, spec)
    bare = Problem(problem._network, spec, Ledger(), rule.signal).holding(state["buffers"])
    rule.step(state["rule"], batch, bare, Stream("step", SEEDS))
    after = kept.step(state, batch, problem, rng)
    assert bare.buffers is state["buffers"]
    assert problem.ledger.forward == bare.ledger.forward + 8
    for row, weights in enumerate(kept.params(state)):
        module = plain(normalised, weights)
        module(batch.inputs[row])
        for buffer, values in module.named_buffers():
            close(after["buffers"][buffer][row], values)


def test_candidates_have_the_statistics_of_their_replica(spec, close, monkeypatch):
    monkeypatch.setattr(ModuleNetwork, "chunk_size", lambda *_: 2)  # a replica's candidates
    kept, problem, state, rng = started(load("method", "backprop"), normalised, spec)
    batch = noise()
    for _ in range(3):
        state = kept.step(state, batch, problem, rng)
    door = problem.holding(state["buffers"])
    population = kept.params(state).unsqueeze(1) * torch.tensor([1.0, 0.5]).view(1, 2, 1)
    losses = door.population_loss(population, batch)
    lanes = door.lanes(2)
    outputs = lanes.outputs(population.flatten(0, 1), batch.inputs.repeat_interleave(2, 0))
    for row in range(len(SEEDS)):
        for column in range(2):
            module = plain(normalised, population[row, column]).eval()
            for name, values in module.named_buffers():
                values.copy_(state["buffers"][name][row])
            found = module(batch.inputs[row])
            close(outputs[2 * row + column], found, rtol=1e-4, atol=1e-5)
            close(losses[row, column], nn.functional.cross_entropy(found, batch.targets[row]))


def test_only_a_pass_in_training_with_a_replicas_weights_changes_its_statistics(spec):
    kept, problem, state, rng = started(load("method", "backprop"), normalised, spec)
    door, batch, params = problem.holding(state["buffers"]), noise(), kept.params(state)
    door.outputs(params, batch.inputs)
    door.forward(params, batch.inputs)
    door.forward(params.repeat_interleave(2, 0), batch.inputs, rng)
    door.lanes(1).forward(params, batch.inputs, rng)
    assert door.buffers is state["buffers"]
    door.forward(params, batch.inputs, rng)
    assert (door.buffers["1.running_var"] != state["buffers"]["1.running_var"]).all()
    assert not problem.buffers


def test_a_replica_is_the_seed_alone(spec, close):
    rule, batch = load("method", "backprop"), noise()
    kept, problem, state, rng = started(rule, normalised, spec)
    _, _, alone, rng_alone = started(rule, normalised, spec, [1])
    stacked = kept.step(state, batch, problem, rng)
    row = Batch(batch.inputs[1:2], batch.targets[1:2])
    single = kept.step(alone, row, problem, rng_alone)
    for name, values in single["buffers"].items():
        close(stacked["buffers"][name][1:2], values)


def test_a_batch_that_cannot_be_normalised_is_refused(spec):
    network = ModuleNetwork(normalised, spec)
    assert network.fewest == 2
    assert ModuleNetwork(lambda: nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3)), spec).fewest == 1
    for name in ("backprop", "weight_perturbation"):  # which makes no pass in training
        rule = load("method", name, batch_size=1)
        problem, rng = Problem(network, spec, Ledger(), rule.signal), Stream("step", SEEDS)
        weights = network.init(Stream("init", SEEDS))
        with pytest.raises(
            UnsupportedError, match=r"fewer than 2 examples at .*: method\.batch_size is 1$"
        ):
            buffered(rule, network).init(problem, weights, rng)


def test_with_dropout_the_statistics_are_those_of_the_pass_that_learnt(spec, close):
    def dropping():
        return nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(6), nn.Linear(6, 3))

    kept, problem, state, rng = started(load("method", "reinforce"), dropping, spec)
    batch = noise()
    after = kept.step(state, batch, problem, rng)
    drawn = problem.holding(state["buffers"])
    drawn.forward(kept.params(state), batch.inputs, Stream("step", SEEDS))
    for name, values in after["buffers"].items():
        close(values, drawn.buffers[name])


class Outspoken(Method[list]):
    """A rule that says other than the usual of all that may be asked."""

    signal, batch_size = Signal.TARGETS, 7

    def init(self, problem, params, rng):
        return [params]

    def step(self, state, batch, problem, rng):
        return state

    def params(self, state):
        return state[0]

    def carriers(self, state, problem):
        return {1: state[0]}

    def left_alone(self, problem):
        return [block.name for block in problem.blocks]

    def done(self, state):
        return len(state) == 1


def test_what_a_rule_says_of_itself_is_heard(spec, setup):
    rule = Outspoken()
    kept, problem, state, _ = started(rule, normalised, spec)
    params = state["rule"][0]
    assert (kept.signal, kept.batch_size) == (Signal.TARGETS, 7)
    assert kept.params(state) is kept.carriers(state, problem)[1] is params
    assert kept.left_alone(problem) == ["0", "1", "3"]
    assert kept.done(state)
    also = with_buffers(replace(setup, also={"other": rule})).also
    assert isinstance(also["other"], Buffered)
    assert also["other"].rule is rule


def on_images():
    hidden = nn.Linear(64, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU()
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(8, 10))


@pytest.fixture
def setup():
    """Few steps of backpropagation on few images."""
    task = load("task", "image/digits", train_size=100)
    network = ModuleNetwork(on_images, task.spec)
    return Setup(load("method", "backprop"), task, network, SEEDS, Budget("steps", 12.0))


def rows(of, snapshot=None):
    """Tables of a run, without times, and its snapshots."""
    yielded = list(train(of, snapshot))
    tables = {
        name: pd.DataFrame([row for one in yielded for row in getattr(one, name)]).filter(
            regex="^(?!.*second)"
        )
        for name in ("curves", "layers", "runs")
    }
    return tables, [one.snapshot for one in yielded if one.snapshot]


def test_a_run_goes_on_with_its_statistics(setup, tmp_path):
    whole, snapshots = rows(setup)
    torch.save(snapshots[len(snapshots) // 2], tmp_path / "state.pt")
    resumed, _ = rows(setup, torch.load(tmp_path / "state.pt", weights_only=True))
    kept = whole["curves"].tail(len(resumed["curves"])).reset_index(drop=True)
    pd.testing.assert_frame_equal(resumed["curves"], kept, check_exact=True)


def test_weights_that_are_kept_have_their_statistics(setup, close):
    *_, last = train(setup)
    network, state = setup.network, last.selected[1]
    module = plain(on_images, Buffered(setup.method).params(state)[0]).eval()
    module.load_state_dict(kept(setup.method, network, last.selected)[1]["weights"])
    images = torch.rand(5, 1, 8, 8)
    predictor = Predictor(
        setup.method,
        SimpleNamespace(build=lambda _: network),
        setup.task.spec,
        setup.task.at([1]),
        state,
    )
    outputs = predictor.outputs(images)
    prepared = setup.task.at([1]).prepared(images)[0]
    close(outputs, module(prepared), rtol=1e-4, atol=1e-5)
    close(outputs, predictor.module()(prepared), rtol=1e-4, atol=1e-5)
    assert not torch.equal(module[2].running_mean, torch.zeros(8))


def test_the_probe_measures_the_network_that_predicts(setup):
    tables, snapshots = rows(setup)
    state, of_network = snapshots[-1]["state"], tables["layers"].query("depth == 0")
    recorded = of_network[of_network["checkpoint"] == of_network["checkpoint"].max()]
    params, buffers = state["rule"]["params"], state["buffers"]
    probe = Probe(setup.task.at(SEEDS), setup.task.spec, setup.network, SEEDS)
    for row, weights in enumerate(params):
        module = plain(on_images, weights).eval()
        for name, values in module.named_buffers():
            values.copy_(buffers[name][row])
        inputs, targets = probe.batch.inputs[row], probe.batch.targets[row]
        nn.functional.cross_entropy(module(inputs), targets).backward()
        gradient = torch.cat([weight.grad.flatten() for weight in module.parameters()])
        assert recorded["gradient_norm"].iloc[row] == pytest.approx(gradient.norm().item(), 1e-4)


def test_what_is_learnt_first_hands_on_its_statistics(setup):
    start = Start(source="glyphs", epochs=1, keep_head=True, method=setup.method)
    warm = replace(setup, start=start.on(setup.task))
    first = next(one for one in rows(warm)[1] if one["pretraining"]["done"])
    n_steps = first["pretraining"]["ledger"]["steps"]
    assert n_steps > 0
    assert first["state"]["buffers"]["2.num_batches_tracked"].tolist() == [n_steps] * len(SEEDS)
