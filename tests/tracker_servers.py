"""Fake servers of W&B and MLflow with the few answers that their clients need for a run."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Hands each request to the server's `answer(path, content)` and sends what that returns."""

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, answer = self.server.answer(self.path, content)  # type: ignore[attr-defined]
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PUT = do_POST

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, path: str, content: bytes) -> tuple[int, Any]:
        raise NotImplementedError


class WandbServer(Server):
    """Keeps each run's upsert, and the rows of its history and summary as they stream in."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: dict[str, dict[str, Any]] = {}
        self.history: dict[str, list[dict[str, Any]]] = {}
        self.summaries: dict[str, list[dict[str, Any]]] = {}

    def answer(self, path: str, content: bytes) -> tuple[int, Any]:
        if path.endswith("/file_stream"):
            run, files = path.split("/")[-2], json.loads(content).get("files", {})
            for name, kept in (
                ("wandb-history.jsonl", self.history),
                ("wandb-summary.json", self.summaries),
            ):
                rows = [json.loads(line) for line in files.get(name, {}).get("content", [])]
                kept.setdefault(run, []).extend(rows)
        if path != "/graphql":
            return 200, {}
        asked = json.loads(content)
        values = asked["variables"]
        if asked["operationName"] == "UpsertBucket":
            self.runs.setdefault(values["name"], {}).update(
                {key: value for key, value in values.items() if value is not None}
            )
            return 200, {"data": {"upsertBucket": {"bucket": _bucket(values), "inserted": True}}}
        if asked["operationName"] == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": f"{self.url}/{name}"} for name in values["files"]]
            made = {"runID": values["run"], "uploadHeaders": [], "files": files}
            return 200, {"data": {"createRunFiles": made}}
        return 200, {"data": {}}


def _bucket(values: dict[str, Any]) -> dict[str, Any]:
    project = {"id": "p", "name": values["project"], "entity": {"id": "e", "name": "someone"}}
    return {
        **{"id": "b", "name": values["name"], "displayName": values["displayName"]},
        **{"description": "", "config": "{}", "sweepName": "", "historyLineCount": 0},
        "project": project,
    }


class MlflowServer(Server):
    """Experiments and runs of MLflow's REST API 2.0, in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.experiments: list[str] = []
        self.runs: list[dict[str, Any]] = []

    def answer(self, path: str, content: bytes) -> tuple[int, Any]:
        call, _, query = path.removeprefix("/api/2.0/mlflow/").partition("?")
        given = json.loads(content or b"{}")
        if call == "experiments/get-by-name":
            name = query.partition("=")[2]
            if name in self.experiments:
                return 200, {"experiment": {"experiment_id": "1", "name": name}}
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"}
        if call == "experiments/create":
            self.experiments.append(given["name"])
            return 200, {"experiment_id": "1"}
        if call == "runs/create":
            self.runs.append({"name": given["run_name"], "params": {}, "metrics": [], "tags": {}})
            return 200, {"run": self._run(len(self.runs) - 1)}
        if call == "runs/search":
            digest = given["filter"].split("'")[1]
            found = [at for at, run in enumerate(self.runs) if run["tags"].get("record") == digest]
            return 200, {"runs": [self._run(at) for at in found]}
        if call == "runs/get":
            return 200, {"run": self._run(int(query.rpartition("=")[2]))}
        run = self.runs[int(given["run_id"])]
        for each in given.get("params", []):
            run["params"][each["key"]] = each["value"]
        for each in given.get("tags", []):
            run["tags"][each["key"]] = each["value"]
        run["metrics"] += given.get("metrics", [])
        run["status"] = given.get("status", run.get("status"))
        return 200, {"run_info": self._run(int(given["run_id"]))["info"]}

    def _run(self, number: int) -> dict[str, Any]:
        return {"info": {"run_id": str(number), "experiment_id": "1"}, "data": {}}


@contextmanager
def serving(server: Server) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
