"""On a real device: every method's tables beside the CPU's, with the same draws; steps a second.

`pytest -m gpu -s tests/test_on_device.py` takes a few minutes; without a device it is skipped.
"""

from dataclasses import replace
from time import perf_counter

import pytest
import torch

from beyond import catalog
from beyond.hardware import Hardware
from beyond.testing.compare import require_same_rows
from beyond.testing.trial import Trial, run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]
CHOICES = catalog.names("method")
STEPS = 50
SEEDS = tuple(range(8))
# by chance, or by a decision about nearly equal numbers, one ends elsewhere from a rounding on
TOLERANCE = {"curves": (1e-2, 1e-2), "runs": (1e-2, 1e-2)}


@pytest.mark.parametrize("name", CHOICES)
def test_with_the_same_draws_its_tables_are_the_cpus(name):
    setup = Trial(catalog.load("method", name), name).setup(steps=3)
    here, there = (run(replace(setup, hardware=on)) for on in (Hardware(), Hardware("cuda")))
    assert set(there["runs"]["status"]) == {"finished"}, there["runs"]["reason"].iloc[0]
    for table, (rtol, atol) in TOLERANCE.items():
        require_same_rows(there[table], here[table], table, rtol, atol)


@pytest.mark.parametrize("name", CHOICES)
def test_steps_a_second(name):
    trial = Trial(catalog.load("method", name), name)
    told = []
    for on in (Hardware(), Hardware("cuda", "host"), Hardware("cuda", "device")):
        began = perf_counter()
        runs = run(replace(trial.setup(seeds=SEEDS, steps=STEPS), hardware=on))["runs"]
        assert set(runs["status"]) <= {"finished", "diverged"}, runs["reason"].iloc[0]
        told.append(
            f"{on.device}, draws={on.draws}: {len(SEEDS) * STEPS / (perf_counter() - began):,.0f}"
        )
    print(f"{name}: replica steps a second with evaluation, {'; '.join(told)}")  # noqa: T201
