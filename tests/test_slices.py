"""Which slices an image belongs to."""

import pytest

from components.slices import slice_values

CLASS_NAMES = ("background", "cat", "dog")


@pytest.mark.parametrize(
    ("height", "width", "size", "aspect"),
    [
        (333, 500, "0.1 to 0.3 megapixels", "lying"),
        (500, 333, "0.1 to 0.3 megapixels", "upright"),
        (100, 100, "below 0.1 megapixels", "about square"),
        (250, 400, "0.1 to 0.3 megapixels", "lying"),  # Exactly a bound: 0.1 megapixels, and 1.6.
        (1000, 1250, "over 1 megapixel", "lying"),  # Exactly 1.25.
        (500, 1000, "0.3 to 1 megapixels", "over twice as wide as high"),
    ],
)
def test_size_and_shape(height: int, width: int, size: str, aspect: str) -> None:
    found = slice_values(height, width, [0], 0.0, CLASS_NAMES)
    assert (found["size"], found["aspect"]) == ([size], [aspect])


def test_image_belongs_to_a_slice_for_each_class_that_it_contains() -> None:
    assert slice_values(9, 9, [0, 2], 0.0, CLASS_NAMES)["contains"] == ["background", "dog"]
    assert slice_values(9, 9, [], 1.0, CLASS_NAMES)["contains"] == []


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, "none"), (0.01, "below 5 %"), (0.05, "5 to 20 %"), (0.2, "over 20 %"), (1.0, "over 20 %")]
)
def test_share_of_void(share: float, value: str) -> None:
    assert slice_values(9, 9, [0], share, CLASS_NAMES)["void"] == [value]
