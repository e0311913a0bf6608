"""Decoding, resizing and scaling: alike eagerly and in tf.data, no new ids, no values out of range."""

import io
import pathlib
from collections.abc import Callable

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from components import preprocessing
from pipeline_config import TransformConfig

METHODS = ("bilinear", "bicubic", "area", "lanczos3", "nearest")


def _config(height_px: int, width_px: int, method: str = "bilinear") -> TransformConfig:
    return TransformConfig(height_px=height_px, width_px=width_px, resize_method=method)


def _encode(image: PIL.Image.Image, kind: str = "PNG", **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def _noise(seed: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels)).astype(np.uint8)


def test_rgb_png_comes_back_pixel_by_pixel() -> None:
    image = _noise(0, 5, 4)
    decoded = preprocessing.decode_image(_encode(PIL.Image.fromarray(image)))
    assert decoded.dtype == tf.uint8
    assert decoded.numpy().tolist() == image.tolist()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_grey_picture_becomes_three_equal_channels(kind: str) -> None:
    ramp = np.tile(np.arange(0, 160, 10, dtype=np.uint8), (16, 1))
    decoded = preprocessing.decode_image(_encode(PIL.Image.fromarray(ramp), kind)).numpy()
    assert decoded.shape == (16, 16, 3)
    assert (decoded == decoded[..., :1]).all()
    assert np.abs(decoded[..., 0].astype(int) - ramp).max() <= (2 if kind == "JPEG" else 0)


def test_alpha_is_dropped_and_not_mixed_in() -> None:
    rgba = np.array([[[10, 20, 30, 0], [40, 50, 60, 255], [70, 80, 90, 128]]], np.uint8)
    decoded = preprocessing.decode_image(_encode(PIL.Image.fromarray(rgba)))
    assert decoded.numpy().tolist() == [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]


def test_palette_png_is_a_picture_of_its_colors() -> None:
    image = PIL.Image.fromarray(np.array([[0, 1]], np.uint8))
    image.putpalette([9, 8, 7, 200, 100, 50])
    assert preprocessing.decode_image(_encode(image)).numpy().tolist() == [[[9, 8, 7], [200, 100, 50]]]


