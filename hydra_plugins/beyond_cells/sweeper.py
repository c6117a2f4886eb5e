"""The cells of a sweep: checked, all of them, before the first one is trained; then trained, then reported."""

import json
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from beyond.files import write_whole
from beyond.run import check


class CellSweeper(BasicSweeper):
    """Every combination of the swept values, once for every task and every arm of a study.

    Parameters
    ----------
    max_batch_size, params
        As in Hydra's basic sweeper.
    tasks, arms : list of str, optional
        Each a line of overrides that belong together: "task=text/languages budget.epochs=20", "method=backprop
        network=linear". A line may sweep by itself: "method=glob(*)".
    publish : str
        Where to import the function from that makes the report, given the study's folder.
    """

    def __init__(
        self,
        max_batch_size: int | None,
        params: dict[str, str] | None = None,
        tasks: Sequence[str] | None = None,
        arms: Sequence[str] | None = None,
        publish: str = "analysis.report.publish",
    ) -> None:
        super().__init__(max_batch_size, params)
        self.lines = [f"{task} {arm}".split() for task in tasks or [""] for arm in arms or [""]]
        self.publish = publish

    def sweep(self, arguments: list[str]) -> Any:
        """Train every cell and report; the exit status is 1 if any run failed."""
        assert self.config is not None
        folder = Path(self.config.runs) / self.config.study_name
        returns = super().sweep(arguments)
        if "paper" in self.config:
            paper: Any = OmegaConf.to_container(self.config.paper, resolve=True)
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / "paper.json", lambda path: path.write_text(json.dumps(paper, indent=1)))
        resolve_name(self.publish)(folder)
        if any(job.return_value == "failed" for job in chain.from_iterable(returns)):
            sys.exit("beyond: some runs failed; the report lists them with their reasons")
        return returns

    def split_arguments(self, overrides: list[Override], max_batch_size: int | None) -> list[list[list[str]]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        cells = BasicSweeper.split_arguments(overrides, None)[0]
        lines = [BasicSweeper.split_arguments(parser.parse_overrides(line), None)[0] for line in self.lines]
        every = [[*cell, *line] for cell in cells for line in chain.from_iterable(lines)]
        return list(self.split_overrides_to_chunks(every, max_batch_size))  # pyright: ignore[reportReturnType]

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Refuse the sweep if any cell's settings are out of range."""
        for overrides in batch:
            config: Any = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))  # pyright: ignore
            check(config)
