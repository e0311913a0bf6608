"""Publishing: whole versions only, whenever the publisher dies, and each model once."""

import hashlib
import itertools
import json
import os
import pathlib
import random
import shutil
import signal
import time
import types
from collections.abc import Callable
from typing import Any

import pytest
from fake_evaluation import make_evaluation
from fake_versions import FORK, contents, kill_at, write_model
from tfx.types import standard_artifacts

from components import versions as versions_module
from components.card_files import ModelCard
from components.errors import ModelError
from components.evaluation import write_evaluation
from components.pusher import Pusher
from components.version_records import Origin, Record, digest_of, read_record, seal, tree_digest
from components.versions import Publication, publish, versions


@pytest.fixture
def model(tmp_path: pathlib.Path) -> pathlib.Path:
    return write_model(tmp_path / "model")


@pytest.fixture
def shop(tmp_path: pathlib.Path) -> pathlib.Path:
    """The folder of versions; does not exist yet."""
    return tmp_path / "models" / "mini.embedded"


def _at(monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    monkeypatch.setattr(versions_module.time, "time", lambda: now)


# Versions.


def test_first_model_becomes_a_version_named_by_the_time(model: pathlib.Path, shop: pathlib.Path) -> None:
    before = int(time.time())
    publication = publish(model, shop)
    assert before <= int(publication.path.name) <= time.time()
    assert publication == Publication(shop / publication.path.name, tree_digest(model), new=True)
    assert contents(publication.path) == contents(model)
    assert sorted(path.name for path in shop.iterdir() if not path.name.startswith(".")) == [publication.path.name]


def test_source_is_left_as_it_is(model: pathlib.Path, shop: pathlib.Path) -> None:
    before = contents(model)
    publish(model, shop)
    assert contents(model) == before


@pytest.mark.parametrize("now", [1000.9, 1000.0, 999.0, 0.0], ids=["same second", "same time", "earlier", "1970"])
def test_version_rises_though_the_clock_does_not(
    tmp_path: pathlib.Path, shop: pathlib.Path, monkeypatch: pytest.MonkeyPatch, now: float
) -> None:
    _at(monkeypatch, 1000.0)
    publish(write_model(tmp_path / "1", seed=1), shop)
    _at(monkeypatch, now)
    names = [publish(write_model(tmp_path / str(seed), seed=seed), shop).path.name for seed in (2, 3)]
    assert names == ["1001", "1002"]
    assert [path.name for path in versions(shop)] == ["1000", "1001", "1002"]


def test_version_follows_the_clock_where_that_is_ahead(
    tmp_path: pathlib.Path, shop: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _at(monkeypatch, 1000.0)
    publish(write_model(tmp_path / "1", seed=1), shop)
    _at(monkeypatch, 2000.5)
    assert publish(write_model(tmp_path / "2", seed=2), shop).path.name == "2000"


def test_same_model_again_is_not_new(model: pathlib.Path, shop: pathlib.Path) -> None:
    first = publish(model, shop)
    before = contents(shop)
    assert publish(model, shop) == Publication(first.path, first.digest, new=False)
    assert contents(shop) == before


def test_copy_of_the_same_model_at_another_place_is_not_new(model: pathlib.Path, shop: pathlib.Path) -> None:
    first = publish(model, shop)
    other = shutil.copytree(model, model.parent / "elsewhere")
    assert publish(other, shop) == Publication(first.path, first.digest, new=False)


def test_model_that_returns_after_another_is_not_published_twice(tmp_path: pathlib.Path, shop: pathlib.Path) -> None:
    one, two = (write_model(tmp_path / str(seed), seed=seed) for seed in (1, 2))
    publications = [publish(model, shop) for model in (one, two, one)]
    assert [publication.new for publication in publications] == [True, True, False]
    assert [publications[0].path, publications[1].path] == versions(shop)
    assert publications[2].path == publications[0].path


def test_newest_version_is_the_highest_number_not_the_last_name(tmp_path: pathlib.Path, shop: pathlib.Path) -> None:
    for name, seed in (("9", 1), ("10", 2)):
        shutil.copytree(write_model(tmp_path / str(seed), seed=seed), shop / name)
    assert [path.name for path in versions(shop)] == ["9", "10"]
    assert publish(tmp_path / "2", shop) == Publication(shop / "10", tree_digest(tmp_path / "2"), new=False)
    assert publish(tmp_path / "1", shop) == Publication(shop / "9", tree_digest(tmp_path / "1"), new=False)
    assert int(publish(write_model(tmp_path / "3", seed=3), shop).path.name) > 10


def test_version_that_was_tampered_with_is_published_anew(model: pathlib.Path, shop: pathlib.Path) -> None:
    first = publish(model, shop)
    (first.path / "saved_model.pb").write_bytes(b"x")
    second = publish(model, shop)
    assert second.new
    assert contents(second.path) == contents(model)


def test_versions_that_are_others_are_not_read(
    tmp_path: pathlib.Path, shop: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [publish(write_model(tmp_path / str(seed), seed=seed), shop).path for seed in (1, 2)]
    third = write_model(tmp_path / "3", seed=3)
    opened: list[pathlib.Path] = []
    real_open = pathlib.Path.open
    monkeypatch.setattr(pathlib.Path, "open", lambda path, *rest, **more: opened.append(path) or real_open(path, *rest, **more))
    assert publish(third, shop).new
    assert any(path.is_relative_to(third) for path in opened)
    assert not [path for path in opened if any(path.is_relative_to(other) for other in others)]


def _rewrite(path: pathlib.Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


DAMAGE: dict[str, Callable[[pathlib.Path], object]] = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "no text": lambda path: path.write_bytes(bytes(range(128, 256))),
    "list": lambda path: path.write_text("[]"),
    "deep": lambda path: path.write_text("[" * 100_000),
    "other types": lambda path: _rewrite(path, digest=5, mean_iou="high"),
    "no number": lambda path: _rewrite(path, mean_iou=float("nan")),
    "other digest": lambda path: _rewrite(path, digest="0" * 64),
    "other seal": lambda path: _rewrite(path, seal="0" * 64),
    "other version": lambda path: _rewrite(path, version="1"),
    "folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_record_changes_nothing_of_what_is_published(
    tmp_path: pathlib.Path, shop: pathlib.Path, damage: Callable[[pathlib.Path], object]
) -> None:
    one, two = (write_model(tmp_path / str(seed), seed=seed) for seed in (1, 2))
    first = publish(one, shop)
    damage(shop / ".records" / f"{first.path.name}.json")
    assert publish(one, shop) == Publication(first.path, first.digest, new=False)
    second = publish(two, shop)
    assert second.new and versions(shop) == [first.path, second.path]
    assert publish(one, shop) == Publication(first.path, first.digest, new=False)


def test_record_that_says_the_digest_of_another_model_with_a_fitting_seal_is_not_believed(
    tmp_path: pathlib.Path, shop: pathlib.Path
) -> None:
    one, two = (write_model(tmp_path / str(seed), seed=seed) for seed in (1, 2))
    first, digest = publish(one, shop), tree_digest(two)
    _rewrite(shop / ".records" / f"{first.path.name}.json", digest=digest, seal=seal(first.path, digest))
    assert publish(two, shop).new


def test_change_of_a_version_that_keeps_size_and_time_is_noticed(model: pathlib.Path, shop: pathlib.Path) -> None:
    first = publish(model, shop)
    path = first.path / "saved_model.pb"
    status = path.stat()
    path.write_bytes(bytes(1000))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert digest_of(first.path) == tree_digest(first.path) != first.digest
    assert publish(model, shop).new


def test_version_without_a_record_gets_one_when_its_model_comes_again(model: pathlib.Path, shop: pathlib.Path) -> None:
    first = publish(model, shop)
    shutil.rmtree(shop / ".records")
    assert read_record(first.path) is None
    assert not publish(model, shop, Origin(model_uri="/m", mean_iou=0.5)).new
    record = read_record(first.path)
    assert record is not None and (record.model_uri, record.mean_iou, record.digest) == ("/m", 0.5, first.digest)


def test_record_without_a_version_is_removed_and_those_of_versions_stay(tmp_path: pathlib.Path, shop: pathlib.Path) -> None:
    first = publish(write_model(tmp_path / "1", seed=1), shop).path
    (shop / ".records" / "77.json").write_text("{}")
    (shop / ".records" / ".77.abc").write_text("{")
    second = publish(write_model(tmp_path / "2", seed=2), shop).path
    assert sorted(path.name for path in (shop / ".records").iterdir()) == [f"{first.name}.json", f"{second.name}.json"]


def test_record_is_there_before_its_version(model: pathlib.Path, shop: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    real_rename = pathlib.Path.rename

    def rename(self: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
        seen.append(json.loads((shop / ".records" / f"{target.name}.json").read_text())["version"])
        return real_rename(self, target)

    monkeypatch.setattr(pathlib.Path, "rename", rename)
    version = publish(model, shop).path.name
    assert seen == [version]


def test_folders_that_are_no_versions_are_left_alone(model: pathlib.Path, shop: pathlib.Path) -> None:
    for name in ("latest", "v99999999999", "-5", "1.5", ".hidden", "99999999999 (copy)"):
        (shop / name).mkdir(parents=True)
        (shop / name / "notes").write_text("mine")
    (shop / "99999999998").write_text("a file is no version")
    before = contents(shop)
    assert versions(shop) == []
    publication = publish(model, shop)
    assert int(publication.path.name) <= time.time()
    assert versions(shop) == [publication.path]
    assert before.items() <= contents(shop).items()


def test_missing_folder_has_no_versions(tmp_path: pathlib.Path) -> None:
    assert versions(tmp_path / "nowhere") == []


# The digest.


def test_digest_of_a_folder_is_the_documented_one(tmp_path: pathlib.Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "a").write_bytes(b"1")
    (tmp_path / "c").write_bytes(b"")
    lines = [f"{name} {hashlib.sha256(content).hexdigest()}\n" for name, content in (("b/a", b"1"), ("c", b""))]
    assert tree_digest(tmp_path) == hashlib.sha256("".join(lines).encode()).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "saved_model.pb").write_bytes(b"x"),
        lambda folder: (folder / "saved_model.pb").rename(folder / "saved_model.pbtxt"),
        lambda folder: (folder / "saved_model.pb").rename(folder / "variables" / "saved_model.pb"),
        lambda folder: (folder / "fingerprint.pb").unlink(),
        lambda folder: (folder / "new").write_bytes(b""),
    ],
    ids=["byte", "name", "place", "missing file", "empty file more"],
)
def test_digest_notices(model: pathlib.Path, change: Callable[[pathlib.Path], object]) -> None:
    before = tree_digest(model)
    change(model)
    assert tree_digest(model) != before


def test_digest_does_not_count_time_stamps(model: pathlib.Path) -> None:
    before = tree_digest(model)
    os.utime(model / "saved_model.pb", (1, 1))
    assert tree_digest(model) == before


# What goes wrong.


@pytest.mark.parametrize("source", ["nowhere", "empty", "file"])
def test_source_that_is_no_saved_model_is_refused(tmp_path: pathlib.Path, shop: pathlib.Path, source: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match=f"{source} holds no SavedModel.*saved_model.pb"):
        publish(tmp_path / source, shop)
    assert not shop.exists()


def _damage_one_byte(source: pathlib.Path, target: pathlib.Path, **options: Any) -> pathlib.Path:
    shutil.copytree(source, target, **options)
    path = target / "variables" / "variables.data-00000-of-00001"
    damaged = bytearray(path.read_bytes())
    damaged[500] ^= 1
    path.write_bytes(damaged)
    return target


def _lose_one_file(source: pathlib.Path, target: pathlib.Path, **options: Any) -> pathlib.Path:
    shutil.copytree(source, target, **options)
    (target / "fingerprint.pb").unlink()
    return target


def _fail_midway(source: pathlib.Path, target: pathlib.Path, **options: Any) -> pathlib.Path:
    (target / "variables").mkdir(parents=True)
    shutil.copy(source / "saved_model.pb", target)
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("copytree", "error"),
    [(_damage_one_byte, ModelError), (_lose_one_file, ModelError), (_fail_midway, OSError)],
    ids=["damaged byte", "lost file", "full disk"],
)
@pytest.mark.parametrize("earlier", [0, 1])
def test_bad_copy_publishes_nothing_and_the_next_try_does(
    tmp_path: pathlib.Path,
    shop: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    copytree: Callable[..., pathlib.Path],
    error: type[Exception],
    earlier: int,
) -> None:
    kept = [publish(write_model(tmp_path / "old", seed=9), shop).path for _ in range(earlier)]
    model = write_model(tmp_path / "new", seed=1)
    with monkeypatch.context() as patch:
        patch.setattr(versions_module, "shutil", types.SimpleNamespace(copytree=copytree, rmtree=shutil.rmtree))
        with pytest.raises(error, match=r"differs from it|No space left"):
            publish(model, shop)
    assert versions(shop) == kept
    assert all(contents(path) == contents(tmp_path / "old") for path in kept)
    publication = publish(model, shop)
    assert publication.new
    assert contents(publication.path) == contents(model)
    assert [path.name for path in shop.glob(".incoming*")] == []


@pytest.mark.parametrize("step", ["copytree", "flush", "tree_digest", "write_record", "rename"])
def test_crash_at_any_step_leaves_no_partial_version(
    model: pathlib.Path, shop: pathlib.Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    class CrashError(Exception):
        pass

    def crash(*arguments: Any, **options: Any) -> Any:
        if step != "tree_digest" or ".incoming" in str(arguments[0]):
            raise CrashError
        return tree_digest(*arguments)

    owner = {"copytree": shutil, "rename": pathlib.Path}.get(step, versions_module)
    with monkeypatch.context() as patch:
        patch.setattr(owner, step, crash)
        with pytest.raises(CrashError):
            publish(model, shop)
    assert versions(shop) == []
    assert contents(publish(model, shop).path) == contents(model)
    assert list(shop.glob(".incoming*")) == []


def test_files_are_on_the_disk_before_the_version_appears(
    model: pathlib.Path, shop: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    real_fsync, real_rename = os.fsync, pathlib.Path.rename

    def fsync(descriptor: int) -> None:
        flushed.append(os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), shop))
        real_fsync(descriptor)

    def rename(self: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
        expected = {self.name} | {f"{self.name}/{name}" for name in contents(model)}
        assert expected <= set(flushed)
        return real_rename(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(pathlib.Path, "rename", rename)
    assert publish(model, shop).new


# Other processes.


def test_kill_at_any_moment_leaves_whole_versions_and_the_next_publication_completes(tmp_path: pathlib.Path) -> None:
    old, new = write_model(tmp_path / "old", seed=1), write_model(tmp_path / "new", seed=2, files=12)
    publish(old, tmp_path / "count")
    total = kill_at(lambda: publish(new, tmp_path / "count"), moment=0)
    assert len(versions(tmp_path / "count")) == 2
    moments = sorted({1, *range(total - 3, total + 1), *random.Random(0).sample(range(2, total - 3), 20)})
    leftovers = 0
    for moment in moments:
        shop = tmp_path / f"shop{moment}"
        first = publish(old, shop).path
        assert kill_at(lambda shop=shop: publish(new, shop), moment) == moment
        leftovers += bool(list(shop.glob(".incoming*")))
        found = versions(shop)
        assert found[0] == first and contents(first) == contents(old)
        assert all(contents(path) == contents(new) for path in found[1:])
        publication = publish(new, shop)
        assert publication.new == (len(found) == 1)
        assert versions(shop) == [first, publication.path]
        assert contents(publication.path) == contents(new)
        assert sorted(path.name for path in shop.iterdir()) == sorted([".lock", ".records", first.name, publication.path.name])
        assert sorted(path.stem for path in (shop / ".records").iterdir()) == [first.name, publication.path.name]
    assert leftovers > 10  # Else the kills came too early or too late to show anything.


def _publish_and_tell(source: pathlib.Path, shop: pathlib.Path, begun: Any) -> None:
    begun.set()
    publish(source, shop)


def test_kill_at_20_random_times_leaves_whole_versions_and_the_next_publication_completes(tmp_path: pathlib.Path) -> None:
    old, new = write_model(tmp_path / "old", seed=1), write_model(tmp_path / "new", seed=2, files=8, size_bytes=400_000)
    whole_s = 0.0
    for number in range(2):  # The first time includes what is only done once.
        publish(old, tmp_path / f"count{number}")
        started = time.monotonic()
        publish(new, tmp_path / f"count{number}")
        whole_s = time.monotonic() - started
    moments = random.Random(1)
    killed = partial = 0
    for number in range(20):
        shop, begun = tmp_path / f"shop{number}", FORK.Event()
        first = publish(old, shop).path
        process = FORK.Process(target=_publish_and_tell, args=(new, shop, begun))
        process.start()
        assert begun.wait(timeout=60)
        time.sleep(moments.uniform(0, whole_s))
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        partial += bool(list(shop.glob(".incoming*")))
        found = versions(shop)
        assert found[0] == first and contents(first) == contents(old)
        assert all(tree_digest(path) == tree_digest(new) for path in found[1:])
        assert all(read_record(path) for path in found)
        publication = publish(new, shop)
        assert publication.new == (len(found) == 1)
        assert versions(shop) == [first, publication.path]
        assert contents(publication.path) == contents(new)
        assert sorted(path.name for path in shop.iterdir()) == sorted([".lock", ".records", first.name, publication.path.name])
        shutil.rmtree(shop)
    assert killed > 5 and partial > 2  # Else the kills came too early or too late to show anything.


def _publish_when_told(source: pathlib.Path, shop: pathlib.Path, barrier: Any, results: Any) -> None:
    barrier.wait()
    publication = publish(source, shop)
    results.put((source.name, publication.path.name, publication.new))


@pytest.mark.parametrize("names", ["ab", "aa", "abab"])
def test_publishers_at_once_publish_whole_versions_one_after_the_other(
    tmp_path: pathlib.Path, shop: pathlib.Path, names: str
) -> None:
    for seed, name in enumerate(sorted(set(names))):
        write_model(tmp_path / name, seed=seed, files=60)
    barrier, results = FORK.Barrier(len(names)), FORK.Queue()
    processes = [FORK.Process(target=_publish_when_told, args=(tmp_path / name, shop, barrier, results)) for name in names]
    for process in processes:
        process.start()
    published = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(names)
    new = {version: name for name, version, is_new in published if is_new}
    assert [path.name for path in versions(shop)] == sorted(new, key=int)
    for version, name in new.items():
        assert contents(shop / version) == contents(tmp_path / name)
    order = [new[path.name] for path in versions(shop)]
    assert all(one != two for one, two in itertools.pairwise(order))  # None is published twice in a row.
    assert set(order) == set(names)
    assert all(new[version] == name for name, version, is_new in published if not is_new)
    assert list(shop.glob(".incoming*")) == []
    assert {path.stem for path in (shop / ".records").iterdir()} == set(new)


def test_publisher_waits_for_the_one_before(model: pathlib.Path, shop: pathlib.Path) -> None:
    shop.mkdir(parents=True)
    go, results = FORK.Barrier(2), FORK.Queue()
    process = FORK.Process(target=_publish_when_told, args=(model, shop, go, results))
    process.start()  # Before the lock is taken: a forked process would inherit it.
    with versions_module.locked(shop):
        go.wait()
        process.join(0.3)
        assert process.exitcode is None
        assert versions(shop) == []
    assert results.get(timeout=30)[2]
    process.join()
    assert len(versions(shop)) == 1


# The component.


def _push(
    model: pathlib.Path,
    shop: pathlib.Path,
    blessed: int | None,
    servable: int | None = 1,
    card: bytes = b"{}",
    mean_iou: float | None = 0.5,
) -> standard_artifacts.PushedModel:
    candidate, blessing = standard_artifacts.Model(), standard_artifacts.ModelBlessing()
    infra, model_card = standard_artifacts.InfraBlessing(), ModelCard()
    pushed, evaluation, examples = (
        standard_artifacts.PushedModel(),
        standard_artifacts.ModelEvaluation(),
        standard_artifacts.Examples(),
    )
    evaluation.uri = str(shop.parent / "evaluation")
    pathlib.Path(evaluation.uri).mkdir(parents=True, exist_ok=True)
    found = make_evaluation(blessed=True)
    found.overall.candidate.metrics["mean_iou"] = mean_iou
    write_evaluation(found, evaluation.uri)
    examples.set_string_custom_property("data_digest", "da7a")
    candidate.uri, model_card.uri = str(model), str(shop.parent / "card")
    pathlib.Path(model_card.uri).mkdir(parents=True, exist_ok=True)
    for name in ("model_card.json", "model_card.html"):
        pathlib.Path(model_card.uri, name).write_bytes(card)
    if servable is not None:
        infra.set_int_custom_property("blessed", servable)
    if blessed is not None:
        blessing.set_int_custom_property("blessed", blessed)
    inputs = {"model": candidate, "model_blessing": blessing, "infra_blessing": infra, "card": model_card}
    inputs |= {"evaluation": evaluation, "examples": examples}
    Pusher.EXECUTOR_SPEC.executor_class().Do(
        {name: [artifact] for name, artifact in inputs.items()},
        {"pushed_model": [pushed]},
        {"destination": str(shop), "trainer_digest": "c0de", "code_digest": "0"},
    )
    return pushed


@pytest.fixture
def artifact(tmp_path: pathlib.Path) -> pathlib.Path:
    """A Model artifact as the Trainer leaves it: the SavedModel in Format-Serving, and other things beside it."""
    write_model(tmp_path / "artifact" / "Format-Serving")
    (tmp_path / "artifact" / "Format-Keras").mkdir()
    (tmp_path / "artifact" / "Format-Keras" / "model.weights.h5").write_bytes(b"weights")
    return tmp_path / "artifact"


def test_component_pushes_a_blessed_model_and_notes_where(artifact: pathlib.Path, shop: pathlib.Path) -> None:
    pushed = _push(artifact, shop, blessed=1)
    [version] = versions(shop)
    card = {f"assets.extra/model_card.{ending}": b"{}" for ending in ("json", "html")}
    assert contents(version) == contents(artifact / "Format-Serving") | {"assets.extra": None} | card
    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_string_custom_property("pushed_destination") == str(version)
    assert pushed.get_string_custom_property("pushed_version") == version.name
    assert pushed.get_string_custom_property("model_digest") == tree_digest(artifact / "Format-Serving")


def test_component_records_where_the_model_comes_from(artifact: pathlib.Path, shop: pathlib.Path) -> None:
    _push(artifact, shop, blessed=1)
    [version] = versions(shop)
    record = read_record(version)
    assert isinstance(record, Record)
    assert record.version == version.name and record.digest == tree_digest(version)
    assert (record.model_uri, record.blessed) == (str(artifact), True)
    assert (record.data_digest, record.code_digest) == ("da7a", "c0de")
    assert (record.copy_of, record.rolled_back_from) == ("", "")


@pytest.mark.parametrize("mean_iou", [0.625, None])
def test_component_records_what_the_evaluation_measured(
    artifact: pathlib.Path, shop: pathlib.Path, mean_iou: float | None
) -> None:
    _push(artifact, shop, blessed=1, mean_iou=mean_iou)
    record = read_record(versions(shop)[0])
    assert record is not None and (record.mean_iou, record.split) == (mean_iou, "test")


@pytest.mark.parametrize(("blessed", "servable"), [(0, 1), (None, 1), (1, 0), (1, None), (0, 0)])
def test_component_pushes_nothing_that_lacks_a_blessing_and_notes_it(
    artifact: pathlib.Path, shop: pathlib.Path, blessed: int | None, servable: int | None
) -> None:
    pushed = _push(artifact, shop, blessed, servable)
    assert not shop.exists()
    assert pushed.get_int_custom_property("pushed") == 0
    assert not pushed.has_custom_property("pushed_destination")


def test_component_names_the_version_that_already_is_the_model(artifact: pathlib.Path, shop: pathlib.Path) -> None:
    # As in a rerun after a kill between the push and the store's record of it, too.
    first = _push(artifact, shop, blessed=1)
    again = _push(artifact, shop, blessed=1)
    assert len(versions(shop)) == 1
    assert [one.get_int_custom_property("new_version") for one in (first, again)] == [1, 0]
    assert again.get_int_custom_property("pushed") == 1
    for name in ("pushed_destination", "pushed_version", "model_digest"):
        assert again.get_string_custom_property(name) == first.get_string_custom_property(name)


def test_card_is_no_part_of_what_the_model_is_and_can_be_corrected(artifact: pathlib.Path, shop: pathlib.Path) -> None:
    first = _push(artifact, shop, blessed=1, card=b"first")
    again = _push(artifact, shop, blessed=1, card=b"second")
    [version] = versions(shop)
    assert again.get_int_custom_property("new_version") == 0
    assert first.get_string_custom_property("model_digest") == again.get_string_custom_property("model_digest")
    assert (version / "assets.extra/model_card.json").read_bytes() == b"second"
    assert sorted(path.name for path in (version / "assets.extra").iterdir()) == ["model_card.html", "model_card.json"]
    record = read_record(version)
    assert record is not None and record.seal == seal(version, record.digest)
    assert record.pushed and record.model_uri == str(artifact)


def test_kill_while_a_card_is_corrected_leaves_the_version_whole(model: pathlib.Path, tmp_path: pathlib.Path) -> None:
    def correct(shop: pathlib.Path) -> Publication:
        return publish(model, shop, extras={"assets.extra/model_card.json": b"new" * 99})

    def pushed(name: str) -> pathlib.Path:
        return publish(model, tmp_path / name, extras={"assets.extra/model_card.json": b"old"}).path

    pushed("count")
    cards = set()
    for moment in range(1, kill_at(lambda: correct(tmp_path / "count"), moment=0) + 1):
        version = pushed(f"shop{moment}")
        assert kill_at(lambda shop=version.parent: correct(shop), moment) == moment
        assert digest_of(version) == tree_digest(model) == tree_digest(version)
        cards.add((version / "assets.extra/model_card.json").read_bytes())
        assert correct(version.parent) == Publication(version, tree_digest(model), new=False)
        assert (version / "assets.extra/model_card.json").read_bytes() == b"new" * 99
        assert sorted(path.name for path in version.parent.iterdir()) == [".lock", ".records", version.name]
    assert cards == {b"old", b"new" * 99}


def test_version_whose_card_was_removed_is_still_the_model(model: pathlib.Path, shop: pathlib.Path) -> None:
    first = publish(model, shop, extras={"assets.extra/model_card.json": b"{}"})
    (first.path / "assets.extra/model_card.json").unlink()
    (first.path / "assets.extra").rmdir()
    assert publish(model, shop) == Publication(first.path, first.digest, new=False)


@pytest.mark.parametrize("name", ["model_card.json", "assets.extra/model_card.txt", "assets.extra/a/model_card.json"])
def test_other_files_of_such_a_name_are_part_of_the_model(model: pathlib.Path, shop: pathlib.Path, name: str) -> None:
    publish(model, shop)
    (model / name).parent.mkdir(parents=True, exist_ok=True)
    (model / name).write_text("x")
    assert publish(model, shop).new


def test_published_model_with_a_card_can_be_loaded(tmp_path: pathlib.Path, shop: pathlib.Path) -> None:
    import tensorflow as tf  # Takes seconds, and only this test needs it.

    module = tf.Module()
    module.answer = tf.function(lambda: {"answer": tf.constant(42)}, input_signature=[])
    tf.saved_model.save(module, str(tmp_path / "real"), signatures={"serving_default": module.answer})
    published = publish(tmp_path / "real", shop, extras={"assets.extra/model_card.html": b"<p>"})
    assert (published.path / "assets.extra/model_card.html").read_bytes() == b"<p>"
    assert int(tf.saved_model.load(str(published.path)).signatures["serving_default"]()["answer"]) == 42


def test_component_fails_where_the_blessed_artifact_holds_no_model(tmp_path: pathlib.Path, shop: pathlib.Path) -> None:
    with pytest.raises(ModelError, match="no SavedModel"):
        _push(tmp_path, shop, blessed=1)
