"""Each task as a Gymnasium environment, single and vectorised, for any reinforcement learner.

Importing this module registers an id for every task, `beyond/image-digits-v0` for image/digits, and
reads no data:

    import gymnasium, beyond.envs
    env = gymnasium.make("beyond/image-digits-v0", split="train")
    envs = gymnasium.make_vec("beyond/image-digits-v0", num_envs=32)

`gymnasium.make("beyond.envs:beyond/image-digits-v0")` imports and makes at once. (Gymnasium 1.0
removed the entry points that registered a package automatically.) A task that comes in episodes is
refused when its environment is made: an answer there needs the episode's labelled examples, or it
is an environment already. The same bandit, from the same rewards, is what this project's methods
with the signal `reward` are told.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from beyond import catalog, losses
from beyond.contracts import SPLITS, Batch, TargetKind, Task
from beyond.errors import require, require_one_of
from beyond.settings import NonNegativeInt, PositiveInt, checked

Info = dict[str, Any]


class TaskEnv(gymnasium.Env[np.ndarray, Any]):
    """One example is shown, one action is taken, one reward is earned.

    Observation space: the inputs of one example. Real values: `Box` of the task's input shape,
    float32, between the smallest and the largest value in any split. Symbols: `MultiDiscrete`,
    int64.

    Action space: the answer. Classes: `Discrete`. Values: `Box`, float32, in units of the
    standardised target, as wide as the furthest training target from zero.

    Reward: classes, 1 for the right one, else 0; values, minus half the squared distance to the
    target.

    Episode: `reset` draws an example uniformly, with replacement; the first step ends the episode
    (terminated, never truncated) and shows the same example again. Training examples are not
    augmented.

    Arguments: `split`, `repetition`, and the task's settings, as
    `gymnasium.make("beyond/image-digits-v0", train_size=200)`.

    Version history: v0, the first.

    Parameters
    ----------
    task : str
        As on the command line, `image/digits`; the id sets it.
    split : {"train", "validation", "test"}
    repetition : int, >= 0
        Whose split: that of the replica with this seed. (The seed of `reset` decides what is drawn
        from it.)
    render_mode : str, optional
        There is nothing to see: Gymnasium warns of any. (Learners ask for one in passing.)
    **settings
        Replace those of the task.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  gymnasium's annotation

    def __init__(
        self,
        task: str,
        split: str = "train",
        repetition: int = 0,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        self.render_mode = render_mode
        self.bandit = _load(task, split, repetition, **settings)
        self.observation_space, self.action_space = (
            self.bandit.observation_space(),
            self.bandit.action_space(),
        )

    def reset(
        self, *, seed: int | None = None, options: Info | None = None
    ) -> tuple[np.ndarray, Info]:
        super().reset(seed=seed)
        self._shown = self.bandit.draw(self.np_random, 1)
        return self.bandit.show(self._shown)[0], {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, Info]:
        _require_reset(self)
        rewards = self.bandit.reward(self._shown, np.expand_dims(action, 0))
        return self.bandit.show(self._shown)[0], float(rewards[0]), True, False, {}


class TaskVectorEnv(VectorEnv[np.ndarray, Any, np.ndarray]):
    """Many examples at once, as one tensor program; see `TaskEnv` for spaces, reward and episode.

    Autoreset: in the same step. `step` returns the next examples; the answered ones are in
    `info["final_obs"]`. One generator draws for all.

    Parameters
    ----------
    task, split, repetition, **settings
        As in `TaskEnv`.
    num_envs : int, >= 1
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  gymnasium's annotation
        "render_modes": [],
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        task: str,
        num_envs: int = 1,
        split: str = "train",
        repetition: int = 0,
        **settings: Any,
    ) -> None:
        checked("num_envs", PositiveInt, num_envs)
        self.num_envs = num_envs
        self.bandit = _load(task, split, repetition, **settings)
        self.single_observation_space = self.bandit.observation_space()
        self.single_action_space = self.bandit.action_space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | None = None, options: Info | None = None
    ) -> tuple[np.ndarray, Info]:
        super().reset(seed=seed)
        self._shown = self.bandit.draw(self.np_random, self.num_envs)
        return self.bandit.show(self._shown), {}

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Info]:
        _require_reset(self)
        rewards = self.bandit.reward(self._shown, actions)
        answered = np.empty(self.num_envs, dtype=object)
        for index, observation in enumerate(self.bandit.show(self._shown)):
            answered[index] = observation
        self._shown = self.bandit.draw(self.np_random, self.num_envs)
        ended = np.ones(self.num_envs, dtype=np.bool_)
        info = {
            "final_obs": answered,
            "_final_obs": ended.copy(),
            "final_info": {},
            "_final_info": ended.copy(),
        }
        return self.bandit.show(self._shown), rewards, ended, ~ended, info


class Bandit:
    """What both environments share: spaces, what an answer earns; no state but the data.

    Parameters
    ----------
    task : Task
    split : {"train", "validation", "test"}
    repetition : int, >= 0
        The seed whose split is shown.
    """

    def __init__(self, task: Task, split: str, repetition: int = 0) -> None:
        require_one_of("split", SPLITS, split)
        checked("repetition", NonNegativeInt, repetition)
        require(
            "task",
            "one of single examples, not of episodes",
            task.spec.name,
            task.spec.episode is None and task.spec.world is None,
        )
        self.task = task
        self.split = split
        self.splits = task.at([repetition])
        self.size = self.splits.size(split)
        parts = {
            name: self.splits.batch(name, torch.arange(self.splits.size(name)).unsqueeze(0))
            for name in SPLITS
        }
        self.lowest = min(float(part.inputs.min()) for part in parts.values())
        self.highest = max(float(part.inputs.max()) for part in parts.values())
        self.furthest = float(parts["train"].targets.abs().max())
        self.answer_shape = (
            () if task.spec.target_kind is TargetKind.CLASSES else (task.spec.n_outputs,)
        )

    def observation_space(self) -> spaces.Space[np.ndarray]:
        spec = self.task.spec
        if spec.n_symbols:
            return spaces.MultiDiscrete(np.full(spec.input_shape, spec.n_symbols))
        return spaces.Box(self.lowest, self.highest, spec.input_shape, np.float32)

    def action_space(self) -> spaces.Space[Any]:
        spec = self.task.spec
        if spec.target_kind is TargetKind.CLASSES:
            return spaces.Discrete(spec.n_outputs)
        return spaces.Box(-self.furthest, self.furthest, self.answer_shape, np.float32)

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw the indices (n,) of examples."""
        return rng.integers(self.size, size=n)

    def show(self, indices: np.ndarray) -> np.ndarray:
        """Return the examples' inputs (n, *input_shape), a new array each time."""
        return self._batch(indices).inputs[0].numpy()

    def reward(self, indices: np.ndarray, actions: Any) -> np.ndarray:
        """Return what the answers (n,) or (n, n_outputs) earn, float64 of shape (n,).

        Raises `InputError` for answers of another shape, and for the first that is none.
        """
        given, spec = np.asarray(actions), self.task.spec
        shape = (len(indices), *self.answer_shape)
        require("actions", f"of shape {shape}", given.shape, given.shape == shape)
        if spec.target_kind is TargetKind.CLASSES:
            allowed = f"an integer in [0, {spec.n_outputs})"
            known = (given >= 0) & (given < spec.n_outputs) & (given.dtype.kind in "iu")
        else:
            allowed, known = "finite numbers", np.isfinite(given)
        if not known.all():
            require("an action", allowed, given[~known][0].item(), False)
        answers = torch.tensor(given).reshape(1, len(indices), 1, *self.answer_shape)  # one replica
        earned = losses.reward(self.task.spec.target_kind, answers, self._batch(indices).targets)
        return earned.flatten().double().numpy()

    def _batch(self, indices: np.ndarray) -> Batch:
        return self.splits.batch(self.split, torch.from_numpy(indices).unsqueeze(0))


def _require_reset(env: TaskEnv | TaskVectorEnv) -> None:
    """Raise `ResetNeeded` where nothing has been shown yet."""
    if not hasattr(env, "_shown"):
        raise ResetNeeded("nothing is shown yet: call reset before step")


@lru_cache(maxsize=8)  # a vector of single environments reads the data once
def _load(task: str, split: str, repetition: int, **settings: Any) -> Bandit:
    return Bandit(catalog.load("task", task, **settings), split, repetition)


def register_all() -> None:
    """Register every task that is not yet registered."""
    for name in catalog.complete("task"):
        environment = f"beyond/{name.replace('/', '-')}-v0"
        if environment not in gymnasium.registry:
            gymnasium.register(
                environment,
                entry_point="beyond.envs:TaskEnv",
                vector_entry_point="beyond.envs:TaskVectorEnv",
                kwargs={"task": name},
            )


register_all()
