"""Folders and tables of random layout with known labels: they come out right, or it stops.

`WB_LAYOUTS=2000 pytest tests/test_random_layouts.py` draws more of them.
"""

import os
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import PipelineError
from pipeline.dataset.recognise import recognise

DRAWS = int(os.environ.get("WB_LAYOUTS", "200"))
WORDS = ["cat", "dog", "owl", "great dane", "A", "7", "train car", "n01440764", "left", "Oak"]
FOLDERS = ["", "images", "data/photos", "part_{k}", "site{k}", "{part}", "{part}/images", "{label}"]
CELLS = ["{path}", "{name}", "{stem}", "./{path}", "/mnt/x/{path}", "gs://b/{path}", "{upper}"]
SEPARATORS = [",", ";", "\t"]
EXTRAS = ["age", "patient_id", "note", "split", "id", "is_valid"]


@st.composite
def layouts(draw: st.DrawFn) -> dict[str, object]:
    n = draw(st.integers(12, 40))
    labels = draw(st.lists(st.sampled_from(WORDS), min_size=2, max_size=4, unique=True))
    return {
        "labels": [labels[draw(st.integers(0, len(labels) - 1))] for _ in range(n)],
        "folder": draw(st.sampled_from(FOLDERS)),
        "cell": draw(st.sampled_from(CELLS)),
        "separator": draw(st.sampled_from(SEPARATORS)),
        "table": draw(st.sampled_from(["labels.csv", "train.csv", "meta/info.csv", "x.tsv", None])),
        "label_name": draw(st.sampled_from(["label", "Class", "dx", "what", "target"])),
        "extras": draw(st.lists(st.sampled_from(EXTRAS), max_size=3, unique=True)),
        "index": draw(st.booleans()),
        "numbered": draw(st.booleans()),
        "encoding": draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])),
        "order": draw(st.permutations(range(n))),
    }


def made(root: Path, layout: dict) -> dict[str, str]:
    """Write the images and the table; the label of each file."""
    parts, truth, lines = ["train", "val", "test"], {}, []
    for number, label in enumerate(layout["labels"]):
        place = layout["order"][number]
        name = f"{place}.jpg" if layout["numbered"] else f"img_{place * 7 % 97:03d}x.jpg"
        folder = layout["folder"].format(k=number % 2, part=parts[number % 3], label=label)
        path = f"{folder}/{name}" if folder else name
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x" * (number + 1))
        truth[path] = label
        forms = {"path": path, "name": name, "stem": name[:-4], "upper": name.upper()}
        cells = [layout["cell"].format(**forms), label]
        extras = {
            "age": f"{20 + number}.5",
            "patient_id": f"p{number // 3}",
            "note": f"seen {number}",
            "split": parts[number % 3],
            "id": str(number),
            "is_valid": str(number % 2),
        }
        cells += [extras[each] for each in layout["extras"]]
        lines.append(([str(number)] if layout["index"] else []) + cells)
    if layout["table"] is not None:
        head = ([""] if layout["index"] else []) + ["image", layout["label_name"]]
        rows = [head + list(layout["extras"]), *lines]
        text = "\n".join(layout["separator"].join(row) for row in rows) + "\n"
        (root / layout["table"]).parent.mkdir(parents=True, exist_ok=True)
        (root / layout["table"]).write_bytes(text.encode(layout["encoding"]))
    return truth


outcomes = {"right": 0, "stopped": 0}


@settings(
    max_examples=DRAWS, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
@given(layouts())
def test_labels_are_right_or_it_stops(layout: dict) -> None:
    with tempfile.TemporaryDirectory() as folder:
        truth = made(Path(folder), layout)
        try:
            found = recognise(Path(folder))
        except PipelineError:
            outcomes["stopped"] += 1
            return
        for image in found.source.images:
            assert image.labels == (truth[image.file],), found.images
        assert len(found.source.images) >= 0.6 * len(truth), "images are not lost"
        outcomes["right"] += 1


def test_many_of_them_are_understood() -> None:
    assert outcomes["right"] > outcomes["stopped"] > 0, outcomes
