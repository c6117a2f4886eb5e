"""Studies of several machines become one: every cell once, and nothing mixed without a word."""

import json
import shutil
import sys

import pandas as pd
import pytest

from beyond.errors import BusyError, InputError
from beyond.run import merge
from beyond.run.lock import held
from beyond.run.main import main
from beyond.run.merge import finished
from beyond.run.record import hash_of
from beyond.run.status import PLANNED, note_planned
from beyond.run.survey import NOTE, TABLE, Survey
from beyond.run.tuning import note_trials, note_tuned, trials_of, tuned_of

FAULTS = [
    (
        "beyond/run/merge.py",
        "                    conflicts += differing.refused\n",
        "                    pass\n",
    ),
    ("beyond/run/merge.py", "if not (apart and _close(pairs[name]))]", "if not apart]"),
    (
        "beyond/run/merge.py",
        "if not (apart and _close(pairs[name]))]",
        "if not _close(pairs[name])]",
    ),
    ("beyond/run/merge.py", "for name in (SWEEP, *tuned):", "for name in (SWEEP,):"),
    ("beyond/run/merge.py", "        note_trials(into,", "        max(1, 2) or note_trials(into,"),
    ("beyond/run/merge.py", "        note_tuned(into,", "        max(1, 2) or note_tuned(into,"),
    ("beyond/run/merge.py", "conflicts += _tuned_otherwise([into, *others])", "pass"),
    ("beyond/run/merge.py", 'APART = ("seconds", "study")', 'APART = ("study",)'),
    (
        "beyond/run/merge.py",
        "conflicts += _apart([*there[place].values(), *new[place].values()])",
        "pass",
    ),
    (
        "beyond/run/merge.py",
        "_apart([*there[place].values(), *new[place].values()])",
        "_apart([*new[place].values()])",
    ),
    ("beyond/run/merge.py", "if shared := sorted(cell.seeds & other.seeds):", "if shared := []:"),
    (
        "beyond/run/merge.py",
        "elif files := changed(other.made_by, cell.made_by):",
        "elif files := []:",
    ),
    ("beyond/run/merge.py", '(*kept, "manifest.json")', '("manifest.json", *kept)'),
    # what is held here is anybody's, what was begun here goes on for ever
    (
        "beyond/run/merge.py",
        'LEFT = ("lock", "lock.held", "state.pt", "manifest.json")',
        'LEFT = ("state.pt", "manifest.json")',
    ),
    ("beyond/run/merge.py", '        (target.path / "state.pt").unlink(missing_ok=True)\n', ""),
    ("beyond/run/merge.py", ' and not name.endswith(".part")', ""),
    (
        "beyond/run/merge.py",
        "known(folder / place / PLANNED, str) | known(into / place / PLANNED, str)",
        "known(into / place / PLANNED, str) | known(folder / place / PLANNED, str)",
    ),
    ("beyond/run/merge.py", " if (into / place / name).is_dir()}", "}"),
    ("beyond/run/merge.py", "TOLERANCE = 1e-4", "TOLERANCE = 1e-1"),
    ("beyond/run/merge.py", ', DATA: self.manifest["data_sha256"]}', "}"),
    ("beyond/run/merge.py", "        survey.record(into)", "        pass"),
    ("beyond/run/merge.py", "map(Survey.of, folders)", "map(Survey.of, folders[:1])"),
    ("beyond/run/merge.py", "_surveyed_otherwise([into, *others])", "_surveyed_otherwise(others)"),
    ("beyond/run/merge.py", "conflicts += _without_landscape(", "max(1, 2) or _without_landscape("),
    (
        "beyond/run/page.py",
        "list(dict.fromkeys([*ours[COMMANDS], *theirs[COMMANDS]]))",
        "[*ours[COMMANDS], *theirs[COMMANDS]]",
    ),
    ("beyond/run/page.py", "if key not in (COMMANDS, ASKED)}", "}"),
    ("beyond/run/page.py", "*theirs[ASKED].get(arm, ())", ""),
    ("beyond/run/merge.py", "        if one != other:", "        if one is None:"),
    ("beyond/run/merge.py", "if realpath(folder) != here]", "if folder != into]"),
    ("beyond/run/merge.py", '    with target.locked(cell.manifest["seeds"]):', "    if True:"),
    (
        "analysis/words/sentences.py",
        '(("processor", "cores"), "kinds of machine")',
        '(("threads", "cores"), "kinds of machine")',
    ),
]
RUN = ("budget=steps", "budget.steps=1")
SILENT = "hydra.sweeper.publish=analysis.tables.load"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Two machines' folders: one arm of seeds 0 and 1, another that both have trained."""
    folder = tmp_path_factory.mktemp("recorded")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        for machine, seeds in (("a", "seeds=[0]"), ("b", "seeds=[1]")):
            for run in (("method=backprop", seeds), ("method=constant", "seeds=1")):
                patched.setattr(sys, "argv", ["beyond", *run, *RUN, f"runs={machine}"])
                main()
    return folder


