"""The Evaluator at the pictures' own sizes, once it is running, beside a bare loop over the same records."""

import pathlib
import tempfile
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from tfx.types import standard_artifacts

from benchmarks import executors, generation, models
from benchmarks.harness import Row, Way, measure
from components import evaluation, evaluator, features, preprocessing, records
from pipeline_config import EvaluateConfig, to_json

SPLITS = (features.TEST_SPLIT,)
MORE = 3
"""How many times the test split is measured by the longer run; the difference to the shorter one has no start-up in it."""

TOLERANCE = 1e-4
"""Share of the pixels that the two may see differently."""


def ours(examples: pathlib.Path, model: pathlib.Path, target: pathlib.Path) -> np.ndarray:
    """Runs the Evaluator on a folder of splits, as the pipeline does without a baseline; returns its confusion matrix."""
    settings = evaluator.EvaluatorConfig(evaluate=EvaluateConfig(min_mean_iou=0), class_names=models.CLASSES)
    outputs = {
        "evaluation": [executors.artifact(standard_artifacts.ModelEvaluation, target / "evaluation")],
        "blessing": [executors.artifact(standard_artifacts.ModelBlessing, target / "blessing")],
    }
    inputs = {
        "examples": [executors.examples(examples, SPLITS)],
        "model": [executors.artifact(standard_artifacts.Model, model)],
        "baseline_model": [],
    }
    properties = {"settings": to_json(settings), "code_digest": ""}
    evaluator.Executor(executors.context(target / "temp")).Do(inputs, outputs, properties)
    return np.array(evaluation.read_evaluation(str(target / "evaluation")).overall.candidate.confusion_matrix)


def make_bare(network: keras.Model) -> Callable[[list[str]], np.ndarray]:
    """Returns what makes of records the confusion matrix, int64 [C, C].

    Decode, resize, network, enlarge, argmax, bincount; nothing else.
    """
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

    def measure_all(files: list[str]) -> np.ndarray:
        total = np.zeros(count * count, np.int64)
        for record in tf.data.TFRecordDataset(files, compression_type="GZIP"):
            total += np.bincount(pairs(record), minlength=count * count)
        return total.reshape(count, count)

    return measure_all


def run(data: pathlib.Path, turns: int) -> list[Row]:
    """Times them on the test split; fails where their confusion matrices differ by more than a pixel in ten thousand."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        bare = make_bare(models.export(folder / "model" / "Format-Serving", data))
        generation.ours(data, f"{folder}/made")
        once = executors.copies(folder / "made", folder / "once", SPLITS, 1)
        more = executors.copies(folder / "made", folder / "more", SPLITS, MORE)
        files = records.list_files([f"{once}/*/*"])
        count = records.count_records(files)

        def evaluate(examples: pathlib.Path) -> np.ndarray:
            with tempfile.TemporaryDirectory(dir=folder) as target:
                return ours(examples, folder / "model", pathlib.Path(target))

        _compare(evaluate(once), bare(files))
        ways = [
            Way("once", lambda: evaluate(once), count),
            Way("more", lambda: evaluate(more), MORE * count),
            Way("bare loop", lambda: bare(files), count),
        ]
        found = measure(ways, turns, warmups=0)  # To compare them has warmed them up.
    work, start_s = executors.running(found["once"], found["more"], "Evaluator")
    return [
        Row(
            what="Evaluator at native size, once running",
            unit="images",
            ours=work,
            reference=found["bare loop"],
            aim=0.7,
            note=f"start-up: {start_s:.1f} s",
        )
    ]


def _compare(found: np.ndarray, expected: np.ndarray) -> None:
    """Fails where matrices differ; batches of another size round differently, which decides pixels that are nearly a tie."""
    differing, pixels = np.abs(found - expected).sum() // 2, expected.sum()
    if found.sum() != pixels or differing > TOLERANCE * pixels:
        raise AssertionError(f"of {pixels} pixels, {differing} are counted elsewhere by the Evaluator ({found.sum()} in all)")
