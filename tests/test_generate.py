"""One job from listed pairs to examples, quarantine and report: nothing is lost, leaks are found, the numbers are right."""

import collections
import dataclasses
import io
import itertools
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions

from components.datasets import examples, generate, layout, leaks, near_duplicates, report
from components.datasets.examples import Quarantined
from components.datasets.layout import Pair
from components.datasets.report import CountFacts, Report, SplitReport
from components.datasets.spec import DatasetSpec, Layout

FAIL = DatasetSpec(name="tiny", classes=("ground", "leaf", "stone"))
DROP = dataclasses.replace(FAIL, leaks="drop_from_train")
SPLITS = ("train", "validation", "test")


def _noise(seed: int, height: int = 32, width: int = 48) -> np.ndarray:
    """A picture that looks like no other of another seed."""
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3)).astype(np.uint8)
    return blocks.repeat(8, axis=0).repeat(8, axis=1)


def _write(path: pathlib.Path, image: np.ndarray | bytes, ids: np.ndarray | bytes | None = None) -> Pair:
    """Writes a picture by its name's ending, and its mask beside it, by default of class 0 all over."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(image, bytes):
        path.write_bytes(image)
    else:
        PIL.Image.fromarray(image).save(path)
    mask = path.with_name(f"{path.stem}_mask.png")
    if isinstance(ids, bytes):
        mask.write_bytes(ids)
    else:
        size = image.shape[:2] if isinstance(image, np.ndarray) else (32, 48)
        PIL.Image.fromarray(np.zeros(size, np.uint8) if ids is None else ids).save(mask)
    return Pair(path.stem, str(path), str(mask), folder=os.path.realpath(path.parent))


class Writer:
    """Writes examples as a component does: each call replaces what an earlier one wrote."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.calls = 0

    def __call__(self, collection: beam.PCollection) -> None:
        self.calls += 1
        for old in self.folder.glob("keys-*"):
            old.unlink()
        keys = collection | "Keys" >> beam.MapTuple(lambda split, keyed: json.dumps([split, keyed[0]]))
        _ = keys | "Text" >> beam.io.WriteToText(str(self.folder / "keys"))

    def keys(self, split: str) -> list[str]:
        lines = [line for path in sorted(self.folder.glob("keys-*")) for line in path.read_text().splitlines()]
        return sorted(key for of_split, key in map(json.loads, lines) if of_split == split)


def _pipeline() -> beam.Pipeline:
    return beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner", "--direct_running_mode=in_memory"]))


def _generate(pairs: generate.Pairs, folder: pathlib.Path, spec: DatasetSpec = FAIL) -> tuple[Report, Writer]:
    (folder / "out").mkdir(parents=True)
    writer = Writer(folder / "out")
    found = generate.generate(_pipeline, spec, pairs, str(folder / "work"), writer)
    _check_sums(found, pairs, writer)
    return found, writer


def _check_sums(found: Report, pairs: generate.Pairs, writer: Writer) -> None:
    """What holds whatever is in the data."""
    assert list(found.splits) == list(pairs)
    for split, listed in pairs.items():
        of_split, keys = found.splits[split], writer.keys(split)
        gone = sorted(record.key for record in found.quarantined if record.split == split)
        assert of_split.listed == len(listed) == of_split.generated + of_split.quarantined + of_split.dropped
        assert of_split.generated == len(keys)
        assert sorted(keys + gone) == sorted(pair.key for pair in listed)
        assert sum(of_split.class_pixels.values()) + of_split.void_pixels >= of_split.generated
        for counted in (of_split.image_kinds, of_split.mask_kinds, of_split.sizes):
            assert sum(counted.values()) == of_split.generated
    assert (found.listed, found.generated) == (sum(map(len, pairs.values())), sum(len(writer.keys(split)) for split in pairs))
    assert report.from_dict(json.loads(report.to_json(found))) == found


