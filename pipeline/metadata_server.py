"""ML Metadata in a MySQL or MariaDB database that a team shares: its address, its password, and its errors in words.

The client library says nothing about why a connection failed, so what can be told apart is tried here.
"""

import dataclasses
import hashlib
import itertools
import os
import pathlib
import re
import socket
import time
import urllib.parse
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING

from components.errors import VocsegError
from pipeline import retries
from pipeline.locations import write_file

if TYPE_CHECKING:
    from ml_metadata.proto import metadata_store_pb2

PASSWORD = "VOCSEG_METADATA_PASSWORD"
PASSWORD_FILE = "VOCSEG_METADATA_PASSWORD_FILE"
_SCHEME = "mysql://"
_ID_FILE = ".id"
"""In the folder of a root that uses a server."""
_TLS = ("ca", "cert", "key")
_FORM = f"{_SCHEME}USER@HOST[:PORT]/DATABASE[?ca=FILE&cert=FILE&key=FILE]"
_REACH_S = 10.0
_MAKING_TABLES = "concurrent connection to the empty database"
"""What is said while another machine makes the tables, which takes seconds."""
_REFUSED = "mysql_real_connect failed"
"""All that the client library says, whether the password is wrong or the server is being started."""
_TRIES = {_MAKING_TABLES: 30, _REFUSED: 3}
_PAUSE_S = 2.0


@dataclasses.dataclass(frozen=True)
class Server:
    """Where the store is; no password, so that it may be shown.

    Attributes:
        user: name of the account.
        host: name or address; "localhost" would mean a socket of this machine to the client library, and is made 127.0.0.1.
        port: number, 3306 by default.
        database: its name.
        tls: files in PEM: ca (then the server's certificate is verified), cert and key (of the client).
    """

    user: str
    host: str
    port: int
    database: str
    tls: tuple[tuple[str, str], ...] = ()


def is_address(text: str) -> bool:
    """Tells an address from the path of an SQLite file."""
    return text.startswith(_SCHEME)


def parse(address: str) -> Server:
    """Reads an address.

    Raises:
        VocsegError: it is none, has a password, or names a file that is not there.
    """
    wrong = VocsegError(
        f"--metadata takes {_FORM}. The password comes from {PASSWORD}, or the file that {PASSWORD_FILE} names."
    )
    try:
        parts = urllib.parse.urlsplit(address)
        port = parts.port or 3306
    except ValueError:
        raise wrong from None
    if parts.password is not None:
        raise VocsegError(
            f"--metadata has a password, which others could read in the list of processes. Leave it out, set {PASSWORD} in the "
            f"environment (or {PASSWORD_FILE}), and change it, since it may have been seen."
        )
    query = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
    database = parts.path.removeprefix("/")
    if parts.scheme != "mysql" or not (parts.username and parts.hostname) or not re.fullmatch(r"[\w$-]+", database):
        raise wrong
    if parts.fragment or any(name not in _TLS for name, _ in query):
        raise wrong
    for name, file in query:
        if not os.path.isfile(file):
            raise VocsegError(f"--metadata: there is no file {file!r}, which {name}= names.")
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
    return Server(urllib.parse.unquote(parts.username), host, port, database, tuple(query))


def connection(address: str, environment: Mapping[str, str] = os.environ) -> "metadata_store_pb2.ConnectionConfig":
    """Returns the connection, with the password; it must not be printed.

    Raises:
        VocsegError: see `parse`; or the file with the password cannot be read.
    """
    from ml_metadata.proto import metadata_store_pb2

    server = parse(address)
    config = metadata_store_pb2.ConnectionConfig()
    config.mysql.user, config.mysql.password = server.user, _password(environment)
    config.mysql.host, config.mysql.port = server.host, server.port
    config.mysql.database = server.database
    for name, file in server.tls:
        setattr(config.mysql.ssl_options, name, file)
    if "ca" in dict(server.tls):
        config.mysql.ssl_options.verify_server_cert = True
    return config


