"""From a pair of files to an example, or to the quarantine with a reason; the Beam transform is run for real."""

import dataclasses
import io
import logging
import pathlib
import pickle
import struct
import zlib
from typing import Any

import apache_beam as beam
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions

from components import features, masks
from components.datasets import examples, fake_voc, voc
from components.datasets.examples import Quarantined, check_quarantine, encode_example, encode_image
from components.datasets.voc import Pair
from components.errors import DataError

PALETTE = features.voc_palette(21)
IDS = np.array([[0, 1, 15], [20, 255, 0]], np.uint8)
PAIR = Pair("a", "/data/JPEGImages/a.jpg", "/data/SegmentationClass/a.png")


def _encode(image: PIL.Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def _picture(height: int = 2, width: int = 3) -> PIL.Image.Image:
    return PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def _jpeg(height: int = 2, width: int = 3, mode: str = "RGB", **options: object) -> bytes:
    return _encode(_picture(height, width).convert(mode), "JPEG", **options)


def _png_header(width: int, height: int) -> bytes:
    """Returns the beginning of an RGB PNG: a size, and not one pixel."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    signature, length = b"\x89PNG\r\n\x1a\n", struct.pack(">I", 13)
    return signature + length + header + struct.pack(">I", zlib.crc32(header)) + struct.pack(">I", 1000) + b"IDAT"


def _decode(encoded: bytes) -> np.ndarray:
    """Reads a picture as Transform and serving do."""
    return tf.io.decode_image(encoded, channels=3, expand_animations=False).numpy()


SOME_JPEG = _jpeg(40, 60)

# Images.


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30}, {"subsampling": 0}], ids=str)
def test_rgb_jpeg_keeps_its_bytes(options: dict[str, Any]) -> None:
    encoded = _jpeg(20, 30, **options)
    assert encode_image(encoded) == (encoded, 20, 30)


def test_rgb_jpeg_keeps_its_bytes_with_metadata_and_what_follows_its_end() -> None:
    exif = PIL.Image.Exif()
    exif[0x010E] = "a description"
    encoded = _jpeg(20, 30, exif=exif, icc_profile=b"x" * 100, comment=b"hello") + b"trailing"
    assert encode_image(encoded) == (encoded, 20, 30)


def test_rotation_in_the_metadata_is_not_applied_because_the_mask_has_none() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # Orientation: turn by 90 degrees to show.
    encoded, height, width = encode_image(_jpeg(20, 30, exif=exif))
    assert (height, width) == (20, 30)
    assert _decode(encoded).shape == (20, 30, 3)


def _all_modes() -> dict[str, bytes]:
    picture = _picture(4, 6)
    rgba = picture.copy()
    rgba.putalpha(PIL.Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6) * 10))
    return {
        "grey JPEG": _encode(picture.convert("L"), "JPEG"),
        "CMYK JPEG": _encode(picture.convert("CMYK"), "JPEG"),
        "RGB PNG": _encode(picture, "PNG"),
        "RGBA PNG": _encode(rgba, "PNG"),
        "grey PNG": _encode(picture.convert("L"), "PNG"),
        "grey PNG with alpha": _encode(picture.convert("LA"), "PNG"),
        "1 bit PNG": _encode(picture.convert("1"), "PNG"),
        "palette PNG": _encode(picture.convert("P"), "PNG"),
        "BMP": _encode(picture, "BMP"),
        "GIF": _encode(picture, "GIF"),
        "TIFF": _encode(picture, "TIFF"),
    }


@pytest.mark.parametrize("name", _all_modes())
def test_other_picture_becomes_an_rgb_png_that_tensorflow_reads(name: str) -> None:
    original = _all_modes()[name]
    encoded, height, width = encode_image(original)
    assert (height, width) == (4, 6)
    image = PIL.Image.open(io.BytesIO(encoded))
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", (6, 4))
    decoded = _decode(encoded)
    assert (decoded.shape, decoded.dtype) == ((4, 6, 3), np.uint8)
    np.testing.assert_array_equal(decoded, np.asarray(PIL.Image.open(io.BytesIO(original)).convert("RGB")))


def test_rgba_png_keeps_its_colors_and_drops_its_alpha() -> None:
    rgba = np.array([[(10, 20, 30, 0), (40, 50, 60, 128), (70, 80, 90, 255)]], np.uint8)
    encoded, _, _ = encode_image(_encode(PIL.Image.fromarray(rgba), "PNG"))
    assert _decode(encoded).tolist() == [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]


def test_grey_picture_of_16_bits_does_not_turn_white() -> None:
    # 0x1000, 0x8000, 0xFFFF are 16, 128, 255 in 8 bits. Pillow's convert() clips instead of scaling: all three become 255.
    grey = PIL.Image.fromarray(np.array([[0x1000, 0x8000, 0xFFFF]], np.uint16))
    try:
        encoded, _, _ = encode_image(_encode(grey, "PNG"))
    except ValueError:
        return  # Refusing it is fine.
    np.testing.assert_allclose(_decode(encoded)[0, :, 0].astype(int), [16, 128, 255], atol=1)


def test_encoding_a_picture_twice_gives_the_same_bytes() -> None:
    encoded = _all_modes()["RGBA PNG"]
    assert encode_image(encoded) == encode_image(encoded)


@pytest.mark.parametrize("cut", [1, 2, 20, 1000], ids=lambda cut: f"{cut} bytes short")
def test_truncated_jpeg_is_refused_with_the_decoders_reason(cut: int) -> None:
    encoded = _jpeg(40, 60)
    PIL.Image.open(io.BytesIO(encoded[:-cut]))  # Pillow is lazy: opening does not notice.
    with pytest.raises(ValueError, match=r"the image is damaged: .*Invalid JPEG data") as error:
        encode_image(encoded[:-cut])
    assert "{{" not in str(error.value)
    assert "\n" not in str(error.value)


def test_jpeg_cut_within_its_header_is_refused() -> None:
    encoded = _jpeg(40, 60)
    with pytest.raises(ValueError, match=r"the image cannot be read: ."):
        encode_image(encoded[:30])


@pytest.mark.parametrize("name", ["CMYK JPEG", "RGBA PNG", "palette PNG"])
def test_truncated_picture_of_another_kind_is_refused(name: str) -> None:
    encoded = _all_modes()[name]
    with pytest.raises(ValueError, match=r"the image cannot be read: ."):
        encode_image(encoded[: len(encoded) * 2 // 3])


@pytest.mark.parametrize("encoded", [b"", b"hello\n", b"<html></html>"], ids=["empty", "text", "html"])
def test_file_that_is_no_picture_is_refused_without_an_address(encoded: bytes) -> None:
    with pytest.raises(ValueError, match=r"the image cannot be read: cannot identify image file$"):
        encode_image(encoded)


def test_damaged_jpeg_is_either_refused_with_a_reason_or_decodes_never_anything_else() -> None:
    encoded = _jpeg(40, 60)
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(encoded)
        for place in rng.integers(0, len(encoded), size=rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        try:
            good, height, width = encode_image(bytes(damaged))
        except ValueError as error:
            assert type(error) is ValueError
            assert "\n" not in str(error)
        else:
            assert _decode(good).shape == (height, width, 3)


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes any decoding of pixels an error; a test that uses this makes its pictures beforehand."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the picture was decoded")

    monkeypatch.setattr(PIL.Image.Image, "load", refuse)
    monkeypatch.setattr(PIL.Image.Image, "convert", refuse)
    monkeypatch.setattr(tf.io, "decode_image", refuse)


@pytest.mark.usefixtures("no_decoding")
def test_decompression_bomb_is_refused_by_its_header() -> None:
    with pytest.raises(ValueError, match=r"the image .*3600000000 pixels"):
        encode_image(_png_header(60_000, 60_000))


@pytest.mark.usefixtures("no_decoding")
def test_decompression_bomb_as_jpeg_is_refused_by_its_header() -> None:
    encoded = bytearray(SOME_JPEG)
    frame = encoded.index(b"\xff\xc0")  # SOF0: marker, length, precision, then height and width.
    encoded[frame + 5 : frame + 9] = struct.pack(">HH", 65_500, 65_500)
    with pytest.raises(ValueError, match=r"the image .*4290250000 pixels"):
        encode_image(bytes(encoded))


@pytest.mark.usefixtures("no_decoding")
def test_size_limit_is_ours_where_pillows_is_lifted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(ValueError, match="the image has 60000x50000 pixels, more than 178956970"):
        encode_image(_png_header(60_000, 50_000))


def test_picture_at_the_size_limit_is_taken_and_one_pixel_more_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "MAX_PIXELS", 6)
    assert encode_image(_jpeg(2, 3))[1:] == (2, 3)
    with pytest.raises(ValueError, match="the image has 7x1 pixels, more than 6"):
        encode_image(_jpeg(1, 7))


# Examples.


def _palette_png(ids: np.ndarray = IDS) -> bytes:
    return _encode(masks.to_palette_image(ids, features.voc_palette()), "PNG")


def test_example_has_every_key_of_the_contract() -> None:
    jpeg = _jpeg(2, 3)
    example = encode_example(PAIR, PALETTE, jpeg, _palette_png())
    assert set(example) == {
        "image",
        "image/filename",
        "image/height",
        "image/width",
        "label",
        "label/classes",
        "label/void_fraction",
    }
    assert example["image"] == jpeg
    assert example["image/filename"] == "a.jpg"
    assert (example["image/height"], example["image/width"]) == (2, 3)
    assert tf.io.decode_png(example["label"], channels=1)[..., 0].numpy().tolist() == [[0, 1, 15], [20, 255, 0]]
    assert example["label/classes"].tolist() == [0, 1, 15, 20]
    assert example["label/classes"].dtype == np.int64
    assert example["label/void_fraction"] == np.float32(1 / 6)  # One pixel of six.
    assert example["label/void_fraction"].dtype == np.float32


def test_example_of_void_alone_has_no_classes() -> None:
    example = encode_example(PAIR, PALETTE, _jpeg(1, 2), _palette_png(np.full((1, 2), 255, np.uint8)))
    assert example["label/classes"].tolist() == []
    assert example["label/void_fraction"] == 1


def test_example_without_void_has_a_fraction_of_zero() -> None:
    example = encode_example(PAIR, PALETTE, _jpeg(1, 2), _palette_png(np.array([[3, 0]], np.uint8)))
    assert example["label/classes"].tolist() == [0, 3]
    assert example["label/void_fraction"] == 0


def test_palette_and_color_mask_give_the_same_example() -> None:
    color = _encode(masks.to_palette_image(IDS, features.voc_palette()).convert("RGB"), "PNG")
    from_colors, from_palette = (encode_example(PAIR, PALETTE, _jpeg(2, 3), mask) for mask in (color, _palette_png()))
    assert from_colors.pop("label/classes").tolist() == from_palette.pop("label/classes").tolist()
    assert from_colors == from_palette


def _reason(image: bytes, mask: bytes, classes: int = 21) -> tuple[str, str]:
    with pytest.raises(examples._BadFileError) as error:
        encode_example(PAIR, features.voc_palette(classes), image, mask)
    return error.value.file, error.value.reason


def test_size_mismatch_says_both_sizes_and_blames_the_mask() -> None:
    assert _reason(_jpeg(3, 3), _palette_png()) == (PAIR.mask, "the mask has 3x2 pixels, its image 3x3")


def test_mask_that_is_turned_is_a_size_mismatch() -> None:
    assert _reason(_jpeg(3, 2), _palette_png()) == (PAIR.mask, "the mask has 3x2 pixels, its image 2x3")


def test_bad_image_blames_the_image_even_if_the_mask_is_bad_too() -> None:
    file, reason = _reason(b"", b"")
    assert file == PAIR.image
    assert reason.startswith("the image cannot be read: ")


def test_bad_mask_blames_the_mask() -> None:
    file, reason = _reason(_jpeg(2, 3), b"no picture")
    assert file == PAIR.mask
    assert reason.startswith("the mask cannot be read: ")


def test_id_outside_the_classes_blames_the_mask() -> None:
    file, reason = _reason(_jpeg(2, 3), _palette_png(), classes=16)
    assert file == PAIR.mask
    assert reason == "1 pixels have an id outside 0..15 and 255 (void), first 20 at x=0, y=1"


# The quarantine's limit.


def _bad(count: int) -> list[Quarantined]:
    return [
        Quarantined("train", f"{number:03d}", f"/data/{number:03d}.png", "the mask does not exist") for number in range(count)
    ]


@pytest.mark.parametrize("fraction", [0.0, 0.5])
def test_no_bad_pair_is_never_too_many(fraction: float) -> None:
    check_quarantine([], 0, fraction)
    check_quarantine([], 10, fraction)


def test_one_bad_pair_is_too_many_by_default() -> None:
    with pytest.raises(DataError, match="1 of 1000 listed pairs"):
        check_quarantine(_bad(1), 1000, 0.0)


@pytest.mark.parametrize(
    ("bad", "listed", "fraction"),
    [
        (1, 20, 0.05),
        (10, 10, 1.0),
        (2, 4, 0.5),
        (29, 100, 0.29),  # 0.29 * 100 is 28.999999999999996 in floating point.
        (57, 100, 0.57),  # 0.57 * 100 is 56.99999999999999.
        (7, 100, 0.07),  # 0.07 * 100 is 7.000000000000001.
        (63, 90, 0.7),  # 0.7 * 90 is 62.99999999999999.
    ],
)
def test_share_exactly_at_the_limit_is_borne_and_one_more_is_not(bad: int, listed: int, fraction: float) -> None:
    check_quarantine(_bad(bad), listed, fraction)
    if bad < listed:
        with pytest.raises(DataError, match=f"{bad + 1} of {listed} listed pairs"):
            check_quarantine(_bad(bad + 1), listed, fraction)


def test_refusal_names_each_pair_its_file_and_reason_and_the_remedy() -> None:
    with pytest.raises(DataError) as error:
        check_quarantine(_bad(2)[::-1], 632, 0.001)
    assert str(error.value).splitlines() == [
        "2 of 632 listed pairs cannot be used (allowed: 0.10%, data.max_quarantined_fraction):",
        "  train/000: /data/000.png: the mask does not exist",
        "  train/001: /data/001.png: the mask does not exist",
        "Mend the files, take them off the lists, or, in a pipeline, "
        "allow the share: --set data.max_quarantined_fraction=0.004",
    ]


@pytest.mark.parametrize(("count", "rest"), [(20, None), (21, "  ... and 1 more"), (500, "  ... and 480 more")])
def test_refusal_names_at_most_twenty_pairs_and_counts_the_others(count: int, rest: str | None) -> None:
    with pytest.raises(DataError) as error:
        check_quarantine(_bad(count), 632, 0.0)
    lines = str(error.value).splitlines()
    assert [line for line in lines if line.startswith("  train/")] == [f"  {bad}" for bad in _bad(20)]
    assert [line for line in lines if line.startswith("  ...")] == ([rest] if rest else [])


# The transform, run by Beam.


def _store(records: list[Any], path: str) -> None:
    pathlib.Path(path).write_bytes(pickle.dumps(records))


def _run(
    split: str, pairs: list[Pair], folder: pathlib.Path
) -> tuple[dict[str, dict[str, Any]], list[Quarantined], dict[str, int]]:
    """Returns the examples by key, the quarantined pairs and the counters of a run in this process."""
    folder.mkdir(exist_ok=True)
    pipeline = beam.Pipeline(options=PipelineOptions(["--runner=DirectRunner", "--direct_running_mode=in_memory"]))
    outputs = pipeline | beam.Create(pairs) | examples.EncodeExamples(split, PALETTE, len(pairs))
    assert set(outputs) == {"examples", "quarantined"}
    for name, output in outputs.items():
        _ = output | f"List {name}" >> beam.combiners.ToList() | f"Store {name}" >> beam.Map(_store, str(folder / name))
    result = pipeline.run()
    result.wait_until_finish()
    good, bad = (pickle.loads((folder / name).read_bytes()) for name in ("examples", "quarantined"))
    assert len(good) == len(dict(good))
    counters = {counter.key.metric.name: counter.committed for counter in result.metrics().query()["counters"]}
    return dict(good), bad, counters


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Pair], dict[str, tuple[str, str]]]:
    """A set of eleven pairs of which seven are bad, each in its own way: pairs, and for the bad ones file and reason."""
    root = fake_voc.write_fake_voc(tmp_path_factory.mktemp("damaged"), split_sizes={"train": 11, "val": 1, "test": 0})
    pairs = voc.pairs_by_split(voc.find_voc(root, 2007))["train"]
    images, labels = ([pathlib.Path(path) for path in paths] for paths in ([p.image for p in pairs], [p.mask for p in pairs]))
    with PIL.Image.open(images[3]) as image:
        width, height = image.size
    images[0].unlink()
    labels[1].unlink()
    images[2].write_bytes(images[2].read_bytes()[:-40])
    masks.to_palette_image(np.zeros((height - 1, width), np.uint8), features.voc_palette()).save(labels[3])
    strange = np.asarray(PIL.Image.open(labels[4])).copy()
    strange[5, 7] = 21
    masks.to_palette_image(strange, features.voc_palette()).save(labels[4])
    images[5].write_bytes(b"")
    labels[6].write_text("no picture")
    faults = [
        (images[0], "the image does not exist"),
        (labels[1], "the mask does not exist"),
        (images[2], "the image is damaged: .*Invalid JPEG data"),
        (labels[3], f"the mask has {width}x{height - 1} pixels, its image {width}x{height}"),
        (labels[4], r"1 pixels have an id outside 0\.\.20 and 255 \(void\), first 21 at x=7, y=5"),
        (images[5], "the image cannot be read: cannot identify image file"),
        (labels[6], "the mask cannot be read: cannot identify image file"),
    ]
    return pairs, {pair.key: (str(file), reason) for pair, (file, reason) in zip(pairs, faults, strict=False)}


def test_every_listed_pair_is_an_example_or_quarantined(
    damaged: tuple[list[Pair], dict[str, tuple[str, str]]], tmp_path: pathlib.Path
) -> None:
    pairs, faults = damaged
    good, bad, counters = _run("train", pairs, tmp_path)
    assert sorted([*good, *(record.key for record in bad)]) == sorted(pair.key for pair in pairs)
    assert {record.key for record in bad} == set(faults)
    assert counters["examples"] == len(good) == 4
    assert counters["quarantined"] == len(bad) == 7


@pytest.mark.parametrize(
    "index",
    range(7),
    ids=[
        "missing image",
        "missing mask",
        "truncated jpg",
        "size mismatch",
        "id outside classes",
        "empty image",
        "text as mask",
    ],
)
def test_bad_pair_has_its_split_file_and_reason(
    damaged: tuple[list[Pair], dict[str, tuple[str, str]]], tmp_path: pathlib.Path, index: int
) -> None:
    pairs, faults = damaged
    good, [record], _ = _run("validation", [pairs[index]], tmp_path)
    file, reason = faults[pairs[index].key]
    assert good == {}
    assert (record.split, record.key, record.file) == ("validation", pairs[index].key, file)
    with pytest.raises(ValueError, match=f"^{reason}"):  # Matched as the messages elsewhere in this file are.
        raise ValueError(record.reason)


def test_good_pairs_beside_bad_ones_are_whole(
    damaged: tuple[list[Pair], dict[str, tuple[str, str]]], tmp_path: pathlib.Path
) -> None:
    pairs, faults = damaged
    good, _, _ = _run("train", pairs, tmp_path)
    for pair in pairs:
        if pair.key not in faults:
            example = good[pair.key]
            assert example["image"] == pathlib.Path(pair.image).read_bytes()
            assert example["image/filename"] == f"{pair.key}.jpg"
            ids = np.asarray(PIL.Image.open(pair.mask))
            np.testing.assert_array_equal(np.asarray(PIL.Image.open(io.BytesIO(example["label"]))), ids)


def test_listed_file_that_is_a_folder_is_quarantined_not_a_crash(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.jpg").mkdir()
    (tmp_path / "a.png").write_bytes(_palette_png())
    good, [record], _ = _run("train", [Pair("a", str(tmp_path / "a.jpg"), str(tmp_path / "a.png"))], tmp_path / "out")
    assert good == {}
    assert record.file == str(tmp_path / "a.jpg")
    assert record.reason.startswith("the image")


def test_empty_list_gives_nothing(tmp_path: pathlib.Path) -> None:
    assert _run("test", [], tmp_path)[:2] == ({}, [])


def test_miniature_set_has_no_bad_pair(mini_voc: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for split, pairs in voc.pairs_by_split(voc.find_voc(mini_voc, 2007)).items():
        good, bad, _ = _run(split, pairs, tmp_path / split)
        assert bad == []
        assert set(good) == {pair.key for pair in pairs}


def test_progress_counts_pairs_up_to_the_total(
    mini_voc: pathlib.Path, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    pairs = voc.pairs_by_split(voc.find_voc(mini_voc, 2007))["train"]
    with caplog.at_level(logging.INFO, logger="vocseg.progress"):
        _run("train", pairs, tmp_path)
    reports = [vars(record)["progress"] for record in caplog.records if record.name == "vocseg.progress"]
    assert [(report.done, report.total, report.unit) for report in reports] == [
        (10, 24, "train pairs"),
        (20, 24, "train pairs"),
        (24, 24, "train pairs"),
    ]
    assert str(reports[-1]) == "24/24 train pairs"


def test_transform_says_nothing_on_the_log_while_it_is_built(caplog: pytest.LogCaptureFixture) -> None:
    # Beam warns about a return annotation that is no PCollection, several times a split, in front of the user.
    pipeline = beam.Pipeline(options=PipelineOptions(["--runner=DirectRunner", "--direct_running_mode=in_memory"]))
    _ = pipeline | beam.Create([PAIR]) | examples.EncodeExamples("train", PALETTE, 1)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_real_user_set_of_three_classes_is_read_whole(shared_data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    splits = voc.pairs_by_split(voc.find_voc(shared_data / "coalrock", 2007))
    ids = set()
    for split, size in (("train", 31), ("validation", 4)):
        good, bad, _ = _run(split, splits[split], tmp_path / split)
        assert (len(good), bad) == (size, [])
        ids |= {int(class_id) for example in good.values() for class_id in example["label/classes"]}
    assert ids == {0, 1, 2}


def test_real_user_set_of_rgba_pngs_becomes_rgb(shared_data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    listed = voc.pairs_by_split(voc.find_voc(shared_data / "farmland", 2007))["train"]
    pairs = [dataclasses.replace(pair, image=pair.image.replace(".jpg", ".png")) for pair in listed]
    good, bad, _ = _run("train", pairs, tmp_path)
    assert (len(good), bad) == (8, [])
    for example in good.values():
        assert _decode(example["image"]).shape == (example["image/height"], example["image/width"], 3)
        assert set(example["label/classes"]) <= {0, 1}


def test_picture_with_a_very_long_side_is_refused_at_the_door() -> None:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (20_000, 2)).save(buffer, "PNG")
    with pytest.raises(ValueError, match="20000x2 pixels; a side may have 16384"):
        encode_image(buffer.getvalue())


def test_format_that_is_none_of_ours_is_not_even_opened() -> None:
    """Pillow would start Ghostscript for PostScript, and raises errors of its own for a damaged DDS."""
    for content in (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"DDS " + bytes(124)):
        with pytest.raises(ValueError, match="the image cannot be read"):
            encode_image(content)