# The numbers.


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Writer, generate.Pairs]:
    """Five good pairs whose pixels can be counted by hand, and three bad ones."""
    folder = tmp_path_factory.mktemp("counted")
    ids = {
        "one": np.array([[0, 1, 1], [2, 255, 0]], np.uint8),  # 2 ground, 2 leaf, 1 stone, 1 void.
        "two": np.array([[0, 0, 0], [0, 0, 1]], np.uint8),  # 5 ground, 1 leaf.
        "void": np.full((3, 2), 255, np.uint8),  # 6 void.
        "leaves": np.ones((2, 2), np.uint8),  # 4 leaf.
        "last": np.array([[2]], np.uint8),  # 1 stone.
    }
    rng = np.random.default_rng(0)
    images = {name: rng.integers(0, 256, (*mask.shape, 3)).astype(np.uint8) for name, mask in ids.items()}
    buffer = io.BytesIO()
    PIL.Image.fromarray(images["two"]).save(buffer, "PNG")
    pairs = {
        "train": [
            _write(folder / "train/one.jpg", images["one"], ids["one"]),
            _write(folder / "train/two.jpg", buffer.getvalue(), ids["two"]),  # A PNG in truth.
            _write(folder / "train/bad.jpg", b"", ids["one"]),
            _write(folder / "train/void.png", images["void"], ids["void"]),
        ],
        "validation": [
            _write(folder / "validation/leaves.bmp", images["leaves"], ids["leaves"]),
            _write(folder / "validation/wide.png", _noise(1), np.zeros((32, 47), np.uint8)),
            Pair("nothing", str(folder / "nothing.jpg"), str(folder / "nothing.png")),
        ],
        "test": [_write(folder / "test/last.png", images["last"], ids["last"])],
    }
    colored = PIL.Image.open(pairs["train"][1].mask).convert("P")
    colored.putpalette([channel for value in range(256) for channel in (value, value, value)])
    colored.save(pairs["train"][1].mask)
    return *_generate(pairs, folder / "job"), pairs


def test_each_split_is_listed_in_numbers(counted: tuple[Report, Writer, generate.Pairs]) -> None:
    found = counted[0]
    assert found.splits == {
        "train": SplitReport(
            listed=4,
            generated=3,
            quarantined=1,
            sizes={"3x2": 2, "2x3": 1},
            distinct_sizes=2,
            image_kinds={"JPEG RGB": 1, "PNG RGB": 1, "PNG RGB named .jpg": 1},
            mask_kinds={"grey as ids": 2, "palette as ids": 1},
            class_pixels={"ground": 7, "leaf": 3, "stone": 1},
            class_images={"ground": 2, "leaf": 2, "stone": 1},
            void_pixels=7,
            void_images=1,
        ),
        "validation": SplitReport(
            listed=3,
            generated=1,
            quarantined=2,
            sizes={"2x2": 1},
            distinct_sizes=1,
            image_kinds={"BMP RGB": 1},
            mask_kinds={"grey as ids": 1},
            class_pixels={"ground": 0, "leaf": 4, "stone": 0},
            class_images={"ground": 0, "leaf": 1, "stone": 0},
        ),
        "test": SplitReport(
            listed=1,
            generated=1,
            sizes={"1x1": 1},
            distinct_sizes=1,
            image_kinds={"PNG RGB": 1},
            mask_kinds={"grey as ids": 1},
            class_pixels={"ground": 0, "leaf": 0, "stone": 1},
            class_images={"ground": 0, "leaf": 0, "stone": 1},
        ),
    }
    assert (found.dataset, found.classes) == ("tiny", ("ground", "leaf", "stone"))
    assert (found.listed, found.generated) == (8, 5)
    assert (found.leaks, found.near_duplicates) == ([], [])


def test_void_fraction_is_of_all_pixels(counted: tuple[Report, Writer, generate.Pairs]) -> None:
    found = counted[0]
    assert found.splits["train"].void_fraction == 7 / 18  # Three masks of six pixels.
    assert found.splits["validation"].void_fraction == 0
    assert SplitReport().void_fraction == 0


