"""A metadata store in MySQL: its address and password; where MariaDB is installed, runs of two roots on one real server."""

import concurrent.futures
import errno
import getpass
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import ml_metadata
import pytest
from ml_metadata.proto import metadata_store_pb2

from components.datasets.fake_voc import write_fake_voc
from components.errors import VocsegError
from pipeline import metadata_server
from pipeline.locations import Locations
from pipeline.metadata_server import PASSWORD, PASSWORD_FILE, Server, connection, parse

PROJECT = pathlib.Path(__file__).parents[1]
SECRET = "se cret/1@x"
ADDRESS = "mysql://team@db.example.org/vocseg"


def test_address_is_read_with_its_port_and_without() -> None:
    assert parse(ADDRESS) == Server("team", "db.example.org", 3306, "vocseg")
    assert parse("mysql://team%40x@127.0.0.1:33306/a_b-c") == Server("team@x", "127.0.0.1", 33306, "a_b-c")


def test_localhost_is_no_socket() -> None:
    assert parse("mysql://team@localhost/vocseg").host == "127.0.0.1"


@pytest.mark.parametrize(
    "address",
    [
        "team@db/vocseg",
        "postgresql://team@db/vocseg",
        "mysql://db/vocseg",
        "mysql://team@/vocseg",
        "mysql://team@db",
        "mysql://team@db/",
        "mysql://team@db/a/b",
        "mysql://team@db/a`b",
        "mysql://team@db:port/vocseg",
        "mysql://team@db:99999/vocseg",
        "mysql://team@db/vocseg?ssl=true",
        "mysql://team@db/vocseg#x",
        "metadata.sqlite",
    ],
)
def test_what_is_no_address_is_refused_with_the_form(address: str) -> None:
    with pytest.raises(VocsegError, match=r"--metadata takes mysql://USER@HOST\[:PORT\]/DATABASE.*VOCSEG_METADATA_PASSWORD"):
        parse(address)


def test_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(VocsegError, match="Leave it out, set VOCSEG_METADATA_PASSWORD") as caught:
        parse("mysql://team:hidden@db/vocseg")
    assert "hidden" not in str(caught.value)


