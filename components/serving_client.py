"""What a stranger's server does with a model: a script for a process of its own, with TensorFlow and none of our code.

    python -I serving_client.py MODEL REQUESTS ANSWERS

REQUESTS is JSON: `pictures` (base64, encoded pictures, the first undamaged), `height_px` and `width_px` (a size for `logits`).
ANSWERS becomes JSON, too: `stage` (what was being done last, in words), `error` (why that failed), `signatures`, `masks`
(base64), `errors`, `empty` (how many masks and errors no pictures got), `rest_same` (whether `serving_rest` gives the same
masks), `logits` (their shape, of the first picture) and `logits_finite` (whether they are numbers). What no signature answers
is not there.
"""

import base64
import ctypes
import importlib.abc
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

OURS = ("components", "pipeline", "pipeline_config")
ENDED = "ending"
"""The stage after the last: all was answered."""

_PR_SET_PDEATHSIG = 1


class Refuse(importlib.abc.MetaPathFinder):
    """Lets nobody import our code, wherever it is installed."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> None:
        """Looks at the top of a dotted name.

        Raises:
            ImportError: it is one of ours.
        """
        if fullname.partition(".")[0] in OURS:
            raise ImportError(f"{fullname} must not be needed")


def main(folder: str, requests_path: str, answers_path: str) -> None:
    """Loads the model and asks it; writes down what it is about to do before it does it, as it may not come back."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # Whoever started it may be killed.
    sys.meta_path.insert(0, Refuse())
    with open(requests_path) as file:
        requests = json.load(file)
    found: dict[str, Any] = {"error": ""}

    def at(stage: str) -> None:
        write(found | {"stage": stage}, answers_path)

    try:
        ask(folder, requests, found, at)
    except Exception as error:  # Whatever it is: it is the answer.
        write(found | {"stage": _stage(answers_path), "error": f"{type(error).__name__}: {error}"}, answers_path)


def ask(folder: str, requests: dict[str, Any], found: dict[str, Any], at: Callable[[str], None]) -> None:
    """Fills in what is found, stage by stage."""
    at("importing TensorFlow")
    import tensorflow as tf

    at("loading the model")
    signatures = tf.saved_model.load(folder).signatures
    found["signatures"] = {
        name: [
            {key: spec.dtype.name for key, spec in signature.structured_input_signature[1].items()},
            {key: spec.dtype.name for key, spec in signature.structured_outputs.items()},
        ]
        for name, signature in signatures.items()
    }
    if "serving_default" in signatures:
        at("answering pictures")
        pictures = [base64.b64decode(picture) for picture in requests["pictures"]]
        answer = signatures["serving_default"](images=tf.constant(pictures, tf.string))
        found["masks"] = [base64.b64encode(mask).decode() for mask in answer["mask"].numpy()]
        found["errors"] = [error.decode(errors="replace") for error in answer["error"].numpy()]
        at("answering a request without pictures")
        answer = signatures["serving_default"](images=tf.constant([], tf.string))
        found["empty"] = [len(answer["mask"].numpy()), len(answer["error"].numpy())]
        if "serving_rest" in signatures:
            at("answering pictures by serving_rest")
            rest = signatures["serving_rest"](images=tf.constant(pictures, tf.string))
            masks = [base64.b64encode(mask).decode() for mask in rest["mask_bytes"].numpy()]
            found["rest_same"] = masks == found["masks"]
    if "logits" in signatures:
        at("computing logits")
        image = tf.io.decode_image(base64.b64decode(requests["pictures"][0]), channels=3, expand_animations=False)
        images = tf.image.resize(image[tf.newaxis], [requests["height_px"], requests["width_px"]]) / 255.0
        logits = signatures["logits"](images=images)["logits"]
        found["logits"] = logits.shape.as_list()
        found["logits_finite"] = bool(tf.reduce_all(tf.math.is_finite(logits)))
    ours = sorted(name for name in sys.modules if name.partition(".")[0] in OURS)
    if ours:
        raise ImportError(f"{', '.join(ours)} had been imported")
    at(ENDED)


def write(found: dict[str, Any], path: str) -> None:
    """Writes the answers, whole or not at all."""
    with open(f"{path}.partial", "w") as file:
        json.dump(found, file)
    os.replace(f"{path}.partial", path)


def _stage(path: str) -> str:
    with open(path) as file:
        return str(json.load(file)["stage"])


if __name__ == "__main__":
    main(*sys.argv[1:])
