"""What the figures of training show: means over seeds and their intervals, along a cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.runs import Frame
from analysis.statistics.inference import UNBOUNDED, Array, mean_interval
from analysis.tables import Tables, limits_of

MAX_POINTS = 100
WINDOW = 5  # checkpoints over which cosines are averaged
GRADIENT_RANGE = (1e-12, 1e12)  # norms outside, zero among them, count as these


@dataclass(frozen=True)
class Band:
    """A mean over replicas along a cost.

    Attributes
    ----------
    cost, mean, low, high : arrays of shape (n_points,)
        95 % interval of the mean; NaN for one replica.
    lost : array of shape (n_points,)
        How many replicas had diverged or failed by then; the mean is over the others.
    n : int
        Replicas.
    """

    cost: Array
    mean: Array
    low: Array
    high: Array
    lost: np.ndarray
    n: int


def forward_fill(costs: Array, values: Array, grid: Array) -> Array:
    """Value at each grid point: the last one recorded at or below that cost, NaN before the first.

    `costs` ascends; of equal costs the later counts.
    """
    last = np.searchsorted(costs, grid, side="right") - 1
    return np.where(last >= 0, values[last.clip(0)], np.nan)


def band(replicas: Frame, cost: str, limits: tuple[float, float] = UNBOUNDED) -> Band:
    """Average one arm's replicas on the union of their costs.

    A replica that finished keeps its last value to the end of the arm; one that diverged or failed
    has none after it.

    Parameters
    ----------
    replicas : DataFrame
        Columns seed, status, value and the named cost, sorted by seed and in order of training.
    limits : (float, float)
        What no mean can leave.
    """
    starts = np.flatnonzero(np.diff(replicas["seed"].to_numpy())) + 1
    finished = (replicas["status"] == "finished").to_numpy()
    columns = (replicas[cost].to_numpy(float), replicas["value"].to_numpy(float), finished)
    curves = list(zip(*(np.split(column, starts) for column in columns), strict=True))
    grid = np.unique(columns[0])
    if len(grid) > MAX_POINTS:
        grid = grid[np.linspace(0, len(grid) - 1, MAX_POINTS).round().astype(int)]
    over = np.array([~finished[0] & (grid > costs[-1]) for costs, _, finished in curves])
    values = np.array([forward_fill(costs, values, grid) for costs, values, _ in curves])
    values[over] = np.nan
    with np.errstate(invalid="ignore"):
        mean = np.nansum(values, axis=0) / np.isfinite(values).sum(axis=0)
    low, high = mean_interval(values, limits)
    return Band(grid, mean, low, high, over.sum(axis=0), len(curves))


def score_bands(tables: Tables, task: str, cost: str, split: str = "validation") -> dict[str, Band]:
    """Score on a split by arm, along a cost."""
    return _bands(_scores(tables, task, split), cost, limits_of(tables.score(task)))


def gap_bands(tables: Tables, task: str, cost: str) -> dict[str, Band]:
    """Training minus validation score by arm, along a cost."""
    key = ["arm", "seed", "checkpoint"]
    train = _scores(tables, task, "train")[[*key, "value"]]
    both = _scores(tables, task, "validation").merge(
        train, on=key, suffixes=("_validation", "_train")
    )
    return _bands(both.assign(value=both["value_train"] - both["value_validation"]), cost)


def gradient_bands(
    tables: Tables, task: str, cost: str, norm: str = "gradient_norm"
) -> dict[str, dict[int, Band]]:
    """log10 of a gradient's norm by arm and depth along a cost: its mean is the geometric one.

    Parameters
    ----------
    norm : str
        Column of the layers table; no arm where the table has none such.
    """
    rows = tables.layers[tables.layers["task"] == task]
    if norm not in rows:
        return {}
    logs = np.log10(rows[norm].clip(*GRADIENT_RANGE))
    rows = rows.assign(value=logs).dropna(subset=["value", cost])
    return {
        str(arm): {
            int(str(depth)): band(part, cost) for depth, part in rows_of_arm.groupby("depth")
        }
        for arm, rows_of_arm in rows.groupby("arm")
    }


@dataclass(frozen=True)
class LayerAlignment:
    """Update cosine by arm at one layer of one network, smoothed over `WINDOW` checkpoints.

    Attributes
    ----------
    network, layer : str
    n_weights : int
        d: a single cosine of a random direction has mean 0 and variance 1 / d.
    bands : dict of str to Band
        By arm. Cosines of a seed are averaged over the checkpoints around each, fewer at the ends.
    at, null : arrays of shape (n_points,)
        Along the cost: what the mean over the seeds of an arm, of all that with the fewest, stays
        within in 95 % of cases if every direction is random: 1.96 / sqrt(n d), and less as more
        checkpoints are averaged.
    errors : dict of str to float
        By arm: mean cosine over all seeds and checkpoints, in standard errors of random directions.
    """

    network: str
    layer: str
    n_weights: int
    bands: dict[str, Band]
    at: Array
    null: Array
    errors: dict[str, float]

    @property
    def smallest(self) -> float:
        """The null where most checkpoints are averaged."""
        return float(self.null.min())


def alignment(tables: Tables, task: str, cost: str) -> list[LayerAlignment]:
    """Update cosine at each layer, from the input on; rows without an update are left out."""
    rows = tables.layers[tables.layers["task"] == task]
    rows = rows.assign(value=rows["update_cosine"]).dropna(subset=["value", cost])
    layers = []
    for (network, _, layer), of_layer in rows.groupby(["network", "depth", "layer"]):
        d, smooth = int(of_layer["n_weights"].iloc[0]), _smoothed(of_layer)
        bands = _bands(smooth, cost)
        fewest = min(bands, key=lambda arm: bands[arm].n)
        shares = band(smooth[smooth["arm"] == fewest].assign(value=1 / smooth["count"]), cost)
        null = 1.96 * np.sqrt(shares.mean / (shares.n * d))
        total = of_layer.groupby("arm")["value"].agg(["sum", "size"])
        errors = total["sum"] / np.sqrt(total["size"] / d)
        layers.append(
            LayerAlignment(str(network), str(layer), d, bands, shares.cost, null, errors.to_dict())
        )
    return layers


def _smoothed(rows: Frame) -> Frame:
    """Average the values of each arm's seed over the `WINDOW` rows around each, of `count` rows."""
    rows = rows.sort_values(["arm", "seed", "checkpoint"], kind="stable")
    replica = rows.groupby(["arm", "seed"], sort=False).ngroup().to_numpy()
    starts = np.flatnonzero(np.diff(replica, prepend=-1))
    ends = np.append(starts[1:], len(rows))
    place, reach = np.arange(len(rows)), WINDOW // 2
    first = np.maximum(place - reach, starts[replica])
    last = np.minimum(place + reach + 1, ends[replica])
    sums = np.concatenate([[0.0], np.cumsum(rows["value"].to_numpy(float))])
    count = last - first
    return rows.assign(value=(sums[last] - sums[first]) / count, count=count)


def _scores(tables: Tables, task: str, split: str) -> Frame:
    curves = tables.curves
    headline = curves["metric"] == curves["headline_metric"]
    rows = curves[(curves["task"] == task) & (curves["split"] == split) & headline]
    return rows[np.isfinite(rows["value"].to_numpy(float))]


def _bands(rows: Frame, cost: str, limits: tuple[float, float] = UNBOUNDED) -> dict[str, Band]:
    return {str(arm): band(part, cost, limits) for arm, part in rows.groupby("arm")}
