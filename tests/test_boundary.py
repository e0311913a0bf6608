"""Boundary IoU on masks whose bands can be drawn by hand."""

import numpy as np
import pytest
import scipy.ndimage

from components.boundary import boundary_counts, boundary_iou, outlines

V = 255


def test_band_is_the_rim_of_a_mask_and_the_pictures_edge_is_rim() -> None:
    mask = np.zeros((7, 9), bool)
    mask[1:6, 2:9] = True  # Touches the right edge.
    rim = mask.copy()
    rim[2:5, 3:8] = False
    assert (outlines(mask, 1) & mask == rim).all()
    inner = mask.copy()
    inner[3:4, 4:7] = False
    assert (outlines(mask, 2) & mask == inner).all()
    assert outlines(mask, 9).all()


@pytest.mark.parametrize("distance_px", [1, 2, 5, 7])
def test_band_is_what_erosion_takes_away(distance_px: int) -> None:
    mask = scipy.ndimage.zoom(np.random.default_rng(3).random((9, 12)), 4, order=1) > 0.3
    square = np.ones((3, 3), bool)
    eroded = scipy.ndimage.binary_erosion(mask, square, iterations=distance_px, border_value=0)
    assert (outlines(mask, distance_px) & mask == (mask & ~eroded)).all()
    assert 0 < eroded.sum() < mask.sum()


@pytest.mark.parametrize("distance_px", [1, 3, 6])
def test_bands_of_many_classes_at_once_are_those_of_each(distance_px: int) -> None:
    ids = scipy.ndimage.zoom(np.random.default_rng(4).choice([0, 1, 2, 3, V], (8, 11)), 5, order=0).astype(np.uint8)
    square = np.ones((3, 3), bool)
    for class_id in (0, 1, 2, 3):
        mask = ids == class_id
        eroded = scipy.ndimage.binary_erosion(mask, square, iterations=distance_px, border_value=0)
        assert (outlines(ids, distance_px) & mask == (mask & ~eroded)).all()
        assert 0 < (mask & ~eroded).sum()


def test_counts_of_two_squares_one_pixel_apart() -> None:
    # 20 x 20: the diagonal is 28.3, 2 % of it 0.57: bands of one pixel.
    truth = np.zeros((20, 20), np.uint8)
    truth[4:10, 4:10] = 1
    prediction = np.zeros((20, 20), np.uint8)
    prediction[4:10, 5:11] = 1
    counts = boundary_counts(truth, prediction, 3)
    # Each rim has 20 pixels; in common are 5 at the top, 5 at the bottom, and nothing of the sides: they lie one apart.
    assert counts[:, 1].tolist() == [10, 30]
    assert counts[:, 2].tolist() == [0, 0]
    assert boundary_iou(counts)[1] == pytest.approx(1 / 3)
    assert np.isnan(boundary_iou(counts)[2])


def test_void_counts_in_neither_band() -> None:
    truth = np.zeros((20, 20), np.uint8)
    truth[4:10, 4:10] = 1
    perfect = truth.copy()
    truth[4, 4:10] = V  # The top of the rim is void.
    counts = boundary_counts(truth, perfect, 2)
    # Truth's rim: rows 5 to 9, 18 pixels. The prediction's rim outside void: 14, all of it in the truth's.
    assert counts[:, 1].tolist() == [14, 18]


def test_perfect_answer_scores_one_and_a_large_object_with_a_ragged_outline_less_than_its_plain_iou() -> None:
    truth = np.zeros((100, 100), np.uint8)
    truth[10:90, 10:90] = 1
    assert boundary_iou(boundary_counts(truth, truth, 2)).tolist() == [1.0, 1.0]
    ragged = truth.copy()
    ragged[8:10, 10:90] = 1
    ragged[10:12, 10:90:2] = 0
    plain = np.logical_and(truth, ragged).sum() / np.logical_or(truth, ragged).sum()
    assert boundary_iou(boundary_counts(truth, ragged, 2))[1] < plain - 0.2