@pytest.fixture
def studies(recorded, tmp_path):
    """A copy of them."""
    shutil.copytree(recorded, tmp_path, dirs_exist_ok=True)
    return tmp_path / "a/adhoc", tmp_path / "b/adhoc"


def cell(study, seeds, method="backprop"):
    return next(
        one.path
        for one in finished(study).values()
        if (one.manifest["identity"]["method"], one.manifest["seeds"]) == (method, seeds)
    )


def altered(folder, **parts):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | parts))


@pytest.mark.once
def test_every_cell_is_there_once_and_the_report_tells_of_two_machines(studies, beyond, tmp_path):
    first, second = studies
    altered(cell(second, [1]), processor="another")
    status, told, shown = beyond("merge", "a/adhoc", "b/adhoc", "both")
    assert status == 0, told
    assert told.splitlines() == [
        "a/adhoc: 2 of 2 finished cells are new",
        "b/adhoc: 1 of 2 finished cells are new",
    ]
    assert {name: one.seeds for name, one in finished(tmp_path / "both").items()} == {
        cell(first, [0]).name: {0},
        cell(second, [1]).name: {1},
        cell(first, [0], "constant").name: {0},
    }
    assert "The runs used 2 kinds of machine (2 runs on " in shown
    assert (tmp_path / "both/report/index.html").exists()
    assert not list(tmp_path.glob("both/**/*.part"))
    # of two that are equal the first stays
    twin = cell(first, [0], "constant").name
    assert hash_of(tmp_path / "both" / twin / "runs.parquet") == hash_of(
        first / twin / "runs.parquet"
    )
    # it is a study: seeds go on, and nothing is trained again
    assert (
        "seeds 0 to 0"
        not in beyond("plan", "method=backprop", *RUN, "seeds=2", "runs=.", "study_name=both")[2]
    )
    assert beyond("plan", "method=backprop", *RUN, "seeds=2", "runs=.", "study_name=both")[
        2
    ].startswith("both: 2 in all: 2 finished, 0 to train")


@pytest.fixture(scope="module")
def surveyed(tmp_path_factory):
    """Two machines' studies with a landscape, one without, and one of a rule that has none."""
    folder = tmp_path_factory.mktemp("surveyed")
    around = ("+landscape.n_examples=5", "+landscape.n_points=3", "+landscape.n_across=3")
    kept = ("keep_weights=true", "study_name=one", SILENT, *RUN)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        for machine, run in {
            "a": ("seeds=[0]", "method=backprop", *kept, *around),
            "b": ("seeds=[1]", "method=backprop", *kept, *around),
            "c": ("seeds=[1]", "method=backprop", *kept),
            "lost": ("seeds=[1]", "method=backprop", *kept[1:]),
            "none": ("seeds=[1]", "method=forward_forward", *kept),
        }.items():
            patched.setattr(sys, "argv", ["beyond", "-m", *run, f"runs={machine}"])
            main()
    return folder


