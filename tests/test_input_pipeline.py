"""Records to batches: what they hold, the order in which they come, and that (seed, epoch) decides it."""

import collections
import pathlib
from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf
from fake_records import make_record, write_records

from components import input_pipeline, pixels, preprocessing, records
from components.input_pipeline import InputConfig, plan_epoch
from components.record_store import RecordStore, open_store
from pipeline_config import AugmentConfig, TransformConfig

TRANSFORM = TransformConfig(height_px=2, width_px=3)


def _image(number: int) -> np.ndarray:
    return np.full((2, 3, 3), number, np.uint8)


def _label(number: int) -> np.ndarray:
    return np.array([[0, 20, 255], [number % 21, 1, 2]], np.uint8)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecordStore]:
    """23 records; the picture of each is filled with its number."""
    written = [make_record(_image(number), _label(number), f"{number:02d}.jpg") for number in range(23)]
    with open_store([write_records(tmp_path_factory.mktemp("records") / "0.gz", written)], TRANSFORM, 21) as opened:
        yield opened


def _config(batch_size: int, **changes: object) -> InputConfig:
    return InputConfig(**{"transform": TRANSFORM, "augment": AugmentConfig(), "batch_size": batch_size} | changes)


def _numbers(dataset: tf.data.Dataset) -> list[int]:
    """Returns the records' numbers in the order in which they come."""
    return [round(float(image[0, 0, 0]) * 255) for images, _ in dataset for image in images]


def test_network_gets_images_as_a_served_model_does_and_integer_labels() -> None:
    image, label = np.arange(256 * 3).astype(np.uint8).reshape(2, 16, 8, 3), np.arange(256).astype(np.uint8).reshape(2, 16, 8)
    scaled, ids = input_pipeline.to_network(pixels.join(image, label))
    assert (scaled.dtype, ids.dtype) == (tf.float32, tf.int32)
    assert np.array_equal(scaled, preprocessing.scale_image(image))
    assert np.array_equal(ids, label)


def test_validation_takes_each_record_once_as_it_is_in_the_order_of_the_keys(store: RecordStore) -> None:
    dataset = input_pipeline.make_validation_batches(store, _config(9))
    batches = list(dataset)
    assert [tuple(images.shape) for images, _ in batches] == [(9, 2, 3, 3), (9, 2, 3, 3), (5, 2, 3, 3)]
    assert [tuple(labels.shape) for _, labels in batches] == [(9, 2, 3), (9, 2, 3), (5, 2, 3)]
    assert int(dataset.cardinality()) == 3
    assert _numbers(dataset) == list(range(23))
    images, labels = batches[-1]
    assert (images.dtype, labels.dtype) == (tf.float32, tf.int32)
    assert images.numpy()[-1].ravel().tolist() == pytest.approx([22 / 255] * 18, abs=1e-7)
    assert labels.numpy()[-1].tolist() == [[0, 20, 255], [1, 1, 2]]  # 22 mod 21 = 1.


def test_shapes_are_known_before_the_first_batch(store: RecordStore) -> None:
    for dataset in (
        input_pipeline.TrainingBatches(store, _config(4), seed=0).of_epoch(0),
        input_pipeline.make_validation_batches(store, _config(4)),
    ):
        images, labels = dataset.element_spec
        assert images.shape.as_list() == [None, 2, 3, 3]
        assert labels.shape.as_list() == [None, 2, 3]


@pytest.mark.parametrize(("batch_size", "batches"), [(1, 23), (9, 3), (23, 1), (50, 1)])
def test_training_batches_are_whole_and_hold_every_record(store: RecordStore, batch_size: int, batches: int) -> None:
    dataset = input_pipeline.TrainingBatches(store, _config(batch_size), seed=1).of_epoch(0)
    assert int(dataset.cardinality()) == batches == input_pipeline.steps_per_epoch(23, batch_size)
    assert [len(images) for images, _ in dataset] == [batch_size] * batches
    assert set(_numbers(dataset)) == set(range(23))


def test_last_batch_is_filled_up_from_the_head_of_the_epoch() -> None:
    indices = plan_epoch(5, 3, seed=0, epoch=0).indices
    assert sorted(indices[:5]) == [0, 1, 2, 3, 4]
    assert indices[5] == indices[0]


