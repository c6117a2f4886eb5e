"""What Hydra composes, as plain settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from beyond.run.cell import Cell

# settings of a page, a tuning and a landscape: they choose, or follow, cells and are no part of one
APART = ("paper", "scale", "tune", "landscape")


def without_hydra(config: DictConfig) -> DictConfig:
    """Settings of cells: a small part of all, which is copied for each of them."""
    left_out = [key for key in ("hydra", "paper") if key in config]
    if not left_out:
        return config
    ours = OmegaConf.masked_copy(config, [str(key) for key in config if key not in left_out])
    OmegaConf.set_struct(ours, True)  # an unknown key is refused, as in the whole
    return ours


def with_settings(config: DictConfig, typed: Sequence[str]) -> DictConfig:
    """Return a copy in which settings inside of choices, `network.hidden=[64]`, are as typed.

    A hundred times faster than to have Hydra choose again.
    """
    config = deepcopy(config)
    ConfigLoaderImpl._apply_overrides_to_config(
        OverridesParser.create().parse_overrides(list(typed)), config
    )
    return config


def read_cell(
    config: DictConfig,
    method: str = "",
    typed: Sequence[str] | None = None,
    tell: Callable[[str], None] = print,
) -> Cell:
    """One run, from Hydra's settings.

    Parameters
    ----------
    config : DictConfig
    method : str
        Its choice of a method; "" to ask Hydra.
    typed : sequence of str, optional
        Overrides that it was composed of, which count more than tuned settings; Hydra's unless
        given.
    tell : callable
        Is told what was taken of tuned settings.
    """
    from beyond.run.cell import Cell
    from beyond.run.tuned import folder_of, overlaid

    if not method:
        hydra_config = config.hydra if "hydra" in config else HydraConfig.get()
        method = hydra_config.runtime.choices["method"]
    ours = without_hydra(config)
    plain: Any = OmegaConf.to_container(ours, resolve=True, throw_on_missing=True)
    for key in APART:
        plain.pop(key, None)
    folder = folder_of(plain.pop("tuned")["settings"])
    cell = Cell.of(plain, method)
    if folder is None:
        return cell
    typed = HydraConfig.get().overrides.task if typed is None else typed
    return overlaid(cell, method, folder, typed, tell)
