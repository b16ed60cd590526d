"""The memory of an actor written in C is kept and restored: what is static, what was allocated, what it counted."""

from __future__ import annotations

from pathlib import Path

import pytest
from built import Actor, Host

from theater.build import build
from theater.build.compiled import ensure_compiled
from theater.core.codec import content_digest
from theater.core.manifest import parse
from theater.wasm.artefacts import Artefact, ArtefactCache
from theater.wasm.guest import Guest

pytest.importorskip("ziglang", reason="building C needs the package ziglang")

MANIFEST = 'name = "hoard"\n[build]\nlanguage = "c"\nsource = "actor.c"\n[[handler]]\ntype = "message-server"\n'
SOURCE = """
    #include <stdlib.h>
    #include <string.h>
    #include "theater.h"

    struct item { struct item *next; size_t size; char text[64]; };
    static struct item *newest;
    static unsigned calls;
    static double sum = 0.5;

    theater_answer theater_handle_request(theater_option state, theater_bytes id, theater_bytes body) {
        struct item *item = malloc(sizeof *item + 100000);
        item->next = newest;
        item->size = body.size < 64 ? body.size : 64;
        memcpy(item->text, body.data, item->size);
        newest = item;
        sum = sum * 1.25 + ++calls;
        theater_bytes all = theater_format("%u %f %p", calls, sum, (void *)item);
        for (; item; item = item->next)
            all = theater_format("%s %.*s", theater_string(all), (int)item->size, item->text);
        return theater_reply(state, all);
    }
"""


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    folder = tmp_path_factory.mktemp("hoard")
    (folder / "actor.c").write_text(SOURCE)
    component = build(folder, parse(MANIFEST, "manifest.toml"))
    ensure_compiled(folder / "cache", component)
    found = ArtefactCache(folder / "cache").find(content_digest(component.read_bytes()).hex(), False)
    assert found is not None
    return found


def loaded(artefact: Artefact) -> tuple[Guest, Actor]:
    host = Host()
    guest = Guest(artefact, host)
    guest.keep_image()
    return guest, Actor(guest, host)


def test_an_actor_in_c_goes_on_where_the_other_was(artefact: Artefact, tmp_path: Path) -> None:
    (guest, one), (second, other) = loaded(artefact), loaded(artefact)
    assert guest.unportable is None
    for word in (b"a", b"bc", b"def" * 10) * 10:  # which makes its memory grow
        one.request(word)
    second.restore(guest.keep())
    other.state = one.state
    for word in (b"x", b"yz"):
        assert one.request(word) == other.request(word) != loaded(artefact)[1].request(word)
        assert guest.state_root() == second.state_root()
    guest.close()
    second.close()
