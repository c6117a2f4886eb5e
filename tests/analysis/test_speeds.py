"""What finished runs cost, as their tables and manifests have it."""

import pytest

from analysis.speeds import recorded

FAULTS = [
    ("analysis/speeds.py", 'runs[runs["status"] == "finished"]', "runs"),
    ("analysis/speeds.py", "[list(CURRENCIES)].sum()", "[list(CURRENCIES)].mean()"),
]


def test_costs_are_sums_over_the_replicas_of_each_finished_run(study):
    study.cell("backprop")
    study.cell("genetic", status="skipped")
    (ours,) = [one for one in recorded(study.folder) if not one["release"]]
    assert {key: ours[key] for key in ("method", "task", "network", "variant")} == {
        "method": "backprop",
        "task": "image/digits",
        "network": "mlp",
        "variant": "",
    }
    assert (ours["replicas"], ours["wall"]) == (5, 1.5)
    assert ours["epochs"] == pytest.approx(5 * 300)
    assert ours["examples"] == pytest.approx(3 * 5 * 300_000)


def test_what_is_published_comes_after_the_study(tmp_path):
    found = recorded(tmp_path / "none")
    assert {one["release"] for one in found} == {"gallery"}
    assert all(one["wall"] > 0 for one in found)
    assert recorded(tmp_path, release="nope") == []
