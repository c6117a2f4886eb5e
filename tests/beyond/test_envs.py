"""Oracles: the checkers of Gymnasium and Stable-Baselines3, the task, a vector of single ones."""

import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode
from scipy.stats import chisquare
from stable_baselines3.common.env_checker import check_env as check_env_for_stable_baselines

from beyond import catalog
from beyond.contracts import TargetKind
from beyond.envs import Bandit, TaskVectorEnv, register_all
from beyond.errors import InputError

FAULTS = [
    ("beyond/envs.py", "(given < spec.n_outputs)", "(given <= spec.n_outputs)"),
    ("beyond/envs.py", 'if not hasattr(env, "_shown"):', "if False:"),
    ("beyond/envs.py", "np.isfinite(given)", "~np.isnan(given)"),
]

ALL = catalog.complete("task")
SPECS = {name: catalog.load("task", name).spec for name in ALL}
EPISODES = [name for name, spec in SPECS.items() if spec.episode or spec.world]
TASKS = [name for name in ALL if name not in EPISODES]
DIGITS, DIABETES = "beyond/image-digits-v0", "beyond/regression-diabetes-v0"
SAME_STEP = {"autoreset_mode": AutoresetMode.SAME_STEP}

# What the checkers advise and these environments do not follow, and why.
# not raw pixels, and small
STANDARDISED = "It seems that your observation", "The minimal resolution for an image"
SEQUENCE = ("Your observation  has an unconventional shape",)  # channels in time
SHAPES = {2: SEQUENCE, 3: STANDARDISED}
# actions have the target's units
UNITS = "For Box action spaces, we recommend", "We recommend you to use a symmetric"


def environment(task: str) -> str:
    return f"beyond/{task.replace('/', '-')}-v0"


def examples(task: str, split: str, **settings):
    made = catalog.load("task", task, **settings)
    batch = made.at([0]).batch(split, torch.arange(made.at([0]).size(split)).unsqueeze(0))
    return batch.inputs[0].numpy(), batch.targets[0].numpy()


def rows(shown, inputs):
    """Index of each shown example among `inputs`; the first of equals."""
    same = (inputs[None] == np.asarray(shown)[:, None]).reshape(len(shown), len(inputs), -1).all(-1)
    assert same.any(1).all()
    return same.argmax(1)


def test_the_examples_are_those_of_the_repetitions_split():
    for seed in (0, 3):
        task = catalog.load("task", "image/digits")
        images = task.at([seed]).batch("test", torch.arange(270).unsqueeze(0)).inputs[0]
        assert np.array_equal(Bandit(task, "test", seed).show(np.arange(270)), images)
    shown = [
        gymnasium.make(DIGITS, repetition=seed).unwrapped.bandit.show(np.arange(5))
        for seed in (0, 0, 3)
    ]
    assert np.array_equal(*shown[:2])
    assert not np.array_equal(*shown[1:])
    with pytest.raises(InputError, match=r"^repetition must be an integer >= 0, got -1$"):
        gymnasium.make(DIGITS, repetition=-1)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("check", [check_env, check_env_for_stable_baselines])
@pytest.mark.once
def test_every_task_passes_the_checkers(check, task, load_task):
    load_task(task)
    env = gymnasium.make(environment(task)).unwrapped
    expected = SHAPES.get(len(env.observation_space.shape), ())
    expected += UNITS if isinstance(env.action_space, Box) else ()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check(env)
    unexpected = [
        str(one.message) for one in caught if not any(text in str(one.message) for text in expected)
    ]
    assert not unexpected


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.once
def test_spaces_hold_every_example_and_follow_the_specification(task, load_task):
    spec = load_task(task).spec
    env = gymnasium.make(environment(task)).unwrapped
    assert env.observation_space.shape == spec.input_shape
    if spec.n_symbols:
        assert env.observation_space == MultiDiscrete(np.full(spec.input_shape, spec.n_symbols))
    if spec.target_kind is TargetKind.CLASSES:
        assert env.action_space == Discrete(spec.n_outputs)
    elif spec.target_kind is TargetKind.DISTRIBUTIONS:
        assert env.action_space.shape == (spec.n_outputs,)
    else:
        targets = examples(task, "train")[1]
        assert all(target in env.action_space for target in targets)
    for split in ("train", "validation", "test"):
        assert all(example in env.observation_space for example in examples(task, split)[0][:500])


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_one_answer_is_right_and_earns_one(split):
    inputs, labels = examples("image/digits", split)
    env = gymnasium.make(DIGITS, split=split)
    for seed in range(20):
        shown, info = env.reset(seed=seed)
        earned = []
        for action in range(10):
            env.reset(seed=seed)
            seen, reward, terminated, truncated, info = env.step(action)
            assert (seen == shown).all()
            assert (terminated, truncated, info) == (True, False, {})
            earned.append(reward)
        assert sum(earned) == 1
        assert np.argmax(earned) == labels[rows([shown], inputs)[0]]


