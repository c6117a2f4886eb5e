"""Whole splits as arrays, for scikit-learn; folders that may not be opened; small files."""

import hashlib
import os
from dataclasses import replace

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


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Return what puts a small file in the place of the one that a task module reads."""
    readers = []

    def put(module, contents):
        file = replace(module.PUBLISHED.files[0], sha256=hashlib.sha256(contents).hexdigest())
        source = replace(module.PUBLISHED, files=(file,))
        monkeypatch.setenv("BEYOND_DATA", str(tmp_path))
        monkeypatch.setattr(module, "PUBLISHED", source)
        (tmp_path / source.name).mkdir(exist_ok=True)
        (tmp_path / source.name / file.name).write_bytes(contents)
        readers.extend(made for made in vars(module).values() if hasattr(made, "cache_clear"))
        forget()

    def forget():
        for reader in readers:
            reader.cache_clear()

    yield put
    forget()
