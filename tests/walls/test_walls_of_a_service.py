"""Our walls within those of a service manager, whose filter refuses what we would ask for."""

from __future__ import annotations

import os

import pytest
from confined import confined

_FILTER = """
    import subprocess, sys
    privileges.gain_no_more()
    def refuse(*names):
        filter = seccomp.Filter(errors={name: errno.EPERM for name in names}, otherwise=None)
        seccomp.install(filter.program(notify=False))
"""
is_root = pytest.mark.skipif(os.geteuid() != 0, reason="who is not root has no capability to keep")


def test_who_has_no_capability_need_not_be_allowed_to_give_it_up() -> None:
    found = confined(f"""{_FILTER}
    privileges.drop_capabilities()
    refuse("capset")
    say([privileges.has_capabilities(), tried(privileges.drop_capabilities)])
    """)
    assert found.said == [False, "done"]


@is_root
def test_a_capability_that_may_not_be_given_up_is_not_passed_over() -> None:
    found = confined(f"""{_FILTER}
    refuse("capset")
    say([privileges.has_capabilities(), tried(privileges.drop_capabilities)])
    """)
    assert found.said == [True, "EPERM"]


def test_an_empty_network_is_had_where_only_users_and_networks_are_allowed() -> None:
    """As by RestrictNamespaces=user net, which looks at the flags of unshare(2)."""
    found = confined(f"""{_FILTER}
    first = kernel.unshare
    others = 0x08000000 | 0x04000000
    rules = seccomp.Filter(
        allowed=frozenset(NUMBERS) - {{"unshare"}}, when={{"unshare": [(seccomp.Masked(0, others, 0),)]}}
    )
    seccomp.install(rules.program(notify=False))
    child = os.fork()
    if child == 0:
        refusal = namespaces.leave_the_network()
        say([refusal, [name for _, name in socket.if_nameindex()]])
        os._exit(0)
    os.waitpid(child, 0)
    """)
    if found.said is None or (os.geteuid() != 0 and found.said[0] is not None):
        pytest.skip("this system has no namespaces for users")
    assert found.said == [None, ["lo"]]
