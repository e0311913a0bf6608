"""Masks and overlays written to disk, from a model whose answers can be said beforehand."""

import json
import os
import pathlib
import shutil

import keras
import numpy as np
import PIL.Image
import pytest

from components import features, prediction, serving
from components.errors import ModelError, VocsegError
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


def _ids(path: pathlib.Path | None) -> np.ndarray:
    """Returns a mask's ids, by Pillow."""
    assert path is not None
    with PIL.Image.open(path) as image:
        return np.asarray(image)


def test_model_knows_its_classes_and_colors(model: prediction.Model) -> None:
    assert model.class_names == NAMES
    assert model.palette == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))


def test_mask_is_a_palette_png_of_ids_in_the_colors_of_voc(model: prediction.Model, tmp_path: pathlib.Path) -> None:
    image = _write(tmp_path / "street.png", "green", width=9, height=4)
    (found,) = prediction.predict_files(model, [image], tmp_path / "out")
    assert found.mask == tmp_path / "out" / "street.png"
    mask = PIL.Image.open(found.mask)
    assert (mask.format, mask.mode, mask.size) == ("PNG", "P", (9, 4))
    assert np.asarray(mask).tolist() == [[2] * 9] * 4
    assert mask.getpalette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
    assert np.asarray(mask.convert("RGB"))[0, 0].tolist() == [0, 128, 0]


def test_overlay_beside_the_mask_is_the_picture_tinted(model: prediction.Model, tmp_path: pathlib.Path) -> None:
    images = [_write(tmp_path / f"{name}.png", name) for name in ("red", "background")]
    list(prediction.predict_files(model, images, tmp_path / "out"))
    red = PIL.Image.open(tmp_path / "out" / "red_overlay.png")
    assert (red.mode, red.size) == ("RGB", (7, 5))
    assert np.unique(np.asarray(red)[1:-1, 1:-1].reshape(-1, 3), axis=0).tolist() == [[164, 0, 0]]  # (200 + 128) / 2
    plain = np.asarray(PIL.Image.open(tmp_path / "out" / "background_overlay.png"))
    assert np.unique(plain.reshape(-1, 3), axis=0).tolist() == [[90, 90, 90]]


def test_pixels_are_counted_by_class_and_add_up_to_the_picture(model: prediction.Model, tmp_path: pathlib.Path) -> None:
    # Left half red, right half blue, with background between, where neither exceeds one half.
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :18, 0] = 255
    pixels[:, 22:, 2] = 255
    PIL.Image.fromarray(pixels).save(tmp_path / "two.png")
    (found,) = prediction.predict_files(model, [tmp_path / "two.png"], tmp_path / "out")
    assert found.error == ""
    ids = _ids(found.mask)
    assert sum(found.pixels.values()) == 20 * 40
    assert found.pixels == {name: int((ids == i).sum()) for i, name in enumerate(NAMES) if (ids == i).any()}
    assert (ids[:, :15] == 1).all()
    assert (ids[:, 25:] == 3).all()
    assert set(found.pixels) >= {"red", "blue"} and "green" not in found.pixels


def test_pictures_beyond_one_batch_come_in_their_order(model: prediction.Model, tmp_path: pathlib.Path) -> None:
    names = [NAMES[number % 4] for number in range(prediction.BATCH_SIZE + 3)]
    images = [_write(tmp_path / f"{number}.jpg", name, width=5 + number) for number, name in enumerate(names)]
    found = list(prediction.predict_files(model, images, tmp_path / "out"))
    assert [one.image for one in found] == images
    assert [one.pixels for one in found] == [{name: 5 * (5 + number)} for number, name in enumerate(names)]
    assert [_ids(one.mask).shape for one in found] == [(5, 5 + number) for number in range(len(names))]


