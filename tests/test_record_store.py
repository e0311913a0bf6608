"""Records by number: order, content and digest do not depend on how Beam happened to write them."""

import itertools
import os
import pathlib
import tempfile

import numpy as np
import pytest
import tensorflow as tf
from fake_records import make_record, write_records

from components import record_store
from components.errors import TrainingError
from components.record_store import open_store


def _record(key: str, label: list[list[int]]) -> bytes:
    return make_record(np.zeros((1, 3, 3), np.uint8), np.array(label, np.uint8), key)


B, A, C = _record("b.jpg", [[0, 1, 255]]), _record("a.jpg", [[1, 1, 1]]), _record("c.jpg", [[2, 0, 0]])


def test_records_come_in_the_order_of_their_keys(tmp_path: pathlib.Path) -> None:
    files = [write_records(tmp_path / "0.gz", [C, A]), write_records(tmp_path / "1.gz", [B])]
    with open_store(files, 3) as store:
        assert len(store) == 3
        assert store.keys == (b"a.jpg", b"b.jpg", b"c.jpg")
        assert [store.read(number) for number in range(3)] == [A, B, C]


def test_pixels_of_each_class_are_counted_without_void(tmp_path: pathlib.Path) -> None:
    with open_store([write_records(tmp_path / "0.gz", [A, B, C])], 3) as store:
        assert store.pixels.tolist() == [[0, 3, 0], [1, 1, 0], [2, 0, 1]]


def test_digest_is_of_the_records_and_not_of_their_order_or_files(tmp_path: pathlib.Path) -> None:
    def digest(*files: list[bytes]) -> str:
        paths = [write_records(tmp_path / f"{number}.gz", content) for number, content in enumerate(files)]
        with open_store(paths, 3) as store:
            return store.digest

    one = digest([C, A, B])
    assert digest([B], [C, A]) == one
    assert digest([A, B]) != one
    assert digest([_record("a.jpg", [[1, 1, 0]]), B, C]) != one


def _reordered(record: bytes) -> bytes:
    """Returns the record with its features written in another order."""
    feature = tf.train.Example.FromString(record).features.feature
    parts = {name: tf.train.Features(feature={name: feature[name]}).SerializeToString() for name in feature}
    whole = [b"".join(parts[name] for name in names) for names in itertools.permutations(parts)]
    return next(b"\n" + bytes([len(one)]) + one for one in whole if one not in record)


def test_digest_does_not_depend_on_the_order_of_features_in_a_record_which_differs_from_worker_to_worker(
    tmp_path: pathlib.Path,
) -> None:
    other = _reordered(A)
    assert other != A and tf.train.Example.FromString(other) == tf.train.Example.FromString(A)
    digests = []
    for number, record in enumerate((A, other)):
        with open_store([write_records(tmp_path / f"{number}.gz", [record, B])], 3) as store:
            digests.append(store.digest)
    assert digests[0] == digests[1]


def test_no_records_make_an_empty_store(tmp_path: pathlib.Path) -> None:
    with open_store([write_records(tmp_path / "0.gz", [])], 3) as store:
        assert len(store) == 0
        assert store.pixels.shape == (0, 3)


def test_store_leaves_nothing_on_the_disk(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    with open_store([write_records(tmp_path / "0.gz", [A])], 3):
        assert os.listdir(tmp_path / "temporary") == []  # Open, and already without a name: a kill leaves nothing either.


def test_full_disk_is_an_error_that_says_what_to_do(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_store.tempfile, "TemporaryFile", lambda prefix: open("/dev/full", "wb", buffering=0))
    with pytest.raises(TrainingError, match=r"No space left on device.*set TMPDIR"):
        open_store([write_records(tmp_path / "0.gz", [A])], 3)
