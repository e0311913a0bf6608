"""Regions of masks small enough to be counted by eye."""

import time

import numpy as np
import pytest

from components.regions import Region, draw_boxes, find_regions, has_background, to_box

# Three regions: class 1 is an L of 4 pixels at the left and one pixel at the right, class 2 a diagonal of 3.
MASK = np.array(
    [
        [1, 0, 0, 2, 0, 0],
        [1, 0, 2, 0, 0, 1],
        [1, 1, 0, 2, 0, 0],
    ],
    np.uint8,
)
L_SHAPE = Region(1, left=0, top=0, right=2, bottom=3, area_px=4, mean_score=None)
DIAGONAL = Region(2, left=2, top=0, right=4, bottom=3, area_px=3, mean_score=None)
DOT = Region(1, left=5, top=1, right=6, bottom=2, area_px=1, mean_score=None)


def test_regions_come_with_their_boxes_the_largest_first() -> None:
    assert find_regions(MASK, None, background=True, min_area_px=1) == [L_SHAPE, DIAGONAL, DOT]


def test_pixels_that_touch_at_a_corner_are_one_region() -> None:
    assert find_regions(np.eye(3, dtype=np.uint8), None, True, 1) == [Region(1, 0, 0, 3, 3, 3, None)]


def test_regions_of_different_classes_that_touch_stay_apart() -> None:
    mask = np.array([[1, 1, 2, 2, 2]], np.uint8)
    assert find_regions(mask, None, True, 1) == [Region(2, 2, 0, 5, 1, 3, None), Region(1, 0, 0, 2, 1, 2, None)]


@pytest.mark.parametrize(("min_area_px", "expected"), [(0, 3), (1, 3), (2, 2), (3, 2), (4, 1), (5, 0)])
def test_region_smaller_than_the_least_area_is_left_out(min_area_px: int, expected: int) -> None:
    assert find_regions(MASK, None, True, min_area_px) == [L_SHAPE, DIAGONAL, DOT][:expected]


def test_class_0_has_regions_where_it_is_no_background() -> None:
    found = find_regions(MASK, None, background=False, min_area_px=1)
    # All ten zeros are one: those at the left of the diagonal touch those at its right at (1, 3) and (2, 2).
    assert [region for region in found if region.class_id == 0] == [
        Region(0, left=1, top=0, right=6, bottom=3, area_px=10, mean_score=None)
    ]
    assert [region for region in found if region.class_id] == [L_SHAPE, DIAGONAL, DOT]


def test_mean_score_is_that_of_the_regions_own_pixels() -> None:
    scores = np.zeros(MASK.shape, np.float32)
    scores[:, 0], scores[2, 1], scores[1, 5] = (0.5, 0.75, 1.0), 0.75, 0.25
    found = find_regions(MASK, scores, True, 1)
    assert [region.mean_score for region in found] == [0.75, 0.0, 0.25]  # (0.5 + 0.75 + 1 + 0.75) / 4


def test_void_is_no_region() -> None:
    assert find_regions(np.full((2, 2), 255, np.uint8), None, False, 1) == []


@pytest.mark.parametrize("mask", [np.zeros((4, 5), np.uint8), np.zeros((0, 5), np.uint8)])
def test_background_alone_has_no_regions(mask: np.ndarray) -> None:
    assert find_regions(mask, None, True, 1) == []


def test_picture_of_one_class_is_one_region() -> None:
    assert find_regions(np.full((4, 5), 7, np.uint8), None, True, 1) == [Region(7, 0, 0, 5, 4, 20, None)]


def test_scores_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 5\).*\(3, 6\)"):
        find_regions(MASK, np.zeros((3, 5), np.float32), True, 1)


def _flood(mask: np.ndarray, background: bool) -> list[tuple[int, ...]]:
    """Returns (class, left, top, right, bottom, area) of each region, by filling them one pixel at a time."""
    seen, found = np.zeros(mask.shape, bool), []
    for start in np.ndindex(mask.shape):
        if seen[start] or (background and mask[start] == 0):
            continue
        seen[start] = True
        stack, pixels = [start], []
        while stack:
            row, column = stack.pop()
            pixels.append((row, column))
            for r in range(max(row - 1, 0), min(row + 2, mask.shape[0])):
                for c in range(max(column - 1, 0), min(column + 2, mask.shape[1])):
                    if not seen[r, c] and mask[r, c] == mask[start]:
                        seen[r, c] = True
                        stack.append((r, c))
        rows, columns = zip(*pixels, strict=True)
        found.append((int(mask[start]), min(columns), min(rows), max(columns) + 1, max(rows) + 1, len(pixels)))
    return sorted(found)


