"""A chat endpoint on loopback that answers by a script, misbehaviour included."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ENOUGH = 64 * 1024 * 1024


@dataclass(frozen=True)
class Received:
    """One request as it came in."""

    path: str
    headers: dict
    raw: bytes

    @property
    def body(self):
        return json.loads(self.raw)

    @property
    def figures(self):
        return json.loads(self.body["messages"][1]["content"])


class ChatServer:
    """Answers each request with the next act of its script; the last one repeats."""

    def __init__(self):
        self.requests = []
        self.poured = 0
        self.acts = [opinion()]
        self.asked = threading.Event()
        self.released = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.chat = self
        # Short, as whoever stops it waits for one round.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def script(self, *acts):
        self.acts = list(acts)

    def received(self, request):
        with self._lock:
            self.requests.append(request)
            act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
        self.asked.set()
        return act

    def stop(self):
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def handle_error(self, request, client_address):
        pass  # the client went away, as it may


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.chat.received(Received(self.path, headers, raw))(self)

    def log_message(self, *arguments):
        pass

    def reply(self, code, body, **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def said(text, *, finish="stop", refusal=None, tokens=(120, 30)):
    """Answer with this text of the model."""
    message = {"role": "assistant", "content": text, "refusal": refusal}
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "llama3.1",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {
            "prompt_tokens": tokens[0],
            "completion_tokens": tokens[1],
            "total_tokens": sum(tokens),
        },
    }
    return raw(json.dumps(answer).encode())


def opinion(*, stance=0.4, confidence=0.7, reasoning="Rising on volume.", tokens=(120, 30), **more):
    """Answer with an opinion."""
    told = {"reasoning": reasoning, "stance": stance, "confidence": confidence, **more}
    return said(json.dumps(told), tokens=tokens)


def raw(body, kind="application/json"):
    """Answer 200 with these bytes."""
    return lambda handler: handler.reply(200, body, Content_Type=kind)


def status(code, body=b'{"error": {"message": "no"}}', **headers):
    """Answer with an error; a retry may come at once."""
    headers = {"retry-after-ms": "1", **headers}
    return lambda handler: handler.reply(code, body, Content_Type="application/json", **headers)


def drop(handler):
    """Close the connection without an answer."""
    handler.close_connection = True
    with suppress(OSError):
        handler.connection.shutdown(socket.SHUT_RDWR)


def silent(handler):
    """Say nothing until the test ends."""
    handler.server.chat.released.wait(30)
    handler.close_connection = True


def held(act):
    """Wait until the test releases the answer."""

    def wait(handler):
        handler.server.chat.released.wait(30)
        act(handler)

    return wait


def broken_off(handler):
    """Promise more than is sent."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.close_connection = True


def trickle(handler):
    """Send a byte now and then, each soon enough, for two seconds in all."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    with suppress(OSError):
        for _ in range(100):
            handler.wfile.write(b" ")
            if handler.server.chat.released.wait(0.02):
                break
    handler.close_connection = True


def endless(code):
    """Send for as long as anybody reads, 64 MiB at most."""

    def pour(handler):
        handler.send_response(code)
        handler.send_header("Connection", "close")
        handler.end_headers()
        with suppress(OSError):
            while handler.server.chat.poured < ENOUGH:
                handler.wfile.write(b"x" * 65536)
                handler.server.chat.poured += 65536
        handler.close_connection = True

    return pour
