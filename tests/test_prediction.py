"""Masks and overlays written to disk, from a model whose answers can be said beforehand."""

import io
import json
import os
import pathlib
import shutil
import threading
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from components import features, predicted_files, prediction, serving
from components.errors import ModelError, VocsegError
from components.regions import Region
from components.served_models import Answer
from pipeline_config import ServingConfig, TransformConfig

NAMES = ("background", "red", "green", "blue")
PALETTE = features.voc_palette(len(NAMES))
COLORS = {"background": (90, 90, 90), "red": (200, 0, 0), "green": (0, 220, 40), "blue": (10, 20, 250)}


def _color_model() -> keras.Model:
    """Returns a network whose class is red, green or blue where that channel exceeds one half, else background."""
    inputs = keras.Input((None, None, 3))
    layer = keras.layers.Conv2D(4, 1)
    model = keras.Model(inputs, layer(inputs))
    kernel = np.zeros((1, 1, 3, 4), np.float32)
    kernel[0, 0, :, 1:] = np.eye(3)
    layer.set_weights([kernel, np.array([0.5, 0, 0, 0], np.float32)])
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A pushed version."""
    version = tmp_path_factory.mktemp("models") / "1700000000"
    transform = TransformConfig(height_px=8, width_px=8)
    serving.save(_color_model(), str(version), transform, ServingConfig(micro_batch_size=3), NAMES, PALETTE)
    return version


@pytest.fixture(scope="module")
def model(folder: pathlib.Path) -> prediction.Model:
    return prediction.Model(folder)


def _write(path: pathlib.Path, name: str, width: int = 7, height: int = 5) -> pathlib.Path:
    PIL.Image.new("RGB", (width, height), COLORS[name]).save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))
    return path


def _predict(
    model: prediction.Model, images: list[pathlib.Path], out: pathlib.Path, places: dict | None = None, **options: Any
) -> Iterator[predicted_files.Prediction]:
    return predicted_files.predict_files(model, predicted_files.output_paths(images, out, places), **options)


def _ids(path: pathlib.Path | None) -> np.ndarray:
    """Returns a mask's ids, by Pillow."""
    assert path is not None
    with PIL.Image.open(path) as image:
        return np.asarray(image)


def _looks_like(pixels: np.ndarray, color: list[int]) -> None:
    """Checks pixels of an overlay, a JPEG: 16 levels are what a line of one pixel loses; a tint is far more."""
    assert np.abs(pixels.astype(int) - color).max() <= 16


def test_model_knows_its_classes_and_colors(model: prediction.Model) -> None:
    assert model.class_names == NAMES
    assert model.palette == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))


def test_mask_is_a_palette_png_of_ids_in_the_colors_of_voc(model: prediction.Model, tmp_path: pathlib.Path) -> None:
    image = _write(tmp_path / "street.png", "green", width=9, height=4)
    (found,) = _predict(model, [image], tmp_path / "out")
    assert found.mask == tmp_path / "out" / "street.png"
    mask = PIL.Image.open(found.mask)
    assert (mask.format, mask.mode, mask.size) == ("PNG", "P", (9, 4))
    assert np.asarray(mask).tolist() == [[2] * 9] * 4
    assert mask.getpalette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
    assert np.asarray(mask.convert("RGB"))[0, 0].tolist() == [0, 128, 0]


def test_overlay_beside_the_mask_is_the_picture_tinted(model: prediction.Model, tmp_path: pathlib.Path) -> None:
    images = [_write(tmp_path / f"{name}.png", name) for name in ("red", "background")]
    list(_predict(model, images, tmp_path / "out"))
    red = PIL.Image.open(tmp_path / "out" / "red_overlay.jpeg")
    assert (red.format, red.mode, red.size) == ("JPEG", "RGB", (7, 5))
    _looks_like(np.asarray(red)[1:-1, 1:-1], [164, 0, 0])  # (200 + 128) / 2
    plain = np.asarray(PIL.Image.open(tmp_path / "out" / "background_overlay.jpeg"))
    _looks_like(plain, [90, 90, 90])


