"""A house that takes commands over the network, and keys for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from house import House

from theater.client import Client
from theater.core.authorized_key import AuthorizedKey, write
from theater.core.curve import public_of
from theater.core.roles import Role


class Elsewhere:
    """A house and the folder of keys that it authorizes."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.authorized = house.folder / "authorized"
        self.authorized.mkdir(mode=0o700)
        self._names = 0

    def open(self, listen: str = "tcp://127.0.0.1:0") -> Elsewhere:
        """Starts the server; at a port of its choice unless one is given."""
        self.house.open("--listen", listen, "--authorized-keys", str(self.authorized))
        return self

    @property
    def remote(self) -> dict[str, Any]:
        """What the server says of control from elsewhere."""
        found: dict[str, Any] = self.house.client.call("hello", {})["remote"]
        return found

    @property
    def address(self) -> str:
        return str(self.remote["listen"][0])

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def make_key(self, name: str, role: Role | None, expires: str | None = None) -> Path:
        """A key, authorized if it has a role; its secret file."""
        secret = os.urandom(32)
        file = self.house.folder / f"{name}.key"
        file.touch(mode=0o600)
        file.write_text(secret.hex() + "\n")
        if role is not None:
            self.authorize(name, public_of(secret), role, expires)
        return file

    def authorize(self, name: str, public: bytes, role: Role, expires: str | None = None) -> None:
        """Lets the holder of a key in, or in another role than before."""
        file = self.authorized / f"{name}.toml"
        file.with_suffix(".new").write_text(write(AuthorizedKey(name, public, role), expires))
        file.with_suffix(".new").replace(file)

    def remove(self, name: str) -> None:
        (self.authorized / f"{name}.toml").unlink()

    def client(self, key: Path, server_key: str | None = None) -> Client:
        """A client over the network; it is closed with the house."""
        made = Client(self.address, self.house.home, server_key or self.remote["key"], str(key))
        self.house.clients.append(made)
        return made

    def admit(self, role: Role) -> tuple[str, Client]:
        """A client of this role, and the name of its key."""
        self._names += 1
        name = f"{role.label}{self._names}"
        _ = self.house.client  # The first client of a house is that of its own machine.
        return name, self.client(self.make_key(name, role))

    def entries(self, event: str) -> list[dict[str, Any]]:
        """What the supervisor's chain says of one kind of event, oldest first."""
        return [details for name, details in self.house.history() if name == event]


def public_key(file: Path) -> bytes:
    """The public key of a secret one in a file."""
    return public_of(bytes.fromhex(file.read_text().strip()))
