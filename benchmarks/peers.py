"""What others would write: the same 64-32-10 network and digits, in each library's style."""

# pyright: reportMissingImports=false
# jax and evotorch are optional: where they are missing, their rows are left out.

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from deap import algorithms, base, creator, tools
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.functional import cross_entropy

SIZES = (64, 32, 10)


def module() -> nn.Module:
    """64-32-10 with ReLU."""
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


# ------------------------------------------------------------------------------------------------ p


def deap_evaluation(genomes: Tensor, x: Tensor, y: Tensor) -> Callable[[], object]:
    """DEAP's plain way: individuals as lists, each loaded into a module and evaluated alone."""
    individuals, network = genomes.tolist(), module()
    return lambda: [_fitness(individual, network, x, y) for individual in individuals]


@torch.no_grad()
def _fitness(individual: list[float], network: nn.Module, x: Tensor, y: Tensor) -> tuple[float]:
    nn.utils.vector_to_parameters(torch.tensor(individual), network.parameters())
    return (cross_entropy(network(x), y).item(),)


def vmap_evaluation(genomes: Tensor, x: Tensor, y: Tensor) -> Callable[[], object]:
    """`torch.func.vmap` over functional_call."""
    network, parts = module(), [p.numel() for p in module().parameters()]
    names, shapes = zip(*((name, p.shape) for name, p in network.named_parameters()), strict=True)
    stacked = {
        name: part.reshape(-1, *shape)
        for name, part, shape in zip(names, genomes.split(parts, 1), shapes, strict=True)
    }

    def one(weights: dict[str, Tensor]) -> Tensor:
        return cross_entropy(functional_call(network, weights, (x,)), y)

    every = vmap(one)

    def evaluate() -> Tensor:
        with torch.no_grad():
            return every(stacked)

    return evaluate


def jax_evaluation(genomes: Tensor, x: Tensor, y: Tensor) -> Callable[[], object]:
    """`jax.jit` of `jax.lax.map` over the candidates; raises ImportError without jax."""
    import jax
    import jax.numpy as jnp

    inputs, labels = jnp.asarray(x.numpy()), jnp.asarray(y.numpy())

    def one(w: Any) -> Any:
        w1, b1, w2, b2 = jnp.split(w, np.cumsum([64 * 32, 32, 32 * 10]))
        z = jax.nn.relu(inputs @ w1.reshape(32, 64).T + b1) @ w2.reshape(10, 32).T + b2
        return -jnp.take_along_axis(jax.nn.log_softmax(z), labels[:, None], 1).mean()

    population, every = jnp.asarray(genomes.numpy()), jax.jit(lambda p: jax.lax.map(one, p))
    return lambda: every(population).block_until_ready()


def deap_generation(genomes: Tensor, x: Tensor, y: Tensor) -> Callable[[], object]:
    """One generation of `eaSimple`: lists, tournament of 3, uniform crossover, dense mutation."""
    made: Any = creator  # DEAP puts new classes into this module
    if not hasattr(made, "PlainFitness"):
        made.create("PlainFitness", base.Fitness, weights=(-1.0,))
        made.create("PlainIndividual", list, fitness=made.PlainFitness)
    network = module()
    toolbox: Any = base.Toolbox()
    toolbox.register("evaluate", lambda individual: _fitness(individual, network, x, y))
    toolbox.register("mate", tools.cxUniform, indpb=0.5)
    toolbox.register("mutate", tools.mutGaussian, mu=0.0, sigma=0.05, indpb=1.0)
    toolbox.register("select", tools.selTournament, tournsize=3)
    population = [made.PlainIndividual(genome) for genome in genomes.tolist()]
    for individual in population:
        individual.fitness.values = toolbox.evaluate(individual)
    random.seed(0)
    # Every individual is mutated, so every one is evaluated anew, as in our generation.
    return lambda: algorithms.eaSimple(
        population, toolbox, cxpb=1.0, mutpb=1.0, ngen=1, verbose=False
    )


def evotorch_generation(genomes: Tensor, x: Tensor, y: Tensor) -> Callable[[], object]:
    """One generation of EvoTorch's genetic algorithm, vectorised; ImportError without it."""
    import logging

    logging.disable(logging.INFO)
    from evotorch import Problem
    from evotorch.algorithms import GeneticAlgorithm
    from evotorch.operators import GaussianMutation, OnePointCrossOver

    def evaluate(population: Tensor) -> Tensor:
        return vmap_evaluation(population, x, y)()  # pyright: ignore[reportReturnType]

    n = genomes.shape[1]
    problem = Problem(
        "min",
        evaluate,
        solution_length=n,
        initial_bounds=(-0.2, 0.2),
        vectorized=True,
        dtype=torch.float32,
    )
    searcher = GeneticAlgorithm(
        problem,
        popsize=len(genomes),
        operators=[
            OnePointCrossOver(problem, tournament_size=3),
            GaussianMutation(problem, stdev=0.05),
        ],
    )
    return searcher.step


