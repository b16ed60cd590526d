"""A terminal for the chat: `python talk.py NAME [ROOM]`. Lines that you type are said, what is said is printed."""

import asyncio
import json
import os
import sys
from urllib.parse import urlencode

import aiohttp

SERVER = os.environ.get("CHAT", "http://127.0.0.1:8081")
PATIENCE = 10.0


class Talk:
    def __init__(self, socket, name):
        self.socket, self.name = socket, name
        self.said = self.heard = 0
        self.all_heard = asyncio.Event()

    async def listen(self):
        async for message in self.socket:
            line = json.loads(message.data)
            print(f"{line['from']}: {line['text']}", flush=True)
            if line["from"] == self.name:
                self.heard += 1
                self.all_heard.set()

    async def speak(self):
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            await self.socket.send_str(line.rstrip("\n"))
            self.said += 1
        while self.heard < self.said:  # Everybody hears what was said last, and so does whoever said it.
            self.all_heard.clear()
            await self.all_heard.wait()


async def main(name, room="lobby"):
    query = urlencode({"name": name, "room": room})
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{SERVER}/talk?{query}") as socket:
        talk = Talk(socket, name)
        ears = asyncio.create_task(talk.listen())
        await asyncio.wait_for(talk.speak(), None if sys.stdin.isatty() else PATIENCE)
        ears.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
