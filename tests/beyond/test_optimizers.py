"""Every optimizer, schedule and clipping against torch's, step by step."""

from itertools import pairwise

import pytest
import torch
from torch.optim import lr_scheduler
from torch.utils.flop_counter import FlopCounterMode

from beyond import catalog
from beyond.errors import InputError
from beyond.kits.optimizers import DECAYS, SGD, Adam, AdamW, Lion, Muon, RMSprop, orthogonal
from beyond.problem import Problem
from beyond.run.matrix import SPECS
from beyond.settings import per_replica
from beyond.testing import steps
from beyond.testing.checks import of
from beyond.testing.trial import Trial

FAULTS = [
    (
        "beyond/kits/optimizers.py",
        "numbers(self.epsilon) * root_correction",
        "numbers(self.epsilon)",
    ),
    # the correction of every step is the second one's
    (
        "beyond/kits/optimizers.py",
        'state = {**state, "n_steps": n_steps}',
        'state = {**state, "n_steps": 1}',
    ),
    (
        "beyond/kits/optimizers.py",
        "if self.nesterov else velocity",
        "if not self.nesterov else velocity",
    ),
    (
        "beyond/kits/optimizers.py",
        "decayed = descend(params, params, rate * numbers(self.weight_decay))",
        "decayed = params",
    ),
    # weights grow
    (
        "beyond/kits/optimizers.py",
        "gradient = add(gradient, params, numbers(self.weight_decay))",
        "gradient = add(gradient, params, -numbers(self.weight_decay))",
    ),
    # the sign of the momentum, as it is kept
    (
        "beyond/kits/optimizers.py",
        "each(1 - beta1, gradient)).sign_()",
        "each(1 - beta2, gradient)).sign_()",
    ),
    ("beyond/kits/optimizers.py", "add(sign, params, numbers(self.weight_decay))", "sign"),
    # a schedule that is one step late; one that rises again, as torch's does; the warm-up's steps
    # count; a gradient is stretched to the norm
    ("beyond/kits/optimizers.py", "self.scheduled(n_steps - 1)", "self.scheduled(n_steps)"),
    ("beyond/kits/optimizers.py", "np.cos(np.pi * min(times, 1))", "np.cos(np.pi * times)"),
    ("beyond/kits/optimizers.py", "(n_steps - self.warmup_steps) /", "n_steps /"),
    ("beyond/kits/optimizers.py", "/ norm).clamp(max=1.0)", "/ norm)"),
    # the norm of all replicas together
    ("beyond/kits/optimizers.py", "gradient.norm(dim=1, keepdim=True)", "gradient.norm()"),
    # without Nesterov; the larger side is not counted; a product too few is charged
    ("beyond/kits/optimizers.py", "ahead = torch.lerp(g, mean,", "ahead = torch.lerp(mean, mean,"),
    ("beyond/kits/optimizers.py", "size = 0.2 * max(shape)", "size = 0.2 * min(shape)"),
    ("beyond/kits/optimizers.py", "(2 * many + few)", "(many + few)"),
    # read-outs, embeddings and gains, which are AdamW's
    ("beyond/problem.py", "if block.drawn][:-1]", "if block.drawn]"),
    ("beyond/problem.py", "if block.maps and len(shape) > 1:", "if len(shape) > 1:"),
]

