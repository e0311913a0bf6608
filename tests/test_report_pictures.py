"""Which pictures a report shows, and what it says of their pixels."""

import base64
import hashlib
import io
import pathlib

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from components import features
from components.errors import VocsegError
from components.evaluation import ImageScore, mask_digest
from pipeline import report_pictures


def _score(name: str, mean_iou: float | None = 0.5, digest: str = "") -> ImageScore:
    return ImageScore(filename=name, mean_iou=mean_iou, baseline_mean_iou=None, mask_sha256=digest)


def _names(chosen: dict[str, tuple[ImageScore, ...]]) -> dict[str, str]:
    return {group: "".join(score.filename for score in scores) for group, scores in chosen.items()}


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, ("", "", "")),
        (1, ("a", "", "")),
        (2, ("a", "", "b")),
        (3, ("a", "b", "c")),
        (4, ("ab", "c", "d")),
        (9, ("abc", "def", "ghi")),
        (13, ("abc", "fgh", "klm")),
    ],
)
def test_worst_median_and_best_share_no_picture(count: int, expected: tuple[str, str, str]) -> None:
    scores = [_score(chr(ord("a") + number), number / 100) for number in range(count)]
    chosen = report_pictures.choose(reversed(scores))
    assert list(chosen) == ["best", "median", "worst"]
    assert _names(chosen) == dict(zip(("worst", "median", "best"), expected, strict=True))


def test_picture_without_a_score_is_passed_over() -> None:
    assert _names(report_pictures.choose([_score("a", None), _score("b", 0.0)])) == {"worst": "b", "median": "", "best": ""}


def test_error_map_by_hand() -> None:
    truth = np.array([[0, 1, 255], [2, 2, 255]], np.uint8)
    prediction = np.array([[0, 2, 0], [2, 0, 2]], np.uint8)
    right, wrong, void = report_pictures.RIGHT, report_pictures.WRONG, report_pictures.VOID
    errors = report_pictures.error_map(truth, prediction)
    assert errors.dtype == np.uint8
    assert errors.tolist() == [[right, wrong, void], [right, wrong, void]]
    assert report_pictures.wrong_share(errors) == 0.5
    assert report_pictures.wrong_share(np.full((2, 2), void, np.uint8)) is None


@pytest.mark.parametrize(
    ("size", "expected"), [((500, 375), (320, 240)), ((375, 500), (240, 320)), ((320, 1), (320, 1)), ((16000, 4), (320, 1))]
)
def test_pictures_are_scaled_down_and_never_up(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert report_pictures.scaled_size(*size) == expected


def test_masks_have_the_models_colours_and_void_is_white() -> None:
    colors = report_pictures.mask_colors([(0, 0, 0), (9, 8, 7)])
    assert (len(colors), colors[1], colors[features.IGNORE_LABEL]) == (256, (9, 8, 7), (255, 255, 255))


def _png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()


def _write_examples(folder: pathlib.Path, names: list[str]) -> None:
    (folder / "Split-test").mkdir(parents=True)
    with tf.io.TFRecordWriter(str(folder / "Split-test" / "data_tfrecord-00000-of-00001.gz"), "GZIP") as writer:
        for number, name in enumerate(names):
            values = {
                features.FILENAME: name.encode(),
                features.IMAGE: _png(np.full((4, 6, 3), number, np.uint8)),
                features.LABEL: _png(np.full((4, 6), number, np.uint8)),
            }
            feature = {key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for key, value in values.items()}
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


def test_records_are_found_by_file_name(tmp_path: pathlib.Path) -> None:
    _write_examples(tmp_path, ["a.png", "ü b.png", "c.png"])
    found = report_pictures.read_pairs(str(tmp_path), "test", ["c.png", "ü b.png", "gone.png"])
    assert sorted(found) == ["c.png", "ü b.png"]
    assert np.asarray(PIL.Image.open(io.BytesIO(found["c.png"][1]))).tolist() == np.full((4, 6), 2).tolist()
    assert report_pictures.read_pairs(str(tmp_path), "test", []) == {}
    with pytest.raises(FileNotFoundError):
        report_pictures.read_pairs(str(tmp_path), "eval", ["a.png"])


PALETTE = ((0, 0, 0), (0, 200, 0))
MASK = np.ones((4, 6), np.uint8)


def _decode(uri: str) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2])))


