"""What every test file may ask for."""

import pytest
import torch

from beyond import catalog
from beyond.errors import MissingDataError


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


@pytest.fixture(scope="session")
def load_task():
    """Return a function that loads a task, or skips the test where its data are not on this machine."""

    def load(name, **settings):
        task = catalog.load("task", name, **settings)
        try:
            task.at([0])
        except MissingDataError as missing:
            pytest.skip(str(missing))
        return task

    return load