R, N, STEPS = 3, 6, 100
OPTIMIZERS = [
    (SGD(learning_rate=0.05), torch.optim.SGD, {"lr": 0.05}),
    (SGD(learning_rate=0.03, momentum=0.9), torch.optim.SGD, {"lr": 0.03, "momentum": 0.9}),
    (
        SGD(learning_rate=0.03, momentum=0.8, nesterov=True),
        torch.optim.SGD,
        {"lr": 0.03, "momentum": 0.8, "nesterov": True},
    ),
    (
        SGD(learning_rate=0.03, momentum=0.8, nesterov=True, weight_decay=0.2),
        torch.optim.SGD,
        {"lr": 0.03, "momentum": 0.8, "nesterov": True, "weight_decay": 0.2},
    ),
    (SGD(learning_rate=0.05, weight_decay=0.2), torch.optim.SGD, {"lr": 0.05, "weight_decay": 0.2}),
    (RMSprop(), torch.optim.RMSprop, {"lr": 0.001, "alpha": 0.99, "eps": 1e-8}),
    (
        RMSprop(learning_rate=0.02, decay=0.7, epsilon=0.1),
        torch.optim.RMSprop,
        {"lr": 0.02, "alpha": 0.7, "eps": 0.1},
    ),
    (Adam(), torch.optim.Adam, {"lr": 0.001, "betas": (0.9, 0.999), "eps": 1e-8}),
    (
        Adam(learning_rate=0.05, beta1=0.5, beta2=0.8, epsilon=0.1),
        torch.optim.Adam,
        {"lr": 0.05, "betas": (0.5, 0.8), "eps": 0.1},
    ),
    (Adam(learning_rate=0.05, beta1=0.0), torch.optim.Adam, {"lr": 0.05, "betas": (0.0, 0.999)}),
    (AdamW(), torch.optim.AdamW, {"lr": 0.001, "weight_decay": 0.01}),
    (
        AdamW(learning_rate=0.05, weight_decay=0.3),
        torch.optim.AdamW,
        {"lr": 0.05, "weight_decay": 0.3},
    ),
]
OURS = [*(ours for ours, _, _ in OPTIMIZERS), Lion(weight_decay=0.1), Muon()]
KINDS = (SGD, RMSprop, Adam, AdamW, Lion, Muon)


