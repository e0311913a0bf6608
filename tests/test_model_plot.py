"""The drawing of a network: what is read from it, and that nothing overlaps."""

import itertools

import keras
import pytest

from components.models import registry
from pipeline import model_graph, model_plot
from pipeline_config import MODELS, ModelConfig

TINY = ModelConfig(filters=2, depth=2)
CONFIGS = {name: ModelConfig(name=name, filters=2, depth=2, encoder_weights="none", frozen_batch_norm=False) for name in MODELS}


def test_boxes_of_a_unet() -> None:
    boxes = model_graph.read(registry.build(TINY, 3, 32, 48))
    assert (boxes[0].kind, boxes[0].shape, boxes[0].level, boxes[0].sources) == ("InputLayer", "32 x 48 x 3", 0, ())
    assert (boxes[-1].kind, boxes[-1].name, boxes[-1].shape, boxes[-1].level) == ("Conv2D 1x1", "logits", "32 x 48 x 3", 0)
    pools = [(box.shape, box.level) for box in boxes if box.kind == "MaxPooling2D"]
    assert pools == [("16 x 24 x 2", 1), ("8 x 12 x 4", 2)]
    joins = [(number, box) for number, box in enumerate(boxes) if box.kind == "Concatenate"]
    assert [box.level for _, box in joins] == [1, 0]
    for number, box in joins:
        skip, up = box.sources
        assert (up, boxes[up].kind) == (number - 1, "Conv2DTranspose 3x3 x2")
        assert boxes[skip].level == box.level


def test_crop_and_global_mean_leave_the_level_as_it_is() -> None:
    original = model_graph.read(registry.build(ModelConfig(name="unet_original", filters=2, depth=3), 3, 12, 12))
    crops = [box.level for box in original if box.kind == "Cropping2D"]
    assert sorted(crops) == [0, 1, 2]
    config = ModelConfig(name="deeplabv3plus", encoder_weights="none", frozen_batch_norm=False)
    deeplab = model_graph.read(registry.build(config, 3, 64, 64))
    assert [box.level for box in deeplab if box.kind.startswith("Global")] == [4]
    assert [(box.shape, box.level) for box in deeplab if box.kind == "Encoder"] == [("4 x 4 x 320", 4)]


def test_branches_are_read_one_after_the_other() -> None:
    inputs = keras.Input((8, 8, 3))
    long = keras.layers.ReLU(name="b")(keras.layers.ReLU(name="a")(inputs))
    short = keras.layers.ReLU(name="c")(inputs)
    model = keras.Model(inputs, keras.layers.Add(name="d")([short, long]))
    assert [box.name for box in model_graph.read(model)][1:] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("name", MODELS)
def test_every_architecture_can_be_drawn(name: str) -> None:
    model = registry.build(CONFIGS[name], 2, 64, 64)
    boxes = model_graph.read(model)
    assert len(boxes) == len(model.operations)
    assert all(source < number for number, box in enumerate(boxes) for source in box.sources)
    assert all(box.sources for box in boxes[1:])
    image = model_plot.draw(model)
    assert len(image.getcolors(1 << 20) or ()) > 5
    assert model_plot.encode(image)[1:4] == b"PNG"


def test_sigmoid_head_is_drawn_with_its_concatenation() -> None:
    model = registry.build(ModelConfig(filters=2, depth=1, head="sigmoid"), 2, 8, 8)
    assert model_graph.read(model)[-1].kind == "Concatenate"


@pytest.mark.parametrize("name", MODELS)
def test_no_skip_and_no_box_crosses_a_box(name: str) -> None:
    boxes = model_graph.fold(model_graph.read(registry.build(CONFIGS[name], 3, 64, 64)))
    corners = model_plot.place(boxes)
    width, height = model_plot._BOX_PX
    assert len(set(corners)) == len(boxes)
    for (x, y), (other_x, other_y) in itertools.combinations(corners, 2):
        assert abs(x - other_x) >= width or abs(y - other_y) >= height
    for (start_x, _), (end_x, _), lane in model_plot._skips(boxes, corners):
        assert {start_x, end_x} <= {x for x, _ in corners}
        assert not any(x <= lane <= x + width for x, _ in corners)
        assert lane > 0