def test_values_earn_minus_half_the_squared_distance():
    inputs, targets = examples("regression/diabetes", "train")
    envs = gymnasium.make_vec(DIABETES, num_envs=40)
    shown, _ = envs.reset(seed=3)
    actions = envs.action_space.sample()
    rewards = envs.step(actions)[1]
    distance = actions - targets[rows(shown, inputs)]
    np.testing.assert_allclose(rewards, -0.5 * (distance**2).sum(1), rtol=1e-5)
    with pytest.raises(InputError, match=r"^actions must be of shape \(40, 1\), got \(40, 2\)$"):
        envs.step(np.zeros((40, 2), dtype=np.float32))


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("task", ["image/digits", "text/languages", "regression/diabetes"])
def test_the_vector_equals_gymnasiums_vector_of_single_ones(task, n, monkeypatch):
    """Gymnasium's has a generator for each; several are dealt the same examples from one deck."""
    deck: list[int] = []
    if n > 1:
        monkeypatch.setattr(
            Bandit, "draw", lambda *drawn: np.array([deck.pop() for _ in range(drawn[2])])
        )
    ours = gymnasium.make_vec(environment(task), num_envs=n)
    peer = gymnasium.make_vec(
        environment(task), num_envs=n, vectorization_mode="sync", vector_kwargs=SAME_STEP
    )
    assert isinstance(ours, TaskVectorEnv)
    assert ours.metadata == peer.metadata
    for space in (
        "single_observation_space",
        "single_action_space",
        "observation_space",
        "action_space",
    ):
        assert getattr(ours, space) == getattr(peer, space)

    ours.action_space.seed(1)
    actions = [ours.action_space.sample() for _ in range(10)]
    lives = []
    for envs in (ours, peer):
        deck[:] = range(60)
        lives.append([envs.reset(seed=7), *(envs.step(taken) for taken in actions)])
    assert data_equivalence(*lives, exact=True)
    assert all(terminated.all() for _, _, terminated, _, _ in lives[0][1:])


def test_the_answered_examples_are_final_and_the_next_ones_are_shown():
    inputs, labels = examples("image/digits", "train")
    envs = gymnasium.make_vec(DIGITS, num_envs=16)
    shown, _ = envs.reset(seed=0)
    for _ in range(5):
        following, rewards, _, _, info = envs.step(labels[rows(shown, inputs)])
        assert (rewards == 1).all()
        assert (np.stack(info["final_obs"]) == shown).all()
        assert not (following == shown).all()
        shown = following


def test_what_is_handed_out_is_the_callers_own():
    envs = gymnasium.make_vec(DIGITS, num_envs=4)
    shown, _ = envs.reset(seed=0)
    before = shown.copy()
    shown[:] = 0
    assert (np.stack(envs.step(np.zeros(4, dtype=np.int64))[4]["final_obs"]) == before).all()


def test_examples_are_drawn_uniformly():
    inputs, _ = examples("image/digits", "train", train_size=50)
    envs = gymnasium.make_vec(DIGITS, num_envs=1000, train_size=50)
    counts = np.bincount(rows(envs.reset(seed=0)[0], inputs), minlength=50)
    for _ in range(9):
        counts += np.bincount(
            rows(envs.step(np.zeros(1000, dtype=np.int64))[0], inputs), minlength=50
        )
    assert chisquare(counts).pvalue > 1e-4


