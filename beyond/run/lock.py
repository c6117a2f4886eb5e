"""A file that one process holds: the operating system frees it when the process ends.

A drive without such locks, such as some network drives, has a file in place of one, which names its
process: another takes it over once that process is gone from this machine.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock

PATIENCE = 0.2  # seconds, in which who only looks whether a lock is held has let it go
UNSUPPORTED = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


@contextmanager
def held(path: Path, patience: float = PATIENCE) -> Iterator[str]:
    """Hold a lock; yield what must be said of it, "" where the drive has locks.

    Raises
    ------
    TimeoutError
        If another process holds it.
    OSError
        If the file cannot be written.
    """
    lock, caveat = _acquired(path, patience)
    try:
        yield caveat
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Say whether a process holds a lock."""
    try:
        with held(path):
            return False
    except TimeoutError:
        return True


def _acquired(path: Path, patience: float) -> tuple[BaseFileLock, str]:
    lock, caveat = FileLock(path, fallback_to_soft=False), ""
    try:
        _acquire(lock, patience)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        marker = path.with_name(f"{path.name}.held")
        caveat = f"{path.parent} has no locks ({error.strerror}), {marker.name} is in place of one"
        _acquire(lock := SoftFileLock(marker), patience)
    return lock, caveat


def _acquire(lock: BaseFileLock, patience: float) -> None:
    lock.acquire(timeout=patience, poll_interval=PATIENCE / 10)