def test_password_comes_from_the_environment_or_a_file(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    assert connection(ADDRESS, {PASSWORD: SECRET}).mysql.password == SECRET
    assert connection(ADDRESS, {PASSWORD_FILE: str(file)}).mysql.password == SECRET
    assert connection(ADDRESS, {PASSWORD: "", PASSWORD_FILE: str(file)}).mysql.password == SECRET
    assert connection(ADDRESS, {PASSWORD: "other", PASSWORD_FILE: str(file)}).mysql.password == "other"
    assert connection(ADDRESS, {}).mysql.password == ""


def test_missing_file_of_the_password_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(VocsegError, match=f"{PASSWORD_FILE}: .*gone cannot be read: No such file or directory"):
        connection(ADDRESS, {PASSWORD_FILE: str(tmp_path / "gone")})


def test_connection_has_the_address_and_the_files_of_tls(tmp_path: pathlib.Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.touch()
    config = connection(f"mysql://team@db:3307/vocseg?ca={ca}", {}).mysql
    assert (config.user, config.host, config.port, config.database) == ("team", "db", 3307, "vocseg")
    assert config.ssl_options.ca == str(ca) and config.ssl_options.verify_server_cert
    assert not connection(ADDRESS, {}).mysql.HasField("ssl_options")


def test_missing_file_of_tls_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(VocsegError, match="there is no file '.*ca.pem', which ca= names"):
        parse(f"{ADDRESS}?ca={tmp_path / 'ca.pem'}")


def test_runs_of_one_second_in_two_roots_have_two_names(tmp_path: pathlib.Path) -> None:
    run = "20261120T054302Z"
    for name in "ab":
        (tmp_path / name).mkdir()
    one, two = (metadata_server.run_name(run, ADDRESS, str(tmp_path / name)) for name in "ab")
    assert one != two and one.startswith(f"{run}.")
    assert metadata_server.run_name(run, ADDRESS, str(tmp_path / "a")) == one
    assert metadata_server.is_run_of(one, ADDRESS, str(tmp_path / "a"))
    assert not metadata_server.is_run_of(two, ADDRESS, str(tmp_path / "a"))


def test_containers_with_one_host_name_and_one_path_are_told_apart(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "output"
    folder.mkdir()
    one = metadata_server.run_name("1", ADDRESS, str(folder))
    folder.rename(tmp_path / "of another container")
    folder.mkdir()
    assert not metadata_server.is_run_of(one, ADDRESS, str(folder))


def test_copy_of_a_root_is_another_one(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").mkdir()
    one = metadata_server.run_name("1", ADDRESS, str(tmp_path / "a"))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert not metadata_server.is_run_of(one, ADDRESS, str(tmp_path / "b"))


def test_run_with_a_file_of_its_own_is_called_as_it_is(tmp_path: pathlib.Path) -> None:
    assert metadata_server.run_name("1", "", str(tmp_path)) == "1" and not list(tmp_path.iterdir())
    assert metadata_server.is_run_of("1", "", str(tmp_path))


def test_server_that_does_not_listen_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata_server, "_PAUSE_S", 0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # Bound, and nobody listens.
        port = taken.getsockname()[1]
        with pytest.raises(VocsegError, match=f"127.0.0.1:{port} cannot be reached: Connection refused"):
            metadata_server.check(f"mysql://team@127.0.0.1:{port}/vocseg", {})


def test_server_that_is_being_started_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")] * 2

    def reach(server: object) -> None:
        if failures:
            raise failures.pop()

    monkeypatch.setattr(metadata_server, "_reach", reach)
    monkeypatch.setattr(metadata_server, "_PAUSE_S", 0)
    monkeypatch.setattr(ml_metadata, "MetadataStore", lambda config: None)
    metadata_server.check(ADDRESS, {})
    assert failures == []


def test_tables_that_another_machine_makes_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [RuntimeError("This may be due to concurrent connection to the empty database. Please retry.")] * 2

    def connect(config: object) -> None:
        if failures:
            raise failures.pop()

    monkeypatch.setattr(ml_metadata, "MetadataStore", connect)
    monkeypatch.setattr(metadata_server, "_reach", lambda server: None)
    monkeypatch.setattr(metadata_server, "_PAUSE_S", 0)
    metadata_server.check(ADDRESS, {})
    assert failures == []


def test_server_that_refuses_is_asked_three_times_and_then_all_that_it_may_mean_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries = []

    def connect(config: object) -> None:
        tries.append(1)
        raise RuntimeError("mysql_real_connect failed: errno: , error: ")

    monkeypatch.setattr(ml_metadata, "MetadataStore", connect)
    monkeypatch.setattr(metadata_server, "_reach", lambda server: None)
    monkeypatch.setattr(metadata_server, "_PAUSE_S", 0)
    with pytest.raises(
        VocsegError, match="3 times.*no password was given.*may not come from this machine.*being started"
    ) as raised:
        metadata_server.check(ADDRESS, {})
    assert len(tries) == 3
    in_a_run = RuntimeError("step failed", RuntimeError("mysql_real_connect failed: errno: , error: "))
    monkeypatch.delenv(PASSWORD, raising=False)
    assert str(metadata_server.in_words(in_a_run, ADDRESS)) == str(raised.value)
    assert metadata_server.in_words(in_a_run, "") is in_a_run
    interrupt = KeyboardInterrupt()
    interrupt.__context__ = in_a_run
    assert metadata_server.in_words(interrupt, ADDRESS) is interrupt


# A real server.


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty server of its own; the address of a database that `team` may use with the password SECRET."""
    daemon = shutil.which("mariadbd", path=os.environ.get("PATH", "") + ":/usr/sbin")
    install = shutil.which("mariadb-install-db")
    if not daemon or not install:
        pytest.skip("mariadbd is not installed (Debian: mariadb-server)")
    folder = tmp_path_factory.mktemp("mariadb")
    port, pipe = _free_port(), f"/tmp/vocseg-{os.getpid()}.sock"  # A socket's path is short.
    places = ["--no-defaults", f"--datadir={folder / 'data'}", f"--user={getpass.getuser()}"]
    made = subprocess.run([install, *places, "--skip-test-db", "--auth-root-authentication-method=normal"], capture_output=True)
    assert made.returncode == 0, made.stdout + made.stderr
    command = [
        daemon,
        *places,
        f"--socket={pipe}",
        f"--port={port}",
        "--bind-address=127.0.0.1",
        f"--pid-file={folder / 'pid'}",
    ]
    with open(folder / "log.txt", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    sql = f"create user team@'%' identified by '{SECRET}'; create database vocseg; grant all on vocseg.* to team@'%';"
    client = ["mariadb", "--no-defaults", f"--socket={pipe}", "-u", "root", "-e"]
    try:
        deadline = time.monotonic() + 120
        while subprocess.run([*client, "select 1"], capture_output=True, check=False).returncode:
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log.txt").read_text()
            time.sleep(0.2)
        subprocess.run([*client, sql], check=True)
        yield f"mysql://team@127.0.0.1:{port}/vocseg"
    finally:
        process.terminate()
        process.wait(timeout=60)


def _vocseg(*arguments: str, password: str = SECRET) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "CUDA_VISIBLE_DEVICES": "-1", PASSWORD: password}
    command = [sys.executable, "-m", "pipeline", *arguments]
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_errors_of_a_real_server_are_in_words(mariadb: str) -> None:
    metadata_server.check(mariadb, {PASSWORD: SECRET})
    with pytest.raises(VocsegError, match="refused team@127.0.0.1.*the password in the environment is another one"):
        metadata_server.check(mariadb, {PASSWORD: "wrong"})
    with pytest.raises(VocsegError, match="no password was given: set VOCSEG_METADATA_PASSWORD"):
        metadata_server.check(mariadb, {})
    with pytest.raises(VocsegError, match="neither use nor make the database other.*CREATE DATABASE other"):
        metadata_server.check(mariadb.replace("/vocseg", "/other"), {PASSWORD: SECRET})


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_mark_and_orphans_on_a_real_server(mariadb: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the queries that SQLite takes; claimed by two roots at once, the store has one id."""
    from pipeline import orphans, root_mark

    monkeypatch.setenv(PASSWORD, SECRET)
    metadata_server.check(mariadb)
    config = connection(mariadb)
    roots = [tmp_path / name for name in "ab"]
    for root in roots:
        root.mkdir()
    with concurrent.futures.ThreadPoolExecutor(2) as two:
        places = [Locations(root=str(root), pipeline_name="p", data="", metadata_server=mariadb) for root in roots]
        list(two.map(lambda place: root_mark.claim(place, config), places))
    assert (roots[0] / ".store").read_text() == (roots[1] / ".store").read_text()

    store = ml_metadata.MetadataStore(config)
    states = metadata_store_pb2.Execution
    kind = store.put_execution_type(metadata_store_pb2.ExecutionType(name="vocseg.test"))
    put = [states(type_id=kind, last_known_state=state) for state in (states.RUNNING, states.COMPLETE, states.NEW)]
    numbers = store.put_executions(put)
    found = orphans.end_orphans(config, lambda pipeline: str(tmp_path))
    assert [orphan.number for orphan in found] == [numbers[0], numbers[2]]
    ended = store.get_executions_by_id(numbers)
    assert [execution.last_known_state for execution in ended] == [states.FAILED, states.COMPLETE, states.FAILED]


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_roots_share_a_server(mariadb: str, tmp_path: pathlib.Path) -> None:
    data = tmp_path / "data"
    write_fake_voc(data, split_sizes={"train": 24, "val": 21, "test": 21})
    small = ["--preset=mini", "--epochs=2", "--set=model.filters=4", "--set=model.depth=2", "--set=evaluate.min_mean_iou=0"]
    small += ["--set=evaluate.beat_constant=false", f"--data={data}", f"--metadata={mariadb}"]

    def run(root: str) -> dict:
        done = _vocseg("run", *small, "--root", str(tmp_path / root))
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(max((tmp_path / root / "runs").glob("*/summary.json")).read_text())

    with concurrent.futures.ThreadPoolExecutor(2) as two:
        one, other = two.map(run, ["one", "other"])
    for root, summary in (("one", one), ("other", other)):
        assert summary["verdict"]["blessed"] and summary["paths"]["metadata"] == mariadb
        assert not (tmp_path / root / "metadata.sqlite").exists()
        again = run(root)
        made = {step["name"]: step["status"] for step in again["steps"]}
        assert {made[name] for name in ("ExampleGen", "StatisticsGen", "Transform", "Trainer")} == {"cached"}
        # What follows may run again: the newest blessed model, with which it is compared, may be the other root's by now.
        assert again["pushed"]["version"] == summary["pushed"]["version"]
        page = _vocseg("report", "--root", str(tmp_path / root), "--output", str(tmp_path / f"{root}.html"))
        assert page.returncode == 0, page.stderr
        assert "ExampleGen" in (tmp_path / f"{root}.html").read_text()
        assert 'class="missing"' not in (tmp_path / f"{root}.html").read_text()
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.stat().st_size < 1 << 24:
            assert SECRET.encode() not in path.read_bytes(), path

    refused = _vocseg("run", *small, "--root", str(tmp_path / "third"), password="wrong")
    assert refused.returncode == 1 and "The metadata server refused team@" in refused.stderr
