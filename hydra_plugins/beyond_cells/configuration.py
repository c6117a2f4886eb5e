"""What Hydra composes, as plain settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from beyond.run.cell import Cell

# settings of a published result: they choose cells and are no part of one
PAPER = ("paper", "scale")


def read_cell(config: DictConfig) -> Cell:
    """One run, from Hydra's settings."""
    from beyond.run.cell import Cell

    hydra_config = config.hydra if "hydra" in config else HydraConfig.get()
    ours = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    plain: Any = OmegaConf.to_container(ours, resolve=True, throw_on_missing=True)
    for key in PAPER:
        plain.pop(key, None)
    return Cell.of(plain, method=hydra_config.runtime.choices["method"])
