"""Chain files: the one writer, any number of readers, recovery after a death, verification of a home.

The format and all rules are in core/chain.py and core/verification.py; here are the files. Beside the chain, an
actor has a log for people (`actor_log`), which proves nothing.
"""

from theater.chainlog.reader import ChainReader
from theater.chainlog.recovery import Recovery, recover
from theater.chainlog.references import collect_references
from theater.chainlog.verify import HomeVerdict, verify_chain, verify_home
from theater.chainlog.writer import ChainWriter, Durability

__all__ = [
    "ChainReader",
    "ChainWriter",
    "Durability",
    "HomeVerdict",
    "Recovery",
    "collect_references",
    "recover",
    "verify_chain",
    "verify_home",
]