@pytest.mark.once
@pytest.mark.parametrize("machines", [("a", "b"), ("a", "c"), ("c", "a")])
def test_a_landscape_is_recorded_anew_with_lines_between_what_each_has(
    machines, surveyed, beyond, tmp_path
):
    for machine in machines:
        if (around := surveyed / machine / "one" / TABLE).exists():
            assert set(pd.read_parquet(around)["path"]) == {"start", "plane"}
    studies = [str(surveyed / machine / "one") for machine in machines]
    status, told, _ = beyond("merge", *studies, "both")
    assert status == 0, told
    merged = pd.read_parquet(tmp_path / "both" / TABLE)
    ends = merged.loc[merged["path"] == "pair", ["seed", "other_seed"]].drop_duplicates()
    assert ends.to_numpy().tolist() == [[0, 1], [1, 0]]
    assert Survey.of(tmp_path / "both") == Survey(n_examples=5, n_points=3, n_across=3)
    # into what has one
    again = tmp_path / "here"
    shutil.copytree(surveyed / "a" / "one", again)
    assert beyond("merge", next(one for one in studies if "/a/" not in one), "here")[0] == 0
    assert "pair" in set(pd.read_parquet(again / TABLE)["path"])


@pytest.mark.once
def test_what_has_no_landscape_beside_one_is_refused_before_anything_is_written(
    surveyed, beyond, tmp_path
):
    last = "; without landscape.json in any of the folders no landscape is recorded\n"
    for machine, why in (
        ("lost", "keeps no weights"),
        ("none", "forward_forward has no landscape"),
    ):
        status, refused, _ = beyond(
            "merge", str(surveyed / "a/one"), str(surveyed / machine / "one"), "both"
        )
        assert status == 1
        assert why in refused
        assert refused.endswith(last)
        assert refused.count("\n") == 1
        assert not (tmp_path / "both").exists()
    shutil.copytree(surveyed / "b", tmp_path / "b")
    note = tmp_path / "b/one" / NOTE
    told = json.loads(note.read_text())
    for settings, refusal in (
        ({"n_examples": 6}, " have other settings, Survey(n_examples="),
        ({"old": 1}, f"'b/one/{NOTE}': unknown setting 'old' of Survey"),
    ):
        note.write_text(json.dumps(told | {"settings": told["settings"] | settings}))
        for folders in (
            (str(surveyed / "a/one"), "b/one", "both"),
            (str(surveyed / "a/one"), "b/one"),
        ):
            status, refused, _ = beyond("merge", *folders)
            assert status == 1
            assert refusal in refused
    assert not (tmp_path / "both").exists()


ONE, OTHER = {"x": [0, 1]}, {"x": [1, 2], "y": [0]}
BOTH = {"x": [0, 1, 2], "y": [0]}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (((["a"], ONE), (["b"], OTHER)), (["a", "b"], BOTH)),
        (((["a"], ONE), (["a", "b"], OTHER)), (["a", "b"], BOTH)),
        (((["a"], ONE), None), None),  # of some runs it is not known
        ((None, (["b"], OTHER)), None),
    ],
)
def test_a_page_is_of_what_both_have_asked_for(asked, told, studies, tmp_path):
    def page(noted):
        return {
            "name": "one",
            **(dict(zip(("commands", "asked"), noted, strict=True)) if noted else {}),
        }

    for study, noted in zip(studies, asked, strict=True):
        (study / "paper.json").write_text(json.dumps(page(noted)))
    for _ in range(2):  # the same again changes nothing
        assert len(list(merge.merge(studies, tmp_path / "both"))) == 2
        assert json.loads((tmp_path / "both/paper.json").read_text()) == page(told)


def test_a_folder_without_a_page_leaves_the_others(studies, tmp_path):
    page = {"name": "one", "commands": ["b"], "asked": ONE}
    (studies[1] / "paper.json").write_text(json.dumps(page))
    list(merge.merge(studies, tmp_path / "both"))
    assert json.loads((tmp_path / "both/paper.json").read_text()) == page


