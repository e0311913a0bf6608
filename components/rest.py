"""TensorFlow Serving's REST API, as far as encoded pictures need it: request bodies to pictures, answers to JSON.

What is taken and given follows its `json_tensor.cc`: rows (`instances`) or columns (`inputs`), an input by its name or, being
the only one, by itself; bytes as `{"b64": ...}` in the request, and in the answer for an output whose name ends in `_bytes`.
"""

import base64
import binascii
import dataclasses
import json
from collections.abc import Sequence
from typing import Any

INPUT = "images"
DEFAULT_SIGNATURE = "serving_default"
MASK_OUTPUTS = {DEFAULT_SIGNATURE: "mask", "serving_rest": "mask_bytes"}
"""The output that has the masks, by the signature that takes encoded pictures."""

MAX_PICTURES = 256
"""Most pictures in a request: a megapixel of PNG may be a hundred bytes."""


class RequestError(Exception):
    """A request that cannot be answered.

    Attributes:
        status: of HTTP, 4xx or 503.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        """Takes what was wrong, for the client to read."""
        super().__init__(message)
        self.status = status


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictRequest:
    """What a body asks for.

    Attributes:
        signature: its name.
        images: the encoded pictures.
        rows: whether the answer is to be in rows (`predictions`), not in columns (`outputs`).
    """

    signature: str
    images: list[bytes]
    rows: bool


def parse_predict(body: bytes) -> PredictRequest:
    """Reads the body of a `:predict`.

    Raises:
        RequestError: it is not such a body, or has too many pictures.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise RequestError("JSON Value: Is not object")
    signature = document.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(signature, str):
        raise RequestError("'signature_name' key must be a string value.")
    if ("instances" in document) == ("inputs" in document):
        raise RequestError("Expecting either an 'instances' or an 'inputs' key, and only one of them.")
    rows = "instances" in document
    values = _row_values(document["instances"]) if rows else _column_values(document["inputs"])
    if len(values) > MAX_PICTURES:
        raise RequestError(
            f"{len(values)} pictures in a request; at most {MAX_PICTURES} are taken. Send several requests.", 413
        )
    images = [_decode(value, number) for number, value in enumerate(values)]
    return PredictRequest(signature=signature or DEFAULT_SIGNATURE, images=images, rows=rows)


def format_predict(request: PredictRequest, answers: Sequence[tuple[bytes, str]]) -> dict[str, Any]:
    """Returns the answer's JSON object.

    Args:
        request: what was asked.
        answers: PNG (b"" where unreadable) and error (empty where good) a picture.
    """
    name = MASK_OUTPUTS[request.signature]
    columns = {name: [encode_bytes(mask) for mask, _ in answers], "error": [error for _, error in answers]}
    if not request.rows:
        return {"outputs": columns}
    return {"predictions": [{name: mask, "error": error} for mask, error in zip(*columns.values(), strict=True)]}


def format_status(version: int) -> dict[str, Any]:
    """Returns the JSON object of a model's status."""
    status = {"error_code": "OK", "error_message": ""}
    return {"model_version_status": [{"version": str(version), "state": "AVAILABLE", "status": status}]}


def format_metadata(name: str, version: int, signatures: Sequence[str]) -> dict[str, Any]:
    """Returns the JSON object of a model's metadata: its signatures for encoded pictures."""

    def tensor() -> dict[str, Any]:
        return {"dtype": "DT_STRING", "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}, "name": ""}

    definitions = {
        signature: {
            "inputs": {INPUT: tensor()},
            "outputs": {MASK_OUTPUTS[signature]: tensor(), "error": tensor()},
            "method_name": "tensorflow/serving/predict",
        }
        for signature in signatures
    }
    spec = {"name": name, "signature_name": "", "version": str(version)}
    return {"model_spec": spec, "metadata": {"signature_def": {"signature_def": definitions}}}


def encode_bytes(content: bytes) -> dict[str, str]:
    """Returns bytes as JSON can carry them."""
    return {"b64": base64.b64encode(content).decode()}


def _row_values(instances: Any) -> list[Any]:
    """Returns a value a picture, of a list of values or of objects with the input's name."""
    if not isinstance(instances, list) or not instances:
        raise RequestError("Expecting 'instances' to be a list with at least one element.")
    named = [isinstance(item, dict) and not _is_base64(item) for item in instances]
    if not any(named):
        return instances
    for number, item in enumerate(instances):
        if not named[number] or set(item) != {INPUT}:
            raise RequestError(
                f"Failed to process element: {number} of 'instances' list. Expecting values, or objects whose only key is "
                f"'{INPUT}', and not both."
            )
    return [item[INPUT] for item in instances]


def _column_values(inputs: Any) -> list[Any]:
    if isinstance(inputs, dict) and not _is_base64(inputs):
        if INPUT not in inputs:
            raise RequestError(f"Missing named input: {INPUT} in 'inputs' object.")
        inputs = inputs[INPUT]
    if not isinstance(inputs, list):
        raise RequestError(f"Expecting a list of pictures as the input '{INPUT}'.")
    return inputs


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def _decode(value: Any, number: int) -> bytes:
    """Returns the bytes of a value: base64 with or without padding, or a string as it stands."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if not _is_base64(value):
        raise RequestError(f'Picture {number} is not formatted correctly: expecting {{"b64": "..."}}.')
    text = "".join(value["b64"].split()).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(f"Picture {number}: Unable to base64 decode: {error}") from error
