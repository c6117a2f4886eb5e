"""What the page of a study is made from beside its tables: `paper.json`, in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from beyond.files import write_whole_text
from beyond.run.notes import holding, known

PAGE = "paper.json"
COMMANDS = "commands"  # that have made the runs; not there where that of some is unknown


def note_page(study: Path, settings: Mapping[str, Any], commands: Sequence[str]) -> None:
    """Keep a page's settings, and the commands that made more runs, beside earlier ones."""
    with holding(study):
        earlier = known(study / PAGE)
        if earlier and COMMANDS not in earlier:
            commands = []
        both = [*map(str, known(study / PAGE, list).get(COMMANDS, ())), *commands]
        noted = {COMMANDS: list(dict.fromkeys(both))} if commands else {}
        write_whole_text(study / PAGE, json.dumps({**settings, **noted}, indent=1))


def join_page(other: Path, study: Path) -> None:
    """Keep the page of another folder, whose runs have joined a study's; its own page stays."""
    theirs, ours = known(other / PAGE), known(study / PAGE)
    if theirs:
        settings = {name: value for name, value in (ours or theirs).items() if name != COMMANDS}
        note_page(study, settings, list(map(str, known(other / PAGE, list).get(COMMANDS, ()))))
