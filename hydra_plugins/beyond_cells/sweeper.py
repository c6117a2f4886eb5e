"""A sweep's cells: all checked before the first is trained; then trained, then reported."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from copy import deepcopy
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from beyond.catalog import CONTRACTS, PATH, VARIABLE, find, known_settings, require_declared
from beyond.errors import InputError, require
from beyond.files import expanded, write_whole_text
from beyond.run import memo
from beyond.run.explain import explain, opened
from beyond.run.notes import REPORT, holding
from beyond.run.page import note_page
from hydra_plugins.beyond_cells.configuration import read_cell, with_settings, without_hydra
from hydra_plugins.beyond_cells.grammar import requoted

if TYPE_CHECKING:
    from beyond.run.cell import Cell
    from beyond.run.outlook import Outlook
    from beyond.run.schedule import Schedule
    from beyond.run.survey import Survey
    from beyond.run.tuning import Tuned
    from beyond.run.worker import Worker

CHOICES = tuple(CONTRACTS)
TUNED = "tuned.settings"
SWEEPS = re.compile(r"\+{0,2}hydra\.sweeper\.")  # what decides, of Hydra's settings


class Asked(NamedTuple):
    """A cell with its method's choice in the catalogue, and the overrides that it is made of."""

    cell: Cell
    method: str
    overrides: Sequence[str] = ()


