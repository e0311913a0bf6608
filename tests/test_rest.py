"""TensorFlow Serving's request and answer bodies, by hand."""

import base64
import json
from typing import Any

import pytest

from components import rest

AB, CDE = {"b64": "YWI="}, {"b64": "Y2Rl"}  # b"ab" and b"cde".


def _parse(document: Any) -> rest.PredictRequest:
    return rest.parse_predict(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("document", "rows"),
    [
        ({"instances": [AB, CDE]}, True),
        ({"instances": [{"images": AB}, {"images": CDE}]}, True),
        ({"instances": ["ab", CDE]}, True),
        ({"inputs": [AB, CDE]}, False),
        ({"inputs": {"images": [AB, CDE]}}, False),
        ({"inputs": {"images": ["ab", "cde"]}}, False),
    ],
)
def test_pictures_are_read_from_rows_and_columns_by_name_or_alone(document: dict, rows: bool) -> None:
    assert _parse(document) == rest.PredictRequest(signature="serving_default", images=[b"ab", b"cde"], rows=rows)


@pytest.mark.parametrize("text", ["YWI=", "YWI", "Y\nWI=\n"])
def test_base64_is_read_with_and_without_padding_and_line_breaks(text: str) -> None:
    assert _parse({"instances": [{"b64": text}]}).images == [b"ab"]


def test_signature_is_the_one_named() -> None:
    assert _parse({"signature_name": "serving_rest", "inputs": [AB]}).signature == "serving_rest"
    assert _parse({"signature_name": "", "inputs": [AB]}).signature == "serving_default"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "JSON Parse error"),
        (b"{", "JSON Parse error"),
        (b"\xff\xfe\x00", "JSON Parse error"),
        (b"[" * 100_000, "JSON Parse error"),
        (b"[]", "Is not object"),
        (b"{}", "'instances' or an 'inputs'"),
        (b'{"inputs": [], "instances": []}', "only one of them"),
        (b'{"instances": []}', "at least one element"),
        (b'{"instances": {"b64": "YWI="}}', "at least one element"),
        (b'{"instances": [1]}', "Picture 0"),
        (b'{"instances": [{"b64": "YWI="}, null]}', "Picture 1"),
        (b'{"instances": [[{"b64": "YWI="}]]}', "Picture 0"),
        (b'{"instances": [{"b64": 1}]}', "element: 0"),
        (b'{"instances": [{"images": 1}]}', "Picture 0"),
        (b'{"instances": [{"images": {"b64": "YWI="}, "more": 1}]}', "element: 0"),
        (b'{"instances": [{"images": {"b64": "YWI="}}, {"b64": "YWI="}]}', "element: 1"),
        (b'{"instances": [{"b64": "!!!!"}]}', "Unable to base64 decode"),
        (b'{"instances": [{"b64": "YWIYW"}]}', "Unable to base64 decode"),
        (b'{"instances": [{"b64": "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"}]}', "Unable to base64 decode"),
        (b'{"inputs": {"pictures": []}}', "Missing named input: images"),
        (b'{"inputs": {"b64": "YWI="}}', "Expecting a list"),
        (b'{"inputs": 1}', "Expecting a list"),
        (b'{"signature_name": 1, "inputs": []}', "must be a string"),
    ],
)
def test_wrong_body_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(rest.RequestError, match=reason) as caught:
        rest.parse_predict(body)
    assert caught.value.status == 400


def test_too_many_pictures_are_refused() -> None:
    assert len(_parse({"inputs": [AB] * rest.MAX_PICTURES}).images) == rest.MAX_PICTURES
    with pytest.raises(rest.RequestError, match="at most 256") as caught:
        _parse({"inputs": [AB] * (rest.MAX_PICTURES + 1)})
    assert caught.value.status == 413


ANSWERS = [(b"\x89PNG", ""), (b"", "bad")]


def test_rows_are_answered_in_rows_and_columns_in_columns() -> None:
    good, bad = {"b64": base64.b64encode(b"\x89PNG").decode()}, {"b64": ""}
    rows = rest.PredictRequest(signature="serving_default", images=[], rows=True)
    assert rest.format_predict(rows, ANSWERS) == {"predictions": [{"mask": good, "error": ""}, {"mask": bad, "error": "bad"}]}
    columns = rest.PredictRequest(signature="serving_rest", images=[], rows=False)
    assert rest.format_predict(columns, ANSWERS) == {"outputs": {"mask_bytes": [good, bad], "error": ["", "bad"]}}


def test_status_is_what_clients_of_tensorflow_serving_wait_for() -> None:
    status = {"version": "7", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert rest.format_status(7) == {"model_version_status": [status]}


def test_metadata_names_inputs_and_outputs() -> None:
    metadata = rest.format_metadata("m", 7, ["serving_rest"])
    assert metadata["model_spec"] == {"name": "m", "signature_name": "", "version": "7"}
    ((name, definition),) = metadata["metadata"]["signature_def"]["signature_def"].items()
    assert (name, set(definition["inputs"]), set(definition["outputs"])) == (
        "serving_rest",
        {"images"},
        {"mask_bytes", "error"},
    )
