"""What a study found, in a few sentences: who leads, who is at chance, at what cost, how sure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.runs import Frame
from analysis.summaries.frontier import levels, points
from analysis.summaries.ranking import Ranking
from analysis.tables import Tables, higher_is_better, several
from analysis.words.columns import interval, number, score_text
from analysis.words.sentences import counted, listed, of_split, on_examples, tested_on

_SPOKEN = {"r2": "R²"}  # other scores by their names, without what tells their direction
_AMOUNTS = ((1e15, "quadrillion"), (1e12, "trillion"), (1e9, "billion"), (1e6, "million"))
_MOST_LEADERS = 4  # tasks whose leaders are named


@dataclass(frozen=True)
class _Found:
    """What is known of one task.

    Attributes
    ----------
    rows : DataFrame
        Of the summary, arms with a score.
    leader : str
        The arm with the best mean.
    rivals : list of str
        Those that are not told apart from it.
    beaten : int
        How many are.
    is_told : bool
        Whether the repetitions can tell arms apart at all.
    chance : float
        NaN where the tables do not know it.
    at_chance : list of str
        Arms that are not shown to do better, without the one that answers by chance on purpose.
    learners : list of str
        All arms but that one.
    n_ranked : int
        Arms all of whose repetitions finished.
    """

    task: str
    rows: Frame
    leader: str
    rivals: list[str]
    beaten: int
    is_told: bool
    chance: float
    at_chance: list[str]
    learners: list[str]
    n_ranked: int

    @property
    def is_chance(self) -> bool:
        """Whether no arm is shown to learn anything."""
        return bool(self.at_chance) and len(self.at_chance) == len(self.learners)

    def row(self, arm: str) -> dict[str, Any]:
        """The arm's row of the summary."""
        return self.rows[self.rows["arm"] == arm].iloc[0].to_dict()

    def value(self) -> str:
        """The leader's score and its interval."""
        row = self.row(self.leader)
        return interval(row["mean"], row["low"], row["high"])


def opening(tables: Tables, summary: Frame, orders: Mapping[str, Ranking]) -> str:
    """Say what a study found, from its tables; an arm's cost has its pre-training in it.

    Parameters
    ----------
    summary : DataFrame
        As `summaries.summary` makes it.
    orders : dict of str to Ranking
        By task.
    """
    every = [_found(tables, summary, orders[task], task) for task in tables.tasks]
    found = [one for one in every if one is not None]
    if not found:
        return "No arm has a test score."
    sentences = (
        _of_one(tables, found[0], orders[found[0].task])
        if len(tables.tasks) == 1
        else _of_several(tables, found, len(tables.arms))
    )
    return " ".join(filter(None, sentences))


def _found(tables: Tables, summary: Frame, order: Ranking, task: str) -> _Found | None:
    rows = summary[(summary["task"] == task) & (summary["n_seeds"] > 0)]
    if rows.empty:
        return None
    runs = tables.runs[tables.runs["task"] == task]
    constant = set(runs.loc[runs["method"] == "constant", "arm"])
    known, better = order.ties, order.ties.better
    leader = order.arms[known.order[0]] if order.arms else str(rows["arm"].iloc[0])
    others = [arm for arm in order.arms if arm != leader]
    told = [bool(better[order.arms.index(leader), order.arms.index(arm)]) for arm in others]
    rivals = [order.arms[place] for place in known.order[1:] if not better[known.order[0], place]]
    is_told = len(order.arms) > 1 and bool(np.isfinite(known.critical))
    chance = levels(tables, task).get("chance", np.nan)
    learners = [str(arm) for arm in rows["arm"] if arm not in constant]
    ranked = [arm for arm in constant if arm in order.arms] if is_told else []
    up, at_chance = higher_is_better(tables.score(task)), []
    for row in rows[rows["arm"].isin(learners)].to_dict("records"):
        if ranked and row["arm"] in order.arms:
            above = better[order.arms.index(row["arm"]), order.arms.index(ranked[0])]
        else:
            above = row["low"] > chance if up else row["high"] < chance
            if not np.isfinite([row["low"], chance]).all():
                continue  # neither shown nor not
        at_chance += [] if above else [str(row["arm"])]
    beaten, n_ranked = sum(told), len(order.arms)
    return _Found(
        task, rows, leader, rivals, beaten, is_told, chance, at_chance, learners, n_ranked
    )


def _of_one(tables: Tables, found: _Found, order: Ranking) -> list[str]:
    return [
        _lead(tables, found),
        "" if found.is_chance else _at_chance(found),
        _cost(tables, found),
        _sure(tables, found, order),
        _lost(found, order),
    ]


