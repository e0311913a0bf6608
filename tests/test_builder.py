"""The builders: the built-in sets and a user's own, from folders, archives, spans and a store; tfds and the pipeline agree."""

import dataclasses
import errno
import io
import os
import pathlib
import pickle
import shutil
import tarfile
import tempfile
import types
import typing
from collections.abc import Iterator
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

import pipeline_config
from components import features
from components.datasets import digests, fake_voc, layout, registry, schema, spec, voc2007, voc2012
from components.datasets.builder import CustomSemantic, SegmentationBuilder, make_builder, make_download_manager
from components.datasets.generate import generate
from components.datasets.spec import DatasetSpec, MaskEncoding
from components.datasets.voc2007 import Voc2007Semantic
from components.datasets.voc2012 import Voc2012Semantic
from components.errors import DataError
from components.example_gen import write_splits

PACKAGES = pathlib.Path(registry.__file__).parent
VOC = Voc2007Semantic.SPEC
SMALL = {"train": 3, "val": 2, "test": 1}
SPLITS = {"train": 3, "validation": 2, "test": 1}
KEYS = [f"2007_{number:06d}" for number in range(6)]
Records = dict[str, list[bytes]]


def _write_archives(root: pathlib.Path, folder: pathlib.Path, made: type[SegmentationBuilder] = Voc2007Semantic) -> None:
    """Packs a VOC2007 folder as the official archives are packed: 2007 has one with test and its list, 2012 none."""
    folder.mkdir(parents=True, exist_ok=True)
    for archive, names in zip(made.ARCHIVES, (("train", "val"), ("test",)), strict=False):
        with tarfile.open(folder / archive, "w") as tar:
            for name in names:
                path = root / "ImageSets/Segmentation" / f"{name}.txt"
                tar.add(path, f"{made.SPEC.layout.root}/ImageSets/Segmentation/{name}.txt")
                for key in path.read_text().split():
                    for part in (f"JPEGImages/{key}.jpg", f"SegmentationClass/{key}.png"):
                        tar.add(root / part, f"{made.SPEC.layout.root}/{part}")


class _OnArchives(tfds.testing.DatasetBuilderTestCase):
    """TensorFlow Datasets' own checks of a builder, here on archives that are made from the miniature."""

    @classmethod
    def setUpClass(cls) -> None:
        """Makes the archives that the builder believes to have downloaded."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix="voc_archives_"))
        cls.addClassCleanup(shutil.rmtree, folder)
        _write_archives(fake_voc.write_fake_voc(folder / "made_from", split_sizes=SMALL), folder, cls.DATASET_CLASS)
        cls.EXAMPLE_DIR = str(folder)
        super().setUpClass()

    def test_session(self, *args: object, **kwargs: object) -> object:
        """Is no test but a method of TensorFlow's base class; as a test it would be counted as skipped."""
        return super().test_session(*args, **kwargs)

    test_session.__test__ = False  # type: ignore[attr-defined]


class TestVoc2007SemanticOnArchives(_OnArchives):
    DATASET_CLASS = Voc2007Semantic
    SPLITS: typing.ClassVar = SPLITS
    DL_DOWNLOAD_RESULT: typing.ClassVar = {name: name for name in Voc2007Semantic.ARCHIVES}


class TestVoc2012SemanticOnArchives(_OnArchives):
    DATASET_CLASS = Voc2012Semantic
    SPLITS: typing.ClassVar = {"train": 3, "validation": 2}
    DL_DOWNLOAD_RESULT: typing.ClassVar = {name: name for name in Voc2012Semantic.ARCHIVES}


del _OnArchives  # Else it is collected as a test itself.


def _prepare(source: pathlib.Path, data_dir: pathlib.Path, **changes: Any) -> Voc2007Semantic:
    made = Voc2007Semantic(source=source, data_dir=data_dir, **changes)
    made.download_and_prepare()
    return made


def _downloads(folder: pathlib.Path) -> tfds.download.DownloadManager:
    """Returns what the builder asks of a download manager where it has a source: the place for what it extracts."""
    return typing.cast(tfds.download.DownloadManager, types.SimpleNamespace(download_dir=folder))


def _written_records(made: SegmentationBuilder) -> Records:
    """Returns the serialised records in the TFRecords that tfds wrote, by split, sorted."""
    records = {}
    for split in made.info.splits:
        files = [str(path) for path in made.info.splits[split].filepaths]
        records[split] = sorted(tf.data.TFRecordDataset(files).as_numpy_iterator())
    return records


def _pipeline() -> beam.Pipeline:
    return beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner", "--direct_running_mode=in_memory"]))


