"""The data contract: colours, names and keys."""

import pytest

from components import features


@pytest.mark.parametrize(
    ("index", "color"),
    [
        (0, (0, 0, 0)),
        (1, (128, 0, 0)),
        (2, (0, 128, 0)),
        (4, (0, 0, 128)),
        (8, (64, 0, 0)),  # Bit 3 is red's second.
        (15, (192, 128, 128)),  # 0b1111: red's bits 7 and 6, green's 7, blue's 7.
        (20, (0, 64, 128)),  # 0b10100: blue's bit 7, green's bit 6.
        (255, (224, 224, 192)),  # 0b11111111: three bits of red, three of green, two of blue.
    ],
)
def test_palette_has_the_colors_of_the_voc_development_kit(index: int, color: tuple[int, int, int]) -> None:
    assert features.voc_palette()[index] == color


def test_palette_has_256_different_colors() -> None:
    palette = features.voc_palette()
    assert len(palette) == len(set(palette)) == 256
    assert all(0 <= channel <= 255 for color in palette for channel in color)


def test_shorter_palette_is_the_beginning_of_the_whole() -> None:
    assert features.voc_palette(21) == features.voc_palette()[:21]


def test_there_are_21_classes_in_the_order_of_voc() -> None:
    assert len(features.VOC_CLASSES) == len(set(features.VOC_CLASSES)) == 21
    named = {index: features.VOC_CLASSES[index] for index in (0, 1, 15, 20)}
    assert named == {0: "background", 1: "aeroplane", 15: "person", 20: "tvmonitor"}
    assert list(features.VOC_CLASSES[1:]) == sorted(features.VOC_CLASSES[1:])  # VOC numbers its objects by the alphabet.


def test_void_is_no_class() -> None:
    assert features.IGNORE_LABEL == 255
    assert features.IGNORE_LABEL >= len(features.VOC_CLASSES)
    assert features.voc_palette()[features.IGNORE_LABEL] not in features.voc_palette(21)


def test_keys_of_a_record_are_seven_different_names() -> None:
    keys = (
        features.IMAGE,
        features.FILENAME,
        features.HEIGHT,
        features.WIDTH,
        features.LABEL,
        features.CLASSES,
        features.VOID_FRACTION,
    )
    assert len(set(keys)) == 7
