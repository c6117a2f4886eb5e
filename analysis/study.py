"""A study as an object: its tables as DataFrames, its figures as Axes, its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.runs import Frame
from analysis.tables import TableError, Tables, load, several

if TYPE_CHECKING:
    from analysis.figures.plots import Plots
    from analysis.summaries.ranking import Ranking


class Study:
    """What was recorded of a study, and what follows from it.

    Nothing is trained and nothing written, except by `report`.

    Parameters
    ----------
    folder : str or Path
        The study's, such as "runs/comparison".
    reference : str, optional
        Name of the arm that others are compared with; None: `backprop`, or where there is none the
        best by validation.
    against : str, or sequence of str
        Names of what is to be put beside the study's arms: see `compare`.
    as_tuned : bool
        Leave out the defaults of each arm that was tuned, see `as_tuned`.
    asked : iterable of str
        How the run_ids begin that were asked for, in a folder that may have more: where they are of
        one task, that need not be named.

    Attributes
    ----------
    folder : Path
        As given.
    reference : str, optional
        As given.
    is_as_tuned : bool
        As given.
    against : tuple of str
        As given.
    tables : Tables
        As the analysis reads them: rows of all runs, with the names of their arms.

    Raises
    ------
    TableError
        If the folder has no finished run, if no arm has the reference's name, or if nothing that
        was published can be compared.

    Examples
    --------
    >>> study = beyond.load("runs/comparison")
    >>> study.summary()[["task", "arm", "mean", "low", "high", "group"]]
    >>> axes = study.plot.convergence("image/digits")
    >>> axes[0].set_title("My title")
    """

    def __init__(
        self,
        folder: str | Path,
        reference: str | None = None,
        against: str | Sequence[str] = (),
        asked: Iterable[str] = (),
        as_tuned: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self._asked = tuple(asked)
        self.is_as_tuned = as_tuned
        self.reference = reference
        self.against = (against,) if isinstance(against, str) else tuple(against)
        self.tables: Tables = load(self.folder)
        self._all = self.tables
        if as_tuned:
            from analysis.summaries.tuning import as_tuned as without_defaults

            self.tables = without_defaults(self.folder, self.tables)
        if self.against:
            places = [self.folder, *map(Path, self.against)]
            where = Counter(map(realpath, places))
            if twice := [place for place in places if where[realpath(place)] > 1]:
                raise TableError(f"{twice[-1]} is given twice: an arm cannot be beside itself")
            from analysis.release import read
            from analysis.words.matching import beside

            self.tables = beside(self.tables, [read(other) for other in self.against])
        if reference is not None:
            _ = self._differences  # refuses a name that no arm has

    @property
    def tasks(self) -> list[str]:
        """Names of what arms are compared on: a task with its settings, split and budget."""
        return self.tables.tasks

    @property
    def arms(self) -> list[str]:
        """Names of what is compared."""
        return self.tables.arms

    @property
    def runs(self) -> Frame:
        """One row for each replica: status, scores, costs."""
        return self.tables.runs

    @property
    def curves(self) -> Frame:
        """One row for each replica, checkpoint, split and metric."""
        return self.tables.curves

    @property
    def layers(self) -> Frame:
        """One row for each replica, checkpoint and layer: gradient norms, alignments, ..."""
        return self.tables.layers

    @property
    def networks(self) -> Frame:
        """As `layers`, of the network as a whole."""
        return self.tables.networks

    @property
    def predictions(self) -> Frame:
        """One row for each replica, test example and output."""
        return self.tables.predictions

    def summary(self) -> Frame:
        """One row for each arm of each task: score, interval, rank, costs; see `summaries`."""
        return self._summary

    def differences(self) -> Frame:
        """One row for each arm and task: score less the reference's, at the same seeds."""
        return self._differences

    def between(self) -> Frame:
        """One row for each arm that is there twice, see `compare`: the other's score less ours."""
        from analysis.summaries.results import between

        return between(self.tables)

    def cost_to_target(self) -> Frame:
        """One row for each arm, task and level: median cost until the validation score meets it."""
        return self._cost_to_target

    def failures(self) -> Frame:
        """One row for each arm and reason of replicas that did not finish."""
        return self._failures

    def examples(self) -> dict[str, Frame]:
        """Return tables of what test examples tell, by name; see `example_tables`."""
        return self._examples

    def opening(self) -> str:
        """Say what the study found: who leads, who is at chance, at what cost, how sure."""
        from analysis.words.opening import opening

        return opening(self.tables, self._summary, self.rankings)

    def overall(self) -> dict[str, Frame]:
        """Return tables that compare arms over tasks, targets and currencies, by name.

        `interquartile_means` and `improvements` (see `aggregates`), `profiles` and `profile_scores`
        of cost to target (`profiles`), `mean_to_target` (`certainty`), `rank_stability`
        (`stability`).
        """
        return self._overall

    def headline(self, task: str | None = None) -> str:
        """Say which arm comes first on a task, if one does, over what.

        Parameters
        ----------
        task : str, optional
            One of `tasks`; may be left out where there is one, or one was asked for.
        """
        from analysis.words.sentences import headline

        task = self.task(task)
        rows = self._summary[self._summary["task"] == task]
        return headline(self.tables, rows, self.rankings[task], self.reference_on(task))

    def reference_on(self, task: str) -> str | None:
        """Return the arm that others are compared with on a task; None if nothing is compared."""
        differences = self._differences
        if differences.empty:
            return None
        names = differences.loc[differences["task"] == task, "reference"]
        return str(names.iloc[0]) if len(names) else None

    def caveats(self) -> list[str]:
        """Say what weakens the comparison, a line each."""
        from analysis.summaries.tuning import faults
        from analysis.words.sentences import warnings

        return [*warnings(self.tables), *faults(self._trials)]

    def trials(self) -> Frame:
        """One row for each trial of the study's tuning, if it has any; see `tuning.trials`."""
        return self._trials

    def tuning(self) -> dict[str, Frame]:
        """Return tables of what tuning has cost and gained, by name; none if nothing was tuned."""
        return self._tuning

    def compare(self, against: str | Sequence[str], reference: str | None = None) -> Study:
        """Put published arms beside this study's, without training them again.

        They are named as ours are, with ` (published)` behind, and are there on each task where
        task, settings, budget, split, data and default network are the same; `caveats` says what
        does not match. Of a published arm the study has no curves, layers or predictions; of one in
        another folder it has, and a task that the folder alone has is there too.

        Parameters
        ----------
        against : str, or sequence of str
            What was published, "gallery"; or the path of a file that `analysis.release` wrote, or
            of a study's folder, whose arms have its name behind; or several of these.
        reference : str, optional
            As of `Study`: this study's, unless another is named.

        Examples
        --------
        >>> study.compare("gallery").summary()
        """
        told = reference or self.reference
        return Study(self.folder, told, against, self._asked, self.is_as_tuned)

    def as_tuned(self) -> Study:
        """Return the study in which each arm has its tuned settings alone, under its plain name.

        Where the defaults were best, or nothing is searched, they stay; a caveat counts them.
        `TableError` if nothing was tuned.
        """
        return Study(self.folder, self.reference, self.against, self._asked, as_tuned=True)

    @property
    def plot(self) -> Plots:
        """The report's figures, each a method: `study.plot.convergence()`."""
        from analysis.figures.plots import Plots

        return Plots(self)

    def report(self, out: str | Path | None = None, also: Sequence[str] = ()) -> Path:
        """Write `index.html`, `figures/` and `tables/` into `out`.

        Without it into the folder's `report`; `as-tuned`, or `against-gallery`, where that is what
        it shows. Figures are SVG, and of the formats `also`, "png" and "pdf".

        Returns
        -------
        Path
            The page.
        """
        from analysis.page.study import write

        return write(self, out, also)

    def task(self, name: str | None = None) -> str:
        """Return a task's name; `TableError` with the known ones if there is none such.

        Without a name, that of the only task, or of the only one that was asked for.
        """
        if name is None:
            asked = self.runs.loc[self.runs["run_id"].str.startswith(self._asked), "task"]
            found = list(asked.unique()) or self.tasks
            if len(found) == 1:
                return str(found[0])
        if name not in self.tasks:
            got = "nothing" if name is None else repr(name)
            raise TableError(f"task must be one of {'; '.join(self.tasks)}; got {got}")
        return name

    @cached_property
    def rankings(self) -> dict[str, Ranking]:
        """Who is ranked on each task, and what is known of the order."""
        from analysis.summaries.ranking import rankings

        return rankings(self.tables)

    @cached_property
    def _summary(self) -> Frame:
        from analysis.summaries.results import summary

        return summary(self.tables, self.rankings)

    @cached_property
    def _differences(self) -> Frame:
        from analysis.summaries.results import paired_differences

        return paired_differences(self.tables, self.rankings, self.reference)

    @cached_property
    def _cost_to_target(self) -> Frame:
        from analysis.summaries.results import cost_to_target

        return cost_to_target(self.tables)

    @cached_property
    def _failures(self) -> Frame:
        from analysis.summaries.results import failures

        return failures(self.tables)

    @cached_property
    def _trials(self) -> Frame:
        from analysis.summaries.tuning import trials

        return trials(self.folder, self._all)

    @cached_property
    def _tuning(self) -> dict[str, Frame]:
        from analysis.summaries.tuning import after_trials, costs, gains, sensitivity

        if self._trials.empty:
            return {}
        return {
            "tuning_gains": gains(self.folder, self._all),
            "tuning_trials": after_trials(self._trials),
            "tuning_sensitivity": sensitivity(self._trials),
            "tuning_costs": costs(self._trials),
        }

    @cached_property
    def _overall(self) -> dict[str, Frame]:
        from analysis.summaries.aggregates import improvements, interquartile_means
        from analysis.summaries.certainty import mean_to_target
        from analysis.summaries.profiles import profile_scores, profiles
        from analysis.summaries.stability import rank_stability

        targets = self._cost_to_target
        return {
            "interquartile_means": interquartile_means(self.tables),
            "improvements": improvements(self.tables),
            "profiles": profiles(self.tables, targets),
            "profile_scores": profile_scores(self.tables, targets),
            "mean_to_target": mean_to_target(self.tables),
            "rank_stability": rank_stability(self.tables, self.rankings),
        }

    @cached_property
    def _examples(self) -> dict[str, Frame]:
        from analysis.summaries.example_tables import example_tables

        return example_tables(self.tables, self.reference)

    def __repr__(self) -> str:
        n_arms, n_tasks, n_runs = len(self.arms), len(self.tasks), len(self.runs)
        arms, tasks = several(n_arms, "arm"), several(n_tasks, "task")
        counts = f"{arms} on {tasks}, {several(n_runs, 'replica')}"
        return f"<Study {self.tables.study!r} in {str(self.folder)!r}: {counts}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: for each task the headline and the scores, then caveats."""
        from html import escape

        from analysis.words.columns import score_columns

        parts = []
        for task in self.tasks:
            rows = self._summary[self._summary["task"] == task]
            parts += [f"<h4>{escape(task)}</h4>", f"<p>{escape(self.headline(task))}</p>"]
            parts.append(score_columns(rows).to_html(index=False))
        parts += [f"<p>Caveat: {escape(line)}</p>" for line in self.caveats()]
        return "\n".join(parts)


def arms_with(folder: str | Path, planned: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return names of the arms that a study will have, sorted, where these replicas join it.

    Parameters
    ----------
    planned : iterable of mapping
        Of each replica what is known before it is trained: `task`, `method`, `network`,
        `default_network`, `variant`, `tuned`.
    """
    from analysis.tables import named_with

    return named_with(Path(folder), planned)
