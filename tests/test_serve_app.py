"""The application's answers, without a socket and with a fake model."""

import base64
import io
import json
import pathlib
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import PIL.Image
import pytest
from fake_model import UNREADABLE, FakeModel, make_version
from werkzeug.test import Client

from components import rest
from components.served_models import Answer, ServedModels
from pipeline import picture_answer, serve_app
from pipeline.serve_app import App

PNG = b"\x89PNG\r\n\x1a\n and more"
B64 = {"b64": base64.b64encode(PNG).decode()}


@pytest.fixture
def app(tmp_path: pathlib.Path) -> App:
    make_version(tmp_path, "7")
    return App(ServedModels(tmp_path, FakeModel), "pets.v1", slots=2)


@pytest.fixture
def client(app: App) -> Client:
    return Client(app)


def _mask(b64: dict[str, str]) -> list:
    return np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(b64["b64"])))).tolist()


@pytest.mark.parametrize("path", ["/v1/models/pets.v1:predict", "/v1/models/pets.v1/versions/7:predict"])
def test_predict_answers_each_picture_in_its_row(client: Client, path: str) -> None:
    answer = client.post(path, json={"instances": [B64, {"b64": "QUJD"}]})
    assert answer.status_code == 200
    good, bad = answer.json["predictions"]
    assert (_mask(good["mask"]), good["error"]) == ([[1, 1, 1, 0, 0, 0]] * 4, "")
    assert bad == {"mask": {"b64": ""}, "error": UNREADABLE}


def test_signature_for_rest_names_its_output_as_tensorflow_serving_does(client: Client) -> None:
    answer = client.post("/v1/models/pets.v1:predict", json={"signature_name": "serving_rest", "inputs": {"images": [B64]}})
    assert set(answer.json["outputs"]) == {"mask_bytes", "error"}
    assert _mask(answer.json["outputs"]["mask_bytes"][0])[0] == [1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/models/pets.v1:predict", "{", 400),
        ("POST", "/v1/models/pets.v1:predict", "", 400),
        ("POST", "/v1/models/pets.v1:predict", '{"signature_name": "logits", "inputs": []}', 400),
        ("POST", "/v1/models/pets.v1:predict", '{"signature_name": "unknown", "inputs": []}', 400),
        ("POST", "/v1/models/cars:predict", '{"inputs": []}', 404),
        ("POST", "/v1/models/pets.v1/versions/8:predict", '{"inputs": []}', 404),
        ("POST", "/v1/models/pets.v1/versions/x:predict", '{"inputs": []}', 404),
        ("POST", "/v1/models/pets.v1:classify", "{}", 405),
        ("GET", "/v1/models/cars", "", 404),
        ("GET", "/v1/models/pets.v1/versions/8", "", 404),
        ("GET", "/../../etc/passwd", "", 404),
        ("GET", "/predict", "", 405),
        ("POST", "/", "", 405),
        ("POST", "//predict", "x", 404),
        ("POST", "/predict", "", 400),
        ("POST", "/predict", "This is no picture.", 415),
        ("POST", "/predict", "\x89PNG", 415),  # As UTF-8, its first byte is another.
    ],
)
def test_what_cannot_be_answered_gets_a_4xx_with_the_reason(
    client: Client, method: str, path: str, body: str, status: int
) -> None:
    answer = client.open(path, method=method, data=body.encode(), content_type="application/octet-stream")
    assert answer.status_code == status
    assert list(answer.json) == ["error"] and len(answer.json["error"]) > 10


def test_status_and_metadata_and_health_name_the_version(client: Client) -> None:
    for path in ("/v1/models/pets.v1", "/v1/models/pets.v1/versions/7"):
        assert client.get(path).json == rest.format_status(7)
        metadata = client.get(f"{path}/metadata").json
        assert metadata == rest.format_metadata("pets.v1", 7, ["serving_default", "serving_rest"])
    assert client.get("/healthz").json == {"status": "ok", "model": "pets.v1", "version": "7"}


def test_picture_is_answered_with_mask_legend_and_boxes(client: Client) -> None:
    raw = client.post("/predict", data=PNG, content_type="image/png")
    as_form = client.post("/predict", data={"picture": (io.BytesIO(PNG), "../../a.png")})
    undeclared = client.post("/predict", data=PNG, content_type="application/x-www-form-urlencoded")  # As curl has it.
    assert raw.status_code == 200
    assert raw.json == as_form.json == undeclared.json
    answer: dict[str, Any] = dict(raw.json)
    image = PIL.Image.open(io.BytesIO(base64.b64decode(answer.pop("mask"))))
    assert image.mode == "P" and np.asarray(image).tolist() == [[1, 1, 1, 0, 0, 0]] * 4
    pixels = np.asarray(image.convert("RGBA"))
    assert pixels[0, 0].tolist() == [255, 0, 0, 255]
    assert pixels[0, 5].tolist() == [0, 0, 0, 0]  # Background, through which the page shows the picture.
    assert answer == {
        "model": "pets.v1",
        "version": "7",
        "height": 4,
        "width": 6,
        "legend": [
            {"class": "background", "color": "#000000", "pixels": 12, "share": 0.5},
            {"class": "cat", "color": "#ff0000", "pixels": 12, "share": 0.5},
        ],
        "boxes": [
            {"class": "cat", "left": 0, "top": 0, "right": 3, "bottom": 4, "area": 12, "mean_score": 0.75, "color": "#ff0000"}
        ],
    }