class CellSweeper(BasicSweeper):
    """Every combination of the swept values, once for every task and every arm of a study.

    What the user types counts: a choice of method, task, network or part of a method takes those
    lines of the study that agree with it; any other setting takes the place of the line's.

    Parameters
    ----------
    max_batch_size, params
        As in Hydra's basic sweeper; the first is not used.
    tasks, arms : list of str, optional
        Each a line of overrides that belong together: "task=text/languages budget.epochs=20",
        "method=backprop network=linear". A line may sweep by itself: "method=glob(*)".
    publish : str
        Where to import the function from that makes the report, given the study's folder.
    check : str
        The same for what refuses a paper that its module could not publish, before it is run.
    index : str
        The same for the index of all papers, which `+paper=all` writes at its end.
    n_workers : int, optional
        Workers to ask the launcher for; by default as many as it runs side by side.
    """

    def __init__(
        self,
        max_batch_size: int | None,
        params: dict[str, str] | None,
        tasks: Sequence[str] | None,
        arms: Sequence[str] | None,
        publish: str,
        check: str,
        index: str,
        n_workers: int | None,
    ) -> None:
        super().__init__(max_batch_size, params)
        self.lines = [f"{task} {arm}".split() for task in tasks or [""] for arm in arms or [""]]
        self.publish, self.check = publish, check
        whole = n_workers is None or (isinstance(n_workers, int) and n_workers > 0)
        require("hydra.sweeper.n_workers", "an integer >= 1, or null", n_workers, whole)
        self.n_workers = n_workers
        self.said: list[memo.Said] = []  # of the tuning

    def sweep(self, arguments: list[str]) -> Any:
        """Train every cell and report; the exit status is 1 if any run failed."""
        from rich.console import Console

        from beyond.run.display import ticking

        assert self.config is not None
        folder, console, tuned = self.folder, Console(stderr=True), "tune" in self.config
        with ticking(console, lambda: f"{folder}: reading what is asked for"):
            from beyond.run.schedule import lost  # it takes seconds

            publish = find("hydra.sweeper.publish", self.publish)
            _processes(self.config.hydra.launcher)  # refused before any work
            paper = self._paper()
            survey = self._survey()
            every = self._combinations(arguments)
            first = list(self._read(every)) if tuned or survey else self._read(every)
            if survey:
                survey.require((one.cell.arm, one.cell.run.keep_weights) for one in first)
        asked, n_cells = iter(first), len(every)
        if tuned:
            both = self._tuned(list(asked))
            asked, n_cells = iter(both), len(both)
        schedule, statuses = self._trained(asked, n_cells, folder)
        if paper is not None:
            note_page(folder, paper, self._command(arguments), schedule.cells)
        lacking = lost(statuses, "command")
        if lacking and not schedule.kept and len(set(statuses)) == 1:
            sys.exit(f"beyond: {lacking}")
        if survey:
            with ticking(console, lambda: f"{folder}: measuring the loss between solutions"):
                survey.record(folder)
        writing = ticking(console, lambda: f"{folder}: writing the report", False)
        with writing, holding(folder, REPORT), memo.printed() as shown:
            report = memo.tables_of(memo.contents(folder))
            publish(folder)
        if lacking:
            sys.exit(f"beyond: {lacking}")
        if "failed" in [*statuses, *(before.status for before in schedule.kept)]:
            sys.exit("beyond: some runs failed; the report lists them with their reasons")
        memo.keep([*self.said, (schedule.cells, schedule.short)], shown.getvalue(), report)
        return statuses

    @property
    def folder(self) -> Path:
        """The study's."""
        assert self.config is not None
        return expanded(self.config.hydra.sweep.dir)

    def _paper(self) -> Any:
        """Return the published result that is run, if one is; `InputError` if it is not sound."""
        assert self.config is not None
        if "paper" not in self.config:
            return None
        paper = OmegaConf.to_container(self.config.paper, resolve=True)
        self._require_sound(paper)
        return paper

    def _command(self, arguments: Sequence[str]) -> str:
        """What decides a study, as it is typed; where its runs go differs between machines."""
        assert self.config is not None
        variables = (name for name in (PATH, VARIABLE) if os.environ.get(name))
        found = [f"{name}={shlex.quote(os.environ[name])}" for name in variables]
        hydra = [one for one in self.config.hydra.overrides.hydra if SWEEPS.match(one)]
        # a setting is made a choice of one before Hydra reads it
        typed = [re.sub(r"=choice\((.*)\)$", r"=\1", one) for one in arguments]
        typed = [one for one in typed if _key(one) != "runs"]
        return " ".join([*found, shlex.join(["beyond", *typed, *hydra])])

    def _survey(self) -> Survey | None:
        """Return what is recorded of the loss around solutions, if that is asked for."""
        assert self.config is not None
        if "landscape" not in self.config:
            return None
        from beyond.run.survey import Survey

        settings: Any = OmegaConf.to_container(self.config.landscape, resolve=True)
        return Survey(**settings)

    def _require_sound(self, paper: Any) -> None:
        """Raise `InputError` for a paper that could not be published once it has run."""
        from beyond.run.tables import IDENTITY, RECORDED

        home, _ = require_declared("hydra.sweeper.check", self.check)
        published = require_declared("hydra.sweeper.publish", self.publish)[0] == home
        require("hydra.sweeper.publish", f"{home}.publish for a paper", self.publish, published)
        columns = {
            name: {column.name: column.type for column in table.columns}
            for name, table in RECORDED.items()
        }
        labels: dict[str, Collection[str]] = {column.name: () for column in IDENTITY}
        require_sound = find("hydra.sweeper.check", self.check)
        try:
            require_sound(paper, columns, labels | known_settings())
        except ValueError as error:
            raise InputError(str(error)) from error

    def _combinations(self, arguments: list[str]) -> list[list[str]]:
        """Overrides of every cell, those of the study's lines among them."""
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        typed = [
            [requoted(entry) for entry in cell]
            for cell in BasicSweeper.split_arguments(overrides, None)[0]
        ]
        lines = [
            BasicSweeper.split_arguments(parser.parse_overrides(opened(line)), None)[0]
            for line in self.lines
        ]
        every = [
            cell
            for entries in typed
            for cell in combined(entries, list(chain.from_iterable(lines)))
        ]
        if not every:
            patterns = [entry.input_line for entry in overrides if entry.is_sweep_override()]
            raise InputError(f"a pattern must match a choice, got {' '.join(map(str, patterns))}")
        tuned = any(_key(entry) == TUNED for entry in chain.from_iterable(every))
        allowed = "left out where arms are tuned"
        require("tuned", allowed, True, not (tuned and "tune" in (self.config or {})))
        return every

    def _read(self, every: Sequence[list[str]]) -> Iterator[Asked]:
        """Make the cell of each combination; `InputError` if a setting is out of range."""
        compose, told = cache(self._composed), dict[str, None]()
        for overrides in every:
            try:
                settings = [entry for entry in overrides if "." in _key(entry)]
                choices = [entry for entry in overrides if entry not in settings]
                shared, method = compose(*choices)
                others = ("hydra.", "paper.")  # of what cells do not have
                ours = [entry for entry in settings if not _key(entry).startswith(others)]
                config = with_settings(shared, ours)
                cell = read_cell(config, method, overrides, lambda line: told.update({line: None}))
            except (HydraException, OmegaConfBaseException) as error:
                raise InputError(explain(error, [*sys.argv[1:], *overrides])) from error
            yield Asked(cell, method, overrides)
        for line in told:
            tell(line)

    def _trained(
        self, asked: Iterable[Asked], n_cells: int, folder: Path, waits: bool = False
    ) -> tuple[Schedule, list[str]]:
        """Refuse the sweep if a setting is out of range; let the launcher's processes share what is
        left to train, and wait for what others train. Return the statuses of those trained.
        """
        from rich.console import Console

        from beyond.run.schedule import scheduled
        from beyond.run.worker import Planned

        assert self.config is not None
        schedule = scheduled(
            ((one.cell, one.method) for one in asked), n_cells, Planned.of, Console(stderr=True)
        )
        with holding(folder):
            write_whole_text(folder / "multirun.yaml", OmegaConf.to_yaml(self.config))
        return schedule, schedule.train(folder, self._launched, waits=waits)

    def _tuned(self, asked: Sequence[Asked]) -> list[Asked]:
        """Tune every arm; return those that were asked for, and the same with tuned settings."""
        from beyond.run.cell import TRIALS
        from beyond.run.schedule import lost
        from beyond.run.status import note_planned
        from beyond.run.tuning import tune

        folder, arms = self.folder / TRIALS, self._tunings(asked)
        note_planned(self.folder, {one.cell.run_id: one.cell.arm.label for one in asked})

        def train(trials: list[tuple[Cell, str]]) -> None:
            made = (Asked(*trial) for trial in trials)
            schedule, statuses = self._trained(made, len(trials), folder, waits=True)
            if lacking := lost(statuses, "command"):
                raise InputError(lacking)
            self.said.append((schedule.cells, schedule.short))

        def say(line: str) -> None:
            tell(line)
            self.said.append(f"{line}\n")

        found = tune(list(arms.values()), train, say)
        return [*asked, *(Asked(cell, arms[of].method) for of, cell in found.items())]

    def _tunings(self, asked: Iterable[Asked]) -> dict[str, Tuned]:
        """Begin the tuning of every arm, by its id."""
        from beyond.run.sampling import Tuning
        from beyond.run.tuned import fixed_by
        from beyond.run.tuning import Tuned

        assert self.config is not None
        settings: Any = OmegaConf.to_container(self.config.tune, resolve=True)
        tuning = Tuning(**settings)
        return {
            one.cell.arm.id: Tuned(one.cell, one.method, fixed_by(one.overrides), tuning)
            for one in asked
        }

    def _launched(self, worker: Worker) -> list[list[str]]:
        """Run as many workers as the launcher has processes; return what each of them does."""
        assert self.config is not None
        assert self.hydra_context is not None
        # what launchers compose in a worker: nothing of what was typed, its cells are settings
        config, folder = deepcopy(self.config), self.folder.as_posix().replace('"', '\\"')
        OmegaConf.update(config, "hydra.overrides.hydra", [f'hydra.sweep.dir="{folder}"'])
        OmegaConf.update(config, "hydra.sweep.dir", str(self.folder))
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.hydra_context, task_function=worker, config=config
        )
        n_processes = self.n_workers or _processes(self.config.hydra.launcher)
        jobs = [[]] * min(n_processes, len(worker.stacks))
        return [job.return_value for job in launcher.launch(jobs, initial_job_idx=0)]

    def _composed(self, *choices: str) -> tuple[DictConfig, str]:
        """Compose what cells with the same choices share, and name their method.

        Reading takes a tenth of a second.
        """
        assert self.hydra_context is not None
        assert self.config is not None
        loader = self.hydra_context.config_loader
        composed = loader.load_sweep_config(self.config, list(choices))
        return without_hydra(composed), composed.hydra.runtime.choices["method"]


