"""A paper's page, from what was measured."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.statistics.inference import INTERVAL
from analysis.summaries.claims import VERDICTS, Judged
from analysis.summaries.expressions import interval_of
from analysis.summaries.quantities import ABOUT, about, answers, tabled
from analysis.tables import Tables, several

HOW = {
    "read": "read in the source",
    "recalled": "from memory, so only the relation is checked",
    "exact": "theory",
    "measured": "measured by a re-implementation",
    "expected": "expected beforehand",
}


def markdown(
    paper: Mapping[str, Any],
    tables: Tables,
    quantities: Mapping[str, pd.Series],
    judged: Sequence[Judged],
    figures: Sequence[tuple[str, str]],
) -> str:
    """Return the page: verdicts, figures, quantities, departures, cost and provenance."""
    manifests = list(tables.manifests.values())
    commits = ", ".join(sorted({str(manifest.get("commit", ""))[:12] for manifest in manifests}))
    wall = sum(float(manifest.get("wall_seconds", 0)) for manifest in manifests)
    asked = about(paper)
    kind = ABOUT[asked]
    differing, none = (
        ("What differs from the source", ["Nothing known."])
        if asked == "citation"
        else ("Limits", [])
    )
    lines = [
        f"# {paper['title']}",
        "",
        paper[asked],
        "",
        f"`{_command(paper, kind)}` at commit {commits}: {several(len(manifests), 'cell')}, "
        f"whose wall times add up to {f'{wall:,.0f}' if wall >= 10 else f'{wall:.2g}'} s.",
        "",
        *_stale(tables),
        *_found(paper, quantities),
        _counted(judged, kind),
        "",
        *claim_rows(judged),
        "",
        *map(_criterion, judged),
        "",
        *itertools.chain.from_iterable((f"![{alt}]({name}.png)", "") for name, alt in figures),
        *_section("What is not reproduced, and why", paper.get("findings", ())),
        *_section(differing, paper.get("departures", none)),
        *_section("What the names mean", _meanings(paper)),
        "## Quantities",
        "",
        f"Means over seeds, each with its {INTERVAL}, from the run tables.",
        "",
        *measured_rows(quantities),
        "",
    ]
    return "\n".join(lines)


def _command(paper: Mapping[str, Any], kind: str) -> str:
    """What was typed, one after the other; where that is not known of all runs what usually is."""
    scaled = "" if paper["scale"] == "fast" else f" scale={paper['scale']}"
    return " && ".join(paper.get("commands", [f"beyond +{kind}={paper['name']}{scaled}"]))


def _stale(tables: Tables) -> list[str]:
    """Say which cells were made by what has changed since."""
    stale = sorted(set(tables.manifests).intersection(tables.stale))
    if not stale:
        return []
    changed = sorted(set(itertools.chain.from_iterable(tables.stale[cell] for cell in stale)))
    are, them = ("is", "it") if len(stale) == 1 else ("are", "them")
    return [
        f"{len(stale)} of them {are} stale: what made {them} has changed since "
        f"({', '.join(changed)}).",
        "",
    ]


def _counted(judged: Sequence[Judged], kind: str) -> str:
    """How many claims have each verdict, and when an expectation has one."""
    counts = Counter(one.verdict for one in judged)
    told = [f"{counts[verdict]} {verdict}" for verdict in VERDICTS[kind] if counts[verdict]]
    expected = any(one.claim.how == "expected" and one.verdict != "not run" for one in judged)
    undecided = f" What was expected is undecided where its {INTERVAL} has both answers."
    return f"{several(len(judged), 'claim')}: {', '.join(told)}.{undecided if expected else ''}"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    """A titled list; nothing without lines."""
    return [f"## {title}", "", *(f"- {line}" for line in lines), ""] if lines else []


def _found(paper: Mapping[str, Any], quantities: Mapping[str, pd.Series]) -> list[str]:
    """Sentences and tables of what a page answers; nothing without either."""
    lines = [f"- {line}" for line in answers(paper, quantities)]
    tables = itertools.chain.from_iterable(tables_of(paper, quantities))
    found = [*lines, *([""] if lines else []), *tables]
    return ["## What was found", "", *found] if found else []


def _criterion(one: Judged) -> str:
    """What would make a claim hold, and why that much."""
    claim = one.claim
    alike = {
        expression: family for family in claim.families for expression in family.members.values()
    }
    conditions = dict.fromkeys(
        _for_each(alike[expression].pattern, alike[expression].ranges)
        if expression in alike
        else f"`{expression}`"
        for expression in claim.holds
    )
    condition = f"holds if {' and '.join(conditions)}" if conditions else "is not measured"
    return f"- **{claim.id}** {condition}. {claim.why}"


def _for_each(pattern: str, ranges: Mapping[str, Sequence[str]]) -> str:
    """Write what a pattern is, and what the names in it run through."""
    told = [f"{name} {', '.join(labels)}" for name, labels in ranges.items()]
    return f"`{pattern}`{' for ' if told else ''}{'; '.join(told)}"


def _meanings(paper: Mapping[str, Any]) -> list[str]:
    """What those quantities are that follow from others."""
    lines = []
    for name, entry in paper["measure"].items():
        if "equals" in entry:
            given = {**entry.get("for", {}), **entry.get("over", {})}
            ranges = {key: list(map(str, values)) for key, values in given.items()}
            lines.append(f"`{name}` is {_for_each(entry['equals'], ranges)}")
    return lines


def tables_of(paper: Mapping[str, Any], quantities: Mapping[str, pd.Series]) -> list[list[str]]:
    """Lines of each of the page's tables, with mean and interval by row and column."""
    found = []
    for table, cells in tabled(paper, quantities):
        columns = [str(column) for row in list(cells.values())[:1] for column in row]
        lines = [
            f"| {' | '.join(['', *columns])} |",
            "|---" * (1 + len(columns)) + "|",
            *(f"| {' | '.join([str(row), *one.values()])} |" for row, one in cells.items()),
        ]
        about_it = [table["about"], ""] if "about" in table else []
        found.append([f"**{table['title']}**", "", *about_it, *lines, ""])
    return found


def claim_rows(judged: Sequence[Judged]) -> list[str]:
    """One row per claim below a heading, without a column that says nothing of any."""
    rows = []
    for one in judged:
        claim = one.claim
        found = f" {claim.reimplemented}" if claim.reimplemented else ""
        rows.append(
            {
                "claim": f"{claim.id} {claim.says}",
                "published": claim.published or "-",
                "how it is known": f"{HOW[claim.how]}{found}: {claim.source}",
                "measured [95 % interval]": one.measured or "-",
                "seeds": str(one.n_seeds or "-"),
                "verdict": f"**{one.verdict}**",
            }
        )
    named = rows[0] if rows else ()
    columns = [column for column in named if any(row[column] != "-" for row in rows)]
    return [
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
        *(f"| {' | '.join(row[column] for column in columns)} |" for row in rows),
    ]


def measured_rows(quantities: Mapping[str, pd.Series]) -> list[str]:
    """One row per quantity that was run, below a heading."""
    rows = ["| quantity | mean [95 % interval] | seeds |", "|---|---|---|"]
    for name, values in quantities.items():
        if len(values):
            low, high = interval_of(values)
            known = np.isfinite(values).all() and np.isfinite(low)
            interval = f" [{low:.4g}, {high:.4g}]" if known else ""
            n = values.notna().sum()
            mean = f"{values.mean():.4g}{interval}" if n else "no value"
            of = "" if n == len(values) else f" of {len(values)}"
            rows.append(f"| {name} | {mean} | {n}{of} |")
    return rows
