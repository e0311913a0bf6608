"""From a folder to its description: each layout and encoding that is understood, and the errors that show two readings."""

import os
import pathlib
import tomllib
import uuid
from collections.abc import Callable

import fake_datasets as fake
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from components import features
from components.datasets import examples, files, guess_masks, layout, registry, spec
from components.datasets.guess import Guess, guess
from components.datasets.raster import Raster
from components.errors import DataError

VOC = features.voc_palette()


def _notes(found: Guess) -> str:
    return "\n".join(found.notes)


def _write_ids(folder: pathlib.Path, *masks: np.ndarray, palette=None, mode=None) -> pathlib.Path:
    """Writes 20 pairs whose masks have, in turn, the given values."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(20):
        values = np.asarray(masks[number % len(masks)])
        PIL.Image.new("RGB", values.shape[1::-1]).save(folder / "images" / f"{number}.jpg")
        image = PIL.Image.fromarray(values) if palette is None else fake.as_palette(values, palette)
        (image if mode is None else image.convert(mode)).save(folder / "masks" / f"{number}.png")
    return folder


def _ids(*values: int) -> np.ndarray:
    return np.array([values, values], np.uint8)


# Every worked example


EXAMPLES: dict[str, Callable[[pathlib.Path], pathlib.Path]] = {
    "VOC's layout": fake.write_voc,
    "labelme": fake.write_labelme,
    "labelme, old": lambda folder: fake.write_labelme(folder, old=True),
    "CVAT": fake.write_cvat_voc,
    "CamVid": fake.write_camvid,
    "CARLA": fake.write_carla,
    "Cityscapes as pairs": fake.write_cityscapes_pairs,
    "mask in the left half": fake.write_sides,
    "folders": fake.write_folders,
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_reads_with_its_guess(tmp_path: pathlib.Path, name: str) -> None:
    folder = str(EXAMPLES[name](tmp_path / "some data"))
    found = guess(folder)
    splits = layout.list_pairs(folder, found.spec)
    assert len(splits["train"]) >= 6
    assert len(splits["validation"]) >= 2
    for pairs in splits.values():
        for pair in pairs:
            picture, mask = examples.read_pair(pair, found.spec)
            assert mask.ids.shape == picture.pixels.shape[:2]
    assert spec.from_dict(tomllib.loads(spec.to_toml(found.spec))) == found.spec


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_are_seeded(tmp_path: pathlib.Path, name: str) -> None:
    written = []
    for part in ("a", "b"):
        folder = EXAMPLES[name](tmp_path / part)
        written.append({path: (folder / path).read_bytes() for path in files.files_below(str(folder))})
    assert written[0] == written[1]
    assert written[0]


def test_guess_is_deterministic(tmp_path: pathlib.Path) -> None:
    folder = fake.write_labelme(tmp_path)
    assert guess(str(folder), sample=5) == guess(folder, sample=5)


# Built-in sets


@pytest.mark.parametrize("below", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
@pytest.mark.parametrize("empty_test", [True, False], ids=["empty test list", "no test list"])
def test_vocs_own_ids_and_classes_are_the_built_in_set(tmp_path: pathlib.Path, below: str, empty_test: bool) -> None:
    fake.write_voc(tmp_path, year=2012, classes=21, official_ids=True, empty_test=empty_test)
    assert guess(str(tmp_path / below)).spec == registry.built_in("voc2012")


def test_the_miniature_set_is_voc2007(mini_voc: pathlib.Path) -> None:
    assert guess(str(mini_voc)).spec == registry.built_in("voc2007")


def test_another_year_of_voc_has_vocs_classes(tmp_path: pathlib.Path) -> None:
    found = guess(fake.write_voc(tmp_path, year=2010, classes=21, official_ids=True)).spec
    assert (found.name, found.classes, found.layout.root) == ("voc2010", features.VOC_CLASSES, "VOCdevkit/VOC2010")
    assert registry.builder_of(found) == registry.CUSTOM


@pytest.mark.parametrize(
    "change",
    [
        {"official_ids": False},
        {"classes": 25},
        {"write_mask": fake.as_grey},
        {"year": "_mine"},
    ],
    ids=["other ids", "more classes", "grey masks", "another folder"],
)
def test_vocs_layout_with_anything_else_is_ones_own(tmp_path: pathlib.Path, change: dict) -> None:
    found = guess(fake.write_voc(tmp_path / "mine", **({"classes": 21, "official_ids": True} | change))).spec
    assert found.name == "mine"
    assert found.classes[:2] == ("background", "class_1")


def test_own_class_names_beside_vocs_ids_are_ones_own(tmp_path: pathlib.Path) -> None:
    fake.write_voc(tmp_path, official_ids=True)
    (tmp_path / "class_names.txt").write_text("_background_\nleaf\nstone\n")
    assert guess(tmp_path).spec.classes == fake.CLASSES


def test_six_digits_are_vocs_ids_only_with_void_in_each_mask(tmp_path: pathlib.Path) -> None:
    def with_void(ids: np.ndarray) -> PIL.Image.Image:
        ids = ids.copy()
        ids[0] = 255
        return fake.as_palette(ids)

    for name, write_mask in {"own": fake.as_palette, "official": with_void}.items():
        folder = fake.write_voc(tmp_path / name, write_mask=write_mask)
        root = folder / "VOCdevkit" / "VOC2007"
        for path in [*root.glob("JPEGImages/*"), *root.glob("SegmentationClass/*")]:
            path.rename(path.with_name(path.name.zfill(10)))
        for path in root.glob("ImageSets/Segmentation/*"):
            path.write_text("".join(f"{key.zfill(6)}\n" for key in path.read_text().split()))
        assert guess(folder).spec.name == {"own": "own", "official": "voc2007"}[name]


@pytest.mark.parametrize("name", ["voc2007", "voc2012"])
def test_official_archives_are_the_built_in_set(tmp_path: pathlib.Path, name: str) -> None:
    import tensorflow_datasets as tfds

    expected = registry.built_in(name)
    for archive in tfds.builder_cls(f"{name}_semantic").ARCHIVES:
        (tmp_path / archive).write_bytes(b"")
    assert guess(tmp_path).spec == expected


def test_one_of_two_archives_names_the_other(tmp_path: pathlib.Path) -> None:
    (tmp_path / "VOCtrainval_06-Nov-2007.tar").write_bytes(b"")
    with pytest.raises(DataError, match="VOCtest_06-Nov-2007.tar"):
        guess(tmp_path)


@pytest.mark.parametrize("below", ["", "CamVid"])
def test_camvid(tmp_path: pathlib.Path, below: str) -> None:
    assert guess(fake.write_camvid(tmp_path) / below).spec == registry.built_in("camvid")


@pytest.mark.parametrize("below", ["", "data"])
def test_carla(tmp_path: pathlib.Path, below: str) -> None:
    assert guess(fake.write_carla(tmp_path) / below).spec == registry.built_in("carla")


def test_cityscapes_pairs(tmp_path: pathlib.Path) -> None:
    assert guess(fake.write_cityscapes_pairs(tmp_path)).spec == registry.built_in("cityscapes_pairs")


def test_camvids_folders_with_other_masks_say_so(tmp_path: pathlib.Path) -> None:
    mask = next((fake.write_camvid(tmp_path) / "CamVid" / "trainannot").iterdir())
    fake.as_grey(np.full((48, 64), 40, np.uint8)).save(mask)
    with pytest.raises(DataError, match="looks like the built-in set camvid .* first 40 .* name them in vocseg.toml"):
        guess(tmp_path)


# VOC's layout with one's own classes


def test_own_classes_in_vocs_layout(tmp_path: pathlib.Path) -> None:
    found = guess(fake.write_voc(tmp_path / "a-b c", crlf=True))
    assert found.spec == spec.DatasetSpec(
        name="a_b_c",
        classes=("background", "class_1", "class_2"),
        layout=spec.Layout(root="VOCdevkit/VOC2007", images="JPEGImages", masks="SegmentationClass"),
        mask=spec.MaskEncoding(encoding="ids"),
        splits=spec.Splits(lists="ImageSets/Segmentation/{split}.txt", test=""),
    )
    assert "8 train, 3 validation" in _notes(found)
    assert "looked at 11 of 11" in _notes(found)


@pytest.mark.parametrize("old", [False, True])
def test_labelme_has_names_and_no_lists(tmp_path: pathlib.Path, old: bool) -> None:
    found = guess(fake.write_labelme(tmp_path, old)).spec
    assert found.classes == fake.CLASSES
    assert found.layout.masks == ("SegmentationClassPNG" if old else "SegmentationClass")
    assert found.splits == spec.Splits()


def test_two_folders_of_class_masks_are_ambiguous(tmp_path: pathlib.Path) -> None:
    fake.write_labelme(tmp_path)
    (tmp_path / "SegmentationClassPNG").symlink_to(tmp_path / "SegmentationClass")
    guess(tmp_path)  # A link does not count.
    (tmp_path / "SegmentationClassPNG").unlink()
    (tmp_path / "SegmentationClassPNG").mkdir()
    PIL.Image.new("P", (8, 8)).save(tmp_path / "SegmentationClassPNG" / "photo_00.png")
    with pytest.raises(DataError, match='layout.masks = "SegmentationClass"\n.*layout.masks = "SegmentationClassPNG"'):
        guess(tmp_path)


def test_two_sets_in_vocs_layout_are_ambiguous(tmp_path: pathlib.Path) -> None:
    fake.write_voc(tmp_path)
    fake.write_voc(tmp_path, year=2012)
    with pytest.raises(DataError, match='2 ways(.|\n)*layout.root = "VOCdevkit/VOC2007"(.|\n)*"VOCdevkit/VOC2012"'):
        guess(tmp_path)


def test_a_bad_list_is_named(tmp_path: pathlib.Path) -> None:
    root = fake.write_voc(tmp_path) / "VOCdevkit" / "VOC2007"
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("0\n../1\n")
    with pytest.raises(DataError, match="train.txt lists what cannot be used:(.|\n)*line 2"):
        guess(tmp_path)


def test_cvats_labelmap_gives_names_and_colors(tmp_path: pathlib.Path) -> None:
    found = guess(fake.write_cvat_voc(tmp_path)).spec
    assert (found.classes, found.colors, found.mask.encoding) == (fake.CLASSES, fake.COLORS, "colors")


def test_a_color_that_the_labelmap_lacks_is_an_error(tmp_path: pathlib.Path) -> None:
    fake.write_cvat_voc(tmp_path)
    (tmp_path / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\nleaf:250,50,50::\nnone:::\n")
    with pytest.raises(DataError, match=r"labelmap.txt does not name: \[40, 90, 250\]"):
        guess(tmp_path)


def test_labelmap_with_background_in_the_middle_and_void() -> None:
    text = "# label:color_rgb:parts:actions\napple:1,2,3::\nbackground:0,0,0::\nvoid:224,224,192::\nnone:::\n"
    assert guess_masks.parse_names("x/labelmap.txt", text) == guess_masks.Names(
        "x/labelmap.txt", ("apple", "background"), ((1, 2, 3), (0, 0, 0))
    )


# Folders


@pytest.mark.parametrize("images", ["images", "Imgs", "rgb", "photos", "JPEGImages"])
@pytest.mark.parametrize("masks", ["masks", "Labels", "annotations", "gt"])
def test_folders_by_usual_names(tmp_path: pathlib.Path, images: str, masks: str) -> None:
    found = guess(fake.write_folders(tmp_path, images, masks)).spec
    assert (found.layout.images, found.layout.masks, found.splits) == (images, masks, spec.Splits())


@pytest.mark.parametrize(
    ("images", "masks"), [("{split}/images", "{split}/masks"), ("images/{split}", "masks/{split}"), ("{split}", "{split}annot")]
)
@pytest.mark.parametrize("validation", ["val", "valid", "validation"])
@pytest.mark.parametrize("test", [("test",), ()], ids=["test", "no test"])
def test_folders_for_splits(tmp_path: pathlib.Path, images: str, masks: str, validation: str, test: tuple) -> None:
    found = guess(fake.write_folders(tmp_path, images, masks, ("train", validation, *test))).spec
    assert (found.layout.images, found.layout.masks) == (images, masks)
    assert found.splits.names() == {"train": "train", "validation": validation} | ({"test": "test"} if test else {})


def test_a_test_split_without_masks_is_left_out(tmp_path: pathlib.Path) -> None:
    fake.write_folders(tmp_path, "{split}/images", "{split}/masks", ("train", "val", "test"))
    for path in (tmp_path / "test" / "masks").iterdir():
        path.unlink()
    assert guess(tmp_path).spec.splits.test == ""


def test_train_without_validation_is_an_error(tmp_path: pathlib.Path) -> None:
    fake.write_folders(tmp_path, "images/{split}", "masks/{split}", ("train",))
    with pytest.raises(DataError, match="images has train, but no folder for validation"):
        guess(tmp_path)


def test_the_one_folder_in_a_folder_is_looked_into(tmp_path: pathlib.Path) -> None:
    fake.write_folders(tmp_path / "unpacked")
    assert guess(tmp_path).spec.layout == spec.Layout(root="unpacked")


@pytest.mark.parametrize("folder", ["", "splits"])
@pytest.mark.parametrize("ending", ["", ".jpg"], ids=["ids", "names"])
def test_lists_beside_folders(tmp_path: pathlib.Path, folder: str, ending: str) -> None:
    fake.write_folders(tmp_path)
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "train.txt").write_text("".join(f"a{number}{ending}\n" for number in range(6)))
    (tmp_path / folder / "valid.txt").write_text(f"a6{ending}\na7{ending}\n")
    found = guess(tmp_path).spec
    assert found.splits.lists == f"{folder}/{{split}}.txt".lstrip("/")
    assert found.splits.names() == {"train": "train", "validation": "valid"}


def test_lists_of_something_else_are_not_used(tmp_path: pathlib.Path) -> None:
    fake.write_folders(tmp_path)
    (tmp_path / "train.txt").write_text("/data/a0.jpg 1\n/data/a1.jpg 2\n")
    (tmp_path / "val.txt").write_text("x\n")
    found = guess(tmp_path)
    assert found.spec.splits == spec.Splits()
    assert "Lists in the folder itself are not used" in _notes(found)


@pytest.mark.parametrize("suffix", ["_mask", "-gt", ".label", "_L", "mask"])
@pytest.mark.parametrize("masks", ["masks", "images"], ids=["two folders", "one folder"])
def test_mask_suffix(tmp_path: pathlib.Path, suffix: str, masks: str) -> None:
    found = guess(fake.write_folders(tmp_path, "images", masks, mask_suffix=suffix)).spec
    assert (found.layout.masks, found.layout.mask_suffix) == (masks, suffix)


@pytest.mark.parametrize("splits", [(), ("train", "val")])
def test_pictures_and_masks_in_the_folder_itself(tmp_path: pathlib.Path, splits: tuple) -> None:
    where = "{split}" if splits else ""
    found = guess(fake.write_folders(tmp_path, where, where, splits, mask_suffix="_mask")).spec
    assert (found.layout.images, found.layout.masks, found.layout.mask_suffix) == (where, where, "_mask")


def test_numbers_are_no_suffix(tmp_path: pathlib.Path) -> None:
    for number in range(30):
        PIL.Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    with pytest.raises(DataError, match="nothing whose meaning is plain"):
        guess(tmp_path)


def test_two_suffixes_are_ambiguous(tmp_path: pathlib.Path) -> None:
    fake.write_folders(tmp_path, mask_suffix="_ids")
    fake.write_folders(tmp_path, mask_suffix="_color", write_mask=fake.as_colors)
    with pytest.raises(DataError, match='layout.mask_suffix = "_color"(.|\n)*layout.mask_suffix = "_ids"'):
        guess(tmp_path)


def test_two_folders_of_masks_are_ambiguous(tmp_path: pathlib.Path) -> None:
    fake.write_folders(tmp_path)
    fake.write_folders(tmp_path, masks="labels")
    with pytest.raises(DataError, match='layout.masks = "labels"(.|\n)*layout.masks = "masks"'):
        guess(tmp_path)


def test_a_folder_of_texts_is_no_folder_of_masks(tmp_path: pathlib.Path) -> None:
    fake.write_folders(tmp_path)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a0.txt").write_text("0 0.5 0.5 1 1")
    assert guess(tmp_path).spec.layout.masks == "masks"


def test_pairs_that_are_not_whole_are_counted(tmp_path: pathlib.Path) -> None:
    fake.write_folders(tmp_path)
    (tmp_path / "masks" / "a3.png").unlink()
    (tmp_path / "masks" / "a4.png").write_bytes(b"no picture")
    assert "not whole: 1; masks that cannot be opened: 1. First a3" in _notes(guess(tmp_path))


# Side by side


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_half_with_few_colors_is_the_mask(tmp_path: pathlib.Path, side: str) -> None:
    found = guess(fake.write_sides(tmp_path, side)).spec
    assert found.layout == spec.Layout(images="{split}", mask_side=side)
    assert set(found.colors) == set(fake.COLORS)


def test_smeared_pairs_in_other_colors_need_a_description(tmp_path: pathlib.Path) -> None:
    fake._write_sides(tmp_path, ((0, 0, 0), (255, 0, 255), (0, 255, 0)), size_px=256, ending="jpg", seed=1)
    with pytest.raises(DataError, match=r'lossy(.|\n)*mask_side = "right"(.|\n)*color_tolerance = 60'):
        guess(tmp_path)


# Masks


@pytest.mark.parametrize(
    ("masks", "palette", "mode", "encoding", "classes"),
    [
        ([_ids(0, 1, 2), _ids(0, 0, 255)], None, None, "ids", 3),
        ([_ids(0, 1)], None, None, "ids", 2),
        ([_ids(0, 1, 2)], None, "RGB", "ids", 3),
        ([_ids(0, 1, 3)], VOC, None, "ids", 4),
        ([_ids(0, 255, 255)], None, "1", "ids", 2),
        ([_ids(0, 128)], None, None, "binary", 2),
        ([_ids(0, 0), _ids(0, 7)], None, None, "binary", 2),
        ([_ids(1, 2)], None, None, "ids", 3),
    ],
    ids=["grey with void", "two ids", "r=g=b", "palette", "1 bit", "0 and 128", "0 and 7", "from 1 on"],
)
def test_encoding_of_ids(tmp_path: pathlib.Path, masks, palette, mode, encoding: str, classes: int) -> None:
    found = guess(_write_ids(tmp_path, *masks, palette=palette, mode=mode)).spec
    assert (found.mask.encoding, len(found.classes), found.colors) == (encoding, classes, ())


def test_what_never_occurs_is_said_and_shares_are_shown(tmp_path: pathlib.Path) -> None:
    notes = _notes(guess(_write_ids(tmp_path, _ids(0, 0, 0, 3, 3, 1))))
    assert "0 background 50.0%, 1 class_1 16.7%, 3 class_3 33.3%" in notes  # 3, 1 and 2 of 6 columns.
    assert "In no mask that was looked at: 2 class_2." in notes


def test_white_on_black_shows_both_readings(tmp_path: pathlib.Path) -> None:
    folder = _write_ids(tmp_path, _ids(0, 255))
    with pytest.raises(DataError) as error:
        guess(folder)
    assert 'mask.encoding = "binary": 0 is the first class and 255 the second' in str(error.value)
    assert 'mask.encoding = "ids": 255 is void' in str(error.value)
    (folder / "classes.txt").write_text("ground\nleaf\n")
    found = guess(folder)
    assert (found.spec.mask.encoding, found.spec.classes) == ("binary", ("ground", "leaf"))
    assert "as classes.txt has two names" in _notes(found)


def test_the_toml_in_a_message_decides(tmp_path: pathlib.Path) -> None:
    folder = _write_ids(tmp_path, _ids(0, 255))
    with pytest.raises(DataError) as error:
        guess(folder)
    path = tmp_path / spec.SPEC_FILE
    path.write_text(str(error.value).split("\n\n", maxsplit=1)[1])
    described = spec.read_spec(str(path))
    assert described.mask.encoding == "binary"
    assert layout.list_pairs(str(folder), described)


def test_far_apart_grey_levels_show_both_readings(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match='"ids": 151 classes by number\n.*"colors": 3 classes by colour'):
        guess(_write_ids(tmp_path, _ids(0, 100, 150)))


def test_enough_names_say_that_numbers_are_ids(tmp_path: pathlib.Path) -> None:
    folder = _write_ids(tmp_path, _ids(0, 7))
    (folder / "labels.txt").write_text("__ignore__\n_background_\n" + "".join(f"c{number}\n" for number in range(1, 8)))
    found = guess(folder).spec
    assert (found.mask.encoding, found.classes[::7]) == ("ids", ("background", "c7"))


def test_too_few_names_are_filled_up(tmp_path: pathlib.Path) -> None:
    folder = _write_ids(tmp_path, _ids(0, 1, 2, 3))
    (folder / "classes.txt").write_text("ground\r\nleaf\r\n")
    found = guess(folder)
    assert found.spec.classes == ("ground", "leaf", "class_2", "class_3")
    assert "It has 2 for 4 ids" in _notes(found)


def test_names_that_cannot_be_are_an_error(tmp_path: pathlib.Path) -> None:
    folder = _write_ids(tmp_path, _ids(0, 1))
    (folder / "classes.txt").write_text("leaf\nleaf\n")
    with pytest.raises(DataError, match="classes has leaf more than once"):
        guess(folder)


@pytest.mark.parametrize("values", [_ids(0, 0), np.zeros((2, 2, 3), np.uint8)], ids=["grey", "RGB"])
def test_one_class_is_too_few(tmp_path: pathlib.Path, values: np.ndarray) -> None:
    with pytest.raises(DataError, match="one class only"):
        guess(_write_ids(tmp_path, values))


def test_numbered_objects_are_no_classes(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="ids up to 1000"):
        guess(_write_ids(tmp_path, np.array([[0, 1, 1000]], np.uint16)))


def test_red_channel(tmp_path: pathlib.Path) -> None:
    found = guess(fake.write_folders(tmp_path, write_mask=fake.as_red, classes=5)).spec
    assert (found.mask.encoding, len(found.classes)) == ("red", 5)


def test_colors_are_counted_and_void_is_none(tmp_path: pathlib.Path) -> None:
    # Of 6 pixels 3 red, 1 black, 1 blue, 1 void.
    row = [(255, 0, 0), (0, 0, 0), (255, 0, 0), (0, 0, 255), (255, 0, 0), (224, 224, 192)]
    found = guess(_write_ids(tmp_path, np.array([row], np.uint8)))
    assert found.spec.colors == ((0, 0, 0), (0, 0, 255), (255, 0, 0))  # In their own order: more data must not change it.
    assert found.spec.mask == spec.MaskEncoding(encoding="colors")
    assert "void 16.7%" in _notes(found)


@pytest.mark.parametrize("there", [("train", "test"), ("train",), ("val", "test")])
def test_lists_without_train_or_validation_are_no_reason_to_divide_anew(tmp_path: pathlib.Path, there: tuple[str, ...]) -> None:
    """The pictures of the user's own test list would become training data."""
    data = fake.write_voc(tmp_path, empty_test=False)
    folder = data / "VOCdevkit/VOC2007/ImageSets/Segmentation"
    for name in ("train", "val"):
        (folder / f"{name}.txt").unlink()
    for number, name in enumerate(there):
        (folder / f"{name}.txt").write_text(f"{number}\n")
    missing = " and ".join(name for name in ("train", "val") if name not in there)
    with pytest.raises(DataError, match=rf"{there[0]}.txt.*but no pictures are listed for {missing}.*splits.fractions"):
        guess(data)


