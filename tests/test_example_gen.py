"""ExampleGen for real: the component's own executor and driver, with Beam, on miniature sets."""

import collections
import dataclasses
import gzip
import io
import json
import os
import pathlib
import shutil
import tarfile
from typing import Any

import apache_beam as beam
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from apache_beam.options.pipeline_options import PipelineOptions
from tfx.dsl.components.base import base_beam_executor
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.portable import data_types
from tfx.types import artifact_utils, standard_artifacts

import pipeline_config
from components import features
from components.datasets import registry
from components.datasets.builder import make_builder, make_download_manager
from components.datasets.examples import Quarantined
from components.datasets.fake_voc import write_fake_voc
from components.datasets.judgement import judge
from components.datasets.leaks import Leak
from components.datasets.report import Report, SplitReport
from components.datasets.spec import DatasetSpec
from components.datasets.voc2007 import Voc2007Semantic
from components.errors import DataError
from components.example_gen import (
    QUARANTINE_FILE,
    REPORT_FILE,
    DataReport,
    Driver,
    ExampleGen,
    Executor,
    Quarantine,
    read_quarantine,
    read_report,
    write_splits,
)
from pipeline import runners

VOC = registry.built_in("voc2007")
DROP = dataclasses.replace(VOC, leaks="drop_from_train")
ARCHIVES = Voc2007Semantic.ARCHIVES
SMALL = {"train": 4, "val": 2, "test": 2}
TFDS_SPLITS = {"train": "train", "eval": "validation", "test": "test"}
IN_MEMORY = ("--runner=FnApiRunner", "--direct_running_mode=in_memory")
TWO_PROCESSES = ("--runner=FnApiRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2")


