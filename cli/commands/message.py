"""`theater message`: says something to an actor."""

from __future__ import annotations

import click

from ..lines import short
from ..options import App, actor_argument, for_each, json_option, named, read_input, theater_command
from ..output import end_line, line, print_json, size, write_bytes


@theater_command("message")
@actor_argument
@click.argument("body")
@click.option("--request", is_flag=True, help="Waits for the reply and writes its bytes and nothing else.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=30.0, show_default=True, metavar="SECONDS",
    help="How long to wait.",
)  # fmt: skip
@json_option
def command(app: App, actor: str, body: str, request: bool, timeout: float) -> int:
    """Sends a message to an actor.

    BODY is the text itself, `@FILE`, or `-` for standard input.
    """
    if actor == body == "-":
        raise click.UsageError("standard input cannot be both the actors and the body; give the body as @FILE")
    actors = named(actor)
    content = _content(body)
    with app.client() as client:

        def send(actor: str) -> None:
            if request:
                reply = client.request(actor, content, timeout)
                if app.json:
                    print_json({"actor": actor, "reply": reply})
                else:
                    write_bytes(reply)
                    if len(actors) > 1:
                        end_line()
            else:
                taken_by = client.send(actor, content, timeout)
                if app.json:
                    print_json({"actor": taken_by, "size": len(content)})
                else:
                    line(f"sent {size(len(content))} to {short(taken_by)}")

        return for_each(actors, send)


def _content(body: str) -> bytes:
    if body == "-":
        return read_input("-")
    return read_input(body[1:]) if body.startswith("@") else body.encode("utf-8", "surrogateescape")
