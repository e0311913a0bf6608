"""`vocseg serve` under load: many clients, damaged pictures among the good, a new version midway.

VOCSEG_LOAD_S sets for how long, in seconds.
"""

import http.client
import json
import os
import pathlib
import random
import statistics
import threading
import time

import pytest
import serving_process
from serving_process import Server, picture

from components import pusher

DURATION_S = float(os.environ.get("VOCSEG_LOAD_S", "60"))
CLIENTS = 8
SIZES = ((40, 60), (281, 500), (500, 375), (333, 500), (900, 1200))
BAD_SHARE = 0.05
GROWTH_MIB = 30  # From one half of the time with a version to the other half.


def _ask(server: Server, seed: int, done: threading.Event, answers: list[tuple[bool, int, str, float, str]]) -> None:
    """Sends pictures over one connection until told to stop; notes good or bad, status, reason, seconds and version of each."""
    chance = random.Random(seed)
    good = [picture(*size, kind=kind, seed=seed) for size in SIZES for kind in ("JPEG", "PNG")]
    bad = [b"", b"text", good[0][:200], good[2][: len(good[2]) // 2], good[1][:-20], bytes(1000)]
    connection = server.connect()
    while not done.is_set():
        is_good = chance.random() >= BAD_SHARE
        start = time.monotonic()
        connection.request("POST", "/predict", chance.choice(good if is_good else bad))
        answer = connection.getresponse()
        content = json.loads(answer.read())
        answers.append((is_good, answer.status, content.get("error", ""), time.monotonic() - start, content.get("version", "")))
    connection.close()


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_load_with_damaged_pictures_and_a_new_version_midway(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture) -> None:
    models = [serving_process.save_constant_model(tmp_path / f"model_{number}", number) for number in (1, 2)]
    versions = tmp_path / "versions"
    pusher.publish(models[0], versions)
    answers: list[tuple[bool, int, str, float, str]] = []
    memory: dict[float, float] = {}  # By the seconds since the start.
    with serving_process.serve(versions, tmp_path) as server:
        start = time.monotonic()
        done = threading.Event()
        clients = [threading.Thread(target=_ask, args=(server, seed, done, answers)) for seed in range(CLIENTS)]
        for client in clients:
            client.start()
        published = ""
        elapsed, swapped = 0.0, 0.0
        while elapsed < DURATION_S or (not swapped and elapsed < DURATION_S + 60):  # A busy machine may load slowly.
            time.sleep(0.5)
            elapsed = time.monotonic() - start
            memory[elapsed] = server.rss_mib()
            if not published and elapsed > DURATION_S / 2:
                published = pusher.publish(models[1], versions).path.name
            if published and not swapped and answers[-1][-1] == published:
                swapped = elapsed
        done.set()
        for client in clients:
            client.join()
        assert server.process.poll() is None
        with_errors = server.errors.read_text()
    elapsed = time.monotonic() - start

    good = [answer for answer in answers if answer[0]]
    bad = [answer for answer in answers if not answer[0]]
    before = [rss for at, rss in memory.items() if DURATION_S / 5 < at < DURATION_S / 2]  # Warm, and nothing loads.
    after = [rss for at, rss in memory.items() if at > swapped + DURATION_S / 10]
    halves = [statistics.median(half) for all_ in (before, after) for half in (all_[: len(all_) // 2], all_[len(all_) // 2 :])]
    times = sorted(seconds for *_, seconds, _ in good)
    with capsys.disabled():
        print(
            f"\n{len(answers)} requests of {CLIENTS} clients in {elapsed:.0f} s: {len(answers) / elapsed:.1f} a second, "
            f"p50 {1000 * times[len(times) // 2]:.0f} ms, p99 {1000 * times[int(0.99 * len(times))]:.0f} ms; {len(bad)} bad; "
            f"new version after {swapped:.0f} s; memory, medians of each half with a version, "
            f"{' '.join(f'{half:.0f}' for half in halves)} MiB, at most {max(memory.values()):.0f}"
        )
    assert {status for _, status, *_ in good} == {http.client.OK}
    assert bad and all(400 <= status < 500 and reason for _, status, reason, *_ in bad)
    assert swapped, f"version {published} was never served"
    assert good[-1][-1] == published
    assert "Traceback" not in with_errors
    assert halves[1] - halves[0] < GROWTH_MIB
    assert halves[3] - halves[2] < GROWTH_MIB
