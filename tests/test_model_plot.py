"""The drawing of a network: what is read from it, and that nothing overlaps."""

import itertools

import keras
import pytest

from components.models import registry
from pipeline import model_plot
from pipeline_config import MODELS, ModelConfig

TINY = ModelConfig(filters=2, depth=2)


def test_boxes_of_a_unet() -> None:
    boxes = model_plot.read(registry.build(TINY, 3, 32, 48))
    assert (boxes[0].kind, boxes[0].shape, boxes[0].level, boxes[0].sources) == ("InputLayer", "32 x 48 x 3", 0, ())
    assert (boxes[-1].kind, boxes[-1].name, boxes[-1].shape, boxes[-1].level) == ("Conv2D 1x1", "logits", "32 x 48 x 3", 0)
    pools = [(box.shape, box.level) for box in boxes if box.kind == "MaxPooling2D"]
    assert pools == [("16 x 24 x 2", 1), ("8 x 12 x 4", 2)]
    joins = [(number, box) for number, box in enumerate(boxes) if box.kind == "Concatenate"]
    assert [box.level for _, box in joins] == [1, 0]
    for number, box in joins:
        skip, up = box.sources
        assert (up, boxes[up].kind) == (number - 1, "Conv2DTranspose 3x3")
        assert boxes[skip].level == box.level


def test_crop_and_global_mean_leave_the_level_as_it_is() -> None:
    original = model_plot.read(registry.build(ModelConfig(name="unet_original", filters=2, depth=3), 3, 12, 12))
    crops = [box.level for box in original if box.kind == "Cropping2D"]
    assert sorted(crops) == [0, 1, 2]
    config = ModelConfig(name="deeplabv3plus", encoder_weights="none", frozen_batch_norm=False)
    deeplab = model_plot.read(registry.build(config, 3, 64, 64))
    assert [box.level for box in deeplab if box.kind.startswith("Global")] == [4]
    assert [(box.shape, box.level) for box in deeplab if box.kind == "Encoder"] == [("4 x 4 x 320", 4)]


def test_branches_are_read_one_after_the_other() -> None:
    inputs = keras.Input((8, 8, 3))
    long = keras.layers.ReLU(name="b")(keras.layers.ReLU(name="a")(inputs))
    short = keras.layers.ReLU(name="c")(inputs)
    model = keras.Model(inputs, keras.layers.Add(name="d")([short, long]))
    assert [box.name for box in model_plot.read(model)][1:] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("name", MODELS)
def test_every_architecture_can_be_drawn(name: str) -> None:
    config = ModelConfig(name=name, filters=2, depth=2, encoder_weights="none", frozen_batch_norm=False)
    model = registry.build(config, 2, 64, 64)
    boxes = model_plot.read(model)
    assert len(boxes) == len(model.operations)
    assert all(source < number for number, box in enumerate(boxes) for source in box.sources)
    assert all(box.sources for box in boxes[1:])
    image = model_plot.draw(model)
    assert len(image.getcolors(1 << 20) or ()) > 5
    assert model_plot.encode(image)[1:4] == b"PNG"


def test_sigmoid_head_is_drawn_with_its_concatenation() -> None:
    model = registry.build(ModelConfig(filters=2, depth=1, head="sigmoid"), 2, 8, 8)
    assert model_plot.read(model)[-1].kind == "Concatenate"


def test_no_skip_crosses_a_box() -> None:
    boxes = model_plot.read(registry.build(TINY, 3, 32, 32))
    columns = sorted({box.level for box in boxes})
    corners = [(100 + 256 * columns.index(box.level), 50 * row) for row, box in enumerate(boxes)]
    for _, _, lane in model_plot._skips(boxes, corners):
        for (x, _), _ in itertools.product(corners, "x"):
            assert not x <= lane <= x + 210


def test_text_is_cut_to_the_width() -> None:
    assert model_plot._cut("short", 200) == "short"
    cut = model_plot._cut("long " * 50, 60)
    assert cut and model_plot._font().getlength(cut) <= 60
