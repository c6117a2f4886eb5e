"""A rule that goes back on a tape must have made it in training: half of the units dropped."""

import pytest

from beyond import catalog
from beyond.architectures.mlp import MLP
from beyond.kits.optimizers import SGD

FAULTS = [
    (
        "methods/backprop.py",
        'problem.forward(state["params"], batch.inputs, rng)',
        'problem.forward(state["params"], batch.inputs)',
    ),
    (
        "methods/backprop.py",
        'problem.gradient(state["params"], batch, rng)',
        'problem.gradient(state["params"], batch)',
    ),
    (
        "methods/direct_feedback_alignment.py",
        'forward(stages, state["params"], batch.inputs, rng)',
        'forward(stages, state["params"], batch.inputs)',
    ),
]

# methods whose output layer follows the outer product of its error and the hidden layer's activity
READ_OUTS = {
    "actor_critic": {},
    "backprop": {},
    "backprop by automatic differentiation": {"engine": "autograd"},
    "direct_feedback_alignment": {},
    "feedback_alignment": {},
    "hebbian": {},
    "last_layer": {},
    "local_loss": {},
    "mono_forward": {},
    "ppo": {"n_epochs": 1, "n_minibatches": 1},
    "q_learning": {},
    "reinforce": {},
    "sign_symmetry": {},
    "target_propagation": {},
}


@pytest.mark.parametrize("name", READ_OUTS)
def test_units_that_are_dropped_teach_the_output_layer_nothing(name, make_problem):
    method = catalog.load(
        "method", name.partition(" ")[0], **READ_OUTS[name], optimizer=SGD(learning_rate=1.0)
    )
    given = make_problem(
        method, network=MLP((200,), activation="sigmoid", dropout=0.5), batch_size=1
    )
    state = method.init(given.problem, given.params, given.rng)
    after = method.params(method.step(state, given.sealed, given.problem, given.rng))
    weights = [
        layer["weight"] for layer in given.network.unflatten(after - method.params(state)) if layer
    ][-1]
    silent = (weights == 0).all(1).float().mean(1)  # (R,), of 200 hidden units
    assert ((silent - 0.5).abs() < 0.15).all()  # four standard deviations of the share
