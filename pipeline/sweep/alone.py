"""What a fit takes that has a GPU to itself, as its record says: the measure of packs."""

from dataclasses import dataclass

from pipeline.records import Record

CONTEXT_GIB = 0.75  # of a CUDA process, beside what its tensors take
SLACK = 0.01  # of a utilisation, which no record tells better


@dataclass(frozen=True)
class Alone:
    """What a run takes that has a GPU to itself.

    utilisation  share of the steady fit in which the GPU computes, above 0 and at most 1
    epochs_end   seconds from the fit's start to the end of each epoch
    """

    utilisation: float
    memory_gib: float
    steady_seconds: float
    start_up_seconds: float
    epochs_end: tuple[float, ...]

    def seconds_until(self, epoch: int, warm: bool) -> float:
        """From the start of the fit to the end of that epoch, counted from 1."""
        start_up = self.start_up_seconds if warm else 0.0
        return max(0.0, self.epochs_end[min(epoch, len(self.epochs_end)) - 1] - start_up)


def alone_of(record: Record) -> Alone | None:
    """Of a finished run that shared its GPU with none; None where anything needed is unknown."""
    told, cost = record.telemetry, record.cost
    busy_percent = told.get("gpu_utilisation_mean_percent")
    steady, start_up = record.steady_fit_seconds, record.start_up_seconds
    seconds = [row["seconds"] for row in record.history if row.get("seconds")]
    if record.status != "ok" or not record.device.is_cuda or record.not_for_speed:
        return None
    if busy_percent is None or not seconds or len(seconds) < len(record.history):
        return None
    memory_gib = told.get("gpu_process_memory_peak_gib")
    if memory_gib is None and cost.peak_memory_reserved_gib is not None:
        memory_gib = cost.peak_memory_reserved_gib + CONTEXT_GIB
    if memory_gib is None or not steady or start_up is None or not cost.fit_seconds:
        return None
    busy_seconds = float(busy_percent) / 100 * cost.fit_seconds
    ends = tuple(sum(seconds[: n + 1]) for n in range(len(seconds)))
    utilisation = min(1.0, max(SLACK, busy_seconds / steady))
    return Alone(utilisation, float(memory_gib), steady, start_up, ends)
