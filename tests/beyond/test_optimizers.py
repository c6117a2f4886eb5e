"""Every optimizer against torch.optim, step by step."""

import pytest
import torch

from beyond.errors import InputError
from beyond.kits.optimizers import SGD, Adam, AdamW, Lion, RMSprop
from beyond.settings import per_replica

FAULTS = [
    (
        "beyond/kits/optimizers.py",
        "numbers(self.epsilon) * root_correction",
        "numbers(self.epsilon)",
    ),
    # the correction of every step is the second one's
    (
        "beyond/kits/optimizers.py",
        '"square": square, "n_steps": n_steps}',
        '"square": square, "n_steps": 1}',
    ),
    (
        "beyond/kits/optimizers.py",
        "if self.nesterov else velocity",
        "if not self.nesterov else velocity",
    ),
    (
        "beyond/kits/optimizers.py",
        "self.descend(params, params, scale=numbers(self.weight_decay))",
        "params",
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
OURS = [*(ours for ours, _, _ in OPTIMIZERS), Lion(weight_decay=0.1)]


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


def follow(optimizer, gradient, params, n_steps=STEPS):
    state, path = optimizer.init(params), []
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


@pytest.mark.parametrize(
    ("kind", "name", "values"),
    [
        *(
            (kind, "learning_rate", (0.01, 0.03, 0.002))
            for kind in (SGD, RMSprop, Adam, AdamW, Lion)
        ),
        (SGD, "momentum", (0.9, 0.5, 0.1)),
        (RMSprop, "decay", (0.99, 0.9, 0.0)),
        *((kind, "epsilon", (1e-8, 1e-3, 1.0)) for kind in (RMSprop, Adam)),
        (Adam, "beta1", (0.9, 0.0, 0.99)),
        (Adam, "beta2", (0.999, 0.9, 0.99)),
        *((kind, "weight_decay", (0.01, 0.0, 3.0)) for kind in (SGD, AdamW, Lion)),
        *((Lion, name, (0.9, 0.0, 0.99)) for name in ("beta1", "beta2")),
    ],
)
def test_a_value_for_each_replica_is_separate_runs(kind, name, values, least_squares, close):
    gradient, start = least_squares
    together = follow(kind(**{name: values}), gradient, start)
    assert name in per_replica(kind)
    for replica, value in enumerate(values):
        alone = follow(kind(**{name: value}), gradient, start)
        close(together[:, replica], alone[:, replica], atol=1e-5)


@pytest.mark.parametrize("kind", [SGD, RMSprop, Adam, AdamW, Lion])
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
    ],
)
def test_bad_parameters_are_refused_by_name_range_and_value(make, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        make()
