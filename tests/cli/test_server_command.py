"""`theater server`; what it does is in test_with_a_server.py."""

from __future__ import annotations

from commandline import Theater

from theater.errors import ManifestError, SocketPathTooLong


def test_a_tree_file_that_is_not_there_is_a_manifest_error(theater: Theater) -> None:
    done = theater("server", "--tree", "nothing.toml")
    assert (done.code, done.err) == (
        ManifestError.exit_code,
        "theater: cannot read nothing.toml: No such file or directory\n",
    )


def test_a_home_whose_sockets_no_kernel_accepts_is_refused(theater: Theater) -> None:
    done = theater("server", "--home", str(theater.home / ("x" * 120)))
    assert done.code == SocketPathTooLong.exit_code


def test_a_log_level_that_is_none_is_a_wrong_use(theater: Theater) -> None:
    assert theater("server", "--log-level", "loud").code == 2
