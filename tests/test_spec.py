"""Descriptions of data sets: what they refuse, and that TOML and JSON keep them."""

import dataclasses
import json
import pathlib
import random
import tomllib
import uuid
from typing import Any

import pytest
import tensorflow as tf

import pipeline_config
from components.datasets import registry
from components.datasets.spec import DatasetSpec, Layout, MaskEncoding, Splits, from_dict, from_json, read_spec, to_toml
from components.errors import DataError

SMALLEST: dict[str, Any] = {"name": "mine", "classes": ["a", "b"]}

WHOLE = """
name = "leaves"
classes = ["background", "leaf"]
colors = [[0, 0, 0], [250, 50, 50]]
leaks = "drop_from_train"

[layout]
root = "data"
images = "photos"
masks = "photos/classes"
mask_suffix = "_mask"
mask_side = ""

[mask]
encoding = "colors"
color_tolerance = 3
void_ids = [7, 255]
void_colors = [[1, 2, 3]]
rest = "void"

[splits]
lists = "lists/{split}.txt"
entries = "pairs"
prefix = "/home/me/"
train = "training"
validation = "valid"
test = ""
fractions = [0.5, 0.25, 0.25]
seed = -1
"""

LEAVES = DatasetSpec(
    name="leaves",
    classes=("background", "leaf"),
    colors=((0, 0, 0), (250, 50, 50)),
    leaks="drop_from_train",
    layout=Layout(root="data", images="photos", masks="photos/classes", mask_suffix="_mask"),
    mask=MaskEncoding(encoding="colors", color_tolerance=3.0, void_ids=(7, 255), void_colors=((1, 2, 3),), rest="void"),
    splits=Splits(
        lists="lists/{split}.txt",
        entries="pairs",
        prefix="/home/me/",
        train="training",
        validation="valid",
        test="",
        fractions=(0.5, 0.25, 0.25),
        seed=-1,
    ),
)


def _mine(**changes: Any) -> DatasetSpec:
    return DatasetSpec(**{"name": "mine", "classes": ("a", "b"), **changes})


def _with(path: str, value: object) -> dict[str, Any]:
    """Returns the smallest description with one more key, by its path as messages give it."""
    *tables, name = path.split(".")
    values: dict[str, Any] = json.loads(json.dumps(SMALLEST))
    inner = values
    for table in tables:
        inner = inner.setdefault(table, {})
    inner[name] = value
    return values


def _refused(path: str, value: object) -> str:
    with pytest.raises(DataError) as error:
        from_dict(_with(path, value))
    assert path in str(error.value)
    return str(error.value)


# The file.


def test_every_key_of_a_file_is_taken(tmp_path: pathlib.Path) -> None:
    (tmp_path / "x.toml").write_text(WHOLE)
    assert read_spec(str(tmp_path / "x.toml")) == LEAVES
    assert isinstance(read_spec(str(tmp_path / "x.toml")).mask.color_tolerance, float)  # Though the file has 3.


def test_whole_file_has_every_key_there_is() -> None:
    # So that the test above, and those of wrong types below, forget none.
    values = tomllib.loads(WHOLE)
    expected = dataclasses.asdict(LEAVES)
    assert set(values) == set(expected)
    for table in ("layout", "mask", "splits"):
        assert set(values[table]) == set(expected[table])


def test_name_and_classes_are_enough(tmp_path: pathlib.Path) -> None:
    (tmp_path / "x.toml").write_text('name = "mine"\nclasses = ["a", "b"]\n')
    assert read_spec(str(tmp_path / "x.toml")) == DatasetSpec(name="mine", classes=("a", "b"))


@pytest.mark.parametrize(
    "raw",
    [
        b"\xef\xbb\xbf" + WHOLE.encode(),
        WHOLE.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + WHOLE.strip().replace("\n", "\r\n").encode(),
    ],
    ids=["BOM", "CRLF", "both, no last newline"],
)
def test_file_written_by_any_editor_is_the_same(tmp_path: pathlib.Path, raw: bytes) -> None:
    (tmp_path / "x.toml").write_bytes(raw)
    assert read_spec(str(tmp_path / "x.toml")) == LEAVES


def test_file_may_lie_in_a_store() -> None:
    path = f"ram://{uuid.uuid4().hex}.toml"
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(WHOLE)
    assert read_spec(path) == LEAVES