def test_the_seed_decides_and_the_global_generators_do_not():
    lives = []
    for other, seed in enumerate((0, 0, 1)):
        np.random.seed(other)  # noqa: NPY002
        torch.manual_seed(other)
        envs = gymnasium.make_vec(DIGITS, num_envs=3)
        shown = [
            envs.reset(seed=seed)[0],
            *(envs.step(np.zeros(3, dtype=np.int64))[0] for _ in range(4)),
        ]
        lives.append(np.stack(shown))
    assert (lives[0] == lives[1]).all()
    assert not (lives[0] == lives[2]).all()


def test_single_environments_share_the_data():
    first, second = (gymnasium.make(DIGITS, train_size=60).unwrapped for _ in range(2))
    assert first.bandit is second.bandit
    assert first.action_space is not second.action_space  # each space has a generator


def test_bad_arguments_are_refused_in_one_line():
    with pytest.raises(
        InputError, match=r"^split must be one of train, validation, test; got 'tset'$"
    ):
        gymnasium.make(DIGITS, split="tset")
    with pytest.raises(InputError, match=r"^num_envs must be an integer >= 1, got 0$"):
        gymnasium.make_vec(DIGITS, num_envs=0)
    with pytest.raises(InputError, match="train_size"):
        gymnasium.make(DIGITS, train_size=-1)


@pytest.mark.parametrize(
    ("name", "action", "message"),
    [
        (DIGITS, 10, r"^an action must be an integer in \[0, 10\), got 10$"),
        (DIGITS, -1, r"^an action must be an integer in \[0, 10\), got -1$"),
        (DIGITS, 0.5, r"^an action must be an integer in \[0, 10\), got 0.5$"),
        (DIGITS, [1, 2], r"^actions must be of shape \(1,\), got \(1, 2\)$"),
        (DIABETES, [np.nan], r"^an action must be finite numbers, got nan$"),
        (DIABETES, [np.inf], r"^an action must be finite numbers, got inf$"),
        (DIABETES, 0.0, r"^actions must be of shape \(1, 1\), got \(1,\)$"),
    ],
)
def test_what_is_no_answer_is_refused(name, action, message):
    env = gymnasium.make(name, disable_env_checker=True).unwrapped
    env.reset(seed=0)
    with pytest.raises(InputError, match=message):
        env.step(action)
    many = TaskVectorEnv(env.bandit.task.spec.name, num_envs=1)
    many.reset(seed=0)
    with pytest.raises(InputError, match=message):
        many.step(np.expand_dims(action, 0))


def test_nothing_is_answered_before_it_is_shown():
    for env in (TaskVectorEnv("image/digits"), gymnasium.make(DIGITS).unwrapped):
        with pytest.raises(ResetNeeded, match=r"^nothing is shown yet: call reset before step$"):
            env.step(np.zeros(1, int))


def test_learners_that_ask_for_pictures_in_passing_get_an_environment():
    with pytest.warns(UserWarning, match="render_mode"):
        env = gymnasium.make(DIGITS, render_mode="rgb_array")
    assert env.unwrapped.bandit.task.spec.name == "image/digits"


@pytest.mark.parametrize("task", EPISODES)
def test_a_task_of_episodes_is_refused_in_one_line(task):
    with pytest.raises(
        InputError, match=f"^task must be one of single examples, not of episodes, got '{task}'$"
    ):
        gymnasium.make(environment(task))


def test_registering_again_changes_nothing():
    before = dict(gymnasium.registry)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register_all()
    assert gymnasium.registry == before


def test_registering_builds_no_task(monkeypatch):
    registry: dict = {}
    monkeypatch.setattr(gymnasium.envs.registration, "registry", registry)
    monkeypatch.setattr(gymnasium, "registry", registry)
    monkeypatch.setattr(catalog, "build", None)
    register_all()
    assert list(registry) == [environment(task) for task in ALL]


def test_in_a_fresh_interpreter_the_id_alone_imports_and_makes():
    program = f"import gymnasium; gymnasium.make('beyond.envs:{DIGITS}').reset(seed=0)"
    subprocess.run([sys.executable, "-c", program], cwd=catalog.CONF.parent, check=True)
