"""An actor that reaches files, programs and the network: what it is suggested is what it needs, and is enough."""

from __future__ import annotations

import textwrap

from house import House
from page_example import Scene, read_example

EXAMPLE = """
## Example

```toml
name = "busy"
[build]
language = "python"
source = "actor.py"
[[handler]]
type = "message-server"
[[handler]]
type = "http-client"
allow = ["GET,POST http://127.0.0.1:8080/*", "GET http://127.0.0.1:8081/*"]
private = ["127.0.0.1:8080", "127.0.0.1:8081"]
[[handler]]
type = "filesystem"
read = ["data", "private"]
write = ["data", "out"]
commands = ["cat", "rm"]
[[handler]]
type = "process"
programs = ["true", "sleep"]
[[handler]]
type = "store"
write = ["shared", "unused"]
[[handler]]
type = "timing"
[[handler]]
type = "environment"
variables = ["APP_*"]
[[handler]]
type = "random"
[[grant]]
type = "registry"
[[handler]]
type = "supervisor"
```

```python
import theater


class Busy(theater.Actor):
    def handle_request(self, url):
        found = theater.http.fetch(url).body.decode()
        theater.files.write("out/found.txt", found)
        program = theater.process.spawn("true")
        return [found, theater.env.get("APP_NAME"), program > 0]
```

```python
# server.py
import http.server


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Hello)
print("ready")
server.serve_forever()
```

```text
env APP_NAME busy bee
background server.py
$ mkdir data private out
start manifest.toml
request "http://127.0.0.1:8080/a"
reply ["hello", "busy bee", true]
request "http://127.0.0.1:8080/b"
reply ["hello", "busy bee", true]
$ theater permissions busy --suggest | tee least.toml
prints allow = ["GET http://127.0.0.1:8080/a", "GET http://127.0.0.1:8080/b"]
prints private = ["127.0.0.1:8080"]
prints type = "filesystem"
prints write = ["out"]
prints programs = ["true"]
prints variables = ["APP_NAME"]
$ grep -c -E "read =|rm|sleep|shared|timing|random|registry|supervisor|8081" least.toml
prints 0
exits 1
$ theater stop busy --remove
start least.toml
to busy
request "http://127.0.0.1:8080/b"
reply ["hello", "busy bee", true]
request "http://127.0.0.1:8080/c"
error ...
```
"""


def test_what_is_suggested_is_what_was_needed_and_is_enough(closed_house: House) -> None:
    Scene(closed_house, read_example(textwrap.dedent(EXAMPLE))).play()
