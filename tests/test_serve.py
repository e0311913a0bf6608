"""`vocseg serve` as users have it: a process, a socket, real SavedModels."""

import concurrent.futures
import contextlib
import json
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import serving_process
from serving_process import Server, picture, read_mask

from components import pusher, rest, serving

GOOD = {"jpeg": picture(40, 60), "png": picture(51, 37, "PNG"), "gray": picture(1, 1, "PNG"), "large": picture(900, 1200)}
BAD = {"text": b"This is no picture.", "truncated": GOOD["jpeg"][:300], "too large": picture(2000, 2001), "gif": b"GIF89a...."}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[int, pathlib.Path]:
    """Two SavedModels by the class that they see everywhere."""
    folder = tmp_path_factory.mktemp("models")
    return {number: serving_process.save_constant_model(folder / f"class_{number}", number) for number in (1, 2)}


@pytest.fixture(scope="module")
def server(models: dict[int, pathlib.Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves class 1 as a fixed version."""
    with serving_process.serve(models[1], tmp_path_factory.mktemp("server"), "--name", "one") as running:
        yield running


@pytest.mark.parametrize(("signature", "output"), [("serving_default", "mask"), ("serving_rest", "mask_bytes")])
def test_rest_answers_a_batch_with_bad_pictures_in_it(server: Server, signature: str, output: str) -> None:
    pictures = [GOOD["jpeg"], BAD["text"], GOOD["png"], BAD["too large"]]
    body = {"signature_name": signature, "instances": [{"images": rest.encode_bytes(encoded)} for encoded in pictures]}
    status, answer = server.ask("POST", "/v1/models/one:predict", body)
    assert status == 200
    assert [row["error"] for row in answer["predictions"]] == ["", serving.UNREADABLE, "", serving.UNREADABLE]
    masks = [row[output]["b64"] and read_mask(row[output]["b64"]) for row in answer["predictions"]]
    assert (masks[1], masks[3]) == ("", "")
    assert np.array_equal(masks[0], np.ones((40, 60))) and np.array_equal(masks[2], np.ones((51, 37)))


@pytest.mark.parametrize("name", GOOD)
def test_picture_is_answered_at_its_own_size(server: Server, name: str) -> None:
    status, answer = server.ask("POST", "/predict", GOOD[name])
    assert status == 200
    mask = read_mask(answer["mask"])
    assert mask.shape == (answer["height"], answer["width"])
    assert [(entry["class"], entry["share"]) for entry in answer["legend"]] == [("aeroplane", 1.0)]
    (box,) = answer["boxes"]
    assert (box["right"], box["bottom"]) == (answer["width"], answer["height"])


@pytest.mark.parametrize(("name", "status"), [("text", 415), ("gif", 415), ("truncated", 422)])
def test_bad_picture_is_a_4xx_with_the_reason(server: Server, name: str, status: int) -> None:
    assert server.ask("POST", "/predict", BAD[name]) == (status, {"error": serving.UNREADABLE})


def test_too_large_a_picture_is_a_413_with_its_size(server: Server) -> None:
    status, answer = server.ask("POST", "/predict", BAD["too large"])
    assert status == 413
    assert answer["error"].startswith("too large a picture: 2001 x 2000 pixels; at most 4 megapixels")


def test_few_bytes_with_many_pixels_are_refused_at_once(server: Server) -> None:
    picture = serving_process.picture(2000, 2000, "PNG")
    status, answer = server.ask("POST", "/v1/models/one:predict", {"instances": [rest.encode_bytes(picture)] * 3})
    assert status == 413
    assert "12.0 megapixels together; at most 8 are taken" in answer["error"]


def test_body_over_the_limit_gets_its_answer_over_the_socket(server: Server) -> None:
    status, answer = server.ask("POST", "/predict", bytes(33 * 2**20))
    assert status == 413
    assert "32 MB" in answer["error"]


@pytest.mark.parametrize(
    "sent",
    [
        b"GARBAGE\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\nb\r\n\r\n",
    ],
)
def test_request_that_the_server_itself_refuses_is_a_4xx_too(server: Server, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(sent)
        answer = connection.makefile("rb").read()
    head, body = answer.split(b"\r\n\r\n", 1)
    assert head.startswith((b"HTTP/1.0 4", b"HTTP/1.1 4"))
    assert json.loads(body)["error"]


def test_server_says_nothing_of_bad_requests_on_its_standard_error(server: Server) -> None:
    for encoded in BAD.values():
        server.ask("POST", "/predict", encoded)
    said = server.errors.read_text().splitlines()
    assert [line for line in said if "JPEG library" not in line] == []  # libjpeg's own words cannot be kept from it.


def _wait_for(server: Server, version: str) -> None:
    end = time.monotonic() + 60
    while server.ask("GET", "/healthz")[1]["version"] != version:
        assert time.monotonic() < end, f"version {version} was never served: {server.errors.read_text()}"
        time.sleep(0.05)


def test_versions_come_and_go_under_continuous_requests_and_none_fails(
    models: dict[int, pathlib.Path], tmp_path: pathlib.Path
) -> None:
    folder = tmp_path / "versions"
    first = pusher.publish(models[1], folder).path
    seen: list[tuple[int, str, str]] = []
    done = threading.Event()

    def ask(server: Server) -> None:
        while not done.is_set():
            status, answer = server.ask("POST", "/predict", GOOD["jpeg"])
            seen.append((status, answer["version"], answer["legend"][0]["class"]))

    with serving_process.serve(folder, tmp_path) as server, concurrent.futures.ThreadPoolExecutor() as pool:
        asking = [pool.submit(ask, server) for _ in range(4)]
        try:
            _wait_for(server, first.name)
            second = pusher.publish(models[2], folder).path
            _wait_for(server, second.name)
            broken = folder / str(int(second.name) + 1)
            (broken / "saved_model.pb").parent.mkdir()
            (broken / "saved_model.pb").write_bytes(b"no model")
            shutil.rmtree(first)
            time.sleep(2)
            assert server.ask("GET", "/healthz")[1]["version"] == second.name
            assert server.errors.read_text().count(f"version {broken.name} is passed over") == 1
            shutil.copytree(models[1], first)
            shutil.rmtree(second)  # Rolled back.
            _wait_for(server, first.name)
        finally:
            done.set()
        for one in asking:
            one.result()
    assert {status for status, _, _ in seen} == {200}
    assert {(version, name) for _, version, name in seen} == {(first.name, "aeroplane"), (second.name, "bicycle")}


def _run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        serving_process.command(*arguments),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=serving_process.environment(),
        cwd=serving_process.REPOSITORY,
    )


def test_taken_port_is_an_error_that_says_so(server: Server, models: dict[int, pathlib.Path]) -> None:
    done = _run("--model", str(models[1]), "--port", str(server.port))
    assert done.returncode == 1
    assert f"port {server.port}, cannot be listened on: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--model", "nowhere"], "There is no folder nowhere"),
        (["--model", "EMPTY", "--port", "0"], "There is no model in"),
        (["--root", "EMPTY"], "No model has been pushed in"),
        (["--root", "EMPTY", "--pipeline", "../x"], "has pushed no model"),
        (["--model", "EMPTY", "--name", "a/b"], "cannot stand in an address"),
        (["--model", "EMPTY", "--port", "70000"], "70000 is no port"),
        (["--model", "EMPTY", "--host", "no.such.host.invalid"], "is no address of this machine"),
        (["--model", "EMPTY", "--host", "a..b"], "is no address of this machine"),
    ],
)
def test_wrong_arguments_are_errors_that_say_so(tmp_path: pathlib.Path, arguments: list[str], reason: str) -> None:
    done = _run(*(str(tmp_path) if argument == "EMPTY" else argument for argument in arguments))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and reason in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_ends_an_idle_server_with_0(
    models: dict[int, pathlib.Path], tmp_path: pathlib.Path, number: signal.Signals
) -> None:
    root = tmp_path / "root"
    pusher.publish(models[1], root / "models" / "mini.pets")
    with serving_process.serve(root / "models" / "mini.pets", tmp_path) as server:
        assert server.ask("GET", "/v1/models/mini.pets")[0] == 200
        with contextlib.closing(server.connect()) as idle:
            idle.request("GET", "/healthz")
            assert idle.getresponse().read()
            server.process.send_signal(number)
            assert server.process.wait(20) == 0
        assert server.errors.read_text() == ""
