"""The sheet of some pairs: which are chosen, where what is drawn, and that bad pairs and long names do not spoil it."""

import io
import pathlib
from collections.abc import Sequence

import numpy as np
import PIL.Image
import pytest

from components import features
from components.datasets import contact_sheet
from components.datasets.layout import Pair
from components.datasets.spec import DatasetSpec, MaskEncoding

CLASSES = ("ground", "leaf", "stone")
COLORS = ((10, 20, 30), (250, 50, 50), (40, 90, 250))
SPEC = DatasetSpec(name="some", classes=CLASSES, colors=COLORS, mask=MaskEncoding(encoding="ids"))
VOID = features.voc_palette()[255]
INK, GROUND = (30, 30, 30), (255, 255, 255)

# Three boxes of 240 x 180, 8 apart, below a line of 18; and a line of 18 for each three classes of the legend.
WIDTH, ROW_HEIGHT, LEGEND_HEIGHT = 3 * (240 + 8) + 8, 180 + 18 + 8, 18 + 8
LEFTS = (8, 256, 504)


def _pairs(count: int, split: str = "train") -> list[Pair]:
    return [Pair(f"{split}{number}", f"{split}{number}.jpg", f"{split}{number}.png") for number in range(count)]


def _write(
    folder: pathlib.Path, ids: np.ndarray, color: tuple[int, int, int] = (100, 100, 100), key: str = "a"
) -> tuple[str, Pair]:
    """Writes a picture of one colour and its mask."""
    image, mask = folder / f"{key}.png", folder / f"{key}_mask.png"
    PIL.Image.new("RGB", (ids.shape[1], ids.shape[0]), color).save(image)
    PIL.Image.fromarray(ids).save(mask)
    return "train", Pair(key, str(image), str(mask), str(folder))


def _draw(chosen: Sequence[tuple[str, Pair]], spec: DatasetSpec = SPEC) -> np.ndarray:
    sheet, unreadable = contact_sheet.draw(chosen, spec)
    assert unreadable == []
    return sheet


def _colors(part: np.ndarray) -> set[tuple[int, ...]]:
    return set(map(tuple, part.reshape(-1, 3).tolist()))


# Which pairs.


def test_choice_is_the_same_for_a_seed_and_another_for_another() -> None:
    pairs = {"train": _pairs(50)}
    assert contact_sheet.choose(pairs, 6, seed=1) == contact_sheet.choose(pairs, 6, seed=1)
    assert contact_sheet.choose(pairs, 6, seed=1) != contact_sheet.choose(pairs, 6, seed=2)


@pytest.mark.parametrize("seed", range(5))
def test_choice_is_in_the_order_of_the_lists_without_repetition(seed: int) -> None:
    pairs = {"train": _pairs(9), "validation": _pairs(5, "validation"), "test": _pairs(3, "test")}
    listed = [(split, pair) for split in pairs for pair in pairs[split]]
    chosen = contact_sheet.choose(pairs, 8, seed)
    assert len(chosen) == 8
    assert chosen == [one for one in listed if one in chosen]


def test_choice_reaches_every_split() -> None:
    pairs = {"train": _pairs(4), "validation": _pairs(4, "validation")}
    splits = {split for seed in range(10) for split, _ in contact_sheet.choose(pairs, 1, seed)}
    assert splits == {"train", "validation"}


@pytest.mark.parametrize(("count", "expected"), [(0, 0), (2, 2), (3, 3), (100, 3)])
def test_choice_is_bounded_by_what_there_is(count: int, expected: int) -> None:
    assert len(contact_sheet.choose({"train": _pairs(2), "test": _pairs(1, "test")}, count, seed=0)) == expected


# What is drawn.


@pytest.mark.parametrize("count", [0, 1, 4])
def test_sheet_has_a_row_a_pair_and_a_legend(tmp_path: pathlib.Path, count: int) -> None:
    ids = np.zeros((6, 8), np.uint8)
    sheet = _draw([_write(tmp_path, ids, key=str(number)) for number in range(count)])
    assert sheet.shape == (count * ROW_HEIGHT + LEGEND_HEIGHT, WIDTH, 3)
    assert sheet.dtype == np.uint8


