"""The seeded miniature: the same bytes for the same seed, everything that VOC is made of, and whole or not at all."""

import hashlib
import pathlib

import numpy as np
import PIL.Image
import pytest

from components.datasets import fake_voc

SMALL = {"train": 3, "val": 2, "test": 1}


def _contents(folder: pathlib.Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _ids(voc: pathlib.Path, split: str) -> set[int]:
    keys = (voc / "ImageSets/Segmentation" / f"{split}.txt").read_text().split()
    return {int(i) for key in keys for i in np.unique(np.asarray(PIL.Image.open(voc / "SegmentationClass" / f"{key}.png")))}


def test_same_seed_gives_the_same_bytes(tmp_path: pathlib.Path) -> None:
    one, two = (fake_voc.write_fake_voc(tmp_path / name, seed=5, split_sizes=SMALL) for name in "ab")
    assert _contents(one) == _contents(two)


def test_other_seed_gives_other_pictures_of_the_same_names(tmp_path: pathlib.Path) -> None:
    one, two = (_contents(fake_voc.write_fake_voc(tmp_path / str(seed), seed=seed, split_sizes=SMALL)) for seed in (0, 1))
    assert set(one) == set(two)
    assert all(one[name] != two[name] for name in one if not name.endswith(".txt"))


def test_layout_is_that_of_voc(tmp_path: pathlib.Path) -> None:
    voc = fake_voc.write_fake_voc(tmp_path, split_sizes=SMALL)
    assert voc == tmp_path / "VOCdevkit" / "VOC2007"
    keys = [f"2007_00000{index}" for index in range(6)]
    assert set(_contents(voc)) == {
        *(f"ImageSets/Segmentation/{split}.txt" for split in SMALL),
        *(f"JPEGImages/{key}.jpg" for key in keys),
        *(f"SegmentationClass/{key}.png" for key in keys),
    }
    listed = [(voc / "ImageSets/Segmentation" / f"{split}.txt").read_text() for split in SMALL]
    assert listed == ["2007_000000\n2007_000001\n2007_000002\n", "2007_000003\n2007_000004\n", "2007_000005\n"]


def test_split_of_no_pictures_has_an_empty_list(tmp_path: pathlib.Path) -> None:
    voc = fake_voc.write_fake_voc(tmp_path, split_sizes={"train": 1, "val": 1, "test": 0})
    assert (voc / "ImageSets/Segmentation/test.txt").read_bytes() == b""


def test_pictures_are_rgb_jpegs_and_masks_palette_pngs_of_the_same_size(tmp_path: pathlib.Path) -> None:
    voc = fake_voc.write_fake_voc(tmp_path, split_sizes=SMALL)
    for path in (voc / "JPEGImages").iterdir():
        with PIL.Image.open(path) as image, PIL.Image.open(voc / "SegmentationClass" / f"{path.stem}.png") as mask:
            assert (image.format, image.mode, mask.format, mask.mode) == ("JPEG", "RGB", "PNG", "P")
            assert image.size == mask.size
            palette = mask.getpalette()
            assert palette is not None
            assert palette[3 * 255 :] == [224, 224, 192]  # Void around objects has VOC's colour.


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_all_21_ids_and_void_occur_in_each_split(mini_voc: pathlib.Path, split: str) -> None:
    assert _ids(mini_voc / "VOCdevkit" / "VOC2007", split) == {*range(21), 255}


def test_all_ids_occur_in_each_split_of_the_default_sizes() -> None:
    rng = np.random.default_rng(0)  # As `write_fake_voc` does by default, without files.
    for size in fake_voc.SPLIT_SIZES.values():
        drawn = [fake_voc.draw_pair(rng, first_class=1 + number % 20)[1] for number in range(size)]
        assert set(np.unique(np.concatenate([mask.ravel() for mask in drawn]))) == {*range(21), 255}


def test_object_has_its_color_in_the_picture_and_a_border_of_void() -> None:
    image, mask = fake_voc.draw_pair(np.random.default_rng(0), first_class=3)
    assert (image.dtype, mask.dtype, image.shape[:2]) == (np.uint8, np.uint8, mask.shape)
    for class_id in set(np.unique(mask)) - {0, 255}:
        # Noise of 6 grey levels averages out over an object's hundreds of pixels; clipping at 0 and 255 shifts by 2.4.
        mean = image[mask == class_id].mean(axis=0)
        np.testing.assert_allclose(mean, fake_voc.class_color(int(class_id)), atol=4)
    inside = (mask != 0) & (mask != 255)
    ground_right_of_object = inside[:, :-1] & (mask[:, 1:] == 0)
    assert not ground_right_of_object.any()


def test_classes_have_20_different_colors() -> None:
    assert len({fake_voc.class_color(class_id) for class_id in range(1, 21)}) == 20


def test_set_that_exists_is_left_as_it_is(tmp_path: pathlib.Path) -> None:
    voc = fake_voc.write_fake_voc(tmp_path, seed=0, split_sizes=SMALL)
    (voc / "ImageSets/Segmentation/train.txt").write_text("mine\n")
    before = _contents(voc)
    assert fake_voc.write_fake_voc(tmp_path, seed=1) == voc
    assert _contents(voc) == before


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("drawn", [0, 4])
def test_interrupted_writing_leaves_nothing_and_can_be_repeated(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], drawn: int
) -> None:
    draw = fake_voc.draw_pair
    calls: list[int] = []

    def stop_after(rng: np.random.Generator, first_class: int) -> tuple[np.ndarray, np.ndarray]:
        if len(calls) == drawn:
            raise error
        calls.append(first_class)
        return draw(rng, first_class)

    monkeypatch.setattr(fake_voc, "draw_pair", stop_after)
    with pytest.raises(error):
        fake_voc.write_fake_voc(tmp_path, split_sizes=SMALL)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert len(_contents(fake_voc.write_fake_voc(tmp_path, split_sizes=SMALL))) == 15
