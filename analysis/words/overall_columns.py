"""Tables over tasks, targets and currencies as a reader sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from analysis.runs import Frame
from analysis.words.columns import NONE, count, interval, number

_MEASURED = "test score"  # the ranking that all others are held against


def section(overall: Mapping[str, Frame], tasks: Sequence[str], reference: str) -> dict[str, Frame]:
    """Tables of `Study.overall`, those that have rows.

    Parameters
    ----------
    overall : dict of str to DataFrame
        As `Study.overall` returns it.
    tasks : sequence of str
        All of the study: with one, nothing is a mean over tasks.
    reference : str
        The arm that others are held against, or nothing.
    """
    found = {
        "means": mean_columns(overall, reference) if len(tasks) > 1 else pd.DataFrame(),
        "profiles": profile_columns(overall["profile_scores"]),
        "stability": stability_columns(overall["rank_stability"], tasks),
    }
    return {name: frame for name, frame in found.items() if len(frame)}


def mean_columns(overall: Mapping[str, Frame], reference: str) -> Frame:
    """Interquartile means, and the probability that an arm's run beats one of the reference."""
    means = overall["interquartile_means"].set_index("arm")
    better = _better_than(overall["improvements"], reference)
    arms = list(dict.fromkeys([*means.index, *sorted(better)]))
    shown: dict[str, list[str]] = {"arm": arms}
    if len(means):  # of some tasks chance is not known
        there = means.reindex(arms)
        shown |= {name: there[f"n_{name}"].map(count).to_list() for name in ("tasks", "runs")}
        shown["unfinished"] = there["unfinished"].map(count).to_list()
        shown["IQM of normalised scores"] = [
            interval(*row) for row in there[["iqm", "low", "high"]].to_numpy()
        ]
    if better:
        shown[f"P(better than {reference})"] = [better.get(arm, NONE) for arm in arms]
    return pd.DataFrame(shown)


def _better_than(improvements: Frame, reference: str) -> dict[str, str]:
    """By arm: the probability that its run is better, as a mean over the tasks of both."""
    over = improvements[improvements["n_tasks"] > 1][["arm", "other", "improvement", "low", "high"]]
    found = {}
    for arm, other, mean, low, high in over.to_numpy():
        if other == reference:
            found[arm] = interval(mean, low, high)
        elif arm == reference:
            found[other] = interval(1 - mean, 1 - high, 1 - low)
    return found


def profile_columns(scores: Frame) -> Frame:
    """By arm: targets met, and the profile's two scores in each currency."""
    if scores.empty:
        return scores
    first = scores.drop_duplicates("arm").set_index("arm")
    shown = pd.DataFrame({"arm": first.index})
    shown["targets met"] = [
        f"{met} of {problems}" for met, problems in first[["met", "problems"]].to_numpy()
    ]
    for currency, rows in scores.groupby("currency", sort=False):
        for column, within in (("score", "to 4 times"), ("log_score", "to 1,000 times, log")):
            values = rows.set_index("arm")[column].reindex(first.index)
            shown[f"{currency}, {within}"] = [number(value) for value in values]
    return shown


def stability_columns(stability: Frame, tasks: Sequence[str]) -> Frame:
    """Kendall's tau of each ranking with that by test score: a row each, a column for each task."""
    rows = stability[stability["first"] == _MEASURED]
    rows = rows.assign(tau=[interval(*row) for row in rows[["tau", "low", "high"]].to_numpy()])
    if rows.empty:
        return rows
    wide = rows.pivot_table(index="second", columns="task", values="tau", aggfunc="first")
    measures = list(dict.fromkeys(stability["second"]))
    wide = wide.reindex(index=[name for name in measures if name in wide.index], columns=tasks)
    wide = wide.dropna(axis="columns", how="all").fillna(NONE)
    return wide.rename_axis(None, axis="columns").reset_index(names="ranked by")