def test_names_go_with_vocs_colors_but_with_no_others(tmp_path: pathlib.Path) -> None:
    for name, colors in {"voc": VOC, "other": fake.COLORS}.items():
        folder = fake.write_folders(tmp_path / name, write_mask=lambda ids, colors=colors: fake.as_colors(ids, colors))
        (folder / "class_names.txt").write_text("\n".join(fake.CLASSES))
    assert guess(tmp_path / "voc").spec.classes == fake.CLASSES
    assert guess(tmp_path / "voc").spec.colors == VOC[:3]
    other = guess(tmp_path / "other")
    assert other.spec.classes == ("background", "class_1", "class_2")
    assert "does not say which colour is which" in _notes(other)


def test_many_colors_need_a_description(tmp_path: pathlib.Path) -> None:
    values = np.zeros((9, 8, 3), np.uint8)
    values[..., 0] = np.arange(72).reshape(9, 8)
    values[..., 1] = 100
    with pytest.raises(DataError, match=r"more than 64 colours(.|\n)*color_tolerance"):
        guess(_write_ids(tmp_path, values))


def test_the_worked_example_for_lossy_masks_reads_them(tmp_path: pathlib.Path) -> None:
    folder = fake.write_folders(tmp_path, write_mask=fake.as_colors, mask_ending="jpg")
    with pytest.raises(DataError) as error:
        guess(folder)
    described = spec.from_dict(tomllib.loads(str(error.value).split("\n\n", maxsplit=1)[1]))
    assert len(described.classes) == 3
    for pair in layout.list_pairs(str(folder), described)["train"]:
        assert (examples.read_pair(pair, described)[1].ids != 255).mean() > 0.9