class PlanSweeper(CellSweeper):
    """Tell what the sweep would do, what is there already and what it will cost: `beyond plan`.

    Parameters
    ----------
    speeds : str
        Where to import the function from that tells what recorded runs have cost, given the
        study's folder.
    **others
        As of `CellSweeper`.
    """

    def __init__(self, speeds: str, **others: Any) -> None:
        super().__init__(**others)
        self.speeds = speeds

    def sweep(self, arguments: list[str]) -> Any:
        """Refuse what a sweep refuses; train nothing, and write nothing."""
        from rich.console import Console

        from beyond.run.outlook import Outlook, Speeds, show
        from beyond.run.plan import Agenda
        from beyond.run.schedule import checked
        from beyond.run.stack import home, stacks

        assert self.config is not None
        find("hydra.sweeper.publish", self.publish)
        self._paper()
        every, agenda = self._combinations(arguments), Agenda()
        recorded = find("hydra.sweeper.speeds", self.speeds)
        n_processes = self.n_workers or _processes(self.config.hydra.launcher)
        outlook = Outlook(self.folder, Speeds(recorded(self.folder)), n_processes)
        asked = list(self._read(every))
        if survey := self._survey():
            survey.require((one.cell.arm, one.cell.run.keep_weights) for one in asked)
        if "tune" in self.config:
            asked += self._trials(asked, outlook)
        made = ((one.cell, one.method) for one in asked)
        looked = [
            (cell, todo)
            for cell, _, todo in checked(made, len(asked), agenda, Console(stderr=True))
        ]
        held = {one.run_id: one for cell, todo in looked if (one := todo.holder(cell))}
        states = {cell.run_id: home(stack) for stack in stacks([*held.values()]) for cell in stack}
        for cell, todo in looked:
            outlook.add(cell, todo, states)
        show(outlook, agenda)

    def _trials(self, asked: Sequence[Asked], outlook: Outlook) -> Iterator[Asked]:
        """Look at the trials of every arm; return what the arms become, where that is known."""
        from beyond.run.plan import Agenda

        for arm in self._tunings(asked).values():
            agenda, n_later = Agenda(), arm.replay()
            trials = [(one.cell, agenda.add(one.cell)) for one in arm.trials if one.cell]
            first = arm.trials[0].cell
            assert first is not None
            done = outlook.add_trials(arm.cell.arm, trials, first, n_later)
            if not done and arm.n_trials > 1 and arm.searched:
                outlook.add_tuned(arm.cell)
            elif done and arm.chosen:
                yield Asked(arm.with_values(arm.trials[arm.chosen].values), arm.method)


