"""Tuning every arm alike: the same sampler, number of trials and seeds for all of them.

A trial is an ordinary cell, with other settings and the tuning's seeds, in the study's `trials`.
Trial 0 of every arm has the defaults. What is chosen is the trial with the best validation score,
the mean over its seeds at the selected checkpoints; a trial of which a replica failed, diverged or
was not trained counts, and is worse than every other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from math import inf, isfinite
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd

from beyond.errors import InputError
from beyond.installed import commit, version
from beyond.run import provenance
from beyond.run.arm import plain, shown
from beyond.run.cell import TRIALS, Cell
from beyond.run.notes import add_rows, holding, rows_of
from beyond.run.outcome import worst
from beyond.run.record import RunFolder
from beyond.run.sampling import Sampler, Tuning
from beyond.run.tuned import file_of, with_values, write
from beyond.search import Range, space

TUNED = "tuned.json"  # in the study's folder: which arm is which other one's, tuned
COSTS = ("epochs", "flops", "seconds")


@dataclass(frozen=True)
class Outcome:
    """What came of one trial.

    Attributes
    ----------
    status : str
        The worst among its replicas; "refused" if its settings do not go together.
    score : float
        Mean validation score over the seeds, at the selected checkpoints; -inf unless all replicas
        finished.
    costs : mapping of str to float
        Over its replicas, by the currency.
    """

    status: str
    score: float
    costs: Mapping[str, float]


REFUSED = Outcome("refused", -inf, dict.fromkeys(COSTS, 0.0))


def outcome(cell: Cell) -> Outcome | None:
    """Read what came of a trial, by the validation split alone; None if it is not there in full."""
    parts = [
        pd.read_parquet(path.with_name("runs.parquet"))
        for path in sorted(cell.study.glob(f"{cell.arm.id}-*/manifest.json"))
        if RunFolder(path.parent).finished
    ]
    if not parts:
        return None
    rows: Any = pd.concat(parts)
    rows = rows[rows["seed"].isin(cell.seeds)].drop_duplicates("seed")
    if len(rows) < len(cell.seeds):
        return None
    status = worst(list(rows["status"]))
    score = float(rows["best_validation_score"].mean()) if status == "finished" else -inf
    costs = {name: float(rows[name].sum()) if name in rows else 0.0 for name in COSTS}
    return Outcome(status, score if isfinite(score) else -inf, costs)


def best(outcomes: Sequence[Outcome]) -> int | None:
    """Return the number of the trial with the best validation score, the earliest of equal ones.

    None if no trial finished.
    """
    scores = [one.score for one in outcomes]
    return scores.index(max(scores)) if max(scores) > -inf else None


def searched(cell: Cell, fixed: Sequence[str] = ()) -> tuple[dict[str, Range], dict[str, Any]]:
    """Return what is searched of an arm, and the values that it has there.

    Parameters
    ----------
    fixed : sequence of str
        Settings, or parts, that were typed: they stay as they are.
    """
    found = {
        name: within
        for name, within in space(cell.arm.method).items()
        if not any(name == one or name.startswith(f"{one}.") for one in fixed)
    }
    return found, {name: reduce(getattr, name.split("."), cell.arm.method) for name in found}


@dataclass
class Trial:
    """One trial of an arm.

    Attributes
    ----------
    number : int
    values : mapping of str to value
        Of the settings that are searched.
    cell : Cell, optional
        None if these do not go together.
    outcome : Outcome, optional
        None until it is trained.
    """

    number: int
    values: Mapping[str, Any]
    cell: Cell | None
    outcome: Outcome | None = None


class Tuned:
    """The tuning of one arm.

    Parameters
    ----------
    cell : Cell
        As it is without tuning, at the report's seeds.
    method : str
        Its choice in the catalogue.
    fixed : sequence of str
        Settings that were typed.
    tuning : Tuning

    Attributes
    ----------
    trials : list of Trial
        By their numbers.
    """

    def __init__(self, cell: Cell, method: str, fixed: Sequence[str], tuning: Tuning) -> None:
        tuning.require_apart(cell.seeds)
        self.cell, self.method, self.tuning = cell, method, tuning
        self.n_trials = tuning.count(cell.arm.budget)
        within, self._default = searched(cell, fixed)
        self._sampler = Sampler(within, self._default, tuning) if within else None
        self.trials = [Trial(0, self._default, self._made({}))]

    def more(self, n: int) -> list[Trial]:
        """Ask for the next trials, up to n; none where trials can tell nothing."""
        first = self.trials[0].outcome
        if self._sampler is None or first is None or first.status == "skipped":
            return []
        asked = list[Trial]()
        while len(asked) < n and len(self.trials) < self.n_trials:
            if len(self.trials) == 1:
                self._sampler.begin(first.score)
            number, values = self._sampler.ask()
            try:
                made = self._made(values)
            except InputError:  # of settings that do not go together
                made = None
            asked.append(Trial(number, values, made, None if made else REFUSED))
            self.trials.append(asked[-1])
        return asked

    def replay(self) -> int:
        """Ask again for the trials that are there; return how many will be asked for after them."""
        asked = self.trials[:1]
        while asked and not self.look(asked):
            asked = self.more(self.tuning.at_once)
        return self.n_trials - len(self.trials) if asked and self._sampler else 0

    def look(self, trials: Sequence[Trial]) -> int:
        """Read what came of trials, and tell the sampler; return how many are not there."""
        lacking = 0
        for trial in trials:
            trial.outcome = outcome(trial.cell) if trial.cell else trial.outcome
            if trial.outcome is None:
                lacking += 1
            elif self._sampler and trial.number:
                self._sampler.tell(trial.number, trial.outcome.score)
        return lacking

    @property
    def searched(self) -> bool:
        """Whether there is anything that other trials could try."""
        return self._sampler is not None

    @property
    def chosen(self) -> int | None:
        """Number of the trial that is chosen; None if none finished."""
        return best([trial.outcome or REFUSED for trial in self.trials])

    def with_values(self, values: Mapping[str, Any]) -> Cell:
        """Return the cell with other settings, at the report's seeds."""
        return with_values(self.cell, values)

    def rows(self) -> list[dict[str, Any]]:
        """Say what each trial tries."""
        return [
            {
                **self._identity(),
                "trial": trial.number,
                "run": trial.cell.arm.id if trial.cell else "",
                "settings": dict(trial.values),
            }
            for trial in self.trials
        ]

    def origin(self) -> dict[str, Any]:
        """Say where the settings come from that were chosen."""
        outcomes = [trial.outcome or REFUSED for trial in self.trials]
        chosen, arm = self.chosen, self.cell.arm
        assert chosen is not None
        return {
            **self._identity(),
            "variant": arm.method_variant,
            "task_settings": plain(arm.task),
            "n_trials": len(self.trials),
            "trial": chosen,
            "validation_score": round(outcomes[chosen].score, 6),
            "validation_score_of_the_defaults": round(outcomes[0].score, 6),
            "costs_of_all_trials": {
                name: float(f"{sum(one.costs[name] for one in outcomes):.6g}") for name in COSTS
            },
            "data_sha256": self.cell.data,
            "source_digest": provenance.digest(self.cell.sources),
            "version": version(),
            **commit(),
        }

    def _identity(self) -> dict[str, Any]:
        arm, tuning = self.cell.arm, self.tuning
        return {
            "default": arm.id,
            "label": arm.label,
            "method": arm.name,
            "task": arm.task.spec.name,
            "network": arm.architecture.name,
            "budget": {arm.budget.currency: arm.budget.amount},
            "sampler": tuning.sampler,
            "sampler_seed": tuning.sampler_seed,
            "seeds": tuning.seeds,
        }

    def _made(self, values: Mapping[str, Any]) -> Cell:
        return with_values(
            self.cell,
            values,
            seeds=self.tuning.seeds,
            study_name=f"{self.cell.run.study_name}/{TRIALS}",
            keep_weights=False,
            test_also=None,
        )


