"""How a client gets to its server: by a path socket of this machine, or over the network with keys.

What a user has of keys is in `$XDG_CONFIG_HOME/theater`, else `~/.config/theater`:

    keys/NAME.key      a secret key, 64 hexadecimal digits and a line feed, mode 0600
    keys/NAME.toml     the file that the admin of a server puts into its folder of authorized keys
    servers.toml       servers that are known, by the names that the user gives them

        [prod]
        address = "tcp://theater.example:7070"
        server_key = "4f0c…"      # what `theater keys show` says there
        key = "alice"             # of `keys`, or a path

An address without `://` is such a name. As with SSH, a server is known by its key or not at all: there is no first
contact on trust.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from theater import config
from theater.bus.doors import Keys
from theater.config import Home
from theater.core.curve import read_key
from theater.errors import InvalidInput, NotFound

_TCP = re.compile(r"tcp://(\[[0-9A-Fa-f:.%a-z]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Route:
    """Where a server is.

    Args:
        address: `ipc:///path` or `tcp://HOST:PORT`.
        keys: for the network.
    """

    address: str
    keys: Keys | None = None

    @property
    def is_remote(self) -> bool:
        return self.keys is not None


@dataclass(frozen=True, slots=True)
class KnownServer:
    """A section of `servers.toml`."""

    address: str
    server_key: str
    key: str | None


def find_route(address: str | None, home: Home, server_key: str | None = None, key: str | None = None) -> Route:
    """The route that a user means.

    Args:
        address: an address or the name of a known server; else $THEATER_ADDRESS, else that of the home.
        server_key: the server's public key or a file with it; else $THEATER_SERVER_KEY, else as `servers.toml` says.
        key: the name or file of the user's own key; else $THEATER_CLIENT_KEY, else as `servers.toml` says, else
            the only one.

    Raises:
        InvalidInput: the address is none, or a key is missing or none (SocketPathTooLong: no kernel accepts the path).
        NotFound: there is no such server or key.
    """
    chosen = address or os.environ.get("THEATER_ADDRESS")
    if chosen is None or chosen.startswith("ipc://"):
        return Route(config.address(chosen, home))
    known = _known(chosen)
    chosen = known.address if known is not None else chosen
    check_tcp(chosen)
    server_key = server_key or os.environ.get("THEATER_SERVER_KEY") or (known.server_key if known is not None else None)
    if server_key is None:
        raise InvalidInput(
            f"the key of the server at {chosen} is not known: give what `theater keys show` says there as "
            "--server-key, or keep it with `theater keys trust`"
        )
    key = key or os.environ.get("THEATER_CLIENT_KEY") or (known.key if known is not None else None)
    return Route(chosen, Keys(given_public_key(server_key), own_key(key)))


def check_tcp(address: str) -> str:
    """The address itself. Raises InvalidInput if it is none on the network."""
    found = _TCP.fullmatch(address)
    if found is None or not 0 <= int(found[2]) < 65_536:
        raise InvalidInput(
            f"{address} is not an address; write ipc:///path/of/a/socket, tcp://HOST:PORT or the name of a known server"
        )
    return address


def check_listen(address: str) -> str:
    """An address to listen at, itself; `tcp://*:PORT` is every one of the machine. Raises InvalidInput."""
    if not address.startswith("tcp://"):
        raise InvalidInput(f"{address} is nothing to listen at; write tcp://HOST:PORT, or tcp://*:PORT for everywhere")
    check_tcp(address.replace("*", "0.0.0.0", 1))
    return address


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of a good address on the network."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    return host.strip("[]"), int(port)


# ---- what a user has of keys


def folder() -> Path:
    """Where all of that is; it need not exist."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "theater"


def keys_folder() -> Path:
    return folder() / "keys"


def servers_file() -> Path:
    return folder() / "servers.toml"


def known_servers() -> Mapping[str, KnownServer]:
    """The servers of `servers.toml`.

    Raises:
        InvalidInput: it is wrong, or cannot be read.
    """
    from theater.core.toml_text import document  # only who goes elsewhere needs it

    file = servers_file()
    try:
        text = file.read_text()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read {file}: {error}") from error
    return {name: _server(str(file), name, value) for name, value in document(text, str(file)).values.items()}


def _server(file: str, name: str, value: object) -> KnownServer:
    if not isinstance(value, dict) or not {"address", "server_key"} <= value.keys() <= {"address", "server_key", "key"}:
        raise InvalidInput(f"{file}: [{name}] needs address and server_key, and may have key; nothing else")
    if not all(isinstance(each, str) for each in value.values()):
        raise InvalidInput(f"{file}: what stands in [{name}] must be texts")
    return KnownServer(value["address"], value["server_key"], value.get("key"))


def _known(address: str) -> KnownServer | None:
    """The known server of this name, or at this address."""
    servers = known_servers()
    if "://" in address:
        return next((each for each in servers.values() if each.address == address), None)
    if address not in servers:
        known = f"known are {', '.join(sorted(servers))}" if servers else "none is known; see `theater keys trust`"
        raise NotFound(f"there is no server {address!r} in {servers_file()}: {known}")
    return servers[address]


def given_public_key(words: str) -> bytes:
    """The public key that a user means: its digits, or a file that holds them. Raises InvalidInput."""
    found = read_key(words)
    if found is None:
        try:
            found = read_key(Path(words).read_text("ascii", "replace").strip())
        except OSError:
            found = None
    if found is None:
        raise InvalidInput(f"{words!r} is no key: neither 64 hexadecimal digits in lower case, nor a file with them")
    return found


def own_key(words: str | None) -> bytes:
    """The secret key that a user means.

    Args:
        words: the name of a key, or a file; None for the only key there is.

    Raises:
        NotFound: there is no such key, or not just one.
        InvalidInput: it is none, or others can read it.
    """
    file = _only_key() if words is None else keys_folder() / f"{words}.key"
    if words is not None and ("/" in words or not file.exists()):
        file = Path(words)
    try:
        with file.open("rb") as opened:
            if stat.S_IMODE(os.fstat(opened.fileno()).st_mode) & 0o077:
                raise InvalidInput(f"others may read the secret key {file}, so it is not used: chmod 600 {file}")
            key = read_key(opened.read(100).decode("ascii", "replace").strip())
    except FileNotFoundError as error:
        raise NotFound(f"there is no key {words!r}: neither in {keys_folder()}, nor a file") from error
    except OSError as error:
        raise InvalidInput(f"cannot read the key {file}: {error.strerror}") from error
    if key is None:
        raise InvalidInput(f"{file} is no secret key: it does not hold 64 hexadecimal digits")
    return key


def _only_key() -> Path:
    found = sorted(keys_folder().glob("*.key"))
    if len(found) != 1:
        what = (
            f"there is no key in {keys_folder()}: make one with `theater keys new NAME`"
            if not found
            else (f"there are several keys ({', '.join(each.stem for each in found)}): choose one with --client-key")
        )
        raise NotFound(what)
    return found[0]
