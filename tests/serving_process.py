"""`vocseg serve` in a process of its own, over tiny models that say which one has answered."""

import base64
import contextlib
import dataclasses
import http.client
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import PIL.Image

from components import features, serving
from components.models import registry
from pipeline_config import ModelConfig, ServingConfig, TransformConfig

REPOSITORY = pathlib.Path(__file__).parents[1]
TRANSFORM = TransformConfig(height_px=32, width_px=48)
MAX_MEGAPIXELS = 4


def save_constant_model(folder: pathlib.Path, class_id: int) -> pathlib.Path:
    """Writes a SavedModel that sees one class everywhere."""
    keras.utils.set_random_seed(class_id)
    model = registry.build(ModelConfig(filters=2, depth=2), 21)
    last = model.get_layer("logits")
    last.kernel.assign(np.zeros(last.kernel.shape))
    last.bias.assign(np.eye(21)[class_id])
    config = ServingConfig(max_megapixels=MAX_MEGAPIXELS)
    serving.save(model, str(folder), TRANSFORM, config, features.VOC_CLASSES, features.voc_palette(21))
    return folder


def picture(height: int, width: int, kind: str = "JPEG", seed: int = 0) -> bytes:
    """Returns an encoded picture of coloured blobs."""
    few = np.random.default_rng(seed).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(few).resize((width, height)).save(buffer, format=kind)
    return buffer.getvalue()


def picture_base64(height: int, width: int) -> str:
    """Returns an encoded picture as a script can hold it."""
    return base64.b64encode(picture(height, width)).decode()


def read_mask(encoded: str) -> np.ndarray:
    """Returns the ids of a PNG in base64."""
    return np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(encoded))))


@dataclasses.dataclass
class Server:
    """A server that runs.

    Attributes:
        process: it.
        port: where it listens.
        errors: the file with its standard error.
    """

    process: subprocess.Popen
    port: int
    errors: pathlib.Path

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, method: str, path: str, body: bytes | dict | None = None, **headers: str) -> tuple[int, Any]:
        """Returns the status and the JSON of an answer."""
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def rss_mib(self) -> float:
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pipeline", "serve", *arguments]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}


@contextlib.contextmanager
def serve(folder: pathlib.Path, scratch: pathlib.Path, *arguments: str) -> Iterator[Server]:
    """Starts a server of a folder on a free port, waits until it answers, and ends it.

    Args:
        folder: of a version or of versions.
        scratch: where its output goes.
        arguments: further ones.
    """
    errors = scratch / "errors.txt"
    with (scratch / "output.txt").open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(
            command("--model", str(folder), "--port", "0", *arguments), stdout=out, stderr=err, cwd=scratch, env=environment()
        )
    try:
        end = time.monotonic() + 120
        while "http://127.0.0.1:" not in (said := (scratch / "output.txt").read_text()):
            assert process.poll() is None, errors.read_text()
            assert time.monotonic() < end, "the server has not started in 120 s"
            time.sleep(0.1)
        yield Server(process, int(said.split("http://127.0.0.1:")[1].split("/")[0]), errors)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