def test_quarantine_has_the_bad_pairs_by_split_and_key(counted: tuple[Report, Writer, generate.Pairs]) -> None:
    found, _, pairs = counted
    assert found.quarantined == [
        Quarantined("train", "bad", pairs["train"][2].image, "the image cannot be read: cannot identify image file"),
        Quarantined("validation", "nothing", pairs["validation"][2].image, "the image does not exist"),
        Quarantined("validation", "wide", pairs["validation"][1].mask, "the mask has 47x32 pixels, its image 48x32"),
    ]


def test_one_pass_is_enough_where_nothing_is_dropped(counted: tuple[Report, Writer, generate.Pairs]) -> None:
    _, writer, _ = counted
    assert writer.calls == 1
    assert writer.keys("train") == ["one", "two", "void"]


def test_report_as_json_holds_what_is_derived_too(counted: tuple[Report, Writer, generate.Pairs]) -> None:
    found = counted[0]
    text = report.to_json(found)
    values = json.loads(text)
    assert (values["listed"], values["generated"]) == (8, 5)
    assert values["splits"]["train"]["void_fraction"] == 7 / 18
    assert values["quarantined"][0]["cause"] == "bad"
    assert text.endswith("}\n")
    assert report.from_dict(values) == found


def test_report_with_everything_in_it_survives_json() -> None:
    pictures = (("train", "a", "a.jpg"), ("test", "Bild \"'ü\u2028", "ü.jpg"))
    found = Report(
        dataset="x",
        classes=("a", "b\n"),
        splits={"train": SplitReport(listed=3, generated=1, dropped=1, quarantined=1, sizes={"1x2": 1}, void_pixels=5)},
        quarantined=[Quarantined("train", "a", "a.jpg", "r", "leak"), Quarantined("train", "b", "\u2028", "s")],
        leaks=[leaks.Leak(pictures)],
        near_duplicates=[near_duplicates.NearDuplicate(*pictures, distance=3)],
    )
    assert report.from_dict(json.loads(report.to_json(found))) == found


def test_sizes_beyond_the_twenty_commonest_are_only_counted() -> None:
    count = CountFacts(FAIL)
    accumulator = count.create_accumulator()
    pixels = np.zeros(256, np.int64)
    for width in range(1, 31):
        for _ in range(31 - width):  # The narrower, the commoner.
            accumulator = count.add_input(accumulator, examples.Facts("train", 1, width, "PNG RGB", "grey", pixels))
    found = count.extract_output(accumulator)["train"]
    assert list(found.sizes.items()) == [(f"{width}x1", 31 - width) for width in range(1, 21)]
    assert (found.distinct_sizes, found.generated) == (30, 465)


@pytest.mark.parametrize("cuts", [(), (3,), (0, 2, 2, 6)], ids=str)
def test_counting_in_parts_gives_what_counting_at_once_gives(cuts: tuple[int, ...]) -> None:
    """As on several workers, of which some have nothing."""
    rng = np.random.default_rng(0)
    facts = [
        examples.Facts(
            SPLITS[rng.integers(3)], 2, int(rng.integers(1, 4)), "PNG RGB", "grey", np.bincount([index % 3], minlength=256)
        )
        for index in range(8)
    ]
    count = CountFacts(FAIL)
    ends = [0, *cuts, len(facts)]
    parts = []
    for start, end in itertools.pairwise(ends):
        part = count.create_accumulator()
        for one in facts[start:end]:
            part = count.add_input(part, one)
        parts.append(part)
    found = count.extract_output(count.merge_accumulators(parts))
    for split in SPLITS:
        of_split = [one for one in facts if one.split == split]
        assert found[split].generated == len(of_split)
        assert sum(found[split].class_images.values()) == len(of_split)
        assert found[split].sizes == collections.Counter(f"{one.width_px}x2" for one in of_split)


