"""The confusion matrix and its metrics, on masks small enough to count by hand."""

import math

import numpy as np
import pytest

from components import iou

V = 255  # Void.

# Truth and prediction pair up to (0,0) (0,1) (1,1) / (1,1) (2,0) and one void pixel, which does not count.
TRUTH = np.array([[0, 0, 1], [1, 2, V]], np.uint8)
PREDICTION = np.array([[0, 1, 1], [1, 0, 2]], np.uint8)
MATRIX = np.array([[1, 1, 0], [0, 2, 0], [1, 0, 0]])


def test_matrix_counts_each_pair_of_truth_and_prediction_and_leaves_void_out() -> None:
    matrix = iou.confusion_matrix(TRUTH, PREDICTION, 3)
    assert matrix.tolist() == MATRIX.tolist()
    assert matrix.dtype == np.int64
    assert matrix.sum() == 5  # Six pixels, one of them void.


def test_iou_is_intersection_over_union_of_each_class() -> None:
    # Class 0: 1 right, 2 in the truth, 2 predicted: 1 / (2 + 2 - 1). Class 1: 2 / (2 + 3 - 2). Class 2: 0 / (1 + 0 - 0).
    assert iou.iou(MATRIX).tolist() == pytest.approx([1 / 3, 2 / 3, 0.0], abs=1e-15)
    assert iou.mean_iou(MATRIX) == pytest.approx(1 / 3, abs=1e-15)


def test_accuracies_of_the_hand_counted_masks() -> None:
    assert iou.pixel_accuracy(MATRIX) == pytest.approx(3 / 5, abs=1e-15)  # Right: one of class 0, two of class 1.
    assert iou.mean_accuracy(MATRIX) == pytest.approx((1 / 2 + 2 / 2 + 0 / 1) / 3, abs=1e-15)


def test_class_in_neither_truth_nor_prediction_is_left_out_of_the_mean() -> None:
    matrix = iou.confusion_matrix(TRUTH, PREDICTION, 4)
    assert math.isnan(iou.iou(matrix)[3])
    assert iou.mean_iou(matrix) == pytest.approx(1 / 3, abs=1e-15)  # As with three classes; a 0 would make it 1/4.
    assert iou.mean_accuracy(matrix) == pytest.approx(1 / 2, abs=1e-15)


def test_class_that_is_predicted_but_absent_scores_zero() -> None:
    truth = np.zeros((2, 3), np.uint8)
    prediction = np.array([[0, 0, 0], [0, 0, 1]], np.uint8)
    matrix = iou.confusion_matrix(truth, prediction, 2)
    assert iou.iou(matrix).tolist() == [5 / 6, 0.0]
    assert iou.mean_iou(matrix) == pytest.approx(5 / 12, abs=1e-15)
    assert iou.mean_accuracy(matrix) == 5 / 6  # Recall knows only the classes in the truth.


def test_class_that_is_predicted_on_void_only_is_as_if_it_were_not_predicted() -> None:
    truth = np.array([[0, 0, V], [0, 0, V]], np.uint8)
    prediction = np.array([[0, 0, 1], [0, 0, 1]], np.uint8)
    matrix = iou.confusion_matrix(truth, prediction, 2)
    assert matrix.tolist() == [[4, 0], [0, 0]]
    assert iou.mean_iou(matrix) == 1.0


def test_void_alone_has_no_score() -> None:
    matrix = iou.confusion_matrix(np.full((2, 3), V, np.uint8), PREDICTION, 3)
    assert matrix.sum() == 0
    assert np.isnan(iou.iou(matrix)).all()
    for metric in (iou.mean_iou, iou.pixel_accuracy, iou.mean_accuracy):
        assert math.isnan(metric(matrix)), metric.__name__


def test_empty_mask_gives_an_empty_matrix() -> None:
    matrix = iou.confusion_matrix(np.zeros((0, 3), np.uint8), np.zeros((0, 3), np.uint8), 2)
    assert matrix.tolist() == [[0, 0], [0, 0]]


def test_perfect_prediction_scores_one_whatever_void_was_predicted_as() -> None:
    prediction = np.where(TRUTH == V, 1, TRUTH)
    matrix = iou.confusion_matrix(TRUTH, prediction, 3)
    assert iou.mean_iou(matrix) == iou.pixel_accuracy(matrix) == iou.mean_accuracy(matrix) == 1.0


def test_all_background_scores_its_share_over_the_number_of_classes() -> None:
    # As VOC: 73 % background, the rest spread over 20 classes of 135 pixels each.
    truth = np.array([0] * 7300 + [class_id for class_id in range(1, 21) for _ in range(135)], np.uint8)
    matrix = iou.confusion_matrix(truth, np.zeros_like(truth), 21)
    assert iou.iou(matrix).tolist() == pytest.approx([0.73] + [0.0] * 20, abs=1e-15)
    assert iou.mean_iou(matrix) == pytest.approx(0.73 / 21, abs=1e-15)  # 0.0348
    assert iou.pixel_accuracy(matrix) == pytest.approx(0.73, abs=1e-15)  # Which is why accuracy is no gate.
    assert iou.mean_accuracy(matrix) == pytest.approx(1 / 21, abs=1e-15)


def test_highest_ids_of_21_classes_do_not_overflow_uint8() -> None:
    # Cell 20 * 21 + 20 = 440 does not fit into the masks' own type: 440 mod 256 = 184 = (8, 16).
    matrix = iou.confusion_matrix(np.full((2, 3), 20, np.uint8), np.full((2, 3), 20, np.uint8), 21)
    assert matrix[20, 20] == matrix.sum() == 6


