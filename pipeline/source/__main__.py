"""Stage `source`: a link to the files of one's own dataset, by which DVC sees them change.

Reads conf/dataset/NAME.yaml. Writes a symbolic link to its `source`, a folder or an archive, or
where DVC has nothing to look at a line of text: for bundled datasets and downloads, for a source
that is not there, and for one that DVC cannot read. The surprising fact: to DVC the link is an
output that it neither stores nor removes, so a changed file behind it re-runs this stage, which
costs nothing, and then stage `dataset`, which depends on it.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.core.command import run
from pipeline.core.errors import PipelineError, first_line
from pipeline.core.files import read_yaml

SOURCES = Path("data/sources")  # where dvc.yaml has the links
PREPARED = Path("data/datasets")  # where it has what stage `dataset` makes
NONE, GONE = "no files of one's own", "not there"


def main(dataset: str, out: Path) -> None:
    """Link the files of a dataset, so that DVC notices when they change.

    Args:
        dataset: the dataset, whose conf/dataset/DATASET.yaml says where its files are
        out: the link to write
    """
    source = source_of(Path(), dataset)
    fault = None if source is None else fault_of(Path(), source)
    point(Path(), out, source, fault)
    read = f"its images are read from {source}" if source else "it is bundled or downloaded"
    print(f"{dataset}: {source}: {fault}" if fault else f"{dataset}: {read}")


def source_of(project: Path, dataset: str) -> Path | None:
    """The folder or archive that conf/dataset/NAME.yaml names; None where it names none."""
    path = project / "conf/dataset" / f"{dataset}.yaml"
    values = read_yaml(path) if path.is_file() else {}
    if not isinstance(values, dict) or values.get("source") is None:
        return None
    try:
        config: Any = OmegaConf.to_container(OmegaConf.create({"dataset": values}), resolve=True)
    except OmegaConfBaseException as error:
        raise PipelineError(f"{path}: {first_line(error)}") from None
    return Path(str(config["dataset"]["source"]))


def sources_of(project: Path, datasets: Iterable[str]) -> dict[str, Path]:
    """The source of each of these datasets that has one."""
    found = {dataset: source_of(project, dataset) for dataset in datasets}
    return {dataset: source for dataset, source in found.items() if source is not None}


def fault_of(project: Path, source: Path) -> str | None:
    """Why DVC cannot watch the source; None if it can."""
    there = project / source
    if not there.exists():
        return GONE
    if (project / SOURCES).resolve().is_relative_to(there.resolve()):
        return "its changes go unnoticed: it holds this project's data folder"
    unreadable = next(_unreadable(there), None) if there.is_dir() else None
    return None if unreadable is None else f"its changes go unnoticed: {unreadable}"


def _unreadable(folder: Path) -> Iterator[str]:
    """What makes DVC fail at the whole folder."""
    for where, _, files in os.walk(folder):
        if ".dvcignore" in files:
            yield f"{where}/.dvcignore keeps DVC from reading it"
        for name in files:
            if not name.isascii() and name != name.encode(errors="replace").decode():
                yield f"a name in {where} is not UTF-8"
        with os.scandir(where) as entries:
            for entry in entries:
                if entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110
                    yield f"{entry.path} is a broken link"


def point(project: Path, out: Path, source: Path | None, fault: str | None) -> None:
    """Let the link `out` be what it should be; nothing is written where it is so already."""
    link = project / out
    if source is not None and fault is None:
        target = source if source.is_absolute() else Path(os.path.relpath(source, out.parent))
        if link.is_symlink() and link.readlink() == target:
            return
        text = None
    else:
        text = f"{fault or NONE}\n"
        if link.is_file() and not link.is_symlink() and link.read_text("utf-8") == text:
            return
    link.parent.mkdir(parents=True, exist_ok=True)
    beside = link.with_name(f".{link.name}.writing-{os.getpid()}")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target) if text is None else beside.write_text(text, encoding="utf-8")
    beside.replace(link)


def mend(project: Path, datasets: Iterable[str]) -> list[str]:
    """Set links right whose source has come or gone, which would stop DVC; a line for each fault.

    Links that are not there yet are the stage's to make.
    """
    said = []
    for dataset, source in sources_of(project, datasets).items():
        fault = fault_of(project, source)
        if os.path.lexists(project / SOURCES / dataset):
            point(project, SOURCES / dataset, source, fault)
        if fault is not None:
            more = _of_a_gone_source(project, dataset) if fault == GONE else ""
            said.append(f"{dataset}: its source {source}: {fault}{more}")
    return said


def _of_a_gone_source(project: Path, dataset: str) -> str:
    if (project / PREPARED / dataset / "meta.json").is_file():
        return ": what was prepared of it stays in use"
    return f", and nothing was prepared of it: put it back, or correct conf/dataset/{dataset}.yaml"


if __name__ == "__main__":
    run(main)
