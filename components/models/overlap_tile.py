"""Whole pictures through a network that eats its borders: overlap-tile (Ronneberger et al. 2015, figure 2)."""

from typing import Any

import keras
from keras import ops

from components.models.any_size import mirror, next_size
from pipeline_config import ModelConfig

TILE_PX = 388
"""Largest height and width of a tile's logits, or the nearest that fits: the paper's."""


class OverlapTile(keras.Model):
    """From float [B, H, W, 3], of any height and width, to the network's logits [B, H, W, C].

    What lies beyond the picture is mirrored. Tiles stand at multiples of the network's stride, so that its poolings meet the
    same pixels in each: the logits are those of one tile as large as the picture. There are as few as `tile_px` allows, and
    they are no larger than that few must be. They are computed one after the other: memory holds the activations of one tile
    times the batch, and the logits of all.

    Args:
        network: from [B, h + 2 m, w + 2 m, 3] to [B, h, w, C], where m is the margin.
        config: what the network was built from.
        tile_px: largest height and width of a tile's logits; by default 388, or the nearest that fits.

    Raises:
        ValueError: a tile of that size does not fit, or leaves none of its pixels to itself.
    """

    def __init__(self, network: keras.Model, config: ModelConfig, tile_px: int | None = None) -> None:
        """Wraps a network, and shares its weights."""
        super().__init__(name=network.name, dtype="float32")
        self.network = network
        self._config = config
        self._tile_px = config.nearest_size(TILE_PX) if tile_px is None else tile_px
        if not config.fits(self._tile_px) or self._tile_px == config.offset_px:
            raise ValueError(
                f"tile_px must be a multiple of {config.stride_px} and {config.offset_px} more; got {tile_px}. "
                f"Use {config.nearest_size(max(self._tile_px, config.offset_px + config.stride_px))}."
            )

    def call(self, inputs: keras.KerasTensor, training: bool | None = None) -> keras.KerasTensor:
        """Float [B, H, W, 3] to [B, H, W, C]."""
        batch, height, width, _ = ops.shape(inputs)
        (tile_height, tops), (tile_width, lefts) = self._tiles(height), self._tiles(width)
        margin = self._config.margin_px
        rows = mirror(tops[:, None] + ops.arange(-margin, tile_height + margin, dtype="int32"), height)
        columns = mirror(lefts[:, None] + ops.arange(-margin, tile_width + margin, dtype="int32"), width)
        across = ops.shape(lefts)[0]

        def compute(_: Any, number: Any) -> tuple[Any, Any]:
            tile = ops.take(inputs, ops.take(rows, number // across, axis=0), axis=1)
            tile = ops.take(tile, ops.take(columns, number % across, axis=0), axis=2)  # [B, h + 2 m, w + 2 m, 3]
            logits = self.network(tile, training=training)  # [B, h, w, C]
            return logits, logits

        channels = self.network.output_shape[-1]
        nothing = ops.zeros((batch, tile_height, tile_width, channels))
        _, tiles = ops.scan(compute, nothing, ops.arange(ops.shape(tops)[0] * across, dtype="int32"))
        tiles = ops.reshape(tiles, (-1, across, batch, tile_height, tile_width, channels))
        tiles = ops.transpose(tiles, (2, 0, 3, 1, 4, 5))  # [B, tiles, h, tiles, w, C]
        tiles = ops.reshape(tiles, (batch, -1, across * tile_width, channels))
        return ops.take(ops.take(tiles, _places(height, tile_height, tops), axis=1), _places(width, tile_width, lefts), axis=2)

    def _tiles(self, size: Any) -> tuple[Any, Any]:
        """Returns the tiles' height (or width), and where they begin: int32 [tiles]; the last may reach beyond the picture."""
        stride, offset = self._config.stride_px, self._config.offset_px
        whole = next_size(size, self._config)
        # A tile overlaps the next by the offset, and brings a whole number of strides.
        strides, most = (whole - offset) // stride, (self._tile_px - offset) // stride
        count = _at_least_one(-(-strides // most))
        tile = -(-strides // count) * stride + offset
        return tile, ops.minimum(ops.arange(count, dtype="int32") * (tile - offset), whole - tile)


def _at_least_one(count: Any) -> Any:
    """Keeps a number a number, so that where the size is known the tiles' is, too."""
    return max(count, 1) if isinstance(count, int) else ops.maximum(count, 1)


def _places(size: Any, tile: Any, begins: Any) -> Any:
    """Returns where each row of the picture stands in the tiles put below each other, int32 [size]."""
    row = ops.arange(size, dtype="int32")
    number = ops.sum(ops.cast(row[:, None] >= begins, "int32"), axis=1) - 1  # Of the last tile that has begun.
    return number * tile + row - ops.take(begins, number)
