"""The Hydra entry point: settings become a run, and the run a folder of tables.

Heavy libraries are imported inside the functions that need them, so that `beyond --help` answers at
once.
"""

from __future__ import annotations

import os
import re
import sys
from functools import partial
from pathlib import Path
from signal import SIGINT
from typing import Any

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, QuotedString
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from beyond import catalog
from beyond.catalog import CONF, find, names
from beyond.errors import InputError, UnsupportedError, require, require_one_of
from beyond.files import expanded
from beyond.installed import version
from beyond.run import memo
from beyond.run.explain import GROUPS, explain, opened, refuse_twice
from beyond.run.interruption import Interrupted, end_without_search, obedient, raising
from hydra_plugins.beyond_cells.grammar import quoted

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
REFUSALS = (InputError, UnsupportedError, OSError, OmegaConfBaseException, YAMLError)
SWEEP = frozenset({"-m", "--multirun"})
SHOWN = re.compile(r"(--cfg|-c|--info|-i|--shell-completion|-sc)(=|$)")
SCALES = ("fast", "full")  # of a published result's runs
HELP = frozenset({"-h", "--help"})
COMMANDS = {  # before settings: what each is
    "plan": """\
usage: beyond plan COMMAND

What a command would train, what is there of it, and how long it will take, by
what such runs took. Nothing is trained and nothing written.

  beyond plan +study=comparison
  beyond plan +tune=equal method=backprop,genetic task=image/digits
  beyond plan +study=everything task=image/digits     arm by arm
""",
    "status": """\
usage: beyond status FOLDER [--watch]

What has become of a study's cells, and of the trials of a tuning: finished,
running (and for how long still), interrupted, failed, missing, stale.

  beyond status runs/comparison
  beyond status runs/comparison --watch    again and again until it is done;
                                           Ctrl-C ends this, not the study
""",
    "merge": """\
usage: beyond merge FOLDER [FOLDER ...] INTO

One study, with its report, of what several machines have trained. Each cell
counts once; all is checked before the first file is written.

  beyond merge runs/here runs/there runs/both
""",
}


def main() -> None:
    """Console script `beyond`: bad input is one line and exit status 1."""
    # read once, when the numerical libraries load; two pools fight
    for variable in THREAD_VARIABLES:
        os.environ.setdefault(variable, "1")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # products repeat themselves
    end_without_search()
    with raising():
        _obey()


def _obey() -> None:
    """Do what was typed."""
    arguments = sys.argv[1:]
    if "--version" in arguments:  # of ours, not of Hydra
        return print(f"beyond {version()}")  # noqa: T201
    try:
        if (before := memo.begin(arguments)) is not None:
            sys.stderr.write(before[0])
            sys.stdout.write(before[1])
            return None
        command = arguments[0] if arguments else ""
        if command in COMMANDS and HELP.intersection(arguments):
            sys.stdout.write(COMMANDS[command])
            return None
        names("method")  # there is a configuration
        if command == "status":
            return _status(arguments[1:])
        if command == "merge":
            return _merge(arguments[1:])
        if command == "plan":
            sys.argv[1:] = _as_plan(arguments[1:])
        if "--methods" in arguments:
            return _describe([argument for argument in arguments if argument != "--methods"])
        if "+paper=all" in arguments:
            return _every_paper([argument for argument in arguments if argument != "+paper=all"])
        os.environ["HYDRA_FULL_ERROR"] = "1"  # hand exceptions to us
        register_resolvers()
        _register_plugins()
        _register_added()
        sys.argv[1:] = map(quoted, sys.argv[1:])
        refuse_twice(sys.argv[1:])
        _refuse_nameless(sys.argv[1:])
        sys.argv[1:] = [re.sub("^tuned=", "tuned.settings=", one) for one in sys.argv[1:]]
        sys.argv[1:] = opened(_for_each_cell(_sweep_first(sys.argv[1:])))
        application()
    except (*REFUSALS, HydraException) as error:
        sys.exit(f"beyond: {explain(error, sys.argv[1:])}")
    except KeyboardInterrupt as error:
        told = error if isinstance(error, Interrupted) else Interrupted(SIGINT)
        print(f"beyond: {told}; the same command goes on from what is saved", file=sys.stderr)  # noqa: T201
        sys.exit(128 + told.signal)
    except Exception as error:
        if place := catalog.blame(error):
            sys.exit(f"beyond: {place}")
        raise