def check(address: str, environment: Mapping[str, str] = os.environ) -> None:
    """Connects once; the tables are made where there are none.

    Raises:
        VocsegError: that is not possible; it says why as far as it can be known.
    """
    from ml_metadata import MetadataStore, errors

    server, config = parse(address), connection(address, environment)
    for number in itertools.count(1):
        try:
            _reach(server)
            MetadataStore(config)
            return
        except OSError as error:
            if number >= _TRIES[_REFUSED]:
                raise VocsegError(
                    f"The metadata server {server.host}:{server.port} cannot be reached: {error.strerror or error}. "
                    "Is the address right, and does the server run?"
                ) from error
        except (RuntimeError, errors.StatusError) as error:
            if number >= next((tries for text, tries in _TRIES.items() if text in str(error)), 1):
                raise VocsegError(_explain(server, str(error), bool(config.mysql.password))) from None
        time.sleep(_PAUSE_S)


def in_words(error: BaseException, address: str) -> BaseException:
    """Returns an error that says what a refusal in the midst of a run may mean, where that is the cause; else the error itself.

    Args:
        error: that a step, or what goes on between steps, raised.
        address: of the server; empty: there is none.
    """
    if not address or isinstance(error, VocsegError | KeyboardInterrupt):
        return error
    if not any(_REFUSED in str(link) for link in retries.chain(error)):
        return error
    return VocsegError(_explain(parse(address), _REFUSED, bool(_password(os.environ))))


def run_name(run: str, address: str, folder: str) -> str:
    """Returns a run's name in the store: two roots that share one may start runs in the same second.

    Args:
        run: its name in its root.
        address: of the server; empty: the store is the root's own file.
        folder: the root's, on this machine; where there is a server, it gets a file with an id at the first run.

    Raises:
        OSError: that file cannot be written or read.
    """
    return f"{run}.{_mark(folder)}" if address else run


def is_run_of(name: str, address: str, folder: str) -> bool:
    """Tells whether `run_name` made a name for this root."""
    return not address or name.endswith(f".{_mark(folder)}")


def _mark(folder: str) -> str:
    """Returns 8 digits for a folder: of a random id in it, since containers share host names and paths, and of its path.

    The path counts, too, since the copy of a root is another one.
    """
    path = os.path.join(folder, _ID_FILE)
    if not os.path.exists(path):  # To be called with the root's lock: nobody else makes one now.
        write_file(path, uuid.uuid4().hex.encode())
    ident = pathlib.Path(path).read_text()
    return hashlib.sha256(f"{ident}:{os.path.realpath(folder)}".encode()).hexdigest()[:8]


def _password(environment: Mapping[str, str]) -> str:
    if environment.get(PASSWORD):
        return environment[PASSWORD]
    if file := environment.get(PASSWORD_FILE):
        try:
            return pathlib.Path(file).read_text().rstrip("\n")
        except (OSError, ValueError) as error:
            raise VocsegError(f"{PASSWORD_FILE}: {file} cannot be read: {getattr(error, 'strerror', error)}.") from None
    return ""


def _reach(server: Server) -> None:
    """Fails, with an OSError, where nothing listens."""
    with socket.create_connection((server.host, server.port), timeout=_REACH_S):
        pass


def _explain(server: Server, text: str, has_password: bool) -> str:
    who = f"{server.user}@{server.host}:{server.port}"
    if "to database" in text or "unknown database" in text.lower():
        return (
            f"The metadata server knows {server.user}, but lets it neither use nor make the database {server.database}. "
            f"Make it: CREATE DATABASE {server.database}; GRANT ALL ON {server.database}.* TO '{server.user}'@'%';"
        )
    if _REFUSED in text:
        given = "the password in the environment is another one" if has_password else f"no password was given: set {PASSWORD}"
        tls = "the files for TLS do not fit" if server.tls else "the server wants TLS (?ca=FILE)"
        return (
            f"The metadata server refused {who}, {_TRIES[_REFUSED]} times, without saying why. Either {given}; the "
            "account does not exist, may not come from this machine, or uses another plugin than mysql_native_password; "
            f"{tls}; or the server was being started or stopped, or has no connection left: then run the same command again."
        )
    return f"The metadata server {who} cannot be used: {text[:400]}"