@pytest.mark.parametrize("seed", range(6))
def test_regions_are_those_of_filling_pixel_by_pixel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.choice(4, (rng.integers(1, 30), rng.integers(1, 30)), p=[0.1, 0.5, 0.3, 0.1]).astype(np.uint8)
    for background in (False, True):
        found = find_regions(mask, None, background, 1)
        assert sorted((r.class_id, r.left, r.top, r.right, r.bottom, r.area_px) for r in found) == _flood(mask, background)


def test_speckle_of_12_megapixels_takes_seconds() -> None:
    """The worst of masks: every class all over the picture, in hundreds of thousands of regions too small to be kept."""
    few = np.random.default_rng(0).integers(0, 21, (750, 1000)).astype(np.uint8)
    mask = few.repeat(4, axis=0).repeat(4, axis=1)
    started = time.process_time()
    assert find_regions(mask, np.ones(mask.shape, np.float32), True, 6000) == []
    assert time.process_time() - started < 30


@pytest.mark.parametrize(
    ("names", "expected"), [(("background", "car"), True), (("Background",), True), (("road", "car"), False)]
)
def test_first_class_is_background_if_it_is_called_so(names: tuple[str, ...], expected: bool) -> None:
    assert has_background(names) is expected


PALETTE = ((0, 0, 0), (200, 0, 0), (0, 100, 0))


def test_frame_lies_within_the_box_in_the_color_of_the_class() -> None:
    grey = np.full((5, 6, 3), 9, np.uint8)
    drawn = draw_boxes(grey, [Region(2, left=1, top=1, right=5, bottom=4, area_px=8, mean_score=None)], PALETTE)
    framed = (drawn == (0, 100, 0)).all(axis=-1)
    assert framed.astype(int).tolist() == [
        [0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 1, 0],
        [0, 1, 0, 0, 1, 0],
        [0, 1, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 0],
    ]
    assert (drawn[~framed] == 9).all()
    assert (grey == 9).all()  # As it was.


def test_small_frame_is_drawn_over_a_large_one_whatever_their_order() -> None:
    regions = [Region(1, 0, 0, 1, 1, 1, None), Region(2, 0, 0, 4, 4, 16, None)]
    for order in (regions, regions[::-1]):
        drawn = draw_boxes(np.zeros((4, 4, 3), np.uint8), order, PALETTE)
        assert drawn[0, 0].tolist() == [200, 0, 0]
        assert drawn[0, 1].tolist() == [0, 100, 0]


@pytest.mark.parametrize(("width", "line"), [(6, 1), (500, 2), (4000, 16)])
def test_lines_of_a_large_picture_are_wider(width: int, line: int) -> None:
    drawn = draw_boxes(np.zeros((80, width, 3), np.uint8), [Region(1, 0, 0, width, 80, 1, None)], PALETTE)
    assert int((drawn[:, width // 2, 0] == 200).sum()) == 2 * line


@pytest.mark.parametrize(("box_width", "box_height"), [(1, 1), (3, 40), (40, 3), (5, 5), (16, 31)])
def test_wide_lines_do_not_leave_a_small_box(box_width: int, box_height: int) -> None:
    region = Region(1, left=50, top=20, right=50 + box_width, bottom=20 + box_height, area_px=1, mean_score=None)
    drawn = draw_boxes(np.zeros((80, 4000, 3), np.uint8), [region], PALETTE)  # Lines of 16 pixels, where there is room.
    rows, columns = np.nonzero(drawn[..., 0])
    assert (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1) == (50, region.right, 20, region.bottom)


def test_region_has_the_same_box_wherever_it_is_written() -> None:
    box = {"class": "cat", "left": 1, "top": 2, "right": 4, "bottom": 6, "area": 9, "mean_score": 0.1235}
    assert to_box(Region(1, left=1, top=2, right=4, bottom=6, area_px=9, mean_score=0.123456), ("dog", "cat")) == box
    assert to_box(DOT, ("dog", "cat"))["mean_score"] is None


@pytest.mark.parametrize(("area", "expected"), [(4, 0), (5, 1)])
def test_least_area_is_a_share_of_the_mask_where_none_is_said(area: int, expected: int) -> None:
    mask = np.zeros((100, 100), np.uint8)
    mask[0, :area] = 1
    assert len(find_regions(mask, None, True)) == expected  # 0.0005 of 10,000.


def test_no_regions_leave_the_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (3, 4, 3)).astype(np.uint8)
    assert np.array_equal(draw_boxes(picture, [], PALETTE), picture)
