"""The Evaluator at the pictures' own sizes, once it is running, beside a bare loop over the same records."""

import os
import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.artifact import Artifact

from benchmarks import generation, models
from benchmarks.harness import Measured, Row, Way, measure
from components import evaluator, features, preprocessing, records
from pipeline_config import EvaluateConfig, to_json

MORE = 3
"""How many times the test split is measured by the longer run; the difference to the shorter one has no start-up in it."""


def _artifact(kind: type[Artifact], uri: pathlib.Path) -> Artifact:
    artifact = kind()
    artifact.uri = str(uri)
    return artifact


def ours(examples: pathlib.Path, model: pathlib.Path) -> None:
    """Runs the Evaluator on a folder of splits."""
    source = _artifact(standard_artifacts.Examples, examples)
    source.split_names = artifact_utils.encode_split_names(["test"])
    source.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    source.set_string_custom_property("file_format", "tfrecords_gzip")
    settings = evaluator.EvaluatorConfig(evaluate=EvaluateConfig(min_mean_iou=0), class_names=models.CLASSES)
    with tempfile.TemporaryDirectory() as folder:
        context = base_beam_executor.BaseBeamExecutor.Context(
            beam_pipeline_args=list(generation.BEAM), tmp_dir=f"{folder}/tmp", unique_id="1"
        )
        outputs = {
            "evaluation": [_artifact(standard_artifacts.ModelEvaluation, pathlib.Path(folder, "evaluation"))],
            "blessing": [_artifact(standard_artifacts.ModelBlessing, pathlib.Path(folder, "blessing"))],
        }
        inputs = {"examples": [source], "model": [_artifact(standard_artifacts.Model, model)], "baseline_model": []}
        evaluator.Executor(context).Do(inputs, outputs, {"settings": to_json(settings), "code_digest": ""})


def bare(files: list[str], network: keras.Model) -> np.ndarray:
    """Returns the confusion matrix, int64 [C, C]: decode, resize, network, enlarge, argmax, bincount; nothing else."""
    transform, count = models.config().transform, len(models.CLASSES)
    described = {key: tf.io.FixedLenFeature([], tf.string) for key in (features.IMAGE, features.LABEL)}

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def pairs(record: tf.Tensor) -> tf.Tensor:
        parsed = tf.io.parse_single_example(record, described)
        label = tf.io.decode_png(parsed[features.LABEL], channels=1)[..., 0]
        image = preprocessing.scale_image(preprocessing.load_image(parsed[features.IMAGE], transform))
        logits = tf.image.resize(network(image[tf.newaxis], training=False), tf.shape(label))
        ids = tf.argmax(logits[0], axis=-1, output_type=tf.int32)
        counted = label != features.IGNORE_LABEL
        return tf.boolean_mask(tf.cast(label, tf.int32) * count + ids, counted)

    total = np.zeros(count * count, np.int64)
    for record in tf.data.TFRecordDataset(files, compression_type="GZIP"):
        total += np.bincount(pairs(record), minlength=count * count)
    return total.reshape(count, count)


def _copies(split: pathlib.Path, target: pathlib.Path, times: int) -> pathlib.Path:
    """Makes a folder whose test split has the records several times."""
    (target / "Split-test").mkdir(parents=True)
    for file in sorted(split.iterdir()):
        for number in range(times):
            os.link(file, target / "Split-test" / f"{number}-{file.name}")
    return target


def run(data: pathlib.Path, turns: int) -> list[Row]:
    """Times them on the test split."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        network = models.export(folder / "model" / "Format-Serving")
        generation.ours(data, f"{folder}/made")
        once = _copies(folder / "made" / "Split-test", folder / "once", 1)
        more = _copies(folder / "made" / "Split-test", folder / "more", MORE)
        files = records.list_files([f"{once}/Split-test/*"])
        count = records.count_records(files)
        ways = [
            Way("once", lambda: ours(once, folder / "model"), count),
            Way("more", lambda: ours(more, folder / "model"), MORE * count),
            Way("bare loop", lambda: bare(files, network), count),
        ]
        found = measure(ways, turns)
    running = tuple(more - once for more, once in zip(found["more"].seconds, found["once"].seconds, strict=True))
    start_s = float(np.median(found["once"].seconds)) - float(np.median(running)) / (MORE - 1)
    return [
        Row(
            what="Evaluator at native size, once running",
            unit="images",
            ours=Measured("Evaluator", running, (MORE - 1) * count),
            reference=found["bare loop"],
            aim=0.7,
            note=f"start-up: {start_s:.1f} s",
        )
    ]
