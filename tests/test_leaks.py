"""Pictures in two splits: same pixels, same look; each search as a function and run by Beam."""

import dataclasses
import io
import logging
import pathlib
import pickle
import random
import time

import apache_beam as beam
import numpy as np
import PIL.Image
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from components.datasets import leaks, near_duplicates
from components.datasets.fingerprints import Fingerprint, fingerprint
from components.datasets.leaks import Leak, check_leaks, find_leaks, remaining, to_drop
from components.datasets.near_duplicates import MAX_DISTANCE, NearDuplicate, find_near_duplicates
from components.errors import DataError

TRAIN, OTHER_TRAIN = ("train", "a", "/data/a.jpg"), ("train", "b", "/data/b.jpg")
VALIDATION, TEST = ("validation", "c", "/data/c.jpg"), ("test", "d", "/data/d.jpg")


def _scene(seed: int = 0, height: int = 120, width: int = 160) -> np.ndarray:
    """Makes a picture with forms large and small, as a photograph has: enlarged noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(PIL.Image.fromarray(noise).resize((width, height), PIL.Image.Resampling.BICUBIC))


def _reencode(image: np.ndarray, kind: str, **options: object) -> np.ndarray:
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, kind, **options)
    return np.asarray(PIL.Image.open(buffer).convert("RGB"))


def _resize(image: np.ndarray, factor: float) -> np.ndarray:
    picture = PIL.Image.fromarray(image)
    return np.asarray(picture.resize((round(picture.width * factor), round(picture.height * factor))))


def _brighten(image: np.ndarray) -> np.ndarray:
    return np.clip(image * 1.1, 0, 255).astype(np.uint8)


def _crop(image: np.ndarray) -> np.ndarray:
    """Takes 1.5 % off each side."""
    y, x = round(image.shape[0] * 0.015), round(image.shape[1] * 0.015)
    return image[y:-y, x:-x]


def _look(image: np.ndarray) -> int:
    look = fingerprint(*TRAIN, image).look
    assert look is not None
    return look


def _made(split: str, key: str, pixels: int | bytes, look: int | None = None) -> Fingerprint:
    """Makes a fingerprint by hand."""
    return Fingerprint(split, key, f"/data/{key}.jpg", bytes([pixels]) * 16 if isinstance(pixels, int) else pixels, look)


def _run(transform: beam.PTransform, fingerprints: list[Fingerprint], folder: pathlib.Path) -> list:
    def store(found: list) -> None:
        (folder / "found").write_bytes(pickle.dumps(found))

    options = PipelineOptions(["--runner=FnApiRunner", "--direct_running_mode=in_memory"])
    with beam.Pipeline(options=options) as pipeline:
        found = pipeline | beam.Create(fingerprints, reshuffle=False) | transform
        _ = found | "List" >> beam.combiners.ToList() | "Store" >> beam.Map(store)
    return pickle.loads((folder / "found").read_bytes())


# Fingerprints.


def test_fingerprint_says_whose_it_is() -> None:
    one = fingerprint(*TRAIN, _scene())
    assert (one.split, one.key, one.file) == one.picture == TRAIN
    assert len(one.pixels) == 16
    assert 0 <= one.look < 1 << 64


def test_same_pixels_have_one_digest_whatever_the_layout_in_memory() -> None:
    image = _scene()
    assert fingerprint(*TRAIN, image) == fingerprint(*TRAIN, np.asfortranarray(image))
    assert fingerprint(*TRAIN, image[:, ::-1]) == fingerprint(*TRAIN, np.ascontiguousarray(image[:, ::-1]))


def test_one_pixel_tells_two_digests_apart() -> None:
    image = _scene()
    other = image.copy()
    other[7, 11, 2] ^= 1
    assert fingerprint(*TRAIN, image).pixels != fingerprint(*TRAIN, other).pixels


def test_shape_counts_in_the_digest() -> None:
    image = np.zeros((2, 6, 3), np.uint8)
    assert len({fingerprint(*TRAIN, image.reshape(shape)).pixels for shape in [(2, 6, 3), (6, 2, 3), (3, 4, 3)]}) == 3


@pytest.mark.parametrize(
    "image",
    [np.zeros((2, 3), np.uint8), np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3, 3), np.float32)],
    ids=["grey", "rgba", "float"],
)
def test_image_of_another_layout_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \[H, W, 3\], got"):
        fingerprint(*TRAIN, image)


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("shape", [(1, 1), (375, 500), (3000, 40)], ids=str)
def test_flat_picture_has_no_look(level: int, shape: tuple[int, int]) -> None:
    assert fingerprint(*TRAIN, np.full((*shape, 3), level, np.uint8)).look is None


def test_flat_picture_with_the_noise_of_a_camera_has_no_look() -> None:
    noise = np.random.default_rng(0).normal(20, 5, (375, 500, 3))
    assert fingerprint(*TRAIN, noise.clip(0, 255).astype(np.uint8)).look is None


def test_faint_picture_has_a_look() -> None:
    # Columns of 100 and 106: their standard deviation is 3.
    stripes = np.where(np.arange(200) // 50 % 2, 100, 106).astype(np.uint8)
    assert fingerprint(*TRAIN, np.broadcast_to(stripes[:, None], (150, 200, 3))).look is not None


@pytest.mark.parametrize("shape", [(2, 3), (1, 500), (600, 1), (63, 64), (1300, 1100)], ids=str)
def test_picture_of_any_size_has_a_look(shape: tuple[int, int]) -> None:
    assert 0 <= _look(np.random.default_rng(0).integers(0, 2, (*shape, 1), np.uint8).repeat(3, 2) * 255) < 1 << 64


# Leaks.


def test_same_pixels_under_another_name_are_a_leak() -> None:
    image = _scene()
    found = find_leaks([fingerprint(*TRAIN, image), fingerprint(*OTHER_TRAIN, _scene(1)), fingerprint(*VALIDATION, image)])
    assert found == [Leak((TRAIN, VALIDATION))]
    assert str(found[0]) == "train/a (/data/a.jpg) = validation/c (/data/c.jpg)"


def test_same_pixels_encoded_as_png_are_a_leak_and_no_near_duplicate() -> None:
    image = _reencode(_scene(), "JPEG")
    both = [fingerprint(*TRAIN, image), fingerprint(*TEST, _reencode(image, "PNG"))]
    assert find_leaks(both) == [Leak((TRAIN, TEST))]
    assert find_near_duplicates(both) == []


def test_same_picture_twice_in_one_split_is_no_leak() -> None:
    both = [fingerprint(*TRAIN, _scene()), fingerprint(*OTHER_TRAIN, _scene())]
    assert find_leaks(both) == []
    assert find_near_duplicates(both) == []


def test_leak_over_three_splits_names_all_in_the_order_of_the_splits() -> None:
    image = _scene()
    pictures = [TEST, OTHER_TRAIN, VALIDATION, TRAIN]
    [leak] = find_leaks(fingerprint(*picture, image) for picture in pictures)
    assert leak.pictures == (TRAIN, OTHER_TRAIN, VALIDATION, TEST)


def test_each_group_is_a_leak_of_its_own_in_the_order_of_its_first_picture() -> None:
    made = [_made(split, f"{split}{number}", number) for split in ("test", "validation", "train") for number in (2, 1, 0)]
    made = [one for one in made if one.picture[:2] != ("train", "train1")]
    assert [[key for _, key, _ in leak.pictures] for leak in find_leaks(made)] == [
        ["train0", "validation0", "test0"],
        ["train2", "validation2", "test2"],
        ["validation1", "test1"],
    ]


def test_no_picture_has_no_leak() -> None:
    assert find_leaks([]) == []
    assert find_near_duplicates([]) == []


def test_black_pictures_are_one_leak_whose_line_stays_short() -> None:
    black = np.zeros((60, 80, 3), np.uint8)
    made = [fingerprint(split, f"{n:03}", f"{n:03}.png", black) for split in ("validation", "train") for n in range(500)]
    [leak] = find_leaks(made)
    assert len(leak.pictures) == 1000
    assert str(leak) == (
        "train/000 (000.png) = train/001 (001.png) = validation/000 (000.png) = validation/001 (001.png) = 996 more"
    )
    assert find_near_duplicates(made) == []


def _mixed() -> list[Leak]:
    return [Leak((TRAIN, OTHER_TRAIN, VALIDATION)), Leak((TRAIN, VALIDATION, TEST)), Leak((VALIDATION, TEST))]


def test_pictures_of_train_are_those_to_drop() -> None:
    assert to_drop(_mixed()) == {("train", "a"), ("train", "b")}
    assert to_drop([]) == to_drop([Leak((VALIDATION, TEST))]) == set()


def test_what_validation_and_test_share_remains() -> None:
    assert remaining(_mixed()) == [Leak((VALIDATION, TEST))] * 2
    assert remaining([Leak((TRAIN, TEST))]) == []


def test_two_pictures_of_validation_alone_do_not_remain() -> None:
    assert remaining([Leak((TRAIN, VALIDATION, ("validation", "e", "/data/e.jpg")))]) == []


def test_no_leak_passes() -> None:
    check_leaks([])


def test_refusal_names_the_leaks_and_the_remedy() -> None:
    with pytest.raises(DataError) as error:
        check_leaks(_mixed()[1:])
    assert str(error.value).splitlines() == [
        "Pictures in two splits, pixel by pixel the same (2 in all); a score on them measures memory:",
        "  train/a (/data/a.jpg) = validation/c (/data/c.jpg) = test/d (/data/d.jpg)",
        "  validation/c (/data/c.jpg) = test/d (/data/d.jpg)",
        'Take each off all lists but one, or, for those in train, put leaks = "drop_from_train" into the description (TOML) '
        "of the data set.",
    ]


def test_refusal_offers_no_dropping_from_train_where_it_would_not_help() -> None:
    with pytest.raises(DataError) as error:
        check_leaks(remaining(_mixed()))
    assert str(error.value).splitlines()[-1] == "Take each off all lists but one."


@pytest.mark.parametrize(("count", "rest"), [(20, None), (21, "  ... and 1 more"), (500, "  ... and 480 more")])
def test_refusal_names_at_most_twenty_leaks_and_counts_the_others(count: int, rest: str | None) -> None:
    with pytest.raises(DataError, match=rf"\({count} in all\)") as error:
        check_leaks([Leak((TRAIN, VALIDATION))] * count)
    lines = str(error.value).splitlines()
    assert sum(line.startswith("  train/a") for line in lines) == 20
    assert [line for line in lines if line.startswith("  ...")] == ([rest] if rest else [])


# Near-duplicates.

EDITS = {
    "JPEG 75": lambda image: _reencode(image, "JPEG", quality=75),
    "JPEG 50": lambda image: _reencode(image, "JPEG", quality=50),
    "half size": lambda image: _resize(image, 0.5),
    "brighter": _brighten,
    "cropped": _crop,
}


@pytest.mark.parametrize("edit", EDITS)
def test_edited_picture_is_a_near_duplicate_and_no_leak(edit: str) -> None:
    image = _scene(height=375, width=500)
    both = [fingerprint(*VALIDATION, EDITS[edit](image)), fingerprint(*TRAIN, image)]
    assert find_leaks(both) == []
    [pair] = find_near_duplicates(both)
    assert (pair.first, pair.second) == (TRAIN, VALIDATION)
    assert 0 <= pair.distance <= MAX_DISTANCE


def test_edited_picture_in_the_same_split_is_no_near_duplicate() -> None:
    image = _scene()
    assert find_near_duplicates([fingerprint(*TRAIN, image), fingerprint(*OTHER_TRAIN, _reencode(image, "JPEG"))]) == []


def test_other_pictures_are_no_near_duplicates() -> None:
    made = [fingerprint(split, f"{n}", "", _scene(n + base)) for base, split in ((0, "train"), (50, "test")) for n in range(50)]
    assert find_near_duplicates(made) == []


def test_near_duplicate_reads_as_one_line() -> None:
    assert str(NearDuplicate(TRAIN, TEST, 2)) == "train/a (/data/a.jpg) ~ test/d (/data/d.jpg), 2 of 64 bits apart"


@pytest.mark.parametrize("max_distance", [0, 1, 5, 8, 20])
def test_distance_up_to_the_limit_is_found_wherever_the_bits_differ(max_distance: int) -> None:
    # Bits that differ at the ends, side by side, or strewn: some band is always free of them.
    rng = random.Random(0)
    base = 0xF123_4567_89AB_CDEF
    for bits in (max_distance, max_distance + 1):
        for places in [range(bits), range(64 - bits, 64), *(rng.sample(range(64), bits) for _ in range(50))]:
            other = base ^ sum(1 << place for place in places)
            found = find_near_duplicates([_made("train", "a", 1, base), _made("test", "d", 2, other)], max_distance)
            assert found == ([NearDuplicate(TRAIN, TEST, bits)] if bits <= max_distance else [])


def test_picture_without_a_look_is_left_out() -> None:
    assert find_near_duplicates([_made("train", "a", 1), _made("test", "b", 2)]) == []


def test_equal_pixels_do_not_hide_a_near_duplicate_of_the_same_look() -> None:
    # a = c is a leak; b, which differs, stands behind a in train, and must not be lost for that.
    made = [_made("train", "a", 1, 5), _made("train", "b", 2, 5), _made("validation", "c", 1, 5)]
    assert find_leaks(made) == [Leak((TRAIN, VALIDATION))]
    assert find_near_duplicates(made) == [NearDuplicate(OTHER_TRAIN, VALIDATION, 0)]


def test_three_splits_make_three_pairs_nearest_first() -> None:
    made = [_made("test", "d", 1, 0b0111), _made("train", "a", 2, 0), _made("validation", "c", 3, 0b0001)]
    assert find_near_duplicates(made) == [
        NearDuplicate(TRAIN, VALIDATION, 1),
        NearDuplicate(VALIDATION, TEST, 2),
        NearDuplicate(TRAIN, TEST, 3),
    ]


def test_two_looks_that_stand_in_the_same_two_splits_make_one_pair_of_their_first_pictures() -> None:
    made = [_made(split, f"{split}{n}", bytes([n, k]), n // 2) for n in range(4) for k, split in enumerate(("train", "test"))]
    # Pictures 0 and 1 have look 0, pictures 2 and 3 look 1.
    assert [(pair.first[1], pair.second[1], pair.distance) for pair in find_near_duplicates(made)] == [
        ("train0", "test0", 0),
        ("train2", "test2", 0),
        ("train0", "test2", 1),
    ]


def _all_pairs(made: list[Fingerprint]) -> set[NearDuplicate]:
    """Finds near-duplicates the plain way; for looks that all differ."""
    rank = {"train": 0, "validation": 1, "test": 2}
    return {
        NearDuplicate(one.picture, other.picture, (one.look ^ other.look).bit_count())
        for one in made
        for other in made
        if rank[one.split] < rank[other.split] and (one.look ^ other.look).bit_count() <= MAX_DISTANCE
    }


def _families(seed: int) -> list[Fingerprint]:
    """Makes 300 pictures of 20 looks, each with up to six bits changed, over all splits; no look twice."""
    rng = random.Random(seed)
    bases = [rng.getrandbits(64) for _ in range(20)]
    looks = {rng.choice(bases) ^ sum(1 << place for place in rng.sample(range(64), rng.randrange(7))) for _ in range(300)}
    splits = ("train", "validation", "test")
    return [_made(rng.choice(splits), f"{n:03}", n.to_bytes(16, "big"), look) for n, look in enumerate(sorted(looks))]


@pytest.mark.parametrize("block", [1, 100, 1 << 20])
@pytest.mark.parametrize("seed", range(3))
def test_bands_find_each_pair_once_that_a_comparison_of_all_with_all_finds(
    seed: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_duplicates, "_BLOCK", block)
    made = _families(seed)
    found = find_near_duplicates(made)
    assert len(found) == len(set(found)) > 100
    assert set(found) == _all_pairs(made)


def test_order_of_arrival_does_not_matter() -> None:
    made = [*_families(0), *(dataclasses.replace(one, split="test", key=f"{one.key}x") for one in _families(0)[::3])]
    expected = find_leaks(made), find_near_duplicates(made)
    assert all(expected)
    for seed in range(3):
        random.Random(seed).shuffle(made)
        assert (find_leaks(made), find_near_duplicates(made)) == expected


def test_thousands_of_pictures_with_one_look_take_seconds_and_make_one_pair() -> None:
    rng = random.Random(0)
    looks = [0xFFFF_0000_FFFF_0000, *(rng.getrandbits(64) for _ in range(10_000))]
    made = [_made(("train", "test")[n % 2], f"{n:05}", n.to_bytes(16, "big"), looks[max(0, n - 9999)]) for n in range(20_000)]
    start = time.perf_counter()
    found = find_near_duplicates(made)
    assert found == [NearDuplicate(("train", "00000", "/data/00000.jpg"), ("test", "00001", "/data/00001.jpg"), 0)]
    assert time.perf_counter() - start < 20


def test_group_of_looks_all_near_each_other_reports_so_many_pairs_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "MAX_PAIRS", 10)
    made = [_made(("train", "test")[n % 2], f"{n:03}", n.to_bytes(16, "big"), n << 56) for n in range(100)]
    found = find_near_duplicates(made)
    # Seven bits differ at most: all pairs agree on the lowest band, and no other may report them.
    assert len(found) == 10
    assert find_near_duplicates(made[::-1]) == found


def test_film_in_one_split_costs_no_pairs() -> None:
    made = [_made("train", f"{n:04}", n.to_bytes(16, "big"), n) for n in range(4096)]
    start = time.perf_counter()
    assert find_near_duplicates(made) == []
    assert time.perf_counter() - start < 20


# The transforms, run by Beam.


@pytest.mark.parametrize("seed", range(2))
def test_beam_finds_what_the_functions_find(seed: int, tmp_path: pathlib.Path) -> None:
    copies = [dataclasses.replace(one, split="test", key=f"{one.key}x") for one in _families(seed)[::3]]
    same_look = [
        _made(("train", "test")[n % 2], f"s{n}", (1000 + n // 3).to_bytes(16, "big"), (1 << 64) - 1) for n in range(50)
    ]
    black = [_made(("train", "validation")[n % 2], f"n{n}", 0) for n in range(50)]
    made = [*_families(seed), *copies, *same_look, *black]
    assert any(one.look is not None and one.look >= 1 << 63 for one in made)  # More than Beam's own integers hold.
    expected = find_leaks(made)
    found = _run(leaks.FindLeaks(), made, tmp_path)
    assert len(expected) > 50
    assert sorted(found, key=expected.index) == expected
    near = find_near_duplicates(made, 6)
    found = _run(near_duplicates.FindNearDuplicates(max_distance=6), made, tmp_path)
    assert len(near) > 50
    assert sorted(found, key=near.index) == near


def test_beam_says_nothing_on_the_log_while_the_transforms_are_built(caplog: pytest.LogCaptureFixture) -> None:
    # Beam warns about a return annotation that is no PCollection, several times a transform, in front of the user.
    pipeline = beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner", "--direct_running_mode=in_memory"]))
    made = pipeline | beam.Create([_made("train", "a", 1, 5)])
    _ = made | leaks.FindLeaks(), made | near_duplicates.FindNearDuplicates()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_beam_finds_nothing_in_nothing(tmp_path: pathlib.Path) -> None:
    assert _run(leaks.FindLeaks(), [], tmp_path) == []
    assert _run(near_duplicates.FindNearDuplicates(), [], tmp_path) == []


def test_both_transforms_stand_in_one_pipeline_with_fingerprints_made_by_it(tmp_path: pathlib.Path) -> None:
    def store(found: list, name: str) -> None:
        (tmp_path / name).write_bytes(pickle.dumps(found))

    image = _scene()
    pictures = [(*TRAIN, image), (*VALIDATION, image), (*TEST, _reencode(image, "JPEG"))]
    options = PipelineOptions(["--runner=FnApiRunner", "--direct_running_mode=in_memory"])
    with beam.Pipeline(options=options) as pipeline:
        fingerprints = pipeline | beam.Create(pictures) | beam.MapTuple(fingerprint)
        for name, transform in (("leaks", leaks.FindLeaks()), ("near", near_duplicates.FindNearDuplicates())):
            found = fingerprints | transform
            _ = found | f"List {name}" >> beam.combiners.ToList() | f"Store {name}" >> beam.Map(store, name)
    assert pickle.loads((tmp_path / "leaks").read_bytes()) == [Leak((TRAIN, VALIDATION))]
    near = pickle.loads((tmp_path / "near").read_bytes())
    assert {(pair.first, pair.second) for pair in near} == {(TRAIN, TEST), (VALIDATION, TEST)}


# Real data.


def _real(shared_data: pathlib.Path, name: str) -> list[Fingerprint]:
    root = shared_data / name / "VOCdevkit" / "VOC2007"
    made = []
    for split, list_name in (("train", "train"), ("validation", "val"), ("test", "test")):
        path = root / "ImageSets" / "Segmentation" / f"{list_name}.txt"
        for key in path.read_text().split() if path.exists() else []:
            file = root / "JPEGImages" / f"{key}.jpg"
            made.append(fingerprint(split, key, str(file), np.asarray(PIL.Image.open(file).convert("RGB"))))
    return made


def test_real_voc_has_no_leak_and_no_near_duplicate(shared_data: pathlib.Path) -> None:
    made = _real(shared_data, "voc2007")
    assert len(made) == 632
    assert all(one.look is not None for one in made)
    assert find_leaks(made) == []
    assert find_near_duplicates(made) == []


def test_real_user_set_dealt_from_one_film_has_near_duplicates(shared_data: pathlib.Path) -> None:
    made = _real(shared_data, "coalrock")
    assert find_leaks(made) == []
    near = [(pair.first[1], pair.second[1]) for pair in find_near_duplicates(made)]
    assert ("32", "36") in near  # The camera stands, the lump of coal has moved a little.