def test_cmyk_jpeg_has_the_colors_that_pillow_sees() -> None:
    blocks = np.kron(np.random.default_rng(0).integers(0, 256, (4, 4, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    encoded = _encode(PIL.Image.fromarray(blocks).convert("CMYK"), "JPEG")
    seen = np.asarray(PIL.Image.open(io.BytesIO(encoded)).convert("RGB")).astype(int)
    assert np.abs(preprocessing.decode_image(encoded).numpy() - seen).max() <= 2


@pytest.mark.parametrize("encoded", [b"", b"not a picture", b"\xff\xd8\xff\xe0"], ids=["empty", "text", "magic only"])
def test_what_is_no_picture_is_refused(encoded: bytes) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        preprocessing.decode_image(encoded)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_truncated_picture_is_refused(kind: str) -> None:
    encoded = _encode(PIL.Image.fromarray(_noise(0, 64, 64)), kind)
    with pytest.raises(tf.errors.InvalidArgumentError):
        preprocessing.decode_image(encoded[: len(encoded) // 2])


def test_area_averages_blocks_and_rounds() -> None:
    image = np.array([[0, 10, 1, 1], [20, 31, 1, 2]], np.uint8)[..., np.newaxis].repeat(3, axis=-1)
    # (0 + 10 + 20 + 31) / 4 = 15.25 -> 15, (1 + 1 + 1 + 2) / 4 = 1.25 -> 1.
    resized = preprocessing.resize_image(image, _config(1, 2, "area"))
    assert resized.numpy().tolist() == [[[15] * 3, [1] * 3]]


def test_values_are_rounded_and_not_cut_off() -> None:
    image = np.array([[0, 3], [2, 2]], np.uint8)[..., np.newaxis].repeat(3, axis=-1)
    assert preprocessing.resize_image(image, _config(1, 1, "area")).numpy().tolist() == [[[2] * 3]]  # 7 / 4 = 1.75


def test_bilinear_enlargement_has_its_samples_at_pixel_centres() -> None:
    image = np.array([[0, 100]], np.uint8)[..., np.newaxis].repeat(3, axis=-1)
    # Four pixels over two: centres at -0.25, 0.25, 0.75, 1.25 of the source, the outer ones clamped.
    resized = preprocessing.resize_image(image, _config(1, 4))
    assert resized.numpy()[0, :, 0].tolist() == [0, 25, 75, 100]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("height_px", "width_px"), [(4, 4), (7, 9), (40, 24)])
@pytest.mark.parametrize("value", [0, 1, 128, 254, 255])
def test_constant_picture_stays_constant(method: str, height_px: int, width_px: int, value: int) -> None:
    image = np.full((13, 17, 3), value, np.uint8)
    resized = preprocessing.resize_image(image, _config(height_px, width_px, method)).numpy()
    assert resized.shape == (height_px, width_px, 3)
    assert resized.dtype == np.uint8
    assert np.unique(resized).tolist() == [value]


@pytest.mark.parametrize("method", ["bicubic", "lanczos3"])
def test_overshoot_at_an_edge_is_clipped_and_does_not_wrap(method: str) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, 4:] = 255
    raw = tf.image.resize(image, (24, 24), method, antialias=True).numpy()
    assert raw.min() < -1 and raw.max() > 256  # The method does overshoot here.
    resized = preprocessing.resize_image(image, _config(24, 24, method)).numpy()
    assert (resized[raw < 0] == 0).all()  # A wrapped -2 would be 254.
    assert (resized[raw > 255] == 255).all()  # A wrapped 257 would be 1.


@pytest.mark.parametrize("method", METHODS)
def test_channels_are_resized_apart(method: str) -> None:
    image = _noise(1, 12, 10)
    image[..., 1] = 77
    resized = preprocessing.resize_image(image, _config(5, 6, method)).numpy()
    assert (resized[..., 1] == 77).all()
    alone = preprocessing.resize_image(image[..., :1].repeat(3, axis=-1), _config(5, 6, method)).numpy()
    assert (resized[..., 0] == alone[..., 0]).all()


def test_label_doubled_in_size_repeats_each_pixel() -> None:
    label = np.array([[0, 1, 255], [15, 20, 2]], np.uint8)
    resized = preprocessing.resize_label(label, _config(4, 6))
    assert resized.dtype == tf.uint8
    assert resized.numpy().tolist() == [
        [0, 0, 1, 1, 255, 255],
        [0, 0, 1, 1, 255, 255],
        [15, 15, 20, 20, 2, 2],
        [15, 15, 20, 20, 2, 2],
    ]


def test_label_of_its_own_size_is_left_alone() -> None:
    label = np.random.default_rng(0).choice([0, 5, 255], (6, 4)).astype(np.uint8)
    assert preprocessing.resize_label(label, _config(6, 4)).numpy().tolist() == label.tolist()


@pytest.mark.parametrize("seed", range(20))
def test_label_gets_no_id_that_it_did_not_have(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids = rng.choice(256, size=int(rng.integers(1, 5)), replace=False)
    label = rng.choice(ids, tuple(rng.integers(1, 40, 2))).astype(np.uint8)
    height_px, width_px = (int(side) for side in rng.integers(1, 40, 2))
    # Whatever the method for images is.
    resized = preprocessing.resize_label(label, _config(height_px, width_px, METHODS[seed % len(METHODS)])).numpy()
    assert resized.shape == (height_px, width_px)
    assert set(np.unique(resized)) <= set(np.unique(label))


def test_picture_and_label_are_resized_onto_each_other() -> None:
    # A white square on black, as picture and as mask: the edges must fall on the same pixels, to within rounding at half.
    label = np.zeros((40, 60), np.uint8)
    label[10:30, 15:45] = 1
    image = (255 * label)[..., np.newaxis].repeat(3, axis=-1)
    for height_px, width_px in ((20, 30), (32, 32), (80, 90)):
        config = _config(height_px, width_px)
        light = preprocessing.resize_image(image, config).numpy()[..., 0].astype(int)
        resized = preprocessing.resize_label(label, config).numpy()
        assert (resized[light > 160] == 1).all()
        assert (resized[light < 95] == 0).all()


def test_scaling_maps_0_to_255_onto_0_to_1() -> None:
    scaled = preprocessing.scale_image(np.arange(256, dtype=np.uint8))
    assert scaled.dtype == tf.float32
    assert scaled.numpy().tolist() == pytest.approx([value / 255 for value in range(256)], abs=1e-7)
    assert (scaled.numpy().min(), scaled.numpy().max()) == (0.0, 1.0)


def test_loading_is_decoding_and_resizing() -> None:
    image, label = _noise(2, 9, 14), np.random.default_rng(2).choice([0, 3, 255], (9, 14)).astype(np.uint8)
    config = _config(6, 8)
    loaded = preprocessing.load_image(_encode(PIL.Image.fromarray(image)), config)
    assert loaded.numpy().tolist() == preprocessing.resize_image(image, config).numpy().tolist()
    loaded = preprocessing.load_label(_encode(PIL.Image.fromarray(label)), config)
    assert loaded.numpy().tolist() == preprocessing.resize_label(label, config).numpy().tolist()


PICTURE = _encode(PIL.Image.fromarray(_noise(3, 21, 34)), "JPEG")
MASK = _encode(PIL.Image.fromarray(np.random.default_rng(3).choice([0, 7, 255], (21, 34)).astype(np.uint8)))


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        pytest.param(preprocessing.decode_image, PICTURE, id="decode_image"),
        *[
            pytest.param(
                lambda image, m=method: preprocessing.resize_image(image, _config(16, 12, m)), _noise(4, 21, 34), id=method
            )
            for method in METHODS
        ],
        pytest.param(lambda label: preprocessing.resize_label(label, _config(16, 12)), _noise(5, 21, 34)[..., 0], id="label"),
        pytest.param(lambda encoded: preprocessing.load_image(encoded, _config(16, 12)), PICTURE, id="load_image"),
        pytest.param(lambda encoded: preprocessing.load_label(encoded, _config(16, 12)), MASK, id="load_label"),
        pytest.param(preprocessing.scale_image, _noise(6, 3, 4), id="scale_image"),
    ],
)
def test_operation_is_in_tf_data_what_it_is_eagerly(
    function: Callable[[tf.Tensor], tf.Tensor], argument: bytes | np.ndarray
) -> None:
    eager = function(tf.constant(argument))
    (mapped,) = tf.data.Dataset.from_tensors(tf.constant(argument)).map(function)
    assert mapped.dtype == eager.dtype
    assert mapped.shape == eager.shape
    assert np.array_equal(mapped, eager)


def test_voc_masks_at_the_network_size_have_their_own_ids_only(shared_data: pathlib.Path) -> None:
    masks = sorted((shared_data / "voc2007/VOCdevkit/VOC2007/SegmentationClass").glob("*.png"))[::100]
    assert len(masks) >= 6
    for path in masks:
        ids = np.asarray(PIL.Image.open(path))
        resized = preprocessing.load_label(_encode(PIL.Image.fromarray(ids)), _config(256, 256)).numpy()
        assert set(np.unique(resized)) <= set(np.unique(ids)) <= {*range(21), 255}
        # The share of void, a thin line, is about the same: nearest takes samples, it does not mix.
        assert (resized == 255).mean() == pytest.approx((ids == 255).mean(), abs=0.02)


def test_rgba_pngs_of_users_decode_to_their_colors(shared_data: pathlib.Path) -> None:
    path = sorted((shared_data / "farmland/VOCdevkit/VOC2007/JPEGImages").glob("*.png"))[0]
    image = PIL.Image.open(path)
    assert image.mode == "RGBA"
    decoded = preprocessing.decode_image(path.read_bytes()).numpy()
    assert np.array_equal(decoded, np.asarray(image)[..., :3])
