"""The trial before the push: a good model passes it, and each kind of broken one is refused with its reason."""

import base64
import dataclasses
import io
import json
import pathlib
import shutil
import struct
from collections.abc import Callable, Iterator
from typing import Any

import fake_records
import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from fake_evaluation import make_evaluation
from tfx.types import standard_artifacts

from components import check_pictures, features, iou, serving
from components.check_pictures import Picture, read_pictures, with_variants
from components.evaluation import Evaluation, ImageScore, mask_digest, write_evaluation
from components.serving_check import (
    CHECK_FILE,
    NO_PICTURES,
    NOT_CHECKED,
    SIGNATURES,
    Check,
    ServingCheck,
    check_model,
    judge,
)
from pipeline_config import CheckConfig, ServingConfig, TransformConfig, to_json

CLASSES = ("background", "red", "blue")
SIZES = [(40, 60), (33, 21), (64, 64), (20, 90), (50, 31), (48, 48), (17, 80), (70, 20), (30, 30), (41, 43)]
"""Height and width of the pictures in the records."""

_IMAGES = [tf.TensorSpec([None], tf.string, name="images")]


class Tiny(serving.Server):
    """The real signatures over a network of one layer."""

    def __init__(self) -> None:
        """Sets weights by which each class wins somewhere."""
        network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 1)])
        kernel = np.array([[1, -1, 0], [0, 1, -1], [-1, 0, 1]], np.float32)
        network.set_weights([kernel[np.newaxis, np.newaxis], np.zeros(3, np.float32)])
        super().__init__(
            network, TransformConfig(height_px=32, width_px=48), ServingConfig(micro_batch_size=4, max_megapixels=1)
        )


class NeedsPython(Tiny):
    @tf.function(input_signature=_IMAGES)
    def serve_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answers by a function of this process."""
        answer = super()._masks(images, 1_000_000)
        same = tf.py_function(lambda mask: mask, [answer["mask"]], tf.string)
        same.set_shape([None])
        return answer | {"mask": same}


class Loops(Tiny):
    @tf.function(input_signature=_IMAGES)
    def serve_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Never comes to an end."""
        turns = tf.while_loop(lambda turn: turn >= 0, lambda turn: [(turn + 1) % 1000], [tf.size(images)])[0]
        answer = super()._masks(images, 1_000_000)
        return answer | {"mask": tf.repeat(answer["mask"], turns)}


class Hungry(Tiny):
    @tf.function(input_signature=_IMAGES)
    def serve_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Takes 8 GB where there is a picture."""
        numbers = tf.random.uniform([2_000_000_000 * tf.minimum(tf.size(images), 1)])
        answer = super()._masks(images, 1_000_000)
        return answer | {"mask": tf.repeat(answer["mask"], tf.cast(tf.reduce_sum(numbers) >= 0, tf.int32))}


class Aborts(Tiny):
    @tf.function(input_signature=_IMAGES)
    def serve_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Ends the process that asks."""
        with tf.control_dependencies([tf.raw_ops.Abort(error_msg="enough")]):
            return super()._masks(tf.identity(images), 1_000_000)


class Strict(Tiny):
    @tf.function(input_signature=_IMAGES)
    def serve_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Refuses a request for one bad picture in it."""
        answer = super()._masks(images, 1_000_000)
        with tf.control_dependencies([tf.debugging.assert_equal(answer["error"], "", "there is a bad one")]):
            return {name: tf.identity(value) for name, value in answer.items()}


class TooTall(Tiny):
    def _encode(self, logits: tf.Tensor, heights: tf.Tensor, *how: Any) -> list[tf.Tensor]:
        return super()._encode(logits, heights + 1, *how)


class Drunk(Tiny):
    def __init__(self) -> None:
        """Loses its weights."""
        super().__init__()
        self.weights[0].assign(np.full((1, 1, 3, 3), np.nan))


class Shifted(Tiny):
    @tf.function(input_signature=_IMAGES)
    def serve_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answers otherwise than `serving_examples`, which is evaluated."""
        call = self._call
        self._call = lambda images: tf.roll(call(images), 1, axis=-1)
        answer = self._masks(images, 1_000_000)
        self._call = call
        return answer