def test_quantized_vocs_colors_show_both_readings(tmp_path: pathlib.Path) -> None:
    def quantized(ids: np.ndarray) -> PIL.Image.Image:
        return fake.as_palette(np.array([2, 0, 1], np.uint8)[ids], [VOC[1], VOC[2], VOC[0]])

    with pytest.raises(DataError, match=r"\[128, 0, 0\], which in VOC's palette is 1(.|\n)*\"ids\"(.|\n)*\"colors\""):
        guess(fake.write_folders(tmp_path, write_mask=quantized))


def test_palettes_that_differ_show_both_readings(tmp_path: pathlib.Path) -> None:
    def quantized(ids: np.ndarray) -> PIL.Image.Image:
        return fake.as_colors(ids).quantize()

    with pytest.raises(DataError, match=r"The palettes differ: index \d is(.|\n)*\"ids\"(.|\n)*\"colors\""):
        guess(fake.write_folders(tmp_path, write_mask=quantized))


def test_a_palette_of_ones_own_gives_the_colors(tmp_path: pathlib.Path) -> None:
    found = guess(fake.write_folders(tmp_path, write_mask=lambda ids: fake.as_palette(ids, fake.COLORS))).spec
    assert (found.mask.encoding, found.colors) == ("ids", fake.COLORS)


