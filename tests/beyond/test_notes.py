"""What a study has beside its cells, shared by all who are at it."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from beyond.errors import BusyError
from beyond.run import notes
from beyond.run.lock import held
from beyond.run.status import PLANNED, note_planned
from beyond.run.tuning import note_tuned, tuned_of

FAULTS = [
    ("beyond/run/notes.py", "stack.enter_context(held(folder / lock, PATIENCE[lock]))", "pass"),
]


def test_what_many_note_at_once_is_all_kept(tmp_path):
    def note(number):
        note_planned(tmp_path, {f"{number}-1": "planned"})
        note_tuned(tmp_path, [{"default": str(number), "tuned": "", "trial": 0, "settings": {}}])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(note, range(64)))
    assert set(json.loads((tmp_path / PLANNED).read_text())) == {f"{n}-1" for n in range(64)}
    assert set(tuned_of(tmp_path)) == {str(number) for number in range(64)}
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("lock", [notes.NOTES, notes.REPORT])
def test_who_holds_notes_for_long_is_named(lock, tmp_path, monkeypatch):
    monkeypatch.setitem(notes.PATIENCE, lock, 0.0)
    with (
        held(tmp_path / lock),
        pytest.raises(BusyError, match=f"another process holds .*{lock}"),
        notes.holding(tmp_path, lock),
    ):
        pass