def test_unreadable_picture_is_reported_and_the_others_written(model: prediction.Model, tmp_path: pathlib.Path) -> None:
    good, last = _write(tmp_path / "good.png", "red"), _write(tmp_path / "last.jpg", "blue")
    broken, missing = tmp_path / "broken.jpg", tmp_path / "missing.jpg"
    broken.write_bytes(last.read_bytes()[:-200])
    found = list(prediction.predict_files(model, [good, broken, missing, last], tmp_path / "out"))
    assert [one.mask for one in found] == [tmp_path / "out" / "good.png", None, None, tmp_path / "out" / "last.png"]
    assert [one.error for one in found] == ["", serving.UNREADABLE, "the file cannot be opened", ""]
    assert [one.pixels for one in found] == [{"red": 35}, {}, {}, {"blue": 35}]
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["good.png", "good_overlay.png", "last.png", "last_overlay.png"]  # Nothing else, nothing half.


def test_no_pictures_write_nothing(model: prediction.Model, tmp_path: pathlib.Path) -> None:
    assert list(prediction.predict_files(model, [], tmp_path / "out")) == []
    assert list((tmp_path / "out").iterdir()) == []


def test_mask_that_would_replace_its_own_picture_is_refused(model: prediction.Model, tmp_path: pathlib.Path) -> None:
    first, second = _write(tmp_path / "a.jpg", "red"), _write(tmp_path / "b.png", "blue")
    before = second.read_bytes()
    with pytest.raises(VocsegError, match=r"b\.png would replace a picture.*--out"):
        list(prediction.predict_files(model, [first, second], tmp_path))
    assert second.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["a.jpg", "b.png"]  # Refused before anything is written.


def test_mask_that_would_replace_another_picture_is_refused_whatever_its_path_looks_like(tmp_path: pathlib.Path) -> None:
    (tmp_path / "masks").mkdir()
    images = [tmp_path / "a.jpg", tmp_path / "masks" / ".." / "masks" / "a.png"]
    with pytest.raises(VocsegError, match=r"a\.png would replace a picture"):
        prediction.output_paths(images, tmp_path / "masks")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "masks")
    with pytest.raises(VocsegError, match=r"a\.png would replace a picture"):
        prediction.output_paths([tmp_path / "a.jpg", tmp_path / "masks" / "a.png"], link)


def test_overlay_that_would_replace_a_picture_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(VocsegError, match=r"a_overlay\.png would replace a picture"):
        prediction.output_paths([tmp_path / "a.jpg", tmp_path / "a_overlay.png"], tmp_path)


@pytest.mark.parametrize(("one", "other"), [("x/a.jpg", "y/a.jpg"), ("x/a.jpg", "x/a.png"), ("x/a_overlay.jpg", "x/a.jpg")])
def test_pictures_that_would_get_the_same_mask_are_refused_by_name(tmp_path: pathlib.Path, one: str, other: str) -> None:
    with pytest.raises(VocsegError, match="would both be written to") as raised:
        prediction.output_paths([tmp_path / one, tmp_path / other], tmp_path / "out")
    assert one in str(raised.value) and other in str(raised.value)


def test_jpeg_may_have_its_mask_beside_it(model: prediction.Model, tmp_path: pathlib.Path) -> None:
    image = _write(tmp_path / "a.jpg", "green")
    before = image.read_bytes()
    (found,) = prediction.predict_files(model, [image], tmp_path)
    assert found.mask == tmp_path / "a.png"
    assert image.read_bytes() == before


def test_prediction_may_be_repeated(model: prediction.Model, tmp_path: pathlib.Path) -> None:
    image = _write(tmp_path / "a.jpg", "green")
    first = list(prediction.predict_files(model, [image], tmp_path / "out"))
    before = (tmp_path / "out" / "a.png").read_bytes()
    assert list(prediction.predict_files(model, [image], tmp_path / "out")) == first
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
    (found,) = prediction.predict_files(other, [_write(tmp_path / "a.jpg", "red")], tmp_path / "out")
    assert found.mask is not None
    assert np.asarray(PIL.Image.open(found.mask).convert("RGB"))[0, 0].tolist() == [7, 8, 9]