@pytest.mark.parametrize(
    "name", ["unet", "unet_strided", "unet_original", "fcn16s", "fcn8s", "unet_pretrained", "deeplabv3plus"]
)
def test_skips_are_drawn_where_there_are_any(name: str) -> None:
    boxes = model_graph.fold(model_graph.read(registry.build(CONFIGS[name], 3, 64, 64)))
    assert list(model_plot._skips(boxes, model_plot.place(boxes)))


def test_strides_dilations_and_factors_are_shown() -> None:
    kinds = {box.kind for box in model_graph.read(registry.build(CONFIGS["unet_strided"], 3, 64, 64))}
    assert {"Conv2D 3x3 /2", "Conv2DTranspose 3x3 x2"} <= kinds
    kinds = {box.kind for box in model_graph.read(registry.build(CONFIGS["deeplabv3plus"], 3, 64, 64))}
    assert {"DepthwiseConv2D 3x3 d6", "DepthwiseConv2D 3x3 d18", "Upsample x4", "Conv2D 1x1"} <= kinds


def test_normalisation_and_activation_are_drawn_in_the_box_of_their_convolution() -> None:
    config = ModelConfig(filters=2, depth=2, normalization="batch", activation="gelu")
    boxes = model_graph.fold(model_graph.read(registry.build(config, 3, 16, 16)))
    assert {box.behind for box in boxes if box.kind == "Conv2D 3x3"} == {("BN", "gelu")}
    assert not any(box.kind in ("BatchNormalization", "Activation") for box in boxes)
    assert all(source < number for number, box in enumerate(boxes) for source in box.sources)
    joined = [box for box in boxes if box.kind == "Concatenate"][-1]
    assert [boxes[source].kind for source in joined.sources] == ["Conv2D 3x3", "Conv2DTranspose 3x3 x2"]


def test_normalisation_of_what_is_read_twice_keeps_its_box() -> None:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(3, 1, activation="relu", name="a")(inputs)
    model = keras.Model(inputs, keras.layers.Add(name="c")([x, keras.layers.BatchNormalization(name="b")(x)]))
    boxes = model_graph.fold(model_graph.read(model))
    assert [(box.name, box.sources, box.behind) for box in boxes][1:] == [
        ("a", (0,), ("relu",)),
        ("b", (1,), ()),
        ("c", (1, 2), ()),
    ]


def test_layer_that_is_used_twice_has_two_boxes() -> None:
    inputs = keras.Input((8, 8, 3))
    shared = keras.layers.Conv2D(3, 3, padding="same", name="shared")
    first = shared(inputs)
    model = keras.Model(inputs, keras.layers.Add(name="sum")([first, shared(keras.layers.ReLU(name="relu")(first))]))
    boxes = model_graph.read(model)
    assert [(box.name, box.sources) for box in boxes][1:] == [
        ("shared", (0,)),
        ("relu", (1,)),
        ("shared", (2,)),
        ("sum", (1, 3)),
    ]
    assert [box.parameters for box in boxes][1:] == [9 * 9 + 3, 0, None, 0]
    assert model_plot.draw(model)


def test_layer_that_another_network_uses_too_has_one_box() -> None:
    inputs = keras.Input((8, 8, 3))
    shared = keras.layers.ReLU(name="shared")
    model = keras.Model(inputs, shared(inputs))
    shared(keras.Input((4, 4, 3)))
    assert [box.shape for box in model_graph.read(model)] == ["8 x 8 x 3"] * 2


def test_text_is_cut_to_the_width_and_says_so() -> None:
    assert model_plot._cut("short", 200) == "short"
    cut = model_plot._cut("long " * 50, 60)
    assert cut.startswith("long") and cut.endswith("…") and model_plot._font().getlength(cut) <= 60