@pytest.mark.parametrize("folder", ["local", "ram://"])
def test_missing_file_is_named_with_the_remedy(tmp_path: pathlib.Path, folder: str) -> None:
    path = f"{tmp_path}/x.toml" if folder == "local" else f"ram://{uuid.uuid4().hex}/x.toml"
    with pytest.raises(DataError) as error:
        read_spec(path)
    assert str(error.value).startswith(f"The description {path} cannot be read: No such file or directory. `vocseg data init")


def test_folder_is_no_description(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_spec(str(tmp_path))


@pytest.mark.parametrize(
    "raw",
    [
        b"name: mine\n",
        b"name = mine\n",
        b'name = "mine"\nname = "yours"\n',
        b'{"name": "mine"}',
        b'name = "k\xe4se"\n',
        WHOLE.encode("utf-16"),
        b"\x89PNG\r\n\x1a\n",
        b"x = " + b"[" * 10_000,
        b"x = " + b"9" * 5_000,
    ],
    ids=["YAML", "no quotes", "a key twice", "JSON", "Latin-1", "UTF-16", "a picture", "deep", "a long number"],
)
def test_file_that_is_not_toml_is_named(tmp_path: pathlib.Path, raw: bytes) -> None:
    (tmp_path / "x.toml").write_bytes(raw)
    with pytest.raises(DataError) as error:
        read_spec(str(tmp_path / "x.toml"))
    assert str(error.value).startswith(f"{tmp_path}/x.toml is not a TOML file: ")


def test_error_in_a_file_names_file_and_key(tmp_path: pathlib.Path) -> None:
    (tmp_path / "x.toml").write_text(WHOLE.replace("color_tolerance = 3", "color_tolerance = -3"))
    with pytest.raises(DataError) as error:
        read_spec(str(tmp_path / "x.toml"))
    assert str(error.value) == f"{tmp_path}/x.toml: mask.color_tolerance lies in 0..442; got -3.0."


# Keys.


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("clases", "there is no key clases; did you mean classes?"),
        ("layout.image", "there is no key layout.image; did you mean images?"),
        ("layout.mask", "did you mean masks"),
        ("mask.colour_tolerance", "there is no key mask.colour_tolerance; did you mean color_tolerance?"),
        ("splits.val", "there is no key splits.val; "),
        ("splits.zzz", "there are lists, entries, prefix, train, validation, test, fractions, seed."),
        ("images", "there is no key images; "),
    ],
)
def test_unknown_key_is_named_with_what_may_be_meant(path: str, expected: str) -> None:
    assert expected in _refused(path, "x")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"classes": ["a", "b"]}, "name must be given."),
        ({"name": "mine"}, "classes must be given."),
        ({}, "name, classes must be given."),
    ],
)
def test_missing_key_is_named(values: dict[str, Any], expected: str) -> None:
    with pytest.raises(DataError) as error:
        from_dict(values)
    assert str(error.value) == expected


TEXTS = ["name", "leaks", "layout.root", "layout.images", "layout.masks", "layout.mask_suffix", "layout.mask_side"]
TEXTS += ["mask.encoding", "mask.rest", "splits.lists", "splits.entries", "splits.prefix", "splits.train"]
TEXTS += ["splits.validation", "splits.test"]
LISTS = ["classes", "colors", "mask.void_ids", "mask.void_colors", "splits.fractions"]
TABLES = ["layout", "mask", "splits"]


def test_tests_of_types_have_every_key() -> None:
    tables = {table: dataclasses.asdict(getattr(LEAVES, table)) for table in TABLES}
    keys = {f.name for f in dataclasses.fields(LEAVES)} | {f"{table}.{key}" for table in TABLES for key in tables[table]}
    assert {*TEXTS, *LISTS, *TABLES, "mask.color_tolerance", "splits.seed"} == keys


@pytest.mark.parametrize("path", TEXTS)
@pytest.mark.parametrize("value", [1, 1.5, True, ["x"], {"x": 1}, None])
def test_text_is_nothing_else(path: str, value: object) -> None:
    assert f"{path} takes a text; got {value!r}." in _refused(path, value)


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("value", ["ab", 1, True, {"a": 1}, None])
def test_list_is_nothing_else(path: str, value: object) -> None:
    assert f"{path} must be a list; got {value!r}." in _refused(path, value)


