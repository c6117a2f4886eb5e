"""Every page's settings, untrained: cells can be built, and answer its quantities."""

from collections import Counter
from functools import cache
from itertools import chain, product

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from analysis import paper
from analysis.summaries import quantities
from beyond.catalog import CONF, known_settings, names, read
from beyond.errors import MissingDataError
from beyond.run.cell import prepare
from beyond.run.main import SCALES, register_resolvers
from beyond.run.tables import IDENTITY, RECORDED
from hydra_plugins.beyond_cells.configuration import read_cell, with_settings, without_hydra

FAULTS = [
    # settings of the first choice alone
    ("beyond/catalog.py", "for name in names(group)))", "for name in names(group)[:1]))"),
]


def composed(*overrides):
    """The whole configuration, as the command line makes it."""
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides), return_hydra_config=True)


def pages():
    """Every choice with a page of claims: published results, and the studies that have one."""
    asked = [name for name in names("study") if "paper" in read("study", name)]
    return [f"+paper={name}" for name in names("paper")] + [f"+study={name}" for name in asked]


def cells(page):
    """What a manifest would say of each cell of a page, except its results: a list for each scale.

    Choices are composed once for both scales: nothing but settings differs between them.
    """
    parser, splitter = OverridesParser.create(), BasicSweeper.split_arguments

    @cache
    def shared(*choices):
        config = composed(page, *choices)
        return without_hydra(config), config.hydra.runtime.choices["method"]

    def made(scale):
        sweeper = OmegaConf.to_container(
            composed(page, f"scale={scale}").hydra.sweeper, resolve=True
        )
        for task, arm in product(sweeper.get("tasks") or [""], sweeper["arms"]):
            for cell in splitter(parser.parse_overrides(f"{task} {arm}".split()), None)[0]:
                settings = [entry for entry in cell if "." in entry.partition("=")[0]]
                config, method = shared(*(entry for entry in cell if entry not in settings))
                of_scale = with_settings(config, [f"scale={scale}", *settings])
                made = read_cell(of_scale, method, cell)
                yield {
                    "settings": made.settings,
                    "identity": prepare(made).identities[0],
                    "seeds": made.seeds,
                }

    return [list(made(scale)) for scale in SCALES]


def twice(manifests):
    """Seeds that two cells of one arm have: they are trained in one of them alone."""
    count = Counter(
        (cell["identity"]["run_id"].partition("-")[0], seed)
        for cell in manifests
        for seed in cell["seeds"]
    )
    return [key for key, n in count.items() if n > 1]


@pytest.mark.parametrize("page", pages())
def test_every_quantity_is_of_some_cell_and_every_claim_of_some_quantity(page):
    try:
        by_scale = cells(page)
    except MissingDataError as error:
        pytest.skip(str(error))
    assert [twice(one) for one in by_scale] == [[], []]
    manifests = list(chain.from_iterable(by_scale))
    settings = OmegaConf.to_container(composed(page).paper, resolve=True)
    columns = {
        name: {column.name: column.type for column in table.columns}
        for name, table in RECORDED.items()
    }
    labels = dict.fromkeys((column.name for column in IDENTITY), ())
    paper.require_sound(settings, columns, labels | known_settings())
    missing = [
        quantity
        for quantity, entry in quantities.quantities_of(settings).items()
        if "equals" not in entry
        and not any(quantities.matches(manifest, entry["where"]) for manifest in manifests)
    ]
    assert missing == []
