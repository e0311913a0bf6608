"""The WSGI application behind `vocseg serve`: TensorFlow Serving's REST API, and a page to drop pictures on."""

import html
import json
import pathlib
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug import exceptions, routing
from werkzeug.wrappers import Request, Response

from components import picture_answer, rest
from components.served_models import Served, ServedModels

MAX_BODY_BYTES = 64 * 2**20
MAX_WAITING = 64
"""Requests that wait for a thread; beyond, clients are asked to come back."""

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
)


class App:
    """The application.

    Args:
        models: what is served.
        name: of the model, in the addresses.
        slots: how many requests the model answers at a time; the others wait, so that memory stays bounded.
        waiting: tells how many requests wait for a thread.
    """

    def __init__(self, models: ServedModels, name: str, slots: int, waiting: Callable[[], int] = lambda: 0) -> None:
        """Reads the page."""
        self._models, self._name, self.waiting = models, name, waiting
        self._slots = threading.BoundedSemaphore(slots)
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
        values = {
            "MODEL": self._name,
            "VERSION": str(self._models.current.version),
            "MAX_BYTES": str(MAX_BODY_BYTES),
            "SIGNATURE": "serving_rest" if "serving_rest" in self._models.current.model.signatures else "serving_default",
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
        asked = rest.parse_predict(self._body(request))
        if asked.signature not in rest.MASK_OUTPUTS or asked.signature not in served.model.signatures:
            raise rest.RequestError(f'Serving signature key "{asked.signature}" not found, or not for encoded pictures.')
        return _json(rest.format_predict(asked, self._answer(served, asked.images)))

    def _picture(self, request: Request) -> Response:
        """One picture, as the body itself or as a file of a form: its mask, legend and boxes, or what is wrong with it."""
        encoded = self._body(request)
        served = self._models.current
        ((mask, error),) = self._answer(served, [encoded])
        if error:
            known = encoded.startswith((b"\xff\xd8", b"\x89PNG\r\n\x1a\n"))
            raise rest.RequestError(error, 422 if known else 415)
        described = picture_answer.describe(mask, served.model.class_names, served.model.palette)
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

    def _answer(self, served: Served, images: list[bytes]) -> list[tuple[bytes, str]]:
        with self._slots:
            return served.model.answer(images)

    def _body(self, request: Request) -> bytes:
        """Returns the body, or the first file of a form.

        Raises:
            RequestError: too many requests wait, or the body is empty or too large.
        """
        if self.waiting() > MAX_WAITING:
            raise rest.RequestError(f"More than {MAX_WAITING} requests are waiting. Try again in a second.", 503)
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


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(content), status, mimetype="application/json")