class WithoutLogits(Tiny):
    def signatures(self) -> dict[str, Any]:
        """Leaves one out."""
        return {name: function for name, function in super().signatures().items() if name != "logits"}


class OtherRest(Tiny):
    @tf.function(input_signature=_IMAGES)
    def serve_rest(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Gives each picture the mask of the next."""
        answer = self.serve_images(images)
        return {"mask_bytes": tf.roll(answer["mask"], 1, axis=0), "error": answer["error"]}


def _save(server: serving.Server, folder: pathlib.Path) -> pathlib.Path:
    """Writes what `components.serving.save` writes, of any server."""
    tf.saved_model.save(server, str(folder), signatures=server.signatures())
    (folder / features.METADATA_FILE).parent.mkdir()
    (folder / features.METADATA_FILE).write_text(json.dumps({"class_names": CLASSES, "height_px": 32, "width_px": 48}))
    return folder


def _jpeg(seed: int, height: int, width: int) -> bytes:
    few = np.random.default_rng(seed).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(few).resize((width, height), PIL.Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


JPEGS = {f"{number}.jpg": _jpeg(number, *size) for number, size in enumerate(SIZES)}


def _mask(encoded: bytes) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(encoded)))


def _png(mask: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(mask).save(buffer, "PNG")
    return buffer.getvalue()


def _label(name: str) -> bytes:
    """Returns a truth that is class 0 in the upper half and class 1 in the lower."""
    height, width = _mask(JPEGS[name]).shape[:2]
    return _png(np.repeat(np.arange(height) >= height // 2, width).reshape(height, width).astype(np.uint8))


def _record(name: str) -> bytes:
    height, width = _mask(JPEGS[name]).shape[:2]
    strings = {features.IMAGE: JPEGS[name], features.FILENAME: name.encode(), features.LABEL: _label(name)}
    feature = {key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for key, value in strings.items()}
    for key, side in ((features.HEIGHT, height), (features.WIDTH, width)):
        feature[key] = tf.train.Feature(int64_list=tf.train.Int64List(value=[side]))
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return _save(Tiny(), tmp_path_factory.mktemp("models") / "good")


@pytest.fixture(scope="module")
def evaluation(model: pathlib.Path) -> Evaluation:
    """Of the masks by the signature that the Evaluator uses, and in this process."""
    serve = tf.saved_model.load(str(model)).signatures["serving_examples"]
    masks = serve(examples=tf.constant([_record(name) for name in JPEGS]))["mask"].numpy()
    found = [_mask(mask) for mask in masks]
    assert sum(len(np.unique(mask)) > 1 for mask in found) > 5  # Else digests would tell little.
    images = [
        ImageScore(
            filename=name,
            mean_iou=iou.mean_iou(iou.confusion_matrix(_mask(_label(name)), mask, 3)),
            baseline_mean_iou=None,
            mask_sha256=mask_digest(mask),
        )
        for name, mask in zip(JPEGS, found, strict=True)
    ]
    return dataclasses.replace(make_evaluation(blessed=True), class_names=CLASSES, images=tuple(images))


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """An Examples artifact's folder with the evaluated split, in another order than the evaluation has."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "Split-test").mkdir()
    fake_records.write_records(
        folder / "Split-test/data_tfrecord-00000-of-00001.gz", [_record(name) for name in reversed(JPEGS)]
    )
    return folder


@pytest.fixture
def pictures(evaluation: Evaluation, split: pathlib.Path) -> list[Picture]:
    return read_pictures(evaluation, [str(next((split / "Split-test").iterdir()))], 1_000_000)


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test's processes and files are gone at its end."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield
    assert not list(tmp_path.glob("vocseg-check-*"))
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert str(tmp_path).encode() not in path.read_bytes(), path
        except OSError:
            continue  # It has ended.


def _check(folder: pathlib.Path, pictures: list[Picture], **budgets: Any) -> Check:
    return check_model(str(folder), pictures, CLASSES, CheckConfig(**budgets))


# The pictures.


def test_pictures_are_taken_from_the_worst_to_the_best(pictures: list[Picture], evaluation: Evaluation) -> None:
    # Of ten, eight evenly: round(0, 9/7, 18/7, ... 9).
    assert [picture.name for picture in pictures] == [f"{number}.jpg" for number in (0, 1, 3, 4, 5, 6, 8, 9)]
    scores = {image.filename: image for image in evaluation.images}
    for picture in pictures:
        assert (picture.encoded, picture.label) == (JPEGS[picture.name], _label(picture.name))
        score = scores[picture.name]
        assert (picture.mask_sha256, picture.mean_iou) == (score.mask_sha256, score.mean_iou)
        assert (picture.height, picture.width) == SIZES[int(picture.name.removesuffix(".jpg"))]


def test_picture_that_would_be_refused_is_not_asked_for(evaluation: Evaluation, split: pathlib.Path) -> None:
    files = [str(next((split / "Split-test").iterdir()))]
    found = read_pictures(evaluation, files, 1000)
    assert [picture.name for picture in found] == ["1.jpg", "8.jpg"]  # 33 x 21 and 30 x 30 pixels.
    assert read_pictures(evaluation, files, 10) == []


def test_only_the_chosen_pictures_are_held(
    evaluation: Evaluation, split: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []
    monkeypatch.setattr(check_pictures, "Picture", lambda **fields: held.append(fields["name"]) or Picture(**fields))
    assert len(read_pictures(evaluation, [str(next((split / "Split-test").iterdir()))], 1_000_000)) == len(held) == 8


def test_variants_are_of_mixed_formats_and_sizes_and_one_is_damaged(pictures: list[Picture]) -> None:
    made = with_variants(pictures)
    assert [one for one in made if one in pictures] == pictures
    extra = {one.name: one for one in made if one not in pictures}
    png, grey = extra["0.jpg as PNG"], extra["1.jpg as grey JPEG"]
    assert PIL.Image.open(io.BytesIO(png.encoded)).format == "PNG"
    assert (PIL.Image.open(io.BytesIO(grey.encoded)).format, PIL.Image.open(io.BytesIO(grey.encoded)).mode) == ("JPEG", "L")
    assert ((png.height, png.width), (grey.height, grey.width)) == (SIZES[0], SIZES[1])
    scaled = extra["3.jpg at two thirds of its size"]
    assert (scaled.height, scaled.width) == (13, 60)  # Of 20 x 90.
    for one in (png, grey, scaled):
        assert PIL.Image.open(io.BytesIO(one.encoded)).size == (one.width, one.height)
    damaged = extra["0.jpg cut in half"]
    assert (damaged.height, damaged.width) == (0, 0)
    assert made[0] != damaged != made[-1]
    assert all(not one.mask_sha256 for one in extra.values()) and len(extra) == 4


def test_half_of_a_file_with_a_second_picture_behind_the_first_is_damaged(pictures: list[Picture]) -> None:
    # As a telephone's photograph with a film: half of the file is a whole picture.
    first = dataclasses.replace(pictures[0], encoded=pictures[0].encoded + bytes(2 * len(pictures[0].encoded)))
    tf.io.decode_image(first.encoded[: len(first.encoded) // 2])
    [damaged] = [one for one in with_variants([first]) if not one.height]
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.io.decode_image(damaged.encoded)


def test_picture_with_odd_exif_has_variants() -> None:
    # To be turned, and a tag has a value of another type than it should: Pillow's exif_transpose fails over such.
    body = b"MM\0*\0\0\0\x08\0\2" + struct.pack(">HHII", 0x0112, 3, 1, 6 << 16) + struct.pack(">HHIf", 0x010F, 11, 1, 1.5)
    encoded = JPEGS["0.jpg"]
    segment = b"Exif\0\0" + body + bytes(4)
    encoded = encoded[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + encoded[2:]
    made = with_variants([Picture(name="a", encoded=encoded, height=60, width=40)])
    assert [(one.height, one.width) for one in made if one.name == "a as PNG"] == [(60, 40)]


def test_picture_that_lies_on_its_side_is_turned_in_its_variants() -> None:
    buffer = io.BytesIO()
    exif = PIL.Image.Exif()
    exif[274] = 6  # To be turned by 90 degrees.
    PIL.Image.new("RGB", (60, 40)).save(buffer, "JPEG", exif=exif)
    made = with_variants([Picture(name="a", encoded=buffer.getvalue(), height=60, width=40)])
    [png] = [one for one in made if one.name == "a as PNG"]
    assert (png.height, png.width) == (60, 40)
    assert PIL.Image.open(io.BytesIO(png.encoded)).getexif().get(274) is None


# The judgement.


def _answers(pictures: list[Picture], **changes: Any) -> dict[str, Any]:
    """Returns the answers of a model that answers class 1 everywhere."""
    masks = [_png(np.ones((one.height, one.width), np.uint8)) if one.height else b"" for one in pictures]
    errors = ["" if one.height else "not readable" for one in pictures]
    encoded = [base64.b64encode(mask).decode() for mask in masks]
    good = {"signatures": SIGNATURES, "masks": encoded, "errors": errors, "empty": [0, 0], "rest_same": True}
    return good | {"logits": [1, 32, 48, 3], "logits_finite": True} | changes


ASKED = [Picture(name="a", encoded=b"", height=2, width=3), Picture(name="bad", encoded=b"")]


def _judged(**changes: Any) -> list[str]:
    return list(judge(_answers(ASKED, **changes), ASKED, 3, [1, 32, 48, 3]))


def _with_first(mask: bytes) -> list[str]:
    return [base64.b64encode(mask).decode(), ""]


def test_good_answers_have_no_fault() -> None:
    assert _judged() == []


def _tiff() -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("L", (3, 2)).save(buffer, "TIFF")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"masks": _with_first(_png(np.ones((3, 2), np.uint8)))}, "a: its mask has 2 x 3 pixels; expected 3 x 2"),
        ({"masks": _with_first(_png(np.full((2, 3), 3, np.uint8)))}, "a: its mask has the id 3; there are 3 classes"),
        ({"masks": _with_first(b"no picture")}, "a: its mask is no picture"),
        ({"masks": ["", ""]}, "a: its mask is no picture"),
        ({"masks": _with_first(_tiff())}, "a: its mask is no PNG of one channel of 8 bits"),
        ({"masks": _with_first(_png(np.ones((2, 3, 3), np.uint8)))}, "a: its mask is no PNG of one channel of 8 bits"),
        ({"errors": ["too dark", "not readable"]}, "a: got the error 'too dark'"),
        ({"errors": ["", ""]}, "bad: a damaged picture got a mask, or no error"),
        ({"masks": [_answers(ASKED)["masks"][0]] * 2}, "bad: a damaged picture got a mask, or no error"),
        ({"masks": [""]}, "2 pictures got 1 masks and 2 errors"),
        ({"empty": [1, 1]}, "a request without pictures got 1 masks and 1 errors"),
        ({"logits": [1, 16, 24, 3]}, "the logits of a picture have the shape [1, 16, 24, 3]; expected [1, 32, 48, 3]"),
        ({"logits_finite": False}, "its logits are not numbers"),
        ({"rest_same": False}, "serving_rest does not answer as serving_default does"),
    ],
)
def test_wrong_answer_is_named(changes: dict[str, Any], reason: str) -> None:
    assert _judged(**changes) == [reason]


def test_missing_and_changed_signatures_are_named_and_nothing_else() -> None:
    signatures = {name: SIGNATURES[name] for name in ("serving_default", "serving_rest", "serving_scores")}
    signatures["logits"] = [{"images": "uint8"}, {"logits": "float32"}]
    reasons = _judged(signatures=signatures, masks=["", ""])
    assert reasons[0] == "there is no signature serving_examples"
    assert reasons[1].startswith("the signature logits takes and gives [{'images': 'uint8'}, {'logits': 'float32'}]; expected")
    assert len(reasons) == 2


# Truth: of 100 pixels 50 are of class 1, 50 of class 2. The model answers class 1 everywhere: IoU 0.5 and 0, mean 0.25.
TRUTH = np.repeat(np.array([1, 2], np.uint8), 50).reshape(10, 10)


def _seen(name: str = "a", sha256: str = "of another device", mean_iou: float | None = 0.25) -> Picture:
    return Picture(name=name, encoded=b"", height=10, width=10, mask_sha256=sha256, mean_iou=mean_iou, label=_png(TRUTH))


@pytest.mark.parametrize(
    ("picture", "faults"),
    [
        (_seen(), []),
        (_seen(mean_iou=0.259), []),
        (_seen(mean_iou=0.261), ["a: its mask is another than in the evaluation: mean IoU 0.2500 instead of 0.2610"]),
        (_seen(mean_iou=0.2), ["a: its mask is another than in the evaluation: mean IoU 0.2500 instead of 0.2000"]),
        (_seen(mean_iou=0.9, sha256=mask_digest(np.ones((10, 10), np.uint8))), []),  # The very mask: nothing to measure.
        (_seen(mean_iou=None), []),  # All void.
    ],
)
def test_mask_other_than_the_evaluators_must_be_as_good(picture: Picture, faults: list[str]) -> None:
    assert list(judge(_answers([picture]), [picture], 3, [1, 32, 48, 3])) == faults


def test_same_fault_of_many_pictures_is_named_a_few_times() -> None:
    asked = [_seen(f"{number}", mean_iou=0.9) for number in range(9)]
    reasons = list(judge(_answers(asked), asked, 3, [1, 32, 48, 3]))
    assert [reason.split(":")[0] for reason in reasons] == ["0", "1", "2", "and so on"]
    assert reasons[-1] == "and so on: 9 pictures in all"


# The process. Each costs seconds: the common ways to fail are tried always, the rarer ones by `make soak`.


def _damage(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


LOADING = "loading the model failed in a process without vocseg's code: "
ANSWERING = "answering pictures failed in a process without vocseg's code: "


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("saved_model.pb", _damage, f"{LOADING}OSError: Cannot parse file"),
        pytest.param("saved_model.pb", pathlib.Path.unlink, f"{LOADING}OSError", marks=pytest.mark.soak),
        pytest.param("variables/variables.index", pathlib.Path.unlink, LOADING, marks=pytest.mark.soak),
        (features.METADATA_FILE, pathlib.Path.unlink, f"{features.METADATA_FILE} cannot be read: FileNotFoundError"),
        (features.METADATA_FILE, _damage, f"{features.METADATA_FILE} has other classes than the evaluation: ['x']"),
    ],
    ids=["damaged graph", "no graph", "no variables", "no metadata", "other classes"],
)
def test_damaged_folder_is_refused(
    model: pathlib.Path,
    pictures: list[Picture],
    tmp_path: pathlib.Path,
    name: str,
    change: Callable[[pathlib.Path], None],
    reason: str,
) -> None:
    folder = shutil.copytree(model, tmp_path / "model")
    if "other classes" in reason:
        (folder / name).write_text('{"class_names": ["x"], "height_px": 32, "width_px": 48}')
    else:
        change(folder / name)
    check = _check(folder, pictures)
    assert not check.servable
    assert len(check.reasons) == 1 and check.reasons[0].startswith(reason)
    assert len(check.reasons[0]) < 500


