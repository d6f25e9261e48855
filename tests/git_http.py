"""A git server over HTTP for tests: `git http-backend` behind Python's own server.

It can speak the old protocol only, ask for a password, stay silent, or cut each answer after some
bytes, and it counts the bytes that it sent.
"""

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Manners:
    """How the server behaves; a test changes it while the server runs."""

    old_protocol: bool = False
    password: bool = False
    silent: bool = False
    dumb: bool = False
    status: int | None = None
    cut_after: int | None = None  # bytes of all answers together
    sent: int = 0


@contextmanager
def git_server(root: Path) -> Iterator[tuple[str, Manners]]:
    """Serve the repositories under `root`; yields the URL of `root` and the server's manners."""
    manners = Manners()
    quiet = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        do_POST = do_GET

        def _answer(self) -> None:
            if manners.silent:
                quiet.wait(60)
                return
            if manners.status or manners.password:
                self.send_response(manners.status or 401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if manners.dumb:
                self._plain_file()
                return
            self._send(_backend(root, self, manners))

        def _plain_file(self) -> None:
            path = root / self.path.partition("?")[0].lstrip("/")
            status = "200 OK" if path.is_file() else "404 Not Found"
            body = path.read_bytes() if path.is_file() else b""
            self._send(f"Status: {status}\r\nContent-Type: text/plain\r\n\r\n".encode() + body)

        def _send(self, answer: bytes) -> None:
            head, _, body = answer.partition(b"\r\n\r\n")
            lines = [line.partition(": ") for line in head.decode().split("\r\n")]
            fields = {name: value for name, _, value in lines}
            self.send_response(int(fields.pop("Status", "200").split()[0]))
            for name, value in fields.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if manners.cut_after is not None:
                body = body[: max(0, manners.cut_after - manners.sent)]
            self.wfile.write(body)
            manners.sent += len(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", manners
    finally:
        quiet.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _backend(root: Path, request: BaseHTTPRequestHandler, manners: Manners) -> bytes:
    """What `git http-backend` answers, CGI headers and body."""
    path, _, query = request.path.partition("?")
    body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
        "GIT_PROJECT_ROOT": str(root),
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_PROTOCOL": "" if manners.old_protocol else request.headers.get("Git-Protocol", ""),
        "REQUEST_METHOD": request.command,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
        "REMOTE_ADDR": "127.0.0.1",
    }
    return subprocess.run(
        ["git", "http-backend"], input=body, env=environment, capture_output=True
    ).stdout
