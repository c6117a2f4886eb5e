"""A paper's page, from what was measured."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.statistics.inference import INTERVAL, mean_interval
from analysis.summaries.claims import VERDICTS, Judged
from analysis.summaries.quantities import ABOUT, about, answers
from analysis.tables import Tables

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
    command = f"beyond +{kind}={paper['name']}" + (
        "" if paper["scale"] == "fast" else f" scale={paper['scale']}"
    )
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
        f"`{command}` at commit {commits}: {len(manifests)} cells, {wall:,.0f} s of work "
        "on one core each.",
        "",
        *_stale(tables),
        *_section("What was found", answers(paper, quantities)),
        _counted(judged, kind),
        "",
        "| claim | published | how it is known | measured [95 % interval] | seeds | verdict |",
        "|---|---|---|---|---|---|",
        *claim_rows(judged),
        "",
        *map(_criterion, judged),
        "",
        *itertools.chain.from_iterable((f"![{alt}]({name}.png)", "") for name, alt in figures),
        *_section("What is not reproduced, and why", paper.get("findings", ())),
        *_section(differing, paper.get("departures", none)),
        "## Quantities",
        "",
        f"Means over seeds, each with its {INTERVAL}, from the run tables.",
        "",
        "| quantity | mean [95 % interval] | seeds |",
        "|---|---|---|",
        *measured_rows(quantities),
        "",
    ]
    return "\n".join(lines)


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
    """How many claims have each verdict."""
    counts = Counter(one.verdict for one in judged)
    told = [f"{counts[verdict]} {verdict}" for verdict in VERDICTS[kind] if counts[verdict]]
    return f"{len(judged)} claims: {', '.join(told)}."


def _section(title: str, lines: Sequence[str]) -> list[str]:
    """A titled list; nothing without lines."""
    return [f"## {title}", "", *(f"- {line}" for line in lines), ""] if lines else []


def _criterion(one: Judged) -> str:
    """What would make a claim hold, and why that much."""
    claim = one.claim
    expressions = " and ".join(f"`{expression}`" for expression in claim.holds)
    condition = f"holds if {expressions}" if expressions else "is not measured"
    return f"- **{claim.id}** {condition}. {claim.why}"


def claim_rows(judged: Sequence[Judged]) -> list[str]:
    """One row per claim."""
    rows = []
    for one in judged:
        claim = one.claim
        found = f" {claim.reimplemented}" if claim.reimplemented else ""
        known = f"{HOW[claim.how]}{found}: {claim.source}"
        cells = [
            f"{claim.id} {claim.says}",
            claim.published or "-",
            known,
            one.measured or "-",
            str(one.n_seeds or "-"),
        ]
        rows.append(f"| {' | '.join(cells)} | **{one.verdict}** |")
    return rows


def measured_rows(quantities: Mapping[str, pd.Series]) -> list[str]:
    """One row per quantity that was run."""
    rows = []
    for name, values in quantities.items():
        if len(values):
            low, high = mean_interval(values.to_numpy())
            known = np.isfinite(values).all() and np.isfinite(low)
            interval = f" [{low:.4g}, {high:.4g}]" if known else ""
            rows.append(f"| {name} | {values.mean():.4g}{interval} | {len(values)} |")
    return rows