@pytest.fixture(params=[torch.float32, torch.float64], ids=str)
def least_squares(request):
    """A gradient (R, n) to (R, n), and a start: (A w - b)^2 / 2, another for each replica."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(R, 12, N, generator=generator).to(request.param)
    b = torch.randn(R, 12, generator=generator).to(request.param)
    start = torch.randn(R, N, generator=generator).to(request.param)

    def gradient(params):
        rows = len(params)  # a run alone is the first replica's
        residual = (a[:rows] @ params.unsqueeze(-1)).squeeze(-1) - b[:rows]
        return (a[:rows].mT @ residual.unsqueeze(-1)).squeeze(-1) / 12

    return gradient, start


MATRICES = [(1, 2, 2)]  # of the six weights


def follow(optimizer, gradient, params, n_steps=STEPS):
    state, path = optimizer.init(params, MATRICES), []
    for _ in range(n_steps):
        params, state = optimizer.update(gradient(params), state, params)
        path.append(params)
    return torch.stack(path)


@pytest.mark.parametrize(("ours", "theirs", "settings"), OPTIMIZERS)
def test_the_path_is_torchs(ours, theirs, settings, least_squares, close):
    gradient, start = least_squares
    weights = start.clone().requires_grad_()
    optimizer, path = theirs([weights], **settings), []
    for _ in range(STEPS):
        weights.grad = gradient(weights.detach())
        optimizer.step()
        path.append(weights.detach().clone())
    double = start.dtype == torch.float64
    close(
        follow(ours, gradient, start),
        torch.stack(path),
        rtol=1e-10 if double else 1e-5,
        atol=0 if double else 1e-5,
    )


def test_lions_path_is_its_pseudocode_number_by_number(least_squares, close):
    gradient, start = least_squares
    weights, means = start.double().tolist(), torch.zeros(R, N).tolist()
    lion = Lion(learning_rate=0.02, beta1=0.6, beta2=0.9, weight_decay=0.3)
    path = follow(lion, gradient, start, 20)
    for step in range(20):
        slopes = gradient(torch.tensor(weights).to(start.dtype)).tolist()
        for r in range(R):
            for i, g in enumerate(slopes[r]):
                mixed = 0.6 * means[r][i] + 0.4 * g
                way = (mixed > 0) - (mixed < 0)
                weights[r][i] -= 0.02 * (way + 0.3 * weights[r][i])
                means[r][i] = 0.9 * means[r][i] + 0.1 * g
        close(path[step], start.new_tensor(weights))


def rates(schedule, n_steps=30, **given):
    made = SGD(learning_rate=0.5, schedule=schedule, **given)
    return [0.5 * made.scheduled(step) for step in range(n_steps)]


SCHEDULES = {
    "cosine": lambda made: lr_scheduler.CosineAnnealingLR(made, 8, eta_min=0.5 * 0.2),
    "linear": lambda made: lr_scheduler.LinearLR(made, 1.0, 0.2, 8),
    "exponential": lambda made: lr_scheduler.ExponentialLR(made, 0.2 ** (1 / 8)),
    "step": lambda made: lr_scheduler.StepLR(made, 8, 0.2),
    "constant": lambda made: lr_scheduler.ConstantLR(made, 1.0),
}


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
def test_a_schedule_is_torchs_after_a_warm_up(schedule):
    theirs = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    rise = lr_scheduler.LinearLR(theirs, 1 / 5, 1.0, 4)
    made = lr_scheduler.SequentialLR(theirs, [rise, SCHEDULES[schedule](theirs)], [5])
    # torch's cosine rises again
    n_steps = 14 if schedule == "cosine" else 30
    expected = []
    for _ in range(n_steps):
        expected.append(made.get_last_lr()[0])
        theirs.step()
        made.step()
    ours = rates(schedule, decay_steps=8, decay_factor=0.2, warmup_steps=5)
    assert ours[:n_steps] == pytest.approx(expected)
    if schedule in ("cosine", "linear"):
        assert ours[13:] == pytest.approx([0.1] * 17)


def test_every_step_follows_the_schedule(least_squares):
    """A step of the sign alone is as long as the rate, whatever the gradient."""
    gradient, start = least_squares
    made = Lion(learning_rate=0.5, schedule="step", decay_steps=3, decay_factor=0.5, warmup_steps=2)
    path = torch.stack([start, *follow(made, gradient, start, 9)])
    sizes = [(b - a).abs().max().item() for a, b in pairwise(path)]
    assert sizes == pytest.approx([0.25, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125], rel=1e-5)


@pytest.mark.parametrize("limit", [1e-3, 1.5, 1e3])
def test_a_gradient_is_shortened_as_torch_does_it_for_each_replica(limit, close):
    gradient = torch.randn(R, N, generator=torch.Generator().manual_seed(1)) * 2
    expected = []
    for row in gradient:
        weights = [torch.zeros(2, requires_grad=True), torch.zeros(2, 2, requires_grad=True)]
        weights[0].grad, weights[1].grad = row[:2].clone(), row[2:].view(2, 2).clone()
        torch.nn.utils.clip_grad_norm_(weights, limit)
        expected.append(torch.cat([weight.grad.flatten() for weight in weights]))
    made = SGD(learning_rate=1.0, max_gradient_norm=limit)
    stepped, _ = made.update(gradient, made.init(gradient), torch.zeros(R, N))
    close(-stepped, torch.stack(expected))


SHAPES = [(3,), (4, 6), (5,), (7, 3), (2,)]


@pytest.fixture
def patched(monkeypatch):
    """Let torch's Muon compute in the precision of its weights, which is bfloat16 otherwise."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)


