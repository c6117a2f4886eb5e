"""A figure with 95 % intervals, 10 methods x 20 seeds x 1,000 points, beside seaborn's default.

`python -m benchmarks.pictures` prints seconds of each and how many times slower seaborn is: its
default interval is a bootstrap of every point, which takes minutes. Ours is the figure of a report,
drawn to pixels.
"""

from __future__ import annotations

from time import perf_counter

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from analysis.figures.canvas import draw_bars
from analysis.figures.looks import distinct
from analysis.summaries.trajectories import band

METHODS, SEEDS, POINTS = 10, 20, 1000


def table() -> pd.DataFrame:
    """Curves as the analysis has them: a row for each method, seed and point."""
    rng = np.random.default_rng(0)
    shape = (METHODS, SEEDS, POINTS)
    method, seed, epochs = (axis.ravel() for axis in np.indices(shape))
    values = rng.standard_normal(shape).cumsum(axis=-1).ravel()
    names = np.array([f"method {place}" for place in range(METHODS)])
    return pd.DataFrame(
        {
            "arm": names[method],
            "seed": seed,
            "epochs": epochs.astype(float),
            "value": values,
            "status": "finished",
        }
    )


def ours(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw a mean and intervals for each method, as `learning_figures.convergence` does."""
    look = distinct(sorted(rows["arm"].unique()))
    for place, (arm, part) in enumerate(rows.groupby("arm")):
        found = band(part, "epochs")
        draw_bars(axes, found.cost, found, look[str(arm)], place, METHODS)
    axes.autoscale_view()


def seaborns(axes: Axes, rows: pd.DataFrame) -> None:
    """The same in one call."""
    sns.lineplot(rows, x="epochs", y="value", hue="arm", ax=axes)


def main() -> None:
    """Print both times and their ratio."""
    rows, seconds = table(), dict[str, float]()
    ours(Figure().add_subplot(), rows)  # a first call finds fonts
    for draw in (ours, seaborns):
        start = perf_counter()
        figure = Figure((10, 4))
        draw(figure.add_subplot(), rows)
        FigureCanvasAgg(figure).draw()
        seconds[draw.__name__] = perf_counter() - start
        print(f"{draw.__name__:10} {seconds[draw.__name__]:8.2f} s", flush=True)
    print(f"seaborn takes {seconds['seaborns'] / seconds['ours']:.0f} times as long")


if __name__ == "__main__":
    main()
