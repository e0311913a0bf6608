"""Rollback and prune of pushed versions: whole or not at all, whoever dies and whoever else is at work."""

import contextlib
import pathlib
import random
import shutil
import time
from collections.abc import Callable
from typing import Any

import pytest
from fake_versions import FORK, contents, kill_at, write_model

from components.errors import ModelError
from components.version_records import Origin, Record, digest_of, read_record, tree_digest
from components.versions import locked, prune, publish, rollback, size_bytes, versions


@pytest.fixture
def shop(tmp_path: pathlib.Path) -> pathlib.Path:
    """The folder of versions; does not exist yet."""
    return tmp_path / "models" / "mini.embedded"


def _fill(shop: pathlib.Path, count: int = 3, **sizes: int) -> list[pathlib.Path]:
    """Publishes models, and returns their versions."""
    found = []
    for seed in range(1, count + 1):
        model = write_model(shop.parent.parent / f"model{seed}", seed=seed, **sizes)
        found.append(publish(model, shop, Origin(model_uri=f"/m/{seed}", mean_iou=seed / 10, blessed=True)).path)
    return found


def _hidden(shop: pathlib.Path) -> list[str]:
    return sorted(path.name for path in shop.iterdir() if path.name.startswith("."))


def _recorded(shop: pathlib.Path) -> list[str]:
    return sorted(path.name for path in (shop / ".records").iterdir())


# Back to an earlier version.


def test_rollback_pushes_the_version_before_under_the_highest_number(shop: pathlib.Path) -> None:
    first, second, third = _fill(shop)
    before = {path: contents(path) for path in (first, second, third)}
    record = rollback(shop)
    assert [path.name for path in versions(shop)] == [first.name, second.name, third.name, record.version]
    current = versions(shop)[-1]
    assert contents(current) == before[second]
    assert {path: contents(path) for path in (first, second, third)} == before
    assert (record.copy_of, record.rolled_back_from) == (second.name, third.name)
    assert (record.model_uri, record.mean_iou, record.blessed) == ("/m/2", 0.2, True)
    assert read_record(current) == record and record.digest == tree_digest(second)


def test_rollback_copies_so_that_damage_to_one_spares_the_other(shop: pathlib.Path) -> None:
    first, _ = _fill(shop, 2)
    made = shop / rollback(shop).version
    before = contents(made)
    with (first / "saved_model.pb").open("r+b") as file:
        file.write(b"damaged")
    assert contents(made) == before
    shutil.rmtree(first)
    assert contents(made) == before


def test_rollback_goes_to_the_version_that_is_named(shop: pathlib.Path) -> None:
    first, _, third = _fill(shop)
    record = rollback(shop, first.name)
    assert contents(shop / record.version) == contents(first)
    assert (record.copy_of, record.rolled_back_from) == (first.name, third.name)


def test_each_rollback_goes_a_step_further_back_and_none_returns_to_what_was_left(shop: pathlib.Path) -> None:
    first, second, _ = _fill(shop)
    assert rollback(shop).copy_of == second.name
    assert rollback(shop).copy_of == first.name
    with pytest.raises(ModelError, match="no version before .* name it"):
        rollback(shop)
    assert len(versions(shop)) == 5


def test_rollback_is_undone_by_naming_the_version(shop: pathlib.Path) -> None:
    _, second = _fill(shop, 2)
    left = rollback(shop).version
    record = rollback(shop, second.name)
    assert contents(shop / record.version) == contents(second)
    assert (record.copy_of, record.rolled_back_from) == (second.name, left)


def test_copy_of_a_copy_names_the_original(shop: pathlib.Path) -> None:
    first, second, _ = _fill(shop)
    copy = rollback(shop, first.name).version
    rollback(shop, second.name)
    assert rollback(shop, copy).copy_of == first.name


def test_versions_with_the_files_of_the_current_one_are_passed_over(shop: pathlib.Path) -> None:
    first, second = _fill(shop, 2)
    shutil.copytree(second, shop / str(int(second.name) + 1))  # By hand.
    assert rollback(shop).copy_of == first.name


def test_model_that_was_left_is_not_pushed_again_and_not_current(shop: pathlib.Path) -> None:
    _, second = _fill(shop, 2)
    current = rollback(shop).version
    again = publish(shop.parent.parent / "model2", shop)
    assert (again.path, again.new) == (second, False)
    assert versions(shop)[-1].name == current


def test_version_without_a_record_can_be_gone_back_to(shop: pathlib.Path) -> None:
    first, _ = _fill(shop, 2)
    shutil.rmtree(shop / ".records")
    record = rollback(shop)
    assert contents(shop / record.version) == contents(first)
    assert (record.copy_of, record.model_uri, record.mean_iou, record.blessed) == (first.name, "", None, None)