# Leaks.


def _names(found: Sequence[leaks.Leak]) -> list[list[str]]:
    return [[f"{split}/{key}" for split, key, _ in leak.pictures] for leak in found]


def _others(folder: pathlib.Path) -> dict[str, list[Pair]]:
    """A pair a split, each different."""
    return {split: [_write(folder / split / f"{split}0.png", _noise(100 + i))] for i, split in enumerate(SPLITS)}


def _same_pixels(folder: pathlib.Path) -> tuple[dict[str, list[Pair]], np.ndarray]:
    """Beside the others: one picture in train and validation, once as a PNG and once saved anew, under another name."""
    pairs, image = _others(folder), _noise(1)
    pairs["train"].append(_write(folder / "train/shared.png", image))
    anew = io.BytesIO()
    PIL.Image.fromarray(image).save(anew, "PNG", compress_level=1)
    pairs["validation"].append(_write(folder / "validation/other_name.png", anew.getvalue()))
    files = [pathlib.Path(pairs[split][1].image).read_bytes() for split in ("train", "validation")]
    assert files[0] != files[1]
    return pairs, image


def test_same_pixels_under_another_name_are_reported_and_written(tmp_path: pathlib.Path) -> None:
    pairs, _ = _same_pixels(tmp_path / "data")
    found, writer = _generate(pairs, tmp_path)
    assert _names(found.leaks) == [["train/shared", "validation/other_name"]]
    assert found.leaks[0].pictures[0][2] == pairs["train"][1].image
    assert (found.quarantined, found.near_duplicates) == ([], [])
    assert writer.keys("train") == ["shared", "train0"]
    assert writer.calls == 1


def test_same_pixels_are_dropped_from_train_in_a_second_pass(tmp_path: pathlib.Path) -> None:
    pairs, _ = _same_pixels(tmp_path / "data")
    found, writer = _generate(pairs, tmp_path, DROP)
    assert writer.calls == 2
    assert {split: writer.keys(split) for split in SPLITS} == {
        "train": ["train0"],
        "validation": ["other_name", "validation0"],
        "test": ["test0"],
    }
    reason = "another split has the same picture; left out of train"
    assert found.quarantined == [Quarantined("train", "shared", pairs["train"][1].image, reason, cause="leak")]
    train = found.splits["train"]
    assert (train.listed, train.generated, train.quarantined, train.dropped) == (2, 1, 0, 1)
    assert train.class_pixels["ground"] == 32 * 48  # Of the one that is left.
    assert found.leaks == []


def _one_path(folder: pathlib.Path, *splits: str) -> dict[str, list[Pair]]:
    pairs = _others(folder)
    shared = _write(folder / "shared.png", _noise(1))
    for split in splits:
        pairs[split].append(dataclasses.replace(shared, key=f"in_{split}"))
    return pairs


def test_one_path_in_two_splits_is_known_before_anything_is_read() -> None:
    one, other = Pair("a", "/x/a.jpg", "/x/a.png"), Pair("b", "/x/b.jpg", "/x/b.png")
    pairs = {"train": [one, other], "validation": [dataclasses.replace(one, key="again")], "test": [other]}
    assert generate.same_files(pairs) == [
        leaks.Leak((("train", "a", "/x/a.jpg"), ("validation", "again", "/x/a.jpg"))),
        leaks.Leak((("train", "b", "/x/b.jpg"), ("test", "b", "/x/b.jpg"))),
    ]
    assert generate.same_files({"train": [one, one], "validation": [other]}) == []