@pytest.mark.parametrize(
    ("kind", "budgets", "reason"),
    [
        (NeedsPython, {}, ANSWERING),
        (Aborts, {}, f"{ANSWERING}the process died of SIGABRT"),
        (Drunk, {}, "its logits are not numbers"),
        *(
            pytest.param(*case, marks=pytest.mark.soak, id=case[0].__name__)
            for case in (
                (Strict, {}, f"{ANSWERING}InvalidArgumentError"),
                (Loops, {"max_seconds": 12}, "took longer than 12 s, while "),
                (
                    Hungry,
                    {"max_memory_gib": 1.5},
                    "took more than 1.5 GiB of memory, while answering pictures; raise check.max_m",
                ),
                (TooTall, {}, "0.jpg: its mask has 60 x 41 pixels; expected 60 x 40"),
                (WithoutLogits, {}, "there is no signature logits"),
                (OtherRest, {}, "serving_rest does not answer as serving_default does"),
            )
        ),
    ],
)
def test_broken_model_is_refused(
    pictures: list[Picture], tmp_path: pathlib.Path, kind: type[Tiny], budgets: dict[str, Any], reason: str
) -> None:
    check = _check(_save(kind(), tmp_path / "model"), pictures, **budgets)
    assert not check.servable
    assert check.reasons[0].startswith(reason), check.reasons