def test_rollback_with_one_version_says_so(shop: pathlib.Path) -> None:
    [only] = _fill(shop, 1)
    with pytest.raises(ModelError, match=f"no version before {only.name} .* is the only one"):
        rollback(shop)
    assert versions(shop) == [only]


def test_rollback_without_versions_says_so(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ModelError, match="There is no version in"):
        rollback(tmp_path)


@pytest.mark.parametrize("version", ["5", "../model1", "latest", ".records", ""])
def test_rollback_to_an_unknown_version_names_the_known(shop: pathlib.Path, version: str) -> None:
    first, second = _fill(shop, 2)
    if version:
        with pytest.raises(ModelError, match=f"no version {version} in .* There are: {first.name}, {second.name}"):
            rollback(shop, version)
        assert versions(shop) == [first, second]
    else:
        assert rollback(shop, version).copy_of == first.name  # Nothing was named.


def test_rollback_to_the_current_version_is_refused(shop: pathlib.Path) -> None:
    _, second = _fill(shop, 2)
    with pytest.raises(ModelError, match=f"Version {second.name} has the files of the current one"):
        rollback(shop, second.name)


def test_rollback_to_a_version_that_was_changed_since_is_refused(shop: pathlib.Path) -> None:
    first, second = _fill(shop, 2)
    (first / "saved_model.pb").write_bytes(b"x")
    with pytest.raises(ModelError, match=f"{first.name} was changed since it was pushed"):
        rollback(shop, first.name)
    assert versions(shop) == [first, second]


def test_rollback_to_a_folder_that_is_no_model_is_refused(shop: pathlib.Path) -> None:
    _fill(shop, 1)
    (shop / "7").mkdir()
    with pytest.raises(ModelError, match="7 holds no SavedModel"):
        rollback(shop, "7")


# Old versions removed.


def test_prune_keeps_the_newest_and_says_what_went(shop: pathlib.Path) -> None:
    found = _fill(shop, 4)
    before = {path: contents(path) for path in found}
    assert prune(shop, keep=2) == [(found[0].name, 4000), (found[1].name, 4000)]  # Four files of 1000 bytes each.
    assert versions(shop) == found[2:]
    assert {path: contents(path) for path in found[2:]} == {path: before[path] for path in found[2:]}
    assert _hidden(shop) == [".lock", ".records"]
    assert _recorded(shop) == [f"{path.name}.json" for path in found[2:]]


@pytest.mark.parametrize("keep", [3, 4, 1000])
def test_prune_of_no_more_than_are_kept_removes_nothing(shop: pathlib.Path, keep: int) -> None:
    found = _fill(shop)
    assert prune(shop, keep) == []
    assert versions(shop) == found


def test_prune_by_number_and_not_by_name(tmp_path: pathlib.Path) -> None:
    for name in ("9", "10", "100"):
        (tmp_path / name).mkdir()
    assert [name for name, _ in prune(tmp_path, 1)] == ["9", "10"]


@pytest.mark.parametrize("keep", [0, -1])
def test_prune_keeps_the_current_one_at_least(shop: pathlib.Path, keep: int) -> None:
    found = _fill(shop)
    with pytest.raises(ModelError, match=f"At least 1 version must be kept.*got {keep}"):
        prune(shop, keep)
    assert versions(shop) == found


def test_dry_run_says_the_same_and_removes_nothing(shop: pathlib.Path) -> None:
    _fill(shop)
    before = contents(shop)
    would = prune(shop, 1, dry_run=True)
    assert contents(shop) == before
    assert prune(shop, 1) == would and len(would) == 2


def test_pruned_model_is_pushed_anew_and_under_a_higher_number(shop: pathlib.Path) -> None:
    found = _fill(shop)
    prune(shop, 1)
    publication = publish(shop.parent.parent / "model1", shop)
    assert publication.new and int(publication.path.name) > int(found[-1].name)


def test_prune_of_a_link_leaves_what_it_points_to(shop: pathlib.Path, tmp_path: pathlib.Path) -> None:
    _fill(shop, 1)
    model = write_model(tmp_path / "elsewhere")
    (shop / "5").symlink_to(model, target_is_directory=True)
    assert prune(shop, 1) == [("5", 0)]
    assert len(versions(shop)) == 1 and size_bytes(model) == 4000


def test_prune_leaves_what_is_no_version(shop: pathlib.Path) -> None:
    _fill(shop)
    (shop / "notes").mkdir()
    (shop / "notes" / "mine").write_text("x")
    prune(shop, 1)
    assert (shop / "notes" / "mine").read_text() == "x"


# Killed at any moment.