def test_it_goes_on_where_it_was_and_into_one_of_them(studies, monkeypatch):
    first, second = studies
    copied = merge._copy
    monkeypatch.setattr(merge, "_copy", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        list(merge.merge([first, second], first))
    monkeypatch.setattr(merge, "_copy", copied)
    told = list(merge.merge([first, second], first))
    assert told == [f"{second}: 1 of 2 finished cells are new"]
    assert len(finished(first)) == 3
    again = [f"{second}: 0 of 2 finished cells are new"]
    assert list(merge.merge([first, second], first)) == again
    assert list(merge.merge([first / ".." / first.name, second], first)) == again


def test_what_a_machine_has_begun_is_left_behind_and_gone_on_with_nowhere(
    studies, tmp_path, monkeypatch
):
    """A cell that is held here while it is copied, and was begun here before."""
    source, target = (place / cell(studies[0], [0]).name for place in (studies[0], tmp_path / "c"))
    here = {"lock": "", "lock.held": "", "state.pt": "theirs", "runs.parquet.part": "half"}
    for name, text in here.items():
        (source / name).write_text(text)
    target.mkdir(parents=True)
    (target / "lock").touch()
    (target / "state.pt").write_text("ours")
    number = (target / "lock").stat().st_ino
    copied = shutil.copy2

    def stopped(path, part):
        if path == source / "seeds.json":  # of all but the manifest the last
            raise KeyboardInterrupt
        copied(path, part)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        patched.setattr("shutil.copy2", stopped)
        list(merge.merge([studies[0]], tmp_path / "c"))
    assert (target / "runs.parquet").exists()
    assert not (target / "manifest.json").exists()
    list(merge.merge([studies[0]], tmp_path / "c"))
    assert (target / "lock").stat().st_ino == number
    assert not {"lock.held", "state.pt", "runs.parquet.part"} & {p.name for p in target.iterdir()}
    assert target.name in finished(tmp_path / "c")


def test_labels_are_of_what_is_there_and_those_that_were_there_stay(studies, tmp_path):
    into = tmp_path / "both"
    names = {seed: cell(study, [seed]).name for seed, study in enumerate(studies)}
    note_planned(into, {names[0]: "ours", "x-1": "to come"})
    for study in studies:
        note_planned(study, {**dict.fromkeys(names.values(), study.parent.name), "y-1": "theirs"})
    list(merge.merge(studies, into))
    told = {names[0]: "ours", names[1]: "a", "x-1": "to come"}
    assert json.loads((into / PLANNED).read_text()) == told


def test_what_is_not_finished_is_left_out_and_told(studies, tmp_path):
    folder = cell(studies[1], [1])
    (folder / "runs.parquet").write_bytes(b"cut")
    told = list(merge.merge(studies, tmp_path / "both"))
    assert (
        told[1]
        == f"{studies[1]}: 0 of 1 finished cells are new; unfinished, left out: {folder.name}"
    )
    assert len(finished(tmp_path / "both")) == 2


def shifted(folder, by, **manifest):
    """Let a run have other scores."""
    for name in ("runs", "curves"):
        table = pd.read_parquet(folder / f"{name}.parquet")
        changed = "best_test_score" if name == "runs" else "value"
        table[changed] += by
        table.to_parquet(folder / f"{name}.parquet", index=False)
    tables = {path.stem: hash_of(path) for path in folder.glob("*.parquet")}
    altered(folder, tables=tables, **manifest)


@pytest.mark.parametrize("by", [0.5, 1e-3])
def test_tables_of_one_cell_that_differ_are_refused(by, studies, tmp_path):
    folder = cell(studies[1], [0], "constant")
    shifted(folder, by, n_replicas=64)
    refusal = (
        f"{studies[0] / folder.name} and {folder} are one cell with other curves, runs: delete"
    )
    with pytest.raises(InputError) as refused:
        list(merge.merge(studies, tmp_path / "both"))
    assert str(refused.value).startswith(refusal)
    assert not (tmp_path / "both").exists()


@pytest.mark.parametrize("otherwise", [{name: "another"} for name in merge.ROUNDING])
def test_a_cell_that_differs_by_rounding_counts_once_and_is_told(otherwise, studies, tmp_path):
    first, second = (cell(study, [0], "constant") for study in studies)
    shifted(second, 1e-6)
    with pytest.raises(InputError, match=r" are one cell with other curves, runs: delete"):
        list(merge.merge(studies, tmp_path / "both"))
    altered(second, **otherwise)
    told = list(merge.merge(studies, tmp_path / "both"))
    assert told[2:] == [f"differ by rounding, the first is kept: {first} and {second}"]
    assert hash_of(tmp_path / "both" / first.name / "runs.parquet") == hash_of(
        first / "runs.parquet"
    )


def tuned(study, chosen, trial=1):
    """Let a study have been tuned: its constant cell is a trial."""
    one = cell(study, [0], "constant")
    shutil.copytree(one, study / "trials" / one.name)
    row = {"default": "a", "sampler": "tpe", "sampler_seed": 0, "seeds": [0]}
    note_trials(study, [{**row, "trial": trial, "run": "b", "settings": {"rate": trial}}])
    note_tuned(study, [{"default": "a", "tuned": chosen, "trial": trial, "settings": {}}])
    (study / "tuned/image").mkdir(parents=True)
    (study / f"tuned/image/{chosen}.yaml").write_text(f"of: {study.parent.name}")
    return one.name


def test_trials_and_what_they_chose_are_carried_along(studies, tmp_path):
    into = tmp_path / "both"
    trial, _ = [tuned(study, "b", number) for number, study in enumerate(studies)]
    told = list(merge.merge(studies, into))
    assert [line.split("; ")[1] for line in told] == [
        "1 of 1 finished trials are new",
        "0 of 1 finished trials are new",
    ]
    assert list(finished(into / "trials")) == [trial]
    assert {row["trial"] for row in trials_of(into).values()} == {0, 1}
    assert tuned_of(into)["a"]["tuned"] == "b"
    assert (into / "tuned/image/b.yaml").read_text() == "of: a"
    assert (into / "trials/stale.json").exists()


def test_all_conflicts_are_told_at_once(studies, tmp_path):
    folder = cell(studies[1], [1])
    altered(folder, seeds=[0, 1])
    shifted(cell(studies[1], [0], "constant"), 0.5)
    tuned(studies[0], "b")
    tuned(studies[1], "c")
    with pytest.raises(InputError) as refused:
        list(merge.merge(studies, tmp_path / "both"))
    told = str(refused.value)
    assert "\n" not in told
    assert "are one cell with other curves, runs: delete" in told
    assert "both have seeds 0 of one arm, backprop: delete" in told
    assert "tuned.json have arm a otherwise" in told
    assert not (tmp_path / "both").exists()


@pytest.mark.parametrize("into", ["both", "a/adhoc"])
def test_shared_seeds_and_other_code_are_refused(into, studies, tmp_path, beyond):
    folder = cell(studies[1], [1])
    made = json.loads((folder / "manifest.json").read_text())["sources"]
    altered(folder, sources=made | {"methods/backprop.py": "0"})
    with pytest.raises(
        InputError, match=r"are seeds of one arm, backprop, made by other methods/backprop.py:"
    ):
        list(merge.merge(studies, tmp_path / into))
    data = json.loads((folder / "manifest.json").read_text())["data_sha256"]
    altered(folder, sources=made, data_sha256="0")
    with pytest.raises(InputError, match="made by other its data: train one of them again"):
        list(merge.merge(studies, tmp_path / into))
    altered(folder, data_sha256=data, seeds=[0, 1])
    with pytest.raises(InputError, match=r" both have seeds 0 of one arm, backprop: delete"):
        list(merge.merge(studies, tmp_path / into))
    assert not (tmp_path / "both").exists()


def test_a_cell_that_is_being_written_is_left_to_its_process(studies, tmp_path):
    folder = tmp_path / "both" / cell(studies[0], [0]).name
    folder.mkdir(parents=True)
    with held(folder / "lock"), pytest.raises(BusyError):
        list(merge.merge(studies, tmp_path / "both"))


def test_what_is_no_study_is_one_line(studies, beyond, tmp_path):
    shutil.rmtree(studies[1])
    assert beyond("merge", "a/adhoc", "b/adhoc", "both")[:2] == (
        1,
        "beyond: no cell of a study in 'b/adhoc'\n",
    )
    usage = (
        "beyond: two folders or more must be given; usage: beyond merge FOLDER [FOLDER ...] INTO\n"
    )
    assert beyond("merge", "a/adhoc")[:2] == (1, usage)