# The component.


def _run(
    model: pathlib.Path,
    evaluation: Evaluation,
    split: pathlib.Path,
    folder: pathlib.Path,
    blessed: int,
    max_megapixels: int = 1,
) -> tuple[standard_artifacts.InfraBlessing, dict[str, Any]]:
    candidate, verdict = standard_artifacts.Model(), standard_artifacts.ModelBlessing()
    evaluated, examples = standard_artifacts.ModelEvaluation(), standard_artifacts.Examples()
    blessing = standard_artifacts.InfraBlessing()
    verdict.set_int_custom_property("blessed", blessed)
    candidate.id = 7
    shutil.copytree(model, folder / "artifact/Format-Serving")
    write_evaluation(evaluation, str(folder))
    candidate.uri, evaluated.uri, examples.uri, blessing.uri = (
        str(path) for path in (folder / "artifact", folder, split, folder / "blessing")
    )
    examples.split_names = '["test"]'
    ServingCheck.EXECUTOR_SPEC.executor_class().Do(
        {"model": [candidate], "model_blessing": [verdict], "evaluation": [evaluated], "examples": [examples]},
        {"blessing": [blessing]},
        {"check": to_json(CheckConfig()), "max_megapixels": max_megapixels, "code_digest": "0"},
    )
    return blessing, json.loads((folder / "blessing" / CHECK_FILE).read_text())


