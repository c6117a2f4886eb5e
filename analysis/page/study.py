"""A study's page: `index.html`, its figures and its tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import jinja2

from analysis.figures.plots import Drawn, draw
from analysis.figures.vectors import Sheet
from analysis.files import ALSO
from analysis.files import write as write_file
from analysis.runs import COSTS
from analysis.statistics.inference import INTERVAL
from analysis.tables import TableError
from analysis.words import columns as shown
from analysis.words import example_columns as examples
from analysis.words import overall_columns, sentences
from analysis.words.citations import bibliography

if TYPE_CHECKING:
    from analysis.study import Study

_TEMPLATE = "report.html.j2"
_DATA = {  # by figure: the table of what it shows
    "overview": "summary",
    "pareto": "summary",
    "settings": "summary",
    "final-scores": "scores",
    "differences": "paired_differences",
    "convergence": "curves",
    "cost-to-target": "scores",
    "generalisation-gap": "curves",
    "gradient-ratio": "layers",
    "gradient-norm": "layers",
    "train-gradient-norm": "layers",
    "update-cosine": "layers",
    "tuning": "tuning_trials",
    "error-consistency": "error_consistency",
    "calibration": "reliability",
    "recall": "classes",
}


def write(study: Study, out: str | Path | None = None, also: Collection[str] = ()) -> Path:
    """Write the page, `figures/` and `tables/` into `out`, or the study's folder; return it.

    Figures are SVG, and of the formats `also`: see `files.ALSO`.

    Raises
    ------
    TableError
        If a format is none of those.
    """
    if unknown := [kind for kind in also if kind not in ALSO]:
        raise TableError(f"also must be of {', '.join(ALSO)}; got {unknown[0]!r}")
    shown_as = [
        *(["as-tuned"] if study.is_as_tuned else []),
        *(["against", *(Path(other).stem for other in study.against)] if study.against else []),
    ]
    out = study.folder / ("-".join(shown_as) or "report") if out is None else Path(out)
    # what cannot be written fails before the work
    (out / "tables").mkdir(parents=True, exist_ok=True)
    tables, found = study.tables, study.examples()
    overall, references = study.overall(), map(study.reference_on, tables.tasks)
    frames = {
        "summary": study.summary(),
        "paired_differences": study.differences(),
        **({"between": study.between()} if study.against else {}),
        "cost_to_target": study.cost_to_target(),
        "failures": study.failures(),
        **overall,
        **study.tuning(),
    }
    raw = shown.drawn(tables)
    for name, frame in (frames | found | raw).items():
        write_file(out / "tables" / f"{name}.csv", frame.to_csv(index=False))
    for name, frame in frames.items():
        write_file(out / "tables" / f"{name}.tex", shown.latex(name, frame))
    sources = bibliography(tables.manifests.values())
    write_file(out / "tables" / "citations.bib", sources)
    sheet = Sheet(tables.arms)
    drawn, key = draw(study, out / "figures", sheet, also)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["numeric"] = shown.numeric
    page = environment.get_template(_TEMPLATE).render(
        sheet=sheet,
        key=key,
        study=tables.study,
        arms=tables.arms,
        figures=_figures(drawn, ""),
        opening=study.opening(),
        overall=overall_columns.section(overall, tables.tasks, next(filter(None, references), "")),
        compared=sentences.compared(tables),
        covered=sentences.covered(tables),
        warnings=study.caveats(),
        sections=[_section(study, drawn, task) for task in tables.tasks],
        failures=shown.failure_columns(study.failures()),
        interval=INTERVAL,
        provenance=shown.provenance(tables.manifests),
        command=_command(study, also),
        tables=sorted(frames),
        example_tables=sorted(found),
        raw_tables=sorted(raw),
    )
    index = out / "index.html"
    write_file(index, page)
    return index


def _section(study: Study, drawn: Iterable[Drawn], task: str) -> dict[str, Any]:
    """All that the page says of one task."""
    summary, differences, targets = (
        frame[frame["task"] == task] if len(frame) else frame
        for frame in (study.summary(), study.differences(), study.cost_to_target())
    )
    reference = study.reference_on(task)
    return {
        "task": task,
        "score": study.tables.score(task),
        "headline": study.headline(task),
        "ties": shown.tie_groups(summary),
        "scores": shown.score_columns(summary),
        "costs": shown.cost_columns(summary),
        "differences": None if reference is None else shown.difference_columns(differences),
        "reference": reference,
        "targets": None if targets.empty else shown.target_columns(targets),
        "tuning": shown.tuning_columns(study.tuning(), task) if study.tuning() else None,
        "examples": examples.section(study.tables, study.examples(), task),
        "figures": _figures(drawn, task),
    }


def _figures(drawn: Iterable[Drawn], task: str) -> dict[str, dict[str, Any]]:
    """Figures of a task as the page shows them; those that differ in a cost alone are one."""
    found: dict[str, list[Drawn]] = {}
    for figure in drawn:
        if figure.task == task:
            name, _, cost = figure.name.rpartition("-")
            found.setdefault(name if cost in COSTS else figure.name, []).append(figure)
    return {name: _figure(name, figures) for name, figures in found.items()}


def _figure(name: str, drawn: Sequence[Drawn]) -> dict[str, Any]:
    blocks = [block for figure in drawn for block in figure.blocks]
    alongs = list(dict.fromkeys(panel.along for block in blocks for panel in block.panels))
    stems = [figure.paths[0].stem for figure in drawn]
    return {
        "id": f"figure-{stems[0]}",
        "blocks": blocks,
        # where panels are against different things a reader chooses one
        "alongs": alongs if len(alongs) > 1 else [],
        "files": [path.name for figure in drawn for path in figure.paths],
        "data": _DATA[name],
    }


def _command(study: Study, also: Collection[str]) -> str:
    """How to make the report again; without what differs between machines."""
    choice = " --as-tuned" if study.is_as_tuned else ""
    choice += "" if study.reference is None else f" --reference {quote(study.reference)}"
    choice += "".join(f" --{kind}" for kind in ALSO if kind in also)
    folder = quote("/".join(study.folder.resolve().parts[-2:]))
    folders = [Path(other).is_dir() for other in study.against]
    others = [
        "/".join(Path(other).resolve().parts[-2:]) if is_folder else Path(other).name
        for other, is_folder in zip(study.against, folders, strict=True)
    ]
    others = [quote(other) for other in others]
    if all(folders):
        return f"beyond-report {' '.join((folder, *others))}{choice}"
    return f"beyond-compare {folder} --against {' '.join(others)}{choice}"
