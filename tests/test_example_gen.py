"""ExampleGen for real: the component's own executor and driver, with Beam, on miniature sets."""

import collections
import gzip
import io
import json
import os
import pathlib
import shutil
import tarfile
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from tfx.dsl.components.base import base_beam_executor
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.portable import data_types
from tfx.types import artifact_utils, standard_artifacts

from components import features
from components.datasets.examples import Quarantined
from components.datasets.fake_voc import write_fake_voc
from components.datasets.voc2007.builder import ARCHIVES
from components.errors import DataError
from components.example_gen import (
    QUARANTINE_FILE,
    Driver,
    ExampleGen,
    Executor,
    Quarantine,
    make_builder,
    make_download_manager,
    read_quarantine,
)
from pipeline import runners

BUILDER = "voc2007_semantic"
SMALL = {"train": 4, "val": 2, "test": 2}
TFDS_SPLITS = {"train": "train", "eval": "validation", "test": "test"}
IN_MEMORY = ("--runner=DirectRunner", "--direct_running_mode=in_memory")
TWO_PROCESSES = ("--runner=DirectRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2")


class Output:
    """What an execution left."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.examples, self.quarantine = standard_artifacts.Examples(), Quarantine()
        self.examples.uri, self.quarantine.uri = str(folder / "examples"), str(folder / "quarantine")
        for uri in (self.examples.uri, self.quarantine.uri):  # The launcher makes them before an execution.
            pathlib.Path(uri).mkdir(parents=True)

    @property
    def splits(self) -> list[str]:
        return artifact_utils.decode_split_names(self.examples.split_names)

    def records(self, split: str) -> list[bytes]:
        files = sorted(pathlib.Path(self.examples.uri, f"Split-{split}").glob("*"))
        assert files and all(path.suffix == ".gz" for path in files)
        return [r.numpy() for r in tf.data.TFRecordDataset([str(path) for path in files], compression_type="GZIP")]

    def bags(self) -> dict[str, collections.Counter[bytes]]:
        """Returns the records of each split, their order left aside."""
        return {split: collections.Counter(self.records(split)) for split in self.splits}


def _generate(
    source: pathlib.Path, folder: pathlib.Path, allowed: float = 0.0, beam_args: tuple[str, ...] = IN_MEMORY
) -> Output:
    """Executes ExampleGen as the launcher does; its outputs are there even where it fails, in `folder`."""
    output = Output(folder)
    (folder / "temporary").mkdir()
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=list(beam_args), tmp_dir=str(folder / "temporary"), unique_id="1"
    )
    properties = {
        "builder": BUILDER,
        "source": str(source),
        "work_dir": str(folder / "work"),
        "max_quarantined_fraction": allowed,
        "code_digest": "0",
        "data_digest": "1234",
    }
    Executor(context).Do({}, {"examples": [output.examples], "quarantine": [output.quarantine]}, properties)
    return output


@pytest.fixture(scope="module")
def mini(mini_voc: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Output:
    return _generate(mini_voc, tmp_path_factory.mktemp("mini"))


@pytest.fixture(scope="module")
def small_source(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("small")
    write_fake_voc(folder, split_sizes=SMALL)
    return folder


@pytest.fixture
def small(small_source: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """A small set of its own, to be damaged; the folder that holds VOCdevkit."""
    return pathlib.Path(shutil.copytree(small_source, tmp_path / "small"))


def _voc(source: pathlib.Path) -> pathlib.Path:
    return source / "VOCdevkit" / "VOC2007"


def _keys(source: pathlib.Path, split: str) -> list[str]:
    return (_voc(source) / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split()


def _names(records: list[bytes]) -> list[str]:
    """Returns the file names that records carry, sorted."""
    examples = map(tf.train.Example.FromString, records)
    return sorted(e.features.feature["image/filename"].bytes_list.value[0].decode() for e in examples)


# Good data.


def test_splits_are_train_eval_and_test(mini: Output) -> None:
    assert mini.splits == ["train", "eval", "test"]
    assert {split: len(mini.records(split)) for split in mini.splits} == {"train": 24, "eval": 21, "test": 21}


def test_artifact_says_how_it_is_to_be_read_and_of_which_data_it_is(mini: Output) -> None:
    assert mini.examples.get_string_custom_property("payload_format") == "FORMAT_TF_EXAMPLE"
    assert mini.examples.get_string_custom_property("file_format") == "tfrecords_gzip"
    assert mini.examples.get_string_custom_property("data_digest") == "1234"


def test_files_are_gzip(mini: Output) -> None:
    for path in pathlib.Path(mini.examples.uri).glob("Split-*/*"):
        assert gzip.decompress(path.read_bytes())


def test_each_split_holds_the_pictures_of_its_list(mini: Output, mini_voc: pathlib.Path) -> None:
    for split, name in (("train", "train"), ("eval", "val"), ("test", "test")):
        assert _names(mini.records(split)) == sorted(f"{key}.jpg" for key in _keys(mini_voc, name))


def test_records_hold_the_files_own_contents(mini: Output, mini_voc: pathlib.Path) -> None:
    for record in mini.records("test"):
        values = tf.train.Example.FromString(record).features.feature
        key = values["image/filename"].bytes_list.value[0].decode().removesuffix(".jpg")
        assert values["image"].bytes_list.value[0] == (_voc(mini_voc) / "JPEGImages" / f"{key}.jpg").read_bytes()
        truth = np.asarray(PIL.Image.open(_voc(mini_voc) / "SegmentationClass" / f"{key}.png"))
        label = PIL.Image.open(io.BytesIO(values["label"].bytes_list.value[0]))
        assert label.mode == "L"
        np.testing.assert_array_equal(np.asarray(label), truth)
        assert (values["image/height"].int64_list.value[0], values["image/width"].int64_list.value[0]) == truth.shape
        assert list(values["label/classes"].int64_list.value) == sorted(set(truth.flat) - {255})
        assert values["label/void_fraction"].float_list.value[0] == np.float32((truth == 255).mean())


def test_records_are_those_that_tfds_writes(mini: Output, mini_voc: pathlib.Path, tmp_path: pathlib.Path) -> None:
    builder = make_builder(BUILDER, str(mini_voc), str(tmp_path))
    builder.download_and_prepare()
    for split, name in TFDS_SPLITS.items():
        files = [str(path) for path in builder.info.splits[name].filepaths]
        written = collections.Counter(record.numpy() for record in tf.data.TFRecordDataset(files))
        assert collections.Counter(mini.records(split)) == written


def test_good_data_leaves_an_empty_quarantine(mini: Output) -> None:
    assert [path.name for path in pathlib.Path(mini.quarantine.uri).iterdir()] == [QUARANTINE_FILE]
    assert read_quarantine(mini.quarantine.uri) == []


@pytest.mark.e2e
def test_records_are_the_same_from_several_processes(mini: Output, mini_voc: pathlib.Path, tmp_path: pathlib.Path) -> None:
    assert _generate(mini_voc, tmp_path, beam_args=TWO_PROCESSES).bags() == mini.bags()


@pytest.mark.parametrize("change", ["missing", "blank"])
def test_set_without_test_list_has_no_test_split(small: pathlib.Path, tmp_path: pathlib.Path, change: str) -> None:
    path = _voc(small) / "ImageSets" / "Segmentation" / "test.txt"
    path.unlink()
    if change != "missing":
        path.write_text("\n \n")
    output = _generate(small, tmp_path / "out")
    assert output.splits == ["train", "eval"]
    assert {split: len(output.records(split)) for split in output.splits} == {"train": 4, "eval": 2}
    assert sorted(path.name for path in pathlib.Path(output.examples.uri).iterdir()) == ["Split-eval", "Split-train"]


@pytest.mark.parametrize("name", ["train", "val"])
def test_set_without_train_or_validation_is_refused(small: pathlib.Path, tmp_path: pathlib.Path, name: str) -> None:
    (_voc(small) / "ImageSets" / "Segmentation" / f"{name}.txt").write_text("")
    with pytest.raises(DataError, match=rf"{name}\.txt is empty"):
        _generate(small, tmp_path / "out")


# Archives.


def _archive(source: pathlib.Path, folder: pathlib.Path) -> None:
    """Packs a set as VOC 2007 is published: one tar file with train and validation, one with test."""
    folder.mkdir()
    for archive, splits in zip(ARCHIVES, (("train", "val"), ("test",)), strict=True):
        with tarfile.open(folder / archive, "w") as tar:
            paths = [f"ImageSets/Segmentation/{split}.txt" for split in splits]
            for key in (key for split in splits for key in _keys(source, split)):
                paths += [f"JPEGImages/{key}.jpg", f"SegmentationClass/{key}.png"]
            for path in paths:
                tar.add(_voc(source) / path, f"VOCdevkit/VOC2007/{path}")
            unlisted = tarfile.TarInfo("VOCdevkit/VOC2007/JPEGImages/999999.jpg")
            tar.addfile(unlisted, io.BytesIO(b""))


def test_records_from_archives_are_those_from_the_folder(small_source: pathlib.Path, tmp_path: pathlib.Path) -> None:
    _archive(small_source, tmp_path / "archives")
    output = _generate(tmp_path / "archives", tmp_path / "out")
    assert output.splits == ["train", "eval", "test"]
    assert output.bags() == _generate(small_source, tmp_path / "folder").bags()
    work = tmp_path / "out" / "work"
    extracted = sorted(path.name for path in work.rglob("*") if path.is_file())
    listed = [key for split in SMALL for key in _keys(small_source, split)]
    assert extracted == sorted([f"{key}{end}" for key in listed for end in (".jpg", ".png")] + [f"{s}.txt" for s in SMALL])
    assert sorted(path.name for path in (tmp_path / "archives").iterdir()) == sorted(ARCHIVES)


def test_archives_are_extracted_once(small_source: pathlib.Path, tmp_path: pathlib.Path) -> None:
    _archive(small_source, tmp_path / "archives")

    def extract() -> dict[str, int]:
        builder = make_builder(BUILDER, str(tmp_path / "archives"), str(tmp_path / "work"))
        pairs = builder.pairs_by_split(make_download_manager(builder, str(tmp_path / "work")))
        return {pair.image: pathlib.Path(pair.image).stat().st_ino for split in pairs.values() for pair in split}

    first = extract()
    assert len(first) == sum(SMALL.values())
    assert extract() == first


def test_one_archive_of_two_is_refused(small_source: pathlib.Path, tmp_path: pathlib.Path) -> None:
    _archive(small_source, tmp_path / "archives")
    (tmp_path / "archives" / ARCHIVES[1]).unlink()
    with pytest.raises(DataError, match=f"not {ARCHIVES[1]}"):
        _generate(tmp_path / "archives", tmp_path / "out")


# Bad data.


@pytest.fixture
def damaged(small: pathlib.Path) -> tuple[pathlib.Path, list[Quarantined]]:
    """A set of 9 pairs of which 5 are bad, each in another way; the folder, and what the quarantine is to hold."""
    odd = "Bild 'ü' \"1\""
    with (_voc(small) / "ImageSets" / "Segmentation" / "test.txt").open("a", encoding="utf-8") as file:
        file.write(f"{odd}\n")
    pairs = [("train", key) for key in _keys(small, "train")[:3]] + [("validation", _keys(small, "val")[0]), ("test", odd)]
    images, labels = _voc(small) / "JPEGImages", _voc(small) / "SegmentationClass"
    files = [
        labels / f"{pairs[0][1]}.png",
        images / f"{pairs[1][1]}.jpg",
        labels / f"{pairs[2][1]}.png",
        labels / f"{pairs[3][1]}.png",
        images / f"{odd}.jpg",
    ]
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:500])
    shape = np.asarray(PIL.Image.open(files[2])).shape
    PIL.Image.new("L", (shape[1] - 1, shape[0])).save(files[2])
    shape = np.asarray(PIL.Image.open(files[3])).shape
    PIL.Image.new("L", shape[::-1], 21).save(files[3])
    reasons = ["does not exist", "image", "pixels, its image", "21", "does not exist"]
    expected = [Quarantined(*pair, str(file), reason) for pair, file, reason in zip(pairs, files, reasons, strict=True)]
    return small, expected


def _check(found: list[Quarantined], expected: list[Quarantined]) -> None:
    found = sorted(found, key=lambda record: record.file)
    expected = sorted(expected, key=lambda record: record.file)
    assert [(r.split, r.key, r.file) for r in found] == [(r.split, r.key, r.file) for r in expected]
    for record, wanted in zip(found, expected, strict=True):
        assert wanted.reason in record.reason


def test_bad_pairs_that_are_allowed_are_quarantined_with_reasons(
    damaged: tuple[pathlib.Path, list[Quarantined]], tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, expected = damaged
    output = _generate(source, tmp_path / "out", allowed=5 / 9)
    _check(read_quarantine(output.quarantine.uri), expected)
    lines = (pathlib.Path(output.quarantine.uri) / QUARANTINE_FILE).read_text().splitlines()
    assert all(set(json.loads(line)) == {"split", "key", "file", "reason"} for line in lines)
    assert {split: len(output.records(split)) for split in output.splits} == {"train": 1, "eval": 1, "test": 2}
    assert _names(output.records("train")) == [f"{_keys(source, 'train')[3]}.jpg"]
    for record in expected:
        assert record.file in caplog.text


def test_too_many_bad_pairs_fail_with_one_error_that_names_them_all(
    damaged: tuple[pathlib.Path, list[Quarantined]], tmp_path: pathlib.Path
) -> None:
    source, expected = damaged
    with pytest.raises(DataError) as error:
        _generate(source, tmp_path / "out", allowed=4 / 9)
    lines = str(error.value).splitlines()
    assert lines[0].startswith("5 of 9 listed pairs cannot be used")
    assert "data.max_quarantined_fraction" in lines[-1]
    for record in expected:
        assert sum(f"{record.split}/{record.key}: {record.file}: " in line for line in lines) == 1
    _check(read_quarantine(str(tmp_path / "out" / "quarantine")), expected)


def test_split_of_which_nothing_is_left_fails_whatever_share_is_allowed(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Else the Trainer ends with a StopIteration, or, where it is the test split, the run with a KeyError."""
    keys = _keys(small, "val")
    for key in keys:
        (_voc(small) / "SegmentationClass" / f"{key}.png").unlink()
    with pytest.raises(DataError, match="validation") as error:
        _generate(small, tmp_path / "out", allowed=1.0)
    assert all(f"{key}.png" in str(error.value) for key in keys)


