"""Time competitors in turn, so that a drifting machine slows them alike, and print ratios."""

from collections.abc import Callable
from statistics import median
from time import perf_counter

Competitors = dict[str, Callable[[], object]]


def measure(competitors: Competitors, n_rounds: int) -> dict[str, list[float]]:
    """Seconds of each competitor in each of `n_rounds` interleaved rounds, after one that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in competitors}
    for turn in range(n_rounds + 1):
        for name, work in competitors.items():
            start = perf_counter()
            work()
            if turn:
                seconds[name].append(perf_counter() - start)
    return seconds


def report(title: str, competitors: Competitors, n_rounds: int = 15) -> None:
    """Print, for each competitor, its median time and how many times slower it is than the first, which is ours."""
    seconds = measure(competitors, n_rounds)
    ours = next(iter(seconds))
    print(f"\n{title}\n{'':28} {'median ms':>10} {'x ours':>8}   smallest to largest ratio of {n_rounds} rounds")
    for name, own in seconds.items():
        ratios = [a / b for a, b in zip(own, seconds[ours], strict=True)]
        ratio = median(own) / median(seconds[ours])
        print(f"{name:28} {1e3 * median(own):10.3f} {ratio:8.2f}   {min(ratios):.2f} to {max(ratios):.2f}", flush=True)
