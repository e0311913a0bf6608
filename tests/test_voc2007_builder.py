"""The builder `voc2007_semantic`: as TensorFlow Datasets sees it, on archives, on a folder and on the real data."""

import io
import pathlib
import pickle
import shutil
import tarfile
import tempfile
import types
import typing
from typing import Any

import apache_beam as beam
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from apache_beam.options.pipeline_options import PipelineOptions
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components import features
from components.datasets import fake_voc, voc
from components.datasets.voc2007 import Voc2007Semantic, builder
from components.errors import DataError

IN_MEMORY = ["--runner=DirectRunner", "--direct_running_mode=in_memory"]
FOLDER = pathlib.Path(builder.__file__).parent
SMALL = {"train": 3, "val": 2, "test": 1}
SPLITS = {"train": 3, "validation": 2, "test": 1}


def _write_archives(root: pathlib.Path, folder: pathlib.Path) -> None:
    """Packs a VOC2007 folder as the official archives are packed: trainval, and test with its list."""
    folder.mkdir(parents=True, exist_ok=True)
    for archive, names in zip(builder.ARCHIVES, (("train", "val"), ("test",)), strict=True):
        with tarfile.open(folder / archive, "w") as tar:
            for name in names:
                path = root / "ImageSets/Segmentation" / f"{name}.txt"
                tar.add(path, f"VOCdevkit/VOC2007/ImageSets/Segmentation/{name}.txt")
                for key in path.read_text().split():
                    for part in (f"JPEGImages/{key}.jpg", f"SegmentationClass/{key}.png"):
                        tar.add(root / part, f"VOCdevkit/VOC2007/{part}")


class TestVoc2007SemanticOnArchives(tfds.testing.DatasetBuilderTestCase):
    """TensorFlow Datasets' own checks of a builder, here on archives that are made from the miniature."""

    DATASET_CLASS = Voc2007Semantic
    SPLITS: typing.ClassVar = SPLITS
    DL_DOWNLOAD_RESULT: typing.ClassVar = {name: name for name in builder.ARCHIVES}

    @classmethod
    def setUpClass(cls) -> None:
        """Makes the two archives that the builder believes to have downloaded."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix="voc2007_archives_"))
        cls.addClassCleanup(shutil.rmtree, folder)
        _write_archives(fake_voc.write_fake_voc(folder / "made_from", split_sizes=SMALL), folder)
        cls.EXAMPLE_DIR = str(folder)
        super().setUpClass()

    def test_session(self, *args: object, **kwargs: object) -> object:
        """Is no test but a method of TensorFlow's base class; as a test it would be counted as skipped."""
        return super().test_session(*args, **kwargs)

    test_session.__test__ = False  # type: ignore[attr-defined]


def _prepare(source: pathlib.Path, data_dir: pathlib.Path) -> Voc2007Semantic:
    made = Voc2007Semantic(source=source, data_dir=data_dir)
    made.download_and_prepare()
    return made


def _downloads(folder: pathlib.Path) -> tfds.download.DownloadManager:
    """Returns what the builder asks of a download manager where it has a source: the place for what it extracts."""
    return typing.cast(tfds.download.DownloadManager, types.SimpleNamespace(download_dir=folder))


def _written_records(made: Voc2007Semantic) -> dict[str, list[bytes]]:
    """Returns the serialised records in the TFRecords that tfds wrote, by split, sorted."""
    records = {}
    for split in made.info.splits:
        files = [str(path) for path in made.info.splits[split].filepaths]
        records[split] = sorted(tf.data.TFRecordDataset(files).as_numpy_iterator())
    return records


def _store(records: list[Any], path: str) -> None:
    pathlib.Path(path).write_bytes(pickle.dumps(records))


def _own_records(made: Voc2007Semantic, voc_folder: pathlib.Path, tmp: pathlib.Path) -> dict[str, list[tuple[str, bytes]]]:
    """Returns key and serialised record of each example that the pipeline's own transform makes, by split, sorted by record."""
    pairs_by_split = voc.pairs_by_split(voc.find_voc(voc_folder, 2007))
    serialize = made.info.features.serialize_example
    with beam.Pipeline(options=PipelineOptions(IN_MEMORY)) as pipeline:
        for split, pairs in pairs_by_split.items():
            outputs = pipeline | split >> made.encode_examples(split, pairs)
            _ = (
                outputs["examples"]
                | f"Serialise {split}" >> beam.MapTuple(lambda key, example: (key, serialize(example)))
                | f"Gather {split}" >> beam.combiners.ToList()
                | f"Store {split}" >> beam.Map(_store, str(tmp / split))
            )
    read = {split: pickle.loads((tmp / split).read_bytes()) for split in pairs_by_split}
    return {split: sorted(records, key=lambda record: record[1]) for split, records in read.items()}


