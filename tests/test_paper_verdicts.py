"""Papers run as a user runs them: two whole; of others the part that one fault must turn.

A fault is a wrong constant in the settings or a wrong rule in the code. The claims named with it
hold without it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from analysis.summaries import quantities
from analysis.tables import load
from tests.mutants import Fault, copied, named_in

GOOD = {"reproduced", "relation holds"}


@dataclass(frozen=True)
class Case:
    """A fault, the claims that it must turn, and the part of the paper that they need.

    Attributes
    ----------
    paper : str
    claims : list of str
    fault : Fault
    arms : list of str, optional
        Texts of the lines of overrides that are run; None runs all.
    less : dict
        Texts in those lines, and what replaces them, where the claims need only part of a sweep.
    """

    paper: str
    claims: list[str]
    fault: Fault
    arms: list[str] | None = None
    less: Mapping[str, str] = field(default_factory=dict)


def settings(name):
    return Path("conf") / "paper" / f"{name}.yaml"


def first_of(method):
    """The first fault that a method's test names."""
    return named_in(Path("tests") / "methods" / f"test_{method}.py")[0]


CASES = [
    Case(
        "deep_linear",
        ["A3.c1", "A3.c2", "A3.c3", "A3.c4"],
        Fault(
            settings("deep_linear"),
            "learning_rate=0.001 network.hidden=[10] network.initialisation=identity",
            "learning_rate=0.00103 network.hidden=[10] network.initialisation=identity",
        ),
        arms=["network.initialisation=identity"],
    ),
    Case(
        "mnist1d",
        ["A1.a"],
        Fault(
            settings("mnist1d"), "optimizer.learning_rate=0.01", "optimizer.learning_rate=0.0001"
        ),
        arms=["cnn1d"],
        less={
            "${scaled:'cnn1d,linear','gru,cnn1d,linear'}": "linear",
            "features=false,true": "features=false",
        },
    ),
    Case("feedback_alignment", ["A6.a4"], first_of("feedback_alignment")),
    Case(
        "safe_mutations",
        ["A11.a''"],
        Fault(Path("beyond/kits/variation.py"), "if apart else 1", "if not apart else 1"),
        arms=["task=regression/gains"],
        less={"case=washout,medium,easy": "case=washout"},
    ),
    Case(
        "forward_gradient",
        ["B6.a'"],
        first_of("forward_gradient"),
        arms=[
            "network=linear task.train_size=300 method=forward_gradient method.n_tangents=256",
            "seeds=1000",
        ],
        less={"n_tangents=256,64,16": "n_tangents=16"},
    ),
    Case(
        "equilibrium_propagation",
        ["B8.a"],
        first_of("equilibrium_propagation"),
        arms=["budget.steps=1 method"],
    ),
    Case(
        "predictive_coding",
        ["B9.a", "B9.a'"],
        first_of("predictive_coding"),
        arms=["${paper.one_step}"],
    ),
]


def shorten(path, arms, less):
    """Leave only some of a paper's cells."""
    whole = yaml.safe_load(path.read_text())
    sweeper = whole["hydra"]["sweeper"]
    if arms is not None:
        sweeper["arms"] = [line for line in sweeper["arms"] if any(text in line for text in arms)]
    for key in ("arms", "tasks"):
        for text, shorter in less.items():
            sweeper[key] = [line.replace(text, shorter) for line in sweeper.get(key, [])]
    path.write_text("# @package _global_\n" + yaml.safe_dump(whole, sort_keys=False))


def verdicts(name, runs, sources):
    """Run a paper's fast form from the given copy of the sources; verdict by claim."""
    command = [
        sys.executable,
        "-m",
        "beyond.run.main",
        f"+paper={name}",
        "hydra/launcher=basic",
        f"runs={runs}",
    ]
    done = subprocess.run(
        command,
        cwd=sources,
        env={**os.environ, "PYTHONPATH": str(sources)},
        capture_output=True,
        text=True,
    )
    if "is not on this machine" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    folder = runs / "papers" / f"{name}-fast"
    chosen = json.loads((folder / quantities.SETTINGS).read_text())
    return {
        one.claim.id: one.verdict
        for one in quantities.judge_all(chosen, quantities.measure(chosen, load(folder)))
    }


@pytest.mark.parametrize(
    "name",
    ["feedback_alignment", pytest.param("equilibrium_propagation", marks=pytest.mark.slow)],
)
def test_every_claim_of_the_fast_form_holds(name, tmp_path):
    with copied() as sources:
        assert set(verdicts(name, tmp_path, sources).values()) <= GOOD


SHORTEST = "deep_linear"  # the others take a minute or two each


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.paper, marks=[pytest.mark.slow] * (case.paper != SHORTEST))
        for case in CASES
    ],
)
def test_a_fault_turns_the_verdict(case, tmp_path):
    for faults, expected in (((), GOOD), ((case.fault,), {"not reproduced"})):
        with copied(*faults) as sources:
            shorten(sources / settings(case.paper), case.arms, case.less)
            found = verdicts(case.paper, tmp_path / str(len(faults)), sources)
        assert {found[claim] for claim in case.claims} <= expected, found