@pytest.mark.parametrize("path", TABLES)
@pytest.mark.parametrize("value", ["x", 1, ["images"], [{"images": "x"}], None])
def test_table_is_nothing_else(path: str, value: object) -> None:
    assert f"{path} must be a table; got {value!r}." in _refused(path, value)


@pytest.mark.parametrize("value", [True, False, 1.0, "1", [1], None])
def test_whole_number_is_nothing_else(value: object) -> None:
    assert f"splits.seed takes a whole number; got {value!r}." in _refused("splits.seed", value)
    assert f"mask.void_ids takes a whole number; got {value!r}." in _refused("mask.void_ids", [255, value])


@pytest.mark.parametrize("value", [True, "1", [1.0], None])
def test_number_is_nothing_else(value: object) -> None:
    assert f"mask.color_tolerance takes a number; got {value!r}." in _refused("mask.color_tolerance", value)
    assert f"splits.fractions takes a number; got {value!r}." in _refused("splits.fractions", [0.8, 0.1, value])


@pytest.mark.parametrize("value", [1, True, None, ["a"]])
def test_class_name_is_a_text(value: object) -> None:
    assert f"classes takes a text; got {value!r}." in _refused("classes", ["a", value])


@pytest.mark.parametrize("path", ["colors", "mask.void_colors"])
@pytest.mark.parametrize("color", [[1, 2], [1, 2, 3, 4], [], "red", 7, [1, 2, 3.0], [1, 2, True], [1, 2, "3"]])
def test_color_is_three_whole_numbers(path: str, color: object) -> None:
    _refused(path, [[0, 0, 0], color])


def test_values_that_are_no_table_are_refused() -> None:
    with pytest.raises(DataError, match=r"the file must be a table; got \[\]\."):
        from_json("[]")


# Values.


@pytest.mark.parametrize("name", ["", "1st", "_x", "a b", "a-b", "a/b", "..", "käse", "a\n", "a.b", "x" * 3 + "\0"])
def test_name_that_is_no_identifier_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="name takes letters, digits and _"):
        _mine(name=name)


@pytest.mark.parametrize("count", [0, 1, 256, 1000])
def test_number_of_classes_is_2_to_255(count: int) -> None:
    with pytest.raises(DataError, match=f"classes: expected 2 to 255 names, got {count}"):
        _mine(classes=tuple(f"c{i}" for i in range(count)))


@pytest.mark.parametrize("count", [2, 255])
def test_palette_has_a_color_a_class_and_none_is_voids(count: int) -> None:
    palette = _mine(classes=tuple(f"c{i}" for i in range(count))).palette
    assert len(set(palette)) == count
    assert (palette[0], palette[1], (224, 224, 192) in palette) == ((0, 0, 0), (128, 0, 0), False)


def test_given_colors_are_the_palette() -> None:
    assert LEAVES.palette == ((0, 0, 0), (250, 50, 50))


def test_class_names_that_stand_twice_are_named() -> None:
    with pytest.raises(DataError, match=r"classes has a, c more than once\."):
        _mine(classes=("a", "b", "a", "c", "c"))


@pytest.mark.parametrize("name", ["", " a", "a ", "\t", "a\nb", "a\x7fb", "a\0", "\ud800", "a\u200bb"])
def test_class_name_that_cannot_be_printed_or_has_blanks_around_it_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="classes holds a name that is empty, has blanks around it or cannot be printed"):
        _mine(classes=("x", name))


@pytest.mark.parametrize("count", [1, 3])
def test_colors_are_one_a_class(count: int) -> None:
    with pytest.raises(DataError, match=f"colors: expected one a class, that is 2, or none; got {count}"):
        _mine(colors=tuple((i, i, i) for i in range(count)))


@pytest.mark.parametrize("color", [(0, 0, 256), (-1, 0, 0), (0, 1000, 0)])
def test_color_out_of_range_is_named(color: tuple[int, int, int]) -> None:
    with pytest.raises(DataError, match=r"^colors are lists of red, green and blue, 0\.\.255; got \[") as error:
        _mine(colors=((0, 0, 0), color))
    assert str(list(color)) in str(error.value)
    with pytest.raises(DataError, match=r"^mask.void_colors are lists of red, green and blue, 0\.\.255"):
        MaskEncoding(void_colors=(color,))


def test_color_of_two_classes_is_named() -> None:
    with pytest.raises(DataError, match=r"two classes have the colour \[9, 9, 9\]\."):
        _mine(classes=("a", "b", "c"), colors=((9, 9, 9), (1, 1, 1), (9, 9, 9)))


