"""trackio: its database in TRACKIO_DIR on this machine; `trackio sync` publishes it, if wanted."""

import contextlib
import io
import os

import trackio

from pipeline.mirror.run import Run

ELSEWHERE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_DATASET_ID", "TRACKIO_BUCKET_ID")


class Mirror:
    """A run is known by its name, which ends in the record's hash.

    One without a number is not kept by trackio, so each has `final/ok`, 1 or 0.
    """

    def __init__(self, project: str) -> None:
        self.project = project
        for name in ELSEWHERE:  # with these, each call would ask the network
            os.environ.pop(name, None)

    def has(self, run: Run) -> bool:
        try:
            return any(each.name == run.file_name for each in trackio.Api().runs(self.project))
        except ValueError:  # no such project yet
            return False

    def add(self, run: Run) -> None:
        with contextlib.redirect_stdout(io.StringIO()):  # its output is not needed
            made = trackio.init(
                project=self.project,
                name=run.file_name,
                group=run.record.dataset,
                config=run.settings,
                auto_log_gpu=False,
                auto_log_cpu=False,
                embed=False,
            )
            for epoch, numbers in run.epochs:
                made.log(numbers, step=epoch)
            final = {"ok": float(run.record.status == "ok"), **run.results}
            made.log({f"final/{name}": value for name, value in final.items()})
            trackio.finish()
