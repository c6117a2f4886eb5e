"""Whole splits as arrays, for scikit-learn; folders that may not be opened."""

import os

import pytest
import torch


@pytest.fixture
def arrays():
    def of(task, split):
        batch = task.at([0]).batch(split, torch.arange(task.at([0]).size(split)).unsqueeze(0))
        return batch.inputs[0].flatten(1).numpy(), batch.targets[0].numpy()

    return of


@pytest.fixture
def lock(monkeypatch):
    """Return what locks a folder: permissions do not hold for those who test as root."""

    def locked(folder):
        opened = os.scandir

        def scandir(path):
            if str(path) == str(folder):
                raise PermissionError(13, "Permission denied", str(path))
            return opened(path)

        monkeypatch.setattr("os.scandir", scandir)
        return folder

    return locked
