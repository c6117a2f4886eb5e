"""Oracles: a run on a device that is pretended, beside the CPU's; torch's own refusals."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F

from beyond import api, catalog
from beyond.contracts import Method, Signal
from beyond.errors import InputError
from beyond.hardware import (
    CACHE_BYTES,
    DEVICE_BYTES,
    HOST,
    Hardware,
    moved,
    out_of_memory,
    present,
    within_memory,
)
from beyond.ledger import Ledger
from beyond.problem import Problem
from beyond.run import loop
from beyond.run.cell import prepare
from beyond.run.loop import train
from beyond.run.trained import Trained
from beyond.settings import RunSettings
from beyond.streams import Stream
from beyond.testing import methods, steps, tasks
from beyond.testing.checks import of
from beyond.testing.compare import copied, require_same_rows, saved
from beyond.testing.pretended import HARDWARE, pretended
from beyond.testing.trial import TABLES, Trial, run

FAULTS = [
    # tensors of two devices meet unseen
    ("beyond/testing/pretended.py", "    if strays:\n", "    if False:\n"),
    # a run on another device is not told from the CPU's
    ("beyond/run/arm.py", "[] if self.hardware == HOST else [self.hardware]", "[]"),
    ("beyond/run/cell.py", "    arm.hardware.require()\n", ""),
    ("beyond/run/cell.py", '{"device": present(settings["device"])}', "{}"),
    # what goes on from a saved state goes on where that was saved
    (
        "beyond/run/training.py",
        'moved(snapshot["state"], self.setup.hardware.place)',
        'snapshot["state"]',
    ),
    # what is kept can be read on that device alone
    ("beyond/run/selection.py", 'moved(self.kept, "cpu")', "self.kept"),
    # a tensor is made on the CPU whatever the weights are on
    ("methods/cma_es.py", "dtype=torch.float64, device=losses.device)", "dtype=torch.float64)"),
    (
        "beyond/network/vector_layers.py",
        "torch.arange(len(weight), device=x.device)",
        "torch.arange(len(weight))",
    ),
    (
        "beyond/streams.py",
        "row.normal_(generator=generator)\n        return draws.to(self.device, self.dtype)",
        "row.normal_(generator=generator)\n        return draws.to(self.dtype)",
    ),
    # a rule rounds to single precision
    (
        "methods/cma_es.py",
        'population.to(state["like"].dtype)',
        "population.float()",
    ),
    ("beyond/kits/variation.py", "        swap = swap.to(candidates.dtype)\n", ""),
    # the yardstick, the host and what is told of them
    (
        "beyond/hardware.py",
        'self if self.precision == "float64" else replace(self, precision="float32")',
        'replace(self, precision="float32")',
    ),
    ("beyond/hardware.py", 'device="cpu", draws="host")', 'device="cpu")'),
    ("beyond/hardware.py", "GB = 10**9", "GB = 1 << 30"),
    # a bound that is none, or at which nothing is evaluated
    ("beyond/hardware.py", "return min(usual, self.max_memory or usual)", "return usual"),
    ("beyond/hardware.py", "max(1, min(usual, self", "(min(usual, self"),
    ("beyond/hardware.py", "size > self.max_memory:", "size >= self.max_memory:"),
    ("beyond/hardware.py", "return getattr(torch, self.precision).itemsize", "return 4"),
    ("beyond/hardware.py", 'CACHE_BYTES if self.device == "cpu" else DEVICE_BYTES', "CACHE_BYTES"),
    ("beyond/hardware.py", "dtype if value.is_floating_point() else None", "dtype"),
    ("beyond/hardware.py", "    return compute(size // 2)\n", "    return compute(size)\n"),
    # half precision is kept, reaches what is in double, or the yardstick; or is not there
    ("beyond/hardware.py", "single(values) if self.precision", "values if self.precision"),
    ("beyond/hardware.py", " and values.dtype is torch.float32\n", "\n"),
    ("beyond/run/loop.py", "network.on(setup.hardware.exact)", "network"),
    (
        "beyond/network/layered.py",
        "self.unflatten(self.hardware.narrowed(params))",
        "self.unflatten(params)",
    ),
    (
        "beyond/problem.py",
        "hardware.widened(hardware.narrowed(a) @ hardware.narrowed(b))",
        "a @ b",
    ),
    ("beyond/hardware.py", "min(usual, self.max_memory // size)", "usual"),
    ("beyond/hardware.py", "if self.max_memory is not None and size >", "if False and size >"),
    ("beyond/run/training.py", "(self.state_bytes * seeds, what)", "(self.state_bytes, what)"),
    (
        "beyond/problem.py",
        "        network.require_room(inputs.shape[1] * len(params))\n",
        "",
    ),
    ("beyond/run/loop.py", "    if out_of_memory(error):\n", "    if False:\n"),
    ("tasks/linear_teacher.py", ".to(outputs.device)", ""),
    # what runs out of memory before the first step, or in the test, ends the study
    ("beyond/run/loop.py", "if run is None and not out_of_memory(error):", "if run is None:"),
    ("beyond/run/loop.py", "replace(setup, hardware=setup.hardware.on_host)", "setup"),
    (
        "beyond/run/loop.py",
        "            self.selection.fail(_failure(error))\n",
        "            raise\n",
    ),
    # what is kept stays where the saved state was read
    (
        "beyond/run/selection.py",
        'moved(snapshot["kept"], self._evaluation.network.hardware.place)',
        'snapshot["kept"]',
    ),
    # what a prediction costs is counted twice where memory ran out in between
    (
        "beyond/run/evaluation.py",
        "                problem.ledger.restore(Ledger())\n",
        "                pass\n",
    ),
    ("beyond/run/evaluation.py", "            problem.activity = {}\n", ""),
]

HALF = steps.HALF


@dataclass(frozen=True)
class Stray(Method):
    """A rule that makes a tensor without saying where."""

    signal = Signal.GRADIENT
    batch_size: int | None = None

    def init(self, problem, params, rng):
        return {"params": params}

    def step(self, state, batch, problem, rng):
        gradient = problem.gradient(state["params"], batch)
        return {"params": state["params"] - 0.1 * gradient + torch.zeros(gradient.shape[1])}

    def params(self, state):
        return state["params"]


@dataclass(frozen=True)
class Climbing(Stray):
    """A rule that goes up the loss: what it starts from stays the best."""

    def step(self, state, batch, problem, rng):
        return {"params": state["params"] + problem.gradient(state["params"], batch)}


@dataclass(frozen=True)
class Curious(Stray):
    """A rule that looks at a loss before it decides."""

    def step(self, state, batch, problem, rng):
        loss = problem.loss(state["params"], batch)
        if (loss > 100).any() or loss[0].item() > 100 or max(loss.tolist()) > 100:
            return state
        gradient = problem.gradient(state["params"], batch)
        return {"params": state["params"] - 0.1 * gradient}


@pytest.mark.parametrize("check", [methods.runs_elsewhere, steps.steps_elsewhere])
def test_a_tensor_left_on_the_cpu_is_found(check):
    more = ("mlp",) if check is steps.steps_elsewhere else ()
    with pytest.raises(AssertionError, match=r"aten\.add\.Tensor is given tensors of two devices"):
        of(check, Trial(Stray(), "stray"), *more)()


@pytest.mark.parametrize(
    "check", [steps.steps_elsewhere, steps.steps_in_double, steps.steps_in_bfloat16]
)
@pytest.mark.parametrize(
    ("name", "kind"), [("cma_es", "mlp"), ("genetic", "mlp"), ("backprop", "symbols")]
)
def test_a_step_elsewhere_ends_as_usual(name, kind, check):
    of(check, Trial(catalog.load("method", name), name), kind)()


def test_a_task_serves_and_scores_elsewhere_as_usual():
    of(tasks.works_elsewhere, catalog.load("task", "regression/linear_teacher"))()


def test_what_waits_for_the_device_is_counted():
    told = of(steps.steps_elsewhere, Trial(Curious(), "curious"), "mlp")()
    assert told == "two steps and a prediction wait 6 times for the device"


def test_tensors_elsewhere_are_refused_where_torch_refuses_them():
    with pretended():
        here, there = torch.ones(3), torch.ones(3, device=HARDWARE.place)
        assert there.device == HARDWARE.place
        assert (there * torch.tensor(2.0)).tolist() == [
            2,
            2,
            2,
        ]  # torch lets a number of the host in
        for mix in (
            lambda: here + there,
            lambda: torch.cat([here, there]),
            lambda: torch.stack([torch.tensor(1.0), there[0]]),
            lambda: there[torch.tensor([0, 2])],
        ):
            with pytest.raises(RuntimeError, match="two devices"):
                mix()
        with pytest.raises(TypeError, match="no array"):
            there.numpy()
        changed = there.add_(1)
        assert changed is there
        there[:2].zero_()
        assert there.cpu().tolist() == [0, 0, 2]
        assert type(there.cpu()) is torch.Tensor


def interrupted(setup):
    """Train until step 2; return the state as it is saved, and the rows until then."""
    rows = {table: [] for table in TABLES}
    for progress in train(setup):
        for table, listed in rows.items():
            listed += getattr(progress, table)
        if progress.curves[0]["steps"] == 2:
            return saved(moved(progress.snapshot, "cpu")), rows
    raise AssertionError("it ended before")


def test_a_run_goes_on_there_from_a_state_that_was_saved_here():
    trial = Trial(catalog.load("method", "genetic"), "genetic")
    setup = replace(trial.setup(seeds=(0, 1), steps=4), hardware=HARDWARE)
    with pretended():
        *_, last = train(setup)
        whole = run(setup)
        resumed = run(setup, *interrupted(setup))
    for table, expected in whole.items():
        require_same_rows(resumed[table], expected, table)
    weights = last.selected[1]["solution"]
    assert type(weights) is torch.Tensor
    assert weights.device.type == "cpu"


def test_what_was_kept_before_a_saved_state_is_tested_there():
    setup = replace(Trial(Climbing(), "climbing").setup(steps=4), hardware=HARDWARE)
    with pretended():
        whole = run(setup)
        resumed = run(setup, *interrupted(setup))
    assert 0 in set(whole["runs"]["best_checkpoint"])
    for table, expected in whole.items():
        require_same_rows(resumed[table], expected, table)


def test_a_device_that_is_not_there_is_refused_in_one_line(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("it is there")
    message = "device must be cpu here, got 'cuda': torch finds no CUDA device"
    with pytest.raises(InputError, match=f"^{message}$"):
        api.run("backprop", "image/digits", device="cuda", runs=str(tmp_path), progress=False)
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_one_arm_and_what_is_another_is_another(monkeypatch):
    def cell(**settings):
        settings = {"runs": "runs", "seeds": 2, **settings}
        run = api._run_settings(settings)
        task = catalog.load("task", "image/digits")
        return api._cell("backprop", task, None, None, api._budget(1, None), run)

    usual = cell()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cell(device="auto").arm.id == cell(device="cpu", draws="device").arm.id == usual.arm.id
    assert usual.arm.variant == "budget.epochs=1"
    assert present("auto") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    there = [cell(device="auto"), cell(device="cuda"), cell(device="cuda", draws="device")]
    assert len({one.arm.id for one in there} - {usual.arm.id}) == 1
    assert {one.arm.variant for one in there} == {"budget.epochs=1, device=cuda"}
    assert there[0].run.device == there[0].settings["device"] == "cuda"
    paired = cell(device="cuda", draws="host")
    assert paired.arm.variant == "budget.epochs=1, device=cuda, draws=host"
    assert paired.arm.id not in {usual.arm.id, there[0].arm.id}
    assert prepare(paired).hardware == Hardware("cuda", "host")
    again = type(paired).of(paired.settings, "backprop")
    assert again.arm.id == paired.arm.id
    typed = type(paired).of({**paired.settings, "device": "auto"}, "backprop")
    assert typed.settings["device"] == "cuda"


def test_by_default_a_run_is_on_the_cpu():
    run = RunSettings()
    assert Hardware.of(run.device, run.draws) == HOST


def test_the_same_elsewhere_and_more_exactly():
    there = Hardware("cuda", "device", "bfloat16")
    assert there.on_host == Hardware(precision="bfloat16")
    assert there.exact == Hardware("cuda", "device")
    assert Hardware(precision="float64").exact == Hardware(precision="float64")
    assert [Hardware.of("cuda", draws).draws for draws in (None, "host")] == ["device", "host"]


def test_what_is_other_than_by_default_is_told():
    assert Hardware.of("cpu", max_memory=0.5) == Hardware(max_memory=500_000_000)
    assert HOST.differing == []
    assert Hardware(max_memory=500_000_000).differing == ["max_memory=0.5"]
    assert Hardware("cuda", "host", "float64").differing == [
        *("device=cuda", "draws=host", "precision=float64")
    ]


def test_bytes_are_of_a_chunk_and_of_what_is_evaluated_at_once():
    chunks = {
        HOST: CACHE_BYTES,
        Hardware("cuda"): DEVICE_BYTES,
        Hardware(max_memory=1000): 1000,
        Hardware(max_memory=1 << 40): CACHE_BYTES,
    }
    assert {one: one.chunk_bytes for one in chunks} == chunks
    few = Hardware(max_memory=1000)
    assert [few.at_once(8, size) for size in (1, 200, 1000, 1001)] == [8, 5, 1, 1]
    assert HOST.at_once(8, 1 << 60) == 8
    few.require_room(1000, "weights")
    with pytest.raises(MemoryError, match="weights take 1e-06 GB, max_memory is 1e-06"):
        few.require_room(1001, "weights")
    sizes = {one: Hardware(precision=one).itemsize for one in ("float32", "float64", "bfloat16")}
    assert sizes == {"float32": 4, "float64": 8, "bfloat16": 2}


class Pair(NamedTuple):
    """Two that are moved."""

    first: torch.Tensor
    second: torch.Tensor


def test_what_is_moved_keeps_its_kind_and_its_whole_numbers():
    real, whole = torch.ones(2), torch.ones(2, dtype=torch.int64)
    value = {"pair": Pair(real, whole), "list": [real, (whole, 3)], "name": "x"}
    made = moved(value, "cpu", torch.float64)
    assert isinstance(made["pair"], Pair)
    assert [one.dtype for one in made["pair"]] == [torch.float64, torch.int64]
    assert made["list"][0].dtype is torch.float64
    assert made["list"][1][1:] == (3,)
    assert made["name"] == "x"
    state = Ledger(seconds=1.0)
    assert moved(state, "cpu") == state


def test_draws_on_the_device_are_made_there():
    with pretended():
        for draws in ("host", "device"):
            stream = Stream("step", [0, 1], replace(HARDWARE, draws=draws))
            found = [
                stream.normal(3),
                stream.uniform(2),
                stream.integers(9, 2),
                stream.permutation(4),
            ]
            assert {tensor.device for tensor in found} == {HARDWARE.place}
            here = Stream("step", [0, 1])
            expected = [here.normal(3), here.uniform(2), here.integers(9, 2), here.permutation(4)]
            for one, other in zip(copied(moved(found, "cpu")), expected, strict=True):
                assert torch.equal(one, other)


def out_of(memory):
    raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {memory} GiB")


def test_where_memory_runs_out_half_is_tried_once():
    tried = []

    def compute(size, most):
        tried.append(size)
        return size if size <= most else out_of(size)

    assert within_memory(8, lambda size: compute(size, 4)) == 4
    with pytest.raises(torch.OutOfMemoryError):
        within_memory(8, lambda size: compute(size, 3))
    assert tried == [8, 4, 8, 4]
    with pytest.raises(torch.OutOfMemoryError):
        within_memory(1, lambda size: compute(size, 0))
    with pytest.raises(ZeroDivisionError):
        within_memory(8, lambda size: size // 0)


def test_the_hosts_errors_are_known_as_torch_has_them():
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        torch.empty(1 << 60)
    assert out_of_memory(caught.value)
    assert not out_of_memory(RuntimeError("a shape is wrong"))


def test_a_population_and_an_evaluation_are_the_same_in_halves(monkeypatch):
    setup = Trial(catalog.load("method", "genetic"), "genetic").setup(steps=2)
    whole, outputs, sizes = run(setup), setup.network.outputs, []

    def limited(params, inputs):
        size = len(params) * inputs.shape[1]
        sizes.append(size)  # that of an evaluation comes first, then that of a population
        return (
            out_of(size)
            if size == max(sizes) and sizes.count(size) == 1
            else outputs(params, inputs)
        )

    monkeypatch.setattr(setup.network, "outputs", limited)
    halves = run(setup)
    assert set(halves["runs"]["status"]) == {"finished"}
    for table, rows in whole.items():
        require_same_rows(halves[table], rows, table, 1e-4, 1e-5)
    assert sizes[1] == sizes[0] // 2


def test_memory_that_is_not_there_is_a_row_with_a_reason():
    @dataclass(frozen=True)
    class Hungry(Stray):
        def step(self, state, batch, problem, rng):
            return out_of(2048)

    runs = run(Trial(Hungry(), "hungry").setup(steps=2))["runs"]
    assert set(runs["status"]) == {"failed"}
    assert runs["reason"].iloc[0].startswith("out of memory: fewer seeds in a run, smaller batches")
    assert runs["reason"].iloc[0].endswith("Tried to allocate 2048 GiB)")


def test_data_that_a_device_has_no_room_for_are_a_row_with_a_reason(monkeypatch):
    setup = Trial(catalog.load("method", "backprop"), "backprop").setup(steps=2)
    usual = run(setup)["runs"]

    def placed(thing, hardware):
        return thing if hardware == HOST else out_of(16)

    monkeypatch.setattr(loop, "placed", placed)
    rows = run(replace(setup, hardware=HARDWARE))["runs"]
    assert set(rows["status"]) == {"failed"}
    assert rows["reason"].iloc[0].endswith("Tried to allocate 16 GiB)")
    assert rows["seed"].tolist() == usual["seed"].tolist()
    assert rows.columns.tolist() == usual.columns.tolist()
    monkeypatch.setattr(loop, "placed", lambda *_: 1 // 0)  # a fault that is no method's
    with pytest.raises(ZeroDivisionError):
        run(setup)


def test_a_test_that_memory_is_too_small_for_is_a_row_with_a_reason():
    @dataclass(frozen=True)
    class Tiring(Climbing):
        def predict(self, state, problem, batch):
            return out_of(8) if problem.ledger else super().predict(state, problem, batch)

    tables = run(Trial(Tiring(), "tiring").setup(steps=2))
    assert set(tables["runs"]["status"]) == {"failed"}
    assert tables["runs"]["reason"].iloc[0].endswith("Tried to allocate 8 GiB)")
    assert tables["runs"]["best_validation_score"].notna().all()
    assert tables["runs"]["best_test_score"].isna().all()
    assert set(tables["curves"]["split"]) == {"train", "validation"}


def test_a_prediction_that_memory_ran_out_in_costs_what_it_costs(monkeypatch):
    rule = catalog.load("method", "spiking_surrogate")
    setup = Trial(rule, "spiking_surrogate").setup(steps=2)
    whole, predict, failed = run(setup), type(rule).predict, []

    def once(self, state, problem, batch):
        outputs = predict(self, state, problem, batch)
        if problem.ledger and not failed:
            failed.append(batch.inputs.shape[1])
            out_of(failed[0])
        return outputs

    monkeypatch.setattr(type(rule), "predict", once)
    again = run(setup)
    assert failed
    costs = [name for name in whole["runs"].columns if name.startswith("inference_")]
    assert (whole["runs"][costs] > 0).all(axis=None)
    require_same_rows(again["runs"][costs], whole["runs"][costs], "costs", 1e-6)


def test_max_memory_bounds_what_is_evaluated_at_once(monkeypatch):
    setup = Trial(catalog.load("method", "backprop"), "backprop").setup(steps=2)
    few = replace(setup, hardware=Hardware(max_memory=300 * setup.network.example_bytes))
    sizes, predict = [], type(setup.method).predict

    def watched(self, state, problem, batch):
        sizes.append(batch.inputs.shape[:2].numel())
        return predict(self, state, problem, batch)

    monkeypatch.setattr(type(setup.method), "predict", watched)
    bounded = run(few)
    assert max(sizes) == 300
    for table, rows in run(setup).items():
        require_same_rows(bounded[table], rows, table, 1e-4, 1e-5)
    assert max(sizes) > 300


@pytest.mark.parametrize(
    ("name", "most", "what"),
    [
        ("genetic", 1_000_000, "what the method holds for 10 replicas between steps would take"),
        ("backprop", 400_000, "the activations of 640 examples in one pass take"),
    ],
)
def test_what_cannot_be_cut_takes_no_more_than_max_memory_or_is_a_row(name, most, what):
    trial = Trial(catalog.load("method", name, batch_size=64), name)
    setup = replace(
        trial.setup(seeds=tuple(range(10)), steps=2), hardware=Hardware(max_memory=most)
    )
    rows = run(setup)["runs"]
    assert set(rows["status"]) == {"failed"}
    assert f"(MemoryError: {what}" in rows["reason"].iloc[0]
    assert rows["reason"].iloc[0].endswith(f" GB, max_memory is {most / 1e9:g})")
    problem = Problem(setup.network.on(Hardware(max_memory=1000)), setup.task.spec)
    params = setup.network.init(Stream("init", [0]))
    with pytest.raises(MemoryError, match="of 100 examples in one pass take"):
        problem.layers[0].forward(params, torch.zeros(1, 100, *setup.task.spec.input_shape))


def test_a_run_in_double_precision_is_the_same_run_without_its_rounding():
    setup = Trial(catalog.load("method", "backprop"), "backprop").setup(steps=20)
    single, double = (
        run(replace(setup, hardware=Hardware(precision=precision)))
        for precision in ("float32", "float64")
    )
    # a number has eight bytes there
    curves = double["curves"].assign(bytes_moved=double["curves"]["bytes_moved"] // 2)
    gap = require_same_rows(curves, single["curves"], "curves", 1e-5, 1e-6)
    assert gap > 0


def test_a_gradient_in_bfloat16_is_that_of_torchs_autocast():
    setup = Trial(catalog.load("method", "backprop"), "backprop").setup()
    params = setup.network.init(Stream("init", setup.seeds))
    batch = setup.task.at(setup.seeds).batch("train", torch.arange(32).expand(3, 32))
    gradients = []
    for hardware in (HOST, HALF):
        problem = Problem(setup.network.on(hardware), setup.task.spec)
        outputs, tape = problem.forward(params, batch.inputs)
        by_layers = problem.backward(tape, problem.error(outputs, batch.targets))
        by_torch = problem.gradient(params, batch)
        assert outputs.dtype == by_layers.dtype == by_torch.dtype == torch.float32
        assert (by_layers - by_torch).norm() < 0.05 * by_layers.norm()
        gradients.append(by_layers)
    weights = [part[0].requires_grad_() for part in params.split(setup.network._sizes, 1)]
    values, shapes = batch.inputs[0].flatten(1), [shape for *_, shape in setup.network._places]
    with torch.autocast("cpu", torch.bfloat16):
        for layer in range(0, len(shapes), 2):
            values = values.relu() if layer else values
            values = F.linear(values, weights[layer].view(shapes[layer]), weights[layer + 1])
    F.cross_entropy(values.float(), batch.targets[0]).backward()
    exact, narrow = (gradient[0] for gradient in gradients)
    cast = torch.cat([weight.grad for weight in weights])
    assert (narrow - cast).norm() < 1e-4 * exact.norm()
    assert 1e-3 < (narrow - exact).norm() / exact.norm() < 0.05


def test_products_of_a_rule_are_in_bfloat16_and_those_in_double_precision_are_left():
    network = Trial(Stray(), "stray").setup().network
    problem = Problem(network.on(HALF), catalog.load("task", "image/digits").spec)
    left, right = Stream("step", [0]).normal(40, 50), Stream("init", [0]).normal(50, 60)
    exact = left @ right
    product = problem.matmul(left, right)
    assert product.dtype == torch.float32
    assert 1e-4 < (product - exact).norm() / exact.norm() < 1e-2
    assert problem.matmul(left.double(), right.double()).equal(left.double() @ right.double())


def test_a_run_in_bfloat16_is_measured_in_single_precision():
    setup = Trial(Climbing(), "climbing").setup(steps=4)
    usual, narrow = (run(replace(setup, hardware=hardware)) for hardware in (HOST, HALF))
    require_same_rows(run(replace(setup, hardware=HALF))["curves"], narrow["curves"], "curves")
    assert not narrow["curves"]["value"].equals(usual["curves"]["value"])
    first = [
        tables["layers"].query("checkpoint == 0").drop(columns="dead_fraction")
        for tables in (usual, narrow)
    ]
    require_same_rows(first[1], first[0], "layers")
    cosines = narrow["layers"].query("checkpoint > 0 and depth > 0")["batch_cosine"]
    assert cosines.between(-0.9999999, -0.99).all()


def test_a_run_in_bfloat16_goes_on_from_a_saved_state():
    setup = Trial(catalog.load("method", "backprop"), "backprop").setup(steps=4)
    setup = replace(setup, hardware=HALF)
    whole, rows = run(setup), {table: [] for table in TABLES}
    for progress in train(setup):
        for table, listed in rows.items():
            listed += getattr(progress, table)
        if progress.curves[0]["steps"] == 2:
            break
    resumed = run(setup, saved(progress.snapshot), rows)
    for table, expected in whole.items():
        require_same_rows(resumed[table], expected, table)


def test_digits_are_learnt_in_bfloat16_as_well(tmp_path):
    scores = {}
    for precision in ("float32", "bfloat16"):
        study = api.run(
            "backprop", "image/digits", epochs=10, seeds=3, precision=precision, keep_weights=True,
            runs=str(tmp_path), progress=False,
        )  # fmt: skip
        scores[precision] = study.runs["best_test_score"].mean()
        (path,) = tmp_path.glob(f"adhoc/{study.runs['run_id'].iloc[0]}")
        assert {weight.dtype for weight in Trained.load(path).at(1).state_dict().values()} == {
            torch.float32
        }
    assert scores["float32"] > 0.85
    assert abs(scores["bfloat16"] - scores["float32"]) < 0.02


def test_weights_in_double_precision_predict_as_they_did(tmp_path):
    settings = {"seeds": 3, "precision": "float64", "max_memory": 0.5, "keep_weights": True}
    study = api.run(
        "backprop", "image/digits", epochs=1, runs=str(tmp_path), progress=False, **settings
    )
    path = tmp_path / "adhoc" / study.runs["run_id"].iloc[0]
    trained = Trained.load(path)
    assert trained.arm.variant == "budget.epochs=1, precision=float64, max_memory=0.5"
    assert trained.arm.hardware.max_memory == 500_000_000
    predictor = trained.at(1)
    assert {weight.dtype for weight in predictor.state_dict().values()} == {torch.float64}
    splits = trained.arm.task.at([1])
    test = splits.batch("test", torch.arange(splits.size("test")).unsqueeze(0))
    raw = trained.arm.task.examples().inputs[
        splits.ids("test", torch.arange(splits.size("test"))[None])[0]
    ]
    right = (torch.as_tensor(predictor.predict(raw)) == test.targets[0]).double().mean().item()
    assert right == study.runs.query("seed == 1")["best_test_score"].iloc[0]