def test_one_path_in_train_and_test_is_dropped_in_one_pass(tmp_path: pathlib.Path) -> None:
    pairs = _one_path(tmp_path / "data", "train", "test")
    broken = _write(tmp_path / "data" / "broken.png", b"")
    pairs["train"].append(broken)
    pairs["validation"].append(broken)
    found, writer = _generate(pairs, tmp_path, DROP)
    assert writer.calls == 1
    assert (writer.keys("train"), writer.keys("test")) == (["train0"], ["in_test", "test0"])
    assert [(one.split, one.key, one.cause) for one in found.quarantined] == [
        ("train", "broken", "leak"),
        ("train", "in_train", "leak"),
        ("validation", "broken", "bad"),
    ]
    assert found.leaks == []


def test_one_path_is_a_leak_where_leaks_fail(tmp_path: pathlib.Path) -> None:
    found, writer = _generate(_one_path(tmp_path / "data", "train", "test"), tmp_path)
    assert _names(found.leaks) == [["train/in_train", "test/in_test"]]
    assert writer.keys("train") == ["in_train", "train0"]


def test_what_validation_and_test_share_remains_a_leak(tmp_path: pathlib.Path) -> None:
    """By path in all three splits, and by pixels in two of them: only train can be cleaned."""
    pairs = _one_path(tmp_path / "data", *SPLITS)
    for split in ("validation", "test"):
        pairs[split].append(_write(tmp_path / f"data/{split}/copy_{split}.png", _noise(2)))
    found, writer = _generate(pairs, tmp_path, DROP)
    assert writer.calls == 1  # The copies are not in train: a second pass would not help.
    assert writer.keys("train") == ["train0"]
    assert _names(found.leaks) == [
        ["validation/copy_validation", "test/copy_test"],
        ["validation/in_validation", "test/in_test"],
    ]
    assert [record.key for record in found.quarantined] == ["in_train"]


def test_two_passes_drop_by_path_and_by_pixels(tmp_path: pathlib.Path) -> None:
    pairs = _one_path(tmp_path / "data", *SPLITS)
    for split in SPLITS:
        pairs[split].append(_write(tmp_path / f"data/{split}/copy_{split}.png", _noise(2)))
    found, writer = _generate(pairs, tmp_path, DROP)
    assert writer.calls == 2
    assert writer.keys("train") == ["train0"]
    assert [record.key for record in found.quarantined] == ["copy_train", "in_train"]
    assert found.splits["train"].dropped == 2
    shared = [["validation/copy_validation", "test/copy_test"], ["validation/in_validation", "test/in_test"]]
    assert _names(found.leaks) == shared


def test_train_of_which_nothing_is_left_is_empty_and_no_error_here(tmp_path: pathlib.Path) -> None:
    pairs = _one_path(tmp_path / "data", "train", "test")
    pairs["train"] = pairs["train"][1:]
    found, writer = _generate(pairs, tmp_path, DROP)
    assert found.splits["train"] == SplitReport(listed=1, dropped=1)
    assert writer.keys("train") == []


# Near-duplicates.


def _brighter(image: np.ndarray) -> np.ndarray:
    return (image * 0.9).astype(np.uint8)


def test_near_duplicates_and_twins_within_a_split_are_not_dropped(tmp_path: pathlib.Path) -> None:
    pairs = _others(tmp_path / "data")
    pairs["train"] += [_write(tmp_path / f"data/train/twin{number}.png", _noise(2)) for number in range(2)]
    image = _noise(1, 64, 64)
    pairs["train"].append(_write(tmp_path / "data/train/shot.png", image))
    pairs["test"].append(_write(tmp_path / "data/test/darker.png", _brighter(image)))
    found, writer = _generate(pairs, tmp_path, DROP)
    [near] = found.near_duplicates
    assert (near.first[:2], near.second[:2]) == (("train", "shot"), ("test", "darker"))
    assert near.distance <= near_duplicates.MAX_DISTANCE
    assert (found.leaks, found.quarantined) == ([], [])
    assert writer.keys("train") == ["shot", "train0", "twin0", "twin1"]
    assert writer.calls == 1


