"""A command that found nothing left to do, remembered: the same again answers at once.

What it told is kept in its study's folder, with a hash of all that it followed from: the contents
of our files, the packages that are installed, the terminal, every file of the study, and the file
or folder of a user's data. If any of it is not as it was, or cannot be known so cheaply, nothing is
recalled and the command does its work: plug-ins and rules of other folders are looked at each time.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from beyond import catalog
from beyond.files import expanded, write_whole_text
from beyond.installed import BESIDE, CONF, ROOT

if TYPE_CHECKING:
    from beyond.run.cell import Cell

FOLDER = ".told"  # in a study's
CODE = ("beyond", "hydra_plugins", *BESIDE)
DISTRIBUTIONS = (".dist-info", ".egg-info", ".egg-link", ".pth")
# files of a cell whose contents change nothing that a command tells
PASSING = ("lock", "lock.held", "notes.lock", "report.lock", "seeds.json", "log.txt", "state.pt")
Said: TypeAlias = (
    "str | tuple[Sequence[Cell], Mapping[str, str]]"  # what a command tells, see `Command.keep`
)
VARIABLES = (catalog.PATH, catalog.VARIABLE, "XDG_DATA_DIRS", "PYTHONPATH")
# what may be typed: settings of ours, and where the cells are trained
KNOWN = re.compile(
    r"-m|--multirun|\+(study|tune)=[\w-]+|hydra[/.]launcher\S*=[\w.-]+|(?!hydra|tuned)\w[\w.]*=.*"
)


def world() -> str:
    """Hash of what every command depends on: code, configuration, packages, terminal, machine."""
    code = _contents([ROOT / name for name in CODE] + [CONF], ROOT)
    return _hash([code, _distributions(), _terminal(), platform.python_version(), os.cpu_count()])


def study_of(arguments: Sequence[str]) -> Path | None:
    """Folder of the study that a command is of; None if it cannot be told from what is typed."""
    if not all(map(KNOWN.fullmatch, arguments)) or "${" in "".join(arguments):
        return None
    pairs = (argument.partition("=") for argument in arguments)
    typed = {key: value for key, sign, value in pairs if sign}
    page: dict[str, Any] = yaml.safe_load((CONF / "config.yaml").read_bytes())
    for group in ("study", "tune"):
        file = CONF / group / f"{typed.get(f'+{group}')}.yaml"
        page |= yaml.safe_load(file.read_bytes()) if file.is_file() else {}
    page |= typed
    return expanded(page["runs"]) / page["study_name"]


@dataclass
class Command:
    """What is typed, and what it depends on before anything is read.

    Attributes
    ----------
    arguments : sequence of str
    study : Path
    world : str
        See there.
    begun : int
        When it began, in nanoseconds.
    """

    arguments: Sequence[str]
    study: Path
    world: str
    begun: int = field(default_factory=time_ns)

    @classmethod
    def of(cls, arguments: Sequence[str]) -> Command | None:
        """None for one that is not remembered."""
        if os.environ.get(catalog.PATH) or os.environ.get(catalog.VARIABLE):
            return None
        study = study_of(arguments)
        return None if study is None else cls(arguments, study, world())

    @property
    def _file(self) -> Path:
        return self.study / FOLDER / f"{_hash(list(self.arguments))[:16]}.json"

    def recall(self) -> tuple[str, str] | None:
        """Return what it told and what it showed, if all is as it was then."""
        try:
            known: Any = json.loads(self._file.read_bytes())
            same = (
                known["world"] == self.world
                and known["study"] == contents(self.study)
                and all(_digest(Path(place)) == one for place, one in known["data"].items())
            )
            return (known["told"], known["shown"]) if same else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, said: Sequence[Said], shown: str, report: str) -> None:
        """Remember it, if the same would train nothing and tell what can be known now.

        Parameters
        ----------
        said : sequence of str, or of pairs
            What it told, in their order: lines, and what is there of cells. Each pair has these
            cells, and what lines of an arm begin with, by its id.
        shown : str
            What it printed.
        report : str
            `tables_of` the study from which it was made.
        """
        known = contents(self.study)
        told = [one if isinstance(one, str) else _told(*one) for one in said]
        cells = [cell for one in said if not isinstance(one, str) for cell in one[0]]
        places = {place for cell in cells if (place := _place(cell))}
        settled = world() == self.world and contents(self.study) == known
        settled &= all(_changed(place) < self.begun for place in places)
        if None in told or not settled or report not in ("", tables_of(known)) or catalog.plugins():
            return
        if any(self.study not in (cell.study, *cell.study.parents) for cell in cells):
            return
        kept = {
            "world": self.world,
            "study": known,
            "data": {str(place): _digest(place) for place in places},
            "told": "".join(map(str, told)),
            "shown": shown,
        }
        self._file.parent.mkdir(exist_ok=True)
        write_whole_text(self._file, json.dumps(kept))


current: Command | None = None  # of this process


def begin(arguments: Sequence[str]) -> tuple[str, str] | None:
    """Note what a command depends on before it reads anything; return what it told before."""
    global current
    current = Command.of(arguments)
    return current.recall() if current else None


def keep(said: Sequence[Said], shown: str = "", report: str = "") -> None:
    """Remember this process's command, see `Command.keep`; a folder that is full is no matter."""
    if current is not None and said:
        try:
            current.keep(said, shown, report)
        except OSError:
            return