@pytest.mark.parametrize("content", ["nothing", "other things"])
def test_folder_without_the_set_is_refused(tmp_path: pathlib.Path, content: str) -> None:
    (tmp_path / "source").mkdir()
    if content != "nothing":
        (tmp_path / "source" / "holiday.jpg").write_text("x")
    with pytest.raises(DataError, match="holds no VOC data"):
        _generate(tmp_path / "source", tmp_path / "out")


def test_unknown_builder_is_named() -> None:
    with pytest.raises(DataError, match="no data set builder 'voc2008'.*voc2007_semantic"):
        make_builder("voc2008", "", "")


# The driver: what the cache compares.


def _digest(source: pathlib.Path, work: pathlib.Path) -> str:
    handle = metadata.Metadata(metadata.sqlite_metadata_connection_config(str(work / "metadata.sqlite")))
    properties = {"builder": BUILDER, "source": str(source), "work_dir": str(work)}
    output = Driver(handle).run(data_types.ExecutionInfo(exec_properties=properties))
    assert set(output.exec_properties) == {"data_digest"}
    return output.exec_properties["data_digest"].string_value


def test_driver_adds_the_digest_of_the_data(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    digest = _digest(small, tmp_path)
    assert digest == make_builder(BUILDER, str(small), str(tmp_path)).source_digest()
    assert len(digest) == 64
    mask = _voc(small) / "SegmentationClass" / f"{_keys(small, 'val')[0]}.png"
    mask.touch()
    assert _digest(small, tmp_path) == digest
    mask.write_bytes(mask.read_bytes() + b"x")
    assert _digest(small, tmp_path) != digest


def test_driver_digests_archives(small_source: pathlib.Path, tmp_path: pathlib.Path) -> None:
    _archive(small_source, tmp_path / "archives")
    digest = _digest(tmp_path / "archives", tmp_path)
    assert digest == make_builder(BUILDER, str(tmp_path / "archives"), str(tmp_path)).source_digest()
    with (tmp_path / "archives" / ARCHIVES[1]).open("ab") as file:
        file.write(b"x")
    assert _digest(tmp_path / "archives", tmp_path) != digest
    assert not (tmp_path / "downloads").exists()  # Nothing is extracted to find out that nothing changed.


def test_driver_knows_the_official_download_without_a_network(tmp_path: pathlib.Path) -> None:
    handle = metadata.Metadata(metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite")))
    properties = {"builder": BUILDER, "source": "", "work_dir": str(tmp_path)}
    output = Driver(handle).run(data_types.ExecutionInfo(exec_properties=properties))
    assert len(output.exec_properties["data_digest"].string_value) == 64


# The component, launched.


def _launch(source: pathlib.Path, root: pathlib.Path, run: str, **changes: Any) -> runners.Step:
    component = ExampleGen(
        **{
            "builder": BUILDER,
            "source": str(source),
            "work_dir": str(root / "work"),
            "max_quarantined_fraction": 0.0,
            "code_digest": "0",
        }
        | changes
    )
    pipeline = tfx_pipeline.Pipeline(
        pipeline_name="p",
        pipeline_root=str(root / "artifacts"),
        components=[component],
        enable_cache=True,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(str(root / "metadata.sqlite")),
        beam_pipeline_args=list(IN_MEMORY),
    )
    [step] = runners.run_local(pipeline, run, lambda *_: None, lambda _: None)
    return step


def test_launched_again_it_runs_only_where_the_data_changed(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    step = _launch(small, tmp_path, "1")
    assert step.status == "run"
    [examples] = step.outputs["examples"]
    assert artifact_utils.decode_split_names(examples.split_names) == ["train", "eval", "test"]
    assert examples.get_string_custom_property("data_digest") == _digest(small, tmp_path)
    mask = _voc(small) / "SegmentationClass" / f"{_keys(small, 'val')[0]}.png"
    content = mask.read_bytes()
    os.utime(mask, (1, 1))
    again = _launch(small, tmp_path, "2")
    assert (again.status, again.outputs["examples"][0].uri) == ("cached", examples.uri)
    picture = PIL.Image.open(mask)
    picture.putpixel((0, 0), 7)
    picture.save(mask)
    changed = _launch(small, tmp_path, "3")
    assert changed.status == "run"
    assert changed.outputs["examples"][0].uri != examples.uri
    mask.write_bytes(content)
    back = _launch(small, tmp_path, "4")
    assert (back.status, back.outputs["examples"][0].uri) == ("cached", examples.uri)


def test_launched_on_bad_data_it_fails_each_time_and_leaves_no_examples(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (_voc(small) / "SegmentationClass" / f"{_keys(small, 'val')[0]}.png").unlink()
    for run in "12":  # A failure is not cached.
        with pytest.raises(DataError, match="1 of 8 listed pairs cannot be used"):
            _launch(small, tmp_path, run)
    left = [path for path in (tmp_path / "artifacts" / "ExampleGen" / "examples").rglob("*") if path.is_file()]
    assert left == []


def test_launched_on_data_that_is_no_set_it_fails_with_our_error(tmp_path: pathlib.Path) -> None:
    """The driver, which digests the data before the step is looked up in the cache, is the one that fails here."""
    (tmp_path / "source").mkdir()
    for run in "12":
        with pytest.raises(DataError, match="holds no VOC data"):
            _launch(tmp_path / "source", tmp_path, run)


def test_split_names_are_those_of_the_contract() -> None:
    assert (features.TRAIN_SPLIT, features.EVAL_SPLIT, features.TEST_SPLIT) == tuple(TFDS_SPLITS)
    assert set(TFDS_SPLITS.values()) == {str(split) for split in (tfds.Split.TRAIN, tfds.Split.VALIDATION, tfds.Split.TEST)}