def test_near_duplicate_of_a_dropped_picture_is_of_no_split_any_more(tmp_path: pathlib.Path) -> None:
    """Train has the picture of the test, and validation a darker one; without train's, validation and test have the pair."""
    pairs = _others(tmp_path / "data")
    image = _noise(1, 64, 64)
    pairs["train"].append(_write(tmp_path / "data/train/shot.png", image))
    pairs["validation"].append(_write(tmp_path / "data/validation/darker.png", _brighter(image)))
    pairs["test"].append(_write(tmp_path / "data/test/shot_too.png", image))
    found, _ = _generate(pairs, tmp_path, DROP)
    assert [record.key for record in found.quarantined] == ["shot"]
    assert [(pair.first[1], pair.second[1]) for pair in found.near_duplicates] == [("darker", "shot_too")]


# Edges.


def test_no_good_pair_at_all_is_still_a_report(tmp_path: pathlib.Path) -> None:
    pairs = {split: [Pair(split, f"/none/{split}.jpg", "/none/x.png")] for split in SPLITS}
    found, _ = _generate(pairs, tmp_path)
    assert found.splits == {split: SplitReport(listed=1, quarantined=1) for split in SPLITS}
    assert (found.listed, found.generated, len(found.quarantined), found.leaks) == (3, 0, 3, [])


def test_names_of_any_kind_come_through(tmp_path: pathlib.Path) -> None:
    """Through the manifest, the fingerprints and the report."""
    pairs = _others(tmp_path / "data")
    odd = ["Bild 'ü' \"1\"", "new\nline", "line\u2028separator", "\N{PILE OF POO}", "100%", "[a]", "{split}"]
    no_utf8 = os.fsdecode(b"B\xe4ume")
    for number, key in enumerate([*odd, no_utf8]):
        pairs["train"].append(_write(tmp_path / "data" / "train" / f"{key}.png", _noise(number)))
    copy = _write(tmp_path / "data" / "test" / "copy.png", pathlib.Path(pairs["train"][1].image).read_bytes())
    pairs["test"].append(copy)
    (tmp_path / "out").mkdir()
    writer = Writer(tmp_path / "out")
    found = generate.generate(_pipeline, FAIL, pairs, str(tmp_path / "work"), writer)
    assert writer.keys("train") == sorted(["train0", *odd])
    assert _names(found.leaks) == [[f"train/{odd[0]}", "test/copy"]]
    [record] = found.quarantined
    assert record.key == r"B\xe4ume"
    assert str(record).encode()  # A terminal can show it.
    assert report.from_dict(json.loads(report.to_json(found))) == found


def test_pairs_are_passed_on_in_a_file_and_come_back_as_they_were(tmp_path: pathlib.Path) -> None:
    pairs = [Pair("a", "/x/ü.jpg", "gs://b/\u2028.png", "/x", "pröblem"), Pair("b", "", "")]
    manifest = generate._write_manifest(str(tmp_path / "m.jsonl"), {"train": pairs, "validation": [], "test": pairs[:1]})
    assert list(generate._read_manifest(manifest)) == [*(("train", pair) for pair in pairs), ("test", pairs[0])]


def test_listing_of_a_folder_goes_straight_in(tmp_path: pathlib.Path) -> None:
    """`list_pairs` and `generate` fit together, and a `{split}` folder's keys hold its name."""
    spec = dataclasses.replace(FAIL, layout=Layout(images="{split}/images", masks="{split}/masks"))
    for number, split in enumerate(("train", "val")):
        for part in ("images", "masks"):
            (tmp_path / "data" / split / part).mkdir(parents=True)
        PIL.Image.fromarray(_noise(number)).save(tmp_path / "data" / split / "images" / "a.png")
        PIL.Image.fromarray(np.zeros((32, 48), np.uint8)).save(tmp_path / "data" / split / "masks" / "a.png")
    found, writer = _generate(layout.list_pairs(str(tmp_path / "data"), spec), tmp_path, spec)
    assert (found.generated, found.quarantined) == (2, [])
    assert (writer.keys("train"), writer.keys("validation")) == (["train/a"], ["val/a"])


