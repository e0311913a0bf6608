"""Beam's work where only the wheel is installed: another interpreter, an empty working directory, none of our sources."""

import contextlib
import hashlib
import json
import operator
import os
import pathlib
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import PIL.Image
import pytest
import second_environment
import tensorflow as tf
import tensorflow_data_validation as tfdv
import tensorflow_model_analysis as tfma
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from components import example_gen, features, iou_tfma, masks, slices
from components.datasets import registry
from components.datasets.builder import make_builder, make_download_manager
from components.datasets.fake_voc import write_fake_voc
from components.datasets.generate import generate

PROJECT = second_environment.PROJECT
DIRECT = ("--runner=FnApiRunner", "--direct_running_mode=in_memory")
SMALL = {
    "train.epochs": "3",
    "model.filters": "4",
    "model.depth": "2",
    "evaluate.min_mean_iou": "0",
    "evaluate.beat_constant": "false",
}
TINY = SMALL | {"train.epochs": "1", "train.batch_size": "32", "transform.height_px": "16", "transform.width_px": "16"}
MANY = {"train": 6000, "val": 2000, "test": 2000}
RAN_ELSEWHERE = ("datasets/examples", "datasets/leaks", "datasets/report", "transform", "slices", "iou_tfma", "iou_sums")
"""Modules that only Beam's workers need: TFX's other steps run in the driver."""


def write_many(folder: pathlib.Path, sizes: Mapping[str, int]) -> None:
    """Writes a VOCdevkit of tiny pictures, coarse noise each, so that no two are alike."""
    voc = folder / "VOCdevkit/VOC2007"
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (voc / part).mkdir(parents=True)
    rng, palette = np.random.default_rng(0), features.voc_palette()
    index = 0
    for split, size in sizes.items():
        keys = [f"2007_{number:06d}" for number in range(index, index + size)]
        index += size
        for key in keys:
            blocks = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
            ids = rng.choice([0, 1, 7, 20, 255], (6, 8)).astype(np.uint8)
            image, mask = (array.repeat(4, axis=0).repeat(4, axis=1) for array in (blocks, ids))
            PIL.Image.fromarray(image).save(voc / f"JPEGImages/{key}.jpg", quality=90)
            masks.to_palette_image(mask, palette).save(voc / f"SegmentationClass/{key}.png")
        (voc / f"ImageSets/Segmentation/{split}.txt").write_text("".join(f"{key}\n" for key in keys))


class Run:
    """A run of the pipeline by a process of its own, and what it left.

    Its working directory is empty too, and the data's path is relative to it: workers stand elsewhere.
    """

    def __init__(self, root: pathlib.Path, data: pathlib.Path, fields: Mapping[str, str], beam_args: tuple[str, ...]) -> None:
        root.mkdir()
        (root / "cwd").mkdir()
        self._log = root / "driver.txt"
        script = pathlib.Path(__file__).with_name("portable_driver.py")
        command = [sys.executable, str(script), "..", os.path.relpath(data, root / "cwd"), json.dumps(fields)]
        environment = os.environ | {"PYTHONPATH": str(PROJECT), "CUDA_VISIBLE_DEVICES": "-1"}
        with self._log.open("w") as log:
            done = subprocess.run(
                [*command, json.dumps(beam_args)], cwd=root / "cwd", env=environment, stdout=log, stderr=log, check=False
            )
        assert done.returncode == 0, self._log.read_text()[-5000:]
        self._outputs = json.loads((root / "outputs.json").read_text())

    def folder(self, step: str, output: str) -> pathlib.Path:
        return pathlib.Path(self._outputs[step][output])

    def text(self, step: str, output: str, file: str) -> str:
        return (self.folder(step, output) / file).read_text()

    def records(self, step: str, output: str) -> dict[str, list[bytes]]:
        """Returns the records of each split, sorted: Beam writes them in an order of its own."""
        found: dict[str, list[bytes]] = {}
        for path in sorted(self.folder(step, output).glob("Split-*/*")):
            found.setdefault(path.parent.name, []).extend(read(path))
        return {split: sorted(records) for split, records in found.items()}

    def transformed(self) -> dict[str, dict[bytes, bytes]]:
        """Returns a digest of each transformed record's features, by its name; within a record they have no order."""
        found = self.records("Transform", "transformed_examples")
        return {split: dict(map(_digest, records)) for split, records in found.items()}

    def statistics(self) -> dict[str, Any]:
        paths = self.folder("StatisticsGen", "statistics").glob("Split-*/FeatureStats.pb")
        return {path.parent.name: tfdv.load_stats_binary(str(path)) for path in paths}

    def weights(self) -> bytes:
        return (self.folder("Trainer", "model") / "Format-Keras/model.weights.h5").read_bytes()


def read(path: pathlib.Path) -> list[bytes]:
    return list(tf.data.TFRecordDataset(str(path), compression_type="GZIP").as_numpy_iterator())