def test_condense_counts_values() -> None:
    look = guess_masks.condense(Raster(np.array([[5, 5, 0], [5, 1, 1]], np.uint8), "grey"))
    assert look.raster.values.tolist() == [[5, 1, 0]]  # Three, two and one.
    assert look.counts.tolist() == [3, 2, 1]


# The sample, links, stores, what is no data set


def test_no_more_masks_are_opened_than_the_sample(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, opened = fake.write_folders(tmp_path), []
    monkeypatch.setattr(guess_masks, "read_inside", lambda path, top: opened.append(path) or files.read_bytes(path))
    found = guess(folder, sample=4)
    # Of 20, by key: a0, a1, a10, ..., a9; every (20 - 1) / 3 rd, rounded: 0, 6, 13, 19.
    assert sorted(map(os.path.basename, opened)) == ["a0.png", "a14.png", "a3.png", "a9.png"]
    assert "looked at 4 of 20" in _notes(found)
    assert "only in the other masks is not known" in _notes(found)


def test_a_link_out_of_the_folder_is_not_read(tmp_path: pathlib.Path) -> None:
    folder = fake.write_folders(tmp_path / "data")
    secret = tmp_path / "secret.png"
    fake.as_grey(_ids(0, 9)).save(secret)
    (folder / "masks" / "a0.png").unlink()
    (folder / "masks" / "a0.png").symlink_to(secret)
    found = guess(folder)
    assert len(found.spec.classes) == 3
    assert "it is a link that leaves the data folder" in _notes(found)
    (tmp_path / "names").write_text("secret\nwords\n")
    (folder / "classes.txt").symlink_to(tmp_path / "names")
    with pytest.raises(DataError, match="classes.txt .* link that leaves"):
        guess(folder)


@pytest.mark.parametrize("write", [fake.write_voc, fake.write_labelme, fake.write_camvid, fake.write_sides])
def test_a_folder_in_a_store_is_guessed_as_here(tmp_path: pathlib.Path, write: Callable) -> None:
    local, remote = write(tmp_path / "data"), f"ram://{uuid.uuid4().hex}/data"
    for path in files.files_below(str(local)):
        tf.io.gfile.makedirs(os.path.dirname(f"{remote}/{path}"))
        with tf.io.gfile.GFile(f"{remote}/{path}", "wb") as file:
            file.write((local / path).read_bytes())
    here, there = guess(local), guess(remote)
    assert there == here
    assert layout.list_pairs(remote, there.spec)


def test_a_folder_that_holds_no_data_says_what_was_looked_for(tmp_path: pathlib.Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.txt").write_text("")
    (tmp_path / "readme").write_text("")
    with pytest.raises(DataError, match=r"pictures/ \(1 files\), readme\.(.|\n)*JPEGImages(.|\n)*vocseg.toml"):
        guess(tmp_path)


def test_no_folder_and_a_file(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        guess(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file"):
        guess(tmp_path / "file")


@pytest.mark.parametrize(("folder", "name"), [("7 apples", "data_7_apples"), ("--", "data"), ("käse", "k_se")])
def test_the_name_is_the_folders(tmp_path: pathlib.Path, folder: str, name: str) -> None:
    assert guess(fake.write_folders(tmp_path / folder)).spec.name == name


# Real data


def test_real_voc2007_is_the_built_in_set(shared_data: pathlib.Path) -> None:
    assert guess(shared_data / "voc2007").spec == registry.built_in("voc2007")


@pytest.mark.parametrize(
    ("name", "classes"), [("coalrock", ("background", "class_1", "class_2")), ("farmland", ("background", "class_1"))]
)
def test_real_sets_of_users(shared_data: pathlib.Path, name: str, classes: tuple) -> None:
    found = guess(shared_data / name).spec
    assert (found.name, found.classes, found.mask.encoding, found.splits.test) == (name, classes, "ids", "")
    assert found.layout == spec.Layout(root="VOCdevkit/VOC2007", images="JPEGImages", masks="SegmentationClass")
