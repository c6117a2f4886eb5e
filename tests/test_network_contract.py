"""What every network promises (`beyond.testing.networks`), whatever it is made of.

That every rule takes a step on it is said of every kind of layer in `tests/test_matrix.py`.
"""

from contextlib import suppress

import pytest

from beyond import catalog
from beyond.errors import UnsupportedError
from beyond.network.parts import trial
from beyond.run.matrix import SPECS
from beyond.testing import networks
from beyond.testing.checks import of

FAULTS = [
    # symbols are multiplied as if they were numbers
    ("beyond/network/parts.py", "not spec.n_symbols or isinstance", "True or isinstance"),
]
NETWORKS = {
    **{
        name: catalog.load("network", name)
        for name in catalog.complete("network")
        if name != "default"
    },
    **{kind: spec.network for kind, spec in SPECS.items()},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_it_keeps_its_promises(name):
    recipe = networks.Recipe(NETWORKS[name])
    of(networks.takes_something, recipe)()
    for kind in networks.INPUTS:
        with suppress(UnsupportedError):
            for check in (networks.takes, *networks.EACH[:-1]):
                of(check, recipe, kind)()


@pytest.mark.parametrize("name", ["grouped", "linear"])
def test_every_rule_takes_a_step_or_refuses(name):
    assert (
        "train it" in of(networks.meets_every_rule, networks.Recipe(NETWORKS[name]), "features")()
    )


@pytest.mark.parametrize("name", ["grouped", "module"])
def test_symbols_are_refused_where_nothing_embeds_them(name):
    made = NETWORKS[name]
    with pytest.raises(Exception, match="must be") as refusal:
        made.build(trial(made, (6,), 7))
    assert "\n" not in str(refusal.value)
