"""The architectures: size, shape, settings, and that they learn."""

import ast
import dataclasses
import importlib
import pathlib
import re
import sys

import keras
import numpy as np
import PIL.Image
import pytest

import pipeline_config
from components import iou, losses, models
from components.datasets.fake_voc import draw_pair
from components.models import names, registry
from components.models.encoders import registry as encoders
from pipeline_config import MODELS, ConfigError, ModelConfig, TrainConfig


def _on_encoder(name: str) -> ModelConfig:
    return ModelConfig(name=name, encoder_weights="none", frozen_batch_norm=False)


GUIDE = pathlib.Path(pipeline_config.__file__).parent / "docs" / "training.md"
TINY = ModelConfig(filters=2, depth=2, dropout=0.0)
ON_ENCODERS = [_on_encoder(name) for name in ("unet_pretrained", "deeplabv3plus")]
SMALL = [
    TINY,
    ModelConfig(name="unet_strided"),
    ModelConfig(name="unet_original", filters=2, depth=2, dropout=0.0),
    *(ModelConfig(name=name, filters=2, dropout=0.0) for name in ("fcn32s", "fcn16s", "fcn8s")),
    *ON_ENCODERS,
]
EACH = pytest.mark.parametrize("config", SMALL, ids=lambda config: config.name)


def test_unet_has_the_parameters_of_its_description() -> None:
    model = registry.build(ModelConfig(name="unet", filters=32), 23, 96, 128)
    assert model.input_shape == (None, 96, 128, 3)
    assert model.output_shape == (None, 96, 128, 23)
    assert model.count_params() == 8_640_471


def test_unet_strided_has_the_parameters_of_its_description() -> None:
    model = registry.build(ModelConfig(name="unet_strided"), 21, 256, 256)
    assert model.output_shape == (None, 256, 256, 21)
    assert model.count_params() == 26_917_781
    down = [layer.output.shape[1:] for layer in model.layers if isinstance(layer, keras.layers.LeakyReLU)]
    assert down == [(128, 128, 128), (64, 64, 256), (32, 32, 512), (16, 16, 512), (8, 8, 512), (4, 4, 512)]


@pytest.mark.parametrize(("height_px", "width_px"), [(4, 4), (8, 20), (36, 12)])
def test_unet_answers_in_the_size_of_its_input(height_px: int, width_px: int) -> None:
    images = np.zeros((2, height_px, width_px, 3), np.float32)
    fixed = registry.build(TINY, 5, height_px, width_px)
    assert fixed(images).shape == (2, height_px, width_px, 5)
    assert registry.build(TINY, 5)(images).shape == (2, height_px, width_px, 5)


def test_unet_strided_answers_in_the_size_of_its_input() -> None:
    model = registry.build(ModelConfig(name="unet_strided"), 3)
    assert model.output_shape == (None, None, None, 3)
    assert model(np.zeros((1, 64, 128, 3), np.float32)).shape == (1, 64, 128, 3)


@pytest.mark.parametrize(("height_px", "width_px"), [(64, 64), (192, 64), (128, 320)])
def test_unet_strided_of_any_size_is_the_same_network(height_px: int, width_px: int) -> None:
    free = registry.build(ModelConfig(name="unet_strided"), 3)
    fixed = registry.build(ModelConfig(name="unet_strided"), 3, height_px, width_px)
    fixed.set_weights(free.get_weights())
    images = np.random.default_rng(0).random((1, height_px, width_px, 3), np.float32)
    assert fixed.output_shape == (None, height_px, width_px, 3)
    np.testing.assert_allclose(free(images), fixed(images), rtol=1e-4, atol=1e-5)


