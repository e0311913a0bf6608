"""The application's answers, without a socket and with a fake model."""

import base64
import io
import json
import pathlib
import threading
import time
from typing import Any

import numpy as np
import PIL.Image
import pytest
from fake_model import UNREADABLE, FakeModel, make_version
from werkzeug.test import Client

from components import picture_answer, rest
from components.served_models import ServedModels
from pipeline import serve_app
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
        "boxes": [{"class": "cat", "color": "#ff0000", "left": 0, "top": 0, "right": 3, "bottom": 4, "area_px": 12}],
    }


def test_first_class_has_boxes_and_a_colour_where_it_is_no_background() -> None:
    buffer = io.BytesIO()
    PIL.Image.fromarray(np.zeros((2, 3), np.uint8)).save(buffer, "PNG")
    answer = picture_answer.describe(buffer.getvalue(), ("road", "sky"), ((1, 2, 3), (4, 5, 6)))
    assert [box["class"] for box in answer["boxes"]] == ["road"]
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


def test_overload_asks_to_come_back(app: App, client: Client) -> None:
    app.waiting = lambda: serve_app.MAX_WAITING + 1
    for path in ("/predict", "/v1/models/pets.v1:predict"):
        answer = client.post(path, data=PNG)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"
    assert client.get("/healthz").status_code == 200
    app.waiting = lambda: serve_app.MAX_WAITING
    assert client.post("/predict", data=PNG).status_code == 200


def test_failure_of_the_model_is_a_500_without_its_insides(
    app: App, client: Client, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    def fail(self: FakeModel, encoded: list[bytes]) -> None:
        raise ValueError("secret path")

    monkeypatch.setattr(FakeModel, "answer", fail)
    answer = client.post("/predict", data=PNG)
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "ValueError: secret path" in capfd.readouterr().err


def test_no_more_requests_than_slots_are_in_the_model(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most = 0, 0
    lock = threading.Lock()
    real = FakeModel.answer

    def answer(self: FakeModel, encoded: list[bytes]) -> list[tuple[bytes, str]]:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.02)
        with lock:
            inside -= 1
        return real(self, encoded)

    monkeypatch.setattr(FakeModel, "answer", answer)
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
