"""`beyond-new method mine`: a file that runs as it stands, to be changed into what is meant."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Sequence
from keyword import iskeyword
from pathlib import Path

from beyond import catalog
from beyond.errors import InputError, require, require_one_of
from beyond.files import expanded

HERE = Path(__file__).parent
FOLDERS = {**catalog.FOLDERS, **catalog.SHEETS}
NEXT = {
    "method": ("beyond-check method={}", "beyond -m method={},backprop"),
    "task": ("beyond-check task={}", "beyond -m task={} method=backprop,genetic"),
    "network": ("beyond-check network={}", "beyond -m network={},mlp"),
    "study": ("beyond +study={}", "beyond-verify runs/studies/{}-fast/page/index.md"),
    "paper": ("beyond +paper={}", "beyond-verify runs/papers/{}-fast/page/index.md"),
}


def write(kind: str, name: str, into: Path) -> Path:
    """Write a skeleton below a folder; `InputError` for a bad name, or if the file is there."""
    require_one_of("kind", FOLDERS, kind)
    ok = bool(re.fullmatch(r"[a-z][a-z0-9_]*", name)) and not iskeyword(name)
    require("name", "a lower-case Python name", name, ok)
    model = next(HERE.glob(f"{kind}.*"))
    path = into / FOLDERS[kind] / f"{name}{model.suffix}"
    if path.exists():
        raise InputError(f"{str(path)!r} is there already")
    require("name", f"new: there is such a {kind}", name, name not in catalog.names(kind))
    capital = "".join(part.capitalize() for part in name.split("_"))
    text = model.read_text(encoding="utf-8").replace("Skeleton", capital).replace("skeleton", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def following(kind: str, name: str, into: Path) -> list[str]:
    """Return the commands to type next."""
    known = os.environ.get(catalog.PATH, "").split(os.pathsep)
    there = into.resolve() in [expanded(folder).resolve() for folder in known if folder]
    prefix = "" if there else f"{catalog.PATH}={shlex.quote(str(into))} "
    commands = [command.format(name) for command in NEXT[kind]]
    return [line if line.startswith("beyond-verify") else prefix + line for line in commands]


def main(arguments: Sequence[str] | None = None) -> None:
    """Console script `beyond-new`: bad input is one line and exit status 1."""
    parser = argparse.ArgumentParser("beyond-new", description=__doc__)
    parser.add_argument("kind", help=", ".join(FOLDERS))
    parser.add_argument("name", help="of the choice, and of its file")
    parser.add_argument("--into", type=Path, default=Path(), metavar="DIR", help="default: here")
    chosen = parser.parse_args(arguments)
    try:
        path = write(chosen.kind, chosen.name, chosen.into)
    except InputError as error:
        sys.exit(f"beyond-new: {error}")
    except OSError as error:
        sys.exit(f"beyond-new: {error.strerror}: {error.filename!r}")
    told = [f"wrote {path}; next:", *following(chosen.kind, chosen.name, chosen.into)]
    print("\n  ".join(told))  # noqa: T201


if __name__ == "__main__":
    main()
