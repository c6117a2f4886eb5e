"""Signals that ask a process to end: what is under way is brought to a stop, and saved, first."""

from __future__ import annotations

import atexit
import gc
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import parent_process
from subprocess import Popen
from threading import Event, Thread, current_thread, main_thread
from time import sleep

ENDING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
# how workers are told by whoever started them; it does nothing to a process that is not one yet
WORD = getattr(signal, "SIGURG", None)
# how a cluster says that it wants its machine back; only to who listens, as what submits jobs does
RECALL = tuple(getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name))
PATIENCE = 1.0  # seconds until a process ends that nobody can give work
_idle = Event()


class Interrupted(KeyboardInterrupt):
    """A signal has asked this process to end.

    Attributes
    ----------
    signal : signal.Signals
    """

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        super().__init__(f"interrupted by {self.signal.name}")


@contextmanager
def raising() -> Iterator[None]:
    """Let signals raise `Interrupted`, as Ctrl-C raises `KeyboardInterrupt`."""

    def end(number: int, _: object) -> None:
        raise Interrupted(number)

    with _handled(end, ENDING):
        yield


@contextmanager
def noting(heeded: Callable[[], bool] = lambda: True) -> Iterator[Callable[[], bool]]:
    """Note the first signal instead of ending; whoever handled it before gets it afterwards.

    A second one raises `Interrupted` at once. In another than the main thread, which gets no
    signals, nothing is changed.

    Parameters
    ----------
    heeded : callable
        Asked when one comes: if nobody heeds it, it raises `Interrupted` at once too.

    Yields
    ------
    callable
        Says whether one has come.
    """
    came: list[int] = []
    raised = False

    def note(number: int, _: object) -> None:
        nonlocal raised
        if came or not heeded():
            raised = True
            raise Interrupted(came[0] if came else number)
        came.append(number)

    try:
        with _handled(note, ENDING):
            yield lambda: bool(came)
    finally:
        if came and not raised:
            signal.raise_signal(came[0])


def obedient(command: Sequence[str]) -> int:
    """Run a command and return its status; hand signals on to it, and end when it has.

    Raises
    ------
    SystemExit
        If it has ended because of a signal, and has said so.
    Interrupted
        If it has ended otherwise, and a signal has come.
    """
    came, started = list[int](), list[Popen]()

    def hand_on(number: int, _: object) -> None:
        came.append(number)
        for child in started:
            child.send_signal(number)

    with _handled(hand_on, ENDING):
        if os.name == "posix":  # what a terminal sends to its group is ours to hand on, once
            started.append(Popen(command, process_group=0))
        else:
            started.append(Popen(command))
        status = started[0].wait()
    if came and status == 128 + came[0]:
        raise SystemExit(status)
    if came:
        raise Interrupted(came[0])
    return status


@contextmanager
def unheard() -> Iterator[None]:
    """Start processes that a terminal's Ctrl-C does not reach: it is their parent's affair.

    Before a worker listens it would end it with a traceback. Here another thread, which must have
    been started before, receives it.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass
class Listening:
    """What a worker has been told.

    Attributes
    ----------
    parent : int
        The process that must live.
    told : list of int
        Signals to end by.
    passed_on : bool
        After it has ended: whether all of these had a handler before, which let it go on.
    """

    parent: int
    told: list[int] = field(default_factory=list)
    passed_on: bool = False

    def __call__(self) -> bool:
        """Say whether to end."""
        return bool(self.told) or os.getppid() != self.parent


@contextmanager
def listening(home: int) -> Iterator[Listening]:
    """Be a worker: end when its parent says so, or is gone, or when it is terminated itself.

    What a terminal sends to all of its processes is its parent's affair. A signal that whoever
    launched us handles, as submitit does to queue a job again, is handled so in the end, when what
    was under way is saved.

    Parameters
    ----------
    home : int
        The process that launched it, perhaps through others.
    """
    listener = Listening(home if parent_process() else os.getppid())

    def listen(number: int, _: object) -> None:
        if number in heeded:
            listener.told.append(number)

    handled = {n for n in (signal.SIGTERM, *RECALL) if callable(signal.getsignal(n))}
    heeded = {signal.SIGTERM, *handled, *([] if WORD is None else [WORD])}
    with _handled(listen, heeded.union(ENDING)):
        _idle.clear()
        _leave_with(listener.parent)
        try:
            yield listener
        finally:
            _idle.set()
    for number in handled.intersection(listener.told):
        signal.raise_signal(number)
    listener.passed_on = bool(listener.told) and handled.issuperset(listener.told)


@cache
def end_without_search() -> None:
    """Let this process end without a search for garbage, which in what torch loads takes 0.7 s."""
    atexit.register(gc.freeze)


@cache
def _leave_with(parent: int) -> None:
    """End this process when its parent is gone, and it does nothing but wait for work."""
    end_without_search()

    def watch() -> None:
        while os.getppid() == parent or not _idle.is_set():
            sleep(PATIENCE)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


@contextmanager
def _handled(handler: Callable[[int, object], None], numbers: Iterable[int]) -> Iterator[None]:
    """Handle signals, but for those that are ignored, as by nohup; then as before."""
    before = {}
    try:
        if current_thread() is main_thread():
            for number in numbers:
                former = signal.getsignal(number)
                if former not in (signal.SIG_IGN, None):
                    before[number] = former
                    signal.signal(number, handler)
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