def test_pixels_are_counted_by_class_and_add_up_to_the_picture(model: prediction.Model, tmp_path: pathlib.Path) -> None:
    # Left half red, right half blue, with background between, where neither exceeds one half.
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :18, 0] = 255
    pixels[:, 22:, 2] = 255
    PIL.Image.fromarray(pixels).save(tmp_path / "two.png")
    (found,) = _predict(model, [tmp_path / "two.png"], tmp_path / "out")
    assert found.error == ""
    ids = _ids(found.mask)
    assert sum(found.pixels.values()) == 20 * 40
    assert found.pixels == {name: int((ids == i).sum()) for i, name in enumerate(NAMES) if (ids == i).any()}
    assert (ids[:, :15] == 1).all()
    assert (ids[:, 25:] == 3).all()
    assert set(found.pixels) >= {"red", "blue"} and "green" not in found.pixels


def test_pictures_beyond_one_batch_come_in_their_order(model: prediction.Model, tmp_path: pathlib.Path) -> None:
    names = [NAMES[number % 4] for number in range(predicted_files.BATCH_SIZE + 3)]
    images = [_write(tmp_path / f"{number}.jpg", name, width=5 + number) for number, name in enumerate(names)]
    found = list(_predict(model, images, tmp_path / "out"))
    assert [one.image for one in found] == images
    assert [one.pixels for one in found] == [{name: 5 * (5 + number)} for number, name in enumerate(names)]
    assert [_ids(one.mask).shape for one in found] == [(5, 5 + number) for number in range(len(names))]


def test_unreadable_picture_is_reported_and_the_others_written(model: prediction.Model, tmp_path: pathlib.Path) -> None:
    good, last = _write(tmp_path / "good.png", "red"), _write(tmp_path / "last.jpg", "blue")
    broken, missing = tmp_path / "broken.jpg", tmp_path / "missing.jpg"
    broken.write_bytes(last.read_bytes()[:-200])
    found = list(_predict(model, [good, broken, missing, last], tmp_path / "out"))
    assert [one.mask for one in found] == [tmp_path / "out" / "good.png", None, None, tmp_path / "out" / "last.png"]
    assert [one.error for one in found] == ["", serving.UNREADABLE, "the file cannot be opened, or has more than 1 GiB", ""]
    assert [one.pixels for one in found] == [{"red": 35}, {}, {}, {"blue": 35}]
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["good.png", "good_overlay.jpeg", "last.png", "last_overlay.jpeg"]  # Nothing else, nothing half.


def test_mask_that_would_replace_its_own_picture_is_refused(model: prediction.Model, tmp_path: pathlib.Path) -> None:
    first, second = _write(tmp_path / "a.jpg", "red"), _write(tmp_path / "b.png", "blue")
    before = second.read_bytes()
    with pytest.raises(VocsegError, match=r"b\.png would replace a picture.*--out"):
        list(_predict(model, [first, second], tmp_path))
    assert second.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["a.jpg", "b.png"]  # Refused before anything is written.


def test_mask_that_would_replace_another_picture_is_refused_whatever_its_path_looks_like(tmp_path: pathlib.Path) -> None:
    (tmp_path / "masks").mkdir()
    images = [tmp_path / "a.jpg", tmp_path / "masks" / ".." / "masks" / "a.png"]
    with pytest.raises(VocsegError, match=r"a\.png would replace a picture"):
        predicted_files.output_paths(images, tmp_path / "masks")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "masks")
    with pytest.raises(VocsegError, match=r"a\.png would replace a picture"):
        predicted_files.output_paths([tmp_path / "a.jpg", tmp_path / "masks" / "a.png"], link)


def test_overlay_that_would_replace_a_picture_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(VocsegError, match=r"a_overlay\.jpeg would replace a picture"):
        predicted_files.output_paths([tmp_path / "a.jpg", tmp_path / "a_overlay.jpeg"], tmp_path)


@pytest.mark.parametrize(("one", "other"), [("x/a.jpg", "y/a.jpg"), ("x/a.jpg", "x/a.png")])
def test_pictures_that_would_get_the_same_mask_are_refused_by_name(tmp_path: pathlib.Path, one: str, other: str) -> None:
    with pytest.raises(VocsegError, match="would both be written to") as raised:
        predicted_files.output_paths([tmp_path / one, tmp_path / other], tmp_path / "out")
    assert one in str(raised.value) and other in str(raised.value)


def test_jpeg_may_have_its_mask_beside_it(model: prediction.Model, tmp_path: pathlib.Path) -> None:
    image = _write(tmp_path / "a.jpg", "green")
    before = image.read_bytes()
    (found,) = _predict(model, [image], tmp_path)
    assert found.mask == tmp_path / "a.png"
    assert image.read_bytes() == before


