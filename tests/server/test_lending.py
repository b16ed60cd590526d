"""What the supervisor opens for the gateway: files that manifests grant, those of credentials, and nothing else."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from theater.config import Home
from theater.gateway.lent_files import Lent
from theater.server.lending import Lending
from theater.server.loop import Loop

Read = Callable[[Path], bytes]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


@pytest.fixture
def granted(tmp_path: Path) -> Path:
    folder = tmp_path / "certificates"
    folder.mkdir()
    (folder / "one.pem").write_bytes(b"one")
    return folder


@pytest.fixture
def read(home: Home, granted: Path) -> Iterator[Read]:
    """Reads a file as the gateway does."""
    loop = Loop()
    lending = Lending(home, loop, lambda: [granted])
    lent = Lent(lending.open())
    serving = threading.Thread(target=loop.run)
    serving.start()

    def read(path: Path) -> bytes:
        with open(lent(path), "rb") as file:
            return file.read()

    yield read
    loop.after(0, loop.stop)
    lent._line.close()
    serving.join(10)
    lending.close()
    loop.close()


def test_files_in_granted_folders_are_lent_for_reading(read: Read, granted: Path) -> None:
    assert read(granted / "one.pem") == b"one"
    with pytest.raises(FileNotFoundError):
        read(granted / "none.pem")


def test_nothing_else_is_lent_whatever_leads_there(read: Read, granted: Path, home: Home, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (home.root / "key").write_bytes(b"key")
    (granted / "link").symlink_to(tmp_path / "secret")
    (granted / "to-home").symlink_to(home.root)
    os.mkfifo(granted / "pipe")
    refused = (
        tmp_path / "secret",
        granted / "link",
        granted / ".." / "secret",
        granted / "to-home" / "key",
        home.root / "key",
        home.root / ".." / "home" / "credentials.toml",
        Path("one.pem"),
        granted,
        granted / "pipe",
    )
    for path in refused:
        with pytest.raises(OSError):
            read(path)


def test_credentials_and_the_files_that_hold_them_are_lent(read: Read, home: Home, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_bytes(b"abc")
    with pytest.raises(FileNotFoundError):
        read(home.root / "credentials.toml")
    with pytest.raises(PermissionError):
        read(token)
    (home.root / "credentials.toml").write_text(f'[one]\nfile = "{token}"\nurls = ["https://a.example/*"]\n')
    assert read(home.root / "credentials.toml").startswith(b"[one]")
    assert read(token) == b"abc"


def test_a_folder_of_certificates_that_holds_the_home_lends_nothing_of_it(home: Home, tmp_path: Path) -> None:
    loop = Loop()
    (home.root / "key").write_bytes(b"key")
    with pytest.raises(PermissionError):
        Lending(home, loop, lambda: [tmp_path])._opened(home.root / "key")
    loop.close()