def _lead(tables: Tables, found: _Found) -> str:
    """Who has the best score, and who is not told apart."""
    score, others = tables.score(found.task), found.beaten + len(found.rivals)
    highest = "highest" if higher_is_better(score) else "lowest"
    name, value, where = f"test {spoken(score)}", found.value(), f"On {found.task}"
    if found.is_chance:
        return (
            f"{where} no arm is shown to do better than chance ({score_text(found.chance)}): the "
            f"{highest} mean {name} is that of {found.leader}, {value}."
        )
    if len(found.rows) == 1:
        return f"{where} {found.leader} reaches a {name} of {value}; no other arm has a score."
    if not found.is_told:
        few = "but so few repetitions cannot tell arms apart"
        alone = f"and {'no arm' if not found.n_ranked else 'no other arm'} is ranked"
        why = few if found.n_ranked > 1 else alone
        return f"{where} the {highest} mean {name} is that of {found.leader}, {value}, {why}."
    if not found.rivals:
        behind = {1: "the other arm", 2: "both others"}.get(others, f"all {counted(others)} others")
        return f"{where} {found.leader} leads with a {name} of {value}, ahead of {behind}."
    start = f"{where} {found.leader} has the {highest} mean {name}, {value}"
    if not found.beaten and others > 1:
        return f"{start}, but none of the {counted(others)} others is told apart from it."
    are = "is" if len(found.rivals) == 1 else "are"
    return f"{start}; {listed(found.rivals)} {are} not told apart from it."


def _at_chance(found: _Found) -> str:
    """Who is not shown to do better than chance, where it is known."""
    if not np.isfinite(found.chance) or len(found.learners) < 2:
        return ""
    chance = f"chance ({score_text(found.chance)})"
    above = [arm for arm in found.learners if arm not in found.at_chance]
    if not found.at_chance:
        return f"Every arm is shown to do better than {chance}."
    if len(above) < min(4, len(found.at_chance)):
        return f"Only {listed(above)} {_are(above, '')} better than {chance}."
    return f"{_first_up(listed(found.at_chance))} {_are(found.at_chance)} better than {chance}."


def _cost(tables: Tables, found: _Found) -> str:
    """What the leader spent, and the cheapest of those that are not told apart from it."""
    spent = points(tables, found.task).set_index("arm")
    if found.leader not in spent.index or found.is_chance:
        return ""
    leader = spent.loc[found.leader]
    text = f"It took {found.leader} {operations(leader['flops'])} to get there"
    if leader["before"] > 0:
        text += f", pre-training included ({operations(leader['before'])})"
    rivals = spent.loc[[arm for arm in found.rivals if arm in spent.index]]
    if found.is_told and len(rivals) and rivals["flops"].min() < leader["flops"]:
        cheapest = str(rivals["flops"].idxmin())
        text += f", and {cheapest} {operations(rivals['flops'].min())}"
        text += " with its pre-training" if rivals.loc[cheapest, "before"] > 0 else ""
    return f"{text}."


def _sure(tables: Tables, found: _Found, order: Ranking) -> str:
    """How many repetitions and examples, and what difference they could have shown."""
    runs = tables.runs[(tables.runs["task"] == found.task) & (tables.runs["status"] != "skipped")]
    n = order.ties.n if order.arms else int(found.rows["n_seeds"].max())
    each = "repetition" if n == 1 else "repetitions"
    ranked = "" if (found.rows["n_seeds"] == n).all() else "ranked "
    text = f"{_first_up(counted(n))} {each} of each {ranked}arm{of_split(runs)}{on_examples(runs)}"
    if np.isfinite(gap := order.ties.smallest_gap):
        text += f"; a true gap of {score_text(gap)} would have shown in four such studies of five"
    return f"{text}."


def _lost(found: _Found, order: Ranking) -> str:
    """Who is not ranked, and why; where nobody is, that has been said."""
    reasons = order.unranked.items() if found.is_told else ()
    lost = [f"{arm} ({why})" for arm, why in reasons if why != "skipped"]
    skipped = sum(why == "skipped" for why in order.unranked.values())
    text = f"Not ranked: {listed(lost)}." if lost else ""
    if skipped:
        one = skipped == 1
        text += f" {_first_up(counted(skipped))} {'arm' if one else 'arms'} cannot serve the task."
    return text.strip()


def _of_several(tables: Tables, found: Sequence[_Found], n_arms: int) -> list[str]:
    learnt = [one for one in found if one.is_told and not one.is_chance]
    chance = [one.task for one in found if one.is_chance]
    return [
        _tally(learnt, found, len(tables.tasks), n_arms),
        _leaders(tables, found),
        f"No arm is shown to do better than chance on {listed(chance)}." if chance else "",
        _never(found),
        _repeated(tables),
    ]


