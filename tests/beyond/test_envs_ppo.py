"""A learner from elsewhere learns a task through its environment."""

import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

import beyond.envs  # noqa: F401  registers the ids
from beyond import catalog


@pytest.mark.slow
def test_ppo_learns_the_digits():
    envs = make_vec_env("beyond/image-digits-v0", n_envs=64, seed=0)
    settings = {
        "n_steps": 16,
        "batch_size": 256,
        "n_epochs": 4,
        "learning_rate": 1e-3,
        "ent_coef": 0.01,
        "gamma": 0.0,
    }
    learner = PPO("MlpPolicy", envs, seed=0, device="cpu", **settings)
    learner.learn(total_timesteps=50 * 64 * 16)

    task = catalog.load("task", "image/digits")
    batch = task.at([0]).batch(
        "validation", torch.arange(task.at([0]).size("validation")).unsqueeze(0)
    )
    actions, _ = learner.predict(batch.inputs[0].numpy(), deterministic=True)
    assert (actions == batch.targets[0].numpy()).mean() >= 0.9  # measured: 0.97
