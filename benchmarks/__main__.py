"""`make bench`: evaluating a population, a generation, a step, replicas, start-up; beside peers."""

import argparse
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median

import torch
from torch import Tensor

from benchmarks import peers
from benchmarks.timing import Competitors, report
from beyond import catalog
from beyond.contracts import Batch, Method, Signal
from beyond.data.sampler import Sampler
from beyond.ledger import Budget
from beyond.problem import Problem, seal
from beyond.run.loop import train
from beyond.run.setup import Setup
from beyond.streams import Stream

BIN = Path(sys.executable).parent


def add(competitors: Competitors, name: str, make: Callable[[], Callable[[], object]]) -> None:
    """Add a peer, unless its library is not installed."""
    try:
        competitors[name] = make()
    except ImportError as error:
        print(f"{name}: left out ({error}); it comes with `pip install -e .[bench]`")


def population_evaluation() -> None:
    """(a) The loss of 256 candidates on 512 examples."""
    problem, genomes, batch, x, y = population()
    ours = problem.population_loss(genomes.unsqueeze(0), batch)
    torch.testing.assert_close(
        peers.vmap_evaluation(genomes, x, y)(), ours[0], rtol=1e-4, atol=1e-5
    )
    competitors: Competitors = {
        "ours": lambda: problem.population_loss(genomes.unsqueeze(0), batch)
    }
    competitors["DEAP, lists and module"] = peers.deap_evaluation(genomes, x, y)
    competitors["torch.func.vmap"] = peers.vmap_evaluation(genomes, x, y)
    add(competitors, "jax.jit(lax.map)", lambda: peers.jax_evaluation(genomes, x, y))
    report("(a) population evaluation, 256 candidates, batch 512, 64-32-10", competitors)


def generation() -> None:
    """(b) A whole generation: selection, variation, evaluation."""
    problem, genomes, batch, x, y = population()
    method = catalog.load(
        "method",
        "genetic",
        population_size=256,
        batch_size=512,
        selection=catalog.load("selection", "tournament", size=3),
        crossover=catalog.load("crossover", "uniform", rate=1.0),
        mutation=catalog.load("mutation", "gaussian", std=0.05),
    )
    rng = Stream("step", [0])
    sealed = seal(batch, method.signal)
    state = method.init(problem, problem.fresh_weights(Stream("init", [0])), rng)
    competitors: Competitors = {"ours": lambda: method.step(state, sealed, problem, rng)}
    competitors["DEAP eaSimple, lists"] = peers.deap_generation(genomes, x, y)
    add(competitors, "EvoTorch", lambda: peers.evotorch_generation(genomes, x, y))
    report("(b) one generation, 256 candidates, batch 512, 64-32-10", competitors)


def population() -> tuple[Problem, Tensor, Batch, Tensor, Tensor]:
    """Digits, 256 candidates (256, n), and a batch of 512 in our form and as plain tensors."""
    task = catalog.load("task", "image/digits")
    network = task.spec.network.build(task.spec)
    problem = Problem(network, task.spec, signal=Signal.LOSS)
    genomes = network.init(Stream("init", [0]), 256)
    batch = task.at([0]).batch("train", torch.arange(512).unsqueeze(0))
    return problem, genomes, batch, batch.inputs[0].flatten(1), batch.targets[0]


def steps(n_replicas: int, n_steps: int, batch_size: int, sequential_rounds: int) -> None:
    """(c, d) Backpropagation with Adam, each replica on another order of the examples."""
    task = catalog.load("task", "image/digits")
    method, network = adam(batch_size), task.spec.network.build(task.spec)
    seeds = list(range(n_replicas))
    splits = task.at(seeds)
    orders = torch.stack(
        [Stream("data", seeds).integers(splits.size("train"), batch_size) for _ in range(n_steps)]
    )
    problem, rng = Problem(network, task.spec), Stream("step", seeds)
    plain = splits.training(orders, rng)
    batches: list[tuple[Tensor, Tensor]] = [
        (batch.inputs.flatten(2), batch.targets) for batch in plain
    ]
    start = method.init(problem, network.init(Stream("init", seeds)), rng)

    def ours() -> None:
        state = start
        # gathering them is part of our time, and not of the peers'
        visits = splits.training(orders, rng)
        for _ in range(n_steps):
            state = method.step(state, next(visits), problem, rng)

    competitors: Competitors = {"ours, batches gathered": ours}
    competitors["bare torch loop"] = peers.torch_steps(n_replicas, batches)
    if n_replicas > 1:
        competitors["torch.func.vmap"] = peers.vmap_steps(n_replicas, batches)
    else:
        competitors["scikit-learn MLPClassifier"] = peers.sklearn_steps(batches)
    add(competitors, "jax.vmap(scan)", lambda: peers.jax_steps(n_replicas, batches))
    title = (
        f"({'c' if n_replicas == 1 else 'd'}) {n_steps} Adam steps, {n_replicas} replicas, batch "
        f"{batch_size}, 64-32-10"
    )
    report(title, competitors, sequential_rounds)


