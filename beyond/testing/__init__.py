"""What a method, a task or a network promises, as checks that anyone can run.

`beyond-check method=mine` prints them all; in a test file,

    from beyond.testing import check_method

    def test_mine():
        check_method(Mine())

raises `AssertionError` with one line for the first that does not hold, and

    from beyond.testing import method_checks

    @pytest.mark.parametrize("check", method_checks(Mine()), ids=str)
    def test_mine(check):
        check()

makes each a test. This project's methods, tasks and networks are held to the same.
"""

from __future__ import annotations

from beyond.contracts import Architecture, Method, Task
from beyond.testing.checks import fail
from beyond.testing.methods import method_checks
from beyond.testing.networks import network_checks
from beyond.testing.tasks import task_checks

__all__ = [
    "check_method",
    "check_network",
    "check_task",
    "method_checks",
    "network_checks",
    "task_checks",
]


def check_method(method: Method) -> None:
    """Raise `AssertionError`, one line, for the first of `method_checks` that does not hold."""
    fail(list(method_checks(method)))


def check_task(task: Task) -> None:
    """Raise `AssertionError`, one line, for the first of `task_checks` that does not hold."""
    fail(list(task_checks(task)))


def check_network(architecture: Architecture) -> None:
    """Raise `AssertionError`, one line, for the first of `network_checks` that does not hold."""
    fail(list(network_checks(architecture)))