def test_the_path_of_matrices_is_torchs_muon_and_that_of_the_others_adamws(patched, close):
    generator = torch.Generator().manual_seed(0)
    sizes = [torch.Size(shape).numel() for shape in SHAPES]
    starts = [sum(sizes[:place]) for place in range(len(SHAPES))]
    matrices = [(starts[place], *SHAPES[place]) for place in (1, 3)]
    start = torch.randn(R, sum(sizes), generator=generator).double()
    pushes = torch.randn(20, R, sum(sizes), generator=generator).double()
    made = Muon(learning_rate=0.03, weight_decay=0.2)
    ours, state = start, made.init(start, matrices)
    theirs = []
    for row in start:
        parts = row.clone().split(sizes)
        weights = [
            part.view(shape).requires_grad_() for part, shape in zip(parts, SHAPES, strict=True)
        ]
        both = (
            torch.optim.Muon(
                [weights[1], weights[3]],
                lr=0.03,
                weight_decay=0.2,
                adjust_lr_fn="match_rms_adamw",
            ),
            torch.optim.AdamW(weights[::2], lr=0.03, weight_decay=0.2, betas=(0.9, 0.95)),
        )
        theirs.append((weights, both))
    for push in pushes:
        ours, state = made.update(push + ours, state, ours)
        for row, (weights, both) in zip(push, theirs, strict=True):
            for part, weight in zip(row.split(sizes), weights, strict=True):
                weight.grad = part.view_as(weight) + weight.detach()
            for optimizer in both:
                optimizer.step()
        expected = [torch.cat([weight.detach().flatten() for weight in w]) for w, _ in theirs]
        close(ours, torch.stack(expected), rtol=1e-9, atol=1e-12)


def test_singular_values_become_about_one():
    generator = torch.Generator().manual_seed(0)
    for shape in ((6, 4), (4, 6)):
        turned = orthogonal(torch.randn(R, *shape, generator=generator), 5)
        values = torch.linalg.svdvals(turned)
        assert 0.6 < values.min() < values.max() < 1.25
    assert torch.equal(orthogonal(torch.zeros(R, 2, 3), 5), torch.zeros(R, 2, 3))


def test_products_of_matrices_are_counted():
    made, params = Muon(), torch.rand(1, 100)
    state = made.init(params, [(3, 4, 6), (30, 7, 3)])
    with FlopCounterMode(display=False) as counter:
        made.update(torch.rand(1, 100), state, params)
    assert made.work(state).flops == counter.get_total_flops() > 0


@pytest.mark.parametrize("kind", SPECS)
def test_muon_does_on_every_network_what_every_rule_promises(kind):
    """Charges what torch counts, moves every layer, and a replica is as if alone; or is refused."""
    rule = catalog.load("method", "backprop", optimizer=catalog.read("optimizer", "muon"))
    of(steps.trains_what_it_says, Trial(rule, "backprop"), kind)()


def test_matrices_are_those_that_lead_into_hidden_layers():
    """By kind of network: read-outs, embeddings, gains and maps of groups are none."""
    found = {
        kind: [shape for _, *shape in Problem(spec.network.build(spec), spec).matrices]
        for kind, spec in SPECS.items()
    }
    assert found["mlp"] == [[5, 6], [4, 5]]
    assert found["layer norm"] == [[5, 6], [4, 5]]
    assert found["cnn"] == [[2, 9], [3, 18]]
    assert found["recurrent"] == [[18, 1], [18, 3]]
    assert found["symbols"] == [[5, 12]]
    assert found["bag"] == [[5, 3]]
    assert found["recurrent module"] == [[9, 2], [9, 3]]
    assert Problem(SPECS["bag"].network.build(SPECS["bag"]), SPECS["bag"]).matrices == [(21, 5, 3)]


@pytest.mark.parametrize(
    ("kind", "name", "values"),
    [
        *((kind, "learning_rate", (0.01, 0.03, 0.002)) for kind in KINDS),
        *((kind, "max_gradient_norm", (0.1, 1.0, 10.0)) for kind in (SGD, Adam)),
        (SGD, "momentum", (0.9, 0.5, 0.1)),
        (RMSprop, "decay", (0.99, 0.9, 0.0)),
        *((kind, "epsilon", (1e-8, 1e-3, 1.0)) for kind in (RMSprop, Adam)),
        (Adam, "beta1", (0.9, 0.0, 0.99)),
        (Adam, "beta2", (0.999, 0.9, 0.99)),
        *((kind, "weight_decay", (0.01, 0.0, 3.0)) for kind in (SGD, AdamW, Lion)),
        *((Lion, name, (0.9, 0.0, 0.99)) for name in ("beta1", "beta2")),
        *((Muon, name, (0.9, 0.0, 0.99)) for name in ("beta2", "momentum", "weight_decay")),
    ],
)
def test_a_value_for_each_replica_is_separate_runs(kind, name, values, least_squares, close):
    gradient, start = least_squares
    together = follow(kind(**{name: values}), gradient, start)
    assert name in per_replica(kind)
    for replica, value in enumerate(values):
        alone = follow(kind(**{name: value}), gradient, start)
        close(together[:, replica], alone[:, replica], atol=1e-5)


