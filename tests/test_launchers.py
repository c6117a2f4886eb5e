"""The same study through every launcher: tables are equal but for time and host."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from signal import SIGTERM, SIGUSR2
from time import sleep

import pandas as pd
import pytest

from beyond.installed import ROOT

FAULTS = [
    ("hydra_plugins/beyond_cells/sweeper.py", 'launcher.get("array_parallelism", 1)', "1"),
    (
        "hydra_plugins/beyond_cells/sweeper.py",
        "n_processes = self.n_workers or _processes(self.config.hydra.launcher)\n        jobs",
        "n_processes = _processes(self.config.hydra.launcher)\n        jobs",
    ),
    # a worker composes what was typed, without the study
    (
        "hydra_plugins/beyond_cells/sweeper.py",
        'OmegaConf.update(config, "hydra.over',
        '("hydra.over',
    ),
    ("hydra_plugins/beyond_cells/ray_launcher.py", "os.chdir(folder)", "pass"),
]
PROGRAM = [sys.executable, "-m", "beyond.run.main", "-m"]
STUDY = [
    *("method=backprop,constant,hebbian", "method.batch_size=16,32"),
    "seeds=2",
]
# What SLURM's commands do, on this machine: a job array in the background, one task after another
# in each of as many lanes as may run at once.
SLURM = {
    "sbatch": """
        cp "$1" "$LANES/script.sh"
        tasks=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\)%.*/\\1/p' "$1")
        export SLURM_ARRAY_JOB_ID=7 SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1
        for task in $(seq 0 "$tasks"); do
            SLURM_JOB_ID=$((7 + task)) SLURM_ARRAY_TASK_ID=$task bash "$1" >"$LANES/$task.log" 2>&1 &
        done
        echo "Submitted batch job 7"
    """,
    "srun": """
        echo $$ >"$LANES/$SLURM_ARRAY_TASK_ID.pid"
        while [ "${1#-}" != "$1" ]; do case "$1" in --output|--error) shift 2;; *) shift;; esac; done
        exec "$@"
    """,
    "scontrol": """
        echo "$@" >>"$LANES/requeued"
        (sleep 1; exec bash "$LANES/script.sh" >>"$LANES/$SLURM_ARRAY_TASK_ID.log" 2>&1) &
    """,
    "sacct": "echo 'JobID|State|NodeList'; for i in 0 1 2 3; do echo \"7_$i|RUNNING|here\"; done",
}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Return what runs the study with a launcher and returns its tables, without time."""

    def run(*arguments, epochs=1, meanwhile=lambda _: None, **environment):
        folder = tmp_path_factory.mktemp("launched")
        command = subprocess.Popen(
            [*PROGRAM, *STUDY, f"budget.epochs={epochs}", "runs=out", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        meanwhile(folder / "out" / "adhoc")
        told, _ = command.communicate()
        assert command.returncode == 0, told
        assert [path.name for path in folder.iterdir()] == ["out"]
        return tables(folder / "out" / "adhoc")

    return run


@pytest.fixture
def slurm(tmp_path):
    """Return the environment in which SLURM's commands are there."""
    for name, commands in SLURM.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{commands}")
        (tmp_path / name).chmod(0o755)
    return {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "LANES": str(tmp_path)}


@pytest.fixture(scope="module")
def basic(sweep):
    return sweep()


def tables(study):
    """Tables of all cells by their paths, without time."""
    found = {}
    for path in sorted(study.glob("*/*.parquet")):
        table = pd.read_parquet(path)
        kept = [name for name in table if "seconds" not in name]
        found[f"{path.parent.name}/{path.name}"] = table[kept]
    assert len(found) == 6 * 4
    return found


def assert_equal(some, others):
    assert list(some) == list(others)
    for name, table in some.items():
        pd.testing.assert_frame_equal(table, others[name], check_exact=True)


def needs(module):
    return pytest.mark.skipif(find_spec(module) is None, reason=f"{module} is not installed")


def test_a_study_takes_settings_of_the_launcher_that_it_names(beyond, tmp_path):
    told = beyond("+study=quick", "hydra.launcher.n_jobs=1", "method=constant", "task=image/digits")
    assert told[0] == 0
    assert len(list((tmp_path / "runs" / "quick").glob("*/manifest.json"))) == 1


def test_joblib(sweep, basic):
    assert_equal(sweep("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"), basic)


@pytest.mark.slow
@needs("submitit")
def test_submitit_on_this_machine(sweep, basic):
    """With at most two jobs at once."""
    assert_equal(sweep("hydra/launcher=submitit_local", "hydra.sweeper.n_workers=2"), basic)


@pytest.mark.slow
@needs("submitit")
def test_submitit_writes_a_job_array_for_slurm(sweep, basic, slurm, tmp_path):
    launched = sweep(
        "hydra/launcher=submitit_slurm",
        *("hydra.launcher.array_parallelism=2", "hydra.launcher.timeout_min=60"),
        *("hydra.launcher.partition=short", "hydra.launcher.signal_delay_s=45"),
        **slurm,
    )
    assert_equal(launched, basic)
    asked = dict(re.findall(r"^#SBATCH --(\S+?)=(.*)$", (tmp_path / "script.sh").read_text(), re.M))
    assert asked["array"] == "0-1%2"
    assert (asked["time"], asked["partition"], asked["signal"]) == ("60", "short", "USR2@45")


@pytest.mark.slow
@needs("submitit")
def test_a_preempted_job_saves_and_is_queued_again(sweep, slurm, tmp_path):
    undisturbed = sweep(epochs=20)

    def preempt(study):
        """Send what SLURM sends to its workers, in the middle of a cell."""
        log = None
        while not log:
            sleep(0.1)
            log = next(
                (one for one in study.glob("*/log.txt") if "spent 0.1" in one.read_text()), 0
            )
        for number in (SIGTERM, SIGUSR2):
            for lane in tmp_path.glob("?.pid"):
                os.kill(int(lane.read_text()), number)
            sleep(1)

    launched = sweep(
        *("hydra/launcher=submitit_slurm", "hydra.launcher.array_parallelism=2"),
        epochs=20,
        meanwhile=preempt,
        **slurm,
    )
    assert_equal(launched, undisturbed)
    requeued = sorted((tmp_path / "requeued").read_text().splitlines())
    assert requeued == ["requeue 7_0", "requeue 7_1"]


@pytest.mark.slow
@needs("ray")
def test_ray_on_this_machine(sweep, basic):
    assert_equal(sweep("hydra/launcher=ray", "hydra.launcher.n_jobs=2"), basic)


@pytest.mark.slow
@needs("ray")
def test_ray_on_a_cluster_of_two_nodes(sweep, basic):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        where = f"hydra.launcher.address='{cluster.address}'"
        assert_equal(sweep("hydra/launcher=ray", "hydra.launcher.n_jobs=2", where), basic)
    finally:
        cluster.shutdown()