def test_color_of_a_class_and_of_void_is_named() -> None:
    with pytest.raises(DataError, match=r"the colour \[9, 9, 9\] is both a class's and void's\."):
        _mine(colors=((1, 1, 1), (9, 9, 9)), mask=MaskEncoding(void_colors=((9, 9, 9),)))
    with pytest.raises(DataError, match=r"the colour \[224, 224, 192\] is both"):  # VOC's void is void unless it is said.
        _mine(colors=((1, 1, 1), (224, 224, 192)))


@pytest.mark.parametrize("encoding", ["auto", "colors"])
def test_black_void_clashes_with_the_black_of_vocs_palette_where_colors_are_read(encoding: str) -> None:
    with pytest.raises(DataError, match=r"the colour \[0, 0, 0\] is both"):
        _mine(mask=MaskEncoding(encoding=encoding, void_colors=((0, 0, 0),)))


@pytest.mark.parametrize("encoding", ["ids", "red", "binary"])
def test_black_void_does_no_harm_where_colors_are_not_read(encoding: str) -> None:
    assert _mine(mask=MaskEncoding(encoding=encoding, void_colors=((0, 0, 0),))).palette[0] == (0, 0, 0)


@pytest.mark.parametrize("value", [-1, 65536])
def test_void_id_out_of_range_is_named(value: int) -> None:
    with pytest.raises(DataError, match=f"mask.void_ids are numbers from 0 to 65535; got {value}"):
        MaskEncoding(void_ids=(255, value))


@pytest.mark.parametrize("value", [-0.1, 442.5, float("nan"), float("inf")])
def test_tolerance_out_of_range_is_named(value: float) -> None:
    with pytest.raises(DataError, match=r"mask.color_tolerance lies in 0..442"):
        MaskEncoding(color_tolerance=value)


@pytest.mark.parametrize(
    ("path", "value", "near"),
    [
        ("mask.encoding", "color", "colors"),
        ("mask.encoding", "", ""),
        ("leaks", "drop", ""),
        ("leaks", "Fail", "fail"),
        ("layout.mask_side", "rigth", "right"),
        ("splits.entries", "pair", "pairs"),
        ("mask.rest", "c", ""),
        ("mask.rest", "Void", "void"),
    ],
)
def test_word_that_is_none_of_the_choices_is_named_with_the_nearest(path: str, value: str, near: str) -> None:
    message = _refused(path, value)
    assert f"{path} must be one of " in message
    assert f"got {value!r}." in message
    assert message.endswith(f"Did you mean {near!r}?") == bool(near)


@pytest.mark.parametrize("rest", ["a", "b", "void", ""])
def test_rest_is_a_class_or_void_or_an_error(rest: str) -> None:
    assert _mine(mask=MaskEncoding(rest=rest)).mask.rest == rest


@pytest.mark.parametrize("count", [3, 21])
def test_binary_needs_two_classes(count: int) -> None:
    classes = tuple(f"c{i}" for i in range(count))
    with pytest.raises(DataError, match=f'mask.encoding = "binary" goes with two classes; there are {count}'):
        _mine(classes=classes, mask=MaskEncoding(encoding="binary"))
    assert _mine(mask=MaskEncoding(encoding="binary")).mask.encoding == "binary"


@pytest.mark.parametrize(
    "fractions",
    [
        (),
        (0.8, 0.2),
        (0.7, 0.1, 0.1, 0.1),
        (0.8, 0.1, 0.2),
        (1.1, 0.1, -0.2),
        (0.8, 0.1, float("nan")),
        (float("inf"), 0.1, float("-inf")),
        (80, 10, 10),
    ],
)
def test_fractions_that_are_no_three_shares_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="splits.fractions are the shares of train, validation and test, summing to 1"):
        Splits(fractions=fractions)


@pytest.mark.parametrize("fractions", [(0.0, 0.5, 0.5), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)])
def test_fractions_leave_something_for_train_and_validation(fractions: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="splits.fractions must leave something for train and for validation"):
        Splits(fractions=fractions)


def test_fractions_may_leave_nothing_for_test_and_be_inexact() -> None:
    assert Splits(fractions=(0.9, 0.1, 0.0)).fractions[2] == 0
    assert len(Splits(fractions=(1 / 3, 1 / 3, 1 / 3)).fractions) == 3


# Paths.

