"""Publishing to a store: whole versions only, whenever the publisher dies, and each model once."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf
from fake_versions import contents, write_model

from components import remote_versions, stores
from components.datasets import files
from components.errors import ModelError
from components.remote_versions import publish, read_record
from components.remote_versions import remote_versions as versions
from components.version_records import Origin, Record, tree_digest

DAY_S = 24 * 3600
ORIGIN = Origin(model_uri="ram://m/1", blessed=True, mean_iou=0.5, split="test", data_digest="d", code_digest="c")


@pytest.fixture
def shop(ram_store: str) -> str:
    """The folder of versions; does not exist yet."""
    return f"{ram_store}/models/mini.embedded"


def _source(tmp_path: pathlib.Path, shop: str, seed: int = 0) -> tuple[pathlib.Path, str]:
    """Writes a model on this machine and in the store."""
    local = write_model(tmp_path / f"model-{seed}", seed)
    address = f"{shop.partition('/models')[0]}/artifacts/{seed}"
    stores.copy_files(str(local), address, stores.names_below(str(local)))
    return local, address


def _contents(address: str) -> dict[str, bytes]:
    return {name: files.read_bytes(f"{address}/{name}") for name in stores.names_below(address)}


def _at(monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    monkeypatch.setattr(remote_versions.time, "time", lambda: now)


def _die_after(monkeypatch: pytest.MonkeyPatch, writes: int) -> Callable[[], int]:
    """Lets a publisher die at its nth change of the store; 0: never. Returns how many there were."""
    seen = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == writes:
                raise KeyboardInterrupt
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(stores, "write_bytes", counted(stores.write_bytes))
    monkeypatch.setattr(stores, "remove", counted(stores.remove))
    monkeypatch.setattr(tf.io.gfile, "copy", counted(tf.io.gfile.copy))
    return lambda: seen


def test_first_model_becomes_a_whole_version_with_record_and_card(
    shop: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local, source = _source(tmp_path, shop)
    _at(monkeypatch, 1000.5)
    found = publish(source, shop, ORIGIN, {"assets.extra/model_card.json": b"{}"})
    assert (found.path, found.digest, found.new) == (f"{shop}/1000", tree_digest(local), True)
    card = {"assets.extra/model_card.json": b"{}"}
    assert _contents(found.path) == {name: content for name, content in contents(local).items() if content is not None} | card
    record = read_record(shop, "1000")
    assert record is not None
    assert (record.digest, record.model_uri, record.mean_iou) == (found.digest, "ram://m/1", 0.5)


def test_model_is_pushed_once_and_its_card_is_brought_up_to_date(shop: str, tmp_path: pathlib.Path) -> None:
    _, source = _source(tmp_path, shop)
    first = publish(source, shop, ORIGIN, {"assets.extra/model_card.json": b"1"})
    tf.io.gfile.remove(f"{shop}/.records/{versions(shop)[0]}.json")
    again = publish(source, shop, ORIGIN, {"assets.extra/model_card.json": b"2"})
    assert (again.path, again.digest, again.new) == (first.path, first.digest, False)
    assert files.read_bytes(f"{first.path}/assets.extra/model_card.json") == b"2"
    assert versions(shop) == [first.path.rpartition("/")[2]]
    assert read_record(shop, versions(shop)[0]) is not None


def test_version_rises_though_the_clock_does_not(shop: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed, now in enumerate((1000.0, 1000.9, 3.0)):
        _at(monkeypatch, now)
        publish(_source(tmp_path, shop, seed)[1], shop, ORIGIN, {})
    assert versions(shop) == ["1000", "1001", "1002"]


def test_changed_version_is_not_taken_for_the_model_that_it_was(shop: str, tmp_path: pathlib.Path) -> None:
    _, source = _source(tmp_path, shop)
    first = publish(source, shop, ORIGIN, {})
    stores.write_bytes(f"{first.path}/fingerprint.pb", b"changed")
    second = publish(source, shop, ORIGIN, {})
    assert second.new and second.path != first.path


def test_record_spares_reading_other_versions(shop: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = publish(_source(tmp_path, shop, 1)[1], shop, ORIGIN, {})
    read: list[str] = []
    real = stores.sha256_of
    monkeypatch.setattr(stores, "sha256_of", lambda path: read.append(path) or real(path))
    publish(_source(tmp_path, shop, 2)[1], shop, ORIGIN, {})
    assert read
    assert not [path for path in read if path.startswith(first.path)]


def test_whatever_moment_a_push_dies_at_versions_are_whole_and_the_next_push_ends_it(
    shop: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One model is there; the push of a second dies at each of its changes in turn."""
    _at(monkeypatch, 1000.0)
    (old, first), (new, second) = (_source(tmp_path, shop, seed) for seed in (1, 2))
    extras = {"assets.extra/model_card.json": b"{}"}
    moment, moments = 0, 7  # 3 files, card, record, saved_model.pb; at the seventh there is nothing left to die at.
    for moment in range(1, moments + 1):
        if files.exists(shop):
            tf.io.gfile.rmtree(shop)
        publish(first, shop, ORIGIN, {})
        with pytest.MonkeyPatch.context() as patch:
            count = _die_after(patch, moment)
            try:
                publish(second, shop, ORIGIN, extras)
                assert (moment, count()) == (moments, moments - 1)
            except KeyboardInterrupt:
                assert versions(shop) == ["1000"]
        assert {number: len(_contents(f"{shop}/{number}")) for number in versions(shop)}["1000"] == len(
            [content for content in contents(old).values() if content is not None]
        )
        with pytest.MonkeyPatch.context() as patch:
            _at(patch, 1000.0 + DAY_S + 100)
            found = publish(second, shop, ORIGIN, extras)
        assert found.digest == tree_digest(new)
        assert sorted(_contents(found.path)) == sorted({*stores.names_below(str(new)), *extras})
        assert versions(shop) == sorted(name for name in files.names(shop) if name != ".records")
        assert sorted(files.names(f"{shop}/.records")) == [f"{number}.json" for number in versions(shop)]
    assert moment == moments


