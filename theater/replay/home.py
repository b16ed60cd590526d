"""Replay of the chains of a home: verified first, then performed, with the server up or down.

A chain that does not verify is not performed: its first error is known already. What a chain needs compiled is compiled
before, by throw-away processes into the machine's cache, so that the process of the replay finds all of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from theater.build.compiled import ensure_compiled
from theater.chainlog.keys import public_key
from theater.chainlog.reader import ChainReader
from theater.chainlog.verify import verify_home
from theater.config import Home
from theater.core.chain import START
from theater.core.life import Life, lives
from theater.core.same_guest import check_engine
from theater.core.verification import Verdict
from theater.errors import OtherEngine, TheaterError
from theater.replay.guard import NO_SECRETS, PATIENCE_S, End, Secrets, perform
from theater.replay.sources import limits_of, records_of, snapshot_to_begin_at
from theater.store.content import ContentStore
from theater.wasm.engine import engine_identity

NEWEST = "newest"
"""In place of a number: the newest snapshot that holds the memory."""

Say = Callable[[str], None]


def _silent(text: str) -> None:
    """Nobody looks."""


def replay_home(
    home: Home,
    cache: Path,
    actors: Iterable[str] | None = None,
    *,
    say: Say = _silent,
    patience: float = PATIENCE_S,
    secrets: Iterable[tuple[str, Path]] = (),
    begin: int | str | None = None,
) -> list[Verdict]:
    """Replays chains of a home, as many at once as there are processors.

    Args:
        cache: the folder of compiled components.
        actors: ids of the actors; None for all.
        say: told what is being done, from several threads.
        patience: seconds for which a replay may stay at one entry, beyond what follows from its record.
        secrets: names, and files of kept secrets, beside those that the home has itself.
        begin: number of the snapshot to begin at, or `NEWEST`; None for the beginning, or what is left of it.

    Returns:
        A verdict for each: entries and head are those that were reproduced.

    Raises:
        UnknownActor: an id is not in the home.
    """
    content = ContentStore(home.content)
    wanted, given = None if actors is None else list(actors), tuple(secrets)
    verified = verify_home(
        home, content, wanted, lambda verdict: say(f"verified {verdict.id}"), key=public_key(home)
    ).actors

    def replay(verdict: Verdict) -> Verdict:
        if not verdict.ok or not verdict.entries:
            return verdict
        who = verdict.name or verdict.id
        known = Secrets(home.secrets / verdict.id, given)
        chain = home.chain(verdict.id)
        end = replay_chain(chain, content, cache, lambda text: say(f"{who}: {text}"), patience, known, begin)
        error = None if end.error is None else words(end.error)
        return replace(verdict, entries=end.entries, head=end.head, ok=error is None, error=error, begun=end.begun)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(replay, verified))


def replay_chain(
    chain: Path,
    content: ContentStore,
    cache: Path,
    say: Say = _silent,
    patience: float = PATIENCE_S,
    secrets: Secrets = NO_SECRETS,
    begin: int | str | None = None,
) -> End:
    """Replays one chain file.

    Args: as `replay_home`.
    """
    try:
        at = _begin_at(chain, begin)
        _prepare(chain, content, cache, say, at)
    except TheaterError as error:
        return End(0, START.digest.hex(), error)

    def progress(entries: int) -> None:
        say(f"replayed {entries} entries")

    return perform(chain, content.root, cache, progress, patience, secrets, at)


def words(error: TheaterError) -> str:
    """An error and, of a divergence, the difference line by line."""
    diff = error.details.get("diff")
    return "\n".join([error.message, *map(str, diff)]) if isinstance(diff, list) else error.message


def _begin_at(chain: Path, begin: int | str | None) -> int | None:
    """The number of the snapshot to begin at, which is the first that is kept if older entries were dropped."""
    if begin is not None:
        return snapshot_to_begin_at(chain, begin if isinstance(begin, int) else None)
    with ChainReader(chain) as reader:
        return None if reader.dropped is None else reader.dropped.until.entries


def _prepare(chain: Path, content: ContentStore, cache: Path, say: Say, begin: int | None) -> None:
    """Has what the lives of a chain need compiled, up to one that ran on another engine, where the replay will end.

    Raises:
        IntegrityError: what a life was made of is not there.
        BuildFailed, ComponentError: it could not be compiled.
    """
    prepared: set[tuple[str, bool]] = set()
    for life in lives(records_of(chain, begin)):
        fuel = limits_of(life, content.get).fuel is not None
        key = life.component, fuel
        if key not in prepared and not _is_foreign(life, fuel):
            prepared.add(key)
            content.check(life.component)
            ensure_compiled(cache, content.path(life.component), say, fuel=fuel)


def _is_foreign(life: Life, fuel: bool) -> bool:
    try:
        check_engine(life, engine_identity(fuel))
    except OtherEngine:
        return True
    return False
