"""What a study's folder has beside its cells: notes that all who share the study read and write."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from beyond.errors import BusyError, InputError, said, unwritable
from beyond.files import write_whole_text
from beyond.run.lock import held

NOTES, REPORT = "notes.lock", "report.lock"
PATIENCE = {NOTES: 60.0, REPORT: 1800.0}  # seconds; a note is written in a moment


@contextmanager
def holding(folder: Path, lock: str = NOTES) -> Iterator[None]:
    """Hold the notes of a folder, or its report, from reading to writing: what others write
    meanwhile is not lost.

    `BusyError` if another process has them for much longer than that takes; `InputError` if nothing
    can be written there.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(held(folder / lock, PATIENCE[lock]))
        except TimeoutError:
            raise BusyError(f"another process holds {str(folder / lock)!r}") from None
        except OSError as error:
            raise unwritable(folder, error) from None
        yield


def known(path: Path, kind: type = object) -> dict[str, Any]:
    """What a file of JSON has of a kind; nothing if it is not there, or cut."""
    try:
        found = dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, kind)}


def rows_of(path: Path, key: Callable[[Any], str]) -> dict[str, dict[str, Any]]:
    """Return the rows that a file has, by their keys; none if it is not there.

    Raises `InputError` if it is cut, or has other rows than ours.
    """
    try:
        return {key(row): dict(row) for row in json.loads(path.read_bytes())}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{str(path)!r} cannot be read: {said(error)}; once it is deleted, the same tuning "
            "writes it again"
        ) from error


def add_rows(path: Path, key: Callable[[Any], str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep rows in a file, each in place of one with its key, beside those that it has."""
    with holding(path.parent):
        kept = rows_of(path, key) | {key(row): dict(row) for row in rows}
        write_whole_text(path, json.dumps(list(kept.values()), indent=1) + "\n")
