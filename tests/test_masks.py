"""Masks as they are written and drawn."""

import io

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from components import features, masks

VOC = features.voc_palette()
IDS = np.array([[0, 1, 15], [20, 255, 0]], np.uint8)
IMAGE = np.array([[[10, 20, 30], [10, 20, 30]], [[255, 255, 255], [1, 0, 0]]], np.uint8)
# Class 1 is (128, 0, 0): (10 + 128) / 2 = 69, 10, 15 and (255 + 128) / 2 = 191 (cut off), 127, 127: in uint8 it would wrap.
# Class 3 is (128, 128, 0): (1 + 128) / 2 = 64 (cut off), 64, 0. Background stays.
MASK = np.array([[0, 1], [1, 3]], np.uint8)
TINTED = [[[10, 20, 30], [69, 10, 15]], [[191, 127, 127], [64, 64, 0]]]


def test_encoded_ids_are_the_same_for_tensorflow_and_pillow() -> None:
    encoded = masks.encode_ids(IDS)
    assert tf.io.decode_png(encoded, channels=1)[..., 0].numpy().tolist() == [[0, 1, 15], [20, 255, 0]]
    assert np.asarray(PIL.Image.open(io.BytesIO(encoded))).tolist() == [[0, 1, 15], [20, 255, 0]]


def test_encoded_ids_keep_all_256_values() -> None:
    ids = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(tf.io.decode_png(masks.encode_ids(ids), channels=1)[..., 0].numpy(), ids)


def test_encoded_ids_of_a_part_of_an_array_are_that_part() -> None:
    wide = np.arange(24, dtype=np.uint8).reshape(4, 6)
    encoded = masks.encode_ids(wide[1:3, ::2])  # Not contiguous.
    assert tf.io.decode_png(encoded, channels=1)[..., 0].numpy().tolist() == [[6, 8, 10], [12, 14, 16]]


def test_encoding_the_same_ids_gives_the_same_bytes() -> None:
    assert masks.encode_ids(IDS) == masks.encode_ids(IDS.copy())


def test_palette_image_has_ids_as_indices_and_colors_of_the_palette() -> None:
    image = masks.to_palette_image(IDS, VOC)
    assert (image.mode, image.size) == ("P", (3, 2))
    np.testing.assert_array_equal(np.asarray(image), IDS)
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), np.array(VOC, np.uint8)[IDS])


def test_palette_image_saved_as_png_keeps_its_indices_also_with_a_short_palette() -> None:
    ids = np.array([[0, 1, 3], [2, 1, 0]], np.uint8)
    buffer = io.BytesIO()
    masks.to_palette_image(ids, VOC[:4]).save(buffer, format="PNG")
    with PIL.Image.open(buffer) as image:
        assert (image.mode, np.asarray(image).tolist()) == ("P", ids.tolist())
        assert np.asarray(image.convert("RGB"))[0].tolist() == [[0, 0, 0], [128, 0, 0], [128, 128, 0]]


def test_palette_image_leaves_the_ids_as_they_are() -> None:
    ids = IDS.copy()
    masks.to_palette_image(ids, VOC[:21]).putpixel((0, 0), 9)
    np.testing.assert_array_equal(ids, IDS)


@pytest.mark.parametrize("palette", [VOC[:4], VOC, np.array(VOC, np.uint8)], ids=["of the classes", "of 256", "array"])
def test_overlay_by_hand(palette: np.ndarray) -> None:
    before = IMAGE.copy()
    tinted = masks.overlay(IMAGE, MASK, palette)
    assert tinted.dtype == np.uint8
    assert tinted.tolist() == TINTED
    assert np.array_equal(IMAGE, before)


def test_overlay_tints_void_in_its_own_color() -> None:
    # Void is (224, 224, 192): (10 + 224) / 2 = 117, (20 + 224) / 2 = 122, (30 + 192) / 2 = 111.
    assert VOC[255] == (224, 224, 192)
    tinted = masks.overlay(IMAGE, np.array([[255, 0], [0, 254]], np.uint8), VOC)
    assert tinted[0, 0].tolist() == [117, 122, 111]
    assert tinted[0, 1].tolist() == [10, 20, 30]
    assert tinted[1, 1].tolist() == [(1 + VOC[254][0]) // 2, VOC[254][1] // 2, VOC[254][2] // 2]


def test_overlay_of_background_alone_is_the_picture_though_its_color_is_not_black() -> None:
    tinted = masks.overlay(IMAGE, np.zeros((2, 2), np.uint8), [(200, 100, 50), (0, 0, 0)])
    np.testing.assert_array_equal(tinted, IMAGE)


def test_overlay_tints_the_first_class_where_it_is_no_background() -> None:
    tinted = masks.overlay(IMAGE, np.zeros((2, 2), np.uint8), [(200, 100, 50)], background=False)
    assert tinted[0, 0].tolist() == [105, 60, 40]


def test_brightest_picture_and_color_do_not_wrap() -> None:
    tinted = masks.overlay(np.full((1, 1, 3), 255, np.uint8), np.ones((1, 1), np.uint8), [(0, 0, 0), (255, 255, 255)])
    assert tinted.tolist() == [[[255, 255, 255]]]
