"""Whole splits as arrays, for scikit-learn."""

import pytest
import torch


@pytest.fixture
def arrays():
    def of(task, split):
        batch = task.at([0]).batch(split, torch.arange(task.at([0]).size(split)).unsqueeze(0))
        return batch.inputs[0].flatten(1).numpy(), batch.targets[0].numpy()

    return of
