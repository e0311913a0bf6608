"""Transformed records to batches: what they hold and the order in which they come."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from components import features, input_pipeline, records
from pipeline_config import TransformConfig

CONFIG = TransformConfig(height_px=2, width_px=3)


def _image(number: int) -> np.ndarray:
    return np.full((2, 3, 3), number, np.uint8)


def _label(number: int) -> np.ndarray:
    return np.array([[0, 20, 255], [number % 21, 1, 2]], np.uint8)


def _record(number: int) -> bytes:
    def tensor(array: np.ndarray) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[tf.io.serialize_tensor(array).numpy()]))

    name = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"%d.jpg" % number]))
    feature = {features.IMAGE: tensor(_image(number)), features.LABEL: tensor(_label(number)), features.FILENAME: name}
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def _write(path: pathlib.Path, numbers: range) -> str:
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for number in numbers:
            writer.write(_record(number))
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two files of 12 and 11 records; the picture of each is filled with its number."""
    folder = tmp_path_factory.mktemp("records")
    return [_write(folder / "part-00000.gz", range(12)), _write(folder / "part-00001.gz", range(12, 23))]


def _numbers(dataset: tf.data.Dataset) -> list[int]:
    """Returns the records' numbers in the order in which they come."""
    return [round(float(image[0, 0, 0]) * 255) for images, _ in dataset for image in images]


def test_record_comes_back_as_transform_wrote_it() -> None:
    image, label = input_pipeline.parse_record(tf.constant(_record(7)), CONFIG)
    assert image.dtype == label.dtype == tf.uint8
    assert image.numpy().tolist() == _image(7).tolist()
    assert label.numpy().tolist() == [[0, 20, 255], [7, 1, 2]]


def test_record_of_another_size_is_refused() -> None:
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="compatible"):
        input_pipeline.parse_record(tf.constant(_record(0)), TransformConfig(height_px=3, width_px=2))


def test_network_gets_images_in_zero_to_one_and_integer_labels() -> None:
    image = np.array([[[0, 51, 255]]], np.uint8)
    scaled, label = input_pipeline.to_network(image, np.array([[255]], np.uint8))
    assert scaled.dtype == tf.float32
    assert scaled.numpy().ravel().tolist() == pytest.approx([0.0, 0.2, 1.0], abs=1e-7)
    assert label.dtype == tf.int32
    assert label.numpy().tolist() == [[255]]


def test_batches_have_the_promised_shapes_types_and_values(files: list[str]) -> None:
    batches = list(input_pipeline.make_dataset(files, CONFIG, batch_size=9))
    assert [tuple(images.shape) for images, _ in batches] == [(9, 2, 3, 3), (9, 2, 3, 3), (5, 2, 3, 3)]
    assert [tuple(labels.shape) for _, labels in batches] == [(9, 2, 3), (9, 2, 3), (5, 2, 3)]
    images, labels = batches[-1]
    assert (images.dtype, labels.dtype) == (tf.float32, tf.int32)
    assert images.numpy()[-1].ravel().tolist() == pytest.approx([22 / 255] * 18, abs=1e-7)
    assert labels.numpy()[-1].tolist() == [[0, 20, 255], [1, 1, 2]]  # 22 mod 21 = 1.


def test_shapes_are_known_before_the_first_batch(files: list[str]) -> None:
    images, labels = input_pipeline.make_dataset(files, CONFIG, batch_size=4).element_spec
    assert images.shape.as_list() == [None, 2, 3, 3]
    assert labels.shape.as_list() == [None, 2, 3]


@pytest.mark.parametrize(("batch_size", "batches"), [(1, 23), (9, 3), (23, 1), (24, 1)])
def test_number_of_batches_is_known_and_right(files: list[str], batch_size: int, batches: int) -> None:
    for seed in (None, 1):
        dataset = input_pipeline.make_dataset(files, CONFIG, batch_size, seed)
        assert int(dataset.cardinality()) == len(list(dataset)) == batches


def test_without_a_seed_records_come_in_the_order_of_the_files_names(files: list[str]) -> None:
    dataset = input_pipeline.make_dataset(files[::-1], CONFIG, batch_size=4)
    assert _numbers(dataset) == list(range(23))
    assert _numbers(dataset) == list(range(23))  # Each epoch again.


@pytest.mark.parametrize("seed", [0, 1, 2024])
def test_same_seed_gives_the_same_order_and_each_epoch_another(files: list[str], seed: int) -> None:
    def two_epochs() -> tuple[list[int], list[int]]:
        tf.random.set_seed(seed)
        dataset = input_pipeline.make_dataset(files, CONFIG, batch_size=4, shuffle_seed=seed)
        return _numbers(dataset), _numbers(dataset)

    first, second = two_epochs()
    assert sorted(first) == sorted(second) == list(range(23))
    assert first != second
    assert first != list(range(23))
    assert (first, second) == two_epochs()


def test_another_seed_gives_another_order(files: list[str]) -> None:
    tf.random.set_seed(0)
    one = _numbers(input_pipeline.make_dataset(files, CONFIG, batch_size=4, shuffle_seed=1))
    tf.random.set_seed(0)
    two = _numbers(input_pipeline.make_dataset(files, CONFIG, batch_size=4, shuffle_seed=2))
    assert one != two


def test_label_stays_with_its_image_when_shuffled(files: list[str]) -> None:
    tf.random.set_seed(3)
    for images, labels in input_pipeline.make_dataset(files, CONFIG, batch_size=4, shuffle_seed=3):
        for image, label in zip(images.numpy(), labels.numpy(), strict=True):
            assert label[1, 0] == round(float(image[0, 0, 0]) * 255) % 21


def test_records_are_counted_over_all_files(files: list[str]) -> None:
    assert records.count_records(files) == 23
    assert records.count_records(files[1:]) == 11


def test_file_without_records_counts_zero(tmp_path: pathlib.Path) -> None:
    assert records.count_records([_write(tmp_path / "empty.gz", range(0))]) == 0


def test_files_of_several_patterns_are_listed_in_order(files: list[str]) -> None:
    folder = pathlib.Path(files[0]).parent
    assert records.list_files([f"{folder}/*1.gz", f"{folder}/*0.gz"]) == files
    assert records.list_files([f"{folder}/*1.gz", f"{folder}/nothing-*"]) == files[1:]


def test_pattern_without_files_is_an_error_that_names_it(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Split-train/\*"):
        records.list_files([f"{tmp_path}/Split-train/*"])


def test_last_batch_is_filled_up_with_void_pictures() -> None:
    images, labels = input_pipeline.fill_up(tf.ones([1, 2, 3, 3]), tf.ones([1, 2, 3], tf.int32), 4)
    assert images.shape == (4, 2, 3, 3) and labels.shape == (4, 2, 3)
    assert tf.reduce_sum(images) == 18
    assert np.array_equal(labels[1:], np.full((3, 2, 3), 255))
