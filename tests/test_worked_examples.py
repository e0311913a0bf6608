"""The data sets that the documentation describes, each as a seeded miniature: from the folder to what the network is given."""

import pathlib
from collections.abc import Callable

import apache_beam as beam
import fake_datasets
import numpy as np
import pytest
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions

from components import features, preprocessing
from components.datasets import registry, report
from components.datasets.builder import make_builder, make_download_manager
from components.datasets.generate import generate
from components.datasets.guess import guess
from components.datasets.spec import DatasetSpec, read_spec, to_toml
from components.example_gen import write_splits
from pipeline_config import TransformConfig

Examples = dict[str, list[dict]]


def _generate(spec: DatasetSpec, data: pathlib.Path, work: pathlib.Path) -> tuple[report.Report, Examples]:
    """Runs what ExampleGen runs, and keeps the examples."""
    builder = make_builder(spec, str(data), "newest", str(work))
    kept: Examples = {}

    def write(examples: beam.PCollection) -> None:
        write_splits(examples, {split: str(work / split) for split in pairs}, builder.info.features.serialize_example)

    options = PipelineOptions(["--runner=FnApiRunner", "--direct_running_mode=in_memory"])
    pairs = builder.pairs_by_split(make_download_manager(builder, str(work)))
    found = generate(lambda: beam.Pipeline(options=options), spec, pairs, str(work / "job"), write)
    for split in pairs:
        records = tf.data.TFRecordDataset([str(path) for path in (work / split).iterdir()], "GZIP")
        kept[split] = [builder.info.features.deserialize_example_np(record.numpy()) for record in records]
    return found, kept


WORKED = {
    "voc2007": (lambda folder: fake_datasets.write_voc(folder, classes=21, official_ids=True), (8, 3, 0)),
    "voc2012": (lambda folder: fake_datasets.write_voc(folder, 2012, classes=21, official_ids=True), (8, 3, 0)),
    "camvid": (fake_datasets.write_camvid, (11, 4, 2)),
    "carla": (fake_datasets.write_carla, (16, 2, 2)),
    "cityscapes_pairs": (fake_datasets.write_cityscapes_pairs, (8, 3, 0)),
    "cityscapes_road": (fake_datasets.write_cityscapes_pairs, (8, 3, 0)),
}
"""Each built-in description: who writes its miniature, and the pairs in train, validation and test."""


@pytest.fixture(scope="module", params=WORKED)
def worked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, report.Report, Examples]:
    name = request.param
    write: Callable[[pathlib.Path], pathlib.Path] = WORKED[name][0]
    data = write(tmp_path_factory.mktemp(name))
    return name, *_generate(registry.built_in(name), data, tmp_path_factory.mktemp(f"{name}-work"))


def test_every_listed_pair_becomes_an_example(worked: tuple[str, report.Report, Examples]):
    name, found, examples = worked
    sizes = dict(zip(("train", "validation", "test"), WORKED[name][1], strict=True))
    assert {split: counted.listed for split, counted in found.splits.items()} == {s: n for s, n in sizes.items() if n}
    assert found.quarantined == [] and found.leaks == []
    assert {split: len(kept) for split, kept in examples.items()} == {s: n for s, n in sizes.items() if n}


def test_masks_hold_the_descriptions_ids_and_fit_their_pictures(worked: tuple[str, report.Report, Examples]):
    name, _, examples = worked
    classes = len(registry.built_in(name).classes)
    seen: set[int] = set()
    for example in (one for kept in examples.values() for one in kept):
        label = example[features.LABEL][..., 0]
        assert example[features.IMAGE].shape == (*label.shape, 3)
        assert (example[features.HEIGHT], example[features.WIDTH]) == label.shape
        seen |= set(np.unique(label).tolist())
    assert seen <= {*range(classes), features.IGNORE_LABEL}
    assert len(seen - {features.IGNORE_LABEL}) >= min(classes, 8)


def test_pictures_and_masks_reach_the_network_as_uint8_of_its_size(worked: tuple[str, report.Report, Examples]):
    _, _, examples = worked
    config = TransformConfig(height_px=96, width_px=128)
    ids = set()
    for example in examples["validation"]:
        image = preprocessing.resize_image(example[features.IMAGE], config)
        label = preprocessing.resize_label(example[features.LABEL][..., 0], config)
        assert (image.dtype, image.shape, label.dtype, label.shape) == (tf.uint8, (96, 128, 3), tf.uint8, (96, 128))
        ids |= set(np.unique(label).tolist()) - set(np.unique(example[features.LABEL]).tolist())
    assert not ids


def test_cityscapes_masks_are_read_from_smeared_colours(tmp_path: pathlib.Path):
    """What the JPEG smeared comes back as the class that was painted, but for the edges; those are void."""
    data = fake_datasets.write_cityscapes_pairs(tmp_path / "data")
    found, _ = _generate(registry.built_in("cityscapes_pairs"), data, tmp_path)
    road, _ = _generate(registry.built_in("cityscapes_road"), data, tmp_path / "road")
    train, train_road = found.splits["train"], road.splits["train"]
    assert 0 < train.void_fraction < 0.05
    assert train_road.void_pixels == 0
    assert train_road.class_pixels["road"] == pytest.approx(train.class_pixels["road"], rel=0.02)


@pytest.mark.parametrize(
    ("write", "pairs"),
    [
        (fake_datasets.write_labelme, 20),
        (lambda folder: fake_datasets.write_labelme(folder, old=True), 20),
        (fake_datasets.write_cvat_voc, 20),
        (fake_datasets.write_folders, 20),
        (lambda f: fake_datasets.write_folders(f, "{split}/images", "{split}/masks", ("train", "val")), 11),
        (fake_datasets.write_sides, 11),
    ],
    ids=["labelme", "old labelme", "CVAT", "folders", "folders a split", "side by side"],
)
def test_users_own_layout_is_described_by_a_guess_and_read_by_it(
    write: Callable[[pathlib.Path], pathlib.Path], pairs: int, tmp_path: pathlib.Path
):
    data = write(tmp_path / "data")
    (tmp_path / "vocseg.toml").write_text(to_toml(guess(str(data)).spec))
    spec = read_spec(str(tmp_path / "vocseg.toml"))
    found, _ = _generate(spec, data, tmp_path)
    assert (found.listed, found.generated, found.quarantined) == (pairs, pairs, [])
    assert len(spec.classes) == 3
    assert all(found.splits["train"].class_images.values())