def test_filters_widen_each_level_by_two() -> None:
    widths = [
        layer.filters
        for layer in registry.build(ModelConfig(filters=3, depth=2), 5).layers
        if isinstance(layer, keras.layers.Conv2D) and not isinstance(layer, keras.layers.Conv2DTranspose)
    ]
    # Two a level down, two at the bottom, two a level up, one of the first level's width, and the classes.
    assert widths == [3, 3, 6, 6, 12, 12, 6, 6, 3, 3, 3, 5]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_depth_is_the_number_of_poolings_and_of_transposed_convolutions(depth: int) -> None:
    kinds = [type(layer).__name__ for layer in registry.build(ModelConfig(filters=1, depth=depth), 2).layers]
    assert kinds.count("MaxPooling2D") == kinds.count("Conv2DTranspose") == kinds.count("Concatenate") == depth


def test_activation_is_that_of_every_3x3_convolution() -> None:
    model = registry.build(ModelConfig(filters=2, depth=1, activation="swish"), 2)
    convolutions = [layer for layer in model.layers if type(layer) is keras.layers.Conv2D and layer.kernel_size == (3, 3)]
    assert len(convolutions) == 7
    assert all(layer.activation is keras.activations.silu for layer in convolutions)
    assert model.get_layer("logits").activation is keras.activations.linear


@pytest.mark.parametrize(
    ("normalization", "kind", "a_channel"), [("batch", "BatchNormalization", 4), ("group", "GroupNormalization", 2)]
)
def test_normalization_stands_between_each_3x3_convolution_and_its_activation(
    normalization: str, kind: str, a_channel: int
) -> None:
    plain = registry.build(ModelConfig(filters=3, depth=1), 2)
    model = registry.build(ModelConfig(filters=3, depth=1, normalization=normalization, activation="swish"), 2)
    kinds = [type(layer).__name__ for layer in model.layers]
    at = [number for number, name in enumerate(kinds) if name == kind]
    assert len(at) == 7
    for number in at:
        assert kinds[number - 1 : number + 2] == ["Conv2D", kind, "Activation"]
        assert model.layers[number - 1].activation is keras.activations.linear
        assert model.layers[number + 1].activation is keras.activations.silu
    # For a bias a channel: two parameters, and for batches two moving statistics. 3, 3, 6, 6, 3, 3 and 3 channels.
    assert model.count_params() == plain.count_params() + 27 * (a_channel - 1)


@pytest.mark.parametrize(("filters", "groups"), [(1, 1), (7, 1), (12, 4), (20, 4), (16, 16), (48, 16)])
def test_groups_divide_any_number_of_filters(filters: int, groups: int) -> None:
    model = registry.build(ModelConfig(filters=filters, depth=1, normalization="group"), 2)
    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.GroupNormalization))
    assert first.groups == groups
    assert np.isfinite(model(np.zeros((1, 4, 4, 3), np.float32))).all()


def test_dropout_is_at_the_two_deepest_levels() -> None:
    model = registry.build(ModelConfig(filters=2, depth=3, dropout=0.45), 2, 32, 32)
    found = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert [layer.rate for layer in found] == [0.45, 0.45]
    assert [layer.output.shape[1:3] for layer in found] == [(8, 8), (4, 4)]  # Of 32, 16, 8 and the bottom's 4.


def test_dropout_acts_in_training_and_not_in_use() -> None:
    keras.utils.set_random_seed(0)
    model = registry.build(ModelConfig(filters=4, depth=1, dropout=0.5), 2)
    images = np.random.default_rng(0).random((1, 8, 8, 3), np.float32)
    assert np.array_equal(model(images, training=False), model(images, training=False))
    assert not np.array_equal(model(images, training=True), model(images, training=True))


def test_kernel_initializer_fills_the_3x3_convolutions() -> None:
    model = registry.build(ModelConfig(filters=2, depth=1, kernel_initializer="ones"), 2)
    convolutions = [layer for layer in model.layers if type(layer) is keras.layers.Conv2D and layer.kernel_size == (3, 3)]
    assert all((layer.kernel.numpy() == 1).all() for layer in convolutions)