def images(n_steps: int, batch_size: int, n_replicas: int) -> None:
    """(f) Backpropagation with Adam through LeNet, on noise of Fashion-MNIST's shape."""
    seeds = range(n_replicas)
    task = catalog.load("task", "image/fashion_mnist")
    method, network = adam(batch_size), catalog.load("network", "lenet").build(task.spec)
    rng, problem = Stream("step", seeds), Problem(network, task.spec)
    batches: list[tuple[Tensor, Tensor]] = [
        (rng.normal(batch_size, *task.spec.input_shape), rng.integers(10, batch_size))
        for _ in range(n_steps)
    ]
    start = method.init(problem, network.init(Stream("init", seeds)), rng)

    def ours() -> None:
        state = start
        for inputs, targets in batches:
            state = method.step(state, Batch(inputs, targets), problem, rng)

    report(
        f"(f) {n_steps} Adam steps of {n_replicas} LeNets, batch {batch_size}; no peer is to be "
        "below 0.95",
        {
            "ours": ours,
            "torch, channels last": peers.lenet_steps(batches, torch.channels_last),
            "torch, channels first": peers.lenet_steps(batches, torch.contiguous_format),
        },
    )


def adam(batch_size: int) -> Method:
    """Backpropagation with Adam."""
    return catalog.load("method", "backprop", batch_size=batch_size)


def harness() -> None:
    """(e) A run of the harness against a bare loop over the same batches and steps."""
    task = catalog.load("task", "image/digits")
    network, seeds, n_epochs = task.spec.network.build(task.spec), [0], 200
    method = adam(32)
    splits = task.at(seeds)
    n_steps = n_epochs * splits.size("train") // 32

    def bare() -> None:
        sampler, problem, rng = (
            Sampler(splits.size("train"), 32, Stream("data", seeds)),
            Problem(network, task.spec),
            Stream("step", seeds),
        )
        state = method.init(problem, network.init(Stream("init", seeds)), rng)
        for batch in splits.training(torch.stack([sampler.next() for _ in range(n_steps)]), rng):
            state = method.step(state, batch, problem, rng)

    def whole() -> None:
        for _ in train(Setup(method, task, network, seeds, Budget("epochs", n_epochs))):
            pass

    report(
        f"(e) the harness around {n_steps} steps of one network",
        {"bare step loop": bare, "whole run": whole},
        7,
    )


def start_up() -> None:
    """(e) Processor seconds of a fresh process."""
    commands = {
        "beyond --help": [str(BIN / "beyond"), "--help"],
        "python -c 'import torch'": [sys.executable, "-c", "import torch"],
    }
    print("\n(e) start-up\n" + " " * 28 + f" {'median s of CPU':>16}")
    for name, command in commands.items():
        spent: list[float] = []
        for _ in range(6):
            before = getrusage(RUSAGE_CHILDREN)
            subprocess.run(command, check=True, capture_output=True)
            after = getrusage(RUSAGE_CHILDREN)
            spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        print(f"{name:28} {median(spent[1:]):16.2f}")


def main() -> None:
    """Run all parts, or those named."""
    parts = {
        "a": population_evaluation,
        "b": generation,
        "c": lambda: steps(1, 100, 128, 15),
        "d": lambda: [steps(32, 20, 128, 9), steps(128, 10, 128, 5)],
        "e": lambda: [harness(), start_up()],
        "f": lambda: [images(4, 32, 1), images(2, 128, 1), images(2, 32, 10)],
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=[], help="a to f; all if none is named")
    chosen = parser.parse_args().parts or list(parts)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    print(
        f"torch {torch.__version__}, {platform.machine()}, one thread; x ours above 1 is slower "
        "than ours"
    )
    for part in chosen:
        parts[part]()


if __name__ == "__main__":
    main()
