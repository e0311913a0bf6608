"""Tiles of pictures whose logits are known: a network that is linear in each pixel says the same of a part as of the whole."""

import itertools
import tracemalloc

import numpy as np
import pytest

from components.tiles import Window, blend, starts, weights


@pytest.mark.parametrize(
    ("length", "tile", "expected"),
    [
        (8, 8, [0]),
        (9, 8, [0, 1]),
        (14, 8, [0, 6]),  # A quarter of 8 is 2.
        (15, 8, [0, 4, 7]),  # Two would leave too little: 7 / 2 is 3.5, to the even one.
        (20, 8, [0, 6, 12]),
        (3, 1, [0, 1, 2]),
        (1, 1, [0]),
    ],
)
def test_tiles_are_spread_from_edge_to_edge(length: int, tile: int, expected: list[int]) -> None:
    assert starts(length, tile) == expected


@pytest.mark.parametrize("tile", [8, 31, 288])
def test_neighbours_share_at_least_a_quarter(tile: int) -> None:
    for length in range(tile, 5 * tile, 7):
        begins = starts(length, tile)
        assert begins[0] == 0 and begins[-1] == length - tile
        assert all(0 < after - before <= 0.75 * tile for before, after in itertools.pairwise(begins))


def test_weights_rise_smoothly_from_both_edges() -> None:
    # A quarter of 8 is 2 pixels: half a pixel and one and a half from the edge, sin^2 of pi/8 and 3 pi/8; then all counts.
    expected = [0.146447, 0.853553, 1, 1, 1, 1, 0.853553, 0.146447]
    np.testing.assert_allclose(weights(8), expected, atol=1e-6)
    assert all((weights(tile) > 0).all() for tile in (1, 2, 3, 1000))


def _picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * width).normal(0, 1, (height, width, 3)).astype(np.float32)


@pytest.mark.parametrize("size", [(8, 8), (9, 33), (40, 21), (8, 100), (5, 50), (50, 3), (1, 1), (64, 64)])
def test_tiles_of_a_network_that_looks_at_single_pixels_are_the_picture(size: tuple[int, int]) -> None:
    picture = _picture(*size)
    bands = list(blend(*size, 8, 10, lambda window: 2 * picture[window] + 1))
    assert all(len(band) <= 8 for band in bands)
    np.testing.assert_allclose(np.concatenate(bands), 2 * picture + 1, atol=1e-5)


def test_where_two_tiles_disagree_the_answer_goes_smoothly_from_one_to_the_other() -> None:
    """Two tiles of 8 in a row of 14, the one says 0, the other 1: they share columns 6 and 7."""

    def logits(window: Window) -> np.ndarray:
        return np.full((1, 8, 1), float(window[1].start > 0), np.float32)

    (band,) = blend(1, 14, 1, 8, logits)
    # The right tile's weights there are 0.146 and 0.854, the left one's 0.854 and 0.146, and they add up to 1.
    np.testing.assert_allclose(band[0, :, 0], [0] * 6 + [0.146447, 0.853553] + [1] * 6, atol=1e-6)


def test_where_rows_of_tiles_disagree_it_is_the_same() -> None:
    def logits(window: Window) -> np.ndarray:
        return np.full((8, 1, 1), float(window[0].start > 0), np.float32)

    column = np.concatenate(list(blend(14, 1, 8, 1, logits)))[:, 0, 0]
    np.testing.assert_allclose(column, [0] * 6 + [0.146447, 0.853553] + [1] * 6, atol=1e-6)


def test_three_tiles_may_overlap() -> None:
    # Tiles of 8 at 0, 4 and 7 of 15 rows: row 7 lies in all three, with weights 0.146 (its last row), 1 and 0.146.
    def logits(window: Window) -> np.ndarray:
        return np.full((8, 1, 1), {0: 0.0, 4: 1.0, 7: 2.0}[window[0].start], np.float32)

    column = np.concatenate(list(blend(15, 1, 8, 1, logits)))[:, 0, 0]
    assert column[7] == pytest.approx((0 * 0.146447 + 1 * 1 + 2 * 0.146447) / (1 + 2 * 0.146447), abs=1e-5)


def test_12_megapixels_of_21_classes_take_a_few_bands_of_memory() -> None:
    """All logits at once would take 1 GB; a band of 288 rows takes 97 MB."""
    answer = np.ones((288, 288, 21), np.float32)
    tracemalloc.start()
    try:
        rows = sum(len(band) for band in blend(3000, 4000, 288, 288, lambda window: answer))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rows == 3000
    assert peak < 300e6
