"""`theater store`: content by its digest, and the labels on it, in the files of the home."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import click

from theater.errors import InvalidInput, UnknownContent

from ..options import App, json_option, read_input, theater_command, theater_group
from ..output import is_terminal, line, pairs, print_json, safe, size, table, write_bytes

if TYPE_CHECKING:
    from theater.store.content import ContentStore
    from theater.store.labels import Labels

OWN_STORE = "00000000-0000-0000-0000-000000000000"
"""The store whose labels the command line gives, unless it is told another: that of the nil UUID (RFC 9562, 5.9)."""

_DIGEST = re.compile(r"[0-9a-f]{64}")

_store_option = click.option(
    "--store",
    metavar="ID|NAME",
    help="The store: its id, or the name by which manifests share it. Default: the command line's own.",
)


@theater_group("store")
def command(app: App) -> None:
    """Keeps content by its digest, and labels.

    It works on the files of the home, with the server up or down.
    """
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@theater_command("put", command)
@click.argument("file", metavar="FILE")
@click.option("--label", metavar="NAME", help="Also makes this label stand for it.")
@_store_option
@json_option
def put(app: App, file: str, label: str | None, store: str | None) -> None:
    """Puts a file into the store.

    It prints the digest. FILE `-` is standard input.
    """
    content, labels = _open(app, write=True)
    data = read_input(file)
    digest = content.put(data)
    if label is not None:
        labels.replace_content_at_label(_writable(labels, store), label, data)
    print_json({"digest": digest, "size": len(data)}) if app.json else line(digest)


@theater_command("get", command)
@click.argument("what", metavar="DIGEST|LABEL")
@_store_option
def get(app: App, what: str, store: str | None) -> None:
    """Writes content.

    Its bytes are written as they are into a pipe, and readable on a terminal. Without --store a label is looked for
    in all stores.
    """
    content, labels = _open(app)
    write_bytes(content.get(what if _DIGEST.fullmatch(what) else _labelled(labels, what, store)))


@theater_command("ls", command)
@_store_option
@json_option
def ls(app: App, store: str | None) -> None:
    """Lists content with its labels.

    With --store only that of one store.
    """
    content, labels = _open(app)
    known = _labels_by_digest(labels)
    rows: list[dict[str, Any]] = [
        {"digest": digest, "size": content.size(digest), "labels": known.get(digest, [])}
        for digest in (content if store is None else labels.list_all_content(_id(store)))
    ]
    if app.json:
        print_json(rows)
    elif rows or not is_terminal():
        shown = ((row["digest"], size(row["size"]), ", ".join(each["label"] for each in row["labels"])) for row in rows)
        table(("DIGEST", "SIZE", "LABELS"), shown, right=("SIZE",), wide=("LABELS",))
    else:
        line("the store is empty")


@theater_command("label", command)
@click.argument("name")
@click.argument("digest")
@_store_option
@json_option
def label(app: App, name: str, digest: str, store: str | None) -> None:
    """Makes a label stand for content."""
    content, labels = _open(app, write=True)
    labels.replace_content_at_label(_writable(labels, store), name, content.get(digest))
    print_json({"label": name, "digest": digest}) if app.json else line(f"{safe(name)} is {digest}")


@theater_command("gc", command)
@click.option(
    "--grace", default="1h", show_default=True, metavar="TIME", help="Spares content that was put since then."
)
@json_option
def gc(app: App, grace: str) -> None:
    """Deletes content that nothing refers to.

    Chains, actors, labels and stores refer to content. With a running server the grace must be longer than this
    takes: what an actor stores meanwhile is spared by its age alone.
    """
    from theater.chainlog.references import collect_references
    from theater.core.quantities import duration
    from theater.server.upkeep import needed_by_actors

    content, labels = _open(app)
    home = app.files()
    needed = labels.references() | collect_references(home, content.get) | needed_by_actors(home)
    freed = content.gc(needed, duration(grace) / 1000, time.time())
    if app.json:
        print_json({"count": freed.count, "size": freed.size})
    else:
        line(f"deleted {freed.count}, freed {size(freed.size)}")


@theater_command("stats", command)
@json_option
def stats(app: App) -> None:
    """Counts what there is."""
    content, labels = _open(app)
    found, stores = content.stats(), labels.stores()
    if app.json:
        print_json({"count": found.count, "size": found.size, "damaged": found.damaged, "stores": len(stores)})
        return
    pairs((("contents", found.count), ("size", size(found.size)), ("damaged", found.damaged), ("stores", len(stores))))


def _open(app: App, *, write: bool = False) -> tuple[ContentStore, Labels]:
    from theater.store.content import ContentStore
    from theater.store.labels import Labels

    home = app.files().create() if write else app.files()
    content = ContentStore(home.content)
    return content, Labels(home.labels, content)


def _writable(labels: Labels, store: str | None) -> str:
    """The store to label in; the command line's own, and one of a name, is made when it is needed first."""
    found = _id(store)
    if found != store:
        labels.ensure(found)
    return found


def _id(store: str | None) -> str:
    """The id of the store that the user means."""
    from theater.core.permissions.store import is_store_name
    from theater.store.labels import named_store

    if store is None:
        return OWN_STORE
    return named_store(store) if is_store_name(store) else store


def _labelled(labels: Labels, label: str, store: str | None) -> str:
    """The digest of a label's newest content."""
    stores = labels.stores() if store is None else [_id(store)]
    found = {each: digest for each in stores if (digest := labels.get_by_label(each, label)) is not None}
    if not found:
        raise UnknownContent(f"there is no label {label!r}; `theater store ls` shows digests and labels", label=label)
    if len(found) > 1 and OWN_STORE not in found:
        raise InvalidInput(f"the label {label!r} is in {len(found)} stores: {', '.join(found)}; name one with --store")
    return found.get(OWN_STORE) or next(iter(found.values()))


def _labels_by_digest(labels: Labels) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for store in labels.stores():
        for name in labels.list_labels(store):
            for digest in labels.labelled(store, name):
                found.setdefault(digest, []).append({"store": store, "label": name})
    return found