def tell(line: str) -> None:
    """Print a line of what is done."""
    from rich.console import Console

    from beyond.run.display import say

    say(Console(stderr=True), line)


def _processes(launcher: DictConfig) -> int:
    """How many processes a launcher runs side by side: Joblib's and Ray's `n_jobs`, SLURM's
    `array_parallelism`; the basic one runs in ours.
    """
    n_jobs = launcher.get("n_jobs", launcher.get("array_parallelism", 1))
    require("hydra.launcher.n_jobs", "an integer other than 0", n_jobs, n_jobs != 0)
    return n_jobs if n_jobs > 0 else os.cpu_count() or 1


def combined(typed: list[str], lines: list[list[str]]) -> list[list[str]]:
    """Overrides of the cells that a user's overrides and a study's lines make together.

    Raises
    ------
    InputError
        If no line agrees with what the user chose.
    """
    asked = {_key(entry): entry.partition("=")[2] for entry in typed}
    budget = any(key.partition(".")[0] == "budget" for key in asked)
    cells: list[list[str]] = []
    for line in lines:
        pairs = {_key(entry): entry.partition("=")[2] for entry in line}
        if any(asked.get(key, pairs[key]) != pairs[key] for key in CHOICES if key in pairs):
            continue
        lost = {
            key for key in pairs if key in asked or (budget and key.partition(".")[0] == "budget")
        }
        cells.append([*typed, *(entry for entry in line if _key(entry) not in lost)])
    if not cells:
        chosen = [f"{key}={asked[key]}" for key in CHOICES if key in asked]
        known = {
            key: sorted({_value(line, key) for line in lines} - {""})
            for key in CHOICES
            if key in asked
        }
        there = "; ".join(f"{key}: {', '.join(values)}" for key, values in known.items() if values)
        raise InputError(f"no line of the study has {' and '.join(chosen)}; its lines have {there}")
    return cells


def _key(entry: str) -> str:
    return entry.lstrip("+").partition("=")[0]


def _value(line: list[str], key: str) -> str:
    return next((entry.partition("=")[2] for entry in line if _key(entry) == key), "")
