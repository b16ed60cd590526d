"""A weather service for this example, on port 8084 of this machine."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 8084
WEATHER = {"oslo": 3, "rome": 21}


class Weather(BaseHTTPRequestHandler):
    def do_GET(self):
        city = self.path.rpartition("/")[2]
        status, answer = (200, {"temp": WEATHER[city]}) if city in WEATHER else (404, {})
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Weather)
    print("ready", flush=True)
    server.serve_forever()
