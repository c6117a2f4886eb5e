"""A study with known answers: every number follows from arm, task and seed by a formula."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

CHECKPOINTS = 31
BUDGET = 300.0
EPOCH_FLOPS = 6e6
LAYERS = (("network", 2036), ("linear_1", 650), ("linear_2", 1056), ("linear_3", 330))  # by depth
SCORES = {
    "image/digits": "accuracy_score",
    "text/languages": "accuracy_score",
    "regression/friedman": "r2_score",
}
# method: signal, score that is approached, epochs until halfway, alignment, seconds an epoch
ARMS = {
    "backprop": ("gradient", 0.95, 3, 0.9, 0.01),
    "constant": ("loss", 0.10, 1, np.nan, 0.0001),
    "decoupled_greedy": ("targets", 0.90, 6, 0.5, 0.02),
    "direct_feedback_alignment": ("error", 0.91, 8, 0.3, 0.008),
    "evolution_strategies": ("loss", 0.70, 60, 0.05, 0.02),
    "feedback_alignment": ("error", 0.92, 6, 0.4, 0.01),
    "forward_forward": ("targets", 0.85, 20, 0.1, 0.03),
    "genetic": ("loss", 0.55, 90, 0.0, 0.015),
    "last_layer": ("gradient", 0.80, 4, 0.7, 0.005),
    "reinforce": ("reward", 0.75, 40, 0.2, 0.01),
}


@dataclass
class Study:
    """Writes cells into a folder."""

    folder: Path
    name: str = "synthetic"

    def cell(self, method, task="image/digits", seeds=range(5), status="finished", **identity):
        """Write one run; if `diverged`, the last seed diverges halfway. Return its run_id."""
        signal, top, half, aligned, pace = ARMS[method]
        identity = {"network": "mlp", "default_network": True, "variant": "", **identity}
        where = (task.replace("/", "-"), identity["network"], identity["variant"], str(seeds[0]))
        run_id = "-".join((method, *where))
        label = {
            "run_id": run_id,
            "study": self.name,
            "method": method,
            "signal": signal,
            "task": task,
            **identity,
        }
        score = SCORES[task]
        loss = "cross_entropy_loss" if score == "accuracy_score" else "squared_error_loss"
        epochs = np.concatenate([[0], BUDGET * np.geomspace(1e-3, 1, CHECKPOINTS)])
        index = np.arange(CHECKPOINTS + 1)
        if method == "evolution_strategies":  # coarse steps skip the first checkpoints
            index = index[[0, *range(9, CHECKPOINTS + 1)]]
        epochs = epochs[index]
        forwards = method in ("evolution_strategies", "genetic", "forward_forward", "constant")
        flops = epochs * EPOCH_FLOPS
        costs = {
            "epochs": epochs,
            "forward": np.round(epochs * (3000 if forwards else 1000)),
            "backward": np.round(epochs * (0 if forwards else 1000)),
            "flops": flops,
            "steps": index * 10,
            "seconds": epochs * pace,
        }
        curves, layers, runs = [], [], []
        for seed in seeds:
            rng = np.random.default_rng([seed, len(method), len(task)])
            row = {**label, "seed": seed, "status": status, "reason": "", "headline_metric": score}
            if status == "skipped":
                runs.append({**row, "reason": f"{method} needs a classification task"})
                continue
            lost = status == "diverged" and seed == seeds[-1]
            stop = len(index) // 2 if lost else len(index)
            floor = 0.1 if score == "accuracy_score" else (-3.0 if method == "genetic" else 0.0)
            level = top + 0.01 * rng.standard_normal()
            train = floor + (level + 0.04 - floor) * epochs / (epochs + half)
            validation = floor + (level - floor) * epochs / (epochs + half) - 0.0001 * epochs
            train, validation = (
                v + 0.004 * rng.standard_normal(len(v)) for v in (train, validation)
            )
            best = int(np.argmax(validation[:stop]))
            test = validation - 0.01
            for point in range(stop):
                at = {**label, "seed": seed, "checkpoint": index[point]}
                at |= {name: cost[point] for name, cost in costs.items()}
                splits = {"train": train, "validation": validation}
                if point in (best, stop - 1):
                    splits["test"] = test
                for split, values in splits.items():
                    curves.append({**at, "split": split, "metric": score, "value": values[point]})
                    curves.append(
                        {**at, "split": split, "metric": loss, "value": 1 - values[point]}
                    )
                for depth, (layer, n_weights) in enumerate(LAYERS):
                    noise = np.sqrt(1 / n_weights) * rng.standard_normal()
                    norm = 10 ** (
                        -0.3 * depth + (-3 * point / 31 if method == "genetic" else 0.2 * noise)
                    )
                    known = point > 0 and method != "constant"
                    cosine = aligned * (1 - 0.2 * depth) + noise
                    layers.append(
                        {
                            **label,
                            "seed": seed,
                            "checkpoint": index[point],
                            "layer": layer,
                            "depth": depth,
                            "n_weights": n_weights,
                            "gradient_norm": norm,
                            "weight_norm": 1.0,
                            "update_norm": 0.01 if known else np.nan,
                            "update_cosine": cosine if known else np.nan,
                            "dead_fraction": 0.0,
                        }
                    )
            row["status"], row["reason"] = (
                ("diverged", "a loss is not finite") if lost else ("finished", "")
            )
            row["best_checkpoint"] = index[best]
            for split, values in {"train": train, "validation": validation, "test": test}.items():
                row[f"best_{split}_score"], row[f"best_{split}_loss"] = (
                    values[best],
                    1 - values[best],
                )
                end = np.nan if lost else values[-1]
                row[f"final_{split}_score"], row[f"final_{split}_loss"] = end, 1 - end
            row |= {"budget": BUDGET, "budget_currency": "epochs", "split": "own"}
            row |= {
                "n_train": 1000,
                "n_validation": 200,
                "n_test": 270,
                "total_seconds": costs["seconds"][-1] * len(seeds),
            }
            row |= {name: cost[stop - 1] for name, cost in costs.items()}
            row |= {f"{name}_to_best": cost[best] for name, cost in costs.items()}
            for target, name in ((0.5, "easy"), (0.8, "medium"), (0.9, "hard")):
                hit = np.flatnonzero(validation[:stop] >= target)
                row[f"target_{name}"] = target
                row |= {
                    f"{c}_to_{name}": cost[hit[0]] if len(hit) else np.inf
                    for c, cost in costs.items()
                }
            row |= {"n_weights": 2036, "inference_flops": 4000}
            before = 1e8 if method == "last_layer" else 0.0
            row |= {f"pretraining_{name}": 0.0 for name in costs if name != "steps"}
            row |= {
                "pretraining_flops": before,
                "pretraining_epochs": before / EPOCH_FLOPS,
                "state_bytes": 8144,
            }
            runs.append(row)
        self.write(run_id, curves, layers, runs)
        return run_id

    def predict(self, run_id, seeds=range(5), n_examples=60, n_test=40, skill=0.8):
        """Write a cell's predictions as they are recorded; return them.

        Each seed tests other examples, of three classes or values; the same ones are hard for
        every arm.
        """
        values = "regression" in run_id
        hardness = np.random.default_rng(7).uniform(-0.3, 0.3, n_examples)
        parts = []
        for seed in seeds:
            split, draws = np.random.default_rng(seed), np.random.default_rng([seed, len(run_id)])
            example = np.sort(split.permutation(n_examples)[:n_test]).astype(np.int32)
            part = {"run_id": run_id, "seed": seed, "example": example, "output": np.int16(0)}
            if values:
                target = (100 * np.sin(example)).astype(np.float32)
                part |= {
                    "target": target,
                    "prediction": target + np.float32(20) * draws.standard_normal(n_test),
                }
                part |= dict.fromkeys(
                    ("probability", "confidence", "brier"), np.full(n_test, np.nan)
                )
            else:
                right = draws.random(n_test) < skill - hardness[example]
                target = example % 3
                confidence = draws.uniform(0.4, 1, n_test)
                part |= {"target": target, "prediction": np.where(right, target, (target + 1) % 3)}
                chance = np.where(right, confidence, 1 - confidence)
                part |= {
                    "probability": chance,
                    "confidence": confidence,
                    "brier": 2 * (1 - chance) ** 2,
                }
            parts.append(pd.DataFrame(part))
        table = pd.concat(parts)
        kind = np.float32 if values else np.int16
        table = table.astype(
            {"run_id": "category", "target": kind, "prediction": kind}
            | dict.fromkeys(("probability", "confidence", "brier"), np.float16)
        )
        table.to_parquet(
            self.folder / run_id.replace("/", "-") / "predictions.parquet", index=False
        )
        return table

    def write(self, run_id, curves, layers, runs):
        cell = self.folder / run_id.replace("/", "-")
        cell.mkdir(parents=True)
        for name, rows in (("curves", curves), ("layers", layers), ("runs", runs)):
            pd.DataFrame(rows).to_parquet(cell / f"{name}.parquet", index=False)
        packages = {"python": "3.11.7", "torch": "2.13.0"}
        manifest = {
            "run_id": run_id,
            "commit": "0123abc",
            "dirty": False,
            "packages": packages,
            "threads": 1,
            "processor": "a processor",
            "settings": {"seeds": 5},
            "wall_seconds": 1.5,
        }
        (cell / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def study(tmp_path):
    """An empty study, to be filled by the test."""
    return Study(tmp_path / "synthetic")


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """The folder of a study with two tasks, one skipped arm and one that diverges."""
    study = Study(tmp_path_factory.mktemp("runs") / "small", "small")
    for task in ("image/digits", "regression/friedman"):
        for method in ("backprop", "constant", "genetic"):
            study.cell(method, task)
        study.cell("reinforce", task, status="diverged")
    study.cell("forward_forward", "regression/friedman", status="skipped")
    return study.folder


@pytest.fixture(scope="session")
def report(small, tmp_path_factory):
    """The report of the small study; its page's path."""
    from analysis import study

    return study.Study(small).report(tmp_path_factory.mktemp("report"))