def test_row_is_image_mask_and_overlay(tmp_path: pathlib.Path) -> None:
    # 8 x 6 is drawn as 240 x 180: the left half of the mask is ground, the right one stone.
    ids = np.zeros((6, 8), np.uint8)
    ids[:, 4:] = 2
    sheet = _draw([_write(tmp_path, ids, color=(100, 110, 120))])
    image, mask, overlay = (sheet[18:198, left : left + 240] for left in LEFTS)
    assert _colors(image) == {(100, 110, 120)}
    assert _colors(mask[:, :120]) == {COLORS[0]}
    assert _colors(mask[:, 120:]) == {COLORS[2]}
    # Ground is not tinted; (100 + 40) / 2, (110 + 90) / 2, (120 + 250) / 2. A few columns between are smoothed.
    assert _colors(overlay[:, :100]) == {(100, 110, 120)}
    assert _colors(overlay[:, 140:]) == {(70, 100, 185)}
    assert _colors(sheet[18:198, 248:256]) == {GROUND}


def test_rows_are_in_the_order_of_the_pairs(tmp_path: pathlib.Path) -> None:
    ids = np.zeros((6, 8), np.uint8)
    chosen = [_write(tmp_path, ids, color=(50 * number, 0, 0), key=str(number)) for number in range(1, 4)]
    sheet = _draw(chosen)
    for row in range(3):
        assert sheet[row * ROW_HEIGHT + 100, 100].tolist() == [50 * (row + 1), 0, 0]


@pytest.mark.parametrize(
    ("shape", "drawn"), [((6, 8), (180, 240)), ((60, 20), (180, 60)), ((10, 40), (60, 240)), ((1, 2000), (1, 240))]
)
def test_picture_fills_its_box_and_keeps_its_proportions(
    tmp_path: pathlib.Path, shape: tuple[int, int], drawn: tuple[int, int]
) -> None:
    sheet = _draw([_write(tmp_path, np.full(shape, 1, np.uint8))])
    inside = (sheet[18:ROW_HEIGHT, 256:504] == COLORS[1]).all(axis=-1)
    assert inside[: drawn[0], : drawn[1]].all()
    assert inside.sum() == drawn[0] * drawn[1]


def test_mask_is_not_smoothed_so_that_no_other_color_appears(tmp_path: pathlib.Path) -> None:
    ids = np.random.default_rng(0).integers(0, 3, (31, 47)).astype(np.uint8)
    sheet = _draw([_write(tmp_path, ids)])
    assert _colors(sheet[18:198, 256:496]) <= {*COLORS, GROUND}


def test_legend_has_what_occurs_in_the_order_of_the_ids_and_void_at_the_end(tmp_path: pathlib.Path) -> None:
    first = _write(tmp_path, np.full((6, 8), 2, np.uint8), key="a")
    second = _write(tmp_path, np.array([[0, 255]], np.uint8), key="b")
    sheet = _draw([first, second])
    legend = sheet[2 * ROW_HEIGHT :]
    for left, color in zip(LEFTS, (COLORS[0], COLORS[2], VOID), strict=True):
        assert _colors(legend[3:14, left + 1 : left + 12]) == {color}
        assert legend[2, left].tolist() == list(INK)
        assert (legend[:, left + 18 : left + 200] != 255).any()  # Its name.
    assert COLORS[1] not in _colors(legend)