def test_epoch_depends_on_seed_and_number_alone() -> None:
    def drawn(seed: int, epoch: int) -> list:
        plan = plan_epoch(23, 4, seed, epoch)
        return [plan.indices.tolist(), plan.partners.tolist(), plan.seeds.tolist()]

    assert drawn(1, 0) == drawn(1, 0)
    for one, other in zip(drawn(1, 0), drawn(1, 1), strict=True):
        assert one != other
    for one, other in zip(drawn(1, 0), drawn(2, 0), strict=True):
        assert one != other


def test_pictures_of_one_epoch_are_varied_by_seeds_of_their_own() -> None:
    seeds = plan_epoch(100, 8, seed=0, epoch=0).seeds
    assert seeds.dtype == np.int32 and seeds.shape == (104, 2)
    assert len({tuple(seed) for seed in seeds.tolist()}) == 104


@pytest.mark.parametrize("form", [{}, {"devices": 4, "hosts": 2, "host": 1}])
def test_one_object_draws_each_epoch_as_a_new_one_does(store: RecordStore, form: dict[str, int]) -> None:
    config = _config(4, **form)
    batches = input_pipeline.TrainingBatches(store, config, seed=3)
    drawn = [list(batches.of_epoch(epoch)) for epoch in (0, 1, 0)]
    new = [list(input_pipeline.TrainingBatches(store, config, seed=3).of_epoch(epoch)) for epoch in (0, 1)]
    for found, expected in zip(drawn, (new[0], new[1], new[0]), strict=True):
        for (image, label), (other_image, other_label) in zip(found, expected, strict=True):
            assert np.array_equal(image, other_image) and np.array_equal(label, other_label)
    assert not all(np.array_equal(one[1], other[1]) for one, other in zip(*new, strict=True))


def test_batches_of_an_epoch_can_be_made_again(store: RecordStore) -> None:
    config = _config(4, augment=AugmentConfig(flip=True, brightness=0.3, copy_paste=0.5))
    one, two = (list(input_pipeline.TrainingBatches(store, config, seed=3).of_epoch(5)) for _ in range(2))
    for (images, labels), (images_again, labels_again) in zip(one, two, strict=True):
        assert np.array_equal(images, images_again)
        assert np.array_equal(labels, labels_again)