def _digest(record: bytes) -> tuple[bytes, bytes]:
    feature = tf.train.Example.FromString(record).features.feature
    values = {name: feature[name].bytes_list.value[0] for name in (features.IMAGE, features.LABEL, features.FILENAME)}
    assert len(feature) == len(values)
    return values[features.FILENAME], hashlib.sha256(values[features.IMAGE] + values[features.LABEL]).digest()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return second_environment.build_wheel(tmp_path_factory.mktemp("wheel"))


def test_wheel_has_our_code_and_its_data_and_nothing_else(wheel: pathlib.Path):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    ours = (path for folder in ("components", "pipeline") for path in (PROJECT / folder).rglob("*") if path.is_file())
    expected = {str(path.relative_to(PROJECT)) for path in ours if path.suffix != ".pyc"}
    assert names == expected | {"pipeline_config.py"}
    assert {pathlib.Path(name).suffix for name in names} == {".py", ".bib", ".html", ".md", ".pbtxt", ".tsv"}


WHERE = """{
    "folder": __import__("os").getcwd(),
    "prefix": __import__("sys").prefix,
    "path": __import__("sys").path,
    "code": [__import__(name).__file__ for name in ("components", "pipeline_config")],
}"""


def ask(pipeline: beam.Pipeline, answer: pathlib.Path) -> None:
    """Lets a worker write down where it is; what it evaluates is a text, so that nothing of ours is needed for that."""
    where = pipeline | "Where" >> beam.Create([WHERE]) | "Look" >> beam.Map(eval) | "As JSON" >> beam.Map(json.dumps)
    _ = where | "Tell" >> beam.io.WriteToText(str(answer), shard_name_template="")


def images_extracts() -> list[dict[str, Any]]:
    """Returns what TFMA hands on of two images: one is answered as labelled, one as background."""
    found = []
    for name, label, answer in (("a.jpg", [[0, 1, 255]], [[0, 1, 1]]), ("b.jpg", [[1, 1, 0]], [[0, 0, 0]])):
        scalars = {features.HEIGHT: [1], features.WIDTH: [3], features.CLASSES: [0, 1], features.VOID_FRACTION: [0.0]}
        found.append(
            {
                tfma.FEATURES_KEY: {features.FILENAME: np.array([name.encode()])}
                | {key: np.array(values) for key, values in scalars.items()},
                tfma.LABELS_KEY: np.array([masks.encode_ids(np.array(label, np.uint8))]),
                tfma.PREDICTIONS_KEY: {
                    "mask": np.array([masks.encode_ids(np.array(answer, np.uint8))]),
                    "error": np.array([b""]),
                },
            }
        )
    return found


def run_job(folder: pathlib.Path, data: pathlib.Path, make_pipeline: Callable[[], beam.Pipeline]) -> dict[str, Any]:
    """Does ExampleGen's work in a Beam job, and in the same one the Evaluator's own part, and asks where that was done."""
    folder.mkdir()
    builder = make_builder(registry.built_in("voc2007"), str(data), "newest", str(folder / "data"))
    pairs = builder.pairs_by_split(make_download_manager(builder, str(folder / "data")))

    def write(examples: beam.PCollection) -> None:
        uris = {split: str(folder / split) for split in pairs}
        example_gen.write_splits(examples, uris, builder.info.features.serialize_example)
        tell(examples.pipeline)

    def tell(pipeline: beam.Pipeline) -> None:
        sliced = pipeline | beam.Create(images_extracts()) | slices.extractor(("ground", "cat")).ptransform
        groups = (
            sliced
            | "Groups" >> beam.Map(operator.itemgetter(tfma.FEATURES_KEY))
            | beam.Map(operator.itemgetter(slices.CONTAINS))
        )
        sums = sliced | beam.ParDo(iou_tfma.Measure([""], 2)) | beam.CombineGlobally(iou_tfma.SumsCombiner("sums", "", None))
        for name, collection in {"groups": groups, "sums": sums}.items():
            text = collection | f"{name} as text" >> beam.Map(repr)
            _ = text | f"{name} told" >> beam.io.WriteToText(str(folder / name), shard_name_template="")
        ask(pipeline, folder / "where")

    report = generate(make_pipeline, builder.spec, pairs, str(folder / "job"), write)
    told = {name: sorted((folder / name).read_text().splitlines()) for name in ("groups", "sums")}
    records = {split: sorted(record for path in (folder / split).iterdir() for record in read(path)) for split in pairs}
    return told | {"report": report, "records": records, "where": json.loads((folder / "where").read_text())}


