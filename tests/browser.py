"""A headless Chromium for tests of pages, driven over its DevTools protocol."""

import asyncio
import contextlib
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_TIMEOUT_S = 60.0


class Page:
    """The browser's only tab.

    Attributes:
        requests: the addresses that it asked for, in order.
    """

    def __init__(self, runner: asyncio.Runner, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._problems: list[str] = []
        self.requests: list[str] = []
        self._runner, self._socket = runner, socket
        self._numbers = itertools.count(1)
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.send(f"{domain}.enable")

    @property
    def problems(self) -> list[str]:
        """Returns errors on its console, exceptions, and requests that failed, as text, up to now."""
        self.run("0")  # What has happened is told before the answer.
        return self._problems

    def open(self, address: str) -> None:
        """Goes to an address and waits until the page is loaded."""
        self.send("Page.navigate", url=address)
        self.wait(f"location.href.startsWith({address!r}) && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """Returns the value of a script, of a promise once it is kept."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str, timeout_s: float = _TIMEOUT_S) -> None:
        """Waits until a script's value is true."""
        end = time.monotonic() + timeout_s
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < end, f"in {timeout_s} s, never was {condition}"
            time.sleep(0.05)

    def choose_file(self, selector: str, path: pathlib.Path) -> None:
        """Gives a file to an input, as its dialogue would."""
        node = self.send("Runtime.evaluate", expression=f"document.querySelector({selector!r})")["result"]["objectId"]
        self.send("DOM.setFileInputFiles", files=[str(path)], objectId=node)

    def resize(self, width: int, height: int) -> None:
        """Sets the size of the window's inside, in pixels."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command of the protocol and returns its result; what happens meanwhile is noted."""
        return self._runner.run(asyncio.wait_for(self._send(method, parameters), _TIMEOUT_S))

    async def _send(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json()
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self._note(message.get("method", ""), message.get("params", {}))

    def _note(self, event: str, details: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.requests.append(details["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self._problems.append(json.dumps(details["exceptionDetails"]))
        elif (
            (event == "Runtime.consoleAPICalled" and details["type"] in ("error", "warning", "assert"))
            or (event == "Log.entryAdded" and details["entry"]["level"] == "error")
            or (event == "Network.loadingFailed" and not details.get("canceled"))
        ):
            self._problems.append(json.dumps(details))


def find_browser() -> str:
    """Returns the path of a Chromium, or skips the test."""
    for name in _NAMES:
        if found := shutil.which(name):
            return found
    pytest.skip("no chromium is installed: the page is not tried in a browser")


@contextlib.contextmanager
def browser(folder: pathlib.Path) -> Iterator[Page]:
    """Starts a browser with a profile of its own, without network but for this machine.

    Args:
        folder: for its profile; made if missing.
    """
    profile = folder / "profile"
    profile.mkdir(parents=True)
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    options += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0"]
    options += [f"--user-data-dir={profile}", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "about:blank"]
    process = subprocess.Popen(
        [find_browser(), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        port = _port(profile / "DevToolsActivePort", process)
        with asyncio.Runner() as runner:
            session, socket = runner.run(_connect(port))
            try:
                yield Page(runner, socket)
            finally:
                runner.run(_disconnect(session, socket))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _port(file: pathlib.Path, process: subprocess.Popen) -> int:
    """Returns the port that the browser has chosen, once it has written it."""
    end = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < end:
        if file.is_file() and (lines := file.read_text().splitlines()):
            return int(lines[0])
        assert process.poll() is None, f"the browser ended with {process.returncode}"
        time.sleep(0.05)
    raise AssertionError(f"the browser has not started in {_TIMEOUT_S} s")


async def _connect(port: int) -> tuple[aiohttp.ClientSession, aiohttp.ClientWebSocketResponse]:
    session = aiohttp.ClientSession()
    end = time.monotonic() + _TIMEOUT_S
    while True:
        async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            pages = [target for target in await answer.json() if target["type"] == "page"]
        if pages:
            return session, await session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0)
        assert time.monotonic() < end, "the browser has no tab"
        await asyncio.sleep(0.05)


async def _disconnect(session: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse) -> None:
    await socket.close()
    await session.close()
    await asyncio.sleep(0.1)  # For the transports to close.
