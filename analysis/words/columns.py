"""Tables as a reader sees them: few columns, rounded, in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.runs import COSTS, LEVELS, RESULT, STATUSES, Frame
from analysis.statistics.inference import INTERVAL
from analysis.tables import Tables

NONE = "-"
_NUMBER = re.compile(
    r"-|not reached|<?\s*-?[\d,.]+(e[+-]\d+)?( %)?( \[.*\])?( \(\d+ of \d+\))?(/\d+)?"
)
_COST_NAMES = {
    "epochs": "epochs",
    "examples": "examples",
    "flops": "FLOPs",
    "seconds": "step seconds",
}


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
    """Round a score to three decimals: 0.950, and 0.000 without a sign; a dash for unknown."""
    return number(value) if pd.isna(value) or abs(value) >= 100 else f"{value:z.3f}"


def count(value: float) -> str:
    """Write a whole number: 11, 2,410, 1.98e+06; a dash for unknown."""
    return f"{value:,.0f}" if abs(value) < 1e6 else number(value)


def share(value: float) -> str:
    """Write a share in per cent: 99.5 %; a dash for unknown."""
    return NONE if pd.isna(value) else f"{100 * value:.3g} %"


def interval(mean: float, low: float, high: float) -> str:
    """Write a mean and its interval: 0.950 [0.941, 0.957]."""
    return score_text(mean) + ("" if np.isnan(low) else f" [{score_text(low)}, {score_text(high)}]")


def rank_text(first: float, last: float, group: str, note: str) -> str:
    """Write a rank interval and the letters of tie groups, 1-3 ab; or why there is none."""
    if pd.isna(first):
        return f"not ranked: {note}"
    return f"{first:.0f}{f'-{last:.0f}' if last > first else ''} {group}"


def ranks(summary: Frame) -> list[str]:
    """Rank intervals of a summary, in words."""
    return [
        rank_text(*row)
        for row in summary[["rank_first", "rank_last", "group", "rank_note"]].to_numpy()
    ]


def drawn(tables: Tables) -> dict[str, Frame]:
    """Rows that figures of replicas and of training are drawn from, with the names of arms."""
    seed = ["task", "arm", "seed"]
    curves = tables.curves[tables.curves["metric"] == tables.curves["headline_metric"]]
    targets = [f"{cost}_to_{level}" for level in LEVELS for cost in COSTS]
    reached = [name for name in targets if name in tables.runs]
    along = [*seed, "checkpoint", *COSTS]
    return {
        "scores": tables.runs[[*seed, "status", RESULT, *reached]],
        "curves": curves[[*along, "split", "metric", "value"]],
        "layers": tables.layers[
            [*along, "network", "depth", "layer", "n_weights", "gradient_norm", "update_cosine"]
        ],
    }


def tie_groups(summary: Frame) -> list[tuple[str, list[str]]]:
    """Letters of one task, each with the arms that have it, the best first."""
    letters = sorted(set("".join(summary["group"].dropna())))
    of = zip(summary["arm"], summary["group"].fillna(""), strict=True)
    members = list(of)
    return [(letter, [arm for arm, group in members if letter in group]) for letter in letters]


def numeric(shown: Frame) -> set[str]:
    """Columns of a table as a reader sees it that hold numbers, with or without an interval."""
    return {
        name
        for name in shown
        if all(_NUMBER.fullmatch(str(cell)) for cell in shown[name])
        and not all(cell == NONE for cell in shown[name])
    }


def means(summary: Frame) -> list[str]:
    """Means of a summary with intervals, and of how many replicas where some did not finish."""
    begun = summary[list(STATUSES)].sum(axis=1)
    rows = zip(*(summary[name] for name in ("mean", "low", "high", "n_seeds")), begun, strict=True)
    return [
        interval(mean, low, high) + (f" ({done} of {n})" if 0 < done < n else "")
        for mean, low, high, done, n in rows
    ]


def score_columns(summary: Frame) -> Frame:
    """Scores of one task."""
    gains = summary[["selected_gain", "selected_low", "selected_high"]].to_numpy()
    return pd.DataFrame(
        {
            "arm": summary["arm"],
            "signal": summary["signal"],
            "replicas": [
                ", ".join(f"{row[s]} {s}" for s in STATUSES if row[s])
                for row in summary.to_dict("records")
            ],
            "mean [95 % interval]": means(summary),
            "rank": ranks(summary),
            "best": summary["best"].map(score_text),
            "std": summary["std"].map(score_text),
            "at the end": summary["final_mean"].map(score_text),
            "selected - end [95 %]": [interval(*row) for row in gains],
            "epochs": summary["epochs"].map(number),
            "step seconds per replica": summary["seconds"].map(number),
            "step seconds of the run": summary["total_seconds"].map(number),
        }
    )


def printed_columns(summary: Frame, width: int) -> Frame:
    """Scores of one task for a terminal of so many letters; names are broken, numbers are not."""
    begun = summary[list(STATUSES)].sum(axis=1)
    columns = {
        "mean [95 %]": [interval(*row) for row in summary[["mean", "low", "high"]].to_numpy()],
        "rank": [folded(rank, 12) for rank in ranks(summary)],
        "finished": [f"{done}/{n}" for done, n in zip(summary["finished"], begun, strict=True)],
        "step\nseconds per\nreplica": [number(seconds) for seconds in summary["seconds"]],
    }
    taken = sum(
        2 + max(map(len, "\n".join([name, *cells]).split("\n"))) for name, cells in columns.items()
    )
    return pd.DataFrame(
        {"arm": [folded(arm, max(width - taken - 2, 16)) for arm in summary["arm"]], **columns}
    )


def folded(name: str, width: int) -> str:
    """Break a name into lines of so many letters, after a blank or one of "/.,_=" if possible."""
    lines = [""]
    for part in re.split(r"(?<=[ /,_=])|(?<=\.)(?=\D)", name):
        if lines[-1] and len(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(map(str.rstrip, lines))


def cost_columns(summary: Frame) -> Frame:
    """Costs of one task, pre-training apart and added."""
    columns = {"arm": summary["arm"]}
    columns["budget spent"] = summary["spent"].map(share)
    columns |= {_COST_NAMES[cost]: summary[cost].map(number) for cost in COSTS}
    columns["step seconds of the run"] = summary["total_seconds"].map(number)
    for cost in ("flops", "seconds"):
        before = summary[f"pretraining_{cost}"]
        columns[f"pre-training {_COST_NAMES[cost]}"] = before.map(number)
        columns[f"{_COST_NAMES[cost]} in all"] = (summary[cost] + before.fillna(0)).map(number)
    if (summary["rewards"] > 0).any():
        columns["rewards asked"] = summary["rewards"].where(summary["rewards"] > 0).map(number)
    columns["weights"] = summary["n_weights"].map(count)
    columns["FLOPs a prediction"] = summary["inference_flops"].map(count)
    if (summary["inference_spikes"] > 0).any():
        for name in ("spikes", "accumulates"):
            counts = summary[f"inference_{name}"]
            columns[f"{name} a prediction"] = counts.where(counts > 0).map(number)
    columns["state bytes"] = summary["state_bytes"].map(count)
    return pd.DataFrame(columns)


def difference_columns(differences: Frame) -> Frame:
    """Paired differences of one task."""
    return pd.DataFrame(
        {
            "arm": differences["arm"],
            "pairs": differences["n"].map(str),
            "difference [95 % interval]": [
                interval(*row) for row in differences[["mean", "low", "high"]].to_numpy()
            ],
            "p (all pairs)": differences["p_corrected"].map(number),
            "smallest p": differences["smallest_p"].map(number),
            "d_z": differences["d_z"].map(number),
        }
    )


def target_columns(targets: Frame) -> Frame:
    """Cost to target of one task: reached by how many, and the medians."""
    columns: dict[str, Any] = {"arm": sorted(targets["arm"].unique())}
    for level in (level for level in LEVELS if level in set(targets["level"])):
        rows = targets[targets["level"] == level].set_index("arm").reindex(columns["arm"])
        head = f"{level} ({rows['target'].dropna().iloc[0]:g})"
        columns[f"{head} reached"] = [
            f"{r:.0f}/{n:.0f}" for r, n in rows[["reached", "n"]].to_numpy()
        ]
        for cost in ("epochs", "seconds"):
            columns[f"{head} {_COST_NAMES[cost]}"] = rows[cost].map(number).array
    return pd.DataFrame(columns)


def tuning_columns(found: Mapping[str, Frame], task: str) -> dict[str, Frame]:
    """Tables of the tuning of one task's arms: gains, trials, sensitivity, costs."""
    names = ("gains", "trials", "sensitivity", "costs")
    gains, after, settings, costs = (
        found[f"tuning_{name}"][found[f"tuning_{name}"]["task"] == task] for name in names
    )
    wide: dict[str, Any] = {"arm": sorted(after["arm"].unique())}
    for k in sorted(map(int, after["k"].unique())):
        rows = after[after["k"] == k].set_index("arm").reindex(wide["arm"])
        wide[f"{k} trial{'s' * (k > 1)}"] = [
            interval(*row) for row in rows[["validation", "low", "high"]].to_numpy()
        ]
    rows = after.sort_values("k").drop_duplicates("arm", keep="last").set_index("arm")
    wide["test, of all"] = rows["test"].reindex(wide["arm"]).map(score_text).array
    return {
        "gains": pd.DataFrame(
            {
                "arm": gains["arm"],
                "defaults": gains["default"].map(score_text),
                "tuned": gains["tuned"].map(score_text),
                "gain [95 % interval]": [
                    interval(*row) for row in gains[["mean", "low", "high"]].to_numpy()
                ],
                "pairs": gains["n"].map(str),
                "p": gains["p"].map(number),
                "tuned settings": [
                    ", ".join(f"{name}={value}" for name, value in row.items())
                    for row in gains["settings"]
                ],
            }
        ),
        "trials": pd.DataFrame(wide),
        "sensitivity": pd.DataFrame(
            {
                "arm": settings["arm"],
                "setting": settings["setting"],
                "explains": settings["share"].map(share),
                "p": settings["p"].map(number),
                "in the best trial": settings["best"].map(str),
            }
        ),
        "costs": pd.DataFrame(
            {
                "arm": costs["arm"],
                "trials": costs["trials"].map(str),
                "not finished": costs["not_finished"].map(str),
                **{_COST_NAMES[cost]: costs[cost].map(number) for cost in COSTS},
            }
        ),
    }