# A pair that is lost is noticed.


class _Losing(examples._EncodeExample):
    """Loses one pair altogether."""

    def process(self, listed: tuple[str, Pair]) -> Iterator[Any]:
        if listed[1].key != "train0":
            yield from super().process(listed)


class _LosingFacts(examples._EncodeExample):
    """Makes the example, and no fact of it."""

    def process(self, listed: tuple[str, Pair]) -> Iterator[Any]:
        for output in super().process(listed):
            if not (isinstance(output, beam.pvalue.TaggedOutput) and output.tag == "facts" and listed[1].key == "train0"):
                yield output


class _Doubling(examples._EncodeExample):
    """Makes the outputs twice."""

    def process(self, listed: tuple[str, Pair]) -> Iterator[Any]:
        yield from super().process(listed)
        yield from super().process(listed)


class _Replacing(examples._EncodeExample):
    """Loses one pair, and quarantines another one twice."""

    def process(self, listed: tuple[str, Pair]) -> Iterator[Any]:
        split, pair = listed
        lost = pair.key == "train0"
        outputs = list(super().process((split, dataclasses.replace(pair, key="other", problem="bad") if lost else pair)))
        yield from outputs
        if lost:
            yield from outputs


@pytest.mark.parametrize(
    ("broken", "numbers"),
    [
        (_Losing, "3 pairs are listed, 2 examples were made, 2 were counted, and 0 pairs quarantined"),
        (_LosingFacts, "3 pairs are listed, 3 examples were made, 2 were counted, and 0 pairs quarantined"),
        (_Doubling, "3 pairs are listed, 6 examples were made, 6 were counted, and 0 pairs quarantined"),
        (_Replacing, "3 pairs are listed, 2 examples were made, 2 were counted, and 2 pairs quarantined"),
    ],
)
def test_sums_that_do_not_add_up_are_an_error(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, broken: type, numbers: str
) -> None:
    monkeypatch.setattr(examples, "_EncodeExample", broken)
    pairs = {"train": [_write(tmp_path / "data" / f"train{number}.png", _noise(number)) for number in range(3)]}
    with pytest.raises(RuntimeError, match=numbers):
        generate.generate(_pipeline, FAIL, pairs, str(tmp_path / "work"), lambda collection: None)


# A store that is no local disk.


@pytest.fixture
def no_open(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Lets nothing through open() that is not on this machine's disk."""
    import builtins

    real = builtins.open

    def checked(file: Any, *args: Any, **kwargs: Any) -> Any:
        assert "://" not in str(file), f"open({file})"
        return real(file, *args, **kwargs)

    def apply() -> None:
        monkeypatch.setattr(builtins, "open", checked)

    return apply


def test_pairs_of_a_store_are_read_through_tensorflow_alone(
    tmp_path: pathlib.Path, no_open: Callable[[], None], request: pytest.FixtureRequest
) -> None:
    local = _others(tmp_path / "data")
    store = f"ram://generate-{tmp_path.name}-{os.getpid()}"
    request.addfinalizer(lambda: tf.io.gfile.rmtree(store))
    pairs = {}
    for split, listed in local.items():
        tf.io.gfile.makedirs(f"{store}/{split}")
        for pair in listed:
            names = [f"{store}/{split}/{os.path.basename(path)}" for path in (pair.image, pair.mask)]
            for path, name in zip((pair.image, pair.mask), names, strict=True):
                tf.io.gfile.copy(path, name)
            pairs[split] = [Pair(pair.key, *names, folder=store)]
    pairs["test"].append(Pair("none", f"{store}/none.png", f"{store}/none_mask.png", folder=store))
    no_open()
    found, writer = _generate(pairs, tmp_path)
    assert found.generated == 3
    assert [(record.key, record.reason) for record in found.quarantined] == [("none", "the image does not exist")]
    assert writer.keys("train") == ["train0"]
