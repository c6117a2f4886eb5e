"""Cells that are trained together, as replicas of one program.

They differ in their seeds, or in settings that may have a value for each replica (see
`beyond.replicas`). One step of a hundred small networks costs little more than one of ten, so a
sweep over rates takes a fraction of the time; each cell is recorded as if trained alone.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from beyond.replicas import family, stacked
from beyond.run.arm import plain
from beyond.run.cell import Cell, prepare
from beyond.run.provenance import short_hash
from beyond.run.setup import Setup

REPLICAS = 64  # of a program: with more, a step takes longer in proportion
WEIGHTS = 1 << 22  # of all its replicas: what a few copies of them take stays in bounds


def stacks(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cut a study's cells into those that are trained together, each stack by its first cell.

    The same cells in the same order make the same stacks.
    """
    found: list[list[Cell]] = []
    latest: dict[str, list[Cell]] = {}
    for cell in cells:
        key = _family(cell)
        stack = latest.get(key, [])
        if not stack or not _fits([*stack, cell]):
            found.append(stack := [])
            latest[key] = stack
        stack.append(cell)
    return found


def to_train(asked: Sequence[Cell], left: Collection[str]) -> list[list[Cell]]:
    """Return what is trained together of the cells that are asked for, where some are finished.

    A stack that was begun is trained as it was, so that an interruption changes no result; of
    another the finished cells stay out.

    Parameters
    ----------
    left : collection of str
        The run_ids of cells that are not finished.
    """
    found: list[list[Cell]] = []
    for stack in stacks(asked):
        begun = len(stack) > 1 and home(stack).exists()
        found.append(stack if begun else [cell for cell in stack if cell.run_id in left])
    return [stack for stack in found if stack]


def joined(cells: Sequence[Cell]) -> Setup:
    """Return the one program that trains the cells of a stack."""
    setups = [prepare(cell) for cell in cells]
    first, sizes = setups[0], [len(setup.seeds) for setup in setups]
    architecture = stacked([cell.arm.architecture for cell in cells], sizes)
    return replace(
        first,
        method=stacked([setup.method for setup in setups], sizes),
        network=architecture.build(first.task.spec),
        seeds=list(chain.from_iterable(setup.seeds for setup in setups)),
        identities=list(chain.from_iterable(setup.identities for setup in setups)),
        also={name: stacked([setup.also[name] for setup in setups], sizes) for name in first.also},
    )


def home(cells: Sequence[Cell]) -> Path:
    """Where the state of a stack is while it is trained: for one cell, its folder."""
    if len(cells) == 1:
        return cells[0].folder
    return cells[0].study / f"stack_{short_hash(repr([cell.run_id for cell in cells]))}"


def _family(cell: Cell) -> str:
    """What cells of one stack have in common; for a cell that is trained alone, its run_id."""
    arm, run = cell.arm, cell.run
    clocked = arm.budget.currency == "seconds" or run.time_limit is not None
    in_turn = arm.task.spec.world is not None  # episodes differ in length, and so in cost
    if not run.stacked or clocked or in_turn:  # others would be on its clock
        return cell.run_id
    shared = [
        *(family(arm.method), arm.task, family(arm.architecture), arm.budget, arm.start),
        replace(run, seeds=1),
    ]
    return json.dumps([plain(part) for part in shared], sort_keys=True)


def _fits(cells: Sequence[Cell]) -> bool:
    """Whether the replicas of these cells are no more than a program may have."""
    n_replicas = sum(len(cell.seeds) for cell in cells)
    arm = cells[0].arm
    n_weights = arm.architecture.build(arm.task.spec).n_weights
    return n_replicas <= REPLICAS and n_replicas * n_weights <= WEIGHTS
