"""Speed beside the peers: every figure is a ratio of medians within one run, on one thread."""

import os

# Read once, when the numerical libraries load; two thread pools in one process fight.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