class Output:
    """What an execution left."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.examples, self.quarantine, self.report = standard_artifacts.Examples(), Quarantine(), DataReport()
        for name, artifact in self.artifacts.items():
            artifact.uri = str(folder / name)
            pathlib.Path(artifact.uri).mkdir(parents=True)  # The launcher makes them before an execution.

    @property
    def artifacts(self) -> dict[str, Any]:
        return {"examples": self.examples, "quarantine": self.quarantine, "report": self.report}

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


def _properties(source: object, work: pathlib.Path, spec: DatasetSpec = VOC, span: str = "newest") -> dict[str, Any]:
    return {"spec": pipeline_config.to_json(spec), "source": str(source), "span": span, "work_dir": str(work)}


def _generate(
    source: pathlib.Path | str,
    folder: pathlib.Path,
    allowed: float = 0.0,
    beam_args: tuple[str, ...] = IN_MEMORY,
    spec: DatasetSpec = VOC,
    span: str = "newest",
) -> Output:
    """Executes ExampleGen as the launcher does; its outputs are there even where it fails, in `folder`."""
    output = Output(folder)
    (folder / "temporary").mkdir()
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=list(beam_args), tmp_dir=str(folder / "temporary"), unique_id="1"
    )
    properties = _properties(source, folder / "work", spec, span) | {
        "max_quarantined_fraction": allowed,
        "code_digest": "0",
        "data_digest": "1234",
    }
    Executor(context).Do({}, {name: [artifact] for name, artifact in output.artifacts.items()}, properties)
    return output


@pytest.fixture(scope="module")
def mini(mini_voc: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Output:
    return _generate(mini_voc, tmp_path_factory.mktemp("mini"))


@pytest.fixture(scope="module")
def small_source(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("small")
    write_fake_voc(folder, split_sizes=SMALL)
    return folder


@pytest.fixture(scope="module")
def small_output(small_source: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Output:
    return _generate(small_source, tmp_path_factory.mktemp("small_output"))


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


def test_records_are_not_compressed_again(mini: Output) -> None:
    for path in pathlib.Path(mini.examples.uri).glob("*/*"):
        encoded = path.read_bytes()
        assert len(encoded) > len(gzip.decompress(encoded)) > 10_000


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
    builder = make_builder(VOC, str(mini_voc), "newest", str(tmp_path))
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


def test_records_from_archives_are_those_from_the_folder(
    small_source: pathlib.Path, small_output: Output, tmp_path: pathlib.Path
) -> None:
    _archive(small_source, tmp_path / "archives")
    output = _generate(tmp_path / "archives", tmp_path / "out")
    assert output.splits == ["train", "eval", "test"]
    assert output.bags() == small_output.bags()
    work = tmp_path / "out" / "work"
    extracted = sorted(path.name for path in (work / "downloads").rglob("*") if path.is_file())
    listed = [key for split in SMALL for key in _keys(small_source, split)]
    assert extracted == sorted([f"{key}{end}" for key in listed for end in (".jpg", ".png")] + [f"{s}.txt" for s in SMALL])
    assert sorted(path.name for path in (tmp_path / "archives").iterdir()) == sorted(ARCHIVES)


def test_archives_are_extracted_once(small_source: pathlib.Path, tmp_path: pathlib.Path) -> None:
    _archive(small_source, tmp_path / "archives")

    def extract() -> dict[str, int]:
        builder = make_builder(VOC, str(tmp_path / "archives"), "newest", str(tmp_path / "work"))
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


# What was found.


def test_report_is_of_the_data_that_was_written(mini: Output, mini_voc: pathlib.Path) -> None:
    found = read_report(mini.report.uri)
    assert sorted(path.name for path in pathlib.Path(mini.report.uri).iterdir()) == [REPORT_FILE]
    assert (found.dataset, found.classes, found.listed, found.generated) == ("voc2007", features.VOC_CLASSES, 66, 66)
    assert (found.quarantined, found.leaks) == ([], [])
    for split, name in (("train", "train"), ("validation", "val"), ("test", "test")):
        truths = [np.asarray(PIL.Image.open(_voc(mini_voc) / f"SegmentationClass/{key}.png")) for key in _keys(mini_voc, name)]
        one = found.splits[split]
        assert (one.listed, one.generated, one.quarantined, one.dropped) == (len(truths), len(truths), 0, 0)
        for class_id, class_name in enumerate(features.VOC_CLASSES):
            assert one.class_pixels[class_name] == sum(int((truth == class_id).sum()) for truth in truths)
            assert one.class_images[class_name] == sum(bool((truth == class_id).any()) for truth in truths)
        assert one.void_pixels == sum(int((truth == 255).sum()) for truth in truths)
        assert one.sizes == collections.Counter(f"{truth.shape[1]}x{truth.shape[0]}" for truth in truths)
        assert (one.image_kinds, one.mask_kinds) == ({"JPEG RGB": len(truths)}, {"palette as ids": len(truths)})


def test_spans_are_generated_together(small_source: pathlib.Path, tmp_path: pathlib.Path) -> None:
    shutil.copytree(small_source, tmp_path / "spans" / "1")
    write_fake_voc(tmp_path / "spans" / "2", seed=1, split_sizes=SMALL)
    output = _generate(tmp_path / "spans" / "{SPAN}", tmp_path / "out", span="last:2")
    expected = sorted(f"span-{number}/{key}.jpg" for number in (1, 2) for key in _keys(small_source, "test"))
    assert _names(output.records("test")) == expected
    assert read_report(output.report.uri).listed == 16


# Leaks.


def _list(source: pathlib.Path, split: str, keys: list[str]) -> None:
    (_voc(source) / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("".join(f"{key}\n" for key in keys))


def _leak(source: pathlib.Path, from_split: str, to_split: str, copy: str) -> str:
    """Lists a split's first picture in another split too, under the name of a copy if there is one; returns its key."""
    key = _keys(source, from_split)[0]
    if copy:
        for part in ("JPEGImages/{}.jpg", "SegmentationClass/{}.png"):
            shutil.copy(_voc(source) / part.format(key), _voc(source) / part.format(copy))
    _list(source, to_split, [*_keys(source, to_split), copy or key])
    return key