def tune(
    arms: Sequence[Tuned],
    train: Callable[[list[tuple[Cell, str]]], None],
    tell: Callable[[str], None],
) -> dict[str, Cell]:
    """Give every arm its trials; return the tuned cells by the arms' ids, where one has changed.

    The study's folder has what each trial tries, in `trials/trials.json`, which arm is which other
    one's, tuned, in `tuned.json`, and settings with their origin in `tuned/`.

    Parameters
    ----------
    arms : sequence of Tuned
        Of one study.
    train : callable
        Trains those of these cells, each with its method's choice, that are not finished.
    tell : callable
        Is told what is done, in lines.

    Raises
    ------
    InputError
        If a trial was not trained, or another process is at it.
    """
    study = arms[0].cell.study
    tuned_of(study)  # refused before any work
    batch = [(arm, arm.trials[:1]) for arm in arms]
    while any(trials for _, trials in batch):
        note_trials(study, [row for arm in arms for row in arm.rows()])
        n_trials = sum(len(trials) for _, trials in batch)
        n_arms = sum(bool(trials) for _, trials in batch)
        tell(f"tuning: {n_trials} trials of {n_arms} arms, {arms[0].tuning.n_seeds} seeds each")
        train([(t.cell, arm.method) for arm, trials in batch for t in trials if t.cell])
        if lacking := sum(arm.look(trials) for arm, trials in batch):
            raise InputError(
                f"{lacking} of {n_trials} trials were not trained, or are by another process: the "
                "same command goes on"
            )
        batch = [(arm, arm.more(arm.tuning.at_once)) for arm in arms]
    kept = {arm.cell.arm.id: _kept(arm, study, tell) for arm in arms}
    return {of: cell for of, cell in kept.items() if cell is not None}