@pytest.fixture
def tables_of():
    """Return what makes tables of test scores: by task and arm those of its seeds, or a status.

    Further columns of the runs are named; `curves` holds rows of curves.
    """
    from analysis.runs import COSTS, LEVELS
    from analysis.tables import Tables

    def make(scores, metric="accuracy_score", curves=None, **columns):
        rows = []
        for task, arms in scores.items():
            for arm, values in arms.items():
                for seed, value in enumerate(values):
                    lost = isinstance(value, str)
                    score = np.nan if lost else value
                    row = {"run_id": f"{task}/{arm}", "task": task, "arm": arm, "method": arm}
                    row |= {"seed": seed, "status": value if lost else "finished"}
                    row |= {"best_test_score": score, "best_validation_score": score}
                    rows.append(row)
        runs = pd.DataFrame(rows).assign(
            **{"headline_metric": metric, "network": "mlp", "default_network": True, "spent": 1.0},
            **{f"{name}_{level}": np.nan for level in LEVELS for name in ("target", "bracket")},
            **{f"{cost}_to_{level}": np.nan for level in LEVELS for cost in COSTS},
            **{f"pretraining_{cost}": 0.0 for cost in COSTS},
        )
        keys = ["run_id", "seed", "checkpoint", "split", "metric", "value", "headline_metric"]
        curves = pd.DataFrame(columns=keys) if curves is None else curves
        return Tables("s", curves, pd.DataFrame(), pd.DataFrame(), runs.assign(**columns), {})

    return make


@pytest.fixture
def rng():
    return np.random.default_rng(0)
