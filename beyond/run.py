"""The Hydra entry point: settings become a run, and the run a folder of tables.

Heavy libraries are imported inside the functions that need them, so that `beyond --help` answers at once.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from beyond.catalog import CONF, names, read
from beyond.errors import InputError, UnsupportedError, require_one_of

if TYPE_CHECKING:
    from beyond.cell import Cell

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
SCALES = ("fast", "full")  # of a published result's runs
PAPER = ("paper", "scale")  # a published result's own settings: they choose cells and are no part of one
FREE = (
    "method",
    "task",
    "network",
    "study",
    "study_name",
    "seeds",
    "runs",
    "threads",
    "save_every",
    "budget",
    *PAPER,
    "hydra",
)


def main() -> None:
    """Console script `beyond`: bad input is one line and exit status 1."""
    for variable in THREAD_VARIABLES:  # read once, when the numerical libraries load; two pools fight
        os.environ.setdefault(variable, "1")
    if sys.argv[1:] == ["--methods"]:
        from beyond.describe import show

        return show()
    if "+paper=all" in sys.argv[1:]:
        return _every_paper([argument for argument in sys.argv[1:] if argument != "+paper=all"])
    os.environ["HYDRA_FULL_ERROR"] = "1"  # hand exceptions to us
    register_resolvers()
    plugins = Plugins.instance()  # its search loads Hydra's own sweeper anew: ours must be imported after it
    from hydra_plugins.beyond_cells.sweeper import CellSweeper

    plugins.register(CellSweeper)  # the search does not see packages installed from a checkout
    try:
        application()
    except (InputError, UnsupportedError, HydraException, OmegaConfBaseException) as error:
        sys.exit(f"beyond: {_explain(error)}")
    except OSError as error:
        sys.exit(f"beyond: {error.strerror}: {error.filename!r}")
    except KeyboardInterrupt:
        sys.exit("beyond: stopped; the same command goes on from here")


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def application(config: DictConfig) -> str:
    """Run one cell; return the worst status among its replicas."""
    from beyond.cell import run_cell

    if HydraConfig.get().mode is RunMode.MULTIRUN:
        return run_cell(read_cell(config), keep_skipped=True, bar=False)
    try:
        status = run_cell(read_cell(config), keep_skipped=False, bar=True)
    except (InputError, UnsupportedError, OmegaConfBaseException) as error:  # before Hydra adds lines of its own
        sys.exit(f"beyond: {_explain(error)}")
    if status == "failed":
        sys.exit(1)
    return status


def _every_paper(arguments: list[str]) -> None:
    """Run every paper, each in a process of its own, then write their index; the exit status is 1 if any failed."""
    settings = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    if settings.get("scale", "fast") not in SCALES:  # one line for all of them
        sys.exit(f"beyond: scale must be one of {', '.join(SCALES)}; got {settings['scale']!r}")
    commands = [[sys.executable, "-m", "beyond.run", f"+paper={name}", *arguments] for name in names("paper")]
    failed = [command for command in commands if subprocess.run(command, check=False).returncode]
    resolve_name("analysis.paper.publish_index")(Path(settings.get("runs", "runs")) / "papers")
    sys.exit(min(len(failed), 1))


def register_resolvers() -> None:
    """Let settings choose by scale, `${scaled:2000,6000}`, and write lists, `${repeated:256,30}`, `${span:0,400}`."""
    for resolver in (_scaled, _repeated, _span):
        OmegaConf.register_new_resolver(resolver.__name__.lstrip("_"), resolver, replace=True)


def _scaled(fast: Any, full: Any, *, _root_: DictConfig) -> Any:
    """Choose between two values by the paper's scale."""
    require_one_of("scale", SCALES, _root_.scale)
    return full if _root_.scale == "full" else fast


def _repeated(value: Any, count: int) -> str:
    """Write a list for a line of overrides: `network.hidden=${repeated:256,30}` has thirty layers of 256."""
    return f"[{','.join([str(value)] * count)}]"


def _span(first: int, stop: int) -> str:
    """Write a list for a line of overrides: `seeds=${span:500,1000}` has the seeds from 500 to 999."""
    return f"[{','.join(map(str, range(first, stop)))}]"


def check(config: DictConfig) -> None:
    """Raise `InputError` for settings that are out of range; nothing is trained or written."""
    from beyond.cell import prepare

    prepare(read_cell(config))


def read_cell(config: DictConfig) -> Cell:
    """Plain settings of one run, from Hydra's."""
    from beyond.cell import Cell

    hydra_config = config.hydra if "hydra" in config else HydraConfig.get()
    choices: dict[str, Any] = hydra_config.runtime.choices
    overrides = [line.lstrip("+") for line in hydra_config.overrides.task]
    variant = sorted(line for line in overrides if line.partition("=")[0].partition(".")[0] not in FREE or _tunes(line))
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    plain: Any = OmegaConf.to_container(own, resolve=True, throw_on_missing=True)
    for key in PAPER:
        plain.pop(key, None)
    default_network = choices["network"] == "default"
    return Cell(plain, method=choices["method"], default_network=default_network, variant=", ".join(variant))


def _tunes(line: str) -> bool:
    """Say whether an override tunes a method, task or network rather than choosing one."""
    return line.startswith(("method.", "task.", "network."))


def _explain(error: Exception) -> str:
    """One line for an error; for Hydra's, with the known names where one was unknown."""
    text = " ".join(str(error).split())
    if raised := re.match(r"InputError raised while resolving interpolation: (.*?)( full_key: .*)?$", text):
        return raised[1]
    if unknown := re.search(r"Could not find '(task|method|network|optimizer|budget|study|paper)/([^']*)'", text):
        group, name = unknown.groups()
        return f"unknown {group} {name!r}; known: {', '.join(names(group))}"
    if unknown := re.search(r"Could not override '([^']*)'", text):
        return f"unknown key {unknown[1]!r}; known: {', '.join(_siblings(unknown[1], sys.argv)) or 'none'}"
    return text


def _siblings(key: str, arguments: list[str]) -> list[str]:
    """Keys that stand where `key` should, given the choices on the command line."""
    settings: Any = yaml.safe_load((CONF / "config.yaml").read_text())
    defaults = dict(next(iter(entry.items())) for entry in settings.pop("defaults") if isinstance(entry, dict))
    groups = [name for name in defaults if not name.startswith("override ")]
    parent, *path = key.split(".")[:-1] or [""]
    if not parent:
        return sorted([*groups, *settings])
    if parent not in groups:
        return []
    chosen = next((line.partition("=")[2] for line in arguments if line.startswith(f"{parent}=")), defaults[parent])
    inner: Any = read(parent, chosen)
    for step in path:
        inner = inner.get(step, {}) if isinstance(inner, dict) else {}
    return sorted(name for name in inner if name != "_target_")


if __name__ == "__main__":
    main()