def _own_records(made: SegmentationBuilder, folder: pathlib.Path) -> Records:
    """Returns the serialised records that the pipeline's own job makes, by split, sorted."""
    folder.mkdir()
    pairs = made.pairs_by_split(make_download_manager(made, str(folder)))

    def write(examples: beam.PCollection) -> None:
        write_splits(examples, {split: str(folder / split) for split in pairs}, made.info.features.serialize_example)

    found = generate(_pipeline, made.spec, pairs, str(folder / "work"), write)
    assert found.quarantined == []
    files = {split: [str(path) for path in (folder / split).iterdir()] for split in pairs}
    return {split: sorted(tf.data.TFRecordDataset(paths, "GZIP").as_numpy_iterator()) for split, paths in files.items()}


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


@pytest.fixture
def copy(small: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """The small set, to be changed; the folder VOC2007."""
    shutil.copytree(small, tmp_path / "copy")
    return tmp_path / "copy" / "VOCdevkit" / "VOC2007"


# The built-in sets.


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_built_in_set_is_a_package_whose_builder_is_registered_under_its_name(name: str, tmp_path: pathlib.Path) -> None:
    described = registry.built_in(name)
    assert described.name == name
    assert f"{name}_semantic" in tfds.list_builders()
    made = make_builder(described, "/nowhere", "newest", str(tmp_path))
    assert (type(made), made.name) == (tfds.builder_cls(f"{name}_semantic"), f"{name}_semantic")
    assert type(made).__module__ == f"components.datasets.{name}.builder"
    assert made.spec == described
    assert made.info.features["label"].names == list(described.classes)
    assert list(tmp_path.iterdir()) == []  # Nothing is read or written before the examples are generated.


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_built_in_set_has_its_own_texts(name: str, tmp_path: pathlib.Path) -> None:
    made = make_builder(registry.built_in(name), "", "newest", str(tmp_path))
    readme, citations = ((PACKAGES / name / file).read_text().strip() for file in ("README.md", "CITATIONS.bib"))
    assert made.info.description.split() == readme.split()
    assert made.info.citation.split() == citations.split()
    assert len(readme) > 200 and citations.startswith("@")
    assert str(made.info.homepage).startswith("http")
    others = [other for other in registry.BUILT_IN if other != name]
    assert readme not in [(PACKAGES / other / "README.md").read_text().strip() for other in others]


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_built_in_set_has_the_schema_of_its_classes(name: str) -> None:
    described = registry.built_in(name)
    text = (PACKAGES / name / "schema.pbtxt").read_text()
    assert registry.schema_text(f"{name}_semantic", described) == text == schema.schema_text(len(described.classes))


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_built_in_description_finds_its_builder_after_every_way_it_travels(name: str, tmp_path: pathlib.Path) -> None:
    described = registry.built_in(name)
    (tmp_path / "a.toml").write_text(spec.to_toml(described))
    travelled = [spec.from_json(pipeline_config.to_json(described)), spec.read_spec(str(tmp_path / "a.toml"))]
    assert travelled == [described, described]
    assert [registry.builder_of(one) for one in travelled] == [f"{name}_semantic"] * 2


@pytest.mark.parametrize(
    "changes",
    [{"leaks": "drop_from_train"}, {"classes": (*VOC.classes[:-1], "screen")}, {"mask": MaskEncoding(rest="void")}],
    ids=str,
)
def test_changed_description_under_a_built_in_name_is_the_users_own(changes: dict[str, Any], tmp_path: pathlib.Path) -> None:
    """Else another leaks or rest would silently not count."""
    changed = dataclasses.replace(VOC, **changes)
    assert registry.builder_of(changed) == registry.CUSTOM
    made = make_builder(changed, "/nowhere", "newest", str(tmp_path))
    assert (type(made), made.spec) == (CustomSemantic, changed)


def test_every_package_with_a_builder_is_listed() -> None:
    assert {path.parent.name for path in PACKAGES.glob("*/builder.py")} == set(registry.BUILT_IN)


def test_unknown_names_are_refused_with_those_that_exist() -> None:
    with pytest.raises(DataError, match="no built-in data set 'voc2008'; there are voc2007, voc2012, camvid"):
        registry.built_in("voc2008")
    with pytest.raises(DataError, match="no data set builder 'voc2008_semantic'; there are voc2007_semantic.*custom_semantic"):
        registry.module_of("voc2008_semantic")


def test_schema_of_a_users_own_set_is_derived() -> None:
    described = DatasetSpec(name="voc2007", classes=("a", "b"))
    derived = text_format.Parse(registry.schema_text(registry.builder_of(described), described), schema_pb2.Schema())
    assert derived == schema.make_schema(2)


def test_checksums_are_those_of_the_official_archives() -> None:
    found = {}
    for package in (voc2007, voc2012):
        path = pathlib.Path(package.__file__).parent / "checksums.tsv"
        lines = [line.split("\t") for line in path.read_text().splitlines()]
        assert all(url.endswith(f"/{name}") for url, _, _, name in lines)
        found |= {name: (int(size), checksum) for _, size, checksum, name in lines}
    assert found == {
        "VOCtrainval_06-Nov-2007.tar": (460_032_000, "7d8cd951101b0957ddfd7a530bdc8a94f06121cfc1e511bb5937e973020c7508"),
        "VOCtest_06-Nov-2007.tar": (451_020_800, "6836888e2e01dca84577a849d339fa4f73e1e4f135d312430c4856b5609b4892"),
        "VOCtrainval_11-May-2012.tar": (1_999_639_040, "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb"),
    }
    assert set(found) == {*Voc2007Semantic.ARCHIVES, *Voc2012Semantic.ARCHIVES}


@pytest.mark.parametrize("made", [Voc2007Semantic, Voc2012Semantic], ids=lambda made: made.SPEC.name)
def test_every_archive_that_is_downloaded_has_a_checksum(made: type[SegmentationBuilder], tmp_path: pathlib.Path) -> None:
    urls = {f"{made.HOST}/{name}" for name in made.ARCHIVES}
    assert urls <= set(made(data_dir=tmp_path).url_infos)


def test_curated_schema_has_the_types_that_the_records_have(prepared: Voc2007Semantic) -> None:
    committed = text_format.Parse(registry.schema_text("voc2007_semantic", VOC), schema_pb2.Schema())
    assert {feature.name for feature in committed.feature} == set(prepared.info.features)
    kinds = {"bytes_list": schema_pb2.BYTES, "int64_list": schema_pb2.INT, "float_list": schema_pb2.FLOAT}
    record = tf.train.Example.FromString(_written_records(prepared)["train"][0])
    for feature in committed.feature:
        assert feature.type == kinds[record.features.feature[feature.name].WhichOneof("kind")]


# As tfds sees it.


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


def test_transform_of_the_pipeline_gives_the_records_that_tfds_writes(
    prepared: Voc2007Semantic, tmp_path: pathlib.Path
) -> None:
    assert _own_records(prepared, tmp_path / "own") == _written_records(prepared)


def test_set_with_an_empty_test_list_has_two_splits(tmp_path: pathlib.Path) -> None:
    fake_voc.write_fake_voc(tmp_path / "source", split_sizes={"train": 1, "val": 1, "test": 0})
    made = _prepare(tmp_path / "source", tmp_path / "data")
    assert {name: split.num_examples for name, split in made.info.splits.items()} == {"train": 1, "validation": 1}


def test_bad_pairs_fail_the_generation_with_an_error_that_lists_them(copy: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (copy / "SegmentationClass" / "2007_000000.png").unlink()
    image = copy / "JPEGImages" / "2007_000002.jpg"
    image.write_bytes(image.read_bytes()[:-40])
    with pytest.raises(DataError) as error:
        _prepare(tmp_path / "copy", tmp_path / "data")
    text = str(error.value)
    assert "2 of 3 listed pairs cannot be used" in text
    assert f"train/2007_000000: {copy}/SegmentationClass/2007_000000.png: the mask does not exist" in text
    assert f"train/2007_000002: {image}: the image is damaged" in text


def test_failed_generation_leaves_nothing_that_a_later_load_takes_for_whole(copy: pathlib.Path, tmp_path: pathlib.Path) -> None:
    mask = copy / "SegmentationClass" / "2007_000003.png"
    good = mask.read_bytes()
    mask.write_bytes(good[:100])
    with pytest.raises(DataError, match="validation/2007_000003"):
        _prepare(tmp_path / "copy", tmp_path / "data")
    assert list((tmp_path / "data").rglob("*.tfrecord*")) == []
    mask.write_bytes(good)
    made = _prepare(tmp_path / "copy", tmp_path / "data")
    assert {name: split.num_examples for name, split in made.info.splits.items()} == SPLITS


def test_missing_source_is_an_error_that_can_be_mended(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist"):
        _prepare(tmp_path / "nowhere", tmp_path / "data")


def test_builder_pickles_with_its_source(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    made = Voc2007Semantic(source=small, span="last:2", digests=str(tmp_path / "digests"), data_dir=tmp_path)
    restored = pickle.loads(pickle.dumps(made))
    assert isinstance(restored, Voc2007Semantic)
    assert (restored._source, restored._span, restored._digests) == (made._source, "last:2", str(tmp_path / "digests"))
    assert restored.source_digest() == made.source_digest()
    assert restored.data_dir == made.data_dir
    assert restored.pairs_by_split(_downloads(tmp_path)) == made.pairs_by_split(_downloads(tmp_path))


def _edit_list(root: pathlib.Path, split: str, keys: list[str]) -> None:
    (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("".join(f"{key}\n" for key in keys))


def test_tfds_refuses_a_picture_that_stands_in_two_lists(copy: pathlib.Path, tmp_path: pathlib.Path) -> None:
    _edit_list(copy, "test", ["2007_000005", "2007_000001"])
    with pytest.raises(DataError, match=r"(?s)train/2007_000001 .* = test/2007_000001 .*drop_from_train"):
        _prepare(tmp_path / "copy", tmp_path / "data")


def test_tfds_leaves_it_out_of_train_where_the_description_says_so(copy: pathlib.Path, tmp_path: pathlib.Path) -> None:
    _edit_list(copy, "test", ["2007_000005", "2007_000001"])
    dropping = dataclasses.replace(VOC, leaks="drop_from_train")
    made = CustomSemantic(spec=dropping, source=tmp_path / "copy", data_dir=tmp_path / "data")
    made.download_and_prepare()
    assert {name: split.num_examples for name, split in made.info.splits.items()} == {"train": 2, "validation": 2, "test": 2}
    names = [_value(record, "image/filename") for record in _written_records(made)["train"]]
    assert sorted(names) == [[b"2007_000000.jpg"], [b"2007_000002.jpg"]]
    _edit_list(copy, "test", ["2007_000005", "2007_000003"])
    with pytest.raises(DataError, match=r"validation/2007_000003 .* = test/2007_000003 ") as error:
        CustomSemantic(spec=dropping, source=tmp_path / "copy", data_dir=tmp_path / "more").download_and_prepare()
    assert "drop_from_train" not in str(error.value)


# A user's own set.

OWN = DatasetSpec(name="own", classes=("ground", "leaf"), mask=MaskEncoding(encoding="ids", void_ids=(255,)))


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Twelve PNGs in two folders; the third pixel of each mask is of class 2."""
    folder = tmp_path_factory.mktemp("own")
    for part in ("images", "masks"):
        (folder / part).mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        PIL.Image.fromarray(rng.integers(0, 256, (4, 6, 3)).astype(np.uint8)).save(folder / f"images/{number}.png")
        ids = np.zeros((4, 6), np.uint8)
        ids[0, 1:3] = 1, 2
        PIL.Image.fromarray(ids).save(folder / f"masks/{number}.png")
    return folder


def _custom(described: DatasetSpec, folder: pathlib.Path, data_dir: pathlib.Path) -> tfds.core.DatasetBuilder:
    return tfds.builder("custom_semantic", spec=described, source=folder, data_dir=data_dir)


def test_users_own_set_is_prepared_by_its_description_and_by_no_other(own_folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Also not by another one of the same name: a user who edits the file must not get the examples from before."""
    three = dataclasses.replace(OWN, classes=("ground", "leaf", "stone"))
    void = dataclasses.replace(OWN, mask=dataclasses.replace(OWN.mask, rest="void"))
    made = [_custom(described, own_folder, tmp_path) for described in (three, void, dataclasses.replace(three, name="other"))]
    made[0].download_and_prepare()
    assert {name: split.num_examples for name, split in made[0].info.splits.items()} == {
        "train": 10,
        "validation": 1,
        "test": 1,
    }
    assert made[0].info.features["label"].names == ["ground", "leaf", "stone"]
    assert "own" in made[0].info.description
    for example in made[0].as_dataset(split="train").as_numpy_iterator():
        assert example["label/classes"].tolist() == [0, 1, 2]
        assert example["label"][0, :4, 0].tolist() == [0, 1, 2, 0]
    assert [one.data_path.exists() for one in made] == [True, False, False]
    assert _custom(three, own_folder, tmp_path).info.splits["train"].num_examples == 10  # Found, not made anew.
    made[1].download_and_prepare()
    example = next(iter(made[1].as_dataset(split="test").as_numpy_iterator()))
    assert example["label"][0, :4, 0].tolist() == [0, 1, 255, 0]


def test_users_own_builder_pickles(own_folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    made = _custom(OWN, own_folder, tmp_path)
    restored = pickle.loads(pickle.dumps(made))
    assert restored.spec == OWN
    assert restored.data_path == made.data_path
    assert restored.source_digest() == made.source_digest()
    assert restored.pairs_by_split(_downloads(tmp_path)) == made.pairs_by_split(_downloads(tmp_path))
    assert pickle.loads(pickle.dumps(restored)).spec == OWN


def test_users_own_set_without_a_folder_cannot_be_downloaded(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match=r"own cannot be downloaded\. Give --data a folder"):
        make_builder(OWN, "", "newest", str(tmp_path)).pairs_by_split(_downloads(tmp_path))


def test_download_that_fails_is_an_error_with_the_remedy(tmp_path: pathlib.Path) -> None:
    class _Offline:
        def download(self, urls: dict[str, str]) -> None:
            assert set(urls) == set(Voc2007Semantic.ARCHIVES)
            raise ConnectionError("no route to host")

    made = make_builder(VOC, "", "newest", str(tmp_path))
    with pytest.raises(
        DataError, match=r"ConnectionError: no route to host\n.*give --data a folder that holds VOCdevkit/VOC2007"
    ):
        made.pairs_by_split(typing.cast(tfds.download.DownloadManager, _Offline()))


def test_download_that_fills_the_disk_is_not_told_as_one_that_fails(tmp_path: pathlib.Path) -> None:
    class _Full:
        def download(self, urls: dict[str, str]) -> None:
            raise tf.errors.ResourceExhaustedError(None, None, "/data/a.tar; No space left on device")

    made = make_builder(VOC, "", "newest", str(tmp_path))
    with pytest.raises(OSError, match="No space left on device") as raised:
        made.pairs_by_split(typing.cast(tfds.download.DownloadManager, _Full()))
    assert raised.value.errno == errno.ENOSPC


def test_marks_in_lists_are_told_and_archives_have_none(copy: pathlib.Path, tmp_path: pathlib.Path) -> None:
    made = make_builder(VOC, str(tmp_path / "copy"), "newest", str(tmp_path))
    assert made.describe_oddities() == []
    path = copy / "ImageSets" / "Segmentation" / "val.txt"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert made.describe_oddities() == [f"{path}: CRLF line ends"]
    _write_archives(copy, tmp_path / "tars")
    assert make_builder(VOC, str(tmp_path / "tars"), "newest", str(tmp_path)).describe_oddities() == []
    assert make_builder(VOC, "", "newest", str(tmp_path)).describe_oddities() == []


# Archives.


@pytest.mark.parametrize("made", [Voc2007Semantic, Voc2012Semantic], ids=lambda made: made.SPEC.name)
def test_archives_give_the_pairs_of_the_folder_they_were_made_from(
    small: pathlib.Path, tmp_path: pathlib.Path, made: type[SegmentationBuilder]
) -> None:
    _write_archives(small / "VOCdevkit" / "VOC2007", tmp_path / "tars", made)
    expected = layout.list_pairs(str(small), VOC)
    if made is Voc2012Semantic:
        del expected["test"]
    one = make_builder(made.SPEC, str(tmp_path / "tars"), "newest", str(tmp_path / "work"))
    found = one.pairs_by_split(make_download_manager(one, str(tmp_path / "work")))
    assert {split: [pair.key for pair in pairs] for split, pairs in found.items()} == {
        split: [pair.key for pair in pairs] for split, pairs in expected.items()
    }
    for split, pairs in found.items():
        for pair, original in zip(pairs, expected[split], strict=True):
            assert f"{made.SPEC.layout.root}/JPEGImages/" in pair.image
            assert pathlib.Path(pair.image).read_bytes() == pathlib.Path(original.image).read_bytes()
            assert pathlib.Path(pair.mask).read_bytes() == pathlib.Path(original.mask).read_bytes()
            assert pair.image.startswith(pair.folder)


def test_archives_are_extracted_once_and_not_beside_themselves(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    _write_archives(small / "VOCdevkit" / "VOC2007", tmp_path / "tars")
    made = Voc2007Semantic(source=tmp_path / "tars", data_dir=tmp_path / "data")
    first = made.pairs_by_split(_downloads(tmp_path / "downloads"))
    assert {split: len(pairs) for split, pairs in first.items()} == SPLITS
    assert sorted(path.name for path in (tmp_path / "tars").iterdir()) == sorted(Voc2007Semantic.ARCHIVES)
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


def test_one_archive_of_two_is_refused(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    _write_archives(small / "VOCdevkit" / "VOC2007", tmp_path / "tars")
    (tmp_path / "tars" / Voc2007Semantic.ARCHIVES[1]).unlink()
    made = Voc2007Semantic(source=tmp_path / "tars", data_dir=tmp_path)
    for ask in (made.source_digest, lambda: made.pairs_by_split(_downloads(tmp_path))):
        with pytest.raises(DataError, match=r"but not VOCtest_06-Nov-2007\.tar"):
            ask()


def test_extracted_folder_wins_over_archives_beside_it(copy: pathlib.Path, tmp_path: pathlib.Path) -> None:
    before = Voc2007Semantic(source=tmp_path / "copy", data_dir=tmp_path).source_digest()
    (tmp_path / "copy" / Voc2007Semantic.ARCHIVES[0]).write_bytes(b"not even an archive")
    assert Voc2007Semantic(source=tmp_path / "copy", data_dir=tmp_path).source_digest() == before


def test_archives_win_over_a_folder_that_lacks_a_list(small: pathlib.Path, copy: pathlib.Path, tmp_path: pathlib.Path) -> None:
    _write_archives(small / "VOCdevkit" / "VOC2007", tmp_path / "copy")
    (copy / "ImageSets" / "Segmentation" / "test.txt").unlink()
    made = Voc2007Semantic(source=tmp_path / "copy", data_dir=tmp_path)
    found = made.pairs_by_split(_downloads(tmp_path / "downloads"))
    assert {split: len(pairs) for split, pairs in found.items()} == SPLITS
    assert found["train"][0].image.startswith(str(tmp_path / "downloads"))


# Digests of the source.


def _digest(folder: pathlib.Path | str, described: DatasetSpec = VOC, span: str = "newest") -> str:
    """Returns the digest without a cache."""
    if registry.builder_of(described) == registry.CUSTOM:
        return CustomSemantic(spec=described, source=str(folder), span=span, data_dir="/nowhere").source_digest()
    return Voc2007Semantic(source=str(folder), span=span, data_dir="/nowhere").source_digest()


def test_digest_is_the_same_wherever_the_set_lies(small: pathlib.Path, copy: pathlib.Path) -> None:
    assert _digest(copy) == _digest(copy.parent) == _digest(small)
    assert len(_digest(small)) == 64


@pytest.mark.parametrize("part", ["JPEGImages/2007_000004.jpg", "SegmentationClass/2007_000004.png"])
def test_digest_changes_with_one_byte_of_one_file(copy: pathlib.Path, part: str) -> None:
    before = _digest(copy)
    content = (copy / part).read_bytes()
    (copy / part).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert _digest(copy) != before
    (copy / part).write_bytes(content)
    assert _digest(copy) == before


def test_digest_changes_when_a_pair_moves_to_another_split(copy: pathlib.Path) -> None:
    """More edits of that kind are in test_layout.py."""
    before = _digest(copy)
    _edit_list(copy, "train", KEYS[:2])
    _edit_list(copy, "val", KEYS[2:5])  # The files in their order are what they were.
    assert _digest(copy) != before


def test_digest_changes_with_a_second_picture_of_one_name_which_is_a_fault(copy: pathlib.Path) -> None:
    before = _digest(copy)
    (copy / "JPEGImages" / f"{KEYS[0]}.png").write_bytes(b"x")
    assert _digest(copy) != before


def test_digest_does_not_change_with_time_stamps_unlisted_files_or_line_ends(copy: pathlib.Path) -> None:
    before = _digest(copy)
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
    (copy / "JPEGImages" / "unlisted.jpg").write_bytes(b"x")
    _edit_list(copy, "trainval", KEYS[:5])
    (copy / "ImageSets" / "Segmentation" / "train.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n".join(KEYS[:3]).encode())
    assert _digest(copy) == before


def test_digest_takes_names_that_are_no_utf8(own_folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    shutil.copytree(own_folder, tmp_path / "own")
    before = _digest(tmp_path / "own", OWN)
    shutil.copy(own_folder / "images" / "0.png", os.fsencode(tmp_path / "own" / "images") + b"/B\xe4ume.png")
    assert _digest(tmp_path / "own", OWN) != before


def test_digest_is_made_from_the_cache_where_nothing_changed(
    copy: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    for path in copy.rglob("*"):
        os.utime(path, (1e9, 1e9))  # Not just now: what may still change is not remembered.

    def digest() -> str:
        return make_builder(VOC, str(tmp_path / "copy"), "newest", str(work)).source_digest()

    reads: list[str] = []
    real = digests._sha256

    def counting(file: typing.BinaryIO) -> str:
        reads.append(file.name)
        return real(file)

    monkeypatch.setattr(digests, "_sha256", counting)
    first = digest()
    assert len(reads) == 12  # Six pairs.
    assert (work / digests.DIGESTS_FILE).exists()
    assert (digest(), len(reads)) == (first, 12)
    mask = copy / "SegmentationClass" / f"{KEYS[0]}.png"
    os.utime(mask, (2e9, 2e9))
    os.utime(mask, (1.5e9, 1.5e9))
    assert (digest(), len(reads)) == (first, 13)  # Touched: read once more, the same.
    mask.write_bytes(mask.read_bytes() + b"x")
    os.utime(mask, (1.6e9, 1.6e9))
    assert digest() != first
    assert reads[13:] == [str(mask)]
    (work / digests.DIGESTS_FILE).unlink()
    assert digest() == _digest(copy)
    assert len(reads) == 14 + 12 + 12


def test_digest_of_archives_follows_their_bytes(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    _write_archives(small / "VOCdevkit" / "VOC2007", tmp_path / "tars")
    before = _digest(tmp_path / "tars")
    assert _digest(tmp_path / "tars") == before
    with (tmp_path / "tars" / Voc2007Semantic.ARCHIVES[1]).open("ab") as file:
        file.write(bytes(512))
    assert _digest(tmp_path / "tars") != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tars"]  # Nothing was extracted for it.


def test_digest_of_what_would_be_downloaded_needs_no_download(tmp_path: pathlib.Path) -> None:
    found = {made(data_dir=tmp_path).source_digest() for made in (Voc2007Semantic, Voc2012Semantic) for _ in range(2)}
    assert len(found) == 2  # One a year.
    assert {len(digest) for digest in found} == {64}
    assert list(tmp_path.iterdir()) == []


def test_digest_of_a_missing_source_is_an_error_that_can_be_mended(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        _digest(tmp_path / "nowhere")


# Spans.


@pytest.fixture(scope="module")
def spanned(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three portions with the same ids and other pictures: span-1, span-2 and span-10; the pattern."""
    folder = tmp_path_factory.mktemp("spanned")
    for number in (1, 2, 10):
        fake_voc.write_fake_voc(folder / f"span-{number}", seed=number, split_sizes=SMALL)
    return str(folder / "span-{SPAN}")


def _keys(source: str, span: str, tmp: pathlib.Path) -> dict[str, list[str]]:
    made = make_builder(VOC, source, span, str(tmp))
    return {split: [pair.key for pair in pairs] for split, pairs in made.pairs_by_split(_downloads(tmp)).items()}


@pytest.mark.parametrize(
    ("choice", "numbers"), [("newest", [10]), ("last:2", [2, 10]), ("1-2", [1, 2]), ("2", [2]), ("last:9", [1, 2, 10])]
)
def test_chosen_spans_are_joined_and_their_keys_told_apart(
    spanned: str, tmp_path: pathlib.Path, choice: str, numbers: list[int]
) -> None:
    expected = {"train": KEYS[:3], "validation": KEYS[3:5], "test": KEYS[5:]}
    assert _keys(spanned, choice, tmp_path) == {
        split: [f"span-{number}/{key}" for number in numbers for key in keys] for split, keys in expected.items()
    }


def test_span_without_a_test_list_adds_to_the_other_splits(tmp_path: pathlib.Path) -> None:
    for number, sizes in enumerate(({"train": 2, "val": 1, "test": 0}, SMALL)):
        fake_voc.write_fake_voc(tmp_path / "data" / str(number), seed=number, split_sizes=sizes)
    found = _keys(str(tmp_path / "data" / "{SPAN}"), "last:2", tmp_path)
    assert {split: len(keys) for split, keys in found.items()} == {"train": 5, "validation": 3, "test": 1}
    assert list(found) == ["train", "validation", "test"]


def test_pair_of_a_span_may_not_leave_the_span(spanned: str, tmp_path: pathlib.Path) -> None:
    made = make_builder(VOC, spanned, "1", str(tmp_path))
    pair = made.pairs_by_split(_downloads(tmp_path))["train"][0]
    assert pair.folder == os.path.realpath(spanned.replace("{SPAN}", "1"))


def test_digest_of_spans_follows_the_choice_and_their_content(spanned: str, tmp_path: pathlib.Path) -> None:
    found = {choice: _digest(spanned, span=choice) for choice in ("newest", "10", "last:2", "1-2", "1")}
    assert found["newest"] == found["10"]
    assert len(set(found.values())) == 4
    shutil.copytree(pathlib.Path(spanned).parent, tmp_path / "more")
    more = str(tmp_path / "more" / "span-{SPAN}")
    assert _digest(more) == found["newest"]
    shutil.copytree(tmp_path / "more" / "span-10", tmp_path / "more" / "span-11")
    assert _digest(more, span="10") == found["newest"]
    assert _digest(more) != found["newest"]  # The same content as another span has other keys.


def test_choice_of_spans_without_any_is_refused(spanned: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="there is none. There are: 1, 2, 10"):
        _keys(spanned, "5-7", tmp_path)


def test_records_of_two_spans_have_all_pictures_and_their_keys_as_names(spanned: str, tmp_path: pathlib.Path) -> None:
    made = make_builder(VOC, spanned, "last:2", str(tmp_path / "work"))
    records = _own_records(made, tmp_path / "own")
    names = [_value(record, "image/filename")[0].decode() for record in records["validation"]]
    assert sorted(names) == sorted(f"span-{number}/{key}.jpg" for number in (2, 10) for key in KEYS[3:5])
    made.download_and_prepare()
    assert _written_records(made) == records


# A store that is no local disk.


@pytest.fixture
def store(small: pathlib.Path, tmp_path: pathlib.Path) -> Iterator[str]:
    """The small set in TensorFlow's memory, which open(), os and pathlib do not know; its address."""
    address = f"ram://builder-{os.getpid()}-{tmp_path.name}"
    _upload(small, f"{address}/span-3")
    yield address
    tf.io.gfile.rmtree(address)


def _upload(folder: pathlib.Path, address: str) -> None:
    for path in sorted(folder.rglob("*")):
        target = f"{address}/{path.relative_to(folder)}"
        if path.is_dir():
            tf.io.gfile.makedirs(target)
        else:
            with tf.io.gfile.GFile(target, "wb") as file:
                file.write(path.read_bytes())


@pytest.mark.parametrize("pattern", ["span-3", "span-{SPAN}"])
def test_set_in_a_store_gives_the_records_of_the_folder(
    store: str, prepared: Voc2007Semantic, tmp_path: pathlib.Path, pattern: str
) -> None:
    """Nothing on the way in may use open(): from the lists over the digest to the examples."""
    made = make_builder(VOC, f"{store}/{pattern}", "newest", str(tmp_path / "work"))
    assert made.describe_oddities() == []
    records = _own_records(made, tmp_path / "own")
    expected = _written_records(prepared)
    if pattern == "span-3":
        assert records == expected
        assert made.source_digest() == prepared.source_digest()
    else:
        assert [_value(record, "image/filename") for record in records["test"]] == [[b"span-3/2007_000005.jpg"]]
        assert sorted(_value(record, "label") for record in records["train"]) == sorted(
            _value(record, "label") for record in expected["train"]
        )


def test_digest_in_a_store_follows_the_content(store: str, tmp_path: pathlib.Path) -> None:
    source = f"{store}/span-3"
    before = _digest(source)
    mask = f"{source}/VOCdevkit/VOC2007/SegmentationClass/{KEYS[0]}.png"
    with tf.io.gfile.GFile(mask, "rb") as file:
        content = file.read()
    tf.io.gfile.remove(mask)  # ram:// appends to a file that is there.
    gone = _digest(source)
    with tf.io.gfile.GFile(mask, "wb") as file:
        file.write(content + b"x")
    assert len({before, gone, _digest(source)}) == 3


def test_users_own_set_in_a_store_without_lists_is_read(
    own_folder: pathlib.Path, tmp_path: pathlib.Path, request: pytest.FixtureRequest
) -> None:
    address = f"ram://builder-own-{os.getpid()}"
    request.addfinalizer(lambda: tf.io.gfile.rmtree(address))
    _upload(own_folder, address)
    three = dataclasses.replace(OWN, classes=("ground", "leaf", "stone"))
    remote, local = (make_builder(three, source, "newest", str(tmp_path)) for source in (address, str(own_folder)))
    assert remote.source_digest() == local.source_digest()

    def keys(made: SegmentationBuilder) -> dict[str, list[str]]:
        return {split: [pair.key for pair in pairs] for split, pairs in made.pairs_by_split(_downloads(tmp_path)).items()}

    assert keys(remote) == keys(local)  # The seed divides them alike.


def test_missing_address_is_an_error_that_can_be_mended(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="The data folder ram://nowhere/x does not exist"):
        _digest("ram://nowhere/x")


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


def test_real_transform_of_the_pipeline_gives_the_records_that_tfds_writes(
    real: tuple[Voc2007Semantic, pathlib.Path], tmp_path: pathlib.Path
) -> None:
    assert _own_records(real[0], tmp_path / "own") == _written_records(real[0])


def test_real_lists_with_ids_in_two_splits_are_refused_and_dropped_from_train(
    shared_data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    described = dataclasses.replace(VOC, name="farmland", classes=("background", "field"))
    with pytest.raises(DataError, match=r"in all\); a score on them measures memory"):
        CustomSemantic(spec=described, source=shared_data / "farmland", data_dir=tmp_path).download_and_prepare()
    dropping = dataclasses.replace(described, leaks="drop_from_train")
    made = CustomSemantic(spec=dropping, source=shared_data / "farmland", data_dir=tmp_path)
    made.download_and_prepare()
    assert {name: split.num_examples for name, split in made.info.splits.items()} == {"train": 6, "validation": 4}


@pytest.mark.parametrize("name", [name for name in registry.BUILT_IN if not name.startswith("voc")])
def test_set_that_cannot_be_downloaded_says_so_before_anything_else(name: str, tmp_path: pathlib.Path) -> None:
    made = make_builder(registry.built_in(name), "", "newest", str(tmp_path))
    with pytest.raises(DataError, match=rf"The data set {name} cannot be downloaded. Give --data a folder"):
        made.source_digest()
    with pytest.raises(DataError, match=r"cannot be downloaded"):
        made.pairs_by_split(make_download_manager(made, str(tmp_path)))