def test_first_class_has_boxes_and_a_colour_where_it_is_no_background() -> None:
    answer = picture_answer.describe(np.zeros((2, 3), np.uint8), None, ("road", "sky"), ((1, 2, 3), (4, 5, 6)))
    assert [(box["class"], box["mean_score"]) for box in answer["boxes"]] == [("road", None)]
    image = PIL.Image.open(io.BytesIO(base64.b64decode(answer["mask"]))).convert("RGBA")
    assert np.asarray(image)[0, 0].tolist() == [1, 2, 3, 255]


def test_damaged_picture_is_told_from_what_is_none(client: Client) -> None:
    answer = client.post("/predict", data=PNG + b"damaged")
    assert (answer.status_code, answer.json) == (422, {"error": UNREADABLE})


def test_body_over_the_limit_is_refused(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_app, "MAX_BODY_BYTES", 2**20)
    for path in ("/predict", "/v1/models/pets.v1:predict"):
        answer = client.post(path, data=bytes(2**20 + 1))
        assert answer.status_code == 413
        assert "1 MB" in answer.json["error"]


def _png_header(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height)


def test_picture_that_is_too_large_by_its_header_is_told_so(client: Client) -> None:
    assert client.post("/predict", data=_png_header(10, 10)).status_code == 200
    answer = client.post("/predict", data=_png_header(11, 10))
    assert answer.status_code == 413
    assert answer.json["error"].startswith("too large a picture: 11 x 10 pixels")


def test_pictures_with_too_many_pixels_together_are_refused_before_the_model_sees_them(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb, full, small = (rest.encode_bytes(_png_header(*size)) for size in ((1000, 1000), (10, 10), (1, 1)))
    path = "/v1/models/pets.v1:predict"
    answer = client.post(path, json={"instances": [full, bomb, full]})  # The model refuses the bomb unseen.
    assert len(answer.json["predictions"]) == 3
    monkeypatch.setattr(FakeModel, "answer", None)
    answer = client.post(path, json={"instances": [full, full, small]})
    assert answer.status_code == 413
    assert "Send several requests" in answer.json["error"]


class _Blocked(FakeModel):
    """Answers what says so only when it may."""

    may_end = threading.Event()
    inside = threading.Semaphore(0)

    def predict_each(self, encoded: list[bytes], scored: bool = False) -> Iterator[Answer]:
        if b"blocks" in encoded[0]:
            self.inside.release()
            assert self.may_end.wait(20)
        return super().predict_each(encoded, scored)


def test_overload_asks_to_come_back_and_all_else_is_answered(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_app, "MAX_REQUESTS", 3)
    monkeypatch.setattr(serve_app, "WAIT_S", 0.2)
    make_version(tmp_path, "7")
    app = App(ServedModels(tmp_path, _Blocked), "pets.v1", slots=2)
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(Client(app).post("/predict", data=PNG + b"blocks").status_code))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert _Blocked.inside.acquire(timeout=20)
    for path in ("/predict", "/v1/models/pets.v1:predict"):  # In, but no slot gets free.
        answer = Client(app).post(path, data=PNG)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert "busy" in answer.json["error"]
    monkeypatch.setattr(serve_app, "WAIT_S", 20.0)
    third = threading.Thread(target=lambda: statuses.append(Client(app).post("/predict", data=PNG).status_code))
    third.start()
    end = time.monotonic() + 20
    while app._entered._value:
        assert time.monotonic() < end
        time.sleep(0.01)
    answer = Client(app).post("/predict", data=PNG)  # Not even in.
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "3 requests" in answer.json["error"]
    assert Client(app).get("/healthz").status_code == 200
    _Blocked.may_end.set()
    for thread in (*threads, third):
        thread.join()
    assert statuses == [200] * 3
    assert Client(app).post("/predict", data=PNG).status_code == 200


def test_failure_of_the_model_is_a_500_without_its_insides(
    app: App, client: Client, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    def fail(self: FakeModel, encoded: list[bytes], scored: bool) -> None:
        raise ValueError("secret path")

    monkeypatch.setattr(FakeModel, "predict_each", fail)
    answer = client.post("/predict", data=PNG)
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "ValueError: secret path" in capfd.readouterr().err


def test_no_more_requests_than_slots_are_in_the_model(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most = 0, 0
    lock = threading.Lock()
    real = FakeModel.predict_each

    def predict_each(self: FakeModel, encoded: list[bytes], scored: bool) -> Iterator[Answer]:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.02)
        with lock:
            inside -= 1
        return real(self, encoded, scored)

    monkeypatch.setattr(FakeModel, "predict_each", predict_each)
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(Client(app).post("/predict", data=PNG).status_code)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 8
    assert most == 2


def test_page_names_the_model_and_asks_nobody_else(tmp_path: pathlib.Path) -> None:
    make_version(tmp_path, "7")
    page = Client(App(ServedModels(tmp_path, FakeModel), "<b>&", slots=1)).get("/")
    assert page.status_code == 200
    assert page.mimetype == "text/html"
    assert "&lt;b&gt;&amp;" in page.text and "<b>&" not in page.text
    assert '<strong id="version">7</strong>' in page.text
    assert "@" not in page.text.replace("@photo.jpg", "").replace("@media", "")  # No placeholder is left.
    assert "://" not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_json_of_answers_is_ascii(client: Client) -> None:
    answer = client.post("/v1/models/pets.v1:predict", data=json.dumps({"instances": [B64]}))
    assert answer.data.isascii()
