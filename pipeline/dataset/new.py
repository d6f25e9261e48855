"""`python -m pipeline.dataset --new NAME PATH`: a folder or archive becomes conf/dataset/NAME.yaml.

Reads file names and tables only, and the few images of the contact sheet; writes the YAML and
data/contact_sheets/NAME.png, on which a person sees at a glance whether it was understood.
"""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from pipeline.configuration import hydra_app
from pipeline.core.command import run
from pipeline.core.errors import PipelineError
from pipeline.core.files import write_text
from pipeline.dataset.checks import sorted_classes
from pipeline.dataset.contact_sheet import draw_sheet
from pipeline.dataset.extract import unpacked_file
from pipeline.dataset.find_images import find_images
from pipeline.dataset.recognise import Recognised, recognise
from pipeline.dataset.sources import Source

SHEETS = Path("data/contact_sheets")


def main(name: str, path: Path) -> None:
    """Look at the folder or archive PATH, write conf/dataset/NAME.yaml and a contact sheet."""
    config = hydra_app.CONF / "dataset" / f"{name}.yaml"
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,59}", name):
        raise PipelineError(f"{name!r}: a dataset's name is letters, digits and _, a letter first")
    if config.exists():
        raise PipelineError(f"{config} exists: choose another name, or delete it first")
    root = unpacked_file(path)[0] if path.is_file() else path
    recognised = recognise(root)
    source = find_images(recognised.images, root)
    sheet = SHEETS / f"{name}.png"
    counts = Counter(label for image in source.images for label in image.labels)
    draw_sheet(source, (f"{name}: {summary(recognised, source)}", f"{recognised.rule}."), sheet)
    write_text(config, dataset_yaml(name, path, recognised, source, counts))
    print(f"{config}: {summary(recognised, source)}; {recognised.rule}.")
    for fault in source.faults[:10]:
        print(f"fault: {fault.file}: {fault.reason}")
    if len(source.faults) > 10:
        print(f"fault: ... and {len(source.faults) - 10} more")
    print(f"Look at {sheet}: are the labels right? If not, correct the YAML (docs/datasets.md).")
    print(f"Then: python -m pipeline.dataset dataset={name} image_size=224")


def summary(recognised: Recognised, source: Source) -> str:
    """`370 images, 37 classes of 8 to 12 images, single-label, 2 faults`."""
    counts = Counter(label for image in source.images for label in image.labels)
    few, many = min(counts.values(), default=0), max(counts.values(), default=0)
    each = f"{few}" if few == many else f"{few} to {many}"
    faults = f", {len(source.faults)} faults" if source.faults else ""
    return (
        f"{len(source.images)} images, {len(counts)} classes of {each} images, "
        f"{recognised.kind}-label, split {recognised.split}{faults}"
    )


def dataset_yaml(
    name: str, path: Path, recognised: Recognised, source: Source, counts: Counter[str]
) -> str:
    """The text of conf/dataset/NAME.yaml, with the classes and how many images each has."""
    inside = path.resolve().is_relative_to(Path.cwd())
    folder = path.resolve().relative_to(Path.cwd()) if inside else path.resolve()
    lines = [
        f"# As `--new` understood it: {summary(recognised, source)};",
        f"# {' '.join(recognised.rule.split())}.",
        f"name: {name}",
        f"kind: {recognised.kind}",
        f"source: {_text(str(folder))}",
        "images:",
        *(f"  {key}: {_text(value)}" for key, value in recognised.images.items()),
        f"split: {recognised.split}",
        "classes: # and how many images each has",
        *(f"  - {_text(label)} # {counts[label]}" for label in sorted_classes(set(counts))),
    ]
    return "\n".join(lines) + "\n"


def _text(value: Any) -> str:
    """A value as one line of YAML that OmegaConf reads back as it is: `no` and `2e-3` as text."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key)}: {_text(each)}" for key, each in value.items()) + "}"
    text = str(value).replace("${", r"\${")
    if re.fullmatch(r"[A-Za-z_][\w./ -]*", text) and yaml.safe_load(text) == text:
        return text
    return "'" + text.replace("'", "''") + "'" if text.isprintable() else json.dumps(text)


if __name__ == "__main__":
    run(main)
