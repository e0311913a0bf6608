"""Whole pictures through a network that eats its borders: overlap-tile (Ronneberger et al. 2015, figure 2)."""

from typing import Any

import keras
from keras import ops

from pipeline_config import ModelConfig

TILE_PX = 388
"""Height and width of a tile's logits, or the nearest that fits; a smaller picture takes a smaller tile."""


class OverlapTile(keras.Model):
    """From float [B, H, W, 3], of any height and width, to the network's logits [B, H, W, C].

    What lies beyond the picture is mirrored. Tiles stand at multiples of the network's stride, so that its poolings meet the
    same pixels in each: the logits are those of one tile as large as the picture. They are computed one after the other, and
    memory holds the activations of a single one.

    Args:
        network: from [B, h + 2 m, w + 2 m, 3] to [B, h, w, C], where m is the margin.
        config: what the network was built from.
        tile_px: height and width of a tile's logits; must fit.
    """

    def __init__(self, network: keras.Model, config: ModelConfig, tile_px: int | None = None) -> None:
        """Wraps a network, and shares its weights."""
        super().__init__(name=network.name, dtype="float32")
        self.network = network
        self._config = config
        self._tile_px = tile_px or config.nearest_size(TILE_PX)

    def call(self, inputs: keras.KerasTensor, training: bool | None = None) -> keras.KerasTensor:
        """Float [B, H, W, 3] to [B, H, W, C]."""
        batch, height, width, _ = ops.shape(inputs)
        (tile_height, tops), (tile_width, lefts) = self._tiles(height), self._tiles(width)
        margin = self._config.margin_px
        rows = _mirror(tops[:, None] + ops.arange(-margin, tile_height + margin, dtype="int32"), height)
        columns = _mirror(lefts[:, None] + ops.arange(-margin, tile_width + margin, dtype="int32"), width)
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
        whole = -((offset - size) // stride) * stride + offset  # The next size that fits.
        tile = ops.minimum(whole, self._tile_px)
        step = ops.maximum(tile - offset, 1)  # A multiple of the stride; a tile overlaps the next by the offset.
        count = -((tile - whole) // step) + 1
        return tile, ops.minimum(ops.arange(count, dtype="int32") * step, whole - tile)


def _places(size: Any, tile: Any, begins: Any) -> Any:
    """Returns where each row of the picture stands in the tiles put below each other, int32 [size]."""
    row = ops.arange(size, dtype="int32")
    number = ops.sum(ops.cast(row[:, None] >= begins, "int32"), axis=1) - 1  # Of the last tile that has begun.
    return number * tile + row - ops.take(begins, number)


def _mirror(index: Any, size: Any) -> Any:
    """Reflects indices until they lie in 0..size - 1, the border's pixel once: 2 1 0 1 2, as often as need be."""
    period = ops.maximum(2 * (size - 1), 1)
    index = index % period
    return ops.minimum(index, 2 * (size - 1) - index)
