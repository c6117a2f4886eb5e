"""Tables as a reader sees them: few columns, rounded, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.statistics import MIN_SEEDS
from analysis.summaries import ranges
from analysis.tables import COSTS, LEVELS, STATUSES, Frame, Tables, higher_is_better

NONE = "-"
_COST_NAMES = {"epochs": "epochs", "examples": "examples", "flops": "FLOPs", "seconds": "seconds"}


def number(value: float, digits: int = 3) -> str:
    """Round to significant digits: 0.950, 1,200, 3.4e+09; a dash for unknown."""
    if pd.isna(value):
        return NONE
    if np.isinf(value):
        return "not reached"
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:#.{digits}g}"


def score_text(value: float) -> str:
    """Round a score to three decimals: 0.950; a dash for unknown."""
    return number(value) if pd.isna(value) or abs(value) >= 100 else f"{value:.3f}"


def interval(mean: float, low: float, high: float) -> str:
    """Write a mean and its interval: 0.950 [0.941, 0.957]."""
    return score_text(mean) + ("" if np.isnan(low) else f" [{score_text(low)}, {score_text(high)}]")


def score_columns(summary: Frame) -> Frame:
    """Scores of one task."""
    return pd.DataFrame(
        {
            "arm": summary["arm"],
            "signal": summary["signal"],
            "replicas": [", ".join(f"{row[s]} {s}" for s in STATUSES if row[s]) for row in summary.to_dict("records")],
            "mean [95 % interval]": [interval(*row) for row in summary[["mean", "low", "high"]].to_numpy()],
            "best": summary["best"].map(score_text),
            "std": summary["std"].map(score_text),
            "at the end": summary["final_mean"].map(score_text),
            "overfitting": summary["overfitting_cost"].map(score_text),
            "rank": [f"{rank:.1f}" if rank > 0 else note for rank, note in summary[["rank", "rank_note"]].to_numpy()],
            "epochs": summary["epochs"].map(number),
            "seconds": summary["seconds"].map(number),
        }
    )


def printed_columns(summary: Frame) -> Frame:
    """Scores of one task, narrow enough for a terminal."""
    shown = score_columns(summary).rename(columns={"mean [95 % interval]": "mean [95 %]"})
    begun = summary[list(STATUSES)].sum(axis=1)
    finished = [f"{done}/{n}" for done, n in zip(summary["finished"], begun, strict=True)]
    return shown.assign(finished=finished)[["arm", "mean [95 %]", "rank", "finished", "seconds"]]


def cost_columns(summary: Frame) -> Frame:
    """Costs of one task, pre-training apart and added."""
    columns = {"arm": summary["arm"]}
    columns |= {_COST_NAMES[cost]: summary[cost].map(number) for cost in COSTS}
    for cost in ("flops", "seconds"):
        before = summary[f"pretraining_{cost}"]
        columns[f"pre-training {_COST_NAMES[cost]}"] = before.map(number)
        columns[f"{_COST_NAMES[cost]} in all"] = (summary[cost] + before.fillna(0)).map(number)
    if (summary["rewards"] > 0).any():
        columns["rewards asked"] = summary["rewards"].where(summary["rewards"] > 0).map(number)
    columns["weights"] = summary["n_weights"].map(number)
    columns["FLOPs a prediction"] = summary["inference_flops"].map(number)
    if (summary["inference_spikes"] > 0).any():
        for name in ("spikes", "accumulates"):
            counts = summary[f"inference_{name}"]
            columns[f"{name} a prediction"] = counts.where(counts > 0).map(number)
    columns["state bytes"] = summary["state_bytes"].map(number)
    return pd.DataFrame(columns)


def difference_columns(differences: Frame) -> Frame:
    """Paired differences of one task."""
    return pd.DataFrame(
        {
            "arm": differences["arm"],
            "pairs": differences["n"].map(str),
            "difference [95 % interval]": [interval(*row) for row in differences[["mean", "low", "high"]].to_numpy()],
            "p": differences["p"].map(number),
            "p (Holm)": differences["p_holm"].map(number),
            "smallest p": differences["smallest_p"].map(number),
            "d_z": differences["d_z"].map(number),
        }
    )


def target_columns(targets: Frame) -> Frame:
    """Cost to target of one task: reached by how many, and the medians."""
    columns: dict[str, Any] = {"arm": sorted(targets["arm"].unique())}
    for level in (level for level in LEVELS if level in set(targets["level"])):
        own = targets[targets["level"] == level].set_index("arm").reindex(columns["arm"])
        head = f"{level} ({own['target'].dropna().iloc[0]:g})"
        columns[f"{head} reached"] = [f"{r:.0f}/{n:.0f}" for r, n in own[["reached", "n"]].to_numpy()]
        for cost in ("epochs", "seconds"):
            columns[f"{head} {cost}"] = own[cost].map(number).array
    return pd.DataFrame(columns)


def headline(summary: Frame, differences: Frame | None) -> str:
    """Say in two sentences which arm has the highest mean, and how sure that is."""
    rows = summary[summary["n_seeds"] > 0]
    if rows.empty:
        return "No arm has a test score."
    best, score = rows.iloc[0], rows["score"].iloc[0]
    sense = "highest" if higher_is_better(score) else "lowest"
    text = (
        f"{best['arm']} has the {sense} mean test {score}, {interval(best['mean'], best['low'], best['high'])} over "
        f"{best['n_seeds']} seed{'s' if best['n_seeds'] != 1 else ''}"
    )
    if len(rows) > 1:
        second = rows.iloc[1]
        text += f"; {second['arm']} follows with {interval(second['mean'], second['low'], second['high'])}"
    text += "."
    if differences is not None and not differences.empty:
        worse = (differences["p_holm"] < 0.05).sum()
        text += (
            f" {worse} of {len(differences)} arms differ from {differences['reference'].iloc[0]} at p < 0.05 after "
            f"Holm's correction"
        )
        least = differences["smallest_p"].min() * len(differences)
        few = f"; with so few seeds none could (the smallest corrected p is {number(min(least, 1))})."
        text += few if least >= 0.05 else "."
    return text


def compared(tables: Tables) -> Frame:
    """What was compared: one row a task."""
    rows = []
    for task in tables.tasks:
        runs = tables.runs[tables.runs["task"] == task]
        ran = runs[runs["status"] != "skipped"]
        default = runs.loc[runs["default_network"], "network"]
        networks = dict.fromkeys([*default, *runs["network"]])
        budgets = [f"{number(amount)} {currency}" for amount, currency in _budgets(ran)]
        rows.append(
            {
                "task": task,
                "score": tables.score(task),
                "networks": ", ".join(networks),
                "weights": ", ".join(dict.fromkeys(number(n) for n in ran["n_weights"].dropna().sort_values())) or NONE,
                "arms": str(runs["arm"].nunique()),
                "seeds": ranges(ran["seed"].drop_duplicates()) or NONE,
                "budget a replica": " or ".join(budgets) or NONE,
            }
        )
    return pd.DataFrame(rows)


def warnings(tables: Tables) -> list[str]:
    """What makes the comparison weaker than it looks."""
    found = []
    for task in tables.tasks:
        runs = tables.runs[(tables.runs["task"] == task) & (tables.runs["status"] != "skipped")]
        if len(_budgets(runs)) > 1:
            found.append(f"{task}: budgets differ between runs, so the arms were not given the same compute.")
        seeds = runs.groupby("arm")["seed"].agg(frozenset)
        if len(set(seeds)) > 1:
            found.append(f"{task}: not all arms ran the same seeds; ranks and differences use the shared ones only.")
        few = sorted(arm for arm, own in seeds.items() if len(own) < MIN_SEEDS)
        if few:
            found.append(f"{task}: fewer than {MIN_SEEDS} seeds, not ranked: {', '.join(map(str, few))}.")
    commits = {str(m["commit"]) for m in tables.manifests.values() if m.get("commit")}
    if len(commits) > 1:
        found.append(f"The runs come from {len(commits)} commits of the code.")
    if any(m.get("dirty") for m in tables.manifests.values()):
        found.append("Some runs were made from a working tree with changes that were not committed.")
    processors = {str(m["processor"]) for m in tables.manifests.values() if m.get("processor")}
    if len(processors) > 1:
        found.append(f"The runs come from {len(processors)} kinds of processor: seconds are not comparable.")
    missing = [cell for cell, manifest in tables.manifests.items() if not manifest]
    if missing:
        found.append(f"No manifest: {', '.join(missing)}.")
    return found


def _budgets(runs: Frame) -> list[tuple[float, str]]:
    if "budget_currency" not in runs:
        return []
    pairs = runs[["budget", "budget_currency"]].dropna().drop_duplicates()
    return [(float(amount), str(currency)) for amount, currency in pairs.sort_values("budget").to_numpy()]


def provenance(manifests: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """What the manifests agree on, and how many values there are where they do not.

    Whatever keys a manifest has are shown; what belongs to single runs (settings, identity) is only counted.
    """
    values: dict[str, list[str]] = {}
    for manifest in manifests.values():
        for key, value in _flat(manifest):
            values.setdefault(key, []).append(value)
    lines = [("cells", str(len(manifests)))]
    for key, every in sorted(values.items()):
        distinct = sorted(set(every))
        shown = distinct[0] if len(distinct) == 1 else f"{len(distinct)} values: {', '.join(distinct[:3])}"
        lines.append((key, shown + (", …" if len(distinct) > 3 else "")))
    return lines


def _flat(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Dotted keys and their values as text; of nested mappings, packages alone are opened."""
    pairs = []
    for key, value in manifest.items():
        if key in ("packages", "versions"):
            pairs += [(f"{key}.{name}", str(version)) for name, version in value.items()]
        elif not isinstance(value, Mapping | list):
            pairs.append((key, number(value) if isinstance(value, float) else str(value)))
    return pairs


def latex(name: str, frame: Frame) -> str:
    """Format a table of all tasks for a paper (booktabs); the same columns as on the page."""
    if frame.empty:
        return "% nothing to show\n"
    columns = {"summary": score_columns, "paired_differences": difference_columns}.get(name, _rounded)
    shown = columns(frame.drop(columns="task"))
    shown.insert(0, "task", frame["task"])
    header, *body = (" & ".join(map(_escaped, row)) + r" \\" for row in [list(shown), *shown.to_numpy()])
    head = f"\\begin{{tabular}}{{{'l' * shown.shape[1]}}}"
    return "\n".join([head, r"\toprule", header, r"\midrule", *body, r"\bottomrule", r"\end{tabular}", ""])


def _rounded(frame: Frame) -> Frame:
    """Every number of a table as text."""
    return frame.apply(lambda column: column.map(number if column.dtype.kind == "f" else str))


def _escaped(text: str) -> str:
    replacements = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    replacements |= {character: f"\\{character}" for character in "&%$#_{}"}
    return "".join(replacements.get(character, character) for character in text)