def test_push_leaves_a_young_upload_alone_and_does_not_use_its_number(
    shop: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be another's that is under way; a day later it is what a killed push left."""
    stores.write_bytes(f"{shop}/1000/fingerprint.pb", b"")
    stores.write_bytes(f"{shop}/.records/1000.json", b"")
    _at(monkeypatch, 1000.0)
    publish(_source(tmp_path, shop, 1)[1], shop, ORIGIN, {})
    assert versions(shop) == ["1001"]
    assert files.exists(f"{shop}/1000/fingerprint.pb") and files.exists(f"{shop}/.records/1000.json")
    _at(monkeypatch, 1001.0 + DAY_S)
    publish(_source(tmp_path, shop, 2)[1], shop, ORIGIN, {})
    assert files.names(shop) == [".records", "1001", str(1001 + DAY_S)]
    assert not files.exists(f"{shop}/.records/1000.json")


def test_of_two_who_publish_at_once_the_slower_gives_up(
    shop: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other does all of its push right before this one would make its version count."""
    _at(monkeypatch, 1000.0)
    (_, first), (other, second) = (_source(tmp_path, shop, seed) for seed in (1, 2))
    real = remote_versions._write_record

    def meanwhile(destination: str, record: Record) -> None:
        real(destination, record)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(remote_versions, "_write_record", real)
            publish(second, destination, ORIGIN, {})

    monkeypatch.setattr(remote_versions, "_write_record", meanwhile)
    with pytest.raises(ModelError, match="Somebody else published in .*: 1001. .* Start the run again"):
        publish(first, shop, ORIGIN, {})
    assert versions(shop) == ["1001"]
    record = read_record(shop, "1001")
    assert record is not None and record.digest == tree_digest(other)


def test_of_two_with_one_number_none_makes_a_version_of_both(
    shop: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other began in the same second, and its record came last."""
    _at(monkeypatch, 1000.0)
    real = remote_versions._write_record

    def meanwhile(destination: str, record: Record) -> None:
        real(destination, record)
        real(destination, dataclasses.replace(record, digest="of another"))

    monkeypatch.setattr(remote_versions, "_write_record", meanwhile)
    with pytest.raises(ModelError, match="Somebody else published in .*: 1000. "):
        publish(_source(tmp_path, shop)[1], shop, ORIGIN, {})
    assert versions(shop) == []


def test_copy_that_differs_is_no_version(shop: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, source = _source(tmp_path, shop)
    real = tf.io.gfile.copy

    def damage(source: str, target: str, overwrite: bool = False) -> None:
        real(source, target, overwrite=overwrite)
        if target.endswith("fingerprint.pb"):
            stores.write_bytes(target, b"damaged")

    monkeypatch.setattr(tf.io.gfile, "copy", damage)
    with pytest.raises(ModelError, match=r"The copy of .* differs from it"):
        publish(source, shop, ORIGIN, {})
    assert versions(shop) == []


def test_folder_without_a_model_is_refused(shop: str, ram_store: str) -> None:
    stores.write_bytes(f"{ram_store}/empty/variables/x", b"1")
    with pytest.raises(ModelError, match=r"holds no SavedModel \(there is no saved_model.pb\)"):
        publish(f"{ram_store}/empty", shop, ORIGIN, {})
    assert not files.exists(shop)
