"""Time competitors in turn, so that a drifting machine slows them alike, and print ratios."""

from collections.abc import Callable
from statistics import median
from time import perf_counter

Competitors = dict[str, Callable[[], object]]
TURN = 0.1  # seconds


def measure(competitors: Competitors, n_rounds: int) -> dict[str, list[float]]:
    """Seconds a call of each competitor in each of `n_rounds` interleaved rounds.

    A turn is one call that is not counted, for the caches that the others left cold, then calls for
    `TURN` seconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in competitors}
    for _ in range(n_rounds):
        for name, work in competitors.items():
            work()
            n_calls, start = 0, perf_counter()
            while n_calls == 0 or perf_counter() - start < TURN:
                work()
                n_calls += 1
            seconds[name].append((perf_counter() - start) / n_calls)
    return seconds


def report(title: str, competitors: Competitors, n_rounds: int = 15) -> None:
    """Print each competitor's median time, and how many times slower it is than the first, ours."""
    seconds = measure(competitors, n_rounds)
    ours = next(iter(seconds))
    print(
        f"\n{title}\n{'':28} {'median ms':>10} {'x ours':>8}   smallest to largest ratio of "
        f"{n_rounds} rounds"
    )
    for name, times in seconds.items():
        ratios = [a / b for a, b in zip(times, seconds[ours], strict=True)]
        ratio = median(times) / median(seconds[ours])
        print(
            f"{name:28} {1e3 * median(times):10.3f} {ratio:8.2f}   {min(ratios):.2f} to "
            f"{max(ratios):.2f}",
            flush=True,
        )
