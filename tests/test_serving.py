"""The SavedModel in a process without our code: what it answers to good, strange, broken and malicious pictures."""

import base64
import dataclasses
import io
import json
import pathlib
import struct
import subprocess
import sys
import textwrap
import zlib
from typing import Any

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from components import features, losses, serving
from components.models import registry
from pipeline_config import MODELS, ModelConfig, ServingConfig, TrainConfig, TransformConfig

TRANSFORM = TransformConfig(height_px=32, width_px=48)
MICRO_BATCH = 4
MAX_MEGAPIXELS = 4


def _encode(image: PIL.Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def _picture(seed: int, height: int, width: int) -> PIL.Image.Image:
    """Returns coloured blobs: a few random pixels, enlarged."""
    few = np.random.default_rng(seed).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    return PIL.Image.fromarray(few).resize((width, height), PIL.Image.Resampling.BICUBIC)


GOOD = {
    "jpeg": _encode(_picture(1, 40, 60), "JPEG", quality=90),
    "png": _encode(_picture(2, 51, 37)),
    "grey jpeg": _encode(_picture(3, 64, 33).convert("L"), "JPEG"),
    "one pixel": _encode(_picture(4, 1, 1)),
    "333x500": _encode(_picture(5, 500, 333), "JPEG"),
    "rgba png": _encode(_picture(6, 30, 31).convert("RGBA")),
    "palette png": _encode(_picture(7, 29, 70).convert("P")),
    "progressive jpeg": _encode(_picture(8, 65, 64), "JPEG", progressive=True),
    "1 bit png": _encode(_picture(9, 20, 21).convert("1")),
    "cmyk jpeg": _encode(_picture(10, 22, 25).convert("CMYK"), "JPEG"),
}
BAD = {
    "truncated jpeg": GOOD["jpeg"][: len(GOOD["jpeg"]) // 2],
    "truncated png": GOOD["png"][: len(GOOD["png"]) // 2],
    "flipped byte in a png": GOOD["png"][:60] + bytes([GOOD["png"][60] ^ 255]) + GOOD["png"][61:],
    "empty": b"",
    "text": b"This is no picture, whatever its name says.",
    "jpeg magic only": b"\xff\xd8",
    "png magic only": b"\x89PNG\r\n\x1a\n",
    "gif magic only": b"GIF89a",
    "bmp magic only": b"BM",
    "random bytes": np.random.default_rng(0).bytes(500),
    "tiff": _encode(_picture(11, 10, 10), "TIFF"),
    # TensorFlow would decode these two, but there is no telling from a GIF's header how large it becomes.
    "gif": _encode(_picture(12, 10, 10), "GIF"),
    "bmp": _encode(_picture(13, 10, 10), "BMP"),
}
# Bad ones first, last, and in between, so that both ends and each micro-batch have some.
MIXED = [*(name for pair in zip(BAD, GOOD, strict=False) for name in pair), "cmyk jpeg", "empty"]


def _png_of_size(width: int, height: int) -> bytes:
    """Returns a black PNG of one bit a pixel: a megapixel is about a hundred bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    deflate = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    rows = b"".join(deflate.compress(row) for _ in range(height)) + deflate.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _png_that_claims(width: int, height: int) -> bytes:
    small = _png_of_size(8, 8)
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:]


def _gif_whose_screen_is_one_pixel(width: int, height: int) -> bytes:
    """Returns a GIF that says 1x1 in its header, and a larger picture after it, which is what decoders return."""
    encoded = _encode(PIL.Image.new("P", (width, height)), "GIF")
    return encoded[:6] + struct.pack("<HH", 1, 1) + encoded[10:]


BOMBS = {
    "png that claims 60000x60000": _png_that_claims(60_000, 60_000),
    "png that claims 2**31 squared": _png_that_claims(2**31 - 1, 2**31 - 1),
    "whole png of 144 megapixels": _png_of_size(12_000, 12_000),
    "png of a row too many": _png_of_size(2000, 2001),
    "jpeg of a row too many": _encode(PIL.Image.new("L", (2000, 2001)), "JPEG"),
    "gif of a row too many": _encode(PIL.Image.new("P", (2000, 2001)), "GIF"),
    "gif of a row too many on a screen of one pixel": _gif_whose_screen_is_one_pixel(2000, 2001),
    "bmp of a row too many": _encode(PIL.Image.new("L", (2000, 2001)), "BMP"),
}
AT_THE_LIMIT = {
    "png": _png_of_size(2000, 2000),
    "jpeg": _encode(PIL.Image.new("L", (2000, 2000)), "JPEG"),
}

SERIES = [_encode(_picture(100 + number, 20 + 3 * number, 50 - 2 * number)) for number in range(9)]

CLIENT = """
    import base64, importlib.abc, json, sys, time

    class Refuse(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in ("components", "pipeline", "pipeline_config"):
                raise ImportError(f"{name} must not be needed")

    sys.meta_path.insert(0, Refuse())
    import numpy as np
    import tensorflow as tf

    def peak_mib():
        # Not ru_maxrss, which a process has from the one that started it.
        return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024

    loaded = tf.saved_model.load(sys.argv[1])
    answers = {}
    for name, signature, pictures in json.load(open(sys.argv[2])):
        batch = tf.constant([base64.b64decode(picture) for picture in pictures], tf.string, [len(pictures)])
        before, start = peak_mib(), time.monotonic()
        answer = loaded.signatures[signature](batch)
        assert set(answer) - {"score"} == {"mask", "error"}, answer
        answers[name] = {
            "mask": [base64.b64encode(mask).decode() for mask in answer["mask"].numpy()],
            "error": [error.decode() for error in answer["error"].numpy()],
            "score": [base64.b64encode(score).decode() for score in answer["score"].numpy()] if "score" in answer else [],
            "seconds": time.monotonic() - start,
            "grown_mib": peak_mib() - before,
        }
    images = np.load(sys.argv[3])
    np.save(sys.argv[3].replace("images", "logits"), loaded.signatures["logits"](tf.constant(images))["logits"].numpy())
    json.dump(answers, open(sys.argv[4], "w"))
    assert not [name for name in sys.modules if name.split(".")[0] in ("components", "pipeline", "pipeline_config")]
"""


@dataclasses.dataclass(frozen=True)
class Answer:
    """Of one request: a mask (or None), an error and, if asked for, scores (or None) a picture, and what it took."""

    masks: list[np.ndarray | None]
    errors: list[str]
    scores: list[np.ndarray | None]
    seconds: float
    grown_mib: float


@dataclasses.dataclass(frozen=True)
class Served:
    """The network, its export, and what a bare process got from it."""

    model: keras.Model
    folder: pathlib.Path
    answers: dict[str, Answer]
    images: np.ndarray
    logits: np.ndarray


def _example(image: bytes) -> bytes:
    """Returns a record with more in it than the signature needs, as ExampleGen's have."""
    strings = {features.IMAGE: image, features.FILENAME: b"a.jpg", features.LABEL: b"not looked at"}
    feature = {key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for key, value in strings.items()}
    feature[features.HEIGHT] = tf.train.Feature(int64_list=tf.train.Int64List(value=[7]))
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def _mask(encoded: bytes) -> np.ndarray | None:
    if not encoded:
        return None
    image = PIL.Image.open(io.BytesIO(encoded))
    assert (image.format, image.mode) == ("PNG", "L")
    return np.asarray(image)


def _trained_model() -> keras.Model:
    """Returns a U-Net after a step of Adam; the classes' mean logits are made equal, so that masks have several classes."""
    keras.utils.set_random_seed(3)
    model = registry.build(ModelConfig(filters=4, depth=2, dropout=0.2), 21)
    pictures = np.stack([np.asarray(_picture(seed, 32, 48)) for seed in range(8)]) / np.float32(255)
    last = model.get_layer("logits")
    hidden = keras.Model(model.input, last.input)(pictures)
    last.kernel.assign(np.random.default_rng(3).normal(0, 2, last.kernel.shape))
    last.bias.assign(-np.mean(hidden, axis=(0, 1, 2)) @ last.kernel.numpy()[0, 0])
    model.compile(keras.optimizers.Adam(1e-4), losses.make_loss(TrainConfig()))
    model.train_on_batch(pictures[:1], np.zeros((1, 32, 48), np.int32))
    return model


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """One export, and one process for all requests: it starts in another folder, isolated, and cannot import our code."""
    folder = tmp_path_factory.mktemp("serving")
    model = _trained_model()
    config = ServingConfig(micro_batch_size=MICRO_BATCH, max_megapixels=MAX_MEGAPIXELS)
    names = features.VOC_CLASSES
    serving.save(model, str(folder / "model"), TRANSFORM, config, names, features.voc_palette(len(names)))
    pictures = GOOD | BAD
    requests = [("warm up", "serving_default", [GOOD["jpeg"]])]
    # In this order, since the peak of the memory only ever rises.
    requests += [(f"limit: {name}", "serving_default", [picture]) for name, picture in AT_THE_LIMIT.items()]
    requests += [("limit: and a small one", "serving_default", [GOOD["jpeg"]])]
    requests += [(f"bomb: {name}", "serving_default", [bomb] * 4) for name, bomb in BOMBS.items()]
    requests += [("mixed", "serving_default", [pictures[name] for name in MIXED])]
    requests += [("examples", "serving_examples", [_example(pictures[name]) for name in MIXED])]
    requests += [("scores", "serving_scores", [pictures[name] for name in MIXED]), ("no scores", "serving_scores", [])]
    requests += [(f"alone: {name}", "serving_default", [picture]) for name, picture in pictures.items()]
    requests += [(f"series of {count}", "serving_default", SERIES[:count]) for count in (7, 8, 9)]
    requests += [(f"series alone {number}", "serving_default", [picture]) for number, picture in enumerate(SERIES)]
    requests += [("nothing", "serving_default", []), ("no examples", "serving_examples", [])]
    encoded = [(name, kind, [base64.b64encode(picture).decode() for picture in batch]) for name, kind, batch in requests]
    (folder / "requests.json").write_text(json.dumps(encoded))
    images = np.random.default_rng(1).random((3, 16, 24, 3)).astype(np.float32)
    np.save(folder / "images.npy", images)
    (folder / "elsewhere").mkdir()
    paths = [str(folder / name) for name in ("model", "requests.json", "images.npy", "answers.json")]
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", textwrap.dedent(CLIENT), *paths],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        cwd=folder / "elsewhere",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answers = {
        name: Answer(
            [_mask(base64.b64decode(mask)) for mask in answer["mask"]],
            answer["error"],
            [_mask(base64.b64decode(score)) for score in answer["score"]],
            answer["seconds"],
            answer["grown_mib"],
        )
        for name, answer in json.loads((folder / "answers.json").read_text()).items()
    }
    return Served(model, folder / "model", answers, images, np.load(folder / "logits.npy"))


def _size(encoded: bytes) -> tuple[int, int]:
    """Returns height and width, by Pillow."""
    width, height = PIL.Image.open(io.BytesIO(encoded)).size
    return height, width


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Tells whether two masks are the same, up to a pixel in a thousand: where two classes tie, rounding decides."""
    return one.shape == other.shape and float((one != other).mean()) <= 1e-3


@pytest.mark.parametrize("name", GOOD)
def test_picture_gets_a_mask_of_its_own_size(served: Served, name: str) -> None:
    answer = served.answers[f"alone: {name}"]
    assert answer.errors == [""]
    assert answer.masks[0] is not None
    assert answer.masks[0].shape == _size(GOOD[name])
    assert answer.masks[0].max() < 21


def test_masks_of_this_test_are_of_several_classes(served: Served) -> None:
    # Else the comparisons below would compare constants.
    for name in ("jpeg", "png", "333x500", "progressive jpeg"):
        _, counts = np.unique(served.answers[f"alone: {name}"].masks[0], return_counts=True)
        assert sorted(counts)[-2] > 0.02 * counts.sum(), name


@pytest.mark.parametrize("name", BAD)
def test_broken_picture_gets_an_error_and_no_mask(served: Served, name: str) -> None:
    answer = served.answers[f"alone: {name}"]
    assert answer.masks[0] is None
    assert answer.errors == [serving.UNREADABLE]


def test_broken_pictures_do_not_change_the_masks_of_the_others(served: Served) -> None:
    answer = served.answers["mixed"]
    assert len(answer.masks) == len(answer.errors) == len(MIXED)
    for name, mask, error in zip(MIXED, answer.masks, answer.errors, strict=True):
        if name in BAD:
            assert mask is None and error == serving.UNREADABLE, name
        else:
            alone = served.answers[f"alone: {name}"].masks[0]
            assert error == "" and mask is not None and alone is not None, name
            assert _same(mask, alone), name


@pytest.mark.parametrize("count", [7, 8, 9])
def test_micro_batches_neither_lose_nor_swap_pictures(served: Served, count: int) -> None:
    # Micro-batches of four: 4 + 3, 4 + 4, 4 + 4 + 1.
    answer = served.answers[f"series of {count}"]
    assert answer.errors == [""] * count
    for number, mask in enumerate(answer.masks):
        alone = served.answers[f"series alone {number}"].masks[0]
        assert mask is not None and alone is not None
        assert _same(mask, alone), number


@pytest.mark.parametrize("name", ["nothing", "no examples"])
def test_request_without_pictures_gets_an_answer_without_masks(served: Served, name: str) -> None:
    assert (served.answers[name].masks, served.answers[name].errors) == ([], [])


def test_examples_are_answered_as_their_pictures_are(served: Served) -> None:
    pictures, examples = served.answers["mixed"], served.answers["examples"]
    assert examples.errors == pictures.errors
    for name, one, other in zip(MIXED, pictures.masks, examples.masks, strict=True):
        assert (one is None) == (other is None), name
        assert one is None or other is None or _same(one, other), name


@pytest.mark.parametrize("name", BOMBS)
def test_picture_beyond_the_limit_is_refused(served: Served, name: str) -> None:
    answer = served.answers[f"bomb: {name}"]  # Four of them at once.
    assert [mask is None for mask in answer.masks] == [True] * 4
    assert answer.errors == [serving.UNREADABLE] * 4
    assert answer.seconds < 5


def test_pictures_beyond_the_limit_take_no_memory(served: Served) -> None:
    # Of all of them together, since the kernel may note a peak late. Decoded, one of 144 megapixels takes 412 MiB. Without
    # the BMP, whose 4 MB a picture are in the request itself; it comes last.
    grown = [served.answers[f"bomb: {name}"].grown_mib for name in BOMBS if not name.startswith("bmp")]
    assert len(grown) == len(BOMBS) - 1
    assert sum(grown) < 100


@pytest.mark.parametrize("name", AT_THE_LIMIT)
def test_picture_at_the_limit_is_answered(served: Served, name: str) -> None:
    answer = served.answers[f"limit: {name}"]
    assert answer.errors == [""]
    assert answer.masks[0] is not None and answer.masks[0].shape == (2000, 2000)


def test_large_pictures_are_answered_in_bounded_memory(served: Served) -> None:
    # One takes 11 MiB, 46 as float; the logits of 21 classes at its size would take 320.
    assert sum(served.answers[name].grown_mib for name in served.answers if name.startswith("limit")) < 200


def test_logits_are_the_models(served: Served) -> None:
    assert served.logits.shape == (3, 16, 24, 21)
    assert served.logits.dtype == np.float32
    np.testing.assert_allclose(served.logits, served.model(served.images, training=False), rtol=1e-4, atol=1e-4)


def _enlarge(logits: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear interpolation between pixel centres, in NumPy and float64: float [H, W, C] to float [height, width, C]."""

    def weights(size_in: int, size_out: int) -> np.ndarray:
        position = ((np.arange(size_out) + 0.5) * size_in / size_out - 0.5).clip(0, size_in - 1)
        below = np.floor(position).astype(int)
        above = np.minimum(below + 1, size_in - 1)
        matrix = np.zeros((size_out, size_in))
        np.add.at(matrix, (np.arange(size_out), below), 1 - (position - below))
        np.add.at(matrix, (np.arange(size_out), above), position - below)
        return matrix

    rows, columns = weights(logits.shape[0], height), weights(logits.shape[1], width)
    return np.einsum("hi,ijc,wj->hwc", rows, logits.astype(np.float64), columns, optimize=True)


@pytest.mark.parametrize("name", ["jpeg", "png", "one pixel", "333x500", "rgba png"])
def test_mask_is_the_best_class_of_the_enlarged_logits(served: Served, name: str) -> None:
    # Decoded by TensorFlow if a JPEG (decoders differ by a level or two), else by Pillow; all else is NumPy and the network.
    decoded = tf.io.decode_image(GOOD[name], channels=3).numpy()
    if "jpeg" not in name and name != "333x500":
        decoded = np.asarray(PIL.Image.open(io.BytesIO(GOOD[name])))[..., :3]
    resized = tf.image.resize(decoded, (32, 48), "bilinear", antialias=True).numpy().round().clip(0, 255)
    logits = _enlarge(served.model(resized[np.newaxis] / 255, training=False)[0].numpy(), *_size(GOOD[name]))
    runner_up, best = np.sort(logits, axis=-1)[..., -2:].transpose(2, 0, 1)
    clear = best - runner_up > 1e-3
    assert clear.mean() > 0.95
    mask = served.answers[f"alone: {name}"].masks[0]
    assert mask is not None
    assert np.array_equal(mask[clear], logits.argmax(-1)[clear])


def test_scores_come_with_the_masks_and_errors_of_the_default_signature(served: Served) -> None:
    plain, scored = served.answers["mixed"], served.answers["scores"]
    assert scored.errors == plain.errors
    for name, mask, other, score in zip(MIXED, plain.masks, scored.masks, scored.scores, strict=True):
        if name in BAD:
            assert mask is None and other is None and score is None
        else:
            assert mask is not None and other is not None and score is not None
            assert np.array_equal(mask, other), name
            assert score.shape == mask.shape


def test_score_is_the_probability_of_the_winning_class(served: Served) -> None:
    resized = tf.image.resize(tf.io.decode_image(GOOD["jpeg"]), (32, 48), "bilinear", antialias=True).numpy().round()
    logits = _enlarge(served.model(resized[np.newaxis] / 255, training=False)[0].numpy(), *_size(GOOD["jpeg"]))
    probability = 1 / np.exp(logits - logits.max(-1, keepdims=True)).sum(-1)
    assert probability.max() - probability.min() > 0.1  # Else a constant would do.
    score = served.answers["scores"].scores[MIXED.index("jpeg")]
    assert score is not None
    assert np.abs(score - 255 * probability).max() < 1  # Rounded to a whole number, and float32.


def test_request_for_scores_without_pictures_gets_none(served: Served) -> None:
    assert (served.answers["no scores"].masks, served.answers["no scores"].scores) == ([], [])


def test_decision_between_two_classes_can_be_computed_by_hand() -> None:
    # Odds of 1 : 3, 4 : 1 and 1 : 1; of equal ones the first wins.
    logits = np.log(np.array([[[1, 3], [4, 1], [2, 2]]], np.float32))
    ids, scores = serving.decide(tf.constant(logits))
    assert ids.numpy().tolist() == [[1, 0, 0]]
    assert scores.numpy().tolist() == [[191, 204, 128]]  # 255 * 0.75 = 191.25, 255 * 0.8, 127.5 to the even one


@pytest.mark.parametrize(
    ("height", "width"),
    [(1, 1), (2, 3), (5, 7), (63, 9), (64, 9), (65, 9), (128, 20), (200, 131), (1, 50), (50, 1)],
)
@pytest.mark.parametrize("limit", [0, serving._AT_ONCE])
def test_strips_give_the_ids_that_resizing_at_once_gives(
    height: int, width: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_AT_ONCE", limit)
    logits = np.random.default_rng(height * width).normal(0, 1, (6, 8, 5)).astype(np.float32)
    at_once = np.argmax(tf.image.resize(logits, (height, width)), axis=-1)
    eager = serving.best_classes(tf.constant(logits), tf.constant(height), tf.constant(width))
    assert eager.dtype == tf.uint8
    assert eager.shape == (height, width)
    assert _same(eager.numpy(), at_once)
    graph = tf.function(serving.best_classes)(tf.constant(logits), tf.constant(height), tf.constant(width))
    assert np.array_equal(graph, eager)
    scored, scores = serving.best_classes_with_scores(tf.constant(logits), tf.constant(height), tf.constant(width))
    assert np.array_equal(scored, eager)
    probabilities = tf.nn.softmax(tf.image.resize(logits, (height, width))).numpy().max(-1)
    assert np.abs(scores.numpy() - 255 * probabilities).max() < 1


def test_signatures_take_and_give_what_the_contract_says(served: Served) -> None:
    loaded = tf.saved_model.load(str(served.folder))
    assert set(loaded.signatures) == {"serving_default", "serving_rest", "serving_examples", "serving_scores", "logits"}
    scored = {"serving_scores": "images"}
    for name, argument in ({"serving_default": "images", "serving_examples": "examples"} | scored).items():
        signature = loaded.signatures[name]
        assert {key: (spec.dtype, spec.shape.as_list()) for key, spec in signature.structured_input_signature[1].items()} == {
            argument: (tf.string, [None])
        }
        assert {key: spec.dtype for key, spec in signature.structured_outputs.items()} == {
            "mask": tf.string,
            "error": tf.string,
        } | ({"score": tf.string} if name in scored else {})


def test_signature_for_rest_names_its_bytes_as_tensorflow_serving_wants_them(served: Served) -> None:
    loaded = tf.saved_model.load(str(served.folder))
    pictures = tf.constant([GOOD["jpeg"], BAD["text"], GOOD["png"]])
    answer, same = loaded.signatures["serving_rest"](images=pictures), loaded.signatures["serving_default"](images=pictures)
    assert set(answer) == {"mask_bytes", "error"}
    assert answer["mask_bytes"].numpy().tolist() == same["mask"].numpy().tolist()
    assert answer["error"].numpy().tolist() == same["error"].numpy().tolist() == [b"", serving.UNREADABLE.encode(), b""]


def test_export_has_the_weights_and_no_optimizer(served: Served) -> None:
    parameters = served.model.count_params()
    slots = sum(variable.value.shape.num_elements() for variable in served.model.optimizer.variables)
    assert slots > 2 * parameters  # Adam's two moments exist, and could be exported.
    size = sum(path.stat().st_size for path in (served.folder / "variables").glob("variables.data-*"))
    assert 4 * parameters <= size <= 4 * parameters + 4096


def test_signatures_share_one_network_for_pictures_of_its_size_and_one_for_others(served: Served) -> None:
    saved = saved_model_pb2.SavedModel.FromString((served.folder / "saved_model.pb").read_bytes())
    functions = saved.meta_graphs[0].graph_def.library.function
    assert sum(any(node.op == "Conv2D" for node in function.node_def) for function in functions) == 2


def test_metadata_beside_the_model_says_what_a_client_needs(served: Served) -> None:
    metadata = json.loads((served.folder / features.METADATA_FILE).read_text())
    assert metadata["class_names"][15] == "person"
    assert metadata["palette"][15] == [192, 128, 128]
    assert (metadata["ignore_label"], metadata["height_px"], metadata["width_px"]) == (255, 32, 48)
    assert (metadata["resize_method"], metadata["max_megapixels"]) == ("bilinear", MAX_MEGAPIXELS)


@pytest.mark.parametrize("width", [20_000, 1_000_000])
def test_picture_of_few_pixels_and_a_very_long_side_is_refused(width: int) -> None:
    """The logits are as wide as the picture: 661 bytes of PNG once took 7.5 GiB."""
    encoded = io.BytesIO()
    PIL.Image.new("RGB", (width, 1)).save(encoded, "PNG")
    with pytest.raises(tf.errors.InvalidArgumentError):
        serving.check_header(tf.constant(encoded.getvalue()), 32_000_000)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.soak) if name == "deeplabv3plus" else name for name in MODELS]
)
def test_every_architecture_answers_an_odd_picture_at_its_own_size(name: str, tmp_path: pathlib.Path) -> None:
    keras.utils.set_random_seed(0)
    config = ModelConfig(name=name, filters=2, depth=2, encoder_weights="none", frozen_batch_norm=False)
    model = registry.for_whole_pictures(registry.build(config, 5), config)
    transform = TransformConfig(height_px=64, width_px=128)
    serving.save(model, str(tmp_path / "model"), transform, ServingConfig(), "abcde", features.voc_palette(5))
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    pictures = [GOOD["333x500"], BAD["text"], GOOD["one pixel"]]
    examples = [_example(picture) for picture in pictures]
    for signature, batch in (("serving_default", pictures), ("serving_examples", examples)):
        answer = loaded.signatures[signature](tf.constant(batch))
        assert answer["error"].numpy().tolist() == [b"", serving.UNREADABLE.encode(), b""]
        masks = [_mask(mask) for mask in answer["mask"].numpy()]
        assert [mask if mask is None else mask.shape for mask in masks] == [(500, 333), None, (1, 1)]
    for size in ((64, 128), (33, 50), (1, 1)):
        images = np.random.default_rng(0).random((2, *size, 3), np.float32)
        logits = loaded.signatures["logits"](tf.constant(images))["logits"]
        assert logits.shape == (2, *size, 5)
        np.testing.assert_allclose(logits, model(images, training=False), rtol=1e-3, atol=1e-4)