PATHS = ["layout.root", "layout.images", "layout.masks"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "value",
    ["..", "../x", "a/../../x", "a/..", "/", "/etc", "\\x", "\\\\host\\x", "a\\..\\x", "C:\\x", "C:x", "gs://bucket/x"],
)
def test_path_that_leaves_the_data_folder_is_refused(path: str, value: str) -> None:
    assert f"{path} is a path inside the data folder; got {value!r}." in _refused(path, value)


@pytest.mark.parametrize("value", ["../{split}.txt", "/lists/{split}.txt", "a/../../{split}.txt", "gs://b/{split}.txt"])
def test_lists_that_leave_the_data_folder_are_refused(value: str) -> None:
    assert "splits.lists is a path inside the data folder" in _refused("splits.lists", value)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("value", ["..", "../x", "/etc", "a/../../b", "C:\\x"])
def test_name_of_a_split_that_leaves_the_data_folder_is_refused(split: str, value: str) -> None:
    assert f"splits.{split} is a path inside the data folder; got {value!r}." in _refused(f"splits.{split}", value)


def test_name_of_a_split_may_have_a_folder() -> None:
    assert Splits(train="2017/train").names()["train"] == "2017/train"


@pytest.mark.parametrize("path", [*PATHS, "layout.mask_suffix", "splits.prefix", "splits.train", "splits.test"])
@pytest.mark.parametrize("value", ["a\0b", "a\nb", "a\x7fb", "caf\udce9"])
def test_character_that_cannot_be_printed_is_refused(path: str, value: str) -> None:
    assert f"{path} holds a character that cannot be printed: {value!a}." in _refused(path, value)


def test_lists_need_the_split_in_their_path() -> None:
    with pytest.raises(DataError, match=r"splits.lists needs \{split\} in its path; got 'train.txt'"):
        Splits(lists="train.txt")


def test_root_takes_no_split() -> None:
    with pytest.raises(DataError, match=r"layout.root takes no \{split\}; it may stand in layout.images and layout.masks"):
        Layout(root="{split}")


def test_split_in_the_masks_alone_is_refused() -> None:
    with pytest.raises(DataError, match=r"layout.masks has \{split\}, but layout.images has none"):
        _mine(layout=Layout(masks="masks/{split}"))


def test_split_in_the_masks_goes_with_lists() -> None:
    described = _mine(layout=Layout(masks="masks/{split}"), splits=Splits(lists="{split}.txt"))
    assert described.layout.masks == "masks/{split}"


@pytest.mark.parametrize("name", ["train", "validation"])
def test_split_that_is_needed_has_a_name(name: str) -> None:
    with pytest.raises(DataError, match=r"splits.train and splits.validation must not be empty"):
        Splits(**{name: ""})


def test_names_are_by_the_builders_names_and_without_a_test_split_that_is_not() -> None:
    assert Splits().names() == {"train": "train", "validation": "val", "test": "test"}
    assert Splits(test="").names() == {"train": "train", "validation": "val"}


@pytest.mark.parametrize(("images", "masks"), [("all", "all"), ("all", "all/"), ("./all", "all"), ("", "."), ("", "")])
def test_one_folder_for_pictures_and_masks_needs_a_suffix(images: str, masks: str) -> None:
    with pytest.raises(DataError, match=r"layout.images and layout.masks are one folder; then layout.mask_suffix must tell"):
        Layout(images=images, masks=masks)
    assert Layout(images=images, masks=masks, mask_suffix="_m").masks == masks
    assert Layout(images=images, masks=masks, mask_side="left").masks == masks


@pytest.mark.parametrize("suffix", ["/x", "a/b", "..\\x"])
def test_suffix_is_no_path(suffix: str) -> None:
    with pytest.raises(DataError, match=r"layout.mask_suffix is the end of a file's name, not a path"):
        Layout(mask_suffix=suffix)


# Round trips.


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_built_in_description_is_kept_by_toml_and_json(name: str, tmp_path: pathlib.Path) -> None:
    described = registry.built_in(name)
    assert described.name == name
    (tmp_path / "x.toml").write_text(to_toml(described), encoding="utf-8")
    assert read_spec(str(tmp_path / "x.toml")) == described
    assert from_json(pipeline_config.to_json(described)) == described


ODD = ('"', "'", "\\", "\\n", "ä", "ß 1", "日本", "😀", "#", "a = b", "]", "{split}", '"""', "a,b", "\\u0041", "true", "1", "é́")


