"""unet_original: the paper's sizes, and whole pictures by overlap-tile, on which no seam may show."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.models import registry
from components.models.overlap_tile import OverlapTile
from pipeline_config import ModelConfig

DEPTHS = pytest.mark.parametrize("depth", [1, 2, 3, 4])


def _config(depth: int) -> ModelConfig:
    return ModelConfig(name="unet_original", filters=2, depth=depth, dropout=0.0, activation="gelu")


def _network(depth: int) -> keras.Model:
    keras.utils.set_random_seed(depth)
    return registry.build(_config(depth), 3)


def _pictures(height_px: int, width_px: int) -> np.ndarray:
    return np.random.default_rng(height_px * width_px).random((2, height_px, width_px, 3), np.float32)


def _mirrored(pictures: np.ndarray, config: ModelConfig, height_px: int, width_px: int) -> np.ndarray:
    """Returns pictures padded by the margin, and behind to a size that fits, by NumPy."""
    margin, (_, height, width, _) = config.margin_px, pictures.shape
    pads = ((0, 0), (margin, margin + height_px - height), (margin, margin + width_px - width), (0, 0))
    return np.pad(pictures, pads, mode="reflect")


def _in_graph(model: keras.Model) -> tf.types.experimental.GenericFunction:
    """As in the served model, where nothing is known of a batch."""
    signature = [tf.TensorSpec([None, None, None, 3], tf.float32)]
    return tf.function(lambda images: model(images, training=False), input_signature=signature)


def test_papers_sizes_are_met_at_each_level() -> None:
    model = registry.build(ModelConfig(name="unet_original", filters=64), 2, 388, 388)
    assert (model.input_shape, model.output_shape) == ((None, 572, 572, 3), (None, 388, 388, 2))
    # Figure 1: before each pooling 568, 280, 136 and 64; at the bottom 28; before each copied half 56, 104, 200 and 392.
    pooled = [layer.input.shape[1:] for layer in model.layers if isinstance(layer, keras.layers.MaxPooling2D)]
    assert pooled == [(568, 568, 64), (280, 280, 128), (136, 136, 256), (64, 64, 512)]
    copied = [layer.output.shape[1:] for layer in model.layers if isinstance(layer, keras.layers.Cropping2D)]
    assert copied == [(56, 56, 512), (104, 104, 256), (200, 200, 128), (392, 392, 64)]
    assert model.get_layer("logits").input.shape[1:] == (388, 388, 64)


def test_parameters_are_those_of_the_papers_layers() -> None:
    def block(inputs: int, outputs: int) -> int:
        return 9 * inputs * outputs + outputs + 9 * outputs * outputs + outputs

    widths = [64, 128, 256, 512, 1024]
    down = block(3, 64) + sum(block(narrow, wide) for narrow, wide in itertools.pairwise(widths))
    up = sum(
        4 * wide * narrow + narrow + block(wide, narrow) for narrow, wide in itertools.pairwise(widths)
    )  # 2x2 up-convolutions; half of a block's input is the skip.
    assert (
        registry.build(ModelConfig(name="unet_original", filters=64), 2).count_params() == down + up + 64 * 2 + 2 == 31_031_810
    )


@DEPTHS
def test_margin_is_what_the_layers_eat(depth: int) -> None:
    config = _config(depth)
    size = config.nearest_size(40)
    model = registry.build(config, 3, size, size)
    assert model.input_shape[1] == size + 2 * config.margin_px
    assert model.output_shape[1] == size


def test_margin_is_92_at_depth_4_and_sizes_are_4_more_than_multiples_of_16() -> None:
    config = _config(4)
    assert (config.margin_px, config.stride_px, config.offset_px) == (92, 16, 4)
    assert [size for size in range(-20, 70) if config.fits(size)] == [4, 20, 36, 52, 68]
    assert [config.nearest_size(size) for size in (1, 11, 13, 256, 388)] == [4, 4, 20, 260, 388]
    assert ModelConfig().margin_px == ModelConfig().offset_px == 0


def test_dropout_is_at_the_end_of_the_contracting_path() -> None:
    model = registry.build(ModelConfig(name="unet_original", filters=2, depth=3, dropout=0.45), 2, 68, 68)
    found = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert [layer.rate for layer in found] == [0.45, 0.45]
    # Input 68 + 2 * 44 = 156; each block eats 4, each pooling halves: 152, 76, 72, 36, 32 (the last skip), 16, 12 (the bottom).
    assert [layer.output.shape[1:] for layer in found] == [(32, 32, 8), (12, 12, 16)]


@DEPTHS
@pytest.mark.parametrize(("height_px", "width_px"), [(101, 67), (20, 90), (7, 5), (2, 1)])
def test_tiles_answer_as_one_huge_tile_does(depth: int, height_px: int, width_px: int) -> None:
    config, network, pictures = _config(depth), _network(depth), _pictures(height_px, width_px)
    whole = [next(size for size in range(side, 200) if config.fits(size)) for side in (height_px, width_px)]
    expected = np.asarray(network(_mirrored(pictures, config, *whole)))[:, :height_px, :width_px]
    for tile_px in (config.nearest_size(20), config.nearest_size(388)):
        logits = OverlapTile(network, config, tile_px)(pictures)
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    assert expected.std() > 0


@DEPTHS
def test_tiles_answer_in_a_graph_of_unknown_sizes(depth: int) -> None:
    config, network = _config(depth), _network(depth)
    model = OverlapTile(network, config, config.nearest_size(20))
    answer = _in_graph(model)
    for size in ((33, 50), (4, 4), (1, 3)):
        pictures = _pictures(*size)
        logits = answer(pictures)
        assert logits.dtype == tf.float32
        np.testing.assert_allclose(logits, model(pictures), rtol=1e-4, atol=1e-5)


def test_tiles_overlap_no_more_than_they_must() -> None:
    config, sizes = _config(4), []

    class Counted(keras.Model):
        output_shape = (None, None, None, 3)

        def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
            sizes.append(tuple(inputs.shape))
            margin = config.margin_px
            return inputs[:, margin:-margin, margin:-margin]

    model = OverlapTile(Counted(), config, 36)
    model(_pictures(4, 4))  # Keras builds the network by a call of its own.
    # Logits of 36 and 20 pixels: tiles of 36 begin at 0, 32 ..., so that 68 takes two, and 69, for which 84 fits, three.
    for (height, width), tiles in {(68, 20): 2, (69, 20): 3, (36, 36): 1, (68, 68): 4, (5, 200): 7}.items():
        sizes.clear()
        pictures = _pictures(height, width)
        np.testing.assert_array_equal(model(pictures), pictures)  # What is between the margins is the picture again.
        assert len(sizes) == tiles, (height, width)


def test_tiles_are_no_larger_than_their_number_asks_for() -> None:
    model = OverlapTile(_network(4), _config(4))
    # 404 = 25 strides of 16, and 4; the largest tile has 24. Two tiles need 13 of them: 13 * 16 + 4.
    assert {
        size: (tile, np.asarray(begins).tolist()) for size in (388, 404, 405, 3) for tile, begins in [model._tiles(size)]
    } == {
        388: (388, [0]),
        404: (212, [0, 192]),
        405: (212, [0, 208]),  # 26 strides.
        3: (4, [0]),
    }


@pytest.mark.parametrize(("tile_px", "use"), [(101, 100), (4, 20), (0, 20), (-12, 20)])
def test_tile_that_does_not_fit_is_refused(tile_px: int, use: int) -> None:
    with pytest.raises(ValueError, match=rf"tile_px must be a multiple of 16 and 4 more; got {tile_px}. Use {use}"):
        OverlapTile(_network(4), _config(4), tile_px)
    assert OverlapTile(_network(4), _config(4), use)


def test_sigmoid_head_keeps_its_two_channels() -> None:
    config = ModelConfig(name="unet_original", filters=2, depth=2, head="sigmoid")
    logits = np.asarray(registry.for_whole_pictures(registry.build(config, 2), config)(_pictures(33, 50)))
    assert logits.shape == (2, 33, 50, 2)
    assert not logits[..., 0].any() and logits[..., 1].any()
