"""What Python and the C library read of a machine while they run, as rules of Landlock."""

from __future__ import annotations

import os
import ssl
import sys
import sysconfig
from pathlib import Path

from theater.walls.landlock import READ, Right

_LIBRARIES = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/nix/store")
_NAMES = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
)
_AUTHORITIES = (
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/openssl.cnf",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates",
    "/etc/crypto-policies",
)
_SEEN = ("/proc/self", "/proc/cpuinfo", "/proc/sys", "/sys/devices/system/cpu", "/sys/fs/cgroup")


def code(*, executable: bool = False) -> dict[str, Right]:
    """Python, its packages, the libraries of the system, and what they ask of the kernel about this process.

    Args:
        executable: programs among them may be executed.
    """
    right = READ | Right.EXECUTE if executable else READ
    names = {*_LIBRARIES, *(sysconfig.get_path(each) for each in ("stdlib", "platstdlib", "purelib", "platlib"))}
    names |= {str(Path(__file__).parents[1]), *_packages()}
    if executable:
        names |= {sys.executable, os.path.realpath(sys.executable), f"{sys.base_prefix}/lib", f"{sys.prefix}/lib"}
    found = {name: right for name in names if os.path.exists(name)}
    # Where a package is looked for, its folder is listed.
    found |= {each: Right.READ_DIR for each in sys.path if os.path.isdir(each) and each not in found}
    found[f"{sys.prefix}/pyvenv.cfg"] = Right.READ_FILE
    return found | dict.fromkeys(_SEEN, READ) | {"/dev/null": READ | Right.WRITE_FILE, "/dev/urandom": READ}


def network() -> dict[str, Right]:
    """How names are resolved, and whom certificates are believed."""
    paths = ssl.get_default_verify_paths()
    own = (paths.cafile, paths.capath, paths.openssl_cafile, paths.openssl_capath)
    return {name: READ for name in (*_NAMES, *_AUTHORITIES, *own) if name and os.path.exists(name)}


def _packages() -> set[str]:
    """Wherever packages of this process come from: of the user, or by PYTHONPATH."""
    return {path for path in sys.path if os.path.isabs(path) and os.path.isdir(path)}
