"""What a fine-tune that nobody has run would take on this machine, by package estimates."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.estimates.estimate import Source, by_device, reach, sources
from pipeline.estimates.planned import readable_records, this_device, work_of
from pipeline.study.params import Cell, Study
from pipeline.timm_results.imagenet import read_imagenet


@dataclass(frozen=True)
class Estimate:
    """Seconds of a fit, the factor that 9 of 10 stay within either way, and what it rests on."""

    seconds: float
    factor: float
    source: str


def estimates(
    study: Study, imagenet: Path, dataset: str, models: Iterable[str], image_size: int
) -> dict[str, Estimate] | str:
    """The estimate of each model of which something is known, with the study's first recipe on
    this device; or why nothing can be estimated.
    """
    models, root = list(models), study.path.parent
    records = readable_records(root / "data/runs")
    device = this_device(threads=1)
    runs = by_device(records).get(device, [])
    asked = sources(replace(study, models=tuple(models)), read_imagenet(imagenet), device, runs)
    reaches = {source.name: reach(source, runs)[0] for source in asked}
    found: dict[str, Estimate] = {}
    for model in models:
        cell = Cell(dataset, model, study.recipes[0], seed=0)
        work = work_of(root, cell, image_size, records)
        if isinstance(work, str):
            return work
        for source in asked:
            if speed := source.speed(work):
                found[model] = _estimate(source, work.megapixels / speed, reaches)
                break
    return found or f"nothing is known of the speed of {device.label}"


def _estimate(source: Source, seconds: float, reaches: dict[str, float]) -> Estimate:
    return Estimate(seconds, reaches[source.name], source.name)