def _register_plugins() -> None:
    """Let Hydra know ours: its search does not see packages installed from a checkout."""
    # the search loads Hydra's sweeper anew: ours must be imported after it
    plugins = Plugins.instance()
    from hydra_plugins.beyond_cells.ray_launcher import RayLauncher
    from hydra_plugins.beyond_cells.sweeper import CellSweeper, PlanSweeper

    for plugin in (CellSweeper, PlanSweeper, RayLauncher):
        plugins.register(plugin)


def _register_added() -> None:
    """Let Hydra know the choices that are in no YAML."""
    for group, found in catalog.added().items():
        for name, settings in found.items():
            folder, _, last = f"{group}/{name}".rpartition("/")
            ConfigStore.instance().store(last, settings, folder, provider=catalog.PATH)
    for group, files in catalog.sheets().items():
        for name, file in files.items():
            ConfigStore.instance().store(
                name, _sheet(file), group, package="_global_", provider=catalog.PATH
            )


def _sheet(file: Path) -> Any:
    """Read a study or a paper; `InputError` with the file if it is no YAML."""
    try:
        return OmegaConf.load(file)
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not {error.encoding}") from error


def _refuse_nameless(arguments: list[str]) -> None:
    """Raise `InputError` where Hydra has a traceback, or we would have one for what it lets pass:
    for a choice that is no name, `method=null`, for a setting without one, `=3`, and for one that
    is deleted, `~optimizer`.
    """
    parser = OverridesParser.create()
    for argument in arguments:
        require("argument", "setting=value", argument, not argument.startswith(("=", "~")))
        group, sign, typed = argument.lstrip("+").partition("=")
        if not sign or group not in GROUPS:
            continue
        override = parser.parse_override(argument)
        value = override.value()
        swept = override.is_discrete_sweep() and not isinstance(value, Glob)
        chosen = override.sweep_iterator() if swept else [value]
        if not all(isinstance(one, str | Glob | QuotedString) for one in chosen):
            require_one_of(group, names(group), typed)


def _sweep_first(arguments: list[str]) -> list[str]:
    """Move `-m` to the front: between settings, Hydra knows only those before it."""
    return sorted(arguments, key=lambda argument: argument not in SWEEP)


def _for_each_cell(arguments: list[str]) -> list[str]:
    """Make a sweep's settings part of what is swept: Hydra tries others on config.yaml alone.

    And call it a sweep: where Hydra finds out by itself it takes every mistake for a run of one.
    """
    if any(map(SHOWN.match, arguments)):  # nothing is run
        return [argument for argument in arguments if argument not in SWEEP]
    if not _sweeps(arguments):
        return arguments
    parser = OverridesParser.create()
    single = [
        re.match(rf"({'|'.join(catalog.GROUPS)})\.", argument)
        and not parser.parse_override(argument).is_sweep_override()
        for argument in arguments
    ]
    swept = [
        re.sub("=(.*)", r"=choice(\1)", a) if alone else a
        for a, alone in zip(arguments, single, strict=True)
    ]
    return swept if SWEEP.intersection(swept) else ["-m", *swept]


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def application(config: DictConfig) -> str:
    """Run one cell; return the worst status among its replicas."""
    from rich.console import Console

    from beyond.run.data import understood
    from beyond.run.display import say
    from beyond.run.runner import run_cell
    from hydra_plugins.beyond_cells.configuration import read_cell

    study = HydraConfig.get().mode is RunMode.MULTIRUN
    try:
        console = Console(stderr=True)
        cell = read_cell(config, tell=partial(say, console))
        for line in () if study else understood(cell):
            say(console, line)
        status = run_cell(cell, keep_skipped=study, shown=not study)
    except REFUSALS as error:  # before Hydra adds its lines
        sys.exit(f"beyond: {explain(error, sys.argv[1:])}")
    if status == "failed" and not study:
        sys.exit(1)
    memo.keep([([cell], {cell.arm.id: cell.label})])
    return status