# --------------------------------------------------------------------------------------------------


def torch_steps(n_networks: int, batches: list[tuple[Tensor, Tensor]]) -> Callable[[], object]:
    """A bare torch loop with fused Adam: network after network, each on its batches (R, B, 64)."""
    networks = [module() for _ in range(n_networks)]
    optimizers = [
        torch.optim.Adam(network.parameters(), lr=1e-3, fused=True) for network in networks
    ]

    def train() -> None:
        for index, (network, optimizer) in enumerate(zip(networks, optimizers, strict=True)):
            for x, y in batches:
                optimizer.zero_grad()
                cross_entropy(network(x[index]), y[index]).backward()
                optimizer.step()

    return train


def lenet_steps(
    batches: list[tuple[Tensor, Tensor]], layout: torch.memory_format
) -> Callable[[], object]:
    """Bare torch loops with fused Adam over LeNets, one after another: (R, B, 1, 28, 28)."""
    replicas = [
        _lenet_steps([(x[r], y[r]) for x, y in batches], layout) for r in range(len(batches[0][0]))
    ]
    return lambda: [train() for train in replicas]


def _lenet_steps(
    batches: list[tuple[Tensor, Tensor]], layout: torch.memory_format
) -> Callable[[], None]:
    network = nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Conv2d(6, 16, 5), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Conv2d(16, 120, 5), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    ).to(memory_format=layout)  # pyright: ignore[reportCallIssue]  as torch documents it
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    visits = [(x.contiguous(memory_format=layout), y) for x, y in batches]

    def train() -> None:
        for x, y in visits:
            optimizer.zero_grad()
            cross_entropy(network(x), y).backward()
            optimizer.step()

    return train


def vmap_steps(n_networks: int, batches: list[tuple[Tensor, Tensor]]) -> Callable[[], object]:
    """All networks at once by `torch.func`: vmap of grad, then Adam on the stacked weights."""
    networks = [module() for _ in range(n_networks)]
    weights, _ = stack_module_state(networks)  # pyright: ignore[reportArgumentType]
    template = module()
    optimizer = torch.optim.Adam(weights.values(), lr=1e-3, fused=True)

    def loss(params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(functional_call(template, params, (x,)), y)

    gradient = vmap(torch.func.grad(loss))

    def train() -> None:
        for x, y in batches:
            for name, value in gradient(weights, x, y).items():
                weights[name].grad = value
            optimizer.step()

    return train


def jax_steps(n_networks: int, batches: list[tuple[Tensor, Tensor]]) -> Callable[[], object]:
    """`jax.vmap` of a scan over the batches, with Adam written out; ImportError without jax."""
    import jax
    import jax.numpy as jnp

    x = jnp.asarray(torch.stack([a for a, _ in batches], 1).numpy())  # (R, steps, B, 64)
    y = jnp.asarray(torch.stack([b for _, b in batches], 1).numpy())
    shapes = [(32, 64), (32,), (10, 32), (10,)]

    def loss(w: Any, a: Any, b: Any) -> Any:
        z = jax.nn.relu(a @ w[0].T + w[1]) @ w[2].T + w[3]
        return -jnp.take_along_axis(jax.nn.log_softmax(z), b[:, None], 1).mean()

    def step(carry: Any, batch: Any) -> Any:
        w, m, v, t = carry
        t, g = t + 1, jax.grad(loss)(w, *batch)
        m = [0.9 * a + 0.1 * b for a, b in zip(m, g, strict=True)]
        v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g, strict=True)]
        rate = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        w = [a - rate * b / (jnp.sqrt(c) + 1e-8) for a, b, c in zip(w, m, v, strict=True)]
        return (w, m, v, t), None

    def run(w: Any, a: Any, b: Any) -> Any:
        zeros = [jnp.zeros_like(one) for one in w]
        return jax.lax.scan(step, (w, zeros, zeros, 0.0), (a, b))[0][0]

    keys = jax.random.split(jax.random.PRNGKey(0), len(shapes))
    start = [
        0.1 * jax.random.normal(key, (n_networks, *shape))
        for key, shape in zip(keys, shapes, strict=True)
    ]
    every = jax.jit(jax.vmap(run))
    return lambda: jax.block_until_ready(every(start, x, y))


def sklearn_steps(batches: list[tuple[Tensor, Tensor]]) -> Callable[[], object]:
    """scikit-learn's MLPClassifier, a partial_fit a batch."""
    from sklearn.neural_network import MLPClassifier

    batch_size: Any = batches[0][0].shape[1]
    model = MLPClassifier((32,), solver="adam", batch_size=batch_size, alpha=0.0)
    arrays = [(x[0].numpy(), y[0].numpy()) for x, y in batches]
    fit = partial(model.partial_fit, classes=np.arange(10))
    return lambda: [fit(x, y) for x, y in arrays]