def failure_columns(failures: Frame) -> Frame:
    """Replicas that did not finish."""
    return failures.assign(spent=failures["spent"].map(share)).rename(
        columns={"spent": "budget spent"}
    )


def provenance(manifests: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """What the manifests agree on, and how many values there are where they do not.

    Whatever keys a manifest has are shown; what belongs to single runs (settings, identity) is only
    counted.
    """
    values: dict[str, list[str]] = {}
    for manifest in manifests.values():
        for key, value in _flat(manifest):
            values.setdefault(key, []).append(value)
    lines = [("cells", str(len(manifests)))]
    took = [
        manifest["wall_seconds"] for manifest in manifests.values() if "wall_seconds" in manifest
    ]
    if took:
        lines.append(("hours of all cells", number(sum(took) / 3600)))
    for key, every in sorted(values.items()):
        distinct = sorted(set(every))
        shown = f"{len(distinct)} values: " if len(distinct) > 1 else ""
        shown += ", ".join(distinct[:3]) + (", …" if len(distinct) > 3 else "")
        lines.append((key, shown))
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
    """Format a table of a study for a paper (booktabs); the same columns as on the page."""
    if frame.empty:
        return "% nothing to show\n"
    columns = {"summary": score_columns, "paired_differences": difference_columns}.get(
        name, _rounded
    )
    tasks = frame[["task"]] if "task" in frame else frame[[]]
    shown = pd.concat([tasks, columns(frame.drop(columns=list(tasks)))], axis=1)
    header, *body = (
        " & ".join(map(escaped, row)) + r" \\" for row in [list(shown), *shown.to_numpy()]
    )
    head = f"\\begin{{tabular}}{{{'l' * shown.shape[1]}}}"
    said = f"% Brackets: {INTERVAL}."
    return "\n".join(
        [head, r"\toprule", header, r"\midrule", *body, r"\bottomrule", r"\end{tabular}", said, ""]
    )


def _rounded(frame: Frame) -> Frame:
    """Every number of a table as text."""
    return frame.apply(lambda column: column.map(number if column.dtype.kind == "f" else str))


def escaped(text: str) -> str:
    """Write a text so that LaTeX shows it as it is."""
    replacements = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
    }
    replacements |= {character: f"\\{character}" for character in "&%$#_{}"}
    return "".join(replacements.get(character, character) for character in text)