def test_counts_beyond_float32_stay_exact() -> None:
    big = np.array([[2**53, 1], [0, 2**40 + 1]], np.int64)
    one = iou.confusion_matrix(np.array([1]), np.array([1]), 2)
    assert (big + one)[1, 1] == 2**40 + 2
    assert iou.iou(big)[1] == (2**40 + 1) / (2**40 + 2)


def test_masks_of_different_shapes_are_refused_with_both_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        iou.confusion_matrix(TRUTH, PREDICTION.T, 3)


@pytest.mark.parametrize(
    ("truth", "prediction", "culprit"),
    [
        ([0, 3], [0, 0], r"truth has ids from 0 to 3; expected 0\.\.2"),
        ([0, 0], [1, 3], r"prediction has ids from 1 to 3; expected 0\.\.2"),
        ([0, 0], [0, 255], r"prediction has ids from 0 to 255"),  # Void is no answer.
        ([0, -1], [0, 0], r"truth has ids from -1 to 0"),
        ([0, 0], [-1, 0], r"prediction has ids from -1 to 0"),
    ],
)
@pytest.mark.parametrize("dtype", [np.int64, np.uint8])
def test_id_outside_the_classes_is_refused_and_the_side_named(
    truth: list[int], prediction: list[int], culprit: str, dtype: type[np.integer]
) -> None:
    if dtype == np.uint8 and min(truth + prediction) < 0:
        culprit = culprit.replace("-1 to 0", "0 to 254")
        truth, prediction = ([254 if one < 0 else one for one in ids] for ids in (truth, prediction))
    with pytest.raises(ValueError, match=culprit):
        iou.confusion_matrix(np.array(truth, dtype), np.array(prediction, dtype), 3)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8])
def test_strange_prediction_on_a_void_pixel_is_not_looked_at(dtype: type[np.integer]) -> None:
    assert iou.confusion_matrix(np.array([1, V], dtype), np.array([1, 77], dtype), 2).tolist() == [[0, 0], [0, 1]]


def test_arguments_are_left_as_they_were() -> None:
    truth, prediction, matrix = TRUTH.copy(), PREDICTION.copy(), MATRIX.copy()
    iou.mean_iou(iou.confusion_matrix(truth, prediction, 3))
    iou.mean_accuracy(matrix)
    assert (truth == TRUTH).all() and (prediction == PREDICTION).all() and (matrix == MATRIX).all()


def _naive_matrix(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> list[list[int]]:
    matrix = [[0] * num_classes for _ in range(num_classes)]
    for t, p in zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True):
        if t != V:
            matrix[t][p] += 1
    return matrix


def _naive_iou(truth: np.ndarray, prediction: np.ndarray, class_id: int) -> float:
    """Sets of positions, straight from the definition."""
    counted = {i for i, t in enumerate(truth.ravel().tolist()) if t != V}
    in_truth = {i for i in counted if truth.ravel()[i] == class_id}
    predicted = {i for i in counted if prediction.ravel()[i] == class_id}
    return len(in_truth & predicted) / len(in_truth | predicted) if in_truth | predicted else float("nan")


@pytest.mark.parametrize("seed", range(25))
def test_random_masks_agree_with_a_loop_over_the_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    num_classes = int(rng.integers(1, 22))
    shape = tuple(rng.integers(1, 12, 2))
    used = rng.integers(1, num_classes + 1)  # Often fewer than there are, so that classes are absent.
    truth = rng.choice([*range(used), V], shape).astype(np.uint8)
    prediction = rng.integers(0, num_classes, shape).astype(np.uint8)
    matrix = iou.confusion_matrix(truth, prediction, num_classes)
    assert matrix.tolist() == _naive_matrix(truth, prediction, num_classes)
    expected = [_naive_iou(truth, prediction, class_id) for class_id in range(num_classes)]
    assert iou.iou(matrix).tolist() == pytest.approx(expected, abs=1e-15, nan_ok=True)
    present = [value for value in expected if not math.isnan(value)]
    mean = sum(present) / len(present) if present else float("nan")
    assert iou.mean_iou(matrix) == pytest.approx(mean, abs=1e-14, nan_ok=True)


@pytest.mark.parametrize("seed", range(5))
def test_matrices_of_pictures_add_up_to_the_matrix_of_all_their_pixels(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    shapes = [tuple(rng.integers(1, 9, 2)) for _ in range(6)]
    truths = [rng.choice([0, 1, 2, V], shape).astype(np.uint8) for shape in shapes]
    predictions = [rng.integers(0, 3, shape).astype(np.uint8) for shape in shapes]
    added = sum(iou.confusion_matrix(t, p, 3) for t, p in zip(truths, predictions, strict=True))
    whole = iou.confusion_matrix(
        np.concatenate([t.ravel() for t in truths]), np.concatenate([p.ravel() for p in predictions]), 3
    )
    assert added.tolist() == whole.tolist()


def test_one_matrix_over_all_pictures_is_not_the_mean_over_pictures() -> None:
    # First picture: 3 of 4 pixels of class 0 right, one taken for class 1. Second: both pixels of class 1 right.
    first = iou.confusion_matrix(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]), 2)
    second = iou.confusion_matrix(np.array([1, 1]), np.array([1, 1]), 2)
    # Class 0: 3 / (4 + 3 - 3). Class 1: 2 / (2 + 3 - 2). The mean over pictures would be ((3/4 + 0) / 2 + 1) / 2 = 0.6875.
    assert iou.mean_iou(first + second) == pytest.approx((3 / 4 + 2 / 3) / 2, abs=1e-15)
