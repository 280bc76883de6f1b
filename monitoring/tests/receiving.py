"""Real ends for messages on loopback: an HTTP server that keeps what is posted, and a small SMTP server."""

import json
import socket
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Received:
    """What came to a receiver; `status` and `headers` are what it answers with."""

    address: str = ""
    status: int = 200
    headers: dict = field(default_factory=dict)
    requests: list = field(default_factory=list)

    @property
    def bodies(self):
        return [json.loads(body) for _path, _headers, body in self.requests]


@contextmanager
def web_receiver(status=200, **headers):
    """Keep every POST on loopback, and yield what has come."""
    received = Received(status=status, headers=headers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.requests.append((self.path, dict(self.headers), body))
            self.send_response(received.status)
            for name, value in received.headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received.address = f"http://127.0.0.1:{server.server_port}/hook"
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def mail_server(refuse=False):
    """Take one mail by SMTP, or refuse it; yield (port, the lines that came)."""
    listening = socket.create_server(("127.0.0.1", 0))
    lines = []

    def talk():
        connection, _ = listening.accept()
        with connection, connection.makefile("rwb", buffering=0) as talking:
            talking.write(b"220 here\r\n")
            in_data = False
            for line in talking:
                lines.append(line.decode().rstrip("\r\n"))
                if in_data and lines[-1] != ".":
                    continue
                in_data = lines[-1].upper() == "DATA"
                if lines[-1].upper() == "QUIT":
                    talking.write(b"221 bye\r\n")
                    return
                if refuse and lines[-1].upper().startswith("RCPT"):
                    talking.write(b"550 nobody of that name\r\n")
                else:
                    talking.write(b"354 go on\r\n" if in_data else b"250 ok\r\n")

    thread = Thread(target=talk)
    thread.start()
    try:
        yield listening.getsockname()[1], lines
    finally:
        thread.join(10)
        listening.close()
