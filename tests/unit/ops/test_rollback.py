"""The ways back: to an older revision, with the file as it was; and of a change that nobody confirmed."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbound.ops import change, overlay
from runbound.ops.change import Edited
from runbound.ops.refusals import NoSuchRevision, NothingToConfirm, Unconfirmed
from runbound.state.entries import Edit, canonical
from support.plane import BY_TEST, FILE, Plane, upstream


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    made = Plane(tmp_path)
    yield made
    made.close()


def block(name: str) -> Edit:
    key = b"\0".join(reversed(name.rstrip(".").encode().split(b"."))) + b"\0\0"
    return Edit("block", key, canonical({"name": name, "action": "nxdomain"}))


def user(name: str, role: str) -> Edit:
    return Edit("user", name.encode(), canonical({"name": name, "role": role}))


def test_a_rollback_leads_back_what_is_configured_and_no_user(plane: Plane) -> None:
    then = plane.edit(overlay.setting("verbosity", ["3"]), block("ads.example.")).revision
    plane.edit(overlay.setting("verbosity", ["5"]), upstream("192.0.2.9"), user("ann", "admin"))
    plane.edit(block("more.example."), Edit("block", block("ads.example.").key, None))
    tried = plane.changes.rollback(BY_TEST, then, dry_run=True)
    assert isinstance(tried, Edited)
    assert tried.diff.summary == {
        "block": {"added": 1, "removed": 1},
        "setting": {"changed": 1},
        "upstream": {"removed": 1},
    }
    assert plane.changes.running.config.server.verbosity == 5
    done = plane.changes.rollback(BY_TEST, then)
    assert isinstance(done, Edited)
    assert done.diff == tried.diff
    assert done.pinned is None
    assert plane.changes.running.config.server.verbosity == 3
    assert plane.servers() == ["192.0.2.1", "192.0.2.2@5353"]
    blocks = [entry.doc["name"] for entry in plane.store.page("block", after=None, limit=9)]
    assert blocks == ["ads.example."]
    assert plane.store.get("user", b"ann") is not None
    again = plane.changes.rollback(BY_TEST, done.revision - 1)
    assert isinstance(again, Edited)
    assert plane.changes.running.config.server.verbosity == 5


def test_a_rollback_of_blocks_alone_amends_the_engine(plane: Plane) -> None:
    then = plane.store.revision
    plane.edit(block("ads.example."))
    plane.changes.rollback(BY_TEST, then)
    assert plane.engine.calls == ["start", "amend", "amend"]
    assert [count for _, count in plane.engine.amended] == [1, 1]


def test_a_rollback_pins_the_file_as_it_was_until_a_reload(plane: Plane) -> None:
    then = plane.store.revision
    plane.file.write_text(FILE.replace("verbosity: 1", "verbosity: 4"))
    plane.changes.reload(BY_TEST)
    done = plane.changes.rollback(BY_TEST, then)
    assert isinstance(done, Edited)
    assert done.pinned == then
    assert plane.changes.file_differs()
    assert plane.changes.running.config.server.verbosity == 1
    plane.edit(overlay.setting("prefetch", ["yes"]))
    assert plane.changes.running.config.server.verbosity == 1
    plane.start()
    assert plane.changes.running.config.server.verbosity == 1
    assert plane.changes.pinned == then
    assert plane.engine.said("the configuration file is the one of an older revision")
    plane.changes.reload(BY_TEST)
    assert plane.changes.running.config.server.verbosity == 4
    assert plane.changes.running.config.server.prefetch
    assert plane.changes.pinned is None
    assert not plane.changes.file_differs()


def test_an_edit_of_the_file_lets_the_pinned_view_go_at_the_next_start(plane: Plane) -> None:
    then = plane.store.revision
    plane.file.write_text(FILE.replace("verbosity: 1", "verbosity: 4"))
    plane.changes.reload(BY_TEST)
    plane.changes.rollback(BY_TEST, then)
    plane.file.write_text(FILE.replace("verbosity: 1", "verbosity: 2"))
    plane.start()
    assert plane.changes.running.config.server.verbosity == 2
    assert plane.changes.pinned is None


def test_a_file_that_was_edited_before_a_start_is_a_revision(plane: Plane) -> None:
    then = plane.store.revision
    plane.start()
    assert plane.store.revision == then
    plane.file.write_text(FILE.replace("verbosity: 1", "verbosity: 2"))
    plane.start()
    assert plane.store.revision == then + 1
    plane.changes.rollback(BY_TEST, then)
    assert plane.changes.running.config.server.verbosity == 1


def test_there_is_no_way_to_what_never_was(plane: Plane) -> None:
    for revision in (0, plane.store.revision + 1):
        with pytest.raises(NoSuchRevision):
            plane.changes.rollback(BY_TEST, revision)


def test_a_confirmed_change_stays(plane: Plane) -> None:
    done = plane.edit(overlay.setting("verbosity", ["3"]), confirm_within=60)
    assert done.confirm is not None
    assert done.diff.summary == {"setting": {"added": 1}}
    with pytest.raises(Unconfirmed):
        plane.edit(overlay.setting("verbosity", ["4"]), confirm_within=60)
    with pytest.raises(NothingToConfirm):
        plane.changes.confirm(BY_TEST, "another")
    assert isinstance(plane.changes.confirm(BY_TEST, done.confirm), Edited)
    with pytest.raises(NothingToConfirm):
        plane.changes.confirm(BY_TEST, done.confirm)
    plane.start()
    assert plane.changes.running.config.server.verbosity == 3


def test_a_change_that_nobody_confirms_is_taken_back(plane: Plane) -> None:
    plane.edit(overlay.setting("prefetch", ["yes"]))
    plane.edit(overlay.setting("verbosity", ["3"]), overlay.setting("prefetch", None), confirm_within=1)
    assert not plane.changes.running.config.server.prefetch
    end = time.monotonic() + 10
    while plane.changes.running.config.server.verbosity != 1:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert plane.changes.running.config.server.prefetch
    assert plane.store.journal(before=None, limit=1)[0].op == "revert"


def test_what_cannot_be_taken_back_is_tried_again(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change, "RETRY_SECONDS", 0.05)
    plane.edit(overlay.setting("verbosity", ["3"]), confirm_within=1)
    plane.engine.refuse = "apply"
    end = time.monotonic() + 10
    while not plane.engine.said("cannot be taken back, it is tried again"):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert plane.changes.running.config.server.verbosity == 3
    plane.engine.refuse = None
    while plane.changes.running.config.server.verbosity != 1:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_end_of_one_change_is_not_the_end_of_the_next(plane: Plane) -> None:
    first = plane.edit(overlay.setting("verbosity", ["3"]), confirm_within=60)
    assert first.confirm is not None
    plane.changes.confirm(BY_TEST, first.confirm)
    plane.edit(overlay.setting("verbosity", ["4"]), confirm_within=60)
    plane.changes._expired(first.revision)  # as if its timer had been about to ring
    assert plane.changes.running.config.server.verbosity == 4


def test_what_was_changed_again_since_stays(plane: Plane) -> None:
    done = plane.edit(overlay.setting("verbosity", ["3"]), block("ads.example."), confirm_within=60)
    plane.edit(overlay.setting("verbosity", ["4"]))
    assert isinstance(plane.changes.take_back(BY_TEST, done.confirm), Edited)
    assert plane.changes.running.config.server.verbosity == 4
    assert plane.store.count("block") == 0


@pytest.mark.parametrize("later", [False, True])
def test_a_start_takes_back_what_nobody_confirmed(plane: Plane, later: bool) -> None:
    plane.edit(overlay.setting("verbosity", ["3"]), block("ads.example."), confirm_within=3600)
    if later:
        plane.edit(user("ann", "read"))
    plane.start()
    assert plane.changes.running.config.server.verbosity == 1
    assert plane.store.count("block") == 0
    assert plane.engine.said("a change that nobody confirmed is taken back")
    plane.start()
    assert not plane.engine.said("taken back")


def test_a_start_takes_back_the_file_that_nobody_confirmed(plane: Plane) -> None:
    plane.file.write_text(FILE.replace("verbosity: 1", "verbosity: 4"))
    plane.changes.reload(BY_TEST, confirm_within=3600)
    assert plane.changes.running.config.server.verbosity == 4
    for _ in range(2):
        plane.start()
        assert plane.changes.running.config.server.verbosity == 1
        assert plane.changes.pinned == 1
    plane.changes.reload(BY_TEST)
    assert plane.changes.running.config.server.verbosity == 4


def test_a_reload_can_wait_for_its_confirmation(plane: Plane) -> None:
    plane.file.write_text(FILE.replace("verbosity: 1", "verbosity: 4"))
    done = plane.changes.reload(BY_TEST, confirm_within=60)
    assert isinstance(done, Edited)
    assert plane.changes.running.config.server.verbosity == 4
    plane.changes.take_back(BY_TEST, done.confirm)
    assert plane.changes.running.config.server.verbosity == 1
    assert plane.changes.pinned is not None