def test_component_blesses_what_answers_as_in_the_evaluation(
    model: pathlib.Path, evaluation: Evaluation, split: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    # One of them evaluated on another device, where rounding has decided a pixel otherwise: its score is as good.
    first, *others = evaluation.images
    mixed = dataclasses.replace(evaluation, images=(dataclasses.replace(first, mask_sha256="of a GPU"), *others))
    blessing, details = _run(model, mixed, split, tmp_path, blessed=1)
    assert blessing.get_string_custom_property("reasons") == ""
    assert blessing.get_int_custom_property("blessed") == 1
    assert blessing.get_int_custom_property("current_model_id") == 7
    pictures = read_pictures(evaluation, [str(next((split / "Split-test").iterdir()))], 1_000_000)
    assert details["servable"] and details["pictures"] == [picture.name for picture in with_variants(pictures)]
    assert 0 < details["seconds"] < 120
    assert 2**28 < details["peak_memory_bytes"] < 2**32


def test_component_refuses_what_answers_otherwise_than_in_the_evaluation(
    evaluation: Evaluation, split: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    blessing, details = _run(_save(Shifted(), tmp_path / "other"), evaluation, split, tmp_path, blessed=1)
    assert blessing.get_int_custom_property("blessed") == 0
    assert blessing.get_int_custom_property("current_model_id") == 7
    reasons = blessing.get_string_custom_property("reasons").split("\n")
    assert reasons == details["reasons"]
    assert "its mask is another than in the evaluation: mean IoU " in reasons[0]


def test_component_does_not_try_what_is_not_blessed(
    model: pathlib.Path, evaluation: Evaluation, split: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.Popen", None)
    blessing, details = _run(model, evaluation, split, tmp_path, blessed=0)
    assert blessing.get_int_custom_property("blessed") == 0
    assert blessing.get_string_custom_property("reasons") == NOT_CHECKED
    assert not blessing.has_custom_property("current_model_id")  # It may have been tried before, and passed.
    assert details["reasons"] == [NOT_CHECKED] and details["pictures"] == []


def test_model_that_may_answer_none_of_the_pictures_is_refused(
    model: pathlib.Path, evaluation: Evaluation, split: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    blessing, _ = _run(model, evaluation, split, tmp_path, blessed=1, max_megapixels=0)
    assert blessing.get_int_custom_property("blessed") == 0
    assert blessing.get_string_custom_property("reasons") == NO_PICTURES


def test_missing_evaluation_is_an_error(
    model: pathlib.Path, evaluation: Evaluation, split: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("test_serving_check.write_evaluation", lambda evaluation, folder: None)
    with pytest.raises(tf.errors.NotFoundError, match=r"evaluation\.json"):
        _run(model, evaluation, split, tmp_path, blessed=1)


def test_budgets_are_checked() -> None:
    for name, value in (("max_seconds", 0), ("max_memory_gib", 0.0)):
        with pytest.raises(ValueError, match=f"check.{name} must be"):
            CheckConfig(**{name: value})
