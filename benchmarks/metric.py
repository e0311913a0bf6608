"""The metric alone: two masks an image to sums, beside TFMA's own metrics for segmentation, which have TP and FP."""

import io
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image
import tensorflow_model_analysis as tfma

from benchmarks import voc
from benchmarks.harness import Row, Way, measure
from components import features, iou, iou_tfma, masks

CLASSES = len(features.VOC_CLASSES)
IMAGES = 40
REFERENCE = "TFMA's SemanticSegmentation*"


def make_answers(data: pathlib.Path, count: int) -> list[tuple[bytes, bytes]]:
    """Returns truth and prediction of so many test pictures: the truth, moved by 7 pixels, void become background."""
    answers = []
    for pair in voc.pairs(data, "test")[:count]:
        truth = np.asarray(PIL.Image.open(pair.mask))
        moved = np.roll(np.where(truth == features.IGNORE_LABEL, 0, truth), 7, axis=1)
        answers.append((masks.encode_ids(truth), masks.encode_ids(moved.astype(np.uint8))))
    return answers


def _decode(encoded: bytes) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(encoded)))


def theirs(answers: Sequence[tuple[Any, Any]], encoded: bool = True) -> dict[int, tuple[float, float]]:
    """Returns TP and FP a class, by the computations that TFMA makes of its two metrics.

    Args:
        answers: truth and prediction of each image.
        encoded: they are PNGs; else arrays.
    """
    options = {
        "class_ids": list(range(CLASSES)),
        "ground_truth_key": "label",
        "prediction_key": "mask",
        "decode_ground_truth": encoded,
        "decode_prediction": encoded,
        "ignore_ground_truth_id": features.IGNORE_LABEL,
    }
    # TFMA merges what two metrics share: the matrices are computed once for both.
    computation, _ = tfma.metrics.SemanticSegmentationTruePositive(**options).computations()
    (preprocessor,), combiner = computation.preprocessors, computation.combiner
    sums = combiner.create_accumulator()
    for label, mask in answers:
        label, mask = (np.array([one]) if encoded else one for one in (label, mask))
        extracts = {tfma.LABELS_KEY: {"label": label}, tfma.PREDICTIONS_KEY: {"mask": mask}}
        for element in preprocessor.process(extracts):
            sums = combiner.add_input(sums, element)
    return {class_id: (matrix.tp, matrix.fp) for class_id, matrix in sums.items()}


def ours(answers: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Returns the confusion matrix, int64 [C, C]: TP, FP and all else."""
    return sum(iou.confusion_matrix(label, mask, CLASSES) for label, mask in answers)


def decode(answers: Sequence[tuple[bytes, bytes]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns truth and prediction of each image as arrays of ids, uint8 [H, W]."""
    return [(_decode(label), _decode(mask)) for label, mask in answers]


def everything(answers: Sequence[tuple[bytes, bytes]]) -> list[Any]:
    """Returns all that the Evaluator counts of an image: the matrix, boundaries, a digest of the mask."""
    return [iou_tfma.measure(label, mask, CLASSES) for label, mask in answers]


def run(data: pathlib.Path, turns: int) -> list[Row]:
    """Times them; fails where TP or FP differ."""
    answers = make_answers(data, IMAGES)
    decoded = decode(answers)
    matrix = ours(decoded)
    for expected in (theirs(answers), theirs(decoded, encoded=False)):
        for class_id, found in expected.items():
            positives = matrix[class_id, class_id], matrix[:, class_id].sum() - matrix[class_id, class_id]
            if found != positives:
                raise AssertionError(f"class {class_id}: TFMA counts {found}, we {positives}")
    ways = [
        Way("confusion matrix", lambda: ours(decode(answers)), IMAGES),
        Way("all measures", lambda: everything(answers), IMAGES),
        Way(REFERENCE, lambda: theirs(answers), IMAGES),
        Way("confusion matrix, decoded", lambda: ours(decoded), IMAGES),
        Way(f"{REFERENCE}, decoded", lambda: theirs(decoded, encoded=False), IMAGES),
    ]
    found = measure(ways, turns)
    reference, bare = found[REFERENCE], found[f"{REFERENCE}, decoded"]
    return [
        Row(what="metric: confusion matrix", unit="images", ours=found["confusion matrix"], reference=reference, aim=20),
        Row(what="metric: with Dice, boundary IoU, digest", unit="images", ours=found["all measures"], reference=reference),
        Row(
            what="metric: confusion matrix of decoded masks",
            unit="images",
            ours=found["confusion matrix, decoded"],
            reference=bare,
            aim=20,
        ),
    ]