def test_legend_takes_a_line_for_each_three_classes(tmp_path: pathlib.Path) -> None:
    spec = DatasetSpec(name="some", classes=tuple(f"class_{index}" for index in range(7)))
    sheet = _draw([_write(tmp_path, np.arange(7, dtype=np.uint8)[np.newaxis])], spec)
    legend = sheet[ROW_HEIGHT:]
    assert len(legend) == 3 * 18 + 8
    palette = features.voc_palette()
    for index in range(7):
        top, left = 18 * (index // 3), LEFTS[index % 3]
        assert _colors(legend[top + 3 : top + 14, left + 1 : left + 12]) == {palette[index]}


def test_void_has_its_color_in_mask_and_overlay(tmp_path: pathlib.Path) -> None:
    sheet = _draw([_write(tmp_path, np.full((6, 8), 255, np.uint8))])
    assert _colors(sheet[18:198, 256:496]) == {VOID}
    assert _colors(sheet[18:198, 504:744]) == {((100 + 224) // 2, (100 + 224) // 2, (100 + 192) // 2)}


def test_255_classes_and_void_are_drawn(tmp_path: pathlib.Path) -> None:
    spec = DatasetSpec(name="some", classes=tuple(f"class_{index}" for index in range(255)))
    sheet = _draw([_write(tmp_path, np.arange(256, dtype=np.uint8).reshape(16, 16))], spec)
    assert len(sheet) == ROW_HEIGHT + 86 * 18 + 8  # 256 / 3 = 85.3 lines.
    assert set(features.voc_palette()) <= _colors(sheet[18:198, 256:496])


# What is bad.


def test_unreadable_pair_is_listed_and_its_row_says_why_and_the_others_are_drawn(tmp_path: pathlib.Path) -> None:
    ids = np.zeros((6, 8), np.uint8)
    good = [_write(tmp_path, ids, color=(9, 9, 9), key=key) for key in ("a", "c")]
    _, bad = _write(tmp_path, np.full((6, 8), 77, np.uint8), key="b")
    sheet, unreadable = contact_sheet.draw([good[0], ("validation", bad), good[1]], SPEC)
    assert unreadable == [f"validation/b: {bad.mask}: 48 pixels have an id outside 0..2 and 255 (void), first 77 at x=0, y=0"]
    assert sheet.shape == (3 * ROW_HEIGHT + LEGEND_HEIGHT, WIDTH, 3)
    assert sheet[100, 100].tolist() == sheet[2 * ROW_HEIGHT + 100, 100].tolist() == [9, 9, 9]
    row = sheet[ROW_HEIGHT : 2 * ROW_HEIGHT]
    assert (row[:18] != 255).any()  # The reason.
    assert _colors(row[18:]) == {GROUND}


def test_missing_files_broken_files_and_known_problems_are_all_listed(tmp_path: pathlib.Path) -> None:
    folder = str(tmp_path)
    split, good = _write(tmp_path, np.zeros((6, 8), np.uint8))
    (tmp_path / "text.png").write_text("no picture")
    chosen = [
        (split, Pair("1", str(tmp_path / "none.png"), good.mask, folder)),
        (split, Pair("2", good.image, str(tmp_path / "none.png"), folder)),
        (split, Pair("3", str(tmp_path / "text.png"), good.mask, folder)),
        (split, Pair("4", good.image, good.mask, folder, problem="there are several")),
    ]
    sheet, unreadable = contact_sheet.draw(chosen, SPEC)
    assert [line.split(": ", 2)[0] for line in unreadable] == ["train/1", "train/2", "train/3", "train/4"]
    reasons = ("the image does not exist", "the mask does not exist", "the image cannot be read", "there are several")
    assert all(reason in line for reason, line in zip(reasons, unreadable, strict=True))
    assert len(sheet) == 4 * ROW_HEIGHT + LEGEND_HEIGHT


@pytest.mark.parametrize("letter", ["i", "x", "W", "\N{CJK UNIFIED IDEOGRAPH-4E2D}"])
def test_long_names_stay_in_their_places(tmp_path: pathlib.Path, letter: str) -> None:
    names = tuple(letter * 200 + str(index) for index in range(3))
    spec = DatasetSpec(name="some", classes=names, colors=COLORS)
    split, pair = _write(tmp_path, np.array([[0, 1, 2]], np.uint8), key="a")
    sheet = _draw([(split, Pair(letter * 500, pair.image, pair.mask, pair.folder))], spec)
    assert _colors(sheet[:18, -8:]) == {GROUND}
    legend = sheet[ROW_HEIGHT:]
    for left in LEFTS:
        assert _colors(legend[:, left - 8 : left]) == {GROUND}  # The gap before each of them.
    assert _colors(legend[:, -8:]) == {GROUND}


def test_short_names_are_not_cut() -> None:
    assert contact_sheet._short("train/a", 200) == "train/a"


def test_cut_names_say_so_and_use_the_place_they_have() -> None:
    for letter in "iW":
        cut = contact_sheet._short(letter * 300, 200)
        assert cut.endswith("...") and len(cut) > 10
        assert 180 < contact_sheet._font().getlength(cut) <= 200


def test_name_of_several_lines_is_drawn_in_one(tmp_path: pathlib.Path) -> None:
    split, pair = _write(tmp_path, np.zeros((6, 8), np.uint8))
    sheet = _draw([(split, Pair("two\nlines", pair.image, pair.mask, pair.folder))])
    plain = _draw([(split, Pair("two lines", pair.image, pair.mask, pair.folder))])
    np.testing.assert_array_equal(sheet, plain)


def test_sheet_is_the_same_each_time_and_a_picture(tmp_path: pathlib.Path) -> None:
    chosen = [_write(tmp_path, np.arange(3, dtype=np.uint8)[np.newaxis])]
    sheet = _draw(chosen)
    np.testing.assert_array_equal(sheet, _draw(chosen))
    PIL.Image.fromarray(sheet).save(io.BytesIO(), format="PNG")
