"""The WSGI application behind `vocseg serve`: TensorFlow Serving's REST API, and a page to drop pictures on."""

import contextlib
import html
import json
import pathlib
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from werkzeug import exceptions, routing
from werkzeug.wrappers import Request, Response

from components import picture_size, rest
from components.served_models import Served, ServedModels
from pipeline import picture_answer

MAX_BODY_BYTES = 32 * 2**20
MAX_REQUESTS = 32
"""Pictures' requests that are answered or wait for it; beyond, clients are asked to come back."""

WAIT_S = 20.0
"""Seconds for which one waits before its client is asked to come back."""

LARGEST_PICTURES = 2
"""Of the largest that the model takes: as many pixels may a request's pictures have together."""

_PAGE = pathlib.Path(__file__).with_name("serve_page.html")
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src blob: data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_MODEL = "/v1/models/<name>"
_VERSION = f"{_MODEL}/versions/<version>"
_URLS = routing.Map(
    [
        routing.Rule("/", endpoint="page", methods=["GET"]),
        routing.Rule("/healthz", endpoint="healthz", methods=["GET"]),
        routing.Rule("/predict", endpoint="picture", methods=["POST"]),
        *(routing.Rule(path, endpoint="status", methods=["GET"]) for path in (_MODEL, _VERSION)),
        *(routing.Rule(f"{path}/metadata", endpoint="metadata", methods=["GET"]) for path in (_MODEL, _VERSION)),
        *(routing.Rule(f"{path}:predict", endpoint="predict", methods=["POST"]) for path in (_MODEL, _VERSION)),
    ],
    strict_slashes=False,
    merge_slashes=False,
)


class App:
    """The application.

    Args:
        models: what is served.
        name: of the model, in the addresses.
        slots: how many requests with pictures are read and answered at a time; the others wait, so that memory stays bounded.
    """

    def __init__(self, models: ServedModels, name: str, slots: int) -> None:
        """Reads the page."""
        self._models, self._name = models, name
        self._slots = threading.BoundedSemaphore(slots)
        self._entered = threading.BoundedSemaphore(MAX_REQUESTS)
        self._html = _PAGE.read_text("utf-8")

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answers a request; whatever goes wrong becomes a JSON object with the reason."""
        try:
            endpoint, arguments = _URLS.bind_to_environ(environ).match()
            with Request(environ) as request:  # Closes what a form has brought.
                response: Any = getattr(self, f"_{endpoint}")(request, **arguments)
        except rest.RequestError as error:
            response = _json({"error": str(error)}, error.status)
            if error.status == 503:
                response.headers["Retry-After"] = "1"
        except exceptions.HTTPException as error:
            response = _json({"error": error.description}, error.code or 500)
            response.headers.extend(item for item in error.get_headers() if item[0] not in ("Content-Type", "Content-Length"))
        except Exception:
            traceback.print_exc(file=sys.stderr)
            response = _json({"error": "The server failed; its standard error says how."}, 500)
        return response(environ, start_response)

    def _healthz(self, request: Request) -> Response:
        return _json({"status": "ok", "model": self._name, "version": str(self._models.current.version)})

    def _page(self, request: Request) -> Response:
        served = self._models.current
        values = {
            "MODEL": self._name,
            "VERSION": str(served.version),
            "MAX_BYTES": str(MAX_BODY_BYTES),
            "SIGNATURE": "serving_rest" if "serving_rest" in served.model.signatures else "serving_default",
        }
        page = self._html
        for key, value in values.items():
            page = page.replace(f"@{key}@", html.escape(value))
        return Response(page, headers=_PAGE_HEADERS, mimetype="text/html")

    def _status(self, request: Request, name: str, version: str | None = None) -> Response:
        return _json(rest.format_status(self._find(name, version).version))

    def _metadata(self, request: Request, name: str, version: str | None = None) -> Response:
        served = self._find(name, version)
        signatures = [signature for signature in rest.MASK_OUTPUTS if signature in served.model.signatures]
        return _json(rest.format_metadata(name, served.version, signatures))

    def _predict(self, request: Request, name: str, version: str | None = None) -> Response:
        """The `:predict` of TensorFlow Serving: a picture that cannot be read is answered beside the others."""
        served = self._find(name, version)
        with self._slot():
            asked = rest.parse_predict(_body(request))
            if asked.signature not in rest.MASK_OUTPUTS or asked.signature not in served.model.signatures:
                raise rest.RequestError(f'Serving signature key "{asked.signature}" not found, or not for encoded pictures.')
            _check_pixels(asked.images, served.model.max_pixels)
            return _json(rest.format_predict(asked, served.model.answer(asked.images)))

    def _picture(self, request: Request) -> Response:
        """One picture, as the body itself or as a file of a form: its mask, legend and boxes, or what is wrong with it."""
        served = self._models.current
        model = served.model
        with self._slot():
            encoded = _body(request)
            if why := picture_size.refusal(encoded, model.max_pixels):
                raise rest.RequestError(why, 413)
            ((mask, scores, error),) = model.predict_each([encoded], scored=True)
            if mask is None:
                raise rest.RequestError(error, 422 if picture_size.is_picture(encoded) else 415)
            described = picture_answer.describe(mask, scores, model.class_names, model.palette)
            return _json({"model": self._name, "version": str(served.version), **described})

    def _find(self, name: str, version: str | None) -> Served:
        """Returns what is served under a name and a version.

        Raises:
            RequestError: nothing is.
        """
        served = self._models.current
        if name != self._name or (version is not None and version != str(served.version)):
            wanted = name if version is None else f"{name}, version {version}"
            raise rest.RequestError(f"Servable not found for request: {wanted}; {self._name}, {served.version} is served.", 404)
        return served

    @contextlib.contextmanager
    def _slot(self) -> Iterator[None]:
        """Waits for its turn, and keeps it.

        Raises:
            RequestError: too many wait already, or it took too long.
        """
        if not self._entered.acquire(blocking=False):
            raise rest.RequestError(f"{MAX_REQUESTS} requests are being answered or wait. Try again in a second.", 503)
        try:
            if not self._slots.acquire(timeout=WAIT_S):
                raise rest.RequestError(f"The model was busy for {WAIT_S:.0f} s. Try again in a second.", 503)
            try:
                yield
            finally:
                self._slots.release()
        finally:
            self._entered.release()


def _body(request: Request) -> bytes:
    """Returns the body, or the first file of a form.

    Raises:
        RequestError: the body is empty or too large.
    """
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise rest.RequestError(f"The body is larger than {MAX_BODY_BYTES >> 20} MB, which is the limit.", 413)
    if request.mimetype == "multipart/form-data":
        file = next(iter(request.files.values()), None)
        body = file.read() if file else b""
    else:
        body = request.get_data(cache=False)
    if not body:
        raise rest.RequestError("The request has no body.")
    return body


def _check_pixels(images: Sequence[bytes], max_pixels: int) -> None:
    """Counts the pixels of pictures by their headers; those that the model refuses unseen cost nothing.

    Raises:
        RequestError: they are too many.
    """
    sizes = [size for encoded in images if (size := picture_size.header_size(encoded))]
    total = sum(height * width for height, width in sizes if not picture_size.is_too_large((height, width), max_pixels))
    most = LARGEST_PICTURES * max_pixels
    if total > most:
        limit = f"at most {most / 1e6:.0f} are taken. Send several requests."
        raise rest.RequestError(f"The pictures have {total / 1e6:.1f} megapixels together; {limit}", 413)


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(content), status, mimetype="application/json")
