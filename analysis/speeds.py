"""What finished runs cost on the clock: a study's, and published ones, for who plans others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis.release import read
from analysis.runs import Frame, completed
from analysis.summaries.tuning import TRIALS
from analysis.tables import TableError, by_run, finished, recorded_runs

CURRENCIES = ("epochs", "examples", "flops", "steps", "seconds")
_ALIKE = ("method", "task", "network", "variant")


def recorded(folder: str | Path, release: str = "gallery") -> list[dict[str, Any]]:
    """Tell what each finished run of a study, its trials too, and of a release has cost.

    Returns
    -------
    list of dict
        The study's first. Of each run `method`, `task`, `network` and `variant` as recorded;
        how many `replicas`; `wall`, seconds that all took, evaluation included; what they spent
        together, by currency; `release`, "" for the study's.
    """
    cells = finished(Path(folder)) | finished(Path(folder, TRIALS))
    found: list[dict[str, Any]] = []
    if cells:
        runs = recorded_runs(list(cells))
        manifests = {cell.name: manifest for cell, manifest in cells.items()}
        found = _costs(completed(runs), by_run(manifests), "")
    try:
        published = read(release)
    except TableError:  # a package without it
        return found
    return [*found, *_costs(published.runs, published.manifests, release)]


def _costs(runs: Frame, manifests: dict[str, dict[str, Any]], release: str) -> list[dict[str, Any]]:
    runs = runs[runs["status"] == "finished"]
    spent = runs.groupby("run_id")[list(CURRENCIES)].sum()
    counts = runs.groupby("run_id").size().to_dict()
    texts = runs.drop_duplicates("run_id").set_index("run_id")[list(_ALIKE)]
    return [
        {
            **texts.loc[run_id].to_dict(),
            **costs,
            "replicas": counts[run_id],
            "wall": manifests[run_id]["wall_seconds"],
            "release": release,
        }
        for run_id, costs in spent.to_dict("index").items()
        if "wall_seconds" in manifests.get(run_id, {})
    ]