def test_other_picture_is_read_only_where_it_is_pasted(store: RecordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers: list[int] = []
    read = RecordStore.read

    def counted(self: RecordStore, number: np.ndarray) -> np.ndarray:
        numbers.append(int(number))
        return read(self, number)

    monkeypatch.setattr(RecordStore, "read", counted)
    for share, least, most in ((0.0, 23, 23), (0.5, 28, 41), (1.0, 46, 46)):
        numbers.clear()
        list(
            input_pipeline.TrainingBatches(store, _config(23, augment=AugmentConfig(flip=True, copy_paste=share)), 0).of_epoch(
                0
            )
        )
        assert least <= len(numbers) <= most


def test_label_stays_with_its_image_when_shuffled(store: RecordStore) -> None:
    for images, labels in input_pipeline.TrainingBatches(store, _config(4), seed=3).of_epoch(0):
        for image, label in zip(images.numpy(), labels.numpy(), strict=True):
            assert label[1, 0] == round(float(image[0, 0, 0]) * 255) % 21


def test_crop_is_the_size_that_is_trained(store: RecordStore) -> None:
    config = _config(4, augment=AugmentConfig(crop_height_px=4, crop_width_px=2))
    images, labels = next(iter(input_pipeline.TrainingBatches(store, config, seed=0).of_epoch(0)))
    assert images.shape == (4, 4, 2, 3) and labels.shape == (4, 4, 2)
    # Two rows of the record's, of which the crop has two of its three columns, and void around them.
    assert ((labels.numpy() == 255).sum(axis=(1, 2)) >= 4).all()
    assert ((labels.numpy() != 255).sum(axis=(1, 2)) >= 3).all()


def test_margin_shows_the_network_more_than_it_labels(tmp_path: pathlib.Path) -> None:
    image = np.arange(6, dtype=np.uint8).reshape(2, 3, 1).repeat(3, axis=2)
    path = write_records(tmp_path / "0.gz", [make_record(image, _label(7), "a.jpg")])
    expected = np.pad(image[..., 0], 4, "reflect")
    with open_store([path], TRANSFORM, 21) as store:
        for dataset in (
            input_pipeline.TrainingBatches(store, _config(1, margin_px=4), seed=0).of_epoch(0),
            input_pipeline.make_validation_batches(store, _config(1, margin_px=4)),
        ):
            images, labels = next(iter(dataset))
            assert np.rint(images.numpy()[0, :, :, 0] * 255).astype(int).tolist() == expected.tolist()
            assert labels.numpy()[0].tolist() == _label(7).tolist()


def test_picture_with_a_rare_class_is_drawn_as_often_as_its_repeat_factor_says() -> None:
    # Class 0 is in all four pictures, class 1 in two, class 2 in one: shares 1, 0.5 and 0.25, their median is 0.5.
    pixels = np.array([[9, 0, 0], [9, 1, 0], [9, 1, 2], [9, 0, 0]])
    assert input_pipeline.balanced_weights(pixels).tolist() == pytest.approx([1, 1, 2**0.5, 1])


def test_classes_that_never_occur_change_no_draw() -> None:
    assert input_pipeline.balanced_weights(np.array([[4, 0], [4, 0]])).tolist() == [1, 1]
    assert input_pipeline.balanced_weights(np.array([[0, 0]])).tolist() == [1]


def test_draws_follow_the_weights() -> None:
    drawn: collections.Counter[int] = collections.Counter()
    for epoch in range(200):
        drawn.update(plan_epoch(3, 2, seed=0, epoch=epoch, weights=np.array([1.0, 1.0, 2.0])).indices.tolist())
    assert sum(drawn.values()) == 800
    assert drawn[2] / 800 == pytest.approx(0.5, abs=0.06)  # Three and a half standard deviations.


def test_files_of_several_patterns_are_listed_in_order(tmp_path: pathlib.Path) -> None:
    files = [write_records(tmp_path / f"part-{number}.gz", []) for number in range(2)]
    assert records.list_files([f"{tmp_path}/*1.gz", f"{tmp_path}/*0.gz"]) == files
    assert records.list_files([f"{tmp_path}/*1.gz", f"{tmp_path}/nothing-*"]) == files[1:]


def test_pattern_without_files_is_an_error_that_names_it(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Split-train/\*"):
        records.list_files([f"{tmp_path}/Split-train/*"])


def test_devices_get_equal_shares_of_a_batch_filled_up_with_black_void_pictures(store: RecordStore) -> None:
    shares = list(input_pipeline.make_validation_batches(store, _config(3, devices=2)))
    assert {len(images) for images, _ in shares} == {2}
    images, labels = shares[1]
    assert (labels.numpy()[1] == 255).all() and not images.numpy()[1].any()


def test_filling_ends_each_batch() -> None:
    assert input_pipeline.fill_up(np.arange(7), 3, 4).tolist() == [0, 1, 2, -1, 3, 4, 5, -1, 6, -1, -1, -1]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("hosts", "devices"), [(2, 2), (2, 4), (3, 3)])
def test_hosts_share_a_batch_as_devices_of_one_host_do(store: RecordStore, hosts: int, devices: int, training: bool) -> None:
    def shares(**division: int) -> list[list[list[int]]]:
        config = _config(5, augment=AugmentConfig(flip=True), **division)
        batches = (
            input_pipeline.TrainingBatches(store, config, seed=0).of_epoch(0)
            if training
            else input_pipeline.make_validation_batches(store, config)
        )
        return [np.concatenate([images.numpy().reshape(-1), labels.numpy().reshape(-1)]).tolist() for images, labels in batches]

    together = shares(devices=devices)
    apart = [shares(devices=devices, hosts=hosts, host=host) for host in range(hosts)]
    local = devices // hosts
    assert len(together) % devices == 0
    for step in range(len(together) // devices):
        for host in range(hosts):
            begin = step * devices + host * local
            assert apart[host][step * local : (step + 1) * local] == together[begin : begin + local]


def test_no_autotuner_keeps_an_epoch_from_ending(store: RecordStore) -> None:
    for batches in (
        input_pipeline.TrainingBatches(store, _config(4), seed=0).of_epoch(0),
        input_pipeline.make_validation_batches(store, _config(4)),
    ):
        assert batches.options().autotune.enabled is False
