"""What the page of a study is made from beside its tables: `paper.json`, in its folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beyond.files import write_whole_text
from beyond.run.notes import holding, known

if TYPE_CHECKING:
    from beyond.run.cell import Cell

PAGE = "paper.json"
COMMANDS, ASKED = "commands", "asked"  # what was typed; and the seeds of each arm, by its id


def note_page(
    study: Path, settings: Mapping[str, Any], command: str, cells: Iterable[Cell]
) -> None:
    """Keep a page's settings, the command that it is of, and what that has asked for.

    A folder may have more runs, of earlier commands: they are not on the page.
    """
    asked: dict[str, set[int]] = {}
    for cell in cells:
        asked.setdefault(cell.arm.id, set()).update(cell.seeds)
    seeds = {arm: sorted(asked[arm]) for arm in sorted(asked)}
    _write(study, {**settings, COMMANDS: [command], ASKED: seeds})


def join_page(other: Path, study: Path) -> None:
    """Keep the page of another folder, whose runs have joined a study's.

    Of two the study's stays, of the runs of both; of all that are there if it is not known which
    one of them was of.
    """
    theirs, ours = known(other / PAGE), known(study / PAGE)
    if not (theirs and ours):
        _write(study, ours or theirs)
    elif all(isinstance(page.get(ASKED), dict) for page in (theirs, ours)):
        commands = list(dict.fromkeys([*ours[COMMANDS], *theirs[COMMANDS]]))
        seeds = {
            arm: sorted({*ours[ASKED].get(arm, ()), *theirs[ASKED].get(arm, ())})
            for arm in sorted({*ours[ASKED], *theirs[ASKED]})
        }
        _write(study, {**ours, COMMANDS: commands, ASKED: seeds})
    else:
        _write(study, {key: ours[key] for key in ours if key not in (COMMANDS, ASKED)})


def _write(study: Path, page: Mapping[str, Any]) -> None:
    if page:
        with holding(study):
            write_whole_text(study / PAGE, json.dumps(page, indent=1))