def _value(record: bytes, key: str) -> list[Any]:
    feature = tf.train.Example.FromString(record).features.feature[key]
    return list(getattr(feature, feature.WhichOneof("kind")).value)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with a miniature of three, two and one pairs."""
    folder = tmp_path_factory.mktemp("small")
    fake_voc.write_fake_voc(folder, split_sizes=SMALL)
    return folder


@pytest.fixture(scope="module")
def prepared(small: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Voc2007Semantic:
    """A builder that has generated the small set from its folder."""
    return _prepare(small, tmp_path_factory.mktemp("prepared"))


def test_importing_the_package_makes_tfds_load_find_the_builder(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    loaded, info = tfds.load("voc2007_semantic", data_dir=tmp_path, builder_kwargs={"source": small}, with_info=True)
    assert {split: len(examples) for split, examples in loaded.items()} == SPLITS
    assert info.name == "voc2007_semantic"
    assert info.features["label"].names == list(features.VOC_CLASSES)
    assert info.supervised_keys == ("image", "label")
    assert "everingham2010pascal" in info.citation


def test_loaded_example_holds_picture_ids_and_scalars(small: pathlib.Path, prepared: Voc2007Semantic) -> None:
    example = next(iter(prepared.as_dataset(split="test").as_numpy_iterator()))
    root = small / "VOCdevkit" / "VOC2007"
    mask = np.asarray(PIL.Image.open(root / "SegmentationClass" / "2007_000005.png"))
    assert set(example) == {
        "image",
        "image/filename",
        "image/height",
        "image/width",
        "label",
        "label/classes",
        "label/void_fraction",
    }
    assert example["image/filename"] == b"2007_000005.jpg"
    assert (example["image"].shape, example["image"].dtype) == ((*mask.shape, 3), np.uint8)
    assert (example["image/height"], example["image/width"]) == mask.shape
    assert example["label"].dtype == np.uint8
    np.testing.assert_array_equal(example["label"][..., 0], mask)
    assert set(example["label/classes"]) == set(np.unique(mask)) - {255}
    assert example["label/void_fraction"] == np.float32((mask == 255).mean())


def test_supervised_pairs_are_image_and_label(prepared: Voc2007Semantic) -> None:
    image, label = next(iter(prepared.as_dataset(split="train", as_supervised=True)))
    assert image.shape[:2] == label.shape[:2]
    assert (image.shape[2], label.shape[2]) == (3, 1)


def test_archives_and_folder_give_the_same_records(
    small: pathlib.Path, prepared: Voc2007Semantic, tmp_path: pathlib.Path
) -> None:
    _write_archives(small / "VOCdevkit" / "VOC2007", tmp_path / "tars")
    from_archives = _prepare(tmp_path / "tars", tmp_path / "data")
    assert _written_records(from_archives) == _written_records(prepared)


def test_archives_are_extracted_once_and_not_beside_themselves(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    _write_archives(small / "VOCdevkit" / "VOC2007", tmp_path / "tars")
    made = Voc2007Semantic(source=tmp_path / "tars", data_dir=tmp_path / "data")
    first = made.pairs_by_split(_downloads(tmp_path / "downloads"))
    assert {split: len(pairs) for split, pairs in first.items()} == SPLITS
    assert sorted(path.name for path in (tmp_path / "tars").iterdir()) == sorted(builder.ARCHIVES)
    [extracted] = (tmp_path / "downloads" / "extracted").iterdir()
    (extracted / "marker").touch()  # Extracting again would replace the folder.
    assert made.pairs_by_split(_downloads(tmp_path / "downloads")) == first
    assert (extracted / "marker").exists()


def test_other_archives_are_not_taken_for_those_that_are_extracted(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    other = fake_voc.write_fake_voc(tmp_path / "other", seed=1, split_sizes=SMALL)
    for name, root in (("one", small / "VOCdevkit" / "VOC2007"), ("two", other)):
        _write_archives(root, tmp_path / name)
        made = Voc2007Semantic(source=tmp_path / name, data_dir=tmp_path / "data")
        pair = made.pairs_by_split(_downloads(tmp_path / "downloads"))["test"][0]
        assert pathlib.Path(pair.image).read_bytes() == (root / "JPEGImages" / f"{pair.key}.jpg").read_bytes()
    assert len(list((tmp_path / "downloads" / "extracted").iterdir())) == 2


def test_transform_of_the_pipeline_gives_the_records_that_tfds_writes(
    small: pathlib.Path, prepared: Voc2007Semantic, tmp_path: pathlib.Path
) -> None:
    own = _own_records(prepared, small, tmp_path)
    assert {split: [record for _, record in records] for split, records in own.items()} == _written_records(prepared)


def test_set_with_an_empty_test_list_has_two_splits(tmp_path: pathlib.Path) -> None:
    fake_voc.write_fake_voc(tmp_path / "source", split_sizes={"train": 1, "val": 1, "test": 0})
    made = _prepare(tmp_path / "source", tmp_path / "data")
    assert {name: split.num_examples for name, split in made.info.splits.items()} == {"train": 1, "validation": 1}


def test_bad_pairs_fail_the_generation_with_an_error_that_lists_them(tmp_path: pathlib.Path) -> None:
    root = fake_voc.write_fake_voc(tmp_path / "source", split_sizes=SMALL)
    (root / "SegmentationClass" / "2007_000000.png").unlink()
    image = root / "JPEGImages" / "2007_000002.jpg"
    image.write_bytes(image.read_bytes()[:-40])
    with pytest.raises(DataError) as error:
        _prepare(tmp_path / "source", tmp_path / "data")
    text = str(error.value)
    assert "2 of 3 listed pairs cannot be used" in text
    assert f"train/2007_000000: {root}/SegmentationClass/2007_000000.png: the mask does not exist" in text
    assert f"train/2007_000002: {image}: the image is damaged" in text


def test_failed_generation_leaves_nothing_that_a_later_load_takes_for_whole(tmp_path: pathlib.Path) -> None:
    root = fake_voc.write_fake_voc(tmp_path / "source", split_sizes=SMALL)
    mask = root / "SegmentationClass" / "2007_000003.png"
    good = mask.read_bytes()
    mask.write_bytes(good[:100])
    with pytest.raises(DataError, match="validation/2007_000003"):
        _prepare(tmp_path / "source", tmp_path / "data")
    assert list((tmp_path / "data").rglob("*.tfrecord*")) == []
    mask.write_bytes(good)
    made = _prepare(tmp_path / "source", tmp_path / "data")
    assert {name: split.num_examples for name, split in made.info.splits.items()} == SPLITS


def test_missing_source_is_an_error_that_can_be_mended(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist"):
        _prepare(tmp_path / "nowhere", tmp_path / "data")


def test_nothing_is_read_before_the_examples_are_generated(tmp_path: pathlib.Path) -> None:
    made = Voc2007Semantic(source=tmp_path / "nowhere", data_dir=tmp_path / "data")
    assert made.info.features["label"].num_classes == 21
    assert made.palette[15] == (192, 128, 128)
    assert len(made.palette) == 21
    assert list(tmp_path.iterdir()) == []


def test_builder_pickles_with_its_source(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    made = Voc2007Semantic(source=small, data_dir=tmp_path)
    restored = pickle.loads(pickle.dumps(made))
    assert isinstance(restored, Voc2007Semantic)
    assert restored.source_digest() == made.source_digest()
    assert restored.data_dir == made.data_dir
    assert restored.pairs_by_split(_downloads(tmp_path)) == made.pairs_by_split(_downloads(tmp_path))


# Digests of the source.


def test_digest_of_a_folder_follows_its_content(tmp_path: pathlib.Path) -> None:
    root = fake_voc.write_fake_voc(tmp_path / "a", split_sizes=SMALL)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    digests = [Voc2007Semantic(source=tmp_path / name, data_dir=tmp_path).source_digest() for name in "ab"]
    assert digests[0] == digests[1]
    with (root / "SegmentationClass" / "2007_000000.png").open("ab") as file:
        file.write(b"x")
    assert Voc2007Semantic(source=tmp_path / "a", data_dir=tmp_path).source_digest() != digests[0]


def test_digest_of_archives_follows_their_bytes(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    _write_archives(small / "VOCdevkit" / "VOC2007", tmp_path / "tars")
    made = Voc2007Semantic(source=tmp_path / "tars", data_dir=tmp_path)
    before = made.source_digest()
    assert made.source_digest() == before
    with (tmp_path / "tars" / builder.ARCHIVES[1]).open("ab") as file:
        file.write(bytes(512))
    assert made.source_digest() != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tars"]  # Nothing was extracted for it.


def test_digest_of_what_would_be_downloaded_needs_no_download(tmp_path: pathlib.Path) -> None:
    digests = {Voc2007Semantic(data_dir=tmp_path).source_digest() for _ in range(2)}
    assert len(digests) == 1
    assert len(digests.pop()) == 64
    assert list(tmp_path.iterdir()) == []


def test_digest_of_a_missing_source_is_an_error_that_can_be_mended(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        Voc2007Semantic(source=tmp_path / "nowhere", data_dir=tmp_path).source_digest()


# The files beside the builder.


def test_checksums_are_those_of_the_official_archives() -> None:
    lines = [line.split("\t") for line in (FOLDER / "checksums.tsv").read_text().splitlines()]
    assert {name: (int(size), checksum) for _, size, checksum, name in lines} == {
        "VOCtrainval_06-Nov-2007.tar": (460_032_000, "7d8cd951101b0957ddfd7a530bdc8a94f06121cfc1e511bb5937e973020c7508"),
        "VOCtest_06-Nov-2007.tar": (451_020_800, "6836888e2e01dca84577a849d339fa4f73e1e4f135d312430c4856b5609b4892"),
    }
    assert all(url.endswith(f"/{name}") for url, _, _, name in lines)


def test_curated_schema_has_the_features_of_the_builder(prepared: Voc2007Semantic) -> None:
    schema = text_format.Parse((FOLDER / "schema.pbtxt").read_text(), schema_pb2.Schema())
    assert {feature.name for feature in schema.feature} == set(prepared.info.features)
    kinds = {"bytes_list": schema_pb2.BYTES, "int64_list": schema_pb2.INT, "float_list": schema_pb2.FLOAT}
    record = tf.train.Example.FromString(_written_records(prepared)["train"][0])
    for feature in schema.feature:
        assert feature.type == kinds[record.features.feature[feature.name].WhichOneof("kind")]


# Real data.


@pytest.fixture(scope="module")
def real(shared_data: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Voc2007Semantic, pathlib.Path]:
    """A builder that has generated the real set, and the folder it came from."""
    source = shared_data / "voc2007"
    return _prepare(source, tmp_path_factory.mktemp("real")), source


def test_real_set_has_209_213_210_examples(real: tuple[Voc2007Semantic, pathlib.Path]) -> None:
    assert {name: split.num_examples for name, split in real[0].info.splits.items()} == {
        "train": 209,
        "validation": 213,
        "test": 210,
    }


def test_real_images_are_the_files_bytes_and_labels_the_masks_indices(real: tuple[Voc2007Semantic, pathlib.Path]) -> None:
    made, source = real
    root = source / "VOCdevkit" / "VOC2007"
    values: set[int] = set()
    for split, records in _written_records(made).items():
        listed = (root / "ImageSets/Segmentation" / f"{'val' if split == 'validation' else split}.txt").read_text().split()
        assert sorted(_value(record, "image/filename")[0].decode() for record in records) == [
            f"{key}.jpg" for key in sorted(listed)
        ]
        for record in records:
            key = pathlib.Path(_value(record, "image/filename")[0].decode()).stem
            assert _value(record, "image") == [(root / "JPEGImages" / f"{key}.jpg").read_bytes()]
            mask = np.asarray(PIL.Image.open(root / "SegmentationClass" / f"{key}.png"))
            np.testing.assert_array_equal(np.asarray(PIL.Image.open(io.BytesIO(_value(record, "label")[0]))), mask)
            assert _value(record, "image/height") + _value(record, "image/width") == list(mask.shape)
            present = np.unique(mask)
            assert _value(record, "label/classes") == present[present != 255].tolist()
            assert _value(record, "label/void_fraction") == [np.float32((mask == 255).mean())]
            values |= set(present.tolist())
    assert values == {*range(21), 255}


def test_real_labels_read_by_tensorflow_are_ids(real: tuple[Voc2007Semantic, pathlib.Path]) -> None:
    values: set[int] = set()
    for label in real[0].as_dataset(split="test").map(lambda example: example["label"]).as_numpy_iterator():
        values |= set(np.unique(label).tolist())
    assert values == {*range(21), 255}


def test_real_transform_of_the_pipeline_gives_the_records_that_tfds_writes_keyed_by_image_id(
    real: tuple[Voc2007Semantic, pathlib.Path], tmp_path: pathlib.Path
) -> None:
    made, source = real
    own = _own_records(made, source, tmp_path)
    assert {split: [record for _, record in records] for split, records in own.items()} == _written_records(made)
    for records in own.values():
        assert all(_value(record, "image/filename") == [f"{key}.jpg".encode()] for key, record in records)