def test_beam_work_is_done_by_a_process_that_has_only_the_wheel(wheel: pathlib.Path, tmp_path: pathlib.Path):
    data, site, empty = tmp_path / "data", tmp_path / "site", tmp_path / "empty"
    voc = write_fake_voc(data, split_sizes={"train": 3, "val": 2, "test": 2})
    (voc / "JPEGImages/2007_000001.jpg").write_bytes(b"damaged")
    zipfile.ZipFile(wheel).extractall(site)
    empty.mkdir()
    worker = f"{shlex.quote(sys.executable)} -P -m apache_beam.runners.worker.sdk_worker_main"
    away = SubprocessSDKEnvironment(f"cd {shlex.quote(str(empty))} && PYTHONPATH={shlex.quote(str(site))} exec {worker}")
    found = run_job(tmp_path / "away", data, lambda: beam.Pipeline(runner=FnApiRunner(default_environment=away)))
    here = run_job(tmp_path / "here", data, lambda: beam.Pipeline(options=PipelineOptions(DIRECT)))
    where, _ = found.pop("where"), here.pop("where")
    assert where["folder"] == str(empty)
    assert where["code"] == [f"{site}/components/__init__.py", f"{site}/pipeline_config.py"]
    assert found == here
    assert [record.key for record in found["report"].quarantined] == ["2007_000001"]
    assert {split: len(records) for split, records in found["records"].items()} == {"train": 2, "validation": 2, "test": 2}
    assert list(empty.iterdir()) == []


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The interpreter of an environment with the lock and our wheel."""
    uv = second_environment.find_uv()
    if uv is None:
        pytest.skip("there is no uv to make a second environment with")
    return second_environment.make(tmp_path_factory.mktemp("second"), uv)


@contextlib.contextmanager
def elsewhere(python: pathlib.Path, folder: pathlib.Path, count: int = 1) -> Iterator[second_environment.Workers]:
    """Lends workers of the other environment, and sees to it that they are what they should be."""
    folder.mkdir()
    with second_environment.workers(python, folder, count) as workers:
        with beam.Pipeline(options=PipelineOptions(workers.beam_args)) as pipeline:
            ask(pipeline, folder / "where")
        where = json.loads((folder / "where").read_text())
        assert where["folder"] == str(workers.folder)
        assert where["prefix"] == str(python.parents[1])
        assert all(path.startswith(where["prefix"]) for path in where["code"])
        assert not [path for path in where["path"] if path.startswith(str(PROJECT))]
        yield workers
        assert list(workers.folder.iterdir()) == []
    log = workers.log.read_text()
    assert log.count("Starting worker") == count * log.count("Completed job in") > 0


def assert_alike(run: Run, direct: Run) -> None:
    assert run.records("ExampleGen", "examples") == direct.records("ExampleGen", "examples")
    for step, output, file in (
        ("ExampleGen", "report", "report.json"),
        ("ExampleGen", "quarantine", "quarantine.jsonl"),
        ("Evaluator", "evaluation", "evaluation.json"),
        ("Evaluator", "blessing", "BLESSED"),
    ):
        assert run.text(step, output, file) == direct.text(step, output, file), file
    assert run.transformed() == direct.transformed()
    assert run.weights() == direct.weights()


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_whole_pipeline_on_workers_that_have_only_the_wheel_leaves_what_the_direct_runner_leaves(
    python: pathlib.Path, tmp_path: pathlib.Path
):
    data = tmp_path / "data"
    voc = write_fake_voc(data, split_sizes={"train": 24, "val": 21, "test": 21})
    (voc / "JPEGImages/2007_000003.jpg").write_bytes(b"damaged")
    fields = SMALL | {"data.max_quarantined_fraction": "0.1"}
    direct = Run(tmp_path / "direct", data, fields, DIRECT)
    with elsewhere(python, tmp_path / "workers") as workers:
        run = Run(tmp_path / "portable", data, fields, workers.beam_args)
    assert_alike(run, direct)
    assert "2007_000003" in run.text("ExampleGen", "quarantine", "quarantine.jsonl")
    assert run.statistics() == direct.statistics()
    assert {split: len(found) for split, found in run.transformed().items()} == {"Split-train": 23, "Split-eval": 21}
    packages = next(python.parents[1].glob("lib/*/site-packages/components"))
    imported = {str(path.relative_to(packages)).replace("__pycache__/", "") for path in packages.rglob("*.pyc")}
    assert imported >= {f"{module}.cpython-311.pyc" for module in RAN_ELSEWHERE}


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_ten_thousand_examples_on_two_workers_are_complete_and_alike(python: pathlib.Path, tmp_path: pathlib.Path):
    write_many(tmp_path / "data", MANY)
    direct = Run(tmp_path / "direct", tmp_path / "data", TINY, DIRECT)
    with elsewhere(python, tmp_path / "workers", count=2) as workers:
        run = Run(tmp_path / "portable", tmp_path / "data", TINY, workers.beam_args)
    assert_alike(run, direct)
    counts = {split: len(set(records)) for split, records in run.records("ExampleGen", "examples").items()}
    assert counts == {"Split-train": 6000, "Split-eval": 2000, "Split-test": 2000}
    for split, found in run.statistics().items():
        assert found.datasets[0].num_examples == counts[split]
    assert {split: len(found) for split, found in run.transformed().items()} == {"Split-train": 6000, "Split-eval": 2000}
