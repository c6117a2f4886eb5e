"""What a run keeps: its selected weights say what its predictions said."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from beyond import catalog
from beyond.errors import InputError, UnsupportedError
from beyond.run.cell import Cell
from beyond.run.plan import plan
from beyond.run.runner import run_cell
from beyond.run.trained import Trained

FAULTS = [
    (
        "beyond/run/selection.py",
        "kept[outcome.best_checkpoint], replica",
        "kept[max(kept)], replica",
    ),
    ("beyond/run/selection.py", "state[replica : replica + 1].clone()", "state[:1].clone()"),
    (
        "beyond/run/trained.py",
        "(self.splits.in_units(outputs) if values else outputs)[0]",
        "outputs[0]",
    ),
    ("beyond/run/trained.py", "placed(task.at([seed])", "placed(task.at([self.seeds[0]])"),
    (
        "beyond/run/trained.py",
        'outdated := provenance.outdated(manifest["sources"])',
        "outdated := []",
    ),
    ("beyond/run/trained.py", 'cell.data != manifest["data_sha256"]', "False"),
    (
        "beyond/data/splits.py",
        "return Column(values).scaled(self.learnt).unsqueeze(0)",
        "return values.float().unsqueeze(0)",
    ),
    # another order of the columns
    (
        "beyond/data/features.py",
        "for one in self.features], 1)",
        "for one in self.features[::-1]], 1)",
    ),
    ("beyond/data/texts.py", "self.alphabet, self.values", "self.alphabet[::-1], self.values"),
    ("beyond/data/images.py", 'mode, pixels = "grey",', "pixels ="),
    ("beyond/run/record.py", "kept == hash_of(self.path / WEIGHTS)", "kept"),
    ("beyond/run/plan.py", "run.keep_weights and not self.changed and", "run.keep_weights and"),
    ("beyond/run/plan.py", "or self.lacks_weights(run)", "or False"),
]
SEEDS = [3, 0]


@pytest.fixture
def run(composed):
    """Return what trains some steps of a method; the cell."""

    def train(method, task="image/digits", steps=4, rule=None, keep=True, network=None, **settings):
        described = composed(
            rule or method,
            task={**catalog.read("task", task), **settings},
            network=network or {},
            budget={"steps": steps},
            seeds=SEEDS,
            keep_weights=keep,
        )
        cell = Cell.of(described, method=method)
        run_cell(cell, keep_skipped=True, shown=False)
        return cell

    return train


def answers(cell, seed):
    """Predictions on the test rows of a seed, and the raw inputs of these rows."""
    table = pd.read_parquet(cell.folder / "predictions.parquet")
    mine = table[table["seed"] == seed]
    return mine, cell.arm.task.examples().inputs[mine["example"].unique()]


@pytest.mark.parametrize("method", catalog.names("method"))
def test_predictions_on_the_test_rows_are_the_runs(method, run):
    cell = run(method)
    trained = Trained.load(cell.folder)
    if not trained.states:
        assert json.loads((cell.folder / "manifest.json").read_text())["status"] == "skipped"
        return
    assert trained.seeds == SEEDS
    for seed in SEEDS:
        expected, inputs = answers(cell, seed)
        assert trained.predict(inputs, seed).tolist() == expected["prediction"].tolist()
        rows = np.arange(len(expected)), expected["target"].to_numpy()
        probability = trained.probabilities(inputs, seed)[rows].astype(np.float16)
        assert probability.tolist() == expected["probability"].to_numpy(np.float16).tolist()


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("regression/diabetes", {}),
        ("regression/diabetes", {"split_seed": 1}),
        ("image/digits", {"split_seed": 1}),
        ("text/languages", {}),
        ("tabular/moons", {}),
        ("regression/surfaces", {"predicts": "distribution", "n_samples": 400}),
    ],
)
def test_inputs_are_scaled_and_values_unscaled_as_each_seed_learnt_it(task, settings, run):
    cell = run("backprop", task, **settings)
    trained = Trained.load(cell.folder)
    for seed in SEEDS:
        expected, inputs = answers(cell, seed)
        assert trained.predict(inputs, seed).ravel().tolist() == expected["prediction"].tolist()


def test_rows_of_a_table_with_gaps_and_texts_are_taken_as_they_are(run, tmp_path):
    rng = np.random.default_rng(0)
    size = rng.normal(30, 10, 90).round(1)
    frame = pd.DataFrame({"size": size, "colour": rng.choice(["red", "blue"], 90)})
    frame["price"] = 3 * size + rng.normal(size=90)
    frame.loc[::7, "size"] = np.nan
    frame["text"] = [" ".join(rng.choice(list("abcdefgh"), 5)) for _ in size]
    frame["kind"] = np.where(size > 30, "large", "small")
    path = str(tmp_path / "homes.csv")
    frame["since"] = pd.date_range("2024-02-28", periods=90).strftime("%Y-%m-%d")
    frame["sold"] = np.where(rng.random(90) < 0.5, "yes", "no")
    frame.to_csv(path, index=False)
    for task, columns in (
        ("table", {"target": "price"}),
        ("text", {"text": "text", "target": "kind"}),
    ):
        cell = run("backprop", task, path=path, **columns)
        trained = Trained.load(cell.folder)
        for seed in SEEDS:
            expected, inputs = answers(cell, seed)
            rows = frame.drop(columns=columns["target"]).iloc[expected["example"].unique()]
            assert np.array_equal(cell.arm.task.encode(rows), inputs, equal_nan=True)
            assert trained.predict(rows, seed).ravel().tolist() == expected["prediction"].tolist()
    assert trained.classes == ["large", "small"]
    assert json.loads((cell.folder / "manifest.json").read_text())["classes"] == trained.classes
    assert trained.predict(rows["text"].tolist(), 0).tolist() == trained.predict(rows, 0).tolist()
    with pytest.raises(InputError, match=r"^texts must be places in an alphabet, in \[0, 10\)"):
        trained.at(0).predict(np.full_like(inputs, 10))


def test_what_the_file_did_not_have_is_none_of_its_texts_or_refused_with_its_row(tmp_path):
    frame = pd.DataFrame({"size": [1.5, 2.0, 4.0] * 30, "colour": ["red", "blue", "red"] * 30})
    frame["kind"] = ["a", "b", "a"] * 30
    frame.to_csv(tmp_path / "homes.csv", index=False)
    task = catalog.load("task", "table", path=str(tmp_path / "homes.csv"), target="kind")
    rows = {"colour": [" red ", "green", None], "size": ["3", None, 7], "more": 1}
    expected = [[3.0, 0.0, 1.0], [np.nan, 0.0, 0.0], [7.0, 0.0, 0.0]]
    np.testing.assert_array_equal(task.encode(rows), expected)
    for others, said in (
        ({"size": [1.0]}, "inputs must have the columns of .*homes.csv: no colour"),
        ({"size": ["1", "x"], "colour": "red"}, "inputs, row 2, column 'size': 'x' is no number, "),
        ({"size": [np.inf], "colour": "red"}, "inputs, row 1, column 'size': inf is no finite"),
    ):
        with pytest.raises(InputError, match=f"^{said}"):
            task.encode(others)


@pytest.mark.parametrize("shape", [(90, 6, 5), (90, 6, 5, 3)])
def test_images_in_an_array_are_taken_as_the_file_has_them(shape, run, tmp_path):
    rng = np.random.default_rng(0)
    images, classes = rng.integers(0, 256, shape, dtype=np.uint8), rng.integers(0, 2, shape[0])
    np.savez(tmp_path / "my.npz", X=images, y=classes)
    cell = run("backprop", "arrays", path=str(tmp_path / "my.npz"))
    trained = Trained.load(cell.folder)
    expected, inputs = answers(cell, 3)
    mine = images[expected["example"]]
    assert np.array_equal(cell.arm.task.encode(mine), inputs)
    assert trained.predict(mine, 3).tolist() == expected["prediction"].tolist()


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_files_of_images_become_as_large_as_those_that_were_learnt_from(mode, run, tmp_path):
    rng, files = np.random.default_rng(0), []
    for number in range(40):
        files.append(tmp_path / "all" / "ab"[number % 2] / f"{number:02}.png")
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        shape = (9, 8 + number % 3, *([3] if mode == "RGB" else []))
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8), mode).save(files[-1])
    files.sort()
    cell = run("backprop", "images", path=str(tmp_path / "all"))
    trained = Trained.load(cell.folder)
    expected, inputs = answers(cell, 3)
    mine = [files[example] for example in expected["example"]]
    assert np.array_equal(cell.arm.task.encode(mine), inputs)
    held = [file.read_bytes() for file in mine]
    assert trained.predict(held, 3).tolist() == expected["prediction"].tolist()
    assert trained.classes == ["a", "b"]
    for given, said in (
        (str(mine[0]), "inputs must be a list of images' files, got one"),
        ([3], "inputs must be images' files, or what these hold, got int"),
        (["none.png"], r"inputs: 1 image cannot be read: none.png \(.*No such file"),
    ):
        with pytest.raises(InputError, match=f"^{said}"):
            trained.predict(given, 3)


def test_weights_are_a_torch_state_dict(run):
    cell = run("backprop")
    kept = torch.load(cell.folder / "weights.pt", weights_only=True)
    assert list(kept) == SEEDS
    _, inputs = answers(cell, 3)
    stack = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    stack.load_state_dict(kept[3]["weights"])
    trained = Trained.load(cell.folder)
    scaled = cell.arm.task.at([3]).prepared(torch.from_numpy(inputs))[0]
    torch.testing.assert_close(stack(scaled), trained.at(3).outputs(inputs), rtol=1e-5, atol=1e-5)
    for name, weight in trained.state_dict(3).items():
        assert torch.equal(weight, kept[3]["weights"][name])
    with pytest.raises(UnsupportedError, match="layers, not a torch module"):
        trained.module(3)


@pytest.mark.parametrize("factory", ["Perceptron", "made_stack"])
def test_a_module_takes_its_weights_back(factory, run, monkeypatch):
    from beyond.architectures import module

    def made_stack(input_shape, n_outputs):
        return nn.Sequential(nn.Linear(*input_shape, 4), nn.Tanh(), nn.Linear(4, n_outputs))

    made_stack.__module__ = module.__name__
    monkeypatch.setattr(module, "made_stack", made_stack, raising=False)
    network = {
        "_target_": "beyond.architectures.module.Module",
        "factory": f"beyond.architectures.module:{factory}",
    }
    cell = run("backprop", "regression/diabetes", network=network)
    trained = Trained.load(cell.folder)
    fresh = getattr(module, factory)((10,), 1)
    fresh.load_state_dict(trained.state_dict(0))
    expected, inputs = answers(cell, 0)
    splits = cell.arm.task.at([0])
    scaled = splits.prepared(torch.from_numpy(inputs))[0]
    for made in (fresh, trained.module(0)):
        values = splits.in_units(made(scaled).unsqueeze(0)).flatten().detach()
        np.testing.assert_allclose(values, expected["prediction"], rtol=1e-5)


def test_what_was_not_kept_is_trained_again_when_it_is_asked_for(run, capsys):
    before = run("backprop", keep=False)
    assert not (before.folder / "weights.pt").exists()
    rows = pd.read_parquet(before.folder / "predictions.parquet")
    with pytest.raises(InputError, match=r"keeps no weights; keep_weights=true trains it again$"):
        Trained.load(before.folder)
    capsys.readouterr()
    cell = run("backprop")
    assert "no weights of seeds 0, 3 are kept, training again" in capsys.readouterr().err
    assert cell.run_id == before.run_id
    pd.testing.assert_frame_equal(rows, pd.read_parquet(cell.folder / "predictions.parquet"))
    run("backprop", keep=False)
    run("backprop")
    assert "training again" not in capsys.readouterr().err
    (cell.folder / "weights.pt").write_bytes(b"rubbish")
    with pytest.raises(InputError, match="keeps no weights"):
        Trained.load(cell.folder)
    run("backprop")
    assert "training again" in capsys.readouterr().err
    assert Trained.load(cell.folder).seeds == SEEDS


def test_a_stale_cell_is_not_trained_again_for_its_weights(run, monkeypatch):
    run("backprop", keep=False)
    cell = run("backprop")
    monkeypatch.setattr("beyond.run.plan.provenance.changed", lambda *_: ["methods/backprop.py"])
    (cell.folder / "weights.pt").unlink()
    assert not plan(cell).again


def test_a_run_whose_code_or_data_changed_is_refused(run, monkeypatch):
    cell = run("backprop")
    with monkeypatch.context() as patch:
        patch.setattr("beyond.run.provenance.outdated", lambda _: ["methods/backprop.py"])
        with pytest.raises(InputError, match=r"is stale: methods/backprop.py changed since$"):
            Trained.load(cell.folder)
    with monkeypatch.context() as patch:
        patch.setattr(Cell, "data", "0")
        with pytest.raises(InputError, match=r"is stale: its data changed since$"):
            Trained.load(cell.folder)
    with pytest.raises(InputError, match=r"is no finished run$"):
        Trained.load(cell.study)


def test_inputs_that_a_network_does_not_know_are_refused(run):
    digits = Trained.load(run("backprop").folder)
    letters = Trained.load(run("backprop", "text/languages").folder)
    _, image = answers(run("backprop"), 0)
    length = letters.arm.task.spec.input_shape[0]
    n_symbols = letters.arm.task.spec.n_symbols
    for trained, inputs, seed, said in (
        (digits, image, 1, r"^seed must be one of those with weights \(3, 0\), got 1$"),
        (digits, image[0], 0, r"^inputs must be of shape \(N, 1, 8, 8\), got \(1, 8, 8\)$"),
        (digits, image + np.inf, 0, "^inputs must be finite numbers"),
        (
            letters,
            np.zeros((2, length)),
            0,
            r"^inputs must be integers in \[0, .*, got 'torch.float64'",
        ),
        (
            letters,
            np.full((2, length), n_symbols),
            0,
            rf"^inputs must be integers .*, got {n_symbols} in row 0",
        ),
    ):
        with pytest.raises(InputError, match=said):
            trained.predict(inputs, seed)


def test_a_method_that_goes_by_its_class_is_built_again_too(run):
    cell = run("constant", rule="backprop")
    assert Trained.load(cell.folder).arm == cell.arm
    assert cell.arm.name == "methods.backprop.Backprop"


def test_values_have_no_probabilities_and_episodes_no_single_inputs(run):
    values = Trained.load(run("backprop", "regression/diabetes").folder)
    with pytest.raises(UnsupportedError, match="no probabilities"):
        values.probabilities(np.zeros((2, 10)), 0)
    episodes = Trained.load(run("maml", "regression/sinusoids").folder)
    with pytest.raises(UnsupportedError, match="comes in episodes"):
        episodes.predict(np.zeros((2, 1)), 0)
    assert episodes.state_dict(0)


def test_a_file_has_no_other_replicas_in_it(run):
    """A view's whole storage would be written, once for each seed."""
    cell = run("constant")
    n_weights = Trained.load(cell.folder).at(0).network.n_weights
    size = (cell.folder / "weights.pt").stat().st_size
    assert size < len(SEEDS) * 2 * 4 * n_weights + 10_000