def test_copy_of_a_training_picture_is_refused_with_both_names(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    key = _leak(small, "train", "test", "renamed")
    with pytest.raises(DataError, match=r"pixel by pixel the same \(1 in all\)") as error:
        _generate(small, tmp_path / "out", allowed=1.0)
    images = _voc(small) / "JPEGImages"
    assert f"train/{key} ({images}/{key}.jpg) = test/renamed ({images}/renamed.jpg)" in str(error.value)
    assert 'leaks = "drop_from_train"' in str(error.value)
    [leak] = read_report(str(tmp_path / "out" / "report")).leaks
    assert [picture[:2] for picture in leak.pictures] == [("train", key), ("test", "renamed")]


def test_id_in_two_lists_is_refused_before_anything_is_read(
    small: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = _leak(small, "val", "train", "")
    monkeypatch.setattr(Executor, "_make_beam_pipeline", lambda self: pytest.fail("a job was made"))
    with pytest.raises(DataError, match=f"train/{key} .* = validation/{key} "):
        _generate(small, tmp_path / "out")


def test_leaks_are_dropped_from_train_and_no_copy_of_the_first_pass_is_left(
    small: pathlib.Path, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    by_path = _leak(small, "val", "train", "")
    by_pixels = _leak(small, "train", "test", "renamed")
    output = _generate(small, tmp_path / "out", spec=DROP)
    kept = [key for key in _keys(small, "train") if key not in (by_path, by_pixels)]
    assert len(kept) == 3
    assert _names(output.records("train")) == [f"{key}.jpg" for key in kept]
    assert _names(output.records("eval")) == sorted(f"{key}.jpg" for key in _keys(small, "val"))
    assert _names(output.records("test")) == sorted(f"{key}.jpg" for key in _keys(small, "test"))
    left = [path for path in pathlib.Path(output.examples.uri).rglob("*") if path.is_file()]
    shards = {int(path.name.split("-of-")[1].removesuffix(".gz")) for path in left if path.parent.name == "Split-train"}
    assert len(shards) == 1  # Those of one pass.
    records = read_quarantine(output.quarantine.uri)
    assert [(record.split, record.key, record.cause) for record in records] == [
        ("train", key, "leak") for key in sorted((by_path, by_pixels))
    ]
    assert records[0].file in caplog.text
    found = read_report(output.report.uri)
    assert (found.leaks, found.quarantined, found.splits["train"].dropped) == ([], records, 2)


def _write(folder: pathlib.Path, records: dict[str, list[bytes]]) -> None:
    with beam.Pipeline(options=PipelineOptions(list(IN_MEMORY))) as pipeline:
        listed = [(split, ("key", record)) for split, of_split in records.items() for record in of_split]
        write_splits(pipeline | beam.Create(listed), {split: str(folder / split) for split in records}, bytes)


def _read(folder: pathlib.Path) -> list[bytes]:
    files = [str(path) for path in folder.iterdir()]
    return sorted(tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator())


def test_writing_splits_anew_leaves_nothing_of_the_first_time(tmp_path: pathlib.Path) -> None:
    """A second pass with fewer shards would else leave some of the first's, and their records twice."""
    _write(tmp_path, {"train": [b"a", b"b", b"c"], "test": [b"d"]})
    stale = tmp_path / "train" / "data_tfrecord-00006-of-00007.gz"
    stale.write_bytes(b"of more shards")
    _write(tmp_path, {"train": [b"a"], "test": [b"e"]})
    assert not stale.exists()
    assert (_read(tmp_path / "train"), _read(tmp_path / "test")) == ([b"a"], [b"e"])


@pytest.mark.parametrize("others", [[b"a"], []])
def test_split_without_records_has_a_file_without_any(tmp_path: pathlib.Path, others: list[bytes]) -> None:
    _write(tmp_path, {"train": [], "test": others})
    assert [path.name for path in (tmp_path / "train").iterdir()] == ["data_tfrecord-00000-of-00001.gz"]
    assert (_read(tmp_path / "train"), _read(tmp_path / "test")) == ([], others)


# The judgement.


def _report(quarantined: list[Quarantined], **splits: SplitReport) -> Report:
    return Report(dataset="x", classes=("a", "b"), splits=splits, quarantined=quarantined, leaks=[], near_duplicates=[])


def test_empty_split_is_refused_with_its_own_pairs_however_many_others_are_bad() -> None:
    bad = [Quarantined("train", f"{number:02d}", "t.png", "bad") for number in range(30)]
    bad.append(Quarantined("validation", "v", "v.png", "the mask does not exist"))
    found = _report(bad, train=SplitReport(listed=31, generated=1, quarantined=30), validation=SplitReport(listed=1))
    with pytest.raises(DataError) as error:
        judge(found, 1.0)
    assert str(error.value).splitlines() == [
        "No usable pair is left of the 1 in the split validation:",
        "  validation/v: v.png: the mask does not exist",
        "Mend the files.",
    ]


def test_judgement_bears_leaks_that_were_dropped_and_no_others() -> None:
    dropped = [Quarantined("train", "a", "a.jpg", "elsewhere too", cause="leak")]
    found = _report(dropped, train=SplitReport(listed=2, generated=1, dropped=1))
    judge(found, 0.0)
    found.leaks = [Leak((("validation", "a", "a.jpg"), ("test", "b", "b.jpg")))]
    with pytest.raises(DataError, match=r"validation/a \(a\.jpg\) = test/b \(b\.jpg\)"):
        judge(found, 1.0)


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
    records = list(map(json.loads, lines))
    assert all(set(record) == {"split", "key", "file", "reason", "cause"} for record in records)
    assert {record["cause"] for record in records} == {"bad"}
    found = read_report(output.report.uri)
    assert found.quarantined == read_quarantine(output.quarantine.uri)
    counts = {split: (one.listed, one.generated, one.quarantined) for split, one in found.splits.items()}
    assert counts == {"train": (4, 1, 3), "validation": (2, 1, 1), "test": (3, 2, 1)}
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
    assert read_report(str(tmp_path / "out" / "report")).generated == 4  # Both are there for whoever looks into the failure.


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
    with pytest.raises(DataError, match="does not hold the data set voc2007: expected VOCdevkit/VOC2007/JPEGImages"):
        _generate(tmp_path / "source", tmp_path / "out")


# The driver: what the cache compares.


def _digest(source: pathlib.Path | str, work: pathlib.Path, spec: DatasetSpec = VOC, span: str = "newest") -> str:
    handle = metadata.Metadata(metadata.sqlite_metadata_connection_config(str(work / "metadata.sqlite")))
    output = Driver(handle).run(data_types.ExecutionInfo(exec_properties=_properties(source, work, spec, span)))
    assert set(output.exec_properties) == {"data_digest"}
    return output.exec_properties["data_digest"].string_value


def test_driver_adds_the_digest_of_the_data(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    digest = _digest(small, tmp_path)
    assert digest == make_builder(VOC, str(small), "newest", str(tmp_path)).source_digest()
    assert len(digest) == 64
    mask = _voc(small) / "SegmentationClass" / f"{_keys(small, 'val')[0]}.png"
    mask.touch()
    assert _digest(small, tmp_path) == digest
    mask.write_bytes(mask.read_bytes() + b"x")
    assert _digest(small, tmp_path) != digest


def test_driver_digests_archives(small_source: pathlib.Path, tmp_path: pathlib.Path) -> None:
    _archive(small_source, tmp_path / "archives")
    digest = _digest(tmp_path / "archives", tmp_path)
    assert digest == make_builder(VOC, str(tmp_path / "archives"), "newest", str(tmp_path)).source_digest()
    with (tmp_path / "archives" / ARCHIVES[1]).open("ab") as file:
        file.write(b"x")
    assert _digest(tmp_path / "archives", tmp_path) != digest
    assert not (tmp_path / "downloads").exists()  # Nothing is extracted to find out that nothing changed.


def test_driver_knows_the_official_download_without_a_network(tmp_path: pathlib.Path) -> None:
    assert len(_digest("", tmp_path)) == 64


def test_driver_remembers_what_it_has_read_in_the_work_folder(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for path in small.rglob("*"):
        os.utime(path, (1e9, 1e9))
    digest = _digest(small, tmp_path)
    mask = _voc(small) / "SegmentationClass" / f"{_keys(small, 'val')[0]}.png"
    mask.write_bytes(mask.read_bytes()[:-1] + b"x")  # In place, of the same size,
    os.utime(mask, (1e9, 1e9))  # and with its old time: the one change that a cache cannot see, so it was asked.
    assert _digest(small, tmp_path) == digest
    (tmp_path / "other").mkdir()
    assert _digest(small, tmp_path / "other") != digest


def test_driver_follows_the_newest_span(small_source: pathlib.Path, tmp_path: pathlib.Path) -> None:
    shutil.copytree(small_source, tmp_path / "spans" / "1")
    pattern = str(tmp_path / "spans" / "{SPAN}")
    newest, fixed = _digest(pattern, tmp_path), _digest(pattern, tmp_path, span="1")
    assert newest == fixed
    shutil.copytree(small_source, tmp_path / "spans" / "2")
    assert _digest(pattern, tmp_path) != newest
    assert _digest(pattern, tmp_path, span="1") == fixed


# The component, launched.


def _launch(source: pathlib.Path, root: pathlib.Path, run: str, **changes: Any) -> runners.Step:
    component = ExampleGen(
        **_properties(source, root / "work") | {"max_quarantined_fraction": 0.0, "code_digest": "0"} | changes
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
    assert read_report(back.outputs["report"][0].uri).generated == 8
    assert read_quarantine(back.outputs["quarantine"][0].uri) == []


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
        with pytest.raises(DataError, match="does not hold the data set voc2007"):
            _launch(tmp_path / "source", tmp_path, run)


def test_split_names_are_those_of_the_contract() -> None:
    assert (features.TRAIN_SPLIT, features.EVAL_SPLIT, features.TEST_SPLIT) == tuple(TFDS_SPLITS)
    assert set(TFDS_SPLITS.values()) == {str(split) for split in (tfds.Split.TRAIN, tfds.Split.VALIDATION, tfds.Split.TEST)}


@pytest.mark.parametrize("split", ["train", "validation"])
def test_split_whose_masks_are_void_all_over_is_refused(split: str) -> None:
    splits = {name: SplitReport(listed=2, generated=2) for name in ("train", "validation")}
    splits[split].void_images = 2
    found = Report(dataset="d", classes=("a", "b"), splits=splits, quarantined=[], leaks=[], near_duplicates=[])
    with pytest.raises(DataError, match=rf"No pixel has a class in the split {split}: its masks are void all over"):
        judge(found, 1.0)
    splits[split].void_images = 1
    judge(found, 0.0)