def test_prediction_may_be_repeated(model: prediction.Model, tmp_path: pathlib.Path) -> None:
    image = _write(tmp_path / "a.jpg", "green")
    first = list(_predict(model, [image], tmp_path / "out"))
    before = (tmp_path / "out" / "a.png").read_bytes()
    assert list(_predict(model, [image], tmp_path / "out")) == first
    assert (tmp_path / "out" / "a.png").read_bytes() == before


def test_folder_that_holds_no_model_is_an_error_with_the_remedy(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ModelError, match=r"is no model of vocseg.*saved_model\.pb.*--model"):
        prediction.Model(tmp_path)


def test_saved_model_of_somebody_else_is_an_error_that_names_what_is_missing(
    folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    shutil.copytree(folder, tmp_path / "model")
    (tmp_path / "model" / features.METADATA_FILE).unlink()
    with pytest.raises(ModelError, match=r"vocseg\.json"):
        prediction.Model(tmp_path / "model")


@pytest.mark.parametrize("file", ["saved_model.pb", "variables/variables.index", features.METADATA_FILE])
def test_damaged_model_is_an_error_in_words(folder: pathlib.Path, tmp_path: pathlib.Path, file: str) -> None:
    shutil.copytree(folder, tmp_path / "model")
    damaged = tmp_path / "model" / file
    damaged.write_bytes(damaged.read_bytes()[:20])
    with pytest.raises(ModelError, match="cannot be"):
        prediction.Model(tmp_path / "model")


def test_palette_of_another_data_set_is_used(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    shutil.copytree(folder, tmp_path / "model")
    path = tmp_path / "model" / features.METADATA_FILE
    metadata = json.loads(path.read_text())
    metadata["palette"][1] = [7, 8, 9]
    path.write_text(json.dumps(metadata))
    other = prediction.Model(tmp_path / "model")
    (found,) = _predict(other, [_write(tmp_path / "a.jpg", "red")], tmp_path / "out")
    assert found.mask is not None
    assert np.asarray(PIL.Image.open(found.mask).convert("RGB"))[0, 0].tolist() == [7, 8, 9]


# Regions, scores, places.


def _halves(path: pathlib.Path) -> pathlib.Path:
    """A picture of 40 x 20: the left 16 columns red, the right 16 blue, grey between."""
    pixels = np.full((20, 40, 3), 90, np.uint8)
    pixels[:, :16], pixels[:, 24:] = COLORS["red"], COLORS["blue"]
    PIL.Image.fromarray(pixels).save(path)
    return path


def test_regions_are_framed_in_the_overlay(model: prediction.Model, tmp_path: pathlib.Path) -> None:
    (found,) = _predict(model, [_halves(tmp_path / "a.png")], tmp_path / "out")
    assert (found.height, found.width) == (20, 40)
    assert [(region.class_id, region.top, region.bottom) for region in found.regions] == [(3, 0, 20), (1, 0, 20)]
    blue, red = found.regions  # Blue is the brighter one, and reaches farther into the grey.
    ids = _ids(found.mask)
    assert (red.left, red.right) == (0, int((ids[0] == 1).sum()))
    assert (blue.left, blue.right) == (40 - int((ids[0] == 3).sum()), 40)
    assert [region.mean_score for region in found.regions] == [None, None]  # Not asked for.
    overlay = _ids(found.overlay)
    _looks_like(overlay[[0, 19], [0, red.right - 1]], [128, 0, 0])
    _looks_like(overlay[5, blue.left], [128, 128, 0])
    _looks_like(overlay[5, 5], [164, 0, 0])


def test_region_smaller_than_the_least_area_is_no_region_but_stays_in_the_mask(
    model: prediction.Model, tmp_path: pathlib.Path
) -> None:
    image = _halves(tmp_path / "a.png")
    (all_,) = _predict(model, [image], tmp_path / "out", min_area_px=0)
    (none,) = _predict(model, [image], tmp_path / "out", min_area_px=400)
    assert len(all_.regions) == 2 and none.regions == ()
    assert none.pixels == all_.pixels


def test_score_is_the_mean_probability_of_the_class(model: prediction.Model, tmp_path: pathlib.Path) -> None:
    (found,) = _predict(model, [_write(tmp_path / "a.png", "red")], tmp_path / "out", scored=True)
    logits = np.array([0.5, 200 / 255, 0, 0])
    (region,) = found.regions
    assert region.mean_score == pytest.approx(np.exp(logits[1]) / np.exp(logits).sum(), abs=0.5 / 255 + 1e-6)


def test_older_model_without_scores_has_regions_without(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    signatures = serving.Server.signatures
    monkeypatch.setattr(
        serving.Server,
        "signatures",
        lambda server: {name: function for name, function in signatures(server).items() if name != "serving_scores"},
    )
    sizes = TransformConfig(height_px=8, width_px=8)
    serving.save(_color_model(), str(tmp_path / "old"), sizes, ServingConfig(), NAMES, PALETTE)
    metadata = tmp_path / "old" / features.METADATA_FILE
    known = json.loads(metadata.read_text())
    metadata.write_text(json.dumps({name: known[name] for name in ("class_names", "palette", "height_px", "width_px")}))
    old = prediction.Model(tmp_path / "old")
    assert (old.transform, old.max_pixels) == (sizes, 32_000_000)
    (found,) = _predict(old, [_write(tmp_path / "a.png", "red")], tmp_path / "out", scored=True)
    assert found.regions == (Region(1, 0, 0, 7, 5, 35, None),)


def test_results_go_where_they_are_told_to(model: prediction.Model, tmp_path: pathlib.Path) -> None:
    (tmp_path / "x").mkdir()
    images = [_write(tmp_path / "a.png", "red"), _write(tmp_path / "x" / "a.png", "blue")]
    places = {images[0]: pathlib.PurePath("one/a.b"), images[1]: pathlib.PurePath("two/deep/a")}
    found = list(_predict(model, images, tmp_path / "out", places))
    assert [one.mask for one in found] == [tmp_path / "out/one/a.b.png", tmp_path / "out/two/deep/a.png"]
    assert [one.overlay for one in found] == [tmp_path / "out/one/a.b_overlay.jpeg", tmp_path / "out/two/deep/a_overlay.jpeg"]
    assert all(one.mask and one.mask.is_file() and one.overlay and one.overlay.is_file() for one in found)


def test_batch_ends_where_its_bytes_are_enough(
    model: prediction.Model, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    sizes = []
    each = model.predict_each

    def spy(encoded: list[bytes], scored: bool) -> Iterator[Answer]:
        sizes.append(len(encoded))
        return each(encoded, scored)

    monkeypatch.setattr(model, "predict_each", spy)
    images = [_write(tmp_path / f"{number}.png", "red") for number in range(5)]
    size = images[0].stat().st_size
    monkeypatch.setattr(predicted_files, "BATCH_BYTES", 2 * size)
    assert [one.pixels for one in _predict(model, images, tmp_path / "out")] == [{"red": 35}] * 5
    assert sizes == [2, 2, 1]


def test_file_too_large_for_any_picture_is_not_read(
    model: prediction.Model, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    image = _write(tmp_path / "a.png", "red")
    monkeypatch.setattr(predicted_files, "MAX_FILE_BYTES", image.stat().st_size - 1)
    (found,) = _predict(model, [image], tmp_path / "out")
    assert found.error == "the file cannot be opened, or has more than 1 GiB"


def test_interrupt_while_a_file_is_written_leaves_nothing_half(
    model: prediction.Model, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    image = _write(tmp_path / "a.png", "red")

    def save(_: PIL.Image.Image, path: pathlib.Path, **__: Any) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(PIL.Image.Image, "save", save)
    with pytest.raises(KeyboardInterrupt):
        list(_predict(model, [image], tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []


def test_record_is_what_the_contract_says() -> None:
    region = Region(2, left=1, top=2, right=4, bottom=6, area_px=9, mean_score=0.123456)
    paths = pathlib.Path("a.jpg"), pathlib.Path("out/a.png"), pathlib.Path("out/a_overlay.jpeg")
    good = predicted_files.Prediction(paths[0], paths[1], "", {"green": 9}, paths[2], 6, 7, (region,))
    box = {"class": "green", "left": 1, "top": 2, "right": 4, "bottom": 6, "area": 9, "mean_score": 0.1235}
    assert predicted_files.to_record(good, NAMES) == {
        "image": "a.jpg",
        "mask": "out/a.png",
        "overlay": "out/a_overlay.jpeg",
        "height": 6,
        "width": 7,
        "pixels": {"green": 9},
        "boxes": [box],
        "error": None,
    }
    bad = predicted_files.to_record(predicted_files.Prediction(paths[0], None, "broken", {}), NAMES)
    assert (bad["mask"], bad["overlay"], bad["boxes"], bad["error"]) == (None, None, [], "broken")


# Other ways to look.

TTA, TILE, BOTH = prediction.Method(tta=True), prediction.Method(tile=True), prediction.Method(tta=True, tile=True)


def _encode(pixels: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, **({"format": "PNG"} | options))
    return buffer.getvalue()


def _blocks(seed: int, height: int, width: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a picture of blocks in the classes' colours, uint8 [H, W, 3], and the ids."""
    few = np.random.default_rng(seed).integers(0, 4, (-(-height // side), -(-width // side)))
    ids = few.repeat(side, 0).repeat(side, 1)[:height, :width]
    return np.array([COLORS[name] for name in NAMES], np.uint8)[ids], ids


@pytest.mark.parametrize("scored", [False, True])
def test_masks_are_those_of_the_default_signature_to_the_pixel(
    folder: pathlib.Path, model: prediction.Model, tmp_path: pathlib.Path, scored: bool
) -> None:
    pictures = [_encode(_blocks(seed, 30 + seed, 47, 9)[0]) for seed in range(4)]
    images = []
    for number, picture in enumerate(pictures):
        images.append(tmp_path / f"{number}.png")
        images[-1].write_bytes(picture)
    served = tf.saved_model.load(str(folder)).signatures["serving_default"](tf.constant(pictures))["mask"].numpy()
    found = list(_predict(model, images, tmp_path / "out", scored=scored))
    for one, mask in zip(found, served, strict=True):
        assert np.array_equal(_ids(one.mask), PIL.Image.open(io.BytesIO(mask)))
        assert len(one.pixels) > 1


def test_tiles_see_every_pixel_where_the_whole_is_too_small_for_it(model: prediction.Model) -> None:
    pixels, ids = _blocks(0, 31, 45, 1)  # The network's size is 8 x 8.
    mask, scores, error = model.predict_by(TILE, _encode(pixels))
    assert mask is not None and scores is not None and error == ""
    assert (mask.dtype, scores.dtype, scores.shape) == (np.uint8, np.float32, (31, 45))
    assert np.array_equal(mask, ids)
    plain = model.predict([_encode(pixels)])[0][0]
    assert plain is not None and (plain != ids).mean() > 0.3
    logits = np.concatenate([np.full((*ids.shape, 1), 0.5), pixels / 255], axis=-1)
    expected = np.exp(logits.max(-1)) / np.exp(logits).sum(-1)
    assert np.abs(scores - expected).max() < 1 / 255


@pytest.mark.parametrize("method", [TTA, TILE, BOTH])
def test_picture_of_large_blocks_looks_the_same_whichever_way(model: prediction.Model, method: prediction.Method) -> None:
    pixels, ids = _blocks(3, 64, 64, 32)
    mask, scores, error = model.predict_by(method, _encode(pixels))
    assert mask is not None and scores is not None and error == ""
    inner = np.zeros((64, 64), bool)
    for top in (0, 32):
        for left in (0, 32):
            inner[top + 10 : top + 22, left + 10 : left + 22] = True
    assert len(np.unique(ids)) > 1
    assert np.array_equal(mask[inner], ids[inner])
    assert 0.25 < scores.min() and scores.max() <= 1


@pytest.mark.parametrize("method", [TTA, TILE, BOTH])
def test_equal_pictures_get_equal_masks_from_batch_to_batch(
    model: prediction.Model, tmp_path: pathlib.Path, method: prediction.Method
) -> None:
    images = [tmp_path / f"{number}.png" for number in range(3)]
    for image in images:
        image.write_bytes(_encode(_blocks(1, 20, 33, 5)[0]))
    found = list(_predict(model, images, tmp_path / "out", method=method, scored=True))
    assert len({one.mask.read_bytes() for one in found if one.mask}) == 1
    assert len({one.regions for one in found}) == 1 and found[0].regions


@pytest.mark.parametrize("method", [TTA, TILE, BOTH])
def test_mirrored_picture_gets_the_mirrored_mask(model: prediction.Model, method: prediction.Method) -> None:
    pixels, _ = _blocks(2, 21, 34, 6)
    one, _, _ = model.predict_by(method, _encode(pixels))
    other, _, _ = model.predict_by(method, _encode(np.ascontiguousarray(pixels[:, ::-1])))
    assert one is not None and other is not None
    assert (one[:, ::-1] != other).mean() < 0.01  # Where two classes tie, rounding decides.


@pytest.mark.parametrize("method", [TTA, TILE])
def test_picture_is_turned_as_its_exif_says(model: prediction.Model, method: prediction.Method) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # To be turned a quarter to the right: what was the left side is on top.
    pixels = np.zeros((24, 40, 3), np.uint8)
    pixels[:, :20], pixels[:, 20:] = COLORS["red"], COLORS["blue"]
    mask, _, error = model.predict_by(method, _encode(pixels, format="JPEG", exif=exif, quality=95))
    assert mask is not None and error == ""
    assert mask.shape == (40, 24)
    assert (mask[:12] == 1).all() and (mask[-12:] == 3).all()


@pytest.mark.parametrize("method", [TTA, TILE, BOTH])
def test_broken_picture_is_an_error_whichever_way(model: prediction.Model, method: prediction.Method) -> None:
    whole = _encode(_blocks(0, 30, 30, 3)[0])
    for broken in (b"", b"no picture", whole[:100]):
        assert model.predict_by(method, broken) == (None, None, serving.UNREADABLE)


def test_picture_beyond_the_limit_of_the_server_is_refused_by_its_size_unless_it_is_looked_at_thoroughly(
    folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    serving.save(
        _color_model(),
        str(tmp_path / "model"),
        TransformConfig(height_px=8, width_px=8),
        ServingConfig(max_megapixels=1),
        NAMES,
        PALETTE,
    )
    limited = prediction.Model(tmp_path / "model")
    image = _write(tmp_path / "a.png", "red", 1001, 1000)
    (found,) = _predict(limited, [image], tmp_path / "out")
    assert found.error == "too large a picture: 1001 x 1000 pixels; at most 1 megapixels, and 16384 pixels a side, are taken"
    (found,) = _predict(limited, [image], tmp_path / "out", method=TTA)
    assert (found.error, found.pixels) == ("", {"red": 1_001_000})
    monkeypatch.setattr(features, "MAX_PIXELS", 999_999)
    (found,) = _predict(limited, [image], tmp_path / "out", method=TTA)
    assert found.error.startswith("too large a picture: 1001 x 1000")


def test_overlay_tints_the_first_class_where_it_is_no_background(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    shutil.copytree(folder, tmp_path / "model")
    path = tmp_path / "model" / features.METADATA_FILE
    names = {"class_names": ["road", *NAMES[1:]], "palette": [[0, 0, 250], *PALETTE[1:]]}
    path.write_text(json.dumps(json.loads(path.read_text()) | names))
    (found,) = _predict(prediction.Model(tmp_path / "model"), [_write(tmp_path / "a.png", "background")], tmp_path / "out")
    _looks_like(_ids(found.overlay)[2, 3], [45, 45, 170])  # (90 + 0) / 2 and (90 + 250) / 2


def test_picture_of_one_pixel_has_a_mask_of_one_pixel_whichever_way(model: prediction.Model) -> None:
    for method in (TTA, TILE, BOTH):
        mask, _, error = model.predict_by(method, _encode(np.array([[COLORS["green"]]], np.uint8)))
        assert mask is not None and (mask.tolist(), error) == ([[2]], "")


def _one_each(count: int) -> list[dict[pathlib.Path, bytes | None]]:
    return [{pathlib.Path(f"{number}.jpg"): bytes([number])} for number in range(count)]


def test_model_is_asked_a_batch_ahead_and_answers_come_in_order() -> None:
    begun = [threading.Event() for _ in range(4)]

    def ask(contents: list[bytes | None]) -> Iterator[Any]:
        (content,) = contents
        begun[content[0]].set()
        yield content

    seen = []
    for number, (batch, answers) in enumerate(predicted_files._ask_ahead(_one_each(4), ask)):
        assert begun[min(number + 1, 3)].wait(60)  # While this one is not done with.
        seen.append((str(next(iter(batch))), list(answers)))
    assert seen == [(f"{number}.jpg", [bytes([number])]) for number in range(4)]


def test_error_of_the_model_reaches_the_caller_and_ends_its_thread() -> None:
    before, asked = threading.active_count(), []

    def ask(contents: list[bytes | None]) -> Iterator[Any]:
        asked.append(contents)
        yield 1 // (1 - contents[0][0])

    with pytest.raises(ZeroDivisionError):
        list(predicted_files._ask_ahead(_one_each(9), ask))
    assert len(asked) <= 3  # The one that failed is the second; the third may have begun.
    assert threading.active_count() == before


def test_caller_that_leaves_early_ends_the_thread() -> None:
    before = threading.active_count()
    answered = predicted_files._ask_ahead(_one_each(9), lambda contents: iter(contents))
    next(answered)
    answered.close()
    assert threading.active_count() == before