def _kept(arm: Tuned, study: Path, tell: Callable[[str], None]) -> Cell | None:
    """Write what was chosen of an arm; return its tuned cell, if it is another one."""
    chosen, told = arm.chosen, arm.cell.arm.label
    if chosen is None:
        statuses = sorted({trial.outcome.status for trial in arm.trials if trial.outcome})
        tell(f"{told}: not tuned, its trials are {', '.join(statuses)}")
        return None
    values = dict(arm.trials[chosen].values) if chosen else {}
    with holding(study):
        write(file_of(study / "tuned", arm.cell.arm), arm.trials[chosen].values, arm.origin())
    cell = arm.with_values(values)
    other = cell.arm.id != arm.cell.arm.id
    row = {"default": arm.cell.arm.id, "tuned": cell.arm.id, "trial": chosen, "settings": values}
    note_tuned(study, [row])
    if len(arm.trials) == 1 < arm.n_trials:
        tell(f"{told}: nothing is searched of it")
    elif other:
        settings = ", ".join(f"{name}={shown(value)}" for name, value in values.items())
        tell(f"{told}: tuned in {len(arm.trials)} trials, {settings}")
    else:
        tell(f"{told}: the defaults are best of {len(arm.trials)} trials")
    return cell if other else None


def note_trials(study: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep what each trial tries in `trials/trials.json`, beside what other tunings have tried."""
    add_rows(study / TRIALS / f"{TRIALS}.json", _key, rows)


def note_tuned(study: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep in `tuned.json` which arm of the study is which other one's, tuned."""
    add_rows(study / TUNED, _default, rows)


def trials_of(study: Path) -> dict[str, dict[str, Any]]:
    """What each trial of a study tries, by what tells it from the others; see `rows_of`."""
    return rows_of(study / TRIALS / f"{TRIALS}.json", _key)


def tuned_of(study: Path) -> dict[str, dict[str, Any]]:
    """Which arm of a study is which other one's, tuned, by the other one; see `rows_of`."""
    return rows_of(study / TUNED, _default)


def _default(row: Mapping[str, Any]) -> str:
    """Which arm one is tuned of; `KeyError` unless the row says all that ours do."""
    return itemgetter("default", "tuned", "trial", "settings")(row)[0]


def _key(row: Mapping[str, Any]) -> str:
    """Tell one trial from every other: an arm may be tuned again, in another way."""
    return json.dumps(
        [row[name] for name in ("default", "sampler", "sampler_seed", "seeds", "trial")]
    )
