"""`theater reload`: has a running server read its settings again."""

from __future__ import annotations

from ..options import App, json_option, theater_command
from ..output import line, print_json


@theater_command("reload")
@json_option
def command(app: App) -> None:
    """Has the server read its settings again.

    No actor notices. If something cannot be read, the command says what, and what was in force still is. A changed
    tree file is applied by `theater tree apply`, which asks what shall become of what runs.
    """
    with app.client() as client:
        read = client.reload()
        print_json({"read": read}) if app.json else line(f"read again: {', '.join(read) or 'nothing was to be read'}")
