"""`vocseg serve`: finds the model, listens, and answers until it is stopped."""

import json
import logging
import os
import pathlib
import re
import signal
import socket
import sys
import threading
import time

import waitress
import waitress.channel
import waitress.task
import waitress.wasyncore

from components.errors import ModelError, VocsegError
from components.served_models import Model, ServedModels, newest_model
from pipeline.imports import uncollected
from pipeline.quiet import quiet_tensorflow
from pipeline.serve_app import MAX_BODY_BYTES, MAX_REQUESTS, App

DRAIN_S = 30.0
"""Seconds that requests in flight have once the server is to end."""

_THREADS = MAX_REQUESTS + 8
"""More than requests with pictures are let in, so that there is one for all else."""

_CONNECTIONS = 100
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(model: pathlib.Path | None, root: str, pipeline: str | None, host: str, port: int, name: str | None) -> int:
    """Serves a model until Ctrl-C or SIGTERM.

    Args:
        model: folder of a version or of versions, or None for the pipeline's.
        root: where pushed models are looked for.
        pipeline: whose models, or None for that of the newest.
        host: address to listen on.
        port: to listen on; 0: any that is free.
        name: of the model in the addresses, or None for the folder's.

    Returns:
        0, once it was stopped.

    Raises:
        VocsegError: no model, a name that cannot stand in an address, or a port that cannot be listened on.
    """
    folder = _find(model, root, pipeline)
    name = _model_name(folder, name)
    _interrupt_at_once()
    try:
        with _listen(host, port) as listening:
            _load_and_run(folder, name, listening)
    except KeyboardInterrupt:
        pass
    return 0


def _load_and_run(folder: pathlib.Path, name: str, listening: socket.socket) -> None:
    quiet_tensorflow()

    def load(version: pathlib.Path) -> Model:
        with uncollected():
            from components import prediction  # TensorFlow takes seconds, which a folder without a model need not cost.

        return prediction.Model(version)

    models = ServedModels(folder, load, lambda line: print(line, file=sys.stderr, flush=True))
    app = App(models, name, slots=min(4, len(os.sched_getaffinity(0))))
    server = make_server(app, listening)
    host, port = server.effective_host, server.effective_port
    shown = f"[{host}]" if ":" in host else host
    print(f"serving {name}, version {models.current.version}, at http://{shown}:{port}/", flush=True)
    print(f"REST: http://{shown}:{port}/v1/models/{name}:predict   (Ctrl-C ends it)", flush=True)
    with models.following():
        run(server)


def make_server(app: App, listening: socket.socket) -> waitress.server.BaseWSGIServer:
    """Returns the server, not yet running, of an application on a socket that listens."""
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # That some requests wait is as intended.
    server = waitress.create_server(
        app,
        sockets=[listening],
        threads=_THREADS,
        connection_limit=_CONNECTIONS,
        # Up to twice the limit is received, so that the client is there to read the refusal.
        max_request_body_size=2 * MAX_BODY_BYTES,
        ident=None,
    )
    server.channel_class = _Channel
    server.draining = False
    return server


def run(server: waitress.server.BaseWSGIServer, drain_s: float = DRAIN_S) -> None:
    """Answers until the first SIGINT or SIGTERM; then what has wholly come is answered, and nothing more is read.

    A second signal ends that, too.

    Args:
        server: what `make_server` returns.
        drain_s: seconds for it, slow readers of large answers included.

    Raises:
        KeyboardInterrupt: at the second signal.
    """
    stop = threading.Event()

    def end(*_: object) -> None:
        stop.set()
        server.pull_trigger()  # Wakes the loop.

    def turn(timeout_s: float) -> None:
        server.asyncore.loop(timeout_s, server.adj.asyncore_use_poll, server._map, count=1)

    for number in _SIGNALS:
        signal.signal(number, end)
    while not stop.is_set():
        turn(1.0)
    _interrupt_at_once()
    waitress.wasyncore.dispatcher.close(server)  # Only what listens: the trigger is needed on.
    server.draining = True
    end_s = time.monotonic() + drain_s
    while time.monotonic() < end_s and any(
        channel.requests or channel.total_outbufs_len for channel in server.active_channels.values()
    ):
        turn(0.1)
    server.task_dispatcher.shutdown(timeout=1)
    waitress.wasyncore.close_all(server._map)


def _interrupt_at_once() -> None:
    for number in _SIGNALS:  # SIGINT, too: a shell has its background jobs ignore it.
        signal.signal(number, signal.default_int_handler)


class _JsonErrorTask(waitress.task.ErrorTask):
    """What waitress itself refuses, said as the application says it."""

    def execute(self) -> None:
        error = self.request.error
        body = json.dumps({"error": f"{error.reason}: {error.body}"}).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(waitress.channel.HTTPChannel):
    error_task_class = _JsonErrorTask

    def readable(self) -> bool:
        """Tells whether the connection is to be read: not while the server ends, or a busy client would keep it."""
        return not self.server.draining and super().readable()


def _find(model: pathlib.Path | None, root: str, pipeline: str | None) -> pathlib.Path:
    if model is not None:
        if not model.is_dir():
            raise ModelError(f"There is no folder {model}. Give --model the folder of a version, or of versions.")
        return model.resolve()
    if pipeline is None:
        return newest_model(root).parent.resolve()
    models = pathlib.Path(root, "models")
    if pipeline in ("", ".", "..") or "/" in pipeline or not (models / pipeline).is_dir():
        found = sorted(path.name for path in models.iterdir() if path.is_dir()) if models.is_dir() else []
        raise ModelError(
            f"--pipeline: {pipeline!r} has pushed no model in {root}. Those that have: {', '.join(found) or 'none'}."
        )
    return (models / pipeline).resolve()


def _model_name(folder: pathlib.Path, name: str | None) -> str:
    """Returns the name in the addresses: as given, or that of the folder of versions."""
    if name is None:
        is_version = folder.name.isdecimal() and (folder / "saved_model.pb").is_file()
        return re.sub(r"[^A-Za-z0-9._-]+", "_", (folder.parent if is_version else folder).name) or "model"
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        raise VocsegError(f"--name: {name!r} cannot stand in an address. Use letters, digits, '.', '_' and '-'.")
    return name


def _listen(host: str, port: int) -> socket.socket:
    """Returns a socket that listens.

    Raises:
        VocsegError: the address is unknown, or the port is taken or not allowed.
    """
    if not 0 <= port <= 65_535:
        raise VocsegError(f"--port: {port} is no port. Give a number up to 65535; 0 takes any that is free.")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, kind)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise VocsegError(f"--host: {host} is no address of this machine: {why}.") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(1024)
    except OSError as error:
        listening.close()
        raise VocsegError(
            f"{host}, port {port}, cannot be listened on: {error.strerror}. Give another --port; 0 takes any that is free."
        ) from error
    return listening