def _tally(learnt: Sequence[_Found], found: Sequence[_Found], n_tasks: int, n_arms: int) -> str:
    """Who is first, or not told apart from the first, on how many tasks, if any can be."""
    if not learnt:
        if any(one.is_told for one in found):
            why = ""
        elif any(one.n_ranked > 1 for one in found):
            why = ": for that, these are too few repetitions"
        else:
            why = ": fewer than two are ranked on each"
        return f"On none of the {counted(n_tasks)} tasks are arms told apart{why}."
    counts = Counter(arm for one in learnt for arm in (one.leader, *one.rivals))
    most = max(counts.values())
    top = sorted(arm for arm, count in counts.items() if count == most)
    on = f"all {counted(n_tasks)}" if most == n_tasks else f"{counted(most)} of {counted(n_tasks)}"
    lead, are = ("leads", "is") if len(top) == 1 else ("lead", "are")
    text = (
        f"Of {several(n_arms, 'arm')}, {listed(top)} {lead}, or {are} not told apart from the "
        f"leader, on {on} tasks"
    )
    if "backprop" in counts and "backprop" not in top:
        text += f", backprop on {counted(counts['backprop'])}"
    return f"{text}."


def _leaders(tables: Tables, found: Sequence[_Found]) -> str:
    """Who has the best mean on each of a few tasks, and what it cost."""
    told = [one for one in found if not one.is_chance]
    if not told or len(told) > _MOST_LEADERS:
        return ""
    parts = []
    for one in told:
        spent = points(tables, one.task).set_index("arm")["flops"]
        cost = f", {operations(spent[one.leader])}" if one.leader in spent.index else ""
        name = spoken(tables.score(one.task))
        parts.append(f"{one.leader} on {one.task} ({name} {one.value()}{cost})")
    text = f"The best mean test scores: {listed(parts, _MOST_LEADERS)}."
    if any(one.row(one.leader)["pretraining_flops"] > 0 for one in told):
        text += " Operations of pre-training are counted in."
    return text


def _never(found: Sequence[_Found]) -> str:
    """Arms that are at chance wherever chance is known, on two tasks at least."""
    known = [one for one in found if np.isfinite(one.chance) and not one.is_chance]
    tried, lost = (
        Counter(arm for one in known for arm in getattr(one, name))
        for name in ("learners", "at_chance")
    )
    never = sorted(arm for arm, count in lost.items() if count == tried[arm] > 1)
    return f"{_first_up(listed(never))} {_are(never)} better than chance on any." if never else ""


def _repeated(tables: Tables) -> str:
    """Repetitions and test examples over all tasks."""
    ran = tables.runs[tables.runs["status"] != "skipped"]
    seeds = ran.groupby(["task", "arm"])["seed"].nunique()
    least, most = int(seeds.min()), int(seeds.max())
    n = counted(most) if least == most else f"{least} to {most}"
    text = f"{_first_up(n)} repetition{'' if most == 1 else 's'} of each arm"
    sizes = ran["n_test"].dropna()
    if len(sizes):
        low, high = sizes.min(), sizes.max()
        text += (
            f", tested on {low:,.0f}"
            + (f" to {high:,.0f} " if high > low else " ")
            + tested_on(ran)
        )
    unranked = ran.groupby(["task", "arm"])["status"].agg(
        lambda status: (status != "finished").any()
    )
    lost = sorted({str(arm) for _, arm in unranked[unranked].index})
    text += f"; repetitions of {listed(lost)} did not finish (see Failures)" if lost else ""
    return f"{text}."


def spoken(score: str) -> str:
    """Name a score as one does in a sentence: accuracy, R², squared error."""
    name = score.removesuffix("_score")
    return _SPOKEN.get(name, name.replace("_", " "))


def operations(flops: float) -> str:
    """Write a number of operations: 3.1 billion FLOPs."""
    for size, name in _AMOUNTS:
        if flops >= size:
            return f"{number(flops / size, 2)} {name} FLOPs"
    return f"{flops:,.0f} FLOPs"


def _are(names: Sequence[str], no: str = " not") -> str:
    """Say that a few repetitions show what these do, or do not: others may."""
    return f"{'is' if len(names) == 1 else 'are'}{no} shown to do"


def _first_up(text: str) -> str:
    """Begin a sentence with a capital, unless it is the name of an arm."""
    word = text.split(" ")[0]
    return text[:1].upper() + text[1:] if word.isalpha() and word in _WORDS else text


_WORDS = {*map(counted, range(13))}
