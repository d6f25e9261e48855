"""MLflow: the server that MLFLOW_TRACKING_URI names, else files in ./mlruns."""

import importlib.util
import os
from datetime import datetime

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # the light package has no database
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")

from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from pipeline.core.errors import PipelineError
from pipeline.mirror.run import Run

MOST_PARAMS, LONGEST_VALUE = 100, 6000  # of one request, by MLflow's REST API
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
TAG = "record"  # is given last: a run without it was not finished


class Mirror:
    """A run is known by a tag with the record's hash, in the experiment named `project`."""

    def __init__(self, project: str) -> None:
        address = os.environ.get("MLFLOW_TRACKING_URI", "file:mlruns")
        needs_database = address.startswith(DATABASES)
        if needs_database and importlib.util.find_spec("sqlalchemy") is None:
            raise PipelineError(
                f"MLFLOW_TRACKING_URI={address.partition(':')[0]}:...: mlflow-skinny has no "
                "database: install mlflow, or set MLFLOW_TRACKING_URI to a server or file:"
            )
        self.client = MlflowClient(address)
        self.project = project

    def has(self, run: Run) -> bool:
        return bool(
            self.client.search_runs([self._experiment()], f"tags.{TAG} = '{run.id}'", max_results=1)
        )

    def add(self, run: Run) -> None:
        at = _milliseconds(run.record.started_at)
        made = self.client.create_run(self._experiment(), start_time=at, run_name=run.name)
        run_id = made.info.run_id
        params = [Param(key, str(value)[:LONGEST_VALUE]) for key, value in run.settings.items()]
        for first in range(0, len(params), MOST_PARAMS):
            self.client.log_batch(run_id, params=params[first : first + MOST_PARAMS])
        metrics, seconds = [], 0.0
        for epoch, numbers in run.epochs:
            seconds += numbers.get("seconds", 0.0)
            then = at + round(1000 * seconds)
            metrics += [Metric(name, value, then, epoch) for name, value in numbers.items()]
        end = at + round(1000 * run.results.get("fit_seconds", seconds))
        metrics += [Metric(f"final/{name}", value, end, 0) for name, value in run.results.items()]
        self.client.log_batch(run_id, metrics=metrics)
        status = "FINISHED" if run.record.status == "ok" else "FAILED"
        self.client.set_terminated(run_id, status, end_time=end)
        self.client.log_batch(run_id, tags=[RunTag(TAG, run.id)])

    def _experiment(self) -> str:
        known = self.client.get_experiment_by_name(self.project)
        return str(known.experiment_id if known else self.client.create_experiment(self.project))


def _milliseconds(started_at: str | None) -> int:
    """Since 1970; 0 where the record does not say when."""
    return round(1000 * datetime.fromisoformat(started_at).timestamp()) if started_at else 0
