"""A launcher for Ray: as many workers as asked, wherever the cluster has room for them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from beyond.errors import InputError

ENVIRONMENT = ("BEYOND_", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "XDG_DATA")


class RayLauncher(Launcher):
    """Runs what it launches in processes of a Ray cluster, which see the same files.

    Parameters
    ----------
    n_jobs : int
        Workers.
    address : str, optional
        Of a running cluster; None starts one on this machine.
    num_cpus, num_gpus : float
        What one worker takes.
    """

    def __init__(self, n_jobs: int, address: str | None, num_cpus: float, num_gpus: float) -> None:
        self.n_jobs = n_jobs
        self.address = address
        self.resources = {"num_cpus": num_cpus, "num_gpus": num_gpus}
        self.task_function: TaskFunction | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what is to be run; it needs no configuration."""
        self.task_function = task_function

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run one worker a job, until all have ended."""
        try:
            import ray
        except ImportError:
            raise InputError(
                "hydra/launcher=ray needs the package ray: pip install 'beyond-backprop[ray]'"
            ) from None
        path = [entry for entry in sys.path if entry]  # a checkout's packages are on it
        inherited = {
            name: value for name, value in os.environ.items() if name.startswith(ENVIRONMENT)
        }
        ray.init(
            address=self.address,
            num_cpus=None if self.address else self.n_jobs,
            include_dashboard=None if self.address else False,
            logging_level="warning",
            log_to_driver=True,
            runtime_env={"env_vars": {**inherited, "PYTHONPATH": os.pathsep.join(path)}},
        )
        try:
            work = ray.remote(**self.resources)(_work)
            folder = str(Path.cwd())
            jobs = [
                work.options(name=f"worker {number}").remote(self.task_function, folder)
                for number, _ in enumerate(job_overrides, initial_job_idx)
            ]
            return [_returned(ray.get(job)) for job in jobs]
        finally:
            ray.shutdown()


def _work(task: TaskFunction, folder: str) -> Any:
    """Run a worker in the folder where its study was asked for."""
    os.chdir(folder)
    return task(DictConfig({}))


def _returned(value: Any) -> JobReturn:
    """A result as Hydra hands it back."""
    made = JobReturn(status=JobStatus.COMPLETED)
    made.return_value = value
    return made