def _as_plan(arguments: list[str]) -> list[str]:
    """Let a sweep take a command's place that plans and does nothing else.

    Raises `InputError` where the command itself would be refused, or is none of a study.
    """
    if any(argument.startswith("+paper=all") for argument in arguments):
        raise InputError(f"plan takes one paper, of {', '.join(names('paper'))}; got all")
    if options := [a for a in arguments if a.startswith("-") and a not in SWEEP]:
        raise InputError(f"plan takes what is run, setting=value; got {options[0]}")
    if not _sweeps(arguments):
        overrides = OverridesParser.create().parse_overrides([*map(quoted, arguments)])
        ConfigLoaderImpl.validate_sweep_overrides_legal(overrides, RunMode.RUN, from_shell=True)
        arguments = ["-m", *arguments]
    return [*arguments, "hydra/sweeper=plan"]


def _sweeps(arguments: list[str]) -> bool:
    """Say whether a command is of several cells."""
    return bool(SWEEP.intersection(arguments)) or any(
        re.match(r"\+(study|paper|tune)=", argument) for argument in arguments
    )


def _status(arguments: list[str]) -> None:
    """Print what has become of a study's cells."""
    from beyond.run.status import main

    main(arguments)


def _merge(arguments: list[str]) -> None:
    """Make one study of several machines'."""
    from beyond.run.merge import main

    main(arguments)


def _describe(arguments: list[str]) -> None:
    """Print what is known of the methods that are named, or of all."""
    from beyond.run.describe import show

    show(arguments)


def _every_paper(arguments: list[str]) -> None:
    """Run every paper, each in a process, then write their index; exit status 1 if any failed."""
    settings = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    if settings.get("scale", "fast") not in SCALES:  # one line for all of them
        sys.exit(f"beyond: scale must be one of {', '.join(SCALES)}; got {settings['scale']!r}")
    commands = [
        [sys.executable, "-m", "beyond.run.main", f"+paper={name}", *arguments]
        for name in names("paper")
    ]
    failed = [command for command in commands if obedient(command)]
    publish_index = find("hydra.sweeper.index", catalog.read("hydra/sweeper", "cells")["index"])
    publish_index(expanded(settings.get("runs", "runs")) / "papers")
    sys.exit(min(len(failed), 1))


def register_resolvers() -> None:
    """Let settings choose, `${scaled:20,60}`, and list, `${repeated:256,30}`, `${span:0,400}`."""
    for resolver in (_scaled, _repeated, _span):
        OmegaConf.register_new_resolver(resolver.__name__.lstrip("_"), resolver, replace=True)


def _scaled(fast: Any, full: Any, *, _root_: DictConfig) -> Any:
    """Choose between two values by the paper's scale."""
    require_one_of("scale", SCALES, _root_.scale)
    return full if _root_.scale == "full" else fast


def _repeated(value: Any, count: int) -> str:
    """Write a list for an override: `network.hidden=${repeated:256,30}` is thirty layers of 256."""
    return f"[{','.join([str(value)] * count)}]"


def _span(first: int, stop: int) -> str:
    """Write a list for an override: `seeds=${span:500,1000}` is the seeds from 500 to 999."""
    return f"[{','.join(map(str, range(first, stop)))}]"


if __name__ == "__main__":
    main()