def test_picture_is_drawn_with_truth_prediction_and_errors() -> None:
    label = np.zeros((4, 6), np.uint8)
    label[:2] = 1
    label[3] = 255
    pair = (_png(np.full((4, 6, 3), 90, np.uint8)), _png(label))
    drawn = report_pictures.draw(_score("a", digest=mask_digest(MASK)), *pair, MASK, "", PALETTE)
    assert (drawn.size, drawn.classes, drawn.wrong, drawn.note) == ((6, 4), (0, 1), 6 / 18, "")
    assert np.asarray(_decode(drawn.truth)).tolist() == label.tolist()
    assert _decode(drawn.prediction).convert("RGB").getpixel((0, 0)) == (0, 200, 0)
    errors = _decode(drawn.error_map).convert("RGB")
    assert [errors.getpixel((0, y)) for y in (0, 2, 3)] == [(150, 150, 150), (200, 0, 0), (255, 255, 255)]
    assert drawn.image.startswith("data:image/jpeg;base64,")


def test_share_of_wrong_pixels_is_that_of_the_picture_before_it_is_shrunk() -> None:
    label = np.zeros((4, 640), np.uint8)
    label[:, ::2] = 1  # Every second column: a picture of half the width has all or none.
    pair = (_png(np.zeros((4, 640, 3), np.uint8)), _png(label))
    drawn = report_pictures.draw(_score("a"), *pair, np.ones((4, 640), np.uint8), "", PALETTE)
    assert (drawn.size, drawn.wrong) == ((320, 2), 0.5)


def test_picture_that_the_model_refuses_or_predicts_otherwise_says_so() -> None:
    pair = (_png(np.zeros((4, 6, 3), np.uint8)), _png(np.zeros((4, 6), np.uint8)))
    refused = report_pictures.draw(_score("a"), *pair, None, "too large", PALETTE)
    assert (refused.prediction, refused.error_map, refused.wrong, refused.classes) == ("", "", None, (0,))
    assert "too large" in refused.note
    assert "not the same" in report_pictures.draw(_score("a", digest="0" * 64), *pair, MASK, "", PALETTE).note


def test_digest_of_a_mask_is_that_of_its_size_and_ids() -> None:
    assert mask_digest(np.array([[1, 2, 3], [4, 5, 6]], np.uint8)) == hashlib.sha256(b"2x3:\1\2\3\4\5\6").hexdigest()


def test_chosen_pictures_are_found_predicted_and_drawn(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Model:
        palette = PALETTE

        def __init__(self, folder: pathlib.Path) -> None:
            assert folder == tmp_path / "trained"

        def predict(self, encoded: list[bytes]) -> list[tuple[np.ndarray | None, str]]:
            # The class is the picture's grey, by which a mix-up would show.
            return [(np.asarray(PIL.Image.open(io.BytesIO(one)))[..., 0], "") for one in encoded]

    monkeypatch.setattr("components.prediction.Model", Model)
    _write_examples(tmp_path, ["a.png", "b.png"])
    chosen = {"worst": (_score("b.png"), _score("gone.png")), "median": (), "best": (_score("a.png"),)}
    gallery = report_pictures.draw_all(chosen, str(tmp_path), "test", str(tmp_path / "trained"))
    assert _drawn_names(gallery) == {"worst": ["b.png"], "median": [], "best": ["a.png"]}
    assert (gallery.groups["worst"][0].classes, gallery.groups["best"][0].classes) == ((1,), (0,))
    assert [one.wrong for group in gallery.groups.values() for one in group] == [0.0, 0.0]
    with pytest.raises(VocsegError, match="The pictures are gone"):
        report_pictures.draw_all(chosen, str(tmp_path), "eval", str(tmp_path / "trained"))


def _drawn_names(gallery: report_pictures.Gallery) -> dict[str, list[str]]:
    return {name: [drawn.score.filename for drawn in group] for name, group in gallery.groups.items()}
