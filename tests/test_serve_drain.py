"""How `vocseg serve` ends: what has come is answered first, within a deadline. Signals are this process's own."""

import contextlib
import http.client
import signal
import socket
import subprocess
import sys
import time

import pytest
from serving_process import REPOSITORY, environment

SCRIPT = """
import socket, sys
from werkzeug.wrappers import Request, Response
from pipeline import serve

def answer(environ, start_response):
    if environ["PATH_INFO"] == "/blocks":
        print("inside", flush=True)
        sys.stdin.readline()
    return Response(bytes(int(environ["QUERY_STRING"] or 0)))(environ, start_response)

listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
try:
    serve.run(serve.make_server(answer, listening), drain_s=float(sys.argv[1]))
except KeyboardInterrupt:
    print("at once", flush=True)
print("ended", flush=True)
"""


@contextlib.contextmanager
def _serving(drain_s: float):
    """Starts a server whose answers wait for a line on its standard input."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(drain_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
        cwd=REPOSITORY,
    )
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def _request(port: int, path: str) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    return connection


def _wait_until_refused(port: int) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            pass  # It was closing just then.
        time.sleep(0.02)
    raise AssertionError("it listens on")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_request_in_flight_is_answered_after_the_signal_and_no_new_one_is_taken(number: signal.Signals) -> None:
    with _serving(30) as (process, port), contextlib.closing(_request(port, "/blocks?10")) as connection:
        assert process.stdout.readline() == "inside\n"
        process.send_signal(number)
        _wait_until_refused(port)
        time.sleep(6)  # Longer than waitress by itself waits for its threads.
        process.stdin.write("\n")
        process.stdin.flush()
        assert connection.getresponse().read() == bytes(10)
        assert process.wait(20) == 0
        assert process.stdout.read() == "ended\n"


def test_large_answer_to_a_slow_reader_is_sent_to_its_end() -> None:
    size = 30_000_000  # More than the sockets' buffers hold.
    with _serving(30) as (process, port), contextlib.closing(_request(port, f"/blocks?{size}")) as connection:
        assert process.stdout.readline() == "inside\n"
        process.send_signal(signal.SIGTERM)
        _wait_until_refused(port)
        process.stdin.write("\n")
        process.stdin.flush()
        answer = connection.getresponse()
        time.sleep(1)
        assert len(answer.read()) == size
        assert process.wait(20) == 0


def test_deadline_ends_it_whatever_is_in_flight() -> None:
    with _serving(0.5) as (process, port), contextlib.closing(_request(port, "/blocks")):
        assert process.stdout.readline() == "inside\n"
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "ended\n"
        assert time.monotonic() - started < 10


def test_second_signal_ends_it_at_once() -> None:
    with _serving(30) as (process, port), contextlib.closing(_request(port, "/blocks")):
        assert process.stdout.readline() == "inside\n"
        process.send_signal(signal.SIGINT)
        _wait_until_refused(port)
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "at once\n"


def test_client_that_goes_on_asking_does_not_keep_it() -> None:
    with _serving(30) as (process, port), contextlib.closing(_request(port, "/?3")) as connection:
        started = None
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            for number in range(100_000):
                assert connection.getresponse().read() == bytes(3)
                if number == 20:
                    started = time.monotonic()
                    process.send_signal(signal.SIGTERM)
                connection.request("GET", "/?3")
        assert started is not None
        assert process.wait(20) == 0
        assert time.monotonic() - started < 15  # Less than the 30 s that are left for what has come.
