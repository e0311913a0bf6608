"""Augmentation: image and mask stay together, ids stay in their set, seeds decide all, and what is off changes nothing."""

import collections
import dataclasses
import functools
import itertools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components import augment as module
from components import pixels
from pipeline_config import AugmentConfig

VOID = 255
GEOMETRY = AugmentConfig(crop_height_px=60, crop_width_px=84, flip=True, min_scale=0.5, max_scale=2.0, rotation_deg=30)
ALL = dataclasses.replace(GEOMETRY, brightness=0.2, contrast=0.3, saturation=0.4, hue=0.1)


def augment(image: tf.Tensor, label: tf.Tensor, config: AugmentConfig, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return pixels.split(module.augment(pixels.join(image, label), config, seed))


def _seed(first: int, second: int = 0) -> tf.Tensor:
    return tf.constant([first, second], tf.int32)


def _augment(image: np.ndarray, label: np.ndarray, config: AugmentConfig, seed: int) -> tuple[np.ndarray, np.ndarray]:
    varied = augment(tf.constant(image), tf.constant(label), config, _seed(seed))
    return varied[0].numpy(), varied[1].numpy()


def _noise(seed: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    return image, rng.choice([0, 3, 20, VOID], (height, width)).astype(np.uint8)


def _numbered(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture whose pixels know their row (red) and column (green), from 1; the mask is the row's."""
    rows, columns = np.mgrid[1 : height + 1, 1 : width + 1].astype(np.uint8)
    return np.stack([rows, columns, np.zeros_like(rows)], -1), rows


# Image and mask together.

COLORS = np.array([[20, 20, 20], [230, 20, 20], [20, 230, 20], [20, 20, 230]], np.uint8)
"""A colour a class, far apart; their mean is far from each."""


def _blocks(seed: int, height: int, width: int, block_px: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """A picture of flat blocks and its mask, each of which can be told from the other."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 4, (-(-height // block_px), -(-width // block_px))).astype(np.uint8)
    label = ids.repeat(block_px, 0).repeat(block_px, 1)[:height, :width]
    return COLORS[label], label


def _inside(label: np.ndarray) -> np.ndarray:
    """Where all eight neighbours have a pixel's id: bilinear samples there are of one class."""
    padded = np.pad(label, 1, mode="edge")
    shifted = [padded[y : y + label.shape[0], x : x + label.shape[1]] for y, x in itertools.product(range(3), repeat=2)]
    return np.all([one == label for one in shifted], axis=0)


@pytest.mark.parametrize("seed", range(40))
def test_mask_is_that_of_the_varied_picture(seed: int) -> None:
    image, label = _blocks(seed, 72, 96)
    mean = np.floor(image.reshape(-1, 3).mean(0) + 0.5).astype(np.uint8)
    varied, mask = _augment(image, label, GEOMETRY, seed)
    expected = np.append(COLORS, np.broadcast_to(mean, (252, 3)), axis=0)[mask]
    inside = _inside(mask)
    assert inside.mean() > 0.3
    # Scale 2 mixes over up to two pixels from an edge, and scale 0.5 looks only at the four nearest: one pixel, mostly.
    assert (varied[inside] == expected[inside]).all(axis=-1).mean() > 0.97
    near = np.abs(varied[..., np.newaxis, :].astype(int) - COLORS).sum(-1).argmin(-1)
    seen = mask != VOID
    assert (near[seen] == mask[seen]).mean() > 0.97  # On edges, too, the class of half of the mixture or more.


@pytest.mark.parametrize("seed", range(10))
def test_padding_is_of_the_pictures_mean_and_void(seed: int) -> None:
    image, _ = _noise(seed, 31, 23)
    config = AugmentConfig(crop_height_px=64, crop_width_px=64, flip=True, min_scale=0.4, max_scale=1.2, rotation_deg=180)
    varied, mask = _augment(image, np.ones((31, 23), np.uint8), config, seed)
    mean = np.floor(image.reshape(-1, 3).mean(0) + 0.5)
    assert set(np.unique(mask)) == {1, VOID}
    assert (varied[mask == VOID] == mean).all()
    assert (varied[mask == 1] != mean).any()


def test_mean_of_the_padding_is_rounded_and_not_cut_off() -> None:
    # (1 + 2 + 2 + 2) / 4 = 1.75; (0 + 0 + 0 + 1) / 4 = 0.25; (0 + 0 + 1 + 1) / 4 = 0.5, which is rounded up.
    image = np.array([[[1, 0, 0], [2, 0, 0]], [[2, 0, 1], [2, 1, 1]]], np.uint8)
    varied, mask = _augment(image, np.zeros((2, 2), np.uint8), AugmentConfig(crop_height_px=9, crop_width_px=9), 0)
    assert {tuple(color) for color in varied[mask == VOID].tolist()} == {(2, 0, 1)}


@pytest.mark.parametrize("seed", range(20))
def test_ids_are_those_of_the_mask_and_void(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width, *crop = (int(side) for side in rng.integers(1, 50, 4))
    ids = rng.choice(256, int(rng.integers(1, 5)), replace=False)
    label = rng.choice(ids, (height, width)).astype(np.uint8)
    config = dataclasses.replace(ALL, crop_height_px=crop[0], crop_width_px=crop[1])
    varied, mask = _augment(_noise(seed, height, width)[0], label, config, seed)
    assert (varied.dtype, mask.dtype) == (np.uint8, np.uint8)
    assert (varied.shape, mask.shape) == ((*crop, 3), tuple(crop))
    assert set(np.unique(mask)) <= {*np.unique(label), VOID}


# Where a pixel comes from, by hand.


def _fixed(image: np.ndarray, label: np.ndarray, config: AugmentConfig, **draws: float) -> tuple[np.ndarray, np.ndarray]:
    """Varies with given draws instead of a seed's; those not given are 0.5: no turn, no change."""
    chosen = {name: tf.constant(draws.get(name, 0.5), tf.float32) for name in module._CHOICES}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_draw", lambda seed: chosen)
        return _augment(image, label, config, 0)


def test_doubled_picture_has_its_samples_at_pixel_centres() -> None:
    image = np.array([[[0] * 3, [100] * 3]], np.uint8)
    config = AugmentConfig(crop_height_px=2, crop_width_px=4, min_scale=2, max_scale=2)
    varied, mask = _fixed(image, np.array([[1, 2]], np.uint8), config)
    # Centres at -0.25, 0.25, 0.75, 1.25 of the source, the outer ones clamped; as preprocessing resizes.
    assert varied[..., 0].tolist() == [[0, 25, 75, 100]] * 2
    assert mask.tolist() == [[1, 1, 2, 2]] * 2


def test_quarter_turn_is_exact() -> None:
    image, label = _numbered(3, 3)
    varied, mask = _fixed(image, label, AugmentConfig(rotation_deg=90), angle=0.0)
    turned = [np.array_equal(mask, np.rot90(label, times)) for times in (1, 3)]
    assert sum(turned) == 1
    assert varied[..., 0].tolist() == mask.tolist()


def test_turn_is_around_the_centre_of_the_crop_and_leaves_it_there() -> None:
    image, label = _numbered(15, 15)
    for angle in np.linspace(0, 0.999, 9):
        _, mask = _fixed(image, label, AugmentConfig(rotation_deg=180), angle=float(angle))
        assert mask[7, 7] == label[7, 7]


@pytest.mark.parametrize("angle", [0.1, 0.35, 0.5, 0.8])
def test_flipped_picture_is_the_mirrored_one_whatever_the_turn_and_scale(angle: float) -> None:
    image, label = _blocks(0, 40, 41)
    config = dataclasses.replace(GEOMETRY, min_scale=0.7, max_scale=0.7, rotation_deg=180)
    plain, mask = _fixed(image, label, config, angle=angle, flip=0.9)
    flipped, flipped_mask = _fixed(image, label, config, angle=angle, flip=0.1)
    assert (flipped_mask[:, ::-1] == mask).mean() > 0.999  # But for rounding.
    assert np.abs(flipped[:, ::-1].astype(int) - plain).max(-1)[flipped_mask[:, ::-1] == mask].max() <= 1


@pytest.mark.parametrize("angle", [0.1, 0.35, 0.5, 0.8])
def test_turned_picture_keeps_its_area(angle: float) -> None:
    config = AugmentConfig(crop_height_px=80, crop_width_px=80, min_scale=1.5, max_scale=1.5, rotation_deg=180)
    _, mask = _fixed(np.zeros((20, 30, 3), np.uint8), np.ones((20, 30), np.uint8), config, angle=angle)
    assert (mask == 1).sum() == pytest.approx(600 * 1.5**2, rel=0.03)


@pytest.mark.parametrize(("top", "left"), [(0.0, 0.0), (0.999, 0.0), (0.5, 0.5), (0.0, 0.999)])
def test_crop_is_exact_and_reaches_the_edges(top: float, left: float) -> None:
    image, label = _noise(0, 9, 11)
    varied, mask = _fixed(image, label, AugmentConfig(crop_height_px=4, crop_width_px=5), top=top, left=left)
    row, column = int(top * 6), int(left * 7)  # 9 - 4 + 1 and 11 - 5 + 1 places.
    assert np.array_equal(varied, image[row : row + 4, column : column + 5])
    assert np.array_equal(mask, label[row : row + 4, column : column + 5])


@pytest.mark.parametrize(("top", "left"), [(0.0, 0.0), (0.999, 0.0), (0.5, 0.5), (0.0, 0.999)])
def test_small_picture_lies_whole_in_the_crop_and_is_exact(top: float, left: float) -> None:
    image, label = _noise(0, 4, 5)
    label[label == VOID] = 7
    varied, mask = _fixed(image, label, AugmentConfig(crop_height_px=9, crop_width_px=11), top=top, left=left)
    row, column = int(top * 6), int(left * 7)
    assert np.array_equal(varied[row : row + 4, column : column + 5], image)
    assert np.array_equal(mask[row : row + 4, column : column + 5], label)
    assert (mask != VOID).sum() == 20


# What is off, and what is exact.


def test_nothing_configured_returns_the_argument() -> None:
    picture = pixels.join(*_noise(0, 7, 9))
    assert module.augment(picture, AugmentConfig(), _seed(0)) is picture
    assert not module.varies(AugmentConfig())


@pytest.mark.parametrize(
    "change",
    [
        {"flip": True},
        {"crop_height_px": 8},
        {"crop_width_px": 8},
        {"min_scale": 0.5},
        {"max_scale": 2.0},
        {"min_scale": 2.0, "max_scale": 2.0},
        {"rotation_deg": 1.0},
        {"brightness": 0.1},
        {"contrast": 0.1},
        {"saturation": 0.1},
        {"hue": 0.1},
        {"copy_paste": 0.1},
    ],
)
def test_anything_configured_varies(change: dict[str, Any]) -> None:
    assert module.varies(AugmentConfig(**change))


@pytest.mark.parametrize("size", [(1, 1), (1, 8), (7, 1), (6, 9), (255, 254)])
def test_flip_is_exact_and_of_about_half(size: tuple[int, int]) -> None:
    image, label = _noise(1, *size)
    flips = 0
    for seed in range(40):
        varied, mask = _augment(image, label, AugmentConfig(flip=True), seed)
        flipped = np.array_equal(varied, image[:, ::-1]) and np.array_equal(mask, label[:, ::-1])
        assert flipped or (np.array_equal(varied, image) and np.array_equal(mask, label))
        flips += flipped
    assert size[1] == 1 or 10 <= flips <= 30


def test_crop_of_the_pictures_size_is_the_picture() -> None:
    image, label = _noise(2, 12, 10)
    varied, mask = _augment(image, label, AugmentConfig(crop_height_px=12, crop_width_px=10), 3)
    assert np.array_equal(varied, image) and np.array_equal(mask, label)


def test_flipped_crop_is_a_crop_of_the_flipped_picture() -> None:
    image, label = _numbered(30, 40)
    config = AugmentConfig(crop_height_px=11, crop_width_px=13, flip=True)
    for seed in range(20):
        varied, mask = _augment(image, label, config, seed)
        row, columns = int(mask[0, 0]) - 1, varied[0, :, 1].astype(int) - 1
        assert np.array_equal(np.abs(np.diff(columns)), np.ones(12))
        assert np.array_equal(varied, image[row : row + 11][:, columns])


@pytest.mark.parametrize("config", [ALL, AugmentConfig(hue=0.5, contrast=1, brightness=1, saturation=1, max_scale=8)])
def test_picture_of_one_pixel_and_void_all_over(config: AugmentConfig) -> None:
    for seed in range(5):
        varied, mask = _augment(np.full((1, 1, 3), 9, np.uint8), np.full((1, 1), VOID, np.uint8), config, seed)
        assert varied.shape[:2] == mask.shape == (config.crop_height_px or 1, config.crop_width_px or 1)
        assert (mask == VOID).all()


# Seeds.


def test_seed_decides_all() -> None:
    image, label = _noise(3, 50, 70)
    once, again = _augment(image, label, ALL, 5), _augment(image, label, ALL, 5)
    assert np.array_equal(once[0], again[0]) and np.array_equal(once[1], again[1])


def test_other_seeds_give_other_pictures() -> None:
    image, label = _noise(3, 50, 70)
    seeds = [_seed(first, second) for first, second in itertools.product(range(10), range(5))]
    varied = {augment(tf.constant(image), tf.constant(label), ALL, seed)[0].numpy().tobytes() for seed in seeds}
    assert len(varied) == 50


def test_one_setting_does_not_change_what_another_one_draws() -> None:
    image, label = _noise(4, 50, 70)
    for seed in range(5):
        assert np.array_equal(_augment(image, label, GEOMETRY, seed)[1], _augment(image, label, ALL, seed)[1])


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(AugmentConfig(), id="nothing"),
        pytest.param(AugmentConfig(flip=True), id="flip"),
        pytest.param(GEOMETRY, id="geometry"),
        pytest.param(dataclasses.replace(AugmentConfig(), brightness=0.2, contrast=0.3, saturation=1, hue=0.5), id="colours"),
        pytest.param(ALL, id="all"),
    ],
)
@pytest.mark.parametrize("static", [True, False])
def test_parallel_tf_data_is_bit_for_bit_what_it_is_eagerly(config: AugmentConfig, static: bool) -> None:
    pairs = [_noise(seed, *((40, 56) if static else (20 + seed, 50 - seed))) for seed in range(24)]
    shape = (40, 56) if static else (None, None)
    signature = (tf.TensorSpec([], tf.int32), tf.TensorSpec((*shape, 3), tf.uint8), tf.TensorSpec(shape, tf.uint8))
    source = tf.data.Dataset.from_generator(lambda: ((n, *pair) for n, pair in enumerate(pairs)), output_signature=signature)
    mapped = source.map(lambda n, image, label: augment(image, label, config, tf.stack([n, 0])), tf.data.AUTOTUNE)
    if config.crop_height_px:
        assert mapped.element_spec[0].shape == (60, 84, 3)
        assert mapped.element_spec[1].shape == (60, 84)
    results = list(mapped)
    assert len(results) == 24
    for number, (image, label) in enumerate(results):
        expected = _augment(*pairs[number], config, number)
        assert np.array_equal(image, expected[0]) and np.array_equal(label, expected[1])


@pytest.mark.parametrize("config", [GEOMETRY, ALL], ids=["geometry", "all"])
def test_compiled_variation_is_that_of_single_operations(config: AugmentConfig) -> None:
    single = functools.partial(module._vary, config=config)
    for seed in range(12):
        picture, draws = pixels.join(*_noise(seed, 40, 56)), module._draw(tf.constant([seed, 0]))
        compiled, expected = (pixels.split(way(picture, draws)) for way in (module._compiled(config), single))
        # XLA adds in another order: a colour between two levels may be rounded to the other one.
        assert np.abs(compiled[0].numpy().astype(int) - expected[0].numpy()).max() <= 1
        assert np.array_equal(compiled[1], expected[1])


# Distributions.


def test_places_of_the_crop_are_all_drawn_alike() -> None:
    image, label = _numbered(6, 7)
    config = AugmentConfig(crop_height_px=4, crop_width_px=4)
    corners = collections.Counter(tuple(_augment(image, label, config, seed)[0][0, 0, :2].tolist()) for seed in range(600))
    # 3 x 4 places, 50 times each; the standard deviation is 7.
    assert set(corners) == set(itertools.product(range(1, 4), range(1, 5)))
    assert 25 <= min(corners.values()) and max(corners.values()) <= 80


def test_places_of_a_small_picture_are_all_drawn_alike() -> None:
    config = AugmentConfig(crop_height_px=3, crop_width_px=2)
    places = collections.Counter()
    for seed in range(300):
        _, mask = _augment(np.zeros((1, 1, 3), np.uint8), np.ones((1, 1), np.uint8), config, seed)
        places[tuple(np.argwhere(mask == 1)[0].tolist())] += 1
        assert (mask == 1).sum() == 1
    assert len(places) == 6 and min(places.values()) >= 30


def test_scales_are_even_in_their_logarithm() -> None:
    # How much of a large crop the picture fills tells the scale.
    config = AugmentConfig(crop_height_px=96, crop_width_px=96, min_scale=0.5, max_scale=2)
    image, label = np.zeros((40, 40, 3), np.uint8), np.ones((40, 40), np.uint8)
    filled = [(_augment(image, label, config, seed)[1] == 1).sum() for seed in range(400)]
    scales = np.sqrt(filled) / 40
    assert 0.48 <= scales.min() < 0.55 and 1.85 < scales.max() <= 2.03
    assert 0.4 < (scales < 1).mean() < 0.6
    assert 0.15 < (scales < 0.5**0.5).mean() < 0.35


def test_turns_are_to_both_sides_and_not_beyond() -> None:
    # A bright line from the centre to the right tells the angle.
    image, label = np.zeros((81, 81, 3), np.uint8), np.zeros((81, 81), np.uint8)
    label[39:42, 60:78] = 1
    angles = []
    for seed in range(150):
        rows, columns = np.nonzero(_augment(image, label, AugmentConfig(rotation_deg=40), seed)[1] == 1)
        angles.append(np.degrees(np.arctan2(rows.mean() - 40, columns.mean() - 40)))
    assert -41 < min(angles) < -35 and 35 < max(angles) < 41
    assert 0.35 < np.mean(np.array(angles) > 0) < 0.65


# Colours.

GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)[..., np.newaxis].repeat(3, -1)


@pytest.mark.parametrize("field", ["brightness", "contrast", "saturation", "hue"])
def test_colours_change_and_labels_do_not(field: str) -> None:
    image, label = _noise(5, 20, 30)
    varied, mask = _augment(image, label, AugmentConfig(**{field: 0.3}), 0)
    assert np.array_equal(mask, label)
    assert varied.shape == image.shape and not np.array_equal(varied, image)


@pytest.mark.parametrize("seed", range(20))
def test_hue_and_saturation_leave_grey_as_it_is(seed: int) -> None:
    varied, _ = _augment(GREY, GREY[..., 0], AugmentConfig(saturation=1.0, hue=0.5), seed)
    assert np.array_equal(varied, GREY)


@pytest.mark.parametrize("seed", range(10))
def test_all_distortions_leave_grey_grey(seed: int) -> None:
    varied, _ = _augment(GREY, GREY[..., 0], AugmentConfig(brightness=0.5, contrast=0.9, saturation=1.0, hue=0.5), seed)
    assert (varied.max(-1).astype(int) - varied.min(-1)).max() <= 1  # Halves may be rounded to either side.


def test_brightness_is_added_to_either_side_and_clipped() -> None:
    image = np.array([[[0, 100, 250]]], np.uint8)
    config, label = AugmentConfig(brightness=0.2), np.zeros((1, 1), np.uint8)
    assert _fixed(image, label, config, brightness=0.0)[0].tolist() == [[[0, 49, 199]]]  # -0.2 * 255 = -51.
    assert _fixed(image, label, config, brightness=0.75)[0].tolist() == [[[26, 126, 255]]]  # 25.5; 25.5, 125.5: to even.
    shifts = [int(_augment(image, label, config, seed)[0][0, 0, 1]) - 100 for seed in range(200)]
    assert -51 <= min(shifts) < -45 and 45 < max(shifts) <= 51


def test_contrast_is_about_the_pictures_mean() -> None:
    image = np.array([[[100] * 3, [140] * 3]], np.uint8)
    config, label = AugmentConfig(contrast=0.5), np.zeros((1, 2), np.uint8)
    # The mean is 120: 120 +- 20 * 0.5, and at a draw of 0.75 120 +- 20 * 1.25.
    assert _fixed(image, label, config, contrast=0.0)[0][0, :, 0].tolist() == [110, 130]
    assert _fixed(image, label, config, contrast=0.75)[0][0, :, 0].tolist() == [95, 145]


def test_saturation_is_about_the_grey_of_equal_brightness() -> None:
    image, label = np.array([[[90, 120, 150]]], np.uint8), np.zeros((1, 1), np.uint8)
    assert _fixed(image, label, AugmentConfig(saturation=1), saturation=0.0)[0].tolist() == [[[120, 120, 120]]]
    assert _fixed(image, label, AugmentConfig(saturation=1), saturation=0.75)[0].tolist() == [[[75, 120, 165]]]


def test_third_of_a_turn_of_the_hue_takes_red_to_green_and_back_to_blue() -> None:
    image, label = np.array([[[200, 20, 40]]], np.uint8), np.zeros((1, 1), np.uint8)
    config = AugmentConfig(hue=0.5)
    assert _fixed(image, label, config, hue=0.5 + 1 / 3)[0].tolist() == [[[40, 200, 20]]]
    assert _fixed(image, label, config, hue=0.5 - 1 / 3)[0].tolist() == [[[20, 40, 200]]]


def test_padding_has_the_mean_of_the_distorted_picture() -> None:
    image, label = np.array([[[100] * 3, [140] * 3]], np.uint8), np.zeros((1, 2), np.uint8)
    config = AugmentConfig(crop_height_px=1, crop_width_px=4, brightness=0.2, contrast=0.5)
    varied, mask = _fixed(image, label, config, top=0.0, left=0.0, contrast=0.0, brightness=0.0)
    assert mask.tolist() == [[0, 0, VOID, VOID]]
    assert varied[0, :, 0].tolist() == [59, 79, 69, 69]  # 110, 130 and 120, less 51.


# Copy-paste.

PICTURE, OTHER = np.full((4, 4, 3), 10, np.uint8), np.full((4, 4, 3), 200, np.uint8)
LABEL = np.array([[0, 0, 5, 5], [0, 0, 5, 5], [0, 0, 255, 5], [0, 0, 0, 0]], np.uint8)
OTHER_LABEL = np.array([[0, 7, 7, 0], [0, 7, 255, 0], [0, 255, 0, 0], [0, 0, 0, 3]], np.uint8)
JOINED, OTHER_JOINED = pixels.join(PICTURE, LABEL), pixels.join(OTHER, OTHER_LABEL)


def _paste(share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    pasted = module.copy_paste(JOINED, lambda: OTHER_JOINED, AugmentConfig(copy_paste=share), _seed(seed))
    image, label = pixels.split(pasted)
    return image.numpy(), label.numpy()


def test_objects_are_pasted_with_their_border_of_void_and_nothing_else_is() -> None:
    image, label = _paste(1.0, 0)
    assert label.tolist() == [[0, 7, 7, 5], [0, 7, 255, 5], [0, 255, 255, 5], [0, 0, 0, 3]]
    assert np.array_equal(image, np.where((OTHER_LABEL != 0)[..., np.newaxis], OTHER, PICTURE))


def test_void_far_from_objects_is_not_pasted() -> None:
    far = np.full((1, 12), VOID, np.uint8)
    far[0, 2] = 1
    other = pixels.join(np.full((1, 12, 3), 9, np.uint8), far)
    pasted = module.copy_paste(tf.zeros((1, 12), tf.int32), lambda: other, AugmentConfig(copy_paste=1.0), _seed(0))
    image, label = pixels.split(pasted)
    assert label.numpy()[0].tolist() == [VOID, VOID, 1, VOID, VOID, VOID, VOID, 0, 0, 0, 0, 0]
    assert image.numpy()[0, :, 0].tolist() == [9] * 7 + [0] * 5


def test_share_of_the_pictures_gets_something_pasted() -> None:
    assert all(np.array_equal(_paste(0.0, seed)[1], LABEL) for seed in range(5))
    pasted = sum(not np.array_equal(_paste(0.25, seed)[1], LABEL) for seed in range(200))
    assert 30 <= pasted <= 70


def test_whether_it_is_pasted_does_not_hang_on_the_scale_of_the_same_seed() -> None:
    config = AugmentConfig(crop_height_px=96, crop_width_px=96, min_scale=0.5, max_scale=2)
    image, label = np.zeros((40, 40, 3), np.uint8), np.ones((40, 40), np.uint8)
    filled = [(_augment(image, label, config, seed)[1] == 1).sum() for seed in range(100)]
    pasted = [not np.array_equal(_paste(0.5, seed)[1], LABEL) for seed in range(100)]
    assert abs(np.corrcoef(filled, pasted)[0, 1]) < 0.3


def test_pasting_is_in_tf_data_what_it_is_eagerly() -> None:
    config = AugmentConfig(copy_paste=0.5)
    mapped = tf.data.Dataset.range(20, output_type=tf.int32).map(
        lambda n: module.copy_paste(JOINED, lambda: OTHER_JOINED, config, tf.stack([n, 0])), tf.data.AUTOTUNE
    )
    for seed, (image, label) in enumerate(map(pixels.split, mapped)):
        expected = _paste(0.5, seed)
        assert np.array_equal(image, expected[0]) and np.array_equal(label, expected[1])


@pytest.mark.parametrize(("first", "share"), [("background", 0.5), ("Background", 0.5), ("road", 0.0)])
def test_nothing_is_pasted_where_there_is_no_background(first: str, share: float) -> None:
    config = AugmentConfig(flip=True, copy_paste=0.5)
    assert module.for_classes(config, (first, "car")) == AugmentConfig(flip=True, copy_paste=share)
