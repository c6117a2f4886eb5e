"""What the report says: headlines, what was compared, caveats. No sentence beyond its interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from analysis.runs import Frame
from analysis.statistics.inference import MIN_SEEDS
from analysis.summaries.ranking import Ranking
from analysis.summaries.results import spans
from analysis.tables import Tables, by_run, higher_is_better, several
from analysis.words.columns import NONE, count, interval, number, score_text, share

_UNITS = {"processor": "", "cores": " cores", "threads": " threads"}
RETURN = "return_score"  # what an environment is scored by
UNSPENT = 0.05  # share of a budget that may be left without a word
_NUMERALS = (
    *("zero", "one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)


def headline(tables: Tables, summary: Frame, order: Ranking, reference: str | None) -> str:
    """Say which arm comes first on a task, if one does, over what, and what gap would have shown.

    Parameters
    ----------
    summary : DataFrame
        Of this task alone, as are the others.
    """
    rows = summary[summary["n_seeds"] > 0]
    if rows.empty:
        return "No arm has a test score."
    task, best = rows["task"].iloc[0], rows.iloc[0]
    runs = _ran(tables, task)
    n = order.ties.n if order.arms else int(best["n_seeds"])
    over = f"Over {n} repetition{'s' if n != 1 else ''}{of_split(runs)}{on_examples(runs)}, "
    sentences = [over + _first(rows, order)]
    old = set(chain.from_iterable(_stale(tables, task).values()))
    if old and old != set(runs["arm"]):
        sentences.append("Some arms were made by older code or data than others (see Caveats).")
    is_told = np.isfinite(order.ties.critical)
    if is_told and reference in order.arms and order.ties.last[order.arms.index(reference)] > 1:
        place, better = order.arms.index(reference), order.ties.better
        above, below = int(better[:, place].sum()), int(better[place].sum())
        tied = len(order.arms) - 1 - above - below
        sentences.append(
            f"Against {reference}: {above} better, {below} worse, {tied} not told apart."
        )
    if np.isfinite(order.ties.smallest_gap):
        gap = score_text(order.ties.smallest_gap)
        known = order.ties
        over = " (the median over those not told apart from it)" if len(known.rivals) > 1 else ""
        to = order.arms[known.order[0]]
        sentences.append(
            f"A true gap of {gap} to {to} would have been detected in 80 % of such studies{over}."
        )
    lost = [f"{arm} ({why})" for arm, why in order.unranked.items() if why != "skipped"]
    return " ".join([*sentences, *([f"Not ranked: {', '.join(lost)}."] if lost else [])])


def _first(rows: Frame, order: Ranking) -> str:
    """Name a winner, or those that may be first."""
    best, score = rows.iloc[0], rows["score"].iloc[0]
    sense = "highest" if higher_is_better(score) else "lowest"
    value = interval(best["mean"], best["low"], best["high"])
    highest = f"the {sense} mean test {score} is that of {prepared(best)}: {value}"
    front = rows[rows["rank_first"] == 1]
    if len(order.arms) < 2:
        return f"{highest}; {'nothing else' if order.arms else 'nothing'} is ranked."
    if not np.isfinite(order.ties.critical):
        return f"{highest}; so few repetitions tell no two arms apart."
    if len(front) > 1:
        names = listed([prepared(row) for row in front.to_dict("records")])
        return (
            f"{names} are not told apart; the {sense} mean test {score} is that of {best['arm']}: "
            f"{value}."
        )
    others = len(order.arms) - 1
    each = "the other" if others == 1 else f"each of the {counted(others)} other"
    apart = f"{each} ranked arm{'' if others == 1 else 's'}"
    first = front.iloc[0]  # another arm may have the better mean, by seeds that not all share
    value = interval(first["mean"], first["low"], first["high"])
    return f"{prepared(first)} comes first: test {score} {value}, told apart from {apart}."


def prepared(row: Any) -> str:
    """Name an arm, and what it had been given before its budget."""
    if not (before := row["pretraining_epochs"]) > 0:
        return row["arm"]
    return f"{row['arm']} (after {number(before, 4)} epochs of pre-training, not in the budget)"


def listed(names: Sequence[str], most: int = 4) -> str:
    """Join names as in a sentence, the last of many only counted: a, b, c and three others."""
    if len(names) > most:
        names = [*names[: most - 2], f"{counted(len(names) - most + 2)} others"]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def counted(n: int) -> str:
    """Write a small whole number as a word."""
    return _NUMERALS[n] if n < len(_NUMERALS) else str(n)


def of_split(runs: Frame) -> str:
    """Say what the repetitions share: nothing, or one split of the data."""
    kinds = sorted(set(runs["split"]) - {""})
    match kinds:
        case ["own"]:
            return f", each with its own {'episodes' if _played(runs).all() else 'split'}"
        case ["source test"]:
            return ", all on the test split that the source fixes"
        case ["source pools"]:
            return ", each with its own episodes of the test part that the source fixes"
        case ["source"]:
            return " on the one split that the source fixes"
        case [one]:
            return f" on one split, number {one}"
    return " on several kinds of split" if kinds else ""


def on_examples(runs: Frame) -> str:
    """Say how many examples the repetitions are tested on; nothing where it is not known."""
    counts = runs["n_test"].dropna()
    return f" ({_span(counts)} test {tested_on(runs)})" if len(counts) else ""


def tested_on(runs: Frame) -> str:
    """Say what runs are tested on: examples, or episodes of an environment, or both."""
    kinds = {"episodes" if played else "examples" for played in _played(runs)}
    return " or ".join(sorted(kinds, reverse=True))


def _played(runs: Frame) -> pd.Series:
    return runs["headline_metric"] == RETURN


def _span(values: pd.Series) -> str:
    """Write the range of some counts."""
    return "-".join(f"{value:,.0f}" for value in dict.fromkeys((values.min(), values.max())))


def covered(tables: Tables) -> str:
    """Say over what the intervals of this study are: what differs between its repetitions."""
    kinds = set(tables.runs.loc[_began(tables.runs), "split"])
    parts = []
    if "own" in kinds:
        parts.append(
            "A repetition (a seed) has its own split of the data, initial weights, order "
            "of examples and draws: the intervals cover all of these for this data set. They say "
            "nothing about other data."
        )
    if "source test" in kinds:
        parts.append(
            "Where the source fixes the test split alone, repetitions differ in which of the other "
            "examples train, in weights, order and draws: the intervals do not cover another "
            "choice of test examples."
        )
    if "source pools" in kinds:
        parts.append(
            "Where the source fixes what test episodes are made of, repetitions differ in the "
            "episodes drawn from it, in weights, order and draws: the intervals do not cover "
            "episodes of anything else."
        )
    if "source" in kinds:
        parts.append(
            "Where the source fixes the split, repetitions differ in weights, order and draws "
            "alone: the intervals do not cover another choice of test examples."
        )
    if fixed := sorted(filter(str.isdigit, kinds)):
        parts.append(
            f"With one split for all repetitions (split_seed {', '.join(fixed)}) the intervals "
            "hold for that split: on another one the order may be reversed."
        )
    if "" in kinds:
        parts.append(
            "Where the tables do not say how the data were split, assume one split for all "
            "repetitions."
        )
    return " ".join(parts)


def compared(tables: Tables) -> Frame:
    """What was compared: one row per task, as `tables.load` tells tasks apart."""
    rows = []
    for task in tables.tasks:
        runs = tables.runs[tables.runs["task"] == task]
        ran = _ran(tables, task)
        budgets = [f"{amount:,g} {currency}" for amount, currency in _budgets(ran)]
        sizes = [ran[f"n_{split}"].dropna() for split in ("train", "validation", "test")]
        rows.append(
            {
                "task": task,
                "score": tables.score(task),
                "networks": "; ".join(_networks(runs)),
                "arms": str(runs["arm"].nunique()),
                "seeds": spans(ran["seed"].drop_duplicates()) or NONE,
                "split": ", ".join(sorted(set(ran["split"]) - {""})) or NONE,
                "train / validation / test": " / ".join(
                    _span(counts) if len(counts) else NONE for counts in sizes
                ),
                "budget per replica": " or ".join(budgets) or NONE,
                "changed for all arms": ", ".join(dict.fromkeys(runs["settings"])) or NONE,
            }
        )
    return pd.DataFrame(rows)


def _networks(runs: Frame) -> list[str]:
    """Networks of a task, the default first, each with the number of its weights."""
    names = dict.fromkeys([*runs.loc[runs["default_network"], "network"], *runs["network"]])
    sizes = {
        name: sorted(runs.loc[runs["network"] == name, "n_weights"].dropna().unique())
        for name in names
    }
    return [
        name + (f" ({' or '.join(map(count, counts))} weights)" if counts else "")
        for name, counts in sizes.items()
    ]


def warnings(tables: Tables) -> list[str]:
    """What makes the comparison weaker than it looks."""
    found = list(_apart(tables))
    found += [f"{task}: {line}" for task in tables.tasks for line in _of_task(tables, task)]
    found += [*tables.repeated, *tables.notes]
    if tables.unfinished:
        begun = ("was begun but not finished", "were begun but not finished")
        found.append(_left_out(tables.unfinished, *begun))
    if tables.damaged:
        them = "it" if len(tables.damaged) == 1 else "them"
        found.append(
            f"{_left_out(tables.damaged, 'cannot be read', 'cannot be read')} The manifest, or a "
            f"table, is not what the run wrote; the same command trains {them} again."
        )
    commits = {str(m["commit"]) for m in tables.manifests.values() if m.get("commit")}
    if len(commits) > 1:
        found.append(f"The runs come from {len(commits)} commits of the code.")
    if any(m.get("dirty") for m in tables.manifests.values()):
        found.append(
            "Some runs were made by code, or settings, with changes that were not committed."
        )
    for names, what in (
        (("processor", "cores"), "kinds of machine"),
        (("threads",), "numbers of threads"),
    ):
        runs = Counter(
            ", ".join(f"{made[name]}{_UNITS[name]}" for name in names if made.get(name))
            for made in tables.manifests.values()
        )
        runs.pop("", None)
        if len(runs) > 1:
            told = "; ".join(f"{several(n, 'run')} on {value}" for value, n in sorted(runs.items()))
            found.append(
                f"The runs used {len(runs)} {what} ({told}): seconds are not comparable between "
                "them, in any table or figure."
            )
    return found


def _left_out(cells: Sequence[str], one: str, several_of_them: str) -> str:
    """Name cells that are not in the report, and say what became of one, or of several."""
    what = f"{one}, and is" if len(cells) == 1 else f"{several_of_them}, and are"
    return f"{several(len(cells), 'cell')} {what} not in this report: {', '.join(cells)}."


def _apart(tables: Tables) -> Iterable[str]:
    """Tasks on which not all runs can be compared."""
    for name, told in tables.runs.groupby("task_name")["task"].unique().items():
        if len(told) > 1:
            conditions = "; ".join(task for task in tables.tasks if task in told)
            yield (
                f"{name}: runs that differ in the task's settings, budget, split or data are "
                f"ranked and tested apart: {conditions}."
            )


def _of_task(tables: Tables, task: str) -> Iterable[str]:
    runs = _ran(tables, task)
    if stale := _stale(tables, task):
        told = "; ".join(
            f"{', '.join(dict.fromkeys(arms))} ({files})" for files, arms in stale.items()
        )
        yield (
            f"stale, made by code or data that have changed since: {told}. rerun=stale trains them "
            "again."
        )
    if differing := _differing_sources(tables, task):
        yield f"the code that decides the result differs between runs. {'; '.join(differing)}."
    if len(set(runs["n_train"].dropna())) > 1:
        yield f"arms were trained on different numbers of examples: {_span(runs['n_train'])}."
    finished = runs[runs["status"] == "finished"]
    early = finished["reason"].fillna("") != ""
    if early.any():
        told = [
            f"{arm} {int(stopped.sum())} of {len(stopped)}"
            for arm, stopped in early.groupby(finished["arm"])
            if stopped.any()
        ]
        yield f"stopped early, by `early_stopping`, replicas of {', '.join(told)}."
    spent = finished[~early & (finished["spent"] > 0)].groupby("arm")["spent"].mean()
    if (left := 1 - spent[spent < 1 - UNSPENT]).any():
        arms = ", ".join(f"{arm} {share(value)}" for arm, value in left.items())
        yield f"left unspent, because one more step would have exceeded the budget: {arms}."
    seeds = runs.groupby("arm")["seed"].agg(frozenset)
    if len(set(seeds)) > 1:
        yield "not all arms ran the same seeds; ranks and differences use the shared ones only."
    few = sorted(arm for arm, ran in seeds.items() if len(ran) < MIN_SEEDS)
    if few:
        yield f"fewer than {MIN_SEEDS} seeds, not ranked: {', '.join(map(str, few))}."


def _stale(tables: Tables, task: str) -> dict[str, list[str]]:
    """Arms of a task by what has changed since they were trained, if anything has."""
    return _by(
        _cells(tables, task),
        lambda manifest: ", ".join(tables.stale.get(str(manifest.get("run_id")), ())),
    )


def _cells(tables: Tables, task: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Arm and manifest of each run of a task that began, by arm; without those that lack one."""
    manifests = by_run(tables.manifests)
    runs = _ran(tables, task)[["run_id", "arm"]].drop_duplicates().sort_values("arm").to_numpy()
    return [(arm, manifests[run_id]) for run_id, arm in runs if run_id in manifests]