def _random_spec(rng: random.Random) -> DatasetSpec:
    def text() -> str:
        return "".join(rng.choice(ODD).strip() for _ in range(rng.randint(1, 3))) or "x"

    def path() -> str:
        return "/".join(f"p{text()}".replace("\\", "").replace("{split}", "") for _ in range(rng.randint(1, 3)))

    count = rng.randint(2, 40)
    colors = [(index, rng.randrange(255), rng.randrange(255)) for index in range(count + 3)]
    part = rng.choice((0.0, 0.1, 0.25, 1 / 3))
    lists = f"{path()}/{{split}}.txt" if rng.random() < 0.5 else ""
    return DatasetSpec(
        name=f"n{rng.randrange(10**6)}_x",
        classes=tuple(f"{text()} {index}" for index in range(count)),
        colors=tuple(colors[:count]) if rng.random() < 0.5 else (),
        leaks=rng.choice(("fail", "drop_from_train")),
        layout=Layout(
            root=rng.choice(("", path())),
            images=f"i/{path()}",
            masks=f"m/{path()}",
            mask_suffix=text().replace("\\", ""),
            mask_side=rng.choice(("", "left", "right")),
        ),
        mask=MaskEncoding(
            encoding=rng.choice(("ids", "red")),
            color_tolerance=rng.choice((0.0, 1e-7, 60.0, 441.67)),
            void_ids=tuple(rng.sample(range(65536), rng.randint(0, 30))),
            void_colors=tuple(colors[count:]),
            rest=rng.choice(("", "void")),
        ),
        splits=Splits(
            lists=lists,
            entries=rng.choice(("ids", "pairs")),
            prefix=text(),
            train=path(),
            validation=path(),
            test=rng.choice(("", path())),
            fractions=(1 - part - 0.1, 0.1, part),
            seed=rng.randint(-(2**62), 2**62),
        ),
    )


@pytest.mark.parametrize("seed", range(50))
def test_random_description_is_kept_by_toml_and_json(seed: int, tmp_path: pathlib.Path) -> None:
    described = _random_spec(random.Random(seed))
    (tmp_path / "x.toml").write_bytes(to_toml(described).encode())
    assert read_spec(str(tmp_path / "x.toml")) == described
    assert from_json(pipeline_config.to_json(described)) == described


@pytest.mark.parametrize("name", ODD)
def test_odd_class_name_is_kept_by_toml_and_json(name: str) -> None:
    described = _mine(classes=("x y", name))
    assert from_dict(tomllib.loads(to_toml(described))).classes == ("x y", name)
    assert from_json(pipeline_config.to_json(described)) == described


def test_toml_of_a_description_without_anything_special_is_short() -> None:
    assert to_toml(_mine()) == 'name = "mine"\nclasses = ["a", "b"]\n'
    assert from_dict(tomllib.loads(to_toml(_mine(name="any")))) == _mine(name="any")


def test_toml_has_only_the_tables_and_keys_that_differ() -> None:
    described = _mine(mask=MaskEncoding(encoding="ids", void_colors=()), splits=Splits(test="", seed=3))
    assert to_toml(described).split("\n\n", maxsplit=1)[1] == (
        '[mask]\nencoding = "ids"\nvoid_colors = []\n\n[splits]\ntest = ""\nseed = 3\n'
    )


def test_toml_divides_long_lists_into_lines_that_can_be_edited() -> None:
    classes = tuple(f"a class with the number {index}" for index in range(6))
    lines = to_toml(_mine(classes=classes)).splitlines()
    assert lines[1:9] == ["classes = [", *(f'    "{name}",' for name in classes), "]"]


# As a value.


def test_description_cannot_be_changed() -> None:
    for stage, name in ((LEAVES, "name"), (LEAVES.layout, "root"), (LEAVES.mask, "rest"), (LEAVES.splits, "train")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(stage, name, "other")


def test_description_from_a_file_is_hashable(tmp_path: pathlib.Path) -> None:
    # Tables of colours are remembered by it.
    (tmp_path / "x.toml").write_text(WHOLE)
    assert hash(read_spec(str(tmp_path / "x.toml"))) == hash(LEAVES)


def test_replacing_checks_anew() -> None:
    with pytest.raises(DataError, match="colors: expected one a class"):
        dataclasses.replace(LEAVES, classes=("a", "b", "c"))