@pytest.mark.parametrize("schedule", sorted(DECAYS))
def test_a_decay_for_each_replica_is_separate_runs(schedule, least_squares, close):
    gradient, start = least_squares
    values = (0.5, 0.1, 1.0)

    def path(factor):
        made = SGD(schedule=schedule, decay_steps=9, decay_factor=factor)
        return follow(made, gradient, start, 20)

    together = path(values)
    for replica, value in enumerate(values):
        close(together[:, replica], path(value)[:, replica], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_rates_must_be_one_or_one_for_each_replica(kind, least_squares):
    gradient, start = least_squares
    message = (
        r"^a setting must be one number, or one for each of the replicas in 3 rows, got array\(\["
    )
    with pytest.raises(InputError, match=message):
        follow(kind(learning_rate=(0.1, 0.2)), gradient, start)


@pytest.mark.parametrize("optimizer", OURS)
def test_arguments_are_not_changed(optimizer):
    params, gradient = torch.rand(R, N), torch.rand(R, N)
    state = optimizer.update(gradient, optimizer.init(params), params)[1]
    given = {**state, "params": params, "gradient": gradient}
    before = {
        key: value.clone() if isinstance(value, torch.Tensor) else value
        for key, value in given.items()
    }
    optimizer.update(gradient, state, params)
    torch.testing.assert_close(
        {**state, "params": params, "gradient": gradient}, before, rtol=0, atol=0
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(learning_rate=0), "learning_rate must be > 0, got 0"),
        (lambda: Adam(learning_rate=-0.1), "learning_rate must be > 0, got -0.1"),
        (lambda: SGD(learning_rate=float("nan")), "learning_rate must be > 0, got nan"),
        (lambda: SGD(learning_rate=()), r"learning_rate must be > 0, got \(\)"),
        (lambda: SGD(learning_rate=(0.1, -1.0)), r"learning_rate must be > 0, got \(0.1, -1.0\)"),
        (lambda: SGD(momentum=1.0), r"momentum must be in \[0, 1\), got 1.0"),
        (lambda: SGD(momentum=-0.1), r"momentum must be in \[0, 1\), got -0.1"),
        (lambda: SGD(nesterov=True), "momentum must be > 0 with nesterov, got 0.0"),
        (lambda: RMSprop(decay=1.0), r"decay must be in \[0, 1\), got 1.0"),
        (lambda: RMSprop(epsilon=0.0), "epsilon must be > 0, got 0.0"),
        (lambda: Adam(beta1=1.0), r"beta1 must be in \[0, 1\), got 1.0"),
        (lambda: Adam(beta2=-0.5), r"beta2 must be in \[0, 1\), got -0.5"),
        (lambda: Adam(epsilon=-1e-8), "epsilon must be > 0, got -1e-08"),
        (lambda: AdamW(weight_decay=-0.1), "weight_decay must be >= 0, got -0.1"),
        (lambda: SGD(max_gradient_norm=0.0), "max_gradient_norm must be > 0, or null, got 0.0"),
        (lambda: SGD(decay_factor=1.5), r"decay_factor must be in \[0, 1\], got 1.5"),
        (
            lambda: Adam(schedule="cosine"),
            "decay_steps must be given with schedule=cosine, an integer >= 1, got None",
        ),
        (lambda: Muon(n_iterations=0), "n_iterations must be an integer >= 1, got 0"),
    ],
)
def test_bad_parameters_are_refused_by_name_range_and_value(make, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        make()