def test_he_normal_weights_have_the_variance_of_their_fan_in() -> None:
    keras.utils.set_random_seed(0)
    model = registry.build(ModelConfig(filters=32, depth=1), 2)
    second = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D) and layer.kernel.shape[2] == 32)
    # He et al. 2015: variance 2 / fan-in, here 2 / (3 * 3 * 32); 9,216 numbers have it to a few per cent.
    assert second.kernel.numpy().var() == pytest.approx(2 / 288, rel=0.1)


def test_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    def weights(seed: int) -> np.ndarray:
        keras.utils.set_random_seed(seed)
        return np.concatenate([weight.ravel() for weight in registry.build(TINY, 3).get_weights()])

    assert np.array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))


def test_unknown_model_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no model 'resnet'; there are unet, unet_strided"):
        names.module_of("resnet")


def test_every_file_that_builds_an_architecture_is_registered_and_no_other() -> None:
    folder = pathlib.Path(models.__file__).parent
    found = set()
    for path in folder.glob("*.py"):
        functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
        arguments = [[argument.arg for argument in function.args.args] for function in functions if function.name == "build"]
        found |= {path.stem for names in arguments if names == ["config", "num_classes", "input_shape"]}
    assert found == set(MODELS)
    for name in MODELS:
        assert ModelConfig(name=name).name == name
        assert importlib.import_module(names.module_of(name)).__name__ == f"components.models.{name}"


@pytest.mark.parametrize("name", MODELS)
def test_guide_has_the_parameters_and_settings_of_each_architecture(name: str) -> None:
    (row,) = re.findall(rf"^\| `{name}` \|.*\| ([\d,]+) \| (.*) \|$", GUIDE.read_text(), re.MULTILINE)
    with keras.StatelessScope(initialize_variables=False):
        bare = ModelConfig(name=name, encoder_weights="none", frozen_batch_norm=False)
        assert row[0] == f"{registry.build(bare, 21).count_params():,}"
    keras.utils.clear_session()  # Else Keras would make room for the weights when it next can.
    used = re.search(r"config: uses (.*?)\.\n", importlib.import_module(names.module_of(name)).build.__doc__, re.DOTALL)
    settings = {field.name for field in dataclasses.fields(ModelConfig)}
    documented = settings & set(re.findall(r"\w+", used[1] if used else ""))
    assert row[1] == "the same" or set(re.findall(r"\w+", row[1])) == documented


