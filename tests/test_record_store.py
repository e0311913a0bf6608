"""Records by number: order, content and digest do not depend on how Beam happened to write them."""

import itertools
import os
import pathlib
import tempfile

import numpy as np
import pytest
import tensorflow as tf
from fake_records import make_record, write_records

from components import features, pixels, record_store
from components.errors import TrainingError
from components.record_store import open_store
from pipeline_config import TransformConfig


def _record(key: str, label: list[list[int]]) -> bytes:
    return make_record(np.zeros((1, 3, 3), np.uint8), np.array(label, np.uint8), key)


ROW = TransformConfig(height_px=1, width_px=3)
B, A, C = _record("b.jpg", [[0, 1, 255]]), _record("a.jpg", [[1, 1, 1]]), _record("c.jpg", [[2, 0, 0]])


def test_records_come_in_the_order_of_their_keys(tmp_path: pathlib.Path) -> None:
    files = [write_records(tmp_path / "0.gz", [C, A]), write_records(tmp_path / "1.gz", [B])]
    with open_store(files, ROW, 3) as store:
        assert len(store) == 3
        assert store.keys == (b"a.jpg", b"b.jpg", b"c.jpg")
        image, label = pixels.split(store.read(np.arange(3)))
        assert label.numpy().tolist() == [[[1, 1, 1]], [[0, 1, 255]], [[2, 0, 0]]]
        assert image.shape == (3, 1, 3, 3) and not image.numpy().any()


def test_record_comes_back_as_transform_wrote_it_alone_or_among_others(tmp_path: pathlib.Path) -> None:
    rng = np.random.default_rng(0)
    pairs = [(rng.integers(0, 256, (1, 3, 3), np.uint8), rng.integers(0, 3, (1, 3), np.uint8)) for _ in range(4)]
    written = [make_record(*pair, f"{number}.jpg") for number, pair in enumerate(pairs)]
    with open_store([write_records(tmp_path / "0.gz", written)], ROW, 3) as store:
        for numbers in (np.int64(2), np.array([3]), np.array([[1, 0], [1, 3]])):
            image, label = pixels.split(store.read(numbers))
            assert np.array_equal(image, np.stack([image for image, _ in pairs])[numbers])
            assert np.array_equal(label, np.stack([label for _, label in pairs])[numbers])


@pytest.mark.parametrize(
    ("image", "label", "told"),
    [
        (np.zeros((3, 1, 3), np.uint8), np.zeros((1, 3), np.uint8), r"uint8 \[3, 1, 3\].* uint8 \[1, 3, 3\]"),
        (np.zeros((1, 3, 3), np.uint8), np.zeros((3, 1), np.uint8), r"uint8 \[3, 1\].* uint8 \[1, 3\]"),
        (np.zeros((1, 3, 3), np.float32), np.zeros((1, 3), np.uint8), r"float32 \[1, 3, 3\].* uint8 \[1, 3, 3\]"),
    ],
    ids=["image", "label", "type"],
)
def test_record_of_another_size_or_type_is_an_error_that_names_it(
    tmp_path: pathlib.Path, image: np.ndarray, label: np.ndarray, told: str
) -> None:
    path = write_records(tmp_path / "0.gz", [A, make_record(image, label, "odd.jpg")])
    with pytest.raises(TrainingError, match=f"'odd.jpg'.*{told}"):
        open_store([path], ROW, 3)


def test_record_without_a_tensor_is_an_error_that_names_it(tmp_path: pathlib.Path) -> None:
    values = {features.FILENAME: b"odd.jpg", features.IMAGE: b"\xff\xff", features.LABEL: b""}
    described = {key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for key, value in values.items()}
    record = tf.train.Example(features=tf.train.Features(feature=described)).SerializeToString()
    with pytest.raises(
        TrainingError, match=r"image of transformed record 'odd\.jpg' is no tensor.*run again below another --root"
    ):
        open_store([write_records(tmp_path / "0.gz", [record])], ROW, 3)


def test_file_that_ends_early_gives_no_record(tmp_path: pathlib.Path) -> None:
    with open_store([write_records(tmp_path / "0.gz", [A, B])], ROW, 3) as store:
        os.truncate(store._file.fileno(), 20)
        assert store.read(np.int64(0)).shape == (1, 3)
        with pytest.raises(OSError, match="ends within record 1"):
            store.read(np.int64(1))


def test_pixels_of_each_class_are_counted_without_void(tmp_path: pathlib.Path) -> None:
    with open_store([write_records(tmp_path / "0.gz", [A, B, C])], ROW, 3) as store:
        assert store.pixels.tolist() == [[0, 3, 0], [1, 1, 0], [2, 0, 1]]


def test_digest_is_of_the_records_and_not_of_their_order_or_files(tmp_path: pathlib.Path) -> None:
    def digest(*files: list[bytes]) -> str:
        paths = [write_records(tmp_path / f"{number}.gz", content) for number, content in enumerate(files)]
        with open_store(paths, ROW, 3) as store:
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
        with open_store([write_records(tmp_path / f"{number}.gz", [record, B])], ROW, 3) as store:
            digests.append(store.digest)
    assert digests[0] == digests[1]


def test_no_records_make_an_empty_store(tmp_path: pathlib.Path) -> None:
    with open_store([write_records(tmp_path / "0.gz", [])], ROW, 3) as store:
        assert len(store) == 0
        assert store.pixels.shape == (0, 3)


def test_store_leaves_nothing_on_the_disk(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    with open_store([write_records(tmp_path / "0.gz", [A])], ROW, 3):
        assert os.listdir(tmp_path / "temporary") == []  # Open, and already without a name: a kill leaves nothing either.


def test_full_disk_is_an_error_that_says_what_to_do(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_store.tempfile, "TemporaryFile", lambda prefix: open("/dev/full", "wb", buffering=0))
    with pytest.raises(TrainingError, match=r"No space left on device.*set TMPDIR"):
        open_store([write_records(tmp_path / "0.gz", [A])], ROW, 3)