def _by(
    cells: Iterable[tuple[str, Mapping[str, Any]]], take: Callable[[Mapping[str, Any]], Any]
) -> dict[str, list[str]]:
    """Arms by what is taken from their manifests; those that lack it are left out."""
    found: dict[str, list[str]] = {}
    for arm, manifest in cells:
        if value := take(manifest):
            found.setdefault(str(value), []).append(arm)
    return found


def _differing_sources(tables: Tables, task: str) -> list[str]:
    """Source files that differ between a task's runs, with the arms of each version."""
    found: dict[str, list[str]] = {}
    published = set(tables.runs.loc[tables.runs["release"] != "", "run_id"])  # told in `notes`
    cells = [
        (arm, made) for arm, made in _cells(tables, task) if made.get("run_id") not in published
    ]
    for file in sorted({file for _, manifest in cells for file in manifest.get("sources", ())}):
        versions = _by(cells, lambda manifest, file=file: manifest.get("sources", {}).get(file))
        if len(versions) > 1:
            told = ", another for ".join(
                ", ".join(dict.fromkeys(arms)) for _, arms in sorted(versions.items())
            )
            found.setdefault(told, []).append(file)
    return [f"{', '.join(files)}: one version for {told}" for told, files in found.items()]


def _ran(tables: Tables, task: str) -> Frame:
    """Replicas of a task that began."""
    return tables.runs[(tables.runs["task"] == task) & _began(tables.runs)]


def _began(runs: Frame) -> pd.Series:
    return runs["status"] != "skipped"


def _budgets(runs: Frame) -> list[tuple[float, str]]:
    pairs = runs[["budget", "budget_currency"]].dropna().drop_duplicates()
    return [
        (float(amount), str(currency))
        for amount, currency in pairs.sort_values("budget").to_numpy()
    ]
