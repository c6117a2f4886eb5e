"""What Hydra composes, as plain settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from beyond.run.cell import Cell

# settings of a published result: they choose cells and are no part of one
PAPER = ("paper", "scale")


def without_hydra(config: DictConfig) -> DictConfig:
    """Settings that are ours: a fifth of all, which are copied for each cell."""
    ours = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    OmegaConf.set_struct(ours, True)  # an unknown key is refused, as in the whole
    return ours


def read_cell(config: DictConfig, method: str = "") -> Cell:
    """One run, from Hydra's settings.

    Parameters
    ----------
    config : DictConfig
    method : str
        Its choice of a method; "" to ask Hydra.
    """
    from beyond.run.cell import Cell

    if not method:
        hydra_config = config.hydra if "hydra" in config else HydraConfig.get()
        method = hydra_config.runtime.choices["method"]
    ours = without_hydra(config)
    plain: Any = OmegaConf.to_container(ours, resolve=True, throw_on_missing=True)
    for key in PAPER:
        plain.pop(key, None)
    return Cell.of(plain, method)