@contextmanager
def printed() -> Iterator[io.StringIO]:
    """Copy what is printed meanwhile."""
    copy, out = io.StringIO(), sys.stdout
    sys.stdout = _Both(out, copy)
    try:
        yield copy
    finally:
        sys.stdout = out


class _Both:
    """A stream that is copied; in all else it is the first."""

    def __init__(self, stream: Any, copy: io.StringIO) -> None:
        self._stream, self._copy = stream, copy

    def write(self, text: str) -> int:
        self._copy.write(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def contents(study: Path) -> dict[str, str]:
    """Hash of each file of a study, by its path; "" where only that it is there counts.

    What is hidden there is kept to be quick, and decides nothing.
    """
    return {
        name: digest
        for name, digest in _contents([study], study).items()
        if not name.startswith(".")
    }


def tables_of(known: Mapping[str, str]) -> str:
    """Hash of what a report is made from."""
    return _hash({name: known[name] for name in known if name.endswith((".parquet", ".json"))})


def _told(cells: Sequence[Cell], short: Mapping[str, str]) -> str | None:
    """What the same command would tell; None if it would train, or depends on what is not ours."""
    from beyond.run.data import understood
    from beyond.run.plan import plan

    first: dict[str, None] = {}
    lines: dict[Path, str] = {}
    for cell in cells:
        ours = all(file.startswith(("beyond/", "methods/", "tasks/")) for file in cell.sources)
        of_data = understood(cell)
        theirs = (of_data or any(_texts(cell.settings["task"]))) and _place(cell) is None
        todo = plan(cell)
        if todo.seeds or theirs or not ours:  # a command with a failed run has ended before
            return None
        first |= dict.fromkeys(of_data)
        lines |= {before.path: before.line(short[cell.arm.id]) for before in todo.kept}
    return "".join(f"{line}\n" for line in (*first, *lines.values()))


def _place(cell: Cell) -> Path | None:
    """The file, or folder, that has a cell's data; None if they are ours, or may be elsewhere."""
    from beyond.data.given import FileTask

    task = cell.arm.task
    return task._file if isinstance(task, FileTask) and task._file.exists() else None


def _walk(place: Path) -> Iterator[Path]:
    """A file; or a folder with all that is below it, where links lead too."""
    yield place
    for folder, within, names in os.walk(place, followlinks=True):
        yield from (Path(folder, name) for name in sorted([*within, *names]))


def _changed(place: Path) -> int:
    """When data came to be what they are and where they are, in nanoseconds."""
    stats = [one.stat() for one in _walk(place)]
    return max(max(stat.st_mtime_ns, stat.st_ctime_ns) for stat in stats)


def _digest(place: Path) -> str:
    found = dict[str, str]()
    for one in _walk(place):
        found[os.path.relpath(one, place)] = ""
        if one.is_file():  # what is no file may be waited for in vain
            with one.open("rb") as opened:
                found[os.path.relpath(one, place)] = hashlib.file_digest(
                    opened, "sha256"
                ).hexdigest()
    return _hash(found)


def _texts(settings: Any) -> Iterator[str]:
    """Texts in a task's settings: they may name files."""
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            yield from () if key == "_target_" else _texts(value)
    elif isinstance(settings, Sequence) and not isinstance(settings, str):
        for value in settings:
            yield from _texts(value)
    elif isinstance(settings, str):
        yield settings


def _contents(folders: Iterable[Path], root: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for folder in folders:
        for place, within, names in os.walk(folder):
            within[:] = [name for name in within if name != "__pycache__"]
            for name in names:
                file = Path(place, name)
                passing = name in PASSING
                digest = "" if passing else hashlib.sha256(file.read_bytes()).hexdigest()
                found[os.path.relpath(file, root)] = digest
    return found


def _distributions() -> list[tuple[str, int]]:
    """What is installed: names with versions, and when."""
    return sorted(
        (entry.name, entry.stat().st_mtime_ns)
        for folder in set(sys.path)
        if Path(folder).is_dir()
        for entry in os.scandir(folder or ".")
        if entry.name.endswith(DISTRIBUTIONS)
    )


def _terminal() -> list[Any]:
    """What decides how lines look."""
    from rich.console import Console

    shown, told = Console(), Console(stderr=True)
    return [
        *((one.width, one.is_terminal, one.color_system, one.encoding) for one in (shown, told)),
        [os.environ.get(name) for name in VARIABLES],
    ]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
