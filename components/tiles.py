"""A picture at its own resolution, seen by the network a tile at a time: overlapping tiles, blended, in bands of rows."""

import math
from collections.abc import Callable, Iterator

import numpy as np

OVERLAP = 0.25
"""Least share of a tile that its neighbour covers, too."""

Window = tuple[slice, slice]
"""Rows and columns of a picture."""


def starts(length: int, tile: int) -> list[int]:
    """Returns where tiles begin, evenly spread: the first at 0, the last so that it ends at the edge.

    Args:
        length: of the picture's side, in pixels.
        tile: of the tile's, at most as long.
    """
    count = math.ceil((length - tile) / max(1, int(tile * (1 - OVERLAP)))) + 1
    return [round(number * (length - tile) / max(1, count - 1)) for number in range(count)]


def weights(tile: int) -> np.ndarray:
    """Returns how much each row or column of a tile counts, float32 [tile]: from nearly 0 at its edges smoothly up to 1.

    Near its edge, a network sees little of what surrounds a pixel.
    """
    distance = np.minimum(np.arange(tile), np.arange(tile)[::-1]) + 0.5
    return (np.sin(np.pi / 2 * np.minimum(1, distance / (OVERLAP * tile))) ** 2).astype(np.float32)


def blend(
    height: int, width: int, tile_height: int, tile_width: int, logits: Callable[[Window], np.ndarray]
) -> Iterator[np.ndarray]:
    """Blends the logits of overlapping tiles; only as many rows as a tile has are held.

    Args:
        height: of the picture.
        width: of the picture.
        tile_height: of a tile; no more than the picture's is used.
        tile_width: of a tile; no more than the picture's is used.
        logits: of the pixels in a window, float32 [rows, columns, C].

    Yields:
        float32 [rows, width, C], bands that together are the picture, from its top.
    """
    tile_height, tile_width = min(tile_height, height), min(tile_width, width)
    tops, lefts = starts(height, tile_height), starts(width, tile_width)
    down, across = weights(tile_height), weights(tile_width)
    of_rows, of_columns = _total(height, tops, down), _total(width, lefts, across)
    carried = None
    for top, after in zip(tops, [*tops[1:], height], strict=True):
        band: np.ndarray | None = None
        for left in lefts:
            window = slice(top, top + tile_height), slice(left, left + tile_width)
            answer = logits(window)
            if band is None:
                band = np.zeros((tile_height, width, answer.shape[-1]), np.float32)
            band[:, window[1]] += answer * (down[:, np.newaxis] * (across / of_columns[window[1]]))[..., np.newaxis]
        assert band is not None  # A picture has a column.
        if carried is not None:
            band[: len(carried)] += carried
        done = after - top
        band[:done] /= of_rows[top:after, np.newaxis, np.newaxis]
        yield band[:done]
        carried = band[done:].copy()  # The rest of the band is not held on to.


def _total(length: int, begins: list[int], weight: np.ndarray) -> np.ndarray:
    """Returns the sum of all tiles' weights at each row or column, float32 [length]."""
    total = np.zeros(length, np.float32)
    for begin in begins:
        total[begin : begin + len(weight)] += weight
    return total