FILES = sorted(pathlib.Path(models.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_architecture_imports_neither_tensorflow_nor_what_imports_it(path: pathlib.Path) -> None:
    allowed = {"keras", "numpy", "etils", "pipeline_config", "components.errors"} | set(sys.stdlib_module_names)
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    foreign = {name for name in imported if not {name, name.split(".")[0]} & allowed}
    assert all(name.startswith("components.models") for name in foreign), foreign


@EACH
@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_logits_are_float32_where_layers_compute_in_float16(config: ModelConfig, head: str) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = registry.build(dataclasses.replace(config, head=head), 2)
    finally:
        keras.config.set_dtype_policy(before)
    side = 64 + 2 * config.margin_px
    assert model(np.zeros((1, side, side, 3), np.float32)).dtype == "float32"
    hidden = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    assert (hidden.compute_dtype, hidden.kernel.dtype) == ("float16", "float32")
    assert (model.output.dtype, model.output.shape[-1]) == ("float32", 2)


@EACH
def test_architecture_has_dropout_and_an_encoder_where_it_is_registered_so(config: ModelConfig) -> None:
    model = registry.build(dataclasses.replace(config, dropout=0.45), 3)
    rates = {layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)}
    assert rates == ({0.45} if MODELS[config.name].has_dropout else set())
    assert ("encoder" in [layer.name for layer in model.layers]) == MODELS[config.name].on_encoder


@EACH
def test_each_architecture_builds_at_unknown_and_at_known_sizes(config: ModelConfig) -> None:
    size = config.nearest_size(64)
    side = size + 2 * config.margin_px
    free, fixed = registry.build(config, 4), registry.build(config, 4, size, size)
    assert (free.input_shape, free.output_shape) == ((None, None, None, 3), (None, None, None, 4))
    assert (fixed.input_shape, fixed.output_shape) == ((None, side, side, 3), (None, size, size, 4))
    assert free.count_params() == fixed.count_params()


@EACH
def test_each_architecture_has_a_sigmoid_head(config: ModelConfig) -> None:
    keras.utils.set_random_seed(0)
    config = dataclasses.replace(config, head="sigmoid")
    model = registry.build(config, 2)
    logits = np.asarray(model(np.zeros((1, *2 * (64 + 2 * config.margin_px,), 3), np.float32)))
    assert logits.shape == (1, 64, 64, 2)
    assert not logits[..., 0].any()


@pytest.mark.parametrize("config", SMALL[: -len(ON_ENCODERS)], ids=lambda config: config.name)
def test_a_gradient_step_lowers_the_loss_of_each_architecture_without_an_encoder(config: ModelConfig) -> None:
    keras.utils.set_random_seed(0)
    images, labels = _mini_pictures(64)
    model = registry.build(config, 21)
    model.compile(keras.optimizers.Adam(1e-4), losses.make_loss(TrainConfig()))
    images = _padded(images, config)
    before = model.evaluate(images, labels, verbose=0)
    for _ in range(3):
        model.train_on_batch(images, labels)
    assert model.evaluate(images, labels, verbose=0) < before


def test_a_gradient_step_lowers_the_loss() -> None:
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    images = rng.random((4, 16, 16, 3), np.float32)
    labels = (images[..., 0] > 0.5).astype(np.int32)
    labels[:, 0] = 255
    model = registry.build(ModelConfig(filters=4, depth=2, dropout=0.0), 2)
    model.compile(keras.optimizers.SGD(0.05), losses.make_loss(TrainConfig()))
    first, second, third = (model.train_on_batch(images, labels, return_dict=True)["loss"] for _ in range(3))
    model.reset_metrics()
    after = model.test_on_batch(images, labels, return_dict=True)["loss"]
    assert after < first
    # train_on_batch returns the running mean of the losses before each step.
    assert first > second > third


def test_every_weight_of_the_unet_gets_a_gradient() -> None:
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    model = registry.build(ModelConfig(filters=4, depth=2, dropout=0.0), 3)
    images = np.random.default_rng(0).random((1, 16, 16, 3), np.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(images, training=True) ** 2)
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    dead = [v.path for v, g in zip(model.trainable_variables, gradients, strict=True) if g is None or not np.any(g)]
    assert dead == []


def test_sigmoid_head_has_one_channel_and_the_logits_of_two_classes() -> None:
    config = dataclasses.replace(TINY, head="sigmoid")
    model = registry.build(config, 2)
    images = np.random.default_rng(0).random((2, 16, 16, 3), np.float32)
    logits = np.asarray(model(images))
    assert logits.shape == (2, 16, 16, 2)
    assert np.abs(logits[..., 1]).max() > 0 and not logits[..., 0].any()
    assert model.count_params() == registry.build(TINY, 1).count_params()


def test_cross_entropy_of_a_sigmoid_head_is_the_binary_one() -> None:
    logits = np.array([[[[0.0, 1.5], [0.0, -0.5]]]], np.float32)
    labels = np.array([[[1, 0]]])
    # -(log sigmoid(1.5) + log(1 - sigmoid(-0.5))) / 2 = (0.20141 + 0.47408) / 2
    assert float(losses.make_loss(TrainConfig())(labels, logits)) == pytest.approx(0.337745, abs=1e-5)


def test_sigmoid_head_is_refused_where_there_are_three_classes() -> None:
    with pytest.raises(ConfigError, match=r"model.head=sigmoid is for two classes; the data set has 3"):
        registry.check(dataclasses.replace(TINY, head="sigmoid"), 3)


def test_unet_pretrained_has_the_parameters_of_its_layers() -> None:
    model = registry.build(ON_ENCODERS[0], 21, 96, 128)
    assert model.output_shape == (None, 96, 128, 21)
    encoder = 2_958_848 + 39_456  # Weights and moving statistics, see test_encoders.py.
    # A batch normalisation has four numbers a channel: scale, offset, and the moving mean and variance.
    context = (320 * 128 + 4 * 128) + (112 * 128 + 4 * 128) + 2 * (9 * 128 * 128 + 4 * 128)
    stride8 = (40 * 48 + 4 * 48) + 9 * (128 + 48) * 96 + 4 * 96
    stride4 = (24 * 32 + 4 * 32) + 9 * (96 + 32) * 64 + 4 * 64
    assert model.count_params() == encoder + context + stride8 + stride4 + (64 * 21 + 21) == 3_581_365


def test_deeplabv3plus_has_the_parameters_of_its_layers() -> None:
    model = registry.build(ON_ENCODERS[1], 21, 96, 128)
    assert model.output_shape == (None, 96, 128, 21)

    def separable(channels: int) -> int:
        return 9 * channels + 4 * channels + channels * 256 + 4 * 256

    pyramid = (320 * 256 + 256) + (320 * 256 + 4 * 256) + 3 * separable(320) + (5 * 256 * 256 + 4 * 256)
    decoder = (24 * 48 + 4 * 48) + separable(256 + 48) + separable(256) + (256 * 21 + 21)
    assert model.count_params() == 2_958_848 + 39_456 + pyramid + decoder == 3_912_869


@pytest.mark.parametrize(
    "encoder", ["efficientnet_lite0", "efficientnet_lite2", "mobilenet_v2", "efficientnet_v2_b0", "resnet50"]
)
@pytest.mark.parametrize("config", ON_ENCODERS, ids=lambda config: config.name)
def test_model_on_an_encoder_answers_in_the_size_of_its_input(config: ModelConfig, encoder: str) -> None:
    model = registry.build(dataclasses.replace(config, encoder=encoder), 5)
    assert model.output_shape == (None, None, None, 5)
    assert model(np.zeros((2, 96, 128, 3), np.float32)).shape == (2, 96, 128, 5)
    assert model(np.zeros((1, 32, 64, 3), np.float32)).shape == (1, 32, 64, 5)


@pytest.mark.parametrize("encoder", pipeline_config._ENCODERS)
def test_guide_tells_the_parameters_on_each_encoder(encoder: str) -> None:
    [row] = re.findall(rf"^\| `{encoder}`.*\| ([\d,]+) \| ([\d,]+) \| (\d+) \|$", GUIDE.read_text(), re.MULTILINE)
    configs = [dataclasses.replace(config, encoder=encoder) for config in ON_ENCODERS]
    with keras.StatelessScope(initialize_variables=False):
        assert row[:2] == tuple(f"{registry.build(config, 21).count_params():,}" for config in configs)
    keras.utils.clear_session()  # Else Keras would make room for the weights when it next can.
    assert int(row[2]) == encoders.stride_px(configs[1], dilated=True)


def test_pyramid_looks_equally_far_at_stride_16_and_at_stride_32() -> None:
    def dilations(encoder: str) -> list[int]:
        model = registry.build(dataclasses.replace(ON_ENCODERS[1], encoder=encoder), 5)
        found = [layer.dilation_rate[0] for layer in model.layers if isinstance(layer, keras.layers.DepthwiseConv2D)]
        return [rate for rate in found if rate > 1]

    assert dilations("efficientnet_lite0") == dilations("efficientnet_lite2") == [6, 12, 18]
    assert dilations("mobilenet_v2") == [3, 6, 9]


@pytest.mark.parametrize("config", ON_ENCODERS, ids=lambda config: config.name)
def test_every_weight_of_a_model_on_an_encoder_learns(config: ModelConfig) -> None:
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    images = rng.random((2, 64, 64, 3), np.float32)
    labels = rng.integers(0, 3, (2, 64, 64))
    model = registry.build(ModelConfig(name=config.name, dropout=0.0), 3)
    before = [variable.numpy() for variable in model.trainable_variables]
    model.compile(keras.optimizers.Adam(1e-4), losses.make_loss(TrainConfig()))
    first = model.train_on_batch(images, labels, return_dict=True)["loss"]
    still = [v.path for v, old in zip(model.trainable_variables, before, strict=True) if np.array_equal(v.numpy(), old)]
    assert still == []
    for _ in range(3):
        model.reset_metrics()
        last = model.train_on_batch(images, labels, return_dict=True)["loss"]
    assert last < first


def _mini_pictures(size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns four pictures of the miniature set, float32 [4, size, size, 3] in [0, 1], and labels int32 [4, size, size]."""
    rng = np.random.default_rng(0)
    pairs = [draw_pair(rng, first_class) for first_class in range(1, 5)]
    methods = (PIL.Image.Resampling.BILINEAR, PIL.Image.Resampling.NEAREST)
    images, labels = (
        np.stack([np.asarray(PIL.Image.fromarray(one).resize((size_px, size_px), method)) for one in ones])
        for ones, method in zip(zip(*pairs, strict=True), methods, strict=True)
    )
    return images / np.float32(255), labels.astype(np.int32)


def _padded(images: np.ndarray, config: ModelConfig) -> np.ndarray:
    margin = (config.margin_px, config.margin_px)
    return np.pad(images, ((0, 0), margin, margin, (0, 0)), mode="reflect")


def _overfit(config: ModelConfig, learning_rate: float, most_steps: int) -> float:
    """Returns the mean IoU on the four pictures that are learnt from, as soon as it exceeds 0.9."""
    keras.utils.set_random_seed(0)
    images, labels = _mini_pictures(config.nearest_size(64))
    model = registry.build(config, 21)
    model.compile(keras.optimizers.Adam(learning_rate, clipnorm=1.0), losses.make_loss(TrainConfig()))
    score = 0.0
    for _ in range(0, most_steps, 20):
        model.fit(_padded(images, config), labels, batch_size=4, epochs=20, verbose=0)
        prediction = np.argmax(model(_padded(images, config), training=False), axis=-1)
        score = iou.mean_iou(iou.confusion_matrix(labels, prediction, 21))
        if score > 0.9:
            break
    return score


@pytest.mark.parametrize(
    ("config", "learning_rate", "most_steps"),
    [
        (ModelConfig(filters=16, depth=3, dropout=0.0), 3e-3, 200),
        (ModelConfig(name="unet_strided"), 5e-4, 120),
        (ModelConfig(name="unet_original", filters=8, depth=3, dropout=0.0), 3e-3, 300),
        *((ModelConfig(name=name, filters=4, dropout=0.0), 2e-3, 120) for name in ("fcn32s", "fcn16s", "fcn8s")),
        pytest.param(
            ModelConfig(name="fcn8s", filters=16, dropout=0.0, upsampling="unpool"), 1e-3, 240, marks=pytest.mark.soak
        ),
        (ModelConfig(name="unet_pretrained", dropout=0.0), 1e-3, 120),
        pytest.param(ModelConfig(name="deeplabv3plus", dropout=0.0), 1e-3, 120, marks=pytest.mark.soak),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_each_architecture_overfits_four_pictures(config: ModelConfig, learning_rate: float, most_steps: int) -> None:
    assert _overfit(config, learning_rate, most_steps) > 0.9


@pytest.mark.soak
def test_unpooled_features_that_are_normalised_learn() -> None:
    config = ModelConfig(name="fcn8s", filters=16, dropout=0.0, upsampling="unpool", normalization="batch")
    assert _overfit(config, 2e-3, 240) > 0.9


@pytest.mark.soak
@pytest.mark.parametrize("name", MODELS)
def test_each_architecture_overfits_four_pictures_at_full_width(name: str) -> None:
    """At the widths of the papers, or of the defaults."""
    filters = 32 if name == "unet" else 64
    assert _overfit(ModelConfig(name=name, filters=filters, dropout=0.0), 3e-4, 400) > 0.9