@pytest.mark.parametrize("job", ["rollback", "prune"])
def test_kill_at_any_moment_leaves_whole_versions_and_the_next_one_completes(tmp_path: pathlib.Path, job: str) -> None:
    template = tmp_path / "template" / "models"
    whole = {tree_digest(path) for path in _fill(template)}

    def do(shop: pathlib.Path) -> object:
        return rollback(shop) if job == "rollback" else prune(shop, 1)

    shutil.copytree(template, tmp_path / "count")
    total = kill_at(lambda: do(tmp_path / "count"), moment=0)
    leftovers = 0
    for moment in sorted({1, *range(total - 3, total + 1), *random.Random(0).sample(range(2, total - 3), 16)}):
        shop = shutil.copytree(template, tmp_path / f"shop{moment}")
        assert kill_at(lambda shop=shop: do(shop), moment) == moment
        leftovers += _hidden(shop) != [".lock", ".records"]
        found = versions(shop)
        assert found and {tree_digest(path) for path in found} <= whole
        if job == "rollback":
            assert [path.name for path in found[:3]] == [path.name for path in versions(template)] and len(found) <= 4
            if len(found) == 3:
                rollback(shop)
            assert contents(versions(shop)[3]) == contents(versions(template)[1])
        else:
            assert found[-1].name == versions(template)[-1].name
            prune(shop, 1)
            assert [path.name for path in versions(shop)] == [versions(template)[-1].name]
        prune(shop, 10)  # Whoever takes the lock next cleans.
        assert _hidden(shop) == [".lock", ".records"]
        assert _recorded(shop) == [f"{path.name}.json" for path in versions(shop)]
        shutil.rmtree(shop)
    assert leftovers > 5


# Several at once.


def _work(job: str, models: list[pathlib.Path], shop: pathlib.Path, go: Any, results: Any) -> None:
    """Publishes, rolls back or prunes a few times."""
    go.wait()
    for number in range(6):
        with contextlib.suppress(ModelError if job == "rollback" else ()):  # Perhaps there is nothing to go back to.
            done: Any = publish(models[number % len(models)], shop) if job == "publish" else None
            done = rollback(shop) if job == "rollback" else prune(shop, 2) if job == "prune" else done
            results.put((job, done))
    results.put((job, None))


def test_pushes_rollback_and_prune_at_once_show_whole_versions_at_every_moment(tmp_path: pathlib.Path) -> None:
    shop = tmp_path / "work" / "models"
    _fill(shop, 2)
    models = [write_model(tmp_path / f"m{seed}", seed=seed, files=6, size_bytes=20_000) for seed in range(4)]
    whole = {tree_digest(path) for path in (*models, *versions(shop))}
    jobs = [("publish", models[:2]), ("publish", models[2:]), ("publish", models[:2]), ("rollback", []), ("prune", [])]
    go, results = FORK.Barrier(len(jobs)), FORK.Queue()
    processes = [FORK.Process(target=_work, args=(job, some, shop, go, results)) for job, some in jobs]
    for process in processes:
        process.start()
    ended, looks, newest, done = 0, 0, 0, []
    deadline = time.monotonic() + 100
    while ended < len(jobs):
        assert time.monotonic() < deadline
        while not results.empty():
            job, answer = results.get()
            ended += answer is None
            done.append(job)
        found = versions(shop)
        assert int(found[-1].name) >= newest  # The current version is only ever followed by a higher one.
        newest = int(found[-1].name)
        for path in found:
            with contextlib.suppress(FileNotFoundError):  # Pruned while it was read.
                assert tree_digest(path) in whole or not path.exists()
        looks += 1
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(jobs)
    assert looks > 3 and {"publish", "rollback", "prune"} <= set(done)
    prune(shop, 2)
    assert 1 <= len(versions(shop)) <= 2
    assert _hidden(shop) == [".lock", ".records"]
    assert _recorded(shop) == [f"{path.name}.json" for path in versions(shop)]
    for path in versions(shop):
        record = read_record(path)
        assert isinstance(record, Record) and record.digest == tree_digest(path) == digest_of(path)


@pytest.mark.parametrize("job", [rollback, lambda shop: prune(shop, 1)], ids=["rollback", "prune"])
def test_rollback_and_prune_wait_for_a_push(shop: pathlib.Path, job: Callable[[pathlib.Path], object]) -> None:
    found = _fill(shop, 2)
    go = FORK.Event()
    process = FORK.Process(target=lambda: go.wait() and job(shop))
    process.start()  # Before the lock is taken: a forked process would inherit it.
    with locked(shop):
        go.set()
        process.join(0.3)
        assert process.exitcode is None
        assert versions(shop) == found
    process.join()
    assert process.exitcode == 0 and versions(shop) != found
