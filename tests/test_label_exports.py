"""Folders as tools and contests leave them: the labels come out right, or the command stops.

Every case is a tree of files with known labels, made by a function below.
"""

import io
import json
import re
import shlex
import subprocess
import sys
import time
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from scipy.io import savemat

from pipeline.core.errors import PipelineError
from pipeline.dataset import recognise as recognising
from pipeline.dataset import table_files
from pipeline.dataset.file_column import Hints
from pipeline.dataset.find_images import find_images
from pipeline.dataset.folder_names import misspelt_labels, odd_labels
from pipeline.dataset.folders import refuse_parallel
from pipeline.dataset.label_tables import with_lists
from pipeline.dataset.new import dataset_yaml, summary_lines
from pipeline.dataset.recognise import recognise
from pipeline.dataset.sources import LabelledImage
from pipeline.dataset.splits import changed_copies, frames_of_videos, images_of_patients
from pipeline.dataset.table_files import read_table

KINDS = ["oak", "elm", "ash"]


def _bytes() -> bytes:
    memory = io.BytesIO()
    Image.new("RGB", (4, 4)).save(memory, "JPEG")
    return memory.getvalue()


JPEG = _bytes()


class Tree:
    """A folder that is being filled."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def image(self, *names: str) -> None:
        for name in names:
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(JPEG + name.encode())

    def text(self, name: str, *lines: str, encoding: str = "utf-8") -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes("\n".join([*lines, ""]).encode(encoding))

    def json(self, name: str, value: Any) -> None:
        self.text(name, json.dumps(value))

    def lines(self, name: str, values: list[Any]) -> None:
        self.text(name, *map(json.dumps, values))


Truth = dict[str, str]  # labels of each image, joined by +; in front of a slash its part
Case = Callable[[Tree], Truth]
UNDERSTOOD: list[Case] = []
STOPS: list[tuple[Callable[[Tree], None], str]] = []


def understood(case: Case) -> Case:
    UNDERSTOOD.append(case)
    return case


def stops(message: str) -> Callable[[Callable[[Tree], None]], Callable[[Tree], None]]:
    def keep(case: Callable[[Tree], None]) -> Callable[[Tree], None]:
        STOPS.append((case, message))
        return case

    return keep


def plain(tree: Tree, n: int = 45, folder: str = "images/", suffix: str = ".jpg") -> list[str]:
    names = [f"p{i * 37 % 1000:03d}" for i in range(n)]
    tree.image(*(f"{folder}{name}{suffix}" for name in names))
    return names


def kinds(names: list[str], form: str) -> Truth:
    return {form.format(name): KINDS[i % 3] for i, name in enumerate(names)}


def lines_of(names: list[str], form: str = "{}.jpg,{}") -> list[str]:
    """A line for each name; {} stands for the name, then for its label."""
    return [form.format(name, KINDS[i % 3]) for i, name in enumerate(names)]


@understood
def an_index_column(tree: Tree) -> Truth:
    order = sorted(range(45), key=lambda k: k * 17 % 47)
    tree.image(*(f"images/{k}.jpg" for k in order))
    tree.text(
        "labels.csv",
        ",filename,label",
        *(f"{i},{k}.jpg,{KINDS[k % 3]}" for i, k in enumerate(order)),
    )
    return {f"images/{k}.jpg": KINDS[k % 3] for k in order}


@understood
def a_contest_with_a_sample_submission(tree: Tree) -> Truth:
    names = plain(tree, 45, "train_images/a")
    tests = plain(tree, 12, "test_images/b")
    tree.text("train.csv", "image_id,label", *lines_of(names, "a{}.jpg,{}"))
    tree.text("sample_submission.csv", "image_id,label", *(f"b{n}.jpg,oak" for n in tests))
    return kinds(names, "train_images/a{}.jpg")


@understood
def a_contest_with_ids_in_one_folder(tree: Tree) -> Truth:
    names = plain(tree, 45, "images/Train_")
    tests = plain(tree, 12, "images/Test_")
    head = "image_id,oak,elm,ash"
    one_hot = [",".join(str(int(i % 3 == k)) for k in range(3)) for i in range(45)]
    tree.text(
        "train.csv", head, *(f"Train_{n},{row}" for n, row in zip(names, one_hot, strict=True))
    )
    tree.text("test.csv", "image_id", *(f"Test_{n}" for n in tests))
    tree.text("sample_submission.csv", head, *(f"Test_{n},0.25,0.25,0.25" for n in tests))
    return kinds(names, "images/Train_{}.jpg")


@understood
def a_contest_whose_images_lie_in_folders_by_their_ids(tree: Tree) -> Truth:
    names = [f"{i * 37 % 1000:03d}a" for i in range(45)]
    tree.image(
        *(f"{part}/{n[0]}/{n[1]}/{part}{n}.jpg" for part in ("train", "test") for n in names)
    )
    tree.text("train.csv", "id,landmark_id", *lines_of(names, "train{},{}"))
    tree.text("sample_submission.csv", "id,landmarks", *(f"test{n},9 0.1" for n in names))
    return {f"train/{n[0]}/{n[1]}/train{n}.jpg": KINDS[i % 3] for i, n in enumerate(names)}


@understood
def the_same_ids_in_train_and_test(tree: Tree) -> Truth:
    tree.image(*(f"train/{i}.jpg" for i in range(30)), *(f"test/{i}.jpg" for i in range(10)))
    tree.text("train_labels.csv", "id,label", *(f"{i},{KINDS[i % 3]}" for i in range(30)))
    return {f"train/{i}.jpg": KINDS[i % 3] for i in range(30)}


@understood
def ids_in_two_folders_as_ham10000(tree: Tree) -> Truth:
    for i in range(40):
        tree.image(f"HAM10000_images_part_{1 + i % 2}/ISIC_00{i:03d}.jpg")
    tree.text(
        "HAM10000_metadata.csv",
        "lesion_id,image_id,dx,dx_type,age,sex,localization",
        *(
            f"HAM_{i // 2},ISIC_00{i:03d},{['nv', 'mel', 'bkl'][i // 2 % 3]},"
            f"{['histo', 'follow_up'][i % 2]},{30.0 + i},male,back"
            for i in range(40)
        ),
    )
    return {
        f"HAM10000_images_part_{1 + i % 2}/ISIC_00{i:03d}.jpg": ["nv", "mel", "bkl"][i // 2 % 3]
        for i in range(40)
    }


@understood
def metadata_in_each_part(tree: Tree) -> Truth:
    truth = {}
    for part, n in (("train", 40), ("test", 10)):
        tree.image(*(f"{part}/{i:03d}.png" for i in range(n)))
        tree.text(
            f"{part}/metadata.csv",
            "file_name,label",
            *(f"{i:03d}.png,{KINDS[i % 2]}" for i in range(n)),
        )
        truth |= {f"{part}:{part}/{i:03d}.png": KINDS[i % 2] for i in range(n)}
    return truth


@understood
def metadata_jsonl(tree: Tree) -> Truth:
    truth = {}
    for part, meant in (("train", "train"), ("validation", "valid")):
        tree.image(*(f"{part}/{i:03d}.png" for i in range(20)))
        tree.lines(
            f"{part}/metadata.jsonl",
            [{"file_name": f"{i:03d}.png", "label": KINDS[i % 3]} for i in range(20)],
        )
        truth |= {f"{meant}:{part}/{i:03d}.png": KINDS[i % 3] for i in range(20)}
    return truth


@understood
def one_metadata_above_the_parts(tree: Tree) -> Truth:
    truth, rows = {}, []
    for part in ("train", "test"):
        for i in range(20):
            tree.image(f"{part}/{i:03d}.png")
            rows.append(f"{part}/{i:03d}.png,{KINDS[i % 3]}")
            truth[f"{part}:{part}/{i:03d}.png"] = KINDS[i % 3]
    tree.text("metadata.csv", "file_name,label", *rows)
    return truth


def _separated(separator: str, encoding: str) -> Case:
    def case(tree: Tree) -> Truth:
        names = [f"{['north', 'south'][i % 2]}_{i:03d}" for i in range(45)]
        tree.image(*(f"images/{name}.jpg" for name in names))
        rows = lines_of(names, f"{{}}.jpg{separator}{{}}")
        tree.text("labels.csv", f"file{separator}label", *rows, encoding=encoding)
        return kinds(names, "images/{}.jpg")

    case.__name__ = f"separator_{ord(separator)}_{encoding}"
    return case


for _separator, _encoding in [
    (";", "utf-8"),
    ("\t", "utf-16"),
    (",", "utf-16"),
    (";", "cp1252"),
    ("|", "utf-8"),
]:
    understood(_separated(_separator, _encoding))


def _cells(name: str, form: str, files: str = "images/{}.jpg", head: str = "file,label") -> None:
    def case(tree: Tree) -> Truth:
        names = plain(tree, 45, *files.split("{}"))
        rows = lines_of(names, f"{form},{{}}")
        tree.text("labels.csv", head, *rows)
        return kinds(names, files)

    case.__name__ = name
    understood(case)


_cells("dot_slash", "./images/{}.jpg")
_cells("absolute_paths_of_another_machine", "/content/drive/MyDrive/set/images/{}.jpg")
_cells("absolute_paths_with_other_folders", "/home/me/pictures/{}.jpg")
_cells("urls", "https://example.org/data/{}.jpg?token=1")
_cells("bucket_paths", "gs://bucket/some/images/{}.jpg")
_cells("backslashes", r"images\{}.jpg")
_cells("capital_suffix_in_the_table", "{}.JPG")
_cells("capital_suffix_on_disk", "{}.jpg", "images/{}.JPG")
_cells("another_suffix", "{}.png")
_cells("no_suffix", "{}")
_cells("deep_folders", "{}.jpg", "a/b/c/{}.jpg")
_cells("jfif", "{}.jfif", "images/{}.jfif")
_cells("header_with_blanks", "{}.jpg", head=" file , label ")
_cells("trailing_commas", "{}.jpg", head="file,label,,")


@understood
def a_comment_above_the_header(tree: Tree) -> Truth:
    names = plain(tree)
    rows = lines_of(names)
    tree.text("labels.CSV", "# exported by hand", "file,label", *rows)
    return kinds(names, "images/{}.jpg")


@understood
def mixed_suffixes(tree: Tree) -> Truth:
    names = [f"p{i:03d}" for i in range(30)]
    suffixes = [".jpg", ".png", ".jpeg"]
    tree.image(*(f"images/{n}{suffixes[i % 3]}" for i, n in enumerate(names)))
    tree.text(
        "labels.csv", "file,label", *(f"{n},{KINDS[i // 2 % 3]}" for i, n in enumerate(names))
    )
    return {f"images/{n}{suffixes[i % 3]}": KINDS[i // 2 % 3] for i, n in enumerate(names)}


@understood
def notes_beside_the_label(tree: Tree) -> Truth:
    names = plain(tree)
    rows = [f"{n}.jpg,{KINDS[i % 3]},seen on day {i}" for i, n in enumerate(names)]
    tree.text("labels.csv", "file,kind,notes", *rows)
    return kinds(names, "images/{}.jpg")


@understood
def one_hot(tree: Tree) -> Truth:
    names = plain(tree)
    rows = [
        f"{n},{int(i % 3 == 0)}.0,{int(i % 3 == 1)}.0,{int(i % 3 == 2)}.0"
        for i, n in enumerate(names)
    ]
    tree.text("ISIC_GroundTruth.csv", "image,oak,elm,ash", *rows)
    return kinds(names, "images/{}.jpg")


@understood
def roboflow_several_labels(tree: Tree) -> Truth:
    truth = {}
    for part, meant in (("train", "train"), ("valid", "valid"), ("test", "test")):
        rows = []
        for i in range(20):
            name = f"img{i}_jpg.rf.{i:08x}.jpg"
            tree.image(f"{part}/{name}")
            rows.append(f"{name}, {int(i % 2 == 0)}, {int(i % 3 == 0)}, {int(i % 5 == 1)}")
            flags = (i % 2 == 0, i % 3 == 0, i % 5 == 1)
            tags = [k for k, on in zip(KINDS, flags, strict=True) if on]
            truth[f"{meant}:{part}/{name}"] = "+".join(tags)
        tree.text(f"{part}/_classes.csv", "filename, oak, elm, ash", *rows)
    tree.text("README.roboflow.txt", "Provided by somebody", "Images are annotated")
    return truth


@understood
def roboflow_folders(tree: Tree) -> Truth:
    truth = {}
    for part, meant in (("train", "train"), ("valid", "valid"), ("test", "test")):
        for kind in KINDS:
            for i in range(5):
                tree.image(f"{part}/{kind}/{kind}{i}_jpg.rf.{i:08x}.jpg")
                truth[f"{meant}:{part}/{kind}/{kind}{i}_jpg.rf.{i:08x}.jpg"] = kind
    tree.text("README.dataset.txt", "trees > 2024")
    return truth


def _folders(name: str, form: str, parts: dict[str, str] | None = None) -> None:
    def case(tree: Tree) -> Truth:
        truth = {}
        for part, meant in (parts or {"": ""}).items():
            for kind in KINDS:
                for i in range(6):
                    file = form.format(part=part, kind=kind, i=i)
                    tree.image(file)
                    truth[f"{meant}:{file}" if meant else file] = kind
        return truth

    case.__name__ = name
    understood(case)


_THREE = {"train": "train", "val": "valid", "test": "test"}
_folders("classes", "{kind}/{i}.jpg")
_folders("classes_below_two_folders", "data/trees/{kind}/{i}.jpg")
_folders("parts", "{part}/{kind}/{i}.jpg", _THREE)
_folders("parts_one_level_down", "mydata/{part}/{kind}/{i}.jpg", _THREE)
_folders("parts_below_the_class", "{kind}/{part}/{i}.jpg", _THREE)
_folders("images_below_the_part", "{part}/images/{kind}/{i}.jpg", _THREE)
_folders(
    "images_above_the_part",
    "images/{part}/{kind}/{i}.jpg",
    {"Train": "train", "Validation": "valid"},
)
_folders("images_below_the_class", "{kind}/images/{i}.jpg")
_folders("numbered_sessions", "{kind}/{kind}_session{i}/1.jpg")


@understood
def letters(tree: Tree) -> Truth:
    files = [
        f"{part}/{letter}/{i}.jpg"
        for part in ("train", "test")
        for letter in "ABC"
        for i in range(6)
    ]
    tree.image(*files)
    return {f"{file.partition('/')[0]}:{file}": file.split("/")[1] for file in files}


@understood
def flat_train_and_test(tree: Tree) -> Truth:
    tree.image(*(f"train/{['cat', 'dog'][i % 2]}.{i}.jpg" for i in range(40)))
    tree.image(*(f"test1/{i}.jpg" for i in range(10)))
    return {
        f"train:train/{['cat', 'dog'][i % 2]}.{i}.jpg": ["cat", "dog"][i % 2] for i in range(40)
    }


@understood
def class_folders_with_an_unlabelled_test(tree: Tree) -> Truth:
    truth = {}
    for part, meant in (("train", "train"), ("val", "valid")):
        for kind in KINDS:
            for i in range(5):
                tree.image(f"{part}/{kind}/{i}.jpg")
                truth[f"{meant}:{part}/{kind}/{i}.jpg"] = kind
    tree.image(*(f"test/{i}.jpg" for i in range(50)))
    return truth


@understood
def class_names_with_blanks(tree: Tree) -> Truth:
    names = plain(tree, 48)
    labels = [f"{a} {b}" for a in ("tomato", "potato", "pepper") for b in ("healthy", "blight")]
    tree.text(
        "labels.csv", "file,label", *(f"{n}.jpg,{labels[i % 6]}" for i, n in enumerate(names))
    )
    return {f"images/{n}.jpg": labels[i % 6] for i, n in enumerate(names)}


@understood
def few_combinations_of_tags(tree: Tree) -> Truth:
    names = plain(tree, 48)
    cells = ["cloud", "cloud;haze", "haze;water"]
    tree.text("labels.csv", "file,tags", *(f"{n}.jpg,{cells[i % 3]}" for i, n in enumerate(names)))
    return {f"images/{n}.jpg": cells[i % 3].replace(";", "+") for i, n in enumerate(names)}


@understood
def chest_x_rays(tree: Tree) -> Truth:
    names = plain(tree, 48)
    cells = ["No Finding", "Mass", "Mass|Pleural_Thickening", "Edema", "Edema|Mass"]
    tree.text(
        "Data_Entry.csv",
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender",
        *(
            f"{n}.jpg,{cells[i % 5]},{i % 2},{i // 2},{40 + i},{'MF'[i % 2]}"
            for i, n in enumerate(names)
        ),
    )
    return {f"images/{n}.jpg": cells[i % 5].replace("|", "+") for i, n in enumerate(names)}


@understood
def one_row_per_tag(tree: Tree) -> Truth:
    names = plain(tree, 30)
    rows, truth = [], {}
    for i, n in enumerate(names):
        tags = KINDS[: 1 + i % 3]
        rows += [f"{n}.jpg,{tag}" for tag in tags]
        truth[f"images/{n}.jpg"] = "+".join(tags)
    tree.text("tags.csv", "image,label", *rows)
    return truth


@understood
def a_boolean_column_is_no_split(tree: Tree) -> Truth:
    names = plain(tree)
    rows = [f"{n}.jpg,{KINDS[i % 3]},{i % 4 == 0}" for i, n in enumerate(names)]
    tree.text("labels.csv", "file,label,occluded", *rows)
    return kinds(names, "images/{}.jpg")


def _split_column(name: str, column: str, cells: dict[str, str]) -> None:
    def case(tree: Tree) -> Truth:
        names = plain(tree)
        words = list(cells)
        rows = [f"{n}.jpg,{KINDS[i // 3 % 3]},{words[i % len(words)]}" for i, n in enumerate(names)]
        tree.text("labels.csv", f"file,label,{column}", *rows)
        return {
            f"{cells[words[i % len(words)]]}:images/{n}.jpg": KINDS[i // 3 % 3]
            for i, n in enumerate(names)
        }

    case.__name__ = name
    understood(case)


_split_column("is_valid_of_numbers", "is_valid", {"0": "train", "1": "valid"})
_split_column("is_valid_of_words", "is_valid", {"False": "train", "True": "valid"})
_split_column("is_test", "isTest", {"0": "train", "1": "test"})
_split_column("blanks_after_the_part", "split", {"train ": "train", "eval": "valid"})
_split_column("capital_parts", "Set", {"TRAIN": "train", "VALIDATION": "valid", "TEST": "test"})
_split_column("a_fold_of_words", "fold", {"training": "train", "dev": "valid"})
_split_column("an_unknown_name", "which", {"train": "train", "val": "valid"})


@understood
def automl_without_header(tree: Tree) -> Truth:
    names = plain(tree)
    use = {"TRAIN": "train", "VALIDATION": "valid", "TEST": "test"}
    words = list(use)
    rows = [
        f"{words[i // 3 % 3]},gs://bucket/images/{n}.jpg,{KINDS[i % 3]}"
        for i, n in enumerate(names)
    ]
    tree.text("import.csv", *rows)
    return {f"{use[words[i // 3 % 3]]}:images/{n}.jpg": KINDS[i % 3] for i, n in enumerate(names)}


@understood
def automl_several_labels(tree: Tree) -> Truth:
    names = plain(tree)
    rows = [",".join([f"gs://b/{n}.jpg", *KINDS[: 1 + i % 3]]) for i, n in enumerate(names)]
    tree.text("import.csv", *rows)
    return {f"images/{n}.jpg": "+".join(KINDS[: 1 + i % 3]) for i, n in enumerate(names)}


@understood
def vertex_json_lines(tree: Tree) -> Truth:
    names = plain(tree)
    use = {"training": "train", "validation": "valid"}
    words = list(use)
    tree.lines(
        "data.jsonl",
        [
            {
                "imageGcsUri": f"gs://bucket/images/{n}.jpg",
                "classificationAnnotation": {"displayName": KINDS[i % 3]},
                "dataItemResourceLabels": {"aiplatform.googleapis.com/ml_use": words[i // 3 % 2]},
            }
            for i, n in enumerate(names)
        ],
    )
    return {f"{use[words[i // 3 % 2]]}:images/{n}.jpg": KINDS[i % 3] for i, n in enumerate(names)}


@understood
def azure_json_lines(tree: Tree) -> Truth:
    names = plain(tree)
    tree.lines(
        "annotations.jsonl",
        [
            {
                "image_url": f"azureml://subscriptions/x/datastores/y/paths/images/{n}.jpg",
                "image_details": {"format": "jpg", "width": "400px", "height": "258px"},
                "label": KINDS[: 1 + i % 2],
            }
            for i, n in enumerate(names)
        ],
    )
    return {f"images/{n}.jpg": "+".join(KINDS[: 1 + i % 2]) for i, n in enumerate(names)}


@understood
def sagemaker_manifest(tree: Tree) -> Truth:
    names = plain(tree)
    tree.lines(
        "output.manifest",
        [
            {
                "source-ref": f"s3://bucket/images/{n}.jpg",
                "trees": i % 3,
                "trees-metadata": {
                    "class-name": KINDS[i % 3],
                    "confidence": 0.9,
                    "type": "groundtruth/image-classification",
                    "job-name": "labeling-job/trees",
                    "human-annotated": "yes",
                },
            }
            for i, n in enumerate(names)
        ],
    )
    return kinds(names, "images/{}.jpg")


@understood
def mxnet_lst(tree: Tree) -> Truth:
    names = plain(tree)
    tree.text("all.lst", *(f"{i}\t{i % 3}.000000\timages/{n}.jpg" for i, n in enumerate(names)))
    return {f"images/{n}.jpg": f"{i % 3}.000000" for i, n in enumerate(names)}


@understood
def mmpretrain_lists(tree: Tree) -> Truth:
    truth = {}
    for part, meant in (("train", "train"), ("val", "valid")):
        rows = []
        for i in range(30):
            tree.image(f"{part}/{KINDS[i % 3]}/{part}{i}.jpg")
            rows.append(f"{KINDS[i % 3]}/{part}{i}.jpg {i % 3}")
            truth[f"{meant}:{part}/{KINDS[i % 3]}/{part}{i}.jpg"] = str(i % 3)
        tree.text(f"meta/{part}.txt", *rows)
    return truth


def _label_studio(names: list[str]) -> list[dict[str, Any]]:
    return [
        {
            "id": i,
            "data": {"image": f"/data/upload/1/{i:08x}-{n}.jpg"},
            "annotations": [
                {
                    "id": i,
                    "result": [
                        {
                            "value": {"choices": [KINDS[i % 3]]},
                            "from_name": "choice",
                            "to_name": "image",
                            "type": "choices",
                        }
                    ],
                }
            ],
        }
        for i, n in enumerate(names)
    ]


@understood
def label_studio_json(tree: Tree) -> Truth:
    names = plain(tree)
    tree.json("project-1.json", _label_studio(names))
    return kinds(names, "images/{}.jpg")


def _short(names: list[str], image: str) -> list[dict[str, Any]]:
    """Rows of its short exports; {i:08x} and {n} stand in `image`."""
    return [
        {
            "image": image.format(i=i, n=n),
            "id": i,
            "choice": KINDS[i % 3],
            "annotator": 1,
            "annotation_id": i,
            "created_at": "2024-01-01T00:00:00Z",
            "updated_at": "2024-01-01T00:00:00Z",
            "lead_time": 3.25 + i,
        }
        for i, n in enumerate(names)
    ]


@understood
def label_studio_short_json(tree: Tree) -> Truth:
    names = plain(tree)
    tree.json("min.json", _short(names, "/data/local-files/?d=images/{n}.jpg"))
    return kinds(names, "images/{}.jpg")


@understood
def label_studio_csv(tree: Tree) -> Truth:
    names = plain(tree)
    rows = _short(names, "/data/upload/1/{i:08x}-{n}.jpg")
    lines = [",".join(map(str, row.values())) for row in rows]
    tree.text("project.csv", ",".join(rows[0]), *lines)
    return kinds(names, "images/{}.jpg")


@understood
def coco_of_whole_images(tree: Tree) -> Truth:
    names = plain(tree)
    tree.json(
        "annotations.json",
        {
            "images": [{"id": i, "file_name": f"{n}.jpg"} for i, n in enumerate(names)],
            "annotations": [
                {"id": i, "image_id": i, "category_id": i % 3} for i in range(len(names))
            ],
            "categories": [{"id": k, "name": kind} for k, kind in enumerate(KINDS)],
        },
    )
    return kinds(names, "images/{}.jpg")


@understood
def fiftyone(tree: Tree) -> Truth:
    names = plain(tree, folder="data/")
    tree.json("labels.json", {"classes": KINDS, "labels": {n: i % 3 for i, n in enumerate(names)}})
    return kinds(names, "data/{}.jpg")


@understood
def a_mapping_in_json(tree: Tree) -> Truth:
    names = plain(tree)
    tree.json("labels.json", {f"{n}.jpg": KINDS[i % 3] for i, n in enumerate(names)})
    return kinds(names, "images/{}.jpg")


def _json(name: str, value_of: Callable[[list[str], list[str]], Any]) -> None:
    """A file of JSON; `value_of` makes it of the images' names and their labels."""

    def case(tree: Tree) -> Truth:
        names = plain(tree)
        value = value_of([f"{n}.jpg" for n in names], [KINDS[i % 3] for i in range(45)])
        tree.json("labels.json", value)
        return kinds(names, "images/{}.jpg")

    case.__name__ = f"json_{name}"
    understood(case)


_json("records", lambda files, said: records(files, said))
_json("objects_under_a_name", lambda f, s: {"columns": ["f", "label"], "data": records(f, s)})
_json("pairs", lambda files, said: list(zip(files, said, strict=True)))
_json("pairs_under_a_name", lambda files, said: {"labels": list(zip(files, said, strict=True))})
_json("columns", lambda files, said: {"image": files, "label": said})
_json("columns_by_row", lambda files, said: {"f": by_row(files), "label": by_row(said)})
_json(
    "columns_and_data",
    lambda files, said: {"columns": ["f", "y"], "data": list(zip(files, said, strict=True))},
)
_json(
    "files_of_each_class", lambda files, said: {kind: files[k::3] for k, kind in enumerate(KINDS)}
)
_json(
    "records_of_each_class",
    lambda files, said: {k: [{"file": f} for f in files[i::3]] for i, k in enumerate(KINDS)},
)


@pytest.mark.parametrize("suffix", ["", ".jpg"])
def test_flags_of_each_file_by_number(suffix: str, tmp_path: Path) -> None:
    names = plain(tree := Tree(tmp_path))
    flags = {
        f"{n}{suffix}": by_row([int(i % 3 == k) for k in range(3)]) for i, n in enumerate(names)
    }
    tree.json("labels.json", flags)
    assert read(tmp_path) == {f"images/{n}.jpg": str(i % 3) for i, n in enumerate(names)}


def test_flags_of_a_few_files_by_the_numbers_of_more_classes(tmp_path: Path) -> None:
    names = plain(tree := Tree(tmp_path), 4)
    flags = {f"{n}.jpg": by_row([int(i == k) for k in range(5)]) for i, n in enumerate(names)}
    tree.json("labels.json", flags)
    assert read(tmp_path) == {f"images/{n}.jpg": str(i) for i, n in enumerate(names)}


def records(files: list[str], said: list[str]) -> list[dict[str, str]]:
    return [{"file_name": f, "label": label} for f, label in zip(files, said, strict=True)]


def by_row(cells: list[Any]) -> dict[str, Any]:
    return {str(row): cell for row, cell in enumerate(cells)}


@understood
def records_of_each_part(tree: Tree) -> Truth:
    names = plain(tree)
    rows = records([f"{n}.jpg" for n in names], [KINDS[i % 3] for i in range(45)])
    tree.json("labels.json", {"train": rows[:30], "test": rows[30:]})
    return in_parts(names, "images/{}.jpg")


@understood
def names_in_objects_with_the_size_of_the_image(tree: Tree) -> Truth:
    names = plain(tree)
    rows = [
        {"file": f"{n}.jpg", "tags": [{"name": KINDS[i % 3], "width": 8, "height": 8}]}
        for i, n in enumerate(names)
    ]
    tree.lines("labels.jsonl", rows)
    return kinds(names, "images/{}.jpg")


@understood
def records_of_each_part_with_a_list_of_their_own(tree: Tree) -> Truth:
    names = plain(tree)
    rows = [{"file": f"{n}.jpg", "list": KINDS[i % 3]} for i, n in enumerate(names)]
    tree.json("labels.json", {"train": rows[:30], "test": rows[30:]})
    return in_parts(names, "images/{}.jpg")


@understood
def lists_of_each_part_with_numbers_and_names(tree: Tree) -> Truth:
    """CoOp's splits: of two columns that say the same, the names are the labels."""
    names = plain(tree)
    rows = [[f"{n}.jpg", i % 3, KINDS[i % 3]] for i, n in enumerate(names)]
    tree.json("split.json", {"train": rows[:30], "test": rows[30:]})
    return in_parts(names, "images/{}.jpg")


@understood
def labels_of_each_file_in_json(tree: Tree) -> Truth:
    names = plain(tree)
    tree.json("labels.json", {f"{n}.jpg": [KINDS[i % 3], "tree"] for i, n in enumerate(names)})
    return {file: f"{kind}+tree" for file, kind in kinds(names, "images/{}.jpg").items()}


@stops("labels.json names the images in a way that is not understood: write its labels as a CSV")
def json_of_another_shape(tree: Tree) -> None:
    names = plain(tree)
    tree.json("labels.json", [{"version": 1}, *([f"{n}.jpg", "oak"] for n in names)])


@pytest.mark.parametrize(
    ("form", "alone"),
    [("{1}_{0}.jpg", "the files' names"), ("{1}/{0}.jpg", "the folders"), ("{0}.jpg", "")],
)
def test_a_file_that_is_not_read_can_be_left_aside(form: str, alone: str, tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    truth = {form.format(i, KINDS[i % 3]): KINDS[i % 3] for i in range(30)}
    tree.image(*truth)
    tree.text("sizes.csv", "file,width", *(f"{name},{100 + i}" for i, name in enumerate(truth)))
    tree.text("ann.xml", *(f"<image name='{name}'/>" for name in truth))
    with pytest.raises(PipelineError, match=r"ann\.xml names the images in a way") as error:
        read(tmp_path)
    said = f", or --table none to use {alone} alone" if alone else "a column of file names"
    assert str(error.value).endswith(said)
    if alone:
        assert read(tmp_path, Hints(table="none")) == truth


@stops("classes.txt: row 1 (001.oak) has no id of its own: write an id, a blank and the rest")
def classes_without_ids(tree: Tree) -> None:
    birds(tree)
    tree.text("CUB/classes.txt", *(f"00{1 + k}.{kind}" for k, kind in enumerate(KINDS)))


@stops("classes.txt: its lines begin with 'Ash' and so on, and image_class_labels.txt has '1' and")
def classes_of_two_words_without_ids(tree: Tree) -> None:
    birds(tree)
    tree.text("CUB/classes.txt", *(f"{kind.title()} tree" for kind in KINDS))


@understood
def a_class_number_beside_its_name(tree: Tree) -> Truth:
    names = plain(tree)
    rows = [f"{n}.jpg,{i % 3},{KINDS[i % 3]}" for i, n in enumerate(names)]
    tree.text("labels.csv", "file,label,class_name", *rows)
    return kinds(names, "images/{}.jpg")


@understood
def a_table_that_says_what_the_folders_say(tree: Tree) -> Truth:
    files = [f"{KINDS[i % 3]}/{i}.jpg" for i in range(30)]
    tree.image(*files)
    tree.text("labels.csv", "path,label", *lines_of(files, "{},{}"))
    return {file: KINDS[i % 3] for i, file in enumerate(files)}


@understood
def a_readme_with_a_name_in_it(tree: Tree) -> Truth:
    files = [f"{KINDS[i % 3]}/img{i}.jpg" for i in range(30)]
    tree.image(*files)
    tree.text("README.md", "See img3.jpg, for instance.")
    tree.text("classes.txt", *KINDS)
    return {file: KINDS[i % 3] for i, file in enumerate(files)}


@stops("--images")
def masks_beside_images(tree: Tree) -> None:
    names = plain(tree)
    tree.image(*(f"annotations/{n}.png" for n in names))
    tree.text("labels.csv", "id,label", *lines_of(names, "{},{}"))


@stops("masks")
def masks_in_folders(tree: Tree) -> None:
    for i in range(30):
        tree.image(f"images/{KINDS[i % 3]}/{i}.jpg", f"masks/{KINDS[i % 3]}/{i}.png")


@stops("--layout")
def repeated_folders_in_classes(tree: Tree) -> None:
    tree.image(
        *(f"{['dog', 'cat'][i % 2]}/{['left', 'right'][i // 2 % 2]}/{i}.jpg" for i in range(48))
    )


@stops("holdout")
def a_folder_beside_the_parts(tree: Tree) -> None:
    for part in ("train", "val", "holdout"):
        tree.image(*(f"{part}/{KINDS[i % 3]}/{i}.jpg" for i in range(12)))


@stops("which column is the label")
def several_columns_that_may_be_labels(tree: Tree) -> None:
    names = plain(tree)
    rows = [f"{n}.jpg,{KINDS[i % 3]},{['low', 'high'][i % 2]}" for i, n in enumerate(names)]
    tree.text("labels.csv", "file,kind,place", *rows)


@stops("two readings")
def a_table_against_the_folders(tree: Tree) -> None:
    files = [f"{['north', 'south'][i % 2]}/{i}.jpg" for i in range(30)]
    tree.image(*files)
    tree.text("labels.csv", "path,label", *lines_of(files, "{},{}"))


@stops("both give labels")
def two_tables_that_differ(tree: Tree) -> None:
    names = plain(tree)
    for shift, name in enumerate(("first.csv", "second.csv")):
        rows = [f"{n}.jpg,{KINDS[(i + shift) % 3]}" for i, n in enumerate(names)]
        tree.text(name, "file,label", *rows)


@stops("names no part")
def a_numbered_fold(tree: Tree) -> None:
    names = plain(tree)
    tree.text(
        "labels.csv",
        "file,label,fold",
        *(f"{n}.jpg,{KINDS[i % 3]},{i % 5}" for i, n in enumerate(names)),
    )


@stops("splits the images")
def the_split_in_a_table_of_its_own(tree: Tree) -> None:
    names = plain(tree)
    tree.text("labels.csv", "file,label", *lines_of(names))
    tree.text(
        "split.csv",
        "file,split",
        *(f"{n}.jpg,{['train', 'test'][i % 2]}" for i, n in enumerate(names)),
    )


@stops("volumes, groups")
def folders_of_patients(tree: Tree) -> None:
    tree.image(*(f"patient_{i % 4}/{i}.jpg" for i in range(40)))


@stops(
    "(12 in all), which look like volumes, groups, dates or ids: write --layout 'patches/{label}' "
    "if they"
)
def folders_of_nodes_of_patients(tree: Tree) -> None:
    """Camelyon17 of WILDS, whose table names no file but numbers that its names are made of."""
    rows = [
        (p, node, x, y)
        for p in ["4", "9", "17", "20"]
        for node in "012"
        for x in "12"
        for y in "345"
    ]
    folder, form = "patient_{:03d}_node_{}", "patch_patient_{:03d}_node_{}_x_{}_y_{}.png"
    tree.image(
        *(f"patches/{folder}/{form}".format(int(p), n, int(p), n, x, y) for p, n, x, y in rows)
    )
    lines = (f"{i},{','.join(row)},{i % 2},{i % 3}" for i, row in enumerate(rows))
    tree.text("metadata.csv", ",patient,node,x_coord,y_coord,tumor,center", *lines)


def patients(tree: Tree, column: str, cells: list[str]) -> Truth:
    """Class folders with a folder of each patient, whose numbers begin anew in each class."""
    files = [f"{KINDS[k]}/{p}/{k}{p}{i}.jpg" for k in range(2) for p in range(4) for i in range(3)]
    tree.image(*files)
    rows = (f"{file[-7:]},{file[4]},{cells[i % len(cells)]}" for i, file in enumerate(files))
    tree.text("info.csv", f"file,patient_id,{column}", *rows)
    return {file: cells[i % len(cells)] for i, file in enumerate(files)}


@stops(
    "two readings: column sex of info.csv says F, M (write --table info.csv), or folders in fold"
)
def patients_in_class_folders_and_a_table_of_something_else(tree: Tree) -> None:
    patients(tree, "sex", ["F", "F", "F", "M", "M", "M"])


@understood
def patients_in_class_folders_and_a_table_of_labels(tree: Tree) -> Truth:
    return patients(tree, "label", ["F", "F", "F", "M", "M", "M"])


@understood
def patients_in_class_folders_and_a_table_that_says_the_same(tree: Tree) -> Truth:
    return patients(tree, "what", ["o"] * 12 + ["e"] * 12)


def test_folders_in_folders_beside_a_table_are_told(tmp_path: Path) -> None:
    patients_in_class_folders_and_a_table_of_labels(Tree(tmp_path / "other"))
    assert recognise(tmp_path / "other").rule.endswith("; the folders in folders are not used")
    patients_in_class_folders_and_a_table_that_says_the_same(Tree(tmp_path / "same"))
    assert recognise(tmp_path / "same").rule.endswith("; the folders say the same")


@stops("names the images")
def labels_in_a_file_that_is_not_read(tree: Tree) -> None:
    files = [f"{['north', 'south'][i % 2]}_{i:03d}.jpg" for i in range(30)]
    tree.image(*files)
    tree.text(
        "labels.xml",
        *(f"<image name='{file}' label='{KINDS[i % 3]}'/>" for i, file in enumerate(files)),
    )


@stops("annotation files of their own")
def boxes_in_a_text_beside_each_image(tree: Tree) -> None:
    for i in range(30):
        tree.image(f"{['north', 'south'][i % 2]}_{i:03d}.jpg")
        tree.text(f"{['north', 'south'][i % 2]}_{i:03d}.txt", "0 0.5 0.5 0.1 0.1")


@stops("several people")
def annotators_who_disagree(tree: Tree) -> None:
    names = plain(tree)
    rows = [f"{n}.jpg,{KINDS[(i + a) % 3]},{a}" for i, n in enumerate(names) for a in range(2)]
    tree.text("labels.csv", "image,label,annotator", *rows)


@stops("boxes")
def coco_with_boxes(tree: Tree) -> None:
    names = plain(tree)
    tree.json(
        "instances.json",
        {
            "images": [{"id": i, "file_name": f"{n}.jpg"} for i, n in enumerate(names)],
            "annotations": [{"image_id": 0, "category_id": 0, "bbox": [1, 2, 3, 4]}],
            "categories": [{"id": 0, "name": "oak"}],
        },
    )


@stops("--delimiter")
def an_unclear_delimiter(tree: Tree) -> None:
    names = plain(tree)
    cells = ["red;round", "red;long", "green;round"]
    tree.text("labels.csv", "file,label", *(f"{n}.jpg,{cells[i % 3]}" for i, n in enumerate(names)))


def read(root: Path, hints: Hints | None = None) -> Truth:
    found = recognise(root, hints or Hints())
    text = dataset_yaml("x", root, found)
    again = find_images(yaml.safe_load(text)["images"], root)
    assert again.images == found.source.images, "as the YAML says it"
    given = found.split == "given"
    return {
        (f"{image.part}:{image.file}" if given and image.part else image.file): "+".join(
            image.labels
        )
        for image in found.source.images
    }


@understood
def labelled_lists_of_parts(tree: Tree) -> Truth:
    names = plain(tree)
    tree.text("train_split.txt", *lines_of(names[:30], "{}.jpg {}"))
    tree.text("test_split.txt", *lines_of(names[30:], "{}.jpg {}"))
    labels = [KINDS[i % 3] for i in range(30)] + [KINDS[i % 3] for i in range(15)]
    parts = ["train"] * 30 + ["test"] * 15
    truth = zip(names, parts, labels, strict=True)
    return {f"{part}:images/{name}.jpg": label for name, part, label in truth}


@understood
def lists_of_parts_beside_a_column_that_says_them(tree: Tree) -> Truth:
    names = plain(tree)
    parts = ["train"] * 30 + ["test"] * 15
    rows = zip(lines_of(names), parts, strict=True)
    tree.text("labels.csv", "file,label,split", *(f"{row},{part}" for row, part in rows))
    tree.text("train.txt", *names[:30])
    tree.text("test.txt", *names[30:])
    truth = zip(names, parts, range(45), strict=True)
    return {f"{part}:images/{name}.jpg": KINDS[i % 3] for name, part, i in truth}


@understood
def a_readme_and_a_manifest_that_name_the_images(tree: Tree) -> Truth:
    names = plain(tree)
    tree.text("labels.csv", "file,label", *lines_of(names))
    tree.text("README.txt", *(f"The picture {name}.jpg was taken at noon." for name in names))
    tree.json("manifest.json", {"files": [f"images/{name}.jpg" for name in names], "size": 45})
    return kinds(names, "images/{}.jpg")


def in_parts(names: list[str], form: str, n_train: int = 30, after: str = "test") -> Truth:
    parts = ["train"] * n_train + [after] * (len(names) - n_train)
    pairs = enumerate(zip(names, parts, strict=True))
    return {f"{part}:{form.format(name)}": KINDS[i % 3] for i, (name, part) in pairs}


@understood
def food_101(tree: Tree) -> Truth:
    names = [f"{KINDS[i % 3]}/{1000 + i}" for i in range(45)]
    tree.image(*(f"images/{name}.jpg" for name in names))
    tree.text("meta/classes.txt", *KINDS)
    tree.text("meta/train.txt", *names[:30])
    tree.text("meta/test.txt", *names[30:])
    tree.json("meta/train.json", {kind: [n for n in names if kind in n] for kind in KINDS})
    return in_parts(names, "images/{}.jpg")


@understood
def indoor_scenes(tree: Tree) -> Truth:
    names = [f"{KINDS[i % 3]}/p{i}.jpg" for i in range(45)]
    tree.image(*(f"Images/{name}" for name in names))
    tree.text("TrainImages.txt", *names[:30])
    tree.text("TestImages.txt", *names[30:])
    return in_parts(names, "Images/{}")


@understood
def chest_x_rays_with_lists_of_parts(tree: Tree) -> Truth:
    names = plain(tree, suffix=".png")
    tree.text("Data_Entry_2017.csv", "Image Index,Finding Labels", *lines_of(names, "{}.png,{}"))
    tree.text("train_val_list.txt", *(f"{name}.png" for name in names[:30]))
    tree.text("test_list.txt", *(f"{name}.png" for name in names[30:]))
    return in_parts(names, "images/{}.png")


@understood
def a_list_of_train_and_valid_beside_folders_of_all_parts(tree: Tree) -> Truth:
    parts = {"train": "train", "val": "valid", "test": "test"}
    names = [f"{list(parts)[i // 3 % 3]}/{KINDS[i % 3]}/p{i}.jpg" for i in range(45)]
    tree.image(*names)
    tree.text("trainval.txt", *(name for name in names if not name.startswith("test")))
    tree.text("test.txt", *(name for name in names if name.startswith("test")))
    return {f"{parts[n.partition('/')[0]]}:{n}": KINDS[i % 3] for i, n in enumerate(names)}


@understood
def lists_of_ids_and_names(tree: Tree) -> Truth:
    names = [f"{KINDS[i % 3]}_{i}" for i in range(45)]
    tree.image(*(f"{name.partition('_')[0]}/{name}.jpg" for name in names))
    tree.text("train.csv", "id,file", *(f"{name},{name}.jpg" for name in names[:30]))
    tree.text("test.csv", "id,file", *(f"{name},{name}.jpg" for name in names[30:]))
    files = [f"{name.partition('_')[0]}/{name}.jpg" for name in names]
    return in_parts(files, "{}")


@understood
def lists_of_valid_and_test_alone(tree: Tree) -> Truth:
    names = [f"{KINDS[i % 3]}/p{i}" for i in range(45)]
    tree.image(*(f"{name}.jpg" for name in names))
    tree.text("validation_list.txt", *(f"{name}.jpg" for name in names[30:40]))
    tree.text("testing_list.txt", *(f"{name}.jpg" for name in names[40:]))
    valid = in_parts(names[:40], "{}.jpg", after="valid")
    return valid | {f"test:{name}.jpg": KINDS[i % 3] for i, name in enumerate(names) if i >= 40}


@understood
def lists_of_paths_on_another_machine(tree: Tree) -> Truth:
    """With a list of train and valid together beside them, which says nothing more."""
    names = [f"{KINDS[i % 3]}/p{i}.jpg" for i in range(45)]
    tree.image(*(f"JPEGImages/{name}" for name in names))
    paths = [f"/home/someone/scenes/JPEGImages/{name}" for name in names]
    tree.text("ImageSets/train.txt", *paths[:30])
    tree.text("ImageSets/val.txt", *paths[30:])
    tree.text("ImageSets/trainval.txt", *paths)
    return in_parts(names, "JPEGImages/{}", after="valid")


def textures(tree: Tree) -> list[str]:
    names = [f"{KINDS[i % 3]}/{KINDS[i % 3]}_{i:04d}.jpg" for i in range(45)]
    tree.image(*(f"images/{name}" for name in names))
    for number in (1, 2, 10):
        tree.text(f"labels/train{number}.txt", *names[:15])
        tree.text(f"labels/val{number}.txt", *names[15:30])
        tree.text(f"labels/test{number}.txt", *names[30:])
        names = names[1:] + names[:1]
    return names


@stops("write --lists labels/train1.txt,labels/val1.txt,labels/test1.txt (or other lists")
def describable_textures(tree: Tree) -> None:
    textures(tree)


@stops("train.json splits the images into parts, which is read from lists of text")
def lists_of_parts_as_json(tree: Tree) -> None:
    names = [f"{KINDS[i % 3]}/p{i}.jpg" for i in range(45)]
    tree.image(*names)
    tree.json("train.json", [{"image": name} for name in names[:30]])
    tree.json("test.json", [{"image": name} for name in names[30:]])


def test_lists_of_parts_hold_where_the_folders_are_the_labels_by_choice(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    names = [f"{KINDS[i % 3]}/p{i}.jpg" for i in range(45)]
    tree.image(*names)
    tree.text("train.txt", *names[:30])
    tree.text("test.txt", *names[30:])
    tree.text("joint.txt", *(f"{name} oak {KINDS[i % 2]}" for i, name in enumerate(names)))
    with pytest.raises(PipelineError, match="two readings: the table says"):
        read(tmp_path)
    for hints in (Hints(table="none"), Hints(layout="{label}")):
        assert read(tmp_path, hints) == in_parts(names, "{}")


@pytest.mark.parametrize("table", [None, "none"])
def test_option_lists_chooses_among_several_splits(tmp_path: Path, table: str | None) -> None:
    names = textures(Tree(tmp_path))
    lists = "labels/train10.txt,labels/val10.txt,labels/test10.txt"
    found = read(tmp_path, Hints(lists=lists, table=table))
    order = [*names[-1:], *names[:-1]]  # as the tenth split has them
    parts = ["train"] * 15 + ["valid"] * 15 + ["test"] * 15
    assert found == {
        f"{part}:images/{name}": name.partition("/")[0]
        for name, part in zip(order, parts, strict=True)
    }
    anew = read(tmp_path, Hints(part="none"))
    assert set(anew) == {f"images/{name}" for name in names}


def test_lists_that_were_chosen_hold_whatever_else_they_say(tmp_path: Path) -> None:
    """Such as groups, or the names of other images too."""
    tree = Tree(tmp_path)
    names = plain(tree)
    tree.text("labels.csv", "file,label", *lines_of(names))
    rows = [f"{name}.jpg,{i // 3}" for i, name in enumerate(names)]
    tree.text("train.csv", "file,patient", *rows[:30])
    tree.text("test.csv", "file,patient", *rows[30:])
    for table in (None, "labels.csv"):
        found = read(tmp_path, Hints(lists="train.csv,test.csv", table=table))
        assert found == in_parts(names, "images/{}.jpg")


def test_lists_that_were_chosen_may_name_images_without_label(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    names = plain(tree)
    others = plain(tree, 60, "images/other_")
    tree.text("labels.csv", "file,label", *lines_of(names))
    tree.text("train.txt", *names[:30])
    tree.text("test.txt", *names[30:], *(f"other_{name}" for name in others))
    found = recognise(tmp_path, Hints(lists="train.txt,test.txt"))
    assert Counter(image.part for image in found.source.images) == {"train": 30, "test": 15}
    faults = [each for each in found.source.faults if each.file.startswith("test.txt")]
    assert {each.reason for each in faults} == {"names no labelled image"}
    assert len(faults) == 60


def numbers_before_names(tree: Tree, folder: str = "") -> list[str]:
    names = [f"{folder}{KINDS[i % 3]}/{i * 17 % 47}.jpg" for i in range(45)]
    tree.image(*names)
    for part, some in (("train", names[:30]), ("test", names[30:])):
        tree.text(f"{part}.csv", ",image", *(f"{i},{name}" for i, name in enumerate(some)))
    return names


@stops("train.csv splits the images into parts, but names them in column image, which is not")
def lists_with_numbers_before_the_names(tree: Tree) -> None:
    numbers_before_names(tree)


def test_lists_with_numbers_before_the_names_are_no_numbers_of_images(tmp_path: Path) -> None:
    names = numbers_before_names(Tree(tmp_path))
    with pytest.raises(PipelineError, match="in column image, which is not its first"):
        read(tmp_path, Hints(lists="train.csv,test.csv"))
    anew = {name: KINDS[i % 3] for i, name in enumerate(names)}
    assert read(tmp_path, Hints(part="none")) == anew


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ("labels/train3.txt", "labels/train3.txt: no such file"),
        ("train2.txt", "train2.txt: no such file; there is labels/train2.txt"),
        ("labels/classes.txt", "labels/classes.txt names no images"),
        (
            "labels/train1.txt",
            "15 of 45 images are in labels/train1.txt, and there is no list of the",
        ),
        ("labels/train1.txt,labels/test2.txt", "give lists of one split"),
        ("labels/first.txt", "labels/first.txt is not called like a part: train, valid or test"),
    ],
)
def test_a_wrong_list_is_one_clear_line(tmp_path: Path, lists: str, message: str) -> None:
    tree = Tree(tmp_path)
    names = textures(tree)
    tree.text("labels/classes.txt", *KINDS)
    tree.text("labels/first.txt", *names[:9])
    with pytest.raises(PipelineError, match=re.escape(message)):
        recognise(tmp_path, Hints(lists=lists))


def test_a_table_that_gives_no_labels_is_no_choice(tmp_path: Path) -> None:
    textures(Tree(tmp_path))
    with pytest.raises(PipelineError, match=r"--table labels/train1.txt gives no labels"):
        recognise(tmp_path, Hints(table="labels/train1.txt"))


def test_what_lists_leave_out_or_name_twice_is_a_fault(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    names = [f"{KINDS[i % 3]}/p{i}" for i in range(45)]
    tree.image(*(f"{name}.jpg" for name in names))
    tree.text("train.txt", "image", *names[:30], "oak/p99")
    tree.text("test.txt", *names[29:44])
    recipe = {"_target_": "pipeline.dataset.sources.in_class_folders"}
    lists = {"lists": {"train": "train.txt", "test": ["test.txt"]}}
    found = find_images(recipe | lists, tmp_path)
    assert {(each.file, each.reason) for each in found.faults} == {
        ("train.txt row 32: oak/p99", "names no labelled image"),
        (f"{names[29]}.jpg", "in train.txt and in test.txt"),
        (f"{names[44]}.jpg", "in no list of a part"),
    }
    assert {image.file: image.part for image in found.images} == {
        **{f"{name}.jpg": "train" for name in names[:29]},
        **{f"{name}.jpg": "test" for name in names[30:44]},
    }
    with pytest.raises(PipelineError, match=r"images.lists: 'trian'"):
        find_images(recipe | {"lists": {"trian": "train.txt"}}, tmp_path)


@stops("list_eval_partition.txt splits the images by its name")
def celebrities(tree: Tree) -> None:
    """The attributes, below a line with their number and one with their names, are no table."""
    names = plain(tree)
    signs = [" 1" if i % 3 else "-1" for i in range(len(names))]
    rows = [f"{name}.jpg {sign} -1" for name, sign in zip(names, signs, strict=True)]
    tree.text("list_attr.txt", str(len(names)), "Smiling Young", *rows)
    parts = [f"{name}.jpg {i // 16}" for i, name in enumerate(names)]
    tree.text("list_eval_partition.txt", *parts)


@stops("lists images in a way that is not understood")
def a_table_that_is_none_beside_one_that_is(tree: Tree) -> None:
    names = plain(tree)
    tree.text("labels.csv", "file,label", *lines_of(names))
    rows = [f"{name}.jpg 1 -1" for name in names]
    tree.text("list_attr.txt", str(len(names)), "Smiling Young", *rows)


@stops("with a column of file names, or --table train.csv,test.csv to leave it out")
def a_table_that_is_none_beside_several_that_are(tree: Tree) -> None:
    names = plain(tree)
    tree.text("train.csv", "file,label", *lines_of(names[:30]))
    tree.text("test.csv", "file,label", *lines_of(names[30:]))
    rows = [f"{name}.jpg 1 -1" for name in names]
    tree.text("list_attr.txt", str(len(names)), "Smiling Young", *rows)


@stops("column Confidence holds zeros and ones")
def open_images(tree: Tree) -> None:
    names = plain(tree)
    rows = [
        f"{name},verification,/m/{KINDS[(i + n) % 3]},{1 - n}"
        for i, name in enumerate(names)
        for n in range(2)
    ]
    tree.text("human-imagelabels.csv", "ImageID,Source,LabelName,Confidence", *rows)


@stops("holds objects of JSON, not labels")
def datumaro(tree: Tree) -> None:
    names = plain(tree, folder="images/default/")
    items = [
        {
            "id": name,
            "annotations": [{"id": 0, "type": "label", "group": 0, "label_id": i % 3}],
            "image": {"path": f"{name}.jpg", "size": [4, 4]},
        }
        for i, name in enumerate(names)
    ]
    labels = [{"name": kind, "parent": "", "attributes": []} for kind in KINDS]
    about = {"label": {"labels": labels, "attributes": []}}
    tree.json("annotations/default.json", {"info": {}, "categories": about, "items": items})


@stops("holds boxes of objects, not labels")
def localisation(tree: Tree) -> None:
    names = plain(tree)
    tree.text("LOC_val_solution.csv", "ImageId,PredictionString", *lines_of(names, "{},{} 1 2 3 4"))


@understood
def flat_train_and_test_with_larger_numbers(tree: Tree) -> Truth:
    names = [f"train/{['cat', 'dog'][i % 2]}.{i}.jpg" for i in range(40)]
    tree.image(*names, *(f"test1/{i}.jpg" for i in range(5, 15)))
    return {f"train:{name}": name[6:9] for name in names}


@understood
def names_of_test_images_that_say_something_else(tree: Tree) -> Truth:
    names = [f"train/{['cat', 'dog'][i % 2]}_{i}.jpg" for i in range(40)]
    tree.image(*names, *(f"test/photo_{i}.jpg" for i in range(10)))
    return {name: name[6:9] for name in names}


@understood
def tables_of_parts_that_say_the_same_as_one_of_all(tree: Tree) -> Truth:
    names = plain(tree)
    rows = lines_of(names)
    tree.text("labels.csv", "file,label", *rows)
    tree.text("train.csv", "file,label", *rows[:30])
    tree.text("test.csv", "file,label", *rows[30:])
    return in_parts(names, "images/{}.jpg")


@understood
def pets_by_number(tree: Tree) -> Truth:
    names = plain(tree, folder="jpg/")
    rows = [f"{name} {1 + i % 3}" for i, name in enumerate(names)]
    tree.text("annotations/trainval.txt", *rows[:30])
    tree.text("annotations/test.txt", *rows[30:])
    tree.text("annotations/list.txt", "#Image CLASS-ID", *rows)
    truth = in_parts(names, "jpg/{}.jpg")
    return {file: str(1 + KINDS.index(kind)) for file, kind in truth.items()}


@understood
def lists_of_numbers(tree: Tree) -> Truth:
    names = [str(1000 + 7 * i) for i in range(45)]
    tree.image(*(f"images/{name}.jpg" for name in names))
    tree.text("labels.csv", "id,label", *lines_of(names, "{},{}"))
    tree.text("train.txt", *names[:30])
    tree.text("test.txt", *names[30:])
    return in_parts(names, "images/{}.jpg")


def _lists(name: str, train: str, test: str) -> None:
    def case(tree: Tree) -> Truth:
        names = [f"{KINDS[i % 3]}/p{i}.jpg" for i in range(45)]
        tree.image(*names)
        tree.text(train, *names[:30])
        tree.text(test, *(name.upper() for name in names[30:]))
        return in_parts(names, "{}")

    case.__name__ = name
    understood(case)


_lists("lists_called_trainset_and_testset", "trainset.txt", "testset.txt")
_lists("lists_in_a_folder_beside_the_classes", "splits/train.txt", "splits/test.txt")


@understood
def labelled_lists_of_the_parts_of_two_domains(tree: Tree) -> Truth:
    truth = {}
    for domain in ("real", "sketch"):
        names = [f"{domain}/{KINDS[i % 3]}/{domain}{i}.jpg" for i in range(45)]
        tree.image(*names)
        tree.text(f"{domain}_train.txt", *(f"{n} {i % 3}" for i, n in enumerate(names[:30])))
        tree.text(f"{domain}_test.txt", *(f"{n} {i % 3}" for i, n in enumerate(names[30:])))
        truth |= {file: str(KINDS.index(k)) for file, k in in_parts(names, "{}").items()}
    return truth


@understood
def places(tree: Tree) -> Truth:
    """The paths of one list begin with a slash, in a folder; those of the others are names."""
    train = [f"/{KINDS[i % 3][0]}/{KINDS[i % 3]}/{i:08d}.jpg" for i in range(45)]
    valid, test = ([f"{part}_{i:08d}.jpg" for i in range(12)] for part in ("val", "test"))
    tree.image(*(f"data_256{name}" for name in train), *(f"val_256/{name}" for name in valid))
    tree.image(*(f"test_256/{name}" for name in test))
    tree.text("train_standard.txt", *(f"{name} {i % 3}" for i, name in enumerate(train)))
    tree.text("val.txt", *(f"{name} {i % 3}" for i, name in enumerate(valid)))
    tree.text("test.txt", *test)
    truth = {f"train:data_256{name}": str(i % 3) for i, name in enumerate(train)}
    return truth | {f"valid:val_256/{name}": str(i % 3) for i, name in enumerate(valid)}


@understood
def traffic_signs(tree: Tree) -> Truth:
    """A table in each class folder, and one of the test images in a folder of their own."""
    truth, head = {}, "Filename;Width;ClassId"
    for label in range(3):
        names = [f"{i:05d}_00000.ppm" for i in range(15)]
        tree.image(*(f"Training/{label:05d}/{name}" for name in names))
        tree.text(
            f"Training/{label:05d}/GT-{label:05d}.csv", head, *(f"{n};29;{label}" for n in names)
        )
        truth |= {f"train:Training/{label:05d}/{name}": str(label) for name in names}
    tests = [f"{i:05d}.ppm" for i in range(12)]
    tree.image(*(f"Final_Test/Images/{name}" for name in tests))
    tree.text("GT-final_test.csv", head, *(f"{n};53;{i % 3}" for i, n in enumerate(tests)))
    return truth | {f"test:Final_Test/Images/{name}": str(i % 3) for i, name in enumerate(tests)}


def _cars(name: str, folder: str) -> None:
    """Files of the same names in both parts, and a table of each."""

    def case(tree: Tree) -> Truth:
        truth = {}
        for part, n in (("train", 30), ("test", 15)):
            files = [f"{i:05d}.jpg" for i in range(n)]
            places = [folder.format(part=part, kind=KINDS[i % 3]) for i in range(n)]
            tree.image(*(f"{place}/{file}" for place, file in zip(places, files, strict=True)))
            tree.text(f"anno_{part}.csv", *(f"{f},39,{1 + i % 3}" for i, f in enumerate(files)))
            truth |= {f"{part}:{places[i]}/{f}": str(1 + i % 3) for i, f in enumerate(files)}
        return truth

    case.__name__ = name
    understood(case)


_cars("the_same_names_in_class_folders_of_both_parts", "data/{part}/{kind}")
_cars("the_same_names_in_folders_with_a_part_in_their_names", "cars_{part}")
_folders(
    "parts_in_words_of_the_folders",
    "{part}/{kind}/{i}.jpg",
    {"seg_train": "train", "seg_test": "test"},
)


@understood
def a_table_of_each_class_and_parts_in_the_paths(tree: Tree) -> Truth:
    truth = {}
    for kind in ("oak", "elm"):
        names = [f"{'train' if i % 4 else 'test'}/{kind}{i:03d}.jpg" for i in range(24)]
        tree.image(*names)
        tree.text(
            f"{kind}.csv", "file,label", *(f"{n},{kind} {i % 2}" for i, n in enumerate(names))
        )
        truth |= {f"{n.partition('/')[0]}:{n}": f"{kind} {i % 2}" for i, n in enumerate(names)}
    return truth


@understood
def parts_in_the_names_of_files(tree: Tree) -> Truth:
    names = [f"{'train' if i < 30 else 'test'}_{i:05d}" for i in range(45)]
    tree.image(*(f"images/{name}.jpg" for name in names))
    tree.text("labels.txt", *lines_of(names, "{}.jpg {}"))
    return in_parts(names, "images/{}.jpg")


@understood
def a_table_of_train_and_one_of_no_part(tree: Tree) -> Truth:
    """No table is of the rest, so that both together are split anew."""
    names = plain(tree)
    rows = lines_of(names)
    tree.text("train.csv", "file,label", *rows[:30])
    tree.text("extra.csv", "file,label", *rows[30:])
    return kinds(names, "images/{}.jpg")


@understood
def the_number_of_rows_above_the_columns(tree: Tree) -> Truth:
    names = plain(tree)
    rows = lines_of(names, "images/{}.jpg      {}")
    tree.text("list_category_img.txt", str(len(names)), "image_name  category_label", *rows)
    return kinds(names, "images/{}.jpg")


@understood
def lists_with_accents_written_in_another_way(tree: Tree) -> Truth:
    names = [f"{KINDS[i % 3]}/ch\u00eane_{i}.jpg" for i in range(45)]
    written = [unicodedata.normalize("NFD", name) for name in names]
    tree.image(*written)
    tree.text("train.txt", *names[:30])
    tree.text("test.txt", *names[30:])
    return in_parts(written, "{}")


@stops("30 of 45 images are in train.txt, and there is no list of the others: write one (test.txt)")
def a_list_of_train_alone(tree: Tree) -> None:
    tree.text("train.txt", *plain(tree)[:30])
    tree.text("labels.csv", "file,label", *lines_of(plain(tree)))


@stops("45 of 45 images are in dev.txt, test.txt, and there is no list of train: write one")
def lists_that_leave_nothing_for_train(tree: Tree) -> None:
    names = [f"{KINDS[i % 3]}/p{i}.jpg" for i in range(45)]
    tree.image(*names)
    tree.text("dev.txt", *names[:30])
    tree.text("test.txt", *names[30:])


@stops("write --images color or --images gray")
def lists_of_names_in_two_trees(tree: Tree) -> None:
    names = [f"{KINDS[i % 3]}/p{i}.jpg" for i in range(45)]
    tree.image(*(f"{place}/{name}" for place in ("color", "gray") for name in names))
    tree.text("train.txt", *names[:30])
    tree.text("test.txt", *names[30:])


@stops("train_ids.txt lists images in a way that is not understood")
def lists_on_one_line(tree: Tree) -> None:
    names = plain(tree)
    tree.text("labels.txt", *lines_of(names, "{} {}"))
    tree.text("train_ids.txt", ", ".join(names[:30]))
    tree.text("val_ids.txt", ", ".join(names[30:]))


def birds(tree: Tree, split: str = "train_test_split.txt") -> list[str]:
    names = [f"00{1 + i % 3}.{KINDS[i % 3]}/{KINDS[i % 3]}_{i:04d}.jpg" for i in range(45)]
    tree.image(*(f"CUB/images/{name}" for name in names))
    tree.text("CUB/images.txt", *(f"{i} {name}" for i, name in enumerate(names, start=1)))
    tree.text("CUB/image_class_labels.txt", *(f"{1 + i} {1 + i % 3}" for i in range(45)))
    tree.text(f"CUB/{split}", *(f"{1 + i} {int(i < 30)}" for i in range(45)))
    tree.text("CUB/classes.txt", *(f"{1 + k} 00{1 + k}.{kind}" for k, kind in enumerate(KINDS)))
    tree.text("CUB/bounding_boxes.txt", *(f"{1 + i} 60.0 27.0 {i}.0 304.0" for i in range(45)))
    tree.text(
        "CUB/parts/part_locs.txt", *(f"{1 + i} {k} 0.0 1.0 1" for i in range(45) for k in "12")
    )
    return names


@understood
def birds_by_id(tree: Tree) -> Truth:
    """CUB-200-2011, whose 1 is train and 0 is test."""
    files = in_parts(birds(tree), "CUB/images/{}")
    return {file: file.split("/")[2] for file in files}


@understood
def birds_by_id_with_names_of_their_own(tree: Tree) -> Truth:
    """NABirds: folders are numbered, ids are long, and names of classes hold commas and slashes."""
    kinds = ["Ducks, Geese", "Hawk (Light/immature)", "Oak Titmouse"]
    keys = [f"{i * 37 % 47:08x}-21dc-4d0c" for i in range(45)]
    files = [f"{295 + i % 3:04d}/{key.replace('-', '')}.jpg" for i, key in enumerate(keys)]
    tree.image(*(f"images/{file}" for file in files))
    tree.text("images.txt", *(f"{key} {file}" for key, file in zip(keys, files, strict=True)))
    tree.text("image_class_labels.txt", *(f"{key} {295 + i % 3}" for i, key in enumerate(keys)))
    tree.text("train_test_split.txt", *(f"{key} {int(i < 30)}" for i, key in enumerate(keys)))
    tree.text("classes.txt", "0 Birds", *(f"{295 + k} {kind}" for k, kind in enumerate(kinds)))
    tree.text("photographers.txt", *(f"{key} Laura Smith" for key in keys))
    parts = in_parts(files, "images/{}")
    return {file: kinds[i % 3] for i, file in enumerate(parts)}


@stops("parts.txt refer to images by the ids in CUB/images.txt")
def tables_keyed_by_number(tree: Tree) -> None:
    birds(tree, "parts.txt")


@stops("the folders alone, or --images CUB/images for the images there")
def birds_and_their_masks(tree: Tree) -> None:
    tree.image(*(f"masks/{name.replace('.jpg', '.png')}" for name in birds(tree)))


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("train_test_split.txt", "46 1", "images.txt or train_test_split.txt lacks the id 46"),
        (
            "image_class_labels.txt",
            "45 1",
            r"image_class_labels.txt: row 46 \(45 1\) has no id of its",
        ),
        ("train_test_split.txt", "46", r"train_test_split.txt: row 46 \(46\) has no id of its own"),
    ],
)
def test_ids_that_do_not_agree_are_one_clear_line(
    tmp_path: Path, name: str, line: str, message: str
) -> None:
    birds(Tree(tmp_path))
    with (tmp_path / "CUB" / name).open("a") as file:
        file.write(line)
    with pytest.raises(PipelineError, match=message):
        read(tmp_path)


def test_what_ids_say_is_never_guessed(tmp_path: Path) -> None:
    """Folders that differ, a split of more than 0 and 1, and one name for two classes."""
    names = birds(tree := Tree(tmp_path))
    anew = {f"CUB/images/{name}": name.partition("/")[0] for name in names}
    assert read(tmp_path, Hints(part="none")) == read(tmp_path, Hints(table="none")) == anew
    tree.text("CUB/classes.txt", "1 oak", "2 oak", "3 ash")
    found = read(tmp_path, Hints(part="none"))
    assert found == {f"CUB/images/{name}": str(1 + i % 3) for i, name in enumerate(names)}
    tree.text("CUB/train_test_split.txt", *(f"{1 + i} {i % 3}" for i in range(45)))
    with pytest.raises(PipelineError, match="train_test_split seems to split the images, but 2"):
        read(tmp_path)
    tree.text("CUB/image_class_labels.txt", *(f"{1 + i} {1 + i // 15}" for i in range(45)))
    with pytest.raises(PipelineError, match="two readings: the table says 1, 2, 3, the folders"):
        read(tmp_path, Hints(part="none"))


def tiny_imagenet(tree: Tree) -> Truth:
    truth = {}
    for kind in KINDS:
        names = [f"{kind}_{i}.JPEG" for i in range(12)]
        tree.image(*(f"tiny/train/{kind}/images/{name}" for name in names))
        boxes = [f"{name}\t{i % 3}\t{i % 4}\t{40 + i % 5}\t63" for i, name in enumerate(names)]
        tree.text(f"tiny/train/{kind}/{kind}_boxes.txt", *boxes)
        truth |= {f"train:tiny/train/{kind}/images/{name}": kind for name in names}
    names = [f"val_{i}.JPEG" for i in range(12)]
    tree.image(*(f"tiny/val/images/{name}" for name in names))
    rows = [f"{name}\t{KINDS[i % 3]}\t0\t{i}\t44\t62" for i, name in enumerate(names)]
    tree.text("tiny/val/val_annotations.txt", *rows)
    tree.image(*(f"tiny/test/images/test_{i}.JPEG" for i in range(12)))
    tree.text("tiny/wnids.txt", *KINDS)
    tree.text("tiny/words.txt", *(f"{kind}\ta tree, wood" for kind in KINDS))
    return truth | {f"valid:tiny/val/images/{n}": KINDS[i % 3] for i, n in enumerate(names)}


def test_folders_label_one_part_and_a_table_the_other(tmp_path: Path) -> None:
    truth = tiny_imagenet(Tree(tmp_path))
    table, layout = "tiny/val/val_annotations.txt", "tiny/train/{label}/**"
    options = f"--table {table} --layout '{layout}' for both"
    with pytest.raises(PipelineError, match="names 12 of 60 images, and 36 others") as error:
        read(tmp_path)
    assert options in str(error.value)
    hints = Hints(table=table, layout=layout)
    assert read(tmp_path, hints) == truth
    assert len(recognise(tmp_path, hints).source.unlabelled) == 12
    fitting = r"trian/\{label\}' fits none of 60 .* such as '\*/\{part\}/\{label\}/\*\*'"
    with pytest.raises(PipelineError, match=fitting):
        read(tmp_path, Hints(table=table, layout="trian/{label}"))


def test_folders_of_parts_split_what_a_table_and_a_layout_label(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    of_train = [f"train/{KINDS[i % 3]}/{i}.png" for i in range(30)]
    of_val = [f"val/v{i}.png" for i in range(12)]
    tree.image(*of_train, *of_val)
    rows = (f"{name},{KINDS[i % 3]}" for i, name in enumerate(of_val))
    tree.text("labels.csv", "file,label", *rows)
    truth = {f"train:{name}": name.split("/")[1] for name in of_train}
    truth |= {f"valid:{name}": KINDS[i % 3] for i, name in enumerate(of_val)}
    assert read(tmp_path, Hints(table="labels.csv", layout="train/{label}")) == truth


def test_folders_and_a_table_that_count_alike_have_the_labels_of_the_table(tmp_path: Path) -> None:
    """00002 is 2, for lack of another folder or row that could be meant."""
    class_folders_for_train_and_a_table_for_test(tree := Tree(tmp_path))
    hints = Hints(table="GT-final_test.csv", layout="GTSRB/Training/{label}")
    assert Counter(read(tmp_path, hints).values()) == {"0": 19, "1": 19, "2": 19}
    assert Counter(image.part for image in recognise(tmp_path, hints).source.images) == {
        "train": 45,
        "test": 12,
    }
    tree.image("GTSRB/Training/2/1.ppm")
    said = "the folders say 00000 to 2, and folders 00002 and 2 are the same number: rename"
    with pytest.raises(PipelineError, match=said):
        read(tmp_path, hints)


def test_the_column_of_the_images_names_is_not_that_of_their_parts(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    rows = [f"{i}.jpg,{'ab'[i % 2]}" for i in range(8)]
    for i in range(8):
        tree.image(f"{i}.jpg")
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *rows]))
    with pytest.raises(PipelineError, match=r"labels\.csv: column file names the images, so it"):
        recognise(tmp_path, Hints(part="file"))


@pytest.mark.parametrize(
    ("folders", "labels", "what"),
    [
        (
            [f"{i:05d}" for i in range(43)],
            [str(i) for i in range(1, 44)],
            "says 1 to 43, the folders say 00000 to 00042, of which no folder has the number of 43",
        ),
        (
            [f"{i:03d}" for i in range(1, 6)],
            ["4", "77", "120", "901"],
            "says 4 to 901, the folders say 001 to 005, .* number of 77, 120, 901: rename the fol",
        ),
        (["001", "002"], ["01", "02"], "says 01 to 02, the folders say 001 to 002, .* of 01, 02:"),
    ],
)
def test_numbers_of_a_table_that_are_not_those_of_the_folders_stop(
    tmp_path: Path, folders: list[str], labels: list[str], what: str
) -> None:
    tree = Tree(tmp_path)
    tree.image(*(f"Train/{folder}/g{i}.png" for folder in folders for i in range(4)))
    tree.image(*(f"Test/t{i}.png" for i in range(len(labels))))
    tree.text("Test.csv", "Path,ClassId", *(f"Test/t{i}.png,{n}" for i, n in enumerate(labels)))
    with pytest.raises(PipelineError, match=what):
        read(tmp_path, Hints(table="Test.csv", layout="Train/{label}/**"))


def test_a_table_and_folders_that_write_numbers_alike_may_each_have_more(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.image(*(f"Train/{i % 3:03d}/{i}.png" for i in range(12)), "Test/a.png", "Test/b.png")
    tree.text("Test.csv", "Path,ClassId", "Test/a.png,000", "Test/b.png,004")
    found = read(tmp_path, Hints(table="Test.csv", layout="Train/{label}/**"))
    assert sorted(set(found.values())) == ["000", "001", "002", "004"]


def test_folders_and_a_table_without_a_label_in_common_stop(tmp_path: Path) -> None:
    class_folders_for_train_and_a_table_for_test(tree := Tree(tmp_path))
    tree.image("GTSRB/Training/stop/1.ppm")
    hints = Hints(table="GT-final_test.csv", layout="GTSRB/Training/{label}")
    with pytest.raises(PipelineError, match="says 0, 1, 2, the folders say 00000, 00001, 00002, s"):
        read(tmp_path, hints)


@stops("--table GT-final_test.csv --layout 'GTSRB/Training/{label}' for both")
def class_folders_for_train_and_a_table_for_test(tree: Tree) -> None:
    tree.image(*(f"GTSRB/Training/{i % 3:05d}/{i:05d}_0.ppm" for i in range(45)))
    tests = [f"{i:05d}.ppm" for i in range(12)]
    tree.image(*(f"GTSRB/Final_Test/Images/{name}" for name in tests))
    tree.text(
        "GT-final_test.csv", "Filename;ClassId", *(f"{n};{i % 3}" for i, n in enumerate(tests))
    )


@stops("write --images annotations/trimaps or --images images")
def pets_and_their_masks(tree: Tree) -> None:
    names = plain(tree)
    tree.image(*(f"annotations/trimaps/{name}.png" for name in names))
    tree.text("annotations/list.txt", *(f"{name} {i % 3}" for i, name in enumerate(names)))


@stops("such as images and masks: move masks away to use the others")
def masks_below_the_images(tree: Tree) -> None:
    names = [f"{KINDS[i % 3]}_{i}" for i in range(30)]
    tree.image(*(f"{name}.jpg" for name in names), *(f"masks/{name}.png" for name in names))


def test_images_with_masks_elsewhere_are_chosen_by_their_folder(tmp_path: Path) -> None:
    """The masks are no files that describe them."""
    names = [f"{KINDS[i % 3]}_{i}" for i in range(30)]
    tree = Tree(tmp_path)
    tree.image(*(f"images/{name}.jpg" for name in names))
    tree.image(*(f"masks/{name}.png" for name in names))
    with pytest.raises(PipelineError, match="write --images images or --images masks"):
        read(tmp_path)
    assert read(tmp_path, Hints(images="images")) == kinds(names, "images/{}.jpg")


def test_many_folders_called_alike_are_soon_compared() -> None:
    files = [f"{i}/{place}/{i % 7}.jpg" for i in range(5000) for place in ("a", "images")]
    start = time.process_time()
    refuse_parallel([file for file in files if "/images/" in file])
    assert time.process_time() - start < 5
    with pytest.raises(PipelineError, match="0/images and 0/a hold files of the same names"):
        refuse_parallel(files)


@stops(
    "classes would be made of folders masks, which are called like something else: write --layout "
    "'{label}' if they are classes, or move them away to use the others alone (ash, elm, oak)"
)
def masks_beside_class_folders(tree: Tree) -> None:
    for i in range(30):
        tree.image(f"{KINDS[i % 3]}/{i}.jpg", f"masks/{i}.png")


@stops("move the folders masks away to use the others, or --layout '{label}/images' for the class")
def masks_and_images_in_each_class_folder(tree: Tree) -> None:
    for i in range(30):
        tree.image(f"{KINDS[i % 3]}/images/{i}.jpg", f"{KINDS[i % 3]}/masks/{i}.png")


@stops("masks: move the folders masks away to use the others")
def masks_below_each_class_folder(tree: Tree) -> None:
    for i in range(30):
        tree.image(f"{KINDS[i % 3]}/{i}.jpg", f"{KINDS[i % 3]}/masks/{i}.png")


@understood
def one_folder_below_each_class(tree: Tree) -> Truth:
    files = [f"{KINDS[i % 3]}/cropped/{i}.jpg" for i in range(30)]
    tree.image(*files)
    return {file: KINDS[i % 3] for i, file in enumerate(files)}


@stops(
    "malignant (write --layout 'breast/{label}/**'), or ductal, lobular, tubular (write --layout "
)
def tissue_of_patients(tree: Tree) -> None:
    """BreakHis, whose classes and subclasses have a folder SOB between them."""
    kinds = [("benign", "tubular"), ("malignant", "ductal"), ("malignant", "lobular")]
    for i in range(36):
        above, below = kinds[i % 3]
        tree.image(f"breast/{above}/SOB/{below}/SOB_{i % 9}/{40 * (1 + i % 2)}X/{i}.png")


@stops(
    "(write --layout 'leaves/*/{label}', and --images leaves/color for one of those above alone)?"
)
def variants_of_the_same_pictures(tree: Tree) -> None:
    variants = ("color", "grayscale")
    tree.image(*(f"leaves/{v}/{KINDS[i % 3]}/{i}.jpg" for v in variants for i in range(30)))


@stops(
    "holds boxes of objects, not labels (oak 1 2 3 4): write a CSV with a column of file names a"
)
def class_folders_and_a_table_of_boxes(tree: Tree) -> None:
    names = [f"{kind}_{i}" for i in range(15) for kind in KINDS]
    tree.image(*(f"train/{name[:3]}/{name}.JPEG" for name in names))
    rows = (f"{name},{name[:3]} 1 2 3 4" for name in names)
    tree.text("LOC_train_solution.csv", "ImageId,PredictionString", *rows)


def lesions(tree: Tree) -> Truth:
    """ISIC 2019, whose table of everything else says which images are of one lesion."""
    names = plain(tree)
    flags = [",".join(f"{float(i % 3 == k)}" for k in range(3)) for i in range(len(names))]
    rows = [f"{name},{each}" for name, each in zip(names, flags, strict=True)]
    tree.text("GroundTruth.csv", f"image,{','.join(KINDS)}", *rows)
    rows = [f"{name},{20 + i % 4}.0,L{i // 2},{'fm'[i % 2]}" for i, name in enumerate(names)]
    tree.text("Training_Metadata.csv", "image,age_approx,lesion_id,sex", *rows)
    return kinds(names, "images/{}.jpg")


@stops("which column is the label: age_approx (20.0, 21.0, 22.0, 23.0), sex (f, m)? Write --label")
def labels_and_a_table_of_lesions(tree: Tree) -> None:
    lesions(tree)


def test_groups_that_are_not_used_by_choice_are_told(tmp_path: Path) -> None:
    truth = lesions(Tree(tmp_path))
    hints = Hints(table="GroundTruth.csv")
    assert read(tmp_path, hints) == truth
    assert recognise(tmp_path, hints).notes == [
        "Training_Metadata.csv names the same images and gives no label (its column lesion_id "
        "groups the images, which is not used)"
    ]


def test_a_coarser_column_that_could_be_the_label_is_told(tmp_path: Path) -> None:
    """ISIC 2020: which diagnosis, and whether it is malignant."""
    names = plain(tree := Tree(tmp_path))
    rows = [f"{name},{KINDS[i % 3]},{int(i % 3 == 2)}" for i, name in enumerate(names)]
    tree.text("train.csv", "image_name,diagnosis,target", *rows)
    assert read(tmp_path) == kinds(names, "images/{}.jpg")
    assert "target follows from diagnosis (--label 'target' for it)" in recognise(tmp_path).rule


def test_columns_of_more_than_zeros_and_ones_are_one_clear_line(tmp_path: Path) -> None:
    """CheXpert leaves cells empty, and writes -1 where the radiologist was not sure."""
    names = plain(tree := Tree(tmp_path))
    cells = ["1.0", "", "-1.0"]
    rows = [f"{n},{cells[i % 3]},{cells[i % 2]}" for i, n in enumerate(names)]
    tree.text("train.csv", "Path,Edema,Fracture", *rows)
    line = r"train.csv: column Edema holds 1.0, \(empty\), -1.0: a column for each label holds 0 or"
    with pytest.raises(PipelineError, match=line):
        read(tmp_path, Hints(label="Edema,Fracture"))


@stops("look like volumes, groups, dates or ids: write --layout 'jpeg/{label}' if they are")
def folders_of_series(tree: Tree) -> None:
    """CBIS-DDSM, whose tables name the DICOM files that the pictures were made of."""
    tree.image(*(f"jpeg/1.3.6.1.4.1.9590.100.{7 * i}/{k}-{i}.jpg" for i in range(12) for k in "12"))


@stops("train.json: column boxes holds objects of JSON, not labels")
def boxes_in_lists(tree: Tree) -> None:
    """Street View House Numbers, with a box for each digit."""
    names = plain(tree)
    box = {"height": 3.0, "left": 1.0, "top": 2.0, "width": 3.0}
    digits = [[{**box, "label": digit} for digit in str(10 + i % 5)] for i in range(45)]
    rows = zip(names, digits, strict=True)
    tree.json("train.json", [{"filename": f"{n}.jpg", "boxes": each} for n, each in rows])


@understood
def cells_with_lists_as_python_writes_them(tree: Tree) -> Truth:
    names = plain(tree)
    cells = ["['oak']", "['elm', 'ash']", "[]", '["ash"]']
    rows = [f"{name}.jpg\t{cells[i % 4]}" for i, name in enumerate(names)]
    tree.text("labels.tsv", "file\tgenre", *rows)
    meant = ["oak", "elm+ash", "", "ash"]
    return {f"images/{name}.jpg": meant[i % 4] for i, name in enumerate(names)}


NO_LISTS = ("['a'", "['a', 1]", '{"choices": 5}', r"['C:\data']", "[1, 2]", "['a' 'b']", "[a]")


@pytest.mark.parametrize(
    ("cell", "meant"),
    [
        (r'["caf\u00e9"]', ("caf\u00e9",)),
        ("""["devil's ivy", 'fern']""", ("devil's ivy", "fern")),
        ("[ ]", ()),
        ('{"choices": ["a", "b"]}', ("a", "b")),
        *((text, text) for text in NO_LISTS),
    ],
)
def test_a_cell_is_a_list_only_where_it_holds_one_of_texts(
    tmp_path: Path, cell: str, meant: Any
) -> None:
    (tmp_path / "t.tsv").write_text(f"file\tlabel\na.jpg\t{cell}\n")
    table = with_lists(read_table(tmp_path / "t.tsv"), ["label"])
    assert table.to_numpy().tolist() == [["a.jpg", meant]]


NO_LISTS_OF_TEXTS = ("['dog', None]", "['dog', nan]", r"['it\'s']", "['a' 'b']", "['a', 'b'", "{}")


@pytest.mark.parametrize("odd", NO_LISTS_OF_TEXTS)
@pytest.mark.parametrize("label", [None, "label"])
def test_a_cell_that_is_no_list_beside_lists_stops(
    odd: str, label: str | None, tmp_path: Path
) -> None:
    names = plain(tree := Tree(tmp_path))
    cells = ["['cat']", "['dog']", odd]
    rows = (f"{name}.jpg\t{cells[i % 3]}" for i, name in enumerate(names))
    tree.text("labels.tsv", "file\tlabel", *rows)
    line = f"labels.tsv: column label holds {odd}, which is no list of texts"
    with pytest.raises(PipelineError, match=re.escape(line)):
        read(tmp_path, Hints(label=label))
    images = {"_target_": "pipeline.dataset.label_tables.in_table", "table": "labels.tsv"}
    with pytest.raises(PipelineError, match=re.escape(line)):
        find_images({**images, "file": "file", "label": "label", "path": "images/{}"}, tmp_path)


@pytest.mark.parametrize("form", ["[{}, 1]", "{{'{}', 'b'}}", "[{}, b]"])
def test_cells_that_all_look_like_lists_and_are_none_stop(form: str, tmp_path: Path) -> None:
    names = plain(tree := Tree(tmp_path))
    rows = (f"{name}.jpg\t{form.format(i % 3)}" for i, name in enumerate(names))
    tree.text("labels.tsv", "file\tlabel", *rows)
    with pytest.raises(PipelineError, match=re.escape(f"holds {form.format(0)}, which is no list")):
        read(tmp_path)
    found = read(tmp_path, Hints(delimiter="none"))
    assert set(found.values()) == {form.format(i) for i in range(3)}


@stops("column split seems to split the images, but ['test'], ['train'] names no part")
def parts_in_lists(tree: Tree) -> None:
    rows = (f"{n}.jpg\t{KINDS[i % 3]}\t['{'tr' * (i % 2)}']" for i, n in enumerate(plain(tree)))
    rows = (row.replace("['tr']", "['train']").replace("['']", "['test']") for row in rows)
    tree.text("labels.tsv", "file\tlabel\tsplit", *rows)


def test_groups_in_lists_are_told_as_they_are_written(tmp_path: Path) -> None:
    names = plain(tree := Tree(tmp_path))
    rows = (f"{name}.jpg\t{KINDS[i % 3]}\t['p{i // 3}']" for i, name in enumerate(names))
    tree.text("labels.tsv", "file\tlabel\tpatient", *rows)
    found = recognise(tmp_path).source.images
    assert {image.group for image in found} == {f"['p{i}']" for i in range(15)}


def table_rows(path: Path) -> list[list[Any]]:
    return read_table(path).to_numpy().tolist()


NO_TABLES: dict[str, Any] = {
    "columns and rows that are objects": {"columns": [{"name": "x"}], "data": [{"x": 1}]},
    "rows that are numbers": {"columns": ["a"], "data": [1]},
    "rows of another length": {"columns": ["a", "b"], "data": [["a", 1], ["b"]]},
    "tasks that are numbers": [{"data": 5, "annotations": []}],
    "annotations that are numbers": [{"data": {"image": "a"}, "annotations": [1]}],
    "choices that are a number": [
        {"data": {}, "annotations": [{"result": [{"value": {"choices": 5}}]}]}
    ],
    "a class map that is a list": [{"a-metadata": {"class-map": [1]}}],
    "annotations of COCO that are numbers": {"images": [], "annotations": [1], "categories": []},
    "categories of COCO that are a number": {"images": [], "annotations": [], "categories": 5},
    "lists in lists": [[[[]]]],
    "no objects": {},
    "objects of nothing": {"a": {}, "b": {}},
    "deep objects": json.loads('{"a":' * 900 + "1" + "}" * 900),
}


@pytest.mark.parametrize("value", NO_TABLES.values(), ids=NO_TABLES)
def test_json_of_another_thing_beside_class_folders_is_left_aside(
    value: Any, tmp_path: Path
) -> None:
    tree = Tree(tmp_path)
    truth = {f"{kind}/{kind}_{i}.jpg": kind for kind in KINDS for i in range(6)}
    tree.image(*truth)
    tree.json("plot.json", value)
    tree.lines("plot.jsonl", [value])
    assert read(tmp_path) == truth


@understood
def several_numbers_in_a_cell(tree: Tree) -> Truth:
    """The attributes of the Metropolitan Museum's pictures."""
    names = plain(tree)
    cells = ["147 616 813", "1 616", "147"]
    tree.text(
        "train.csv", "id,attribute_ids", *(f"{n},{cells[i % 3]}" for i, n in enumerate(names))
    )
    return {f"images/{n}.jpg": cells[i % 3].replace(" ", "+") for i, n in enumerate(names)}


@stops("columns of zeros and ones (dme, gradable) beside grade: which are the labels?")
def grades_beside_flags(tree: Tree) -> None:
    """Messidor-2: the grades of retinopathy are no measurement."""
    rows = [f"{n}.jpg,{i % 5},{i % 2},1" for i, n in enumerate(plain(tree))]
    tree.text("data.csv", "image_id,grade,dme,gradable", *rows)


@understood
def folders_in_folders_of_their_own_name(tree: Tree) -> Truth:
    """Archives of archives: the test images have their classes in their names alone."""
    files = [f"asl_train/asl_train/{KINDS[i % 3]}/{i}.jpg" for i in range(30)]
    tree.image(*files, *(f"asl_test/asl_test/{kind}_test.jpg" for kind in KINDS))
    return {f"train:{file}": KINDS[i % 3] for i, file in enumerate(files)}


@stops("'{label}/**'), or ash, elm, oak (write --layout '*/*/{label}')?")
def archives_without_parts(tree: Tree) -> None:
    tree.image(*(f"trees/trees/{KINDS[i % 3]}/{i}.jpg" for i in range(30)))
    tree.image(*(f"new/new/{kind}_{i}.jpg" for kind in KINDS for i in range(4)))


@understood
def parts_in_the_names_of_tables_with_dots(tree: Tree) -> Truth:
    """IDRiD, of diabetic retinopathy, whose images are numbered anew in each part."""
    truth = {}
    for letter, part, n in (("a", "Training", 24), ("b", "Testing", 9)):
        names = [f"IDRiD_{i + 1:03d}" for i in range(n)]
        tree.image(*(f"1. Images/{letter}. {part} Set/{name}.jpg" for name in names))
        rows = lines_of(names, "{},{},,")
        tree.text(f"2. Truth/{letter}. Grading_{part} Labels.csv", "Image name,Grade,,", *rows)
        found = kinds(names, f"{part.lower()[:-3]}:1. Images/{letter}. {part} Set/{{}}.jpg")
        truth |= found
    return truth


@understood
def a_column_of_usages_that_are_no_parts(tree: Tree) -> Truth:
    names = plain(tree)
    rows = [f"{n},{KINDS[i % 3]},{['Casual', 'Sports'][i % 2]}" for i, n in enumerate(names)]
    tree.text("styles.csv", "id,category,usage", *rows)
    return kinds(names, "images/{}.jpg")


@stops("are normal, tumor and a number, as slides or patients are: write --layout 'tiles/{label}'")
def tiles_of_slides(tree: Tree) -> None:
    """Camelyon16, whose slides are called by their class."""
    slides = [f"{kind}_{number:03d}" for kind in ("tumor", "normal") for number in (1, 2, 110)]
    tree.image(*(f"tiles/{slide}/{slide}_{i}.png" for slide in slides for i in range(4)))


@understood
def numbered_varieties(tree: Tree) -> Truth:
    """Fruits-360, whose varieties are numbered."""
    files = [f"{kind} {n}/{i}.jpg" for kind in ("Apple", "Pear") for n in "12" for i in range(6)]
    tree.image(*files)
    return {file: file.partition("/")[0] for file in files}


@pytest.mark.parametrize(
    "folders",
    [
        "A01 A02 B01 B02",
        "ABC001 ABC002 SKU001 SKU002",
        "speed_020 speed_030 nopass_020 nopass_060",
        "grade_00 grade_01 stage_00 stage_01",
        "C02 C03 E01 E02",
        "BMW_series_1 BMW_series_3",
        "plate1 plate2",
        "node_0 node_1",
        "tumor_1 normal_1",
    ],
)
def test_numbered_classes_are_understood(folders: str, tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    truth = {f"{name}/{i}.jpg": name for name in folders.split() for i in range(12)}
    tree.image(*truth)
    assert read(tmp_path) == truth


@pytest.mark.parametrize(
    "folders",
    [
        [f"{kind}_{number}" for kind in ("tumor", "normal") for number in ("001", "002")],
        [f"{kind}{number}" for kind in ("benign", "malignant") for number in (1, 4)],
        [f"{kind}_{number:02d}" for kind in KINDS for number in range(1, 6)],
        ["sub-01", "sub-02"],
        ["specimen 1", "specimen 2"],
    ],
    ids=str,
)
def test_numbered_slides_or_patients_stop(folders: list[str], tmp_path: Path) -> None:
    Tree(tmp_path).image(*(f"{name}/{i}.jpg" for name in folders for i in range(12)))
    with pytest.raises(PipelineError, match=r"write --layout '\{label\}' if they are classes, or"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("upper", "inner"),
    [("hospital_a hospital_b", "pneumonia"), ("cam1 cam2", "weed"), ("B00X1 B00X2", "front")],
)
def test_one_folder_of_a_name_that_may_be_a_class_stops(
    upper: str, inner: str, tmp_path: Path
) -> None:
    Tree(tmp_path).image(*(f"{name}/{inner}/{i}.jpg" for name in upper.split() for i in range(12)))
    with pytest.raises(PipelineError, match=rf"or {inner} \(write --layout '\*/\{{label\}}'"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        ("Usage", "Public Private"),
        ("usage", "Private Ignored Public"),
        ("part", "1 2"),
        ("phase", "1 2"),
        ("phase", "dev eval"),
    ],
)
@pytest.mark.parametrize("form", ["{}.jpg,{},{}", "{0}.jpg,{2}"])
def test_columns_that_may_split_the_images_stop(
    column: str, cells: str, form: str, tmp_path: Path
) -> None:
    names, of_row = plain(tree := Tree(tmp_path)), cells.split()
    head = f"file,label,{column}" if form.startswith("{}") else f"file,{column}"
    rows = (form.format(n, KINDS[i % 3], of_row[i % len(of_row)]) for i, n in enumerate(names))
    tree.text("train.csv", head, *rows)
    with pytest.raises(PipelineError, match=f"column {column} seems to split the .*--part none"):
        read(tmp_path)
    if "label" in head:
        assert read(tmp_path, Hints(part="none")) == kinds(names, "images/{}.jpg")
        assert f"column {column} is not used" in recognise(tmp_path, Hints(part="none")).rule
    else:
        with pytest.raises(PipelineError, match=r"no label in train\.csv"):
            read(tmp_path, Hints(part="none"))


def test_phases_beside_class_folders_name_the_option(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    truth = {f"{KINDS[i % 3]}/{i}.jpg": KINDS[i % 3] for i in range(30)}
    tree.image(*truth)
    tree.text("t.csv", "file,phase", *(f"{file},{1 + i % 2}" for i, file in enumerate(truth)))
    with pytest.raises(PipelineError, match="column phase seems to split the images, but 1, 2 na"):
        read(tmp_path)
    assert read(tmp_path, Hints(part="none")) == truth


def test_a_usage_that_is_no_part_is_told_and_is_no_label(tmp_path: Path) -> None:
    a_column_of_usages_that_are_no_parts(Tree(tmp_path))
    assert "column usage is not used" in recognise(tmp_path).rule
    table = tmp_path / "styles.csv"
    lines = [line.split(",") for line in table.read_text().splitlines()]
    table.write_text("".join(f"{name},{usage}\n" for name, _, usage in lines))
    with pytest.raises(PipelineError, match=r"no label in styles.csv \(--label names its column\)"):
        read(tmp_path)
    assert set(read(tmp_path, Hints(label="usage")).values()) == {"Casual", "Sports"}


def test_a_column_of_boxes_without_a_box_asks_nothing(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    names = plain(tree)
    rows = [f"{name}.jpg,,{KINDS[i % 3]}" for i, name in enumerate(names)]
    tree.text("labels.csv", "file,bbox,label", *rows)
    assert read(tmp_path) == kinds(names, "images/{}.jpg")


def test_sizes_beside_a_label_are_no_box(tmp_path: Path) -> None:
    names = plain(tree := Tree(tmp_path))
    sized = [{"width": 8, "height": 8, "label": KINDS[i % 3]} for i in range(45)]
    rows = list(zip(names, sized, strict=True))
    tree.json("labels.json", [{"file": f"{n}.jpg", "meta": each} for n, each in rows])
    assert read(tmp_path) == kinds(names, "images/{}.jpg")
    tree.json("labels.json", [{"image": {"file_name": f"{n}.jpg"} | each} for n, each in rows])
    assert read(tmp_path) == kinds(names, "images/{}.jpg")
    for _, each in rows:
        each |= {"x": 1, "y": 2}
    tree.json("labels.json", [{"file": f"{n}.jpg", "object": each} for n, each in rows])
    with pytest.raises(PipelineError, match=r"whose box is in .*: write --label object\.label"):
        read(tmp_path)
    assert read(tmp_path, Hints(label="object.label")) == kinds(names, "images/{}.jpg")


@pytest.mark.parametrize(
    ("columns", "first", "second", "taken"),
    [
        ("colour,view", ["red", "blue"], ["left", "right"], ""),
        ("colour,sort", ["red", "blue"], ["0", "1"], "colour"),
        ("colour_name,colour_code", ["red", "blue"], ["rd", "bl"], "colour_name"),
    ],
)
def test_columns_that_coincide_are_told(
    columns: str, first: list[str], second: list[str], taken: str, tmp_path: Path
) -> None:
    names = plain(tree := Tree(tmp_path))
    rows = (f"{n}.jpg,{first[i % 2]},{second[i % 2]}" for i, n in enumerate(names))
    tree.text("t.csv", f"file,{columns}", *rows)
    one, other = columns.split(",")
    if not taken:
        with pytest.raises(PipelineError, match=rf"which column is the label: {one} \(red, blue\)"):
            read(tmp_path)
        return
    assert set(read(tmp_path).values()) == {"red", "blue"}
    assert f"column {other} says the same" in recognise(tmp_path).rule


@pytest.mark.parametrize(("column", "added"), [("findings", 0), ("n_findings", 1), ("total", 1)])
def test_a_count_of_flags_is_no_grade(column: str, added: int, tmp_path: Path) -> None:
    names = plain(tree := Tree(tmp_path))
    flags = [(i % 2, i // 2 % 2) for i in range(45)]
    rows = zip(names, flags, strict=True)
    lines = (f"{n}.jpg,{a},{b},{min(a + b + added * a, 2)}" for n, (a, b) in rows)
    tree.text("t.csv", f"file,edema,mass,{column}", *lines)
    found = recognise(tmp_path)
    assert found.images["label"] == ["edema", "mass"]


@stops("column objects.categories may be of an object in the image, whose box is in bbox: write ")
def boxes_beside_categories(tree: Tree) -> None:
    names = plain(tree)
    objects = [{"bbox": [[1, 2, 3, 4]], "categories": [KINDS[i % 3]]} for i in range(45)]
    rows = zip(names, objects, strict=True)
    tree.lines("metadata.jsonl", [{"file_name": f"{n}.jpg", "objects": each} for n, each in rows])


@understood
def label_studio_csv_with_several_choices(tree: Tree) -> Truth:
    names = plain(tree)
    cells = ["oak", '"{""choices"": [""elm"", ""ash""]}"']
    rows = [f"/data/upload/1/{i:08x}-{n}.jpg,{i},{cells[i % 2]}" for i, n in enumerate(names)]
    tree.text("project.csv", "image,id,choice", *rows)
    return {f"images/{n}.jpg": ["oak", "elm+ash"][i % 2] for i, n in enumerate(names)}


@stops("write --images image or --images mask")
def masks_in_class_folders_of_their_own(tree: Tree) -> None:
    for i in range(30):
        tree.image(f"image/{KINDS[i % 3]}/{i}.jpg", f"mask/{KINDS[i % 3]}/{i}.jpg")


@stops("call that train.csv, or write --part none")
def labels_and_a_table_of_a_part(tree: Tree) -> None:
    names = plain(tree)
    rows = lines_of(names)
    tree.text("labels.csv", "file,label", *rows[:30])
    tree.text("labels_test.csv", "file,label", *rows[30:])


@stops("write --layout 'data/train/{label}/**' to leave them out")
def a_valid_part_without_class_folders(tree: Tree) -> None:
    tree.image(*(f"data/train/{KINDS[i % 3]}/{i}.jpg" for i in range(45)))
    tree.image(*(f"data/val/{i}.jpg" for i in range(12)))
    tree.text("sets/train_cls.txt", *(f"{KINDS[i % 3]}/{i} {i}" for i in range(45)))


def test_a_valid_part_without_class_folders_is_left_out_and_the_others_stay(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    truth = {
        f"{part}:data/{part}/{KINDS[i % 3]}/{part}{i}.jpg": KINDS[i % 3]
        for part, n in (("train", 30), ("test", 15))
        for i in range(n)
    }
    tree.image(*(name.partition(":")[2] for name in truth))
    tree.image(*(f"data/val/{i}.jpg" for i in range(12)))
    layout = "data/{part}/{label}/**"
    with pytest.raises(PipelineError, match=re.escape(f"or write --layout '{layout}' to leave")):
        read(tmp_path)
    assert read(tmp_path, Hints(layout=layout)) == truth


@stops("data/train holds 12 images and no class folders, unlike test: move them into such folders")
def a_train_part_without_class_folders(tree: Tree) -> None:
    """No layout is advised: without train, no split is given."""
    tree.image(*(f"data/train/{i}.jpg" for i in range(12)))
    tree.image(*(f"data/test/{KINDS[i % 3]}/{i}.jpg" for i in range(30)))


@stops("'SUN/{label}/**'), or abbey, bakery, house, yard (write --layout 'SUN/*/{label}/**')")
def folders_of_letters(tree: Tree) -> None:
    places = ["a/abbey", "b/bakery/shop", "b/house", "y/yard"]
    tree.image(*(f"SUN/{places[i % 4]}/{i}.jpg" for i in range(48)))


@stops(
    "(write --layout '2018/{label}/{group}'), or 12, 149, 150, 2, ... (6 in all) "
    "(write --layout '2018/*/"
)
def numbered_species_as_in_inaturalist(tree: Tree) -> None:
    species = {"Amphibia": (149, 150), "Aves": (2, 77), "Plantae": (12, 5000)}
    tree.image(
        *(f"2018/{a}/{b}/{b}_{i}.jpg" for a, each in species.items() for b in each for i in "123")
    )


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ("{kind}/patient_{n:03}/visit_{i}/{i}.png", "{label}/{group}/**"),
        ("{kind}/patient_{n:03}/{i}.png", "{label}/{group}"),
        ("train/{kind}/Subject{n}/{i}.png", "train/{label}/{group}"),
    ],
)
def test_images_of_one_patient_below_its_class_stay_together(
    shape: str, layout: str, tmp_path: Path
) -> None:
    tree = Tree(tmp_path)
    names = [(k, n, i) for k in KINDS[:3] for n in range(4) for i in range(3)]
    tree.image(*(shape.format(kind=k, n=n, i=i) for k, n, i in names))
    images = recognise(tmp_path).images
    assert images["layout"] == layout
    found = find_images(images, tmp_path).images
    assert len({image.group for image in found}) == 4  # a patient may have several classes


@stops("'{label}/**'), or crack, dent, hole (write --layout '{group}/{label}'")
def classes_below_each_patient(tree: Tree) -> None:
    kinds = ["crack", "dent", "hole"]
    tree.image(*(f"patient_{n}/{kind}/{n}.jpg" for n in range(9) for kind in kinds))


def test_numbered_folders_of_groups_name_the_other_reading(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.image(*(f"{KINDS[i % 3]}/0{i % 9}.shot/{i}.jpg" for i in range(45)))
    assert "if they are the classes, write --layout '*/{label}'" in recognise(tmp_path).rule


@stops("train/images holds")
def images_below_a_test_part_alone(tree: Tree) -> None:
    tree.image(*(f"test/{KINDS[i % 3]}/images/{i}.jpg" for i in range(30)))
    tree.image(*(f"train/images/{i}.jpg" for i in range(12)))


@stops(
    "test/images holds 12 images and no class folders, unlike train: move them into such folders"
)
def a_test_part_with_a_folder_of_images(tree: Tree) -> None:
    tree.image(*(f"train/{KINDS[i % 3]}/images/{i}.jpg" for i in range(30)))
    tree.image(*(f"test/images/{i}.jpg" for i in range(12)))


@stops("aeroplane_train.txt, bird_train.txt, aeroplane_val.txt, bird_val.txt say of the images yes")
def a_list_of_each_class(tree: Tree) -> None:
    names = plain(tree)
    for k, kind in enumerate(("aeroplane", "bird")):
        rows = [f"{name} {1 if i % 2 == k else -(i % 3 > 0):>2}" for i, name in enumerate(names)]
        tree.text(f"{kind}_train.txt", *rows[:30])
        tree.text(f"{kind}_val.txt", *rows[30:])


@pytest.mark.parametrize(
    ("lists", "note"),
    [
        (("pairsDevTest.txt", "peopleDevTrain.txt"), "parts by their names, but no lists that can"),
        (("fit.txt", "holdout.txt"), "name images and give no label: if they are parts, call them"),
    ],
)
def test_lists_that_split_nothing_are_told(
    tmp_path: Path, lists: tuple[str, str], note: str
) -> None:
    tree = Tree(tmp_path)
    names = [f"{KINDS[i % 3]}/{KINDS[i % 3]}_{i:04d}" for i in range(45)]
    tree.image(*(f"lfw/{name}.jpg" for name in names))
    rows = names if lists[0] == "fit.txt" else [f"{kind}\t{k}\t2" for k, kind in enumerate(KINDS)]
    half = len(rows) // 2
    tree.text(lists[0], *rows[:half])
    tree.text(lists[1], *rows[half:])
    tree.text("train.py", "pass")
    found = recognise(tmp_path)
    assert found.split == "stratified"
    assert [text for text in found.notes if note in text and text.startswith(", ".join(lists))]
    if lists[0] != "fit.txt":
        assert recognise(tmp_path, Hints(part="none")).notes == []


def test_option_file_is_for_the_tables_that_have_the_column(tmp_path: Path) -> None:
    """Beside it lie lists of parts, and in the end another table with labels."""
    tree = Tree(tmp_path)
    names = plain(tree)
    others = names[1:] + names[:1]
    rows = zip(others, lines_of(names), strict=True)
    tree.text("labels.csv", "other,file,label", *(f"{other}.jpg,{row}" for other, row in rows))
    tree.text("train.txt", *names[:30])
    tree.text("test.txt", *names[30:])
    assert read(tmp_path, Hints(file="file")) == in_parts(names, "images/{}.jpg")
    tree.text("more.csv", "image,label", *lines_of(names))
    with pytest.raises(PipelineError, match=r"more\.csv lists images in a way that is not"):
        read(tmp_path, Hints(file="file"))


def test_tables_are_never_left_out_for_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recognising, "MOST_TABLES", 2)
    names = a_table_of_each_class_and_parts_in_the_paths(tree := Tree(tmp_path))
    assert read(tmp_path) == names
    tree.text("notes.txt", "some words")
    with pytest.raises(PipelineError, match="3 tables or lists: write --table TABLE, or none"):
        read(tmp_path)


@stops("or ash, elm, oak (write --layout '*/*/{label}')")
def domains(tree: Tree) -> None:
    tree.image(*(f"{['amazon', 'webcam'][i % 2]}/images/{KINDS[i % 3]}/{i}.jpg" for i in range(48)))


@stops("boxes_test, boxes_train look like parts, but query")
def people(tree: Tree) -> None:
    for place in ("boxes_train", "boxes_test", "query"):
        tree.image(*(f"market/{place}/{i % 3:04d}_c{i}.jpg" for i in range(15)))


@stops("begin with test, train, which look like parts")
def parts_in_the_names_of_files_in_class_folders(tree: Tree) -> None:
    tree.image(*(f"{KINDS[i % 3]}/{'test' if i % 4 else 'train'}_{i}.jpg" for i in range(48)))


@pytest.mark.parametrize(
    ("form", "layout"),
    [
        ("{kind}/{part}/{i}.jpg", "{label}/**"),
        ("{part}/{kind}/{i}.jpg", "*/{label}"),
        ("{kind}/{part}_{i}.jpg", "{label}"),
    ],
)
def test_a_layout_decides_that_nothing_is_a_part(tmp_path: Path, form: str, layout: str) -> None:
    pairs = [(i, "test" if i % 4 else "train") for i in range(48)]
    names = [form.format(kind=KINDS[i % 3], part=part, i=i) for i, part in pairs]
    Tree(tmp_path).image(*names)
    assert read(tmp_path, Hints(layout=layout)) == kinds(names, "{}")


@stops("the files lie in folders test, train, which look like parts")
def parts_deep_below_the_class_folders(tree: Tree) -> None:
    parts = ["test" if i % 4 else "train" for i in range(48)]
    tree.image(*(f"{KINDS[i % 3]}/shot{i % 3}/{i}/{part}/1.jpg" for i, part in enumerate(parts)))


@stops("haze primary: one label each, or several? Write --delimiter none, or --delimiter ' '")
def few_tags_with_blanks(tree: Tree) -> None:
    names = plain(tree)
    cells = ["haze primary", "agriculture clear primary water", "clear primary", "cloudy"]
    tree.text("labels.csv", "file,tags", *(f"{n},{cells[i % 4]}" for i, n in enumerate(names)))


def aircraft(tree: Tree) -> list[str]:
    names = [f"{30000 + 77 * i:07d}" for i in range(45)]
    tree.image(*(f"images/{name}.jpg" for name in names))
    families = ["Boeing 707", "Boeing 737", "DH-82"]
    for level, labels in (("family", families), ("maker", ["Boeing", "Boeing", "de Havilland"])):
        rows = [f"{name} {labels[i % 3]}" for i, name in enumerate(names)]
        for part, some in (("train", rows[:30]), ("test", rows[30:]), ("trainval", rows[:30])):
            tree.text(f"images_{level}_{part}.txt", *some)
    return names


@stops("holds Boeing 707: one label of several words, or several labels? Write --delimiter none")
def labels_of_several_words_after_a_blank(tree: Tree) -> None:
    aircraft(tree)


def test_labels_of_several_words_after_a_blank_are_read_by_options(tmp_path: Path) -> None:
    names = aircraft(Tree(tmp_path))
    with pytest.raises(PipelineError) as error:
        read(tmp_path, Hints(delimiter="none"))
    tables = "images_family_train.txt,images_family_test.txt"
    assert f"write --table {tables} or --table images_maker_train.txt,images_maker_test" in str(
        error.value
    )
    truth = in_parts(names, "images/{}.jpg")
    families = {"oak": "Boeing 707", "elm": "Boeing 737", "ash": "DH-82"}
    found = read(tmp_path, Hints(delimiter="none", table=tables))
    assert found == {file: families[kind] for file, kind in truth.items()}


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        (Hints(), "is in valid by val.txt, and in train without it: write --lists val.txt for"),
        (Hints(lists="val.txt"), ""),
        (Hints(part="none"), ""),
    ],
)
@pytest.mark.parametrize("tables", [True, False])
def test_a_list_of_valid_images_among_those_for_train(
    tmp_path: Path, hints: Hints, message: str, tables: bool
) -> None:
    tree = Tree(tmp_path)
    parts = ["train"] * 30 + ["test"] * 15
    names = [f"{part}/{KINDS[i % 3]}/p{i}.jpg" for i, part in enumerate(parts)]
    tree.image(*names)
    if tables:
        rows = lines_of(names, "{},{}")
        tree.text("train.csv", "file,label", *rows[:30])
        tree.text("test.csv", "file,label", *rows[30:])
    tree.text("val.txt", *names[21:30])
    if message:
        with pytest.raises(PipelineError, match=re.escape(message)):
            read(tmp_path, hints)
        return
    if hints.lists:
        parts[21:30] = ["valid"] * 9
    found = read(tmp_path, hints)
    assert found == {
        f"{p}:{n}": KINDS[i % 3] for i, (p, n) in enumerate(zip(parts, names, strict=True))
    }


def test_parts_in_the_names_of_files_are_left_out_by_choice(tmp_path: Path) -> None:
    """Those of folders are not, as everywhere."""
    tree = Tree(tmp_path)
    names = [f"{'train' if i < 30 else 'test'}_{i:05d}" for i in range(45)]
    tree.image(*(f"images/{name}.jpg" for name in names))
    tree.text("labels.txt", *lines_of(names, "{}.jpg {}"))
    assert read(tmp_path) == in_parts(names, "images/{}.jpg")
    assert read(tmp_path, Hints(part="none")) == kinds(names, "images/{}.jpg")
    tree.text("val.txt", *(f"{name}.jpg" for name in names[20:30]))
    with pytest.raises(PipelineError, match="for the first, --part none to split the images anew"):
        read(tmp_path)


def test_parts_in_folders_hold_where_no_column_does(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    names = [f"{'train' if i < 30 else 'test'}/{i:05d}" for i in range(45)]
    tree.image(*(f"{name}.jpg" for name in names))
    tree.text("labels.csv", "file,label", *lines_of(names))
    assert read(tmp_path, Hints(part="none")) == in_parts(names, "{}.jpg")


def test_a_line_means_no_file_of_the_same_name_in_another_class(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.image("oak/1.jpg", "elm/1.jpg", "elm/2.jpg")
    tree.text("train.txt", "set/oak/1.jpg", "set/oak/2.jpg", "set/elm/1.jpg")
    recipe = {"_target_": "pipeline.dataset.sources.in_class_folders"}
    found = find_images(recipe | {"lists": {"train": "train.txt"}}, tmp_path)
    assert {image.file: image.part for image in found.images} == {
        "oak/1.jpg": "train",
        "elm/1.jpg": "train",
    }
    assert {(each.file, each.reason) for each in found.faults} == {
        ("train.txt row 2: set/oak/2.jpg", "names no labelled image"),
        ("elm/2.jpg", "in no list of a part"),
    }


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("a 1.jpg", ["a 1.jpg"]),
        ("a 1", ["a 1.jpg"]),
        ("b.jpg,9", ["b.jpg"]),
        ("b.jpg masks/c.jpg", ["b.jpg", "c.jpg"]),
        ("7,c.jpg", ["7.jpg"]),
    ],
)
def test_a_line_that_may_mean_several_images_means_none(
    tmp_path: Path, line: str, found: list[str]
) -> None:
    """A line begins with the name, however many further cells there are."""
    tree = Tree(tmp_path)
    names = ["a.jpg", "a 1.jpg", "b.jpg", "c.jpg", "7.jpg", "first.jpg"]
    tree.image(*names)
    tree.text("labels.csv", "file,label", *(f"{name},oak" for name in names))
    tree.text("train.txt", "first.jpg", line)
    recipe = {"_target_": "pipeline.dataset.label_tables.in_table", "file": "file"}
    recipe |= {"table": "labels.csv", "label": "label"}
    read = find_images(recipe | {"lists": {"train": "train.txt"}}, tmp_path)
    means = found if len(found) == 1 else []
    assert {image.file for image in read.images} == {"first.jpg", *means}
    faults = [each.reason for each in read.faults if each.file.startswith("train.txt")]
    assert faults == ([f"{len(found)} images fit"] if len(found) > 1 else [])


def test_a_split_by_numbers_in_a_list_of_its_own_is_left_out_by_choice(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    names = plain(tree)
    tree.text("identity.txt", *lines_of(names, "{}.jpg {}"))
    tree.text("list_eval_partition.txt", *(f"{name}.jpg {i // 16}" for i, name in enumerate(names)))
    with pytest.raises(PipelineError, match="write --part none to split the images anew"):
        read(tmp_path)
    assert read(tmp_path, Hints(part="none")) == kinds(names, "images/{}.jpg")


def test_lists_that_contradict_a_column_leave_the_choice(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    names = plain(tree)
    parts = ["train"] * 30 + ["test"] * 15
    rows = [f"{row},{part}" for row, part in zip(lines_of(names), parts, strict=True)]
    tree.text("labels.csv", "file,label,split", *rows)
    tree.text("train.txt", *names[5:35])
    tree.text("test.txt", *names[:5], *names[35:])
    with pytest.raises(
        PipelineError, match=r"--lists train\.txt,test\.txt for the first, --part split"
    ):
        read(tmp_path)
    assert read(tmp_path, Hints(part="split")) == in_parts(names, "images/{}.jpg")
    listed = read(tmp_path, Hints(lists="train.txt,test.txt"))
    assert {file for file in listed if file.startswith("test:")} == {
        f"test:images/{name}.jpg" for name in [*names[:5], *names[35:]]
    }


def test_equal_lists_of_two_parts_are_not_both_advised(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    names = [f"{KINDS[i % 3]}/p{i}.jpg" for i in range(45)]
    tree.image(*names)
    tree.text("train.txt", *names[:30])
    tree.text("val.txt", *names[30:])
    tree.text("test.txt", *names[30:])
    with pytest.raises(PipelineError, match=r"write --lists train\.txt,val\.txt "):
        read(tmp_path)
    found = read(tmp_path, Hints(lists="train.txt,val.txt"))
    assert found == in_parts(names, "{}", after="valid")


def test_lists_hold_with_a_table_by_choice(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    names = plain(tree)
    tree.text("labels.csv", "file,label", *lines_of(names))
    tree.text(
        "boxes.csv", "file,label,x", *(f"{name}.jpg,{i % 2},1" for i, name in enumerate(names))
    )
    tree.text("train_list.txt", *names[:30])
    tree.text("test_list.txt", *names[30:])
    with pytest.raises(PipelineError, match="both give labels"):
        read(tmp_path)
    assert read(tmp_path, Hints(table="labels.csv")) == in_parts(names, "images/{}.jpg")
    assert read(tmp_path, Hints(table="labels.csv", part="none")) == kinds(names, "images/{}.jpg")


def test_several_tables_by_choice(tmp_path: Path) -> None:
    """With a further one, of other images and columns."""
    tree = Tree(tmp_path)
    names = plain(tree)
    tree.image(*(f"meta/{k}.png" for k in range(3)))
    rows = lines_of(names)
    tree.text("Train.csv", "file,label", *rows[:30])
    tree.text("Test.csv", "file,label", *rows[30:])
    tree.text("Meta.csv", "path,label,shape", *(f"meta/{k}.png,{k},1" for k in range(3)))
    with pytest.raises(PipelineError, match=r"write --table Train\.csv,Test\.csv"):
        read(tmp_path)
    assert read(tmp_path, Hints(table="Train.csv,Test.csv")) == in_parts(names, "images/{}.jpg")


def test_an_option_names_a_column_of_one_of_the_tables(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    names = plain(tree)
    rows = [f"{row},{i % 2}" for i, row in enumerate(lines_of(names))]
    tree.text("labels.csv", "file,kind,light", *rows)
    tree.text("links.csv", "file,link", *(f"{name}.jpg,http://a.org/{name}.jpg" for name in names))
    assert read(tmp_path, Hints(label="kind")) == kinds(names, "images/{}.jpg")
    for hints in (Hints(label="sort"), Hints(file="sort")):
        with pytest.raises(PipelineError, match="no column 'sort'"):
            read(tmp_path, hints)


def test_images_outside_the_folder_that_was_chosen_are_no_faults(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for i in range(30):
        tree.image(f"image/{KINDS[i % 3]}/{i}.jpg", f"mask/{KINDS[i % 3]}/{i}.jpg")
    for hints in (Hints(images="image"), Hints(layout="image/{label}")):
        source = recognise(tmp_path, hints).source
        assert len(source.images) == len(source.unlabelled) == 30
        assert source.faults == []


def test_a_pattern_reads_names_in_several_folders(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    names = [f"{['north', 'south'][i % 2]}/{i % 3}_{i}.jpg" for i in range(30)]
    tree.image(*names)
    found = read(tmp_path, Hints(pattern=r"(?P<label>\d)_\d+\.jpg"))
    assert found == {name: name.split("/")[1][0] for name in names}
    tree.image("train/0_1.jpg")
    with pytest.raises(PipelineError, match="is of no part by its name, and others are"):
        read(tmp_path, Hints(pattern=r"(?P<label>\d)_\d+\.jpg"))


@stops("two readings: the table says F, M, the folders say benign, malignant")
def folders_of_patients_by_number_and_a_table_of_something_else(tree: Tree) -> None:
    of_kind = {"benign": 100, "malignant": 200}
    names = [f"{kind}/{n + i % 4}/{n}_{i}.jpg" for kind, n in of_kind.items() for i in range(16)]
    tree.image(*names)
    rows = (f"{name.rpartition('/')[2]},{'FM'[i % 2]}" for i, name in enumerate(names))
    tree.text("meta.csv", "file,sex", *rows)


@understood
def four_columns_of_zeros_and_ones_without_header(tree: Tree) -> Truth:
    names = plain(tree)
    cells = ["0,0,1,1", "0,1,0,1"]
    tree.text("labels.csv", *(f"{n}.jpg,{cells[i % 2]}" for i, n in enumerate(names)))
    labels = ["column 4+column 5", "column 3+column 5"]
    return {f"images/{n}.jpg": labels[i % 2] for i, n in enumerate(names)}


@stops("say of the images yes and no: write --table labels_v1.csv (or another) if one says all, or")
def two_versions_of_labels_of_zeros_and_ones(tree: Tree) -> None:
    names = plain(tree)
    tree.text("labels_v1.csv", "file,label", *(f"{n}.jpg,{i % 2}" for i, n in enumerate(names)))
    tree.text("labels_v2.csv", "file,label", *(f"{n}.jpg,{i % 3 % 2}" for i, n in enumerate(names)))


@understood
def a_sample_submission_beside_class_folders(tree: Tree) -> Truth:
    names = [f"train/{KINDS[i % 3]}/{i}.png" for i in range(30)]
    tree.image(*names, *(f"test/t{i}.png" for i in range(12)))
    tree.text("sample_submission.csv", "file,species", *(f"t{i}.png,ash" for i in range(12)))
    return {f"train:{name}": name.split("/")[1] for name in names}


def test_no_labels_of_a_submission_are_advised(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.image(*(f"train/{KINDS[i % 3]}/{i}.png" for i in range(30)))
    tree.image(*(f"test/t{i}.png" for i in range(12)))
    tree.text("submission.csv", "file,label", *(f"t{i}.png,{KINDS[i % 3]}" for i in range(12)))
    with pytest.raises(PipelineError, match=r"--table none for the folders alone$"):
        read(tmp_path)


@stops(
    "cells/cells holds folders that are called like those beside it (ash, elm, oak), as a second "
    "copy does: write --images cells/cells to use it alone, move it away to use the others, or "
    "write --layout 'cells/{label}/**'"
)
def a_second_copy_beside_class_folders(tree: Tree) -> None:
    for folder in ("cells", "cells/cells"):
        tree.image(*(f"{folder}/{KINDS[i % 3]}/{folder[-1]}{i}.png" for i in range(30)))


def test_a_second_copy_is_used_alone(tmp_path: Path) -> None:
    a_second_copy_beside_class_folders(Tree(tmp_path))
    found = read(tmp_path, Hints(images="cells/cells"))
    assert found == {f"cells/cells/{KINDS[i % 3]}/s{i}.png": KINDS[i % 3] for i in range(30)}


@understood
def paths_from_a_folder_that_is_called_otherwise(tree: Tree) -> Truth:
    names = [f"{KINDS[i % 3]}/{i // 3}.jpg" for i in range(30)]
    tree.image(*(f"photos/{name}" for name in names))
    rows = (f"./characters/{name},{name.split('/')[0]}" for name in names)
    tree.text("labels.csv", "file,label", *rows)
    return {f"photos/{name}": name.split("/")[0] for name in names}


@understood
def paths_of_another_machine_in_a_table_per_part(tree: Tree) -> Truth:
    truth = {}
    for part, folder in {"train": "train", "valid": "val"}.items():
        names = [f"{folder}/{folder}{i}.jpg" for i in range(12)]
        tree.image(*names)
        rows = (f"/home/u/birds/{name},{KINDS[i % 3]}" for i, name in enumerate(names))
        tree.text(f"{folder}.csv", "file,label", *rows)
        truth |= {f"{part}:{name}": KINDS[i % 3] for i, name in enumerate(names)}
    return truth


@stops("fit several files (0: 1/0.jpg, 2/0.jpg, 3/0.jpg): write --images 1 or --images 2, or write")
def names_of_numbered_classes(tree: Tree) -> None:
    """With images that are numbered too."""
    tree.image(*(f"{k}/{i}.jpg" for k in (1, 2, 3) for i in range(8)))
    tree.text("names.csv", "id,name", "0,none", "1,rose", "2,lily", "3,oak")


def test_numbers_of_something_else_than_images_are_left_aside(tmp_path: Path) -> None:
    names_of_numbered_classes(Tree(tmp_path))
    with pytest.raises(PipelineError, match="; --table none, if they are numbers of something"):
        read(tmp_path)
    assert set(read(tmp_path, Hints(table="none")).values()) == {"1", "2", "3"}


@pytest.mark.parametrize(
    ("own", "others", "layout"),
    [
        ("train/{}/{}.jpg", "test/images/{1}.jpg", "train/{label}"),  # numbered as those of train
        ("train/{}/images/{}.jpg", "train/{}/masks/{}.jpg", "train/{label}/images"),
    ],
)
def test_class_folders_are_read_beside_files_of_the_same_names(
    own: str, others: str, layout: str, tmp_path: Path
) -> None:
    tree = Tree(tmp_path)
    names = [own.format(kind, i) for kind in KINDS for i in range(12)]
    tree.image(*names, *{others.format(kind, i) for kind in KINDS for i in range(12)})
    with pytest.raises(PipelineError, match=re.escape(f"or --layout '{layout}' for the class")):
        read(tmp_path)
    source = recognise(tmp_path, Hints(layout=layout)).source
    assert {i.file: i.labels[0] for i in source.images} == {n: n.split("/")[1] for n in names}
    assert source.faults == [] != source.unlabelled


@stops(
    "the folders are called like column patient_id of patients.csv "
    "(100, 101, 102, 103, ... (9 in all))"
)
def folders_of_patients_and_a_table_of_more_of_them(tree: Tree) -> None:
    tree.image(*(f"images/{100 + i % 9}/scan_{i}.png" for i in range(45)))
    rows = (f"{100 + i},{KINDS[i % 3]}" for i in range(30))
    tree.text("patients.csv", "patient_id,diagnosis", *rows)


@understood
def folders_of_patients_and_a_table_of_them(tree: Tree) -> Truth:
    truth = {f"images/{100 + i % 9}/scan_{i}.png": KINDS[i % 9 % 3] for i in range(45)}
    tree.image(*truth)
    rows = (f"{100 + i},{KINDS[i % 3]}" for i in range(9))
    tree.text("patients.csv", "patient_id,diagnosis", *rows)
    return truth


@understood
def studies_of_mura(tree: Tree) -> Truth:
    """Paths of folders without header, one table per part, beside lists of all images."""
    truth = {}
    for part, first in (("train", 0), ("valid", 100)):
        rows, images = [], []
        for place in range(12):
            person, kind = f"patient{first + place // 2:05d}", place // 2 % 2
            bone = ("XR_WRIST", "XR_HAND")[place % 2]
            folder = f"{part}/{bone}/{person}/study1_{('negative', 'positive')[kind]}/"
            rows.append(f"MURA-v1.1/{folder},{kind}")
            images += [f"MURA-v1.1/{folder}image{n}.png" for n in (1, 2)]
            truth |= {f"{part}:{folder}image{n}.png": str(kind) for n in (1, 2)}
        tree.image(*(image.removeprefix("MURA-v1.1/") for image in images))
        tree.text(f"{part}_labeled_studies.csv", *rows)
        tree.text(f"{part}_image_paths.csv", *images)
    return truth


def test_images_of_a_patients_folders_stay_together(tmp_path: Path) -> None:
    truth = studies_of_mura(Tree(tmp_path))
    found = recognise(tmp_path).source
    assert not found.faults
    groups = {image.file: image.group for image in found.images}
    assert groups == {file.partition(":")[2]: file.split("/")[2] for file in truth}


@understood
def series_and_their_patients(tree: Tree) -> Truth:
    ids = [f"1.2.826.0.1.3680043.{i * 77 + 13}" for i in range(12)]
    folders = [f"series/ID{i // 2:05d}/{uid}" for i, uid in enumerate(ids)]
    truth = {f"{folder}/{n}.jpg": KINDS[i % 3] for i, folder in enumerate(folders) for n in (1, 2)}
    tree.image(*truth)
    rows = (f"ID{i // 2:05d},{uid},{KINDS[i % 3]}" for i, uid in enumerate(ids))
    tree.text("train.csv", "patient_id,SeriesInstanceUID,label", *rows)
    return truth


@stops(
    "train_labels.csv names folders (00000, 00003, 00006, 00009, ... (12 in all)) and may give the "
    "labels of their images in column MGMT_value: write --table train_labels.csv if it does, or "
    "--table "
)
def a_table_of_numbered_folders(tree: Tree) -> None:
    """BraTS 2021, whose column BraTS21ID is called like no folder."""
    numbers = [f"{i * 3:05d}" for i in range(12)]
    tree.image(*(f"train/{n}/{kind}/Image-1.png" for n in numbers for kind in ("FLAIR", "T1w")))
    rows = (f"{number},{i % 2}" for i, number in enumerate(numbers))
    tree.text("train_labels.csv", "BraTS21ID,MGMT_value", *rows)


def test_a_table_of_numbered_folders_is_read_by_choice(tmp_path: Path) -> None:
    a_table_of_numbered_folders(Tree(tmp_path))
    found = read(tmp_path, Hints(table="train_labels.csv"))
    assert found["train/00003/T1w/Image-1.png"] == "1"
    assert len(found) == 24


@understood
def a_table_of_what_classes_belong_to(tree: Tree) -> Truth:
    truth = {f"{name}/{i}.jpg": name for name in ("oak", "elm", "cat", "dog") for i in range(9)}
    tree.image(*truth)
    tree.text("info.csv", "folder,group of", "oak,plant", "elm,plant", "cat,animal", "dog,animal")
    return truth


def test_a_row_that_names_no_folder_is_a_fault(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.image(*(f"S{i:02d}/{n}.jpg" for i in range(12) for n in (1, 2)))
    rows = (f"S{i:02d},{KINDS[i % 3]}" for i in range(13))
    tree.text("labels.csv", "study,label", *rows)
    found = recognise(tmp_path).source
    assert len(found.images) == 24
    assert [fault.file for fault in found.faults] == ["labels.csv row 14: S12"]


def boxes_of(names: list[str], form: str) -> list[str]:
    return [form.format(n, KINDS[i % 3], i) for i, n in enumerate(names)]


@pytest.mark.parametrize(
    ("table", "head", "form", "label"),
    [
        (
            "_annotations.csv",
            "filename,class,xmin,ymin,xmax,ymax",
            "{0}.jpg,{1},1,2,3{2},4",
            "class",
        ),
        ("train.csv", "image_id,bbox,source", '{0}.jpg,"[{2}.0, 2.0, 3.0, 4.0]",{1}', "source"),
        ("labels.csv", "file,x,y,width,height,Target", "{0}.jpg,{2},2,3,4,{1}", "Target"),
        ("vertex.csv", "", "TRAIN,gs://b/{0}.jpg,{1},0.1,0.{2}1,,,0.3,0.4,,", "column 3"),
    ],
)
def test_boxes_one_in_each_image_ask(
    table: str, head: str, form: str, label: str, tmp_path: Path
) -> None:
    names = plain(tree := Tree(tmp_path))
    tree.text(table, *filter(None, [head]), *boxes_of(names, form))
    with pytest.raises(PipelineError, match=rf"column {label} may be of an object .* --label "):
        read(tmp_path)
    assert set(read(tmp_path, Hints(label=label, part="none")).values()) == set(KINDS)


@understood
def features_behind_a_label_without_header(tree: Tree) -> Truth:
    """Many more numbers than a box has."""
    names = plain(tree)
    numbers = ",".join(f"0.{n}{{2}}7" for n in range(12))
    tree.text("features.csv", *boxes_of(names, f"{{0}}.jpg,{{1}},{numbers}"))
    return {f"images/{name}.jpg": KINDS[i % 3] for i, name in enumerate(names)}


def test_boxes_in_json_ask(tmp_path: Path) -> None:
    names = plain(tree := Tree(tmp_path))
    box = {"left": 0.1, "top": 0.1, "width": 0.2, "height": 0.2}
    custom_vision = [
        {
            "originalImageUri": f"https://x/{name}.jpg",
            "tags": [{"tagId": "t", "tagName": KINDS[i % 3]}],
            "regions": [{"tagName": KINDS[i % 3], **box}],
        }
        for i, name in enumerate(names)
    ]
    tree.json("tagged.json", custom_vision)
    with pytest.raises(
        PipelineError, match=r"column tags may be .* in regions: write --label tags"
    ):
        read(tmp_path)
    assert read(tmp_path, Hints(label="tags")) == kinds(names, "images/{}.jpg")
    detections = {n: [{"label": i % 3, "bounding_box": [0, 0, 1, 1]}] for i, n in enumerate(names)}
    tree.json("tagged.json", {"classes": KINDS, "labels": detections})
    with pytest.raises(PipelineError, match="its annotations are boxes or outlines of objects"):
        read(tmp_path)


def test_a_box_beside_class_folders_that_say_the_same_asks_nothing(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    truth = {f"{kind}/{i}{kind}.jpg": kind for kind in KINDS for i in range(9)}
    tree.image(*truth)
    rows = (f"{file},{kind},1,2,3,4" for file, kind in truth.items())
    tree.text("boxes.csv", "file,class,xmin,ymin,xmax,ymax", *rows)
    assert read(tmp_path) == truth


@pytest.mark.parametrize(
    ("column", "form"),
    [("age", "{}"), ("rating", "{}"), ("count", "{}"), ("year", "19{:02d}"), ("label", "{}.5")],
)
def test_numbers_that_may_be_measured_ask(column: str, form: str, tmp_path: Path) -> None:
    names = plain(tree := Tree(tmp_path))
    rows = [f"{name}.jpg,{form.format(i % 9)}" for i, name in enumerate(names)]
    tree.text("numbers.csv", f"file,{column}", *rows)
    with pytest.raises(
        PipelineError, match=f"column {column} holds numbers .* --label {column} if"
    ):
        read(tmp_path)
    found = read(tmp_path, Hints(label=column))
    assert found == {f"images/{n}.jpg": form.format(i % 9) for i, n in enumerate(names)}


@pytest.mark.parametrize("column", ["level", "landmark_id", "Id", "what", "digit", "label"])
def test_numbers_of_classes_are_understood(column: str, tmp_path: Path) -> None:
    names = plain(tree := Tree(tmp_path))
    tree.text("labels.csv", f"file,{column}", *(f"{n}.jpg,{i % 5}" for i, n in enumerate(names)))
    assert read(tmp_path) == {f"images/{n}.jpg": str(i % 5) for i, n in enumerate(names)}


@understood
def splits_in_lists(tree: Tree) -> Truth:
    """FiftyOne's samples, whose tags are the split."""
    names = plain(tree)
    parts = ["train", "train", "validation"]
    samples = [
        {
            "filepath": f"images/{name}.jpg",
            "tags": [parts[i // 3 % 3]],
            "ground_truth": {"_cls": "Classification", "label": KINDS[i % 3]},
        }
        for i, name in enumerate(names)
    ]
    tree.json("samples.json", {"samples": samples})
    meant = ["train", "train", "valid"]
    return {f"{meant[i // 3 % 3]}:images/{n}.jpg": KINDS[i % 3] for i, n in enumerate(names)}


def test_a_split_that_is_a_list_splits(tmp_path: Path) -> None:
    names = plain(tree := Tree(tmp_path))
    rows = [
        {"image": f"{n}.jpg", "label": KINDS[i % 3], "split": ["val" if i < 15 else "train"]}
        for i, n in enumerate(names)
    ]
    tree.json("labels.json", rows)
    parts = [image.part for image in recognise(tmp_path).source.images]
    assert parts == ["valid"] * 15 + ["train"] * 30
    rows[3]["split"] = ["train", "val"]
    tree.json("labels.json", rows)
    with pytest.raises(PipelineError, match=r"column split seems to split the images, but \('tr"):
        read(tmp_path)


def test_a_fault_of_ours_in_json_keeps_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = Tree(tmp_path)
    tree.json("labels.json", [{"image": "a.jpg", "label": "oak"}])

    def wrong(row: Any) -> None:
        raise KeyError(row)

    monkeypatch.setattr(table_files, "_flat", wrong)
    with pytest.raises(KeyError):
        read_table(tmp_path / "labels.json")


def frames(tree: Tree, form: str) -> Truth:
    names = [form.format(v, KINDS[v % 3], f) for v in range(9) for f in range(6)]
    tree.image(*names)
    return {name: KINDS[i // 6 % 3] for i, name in enumerate(names)}


@pytest.mark.parametrize(
    "form",
    [
        "{1}/video{0}_frame_{2:04d}.jpg",
        "{1}/seq{0:02d}_{2:06d}.png",
        "{1}/v_Jump_g{0:02d}_c01_{2}.jpg",
        "{1}/{0:05d}_{2:05d}.ppm",
    ],
)
def test_frames_of_one_video_are_told_and_kept_together_by_choice(
    form: str, tmp_path: Path
) -> None:
    truth = frames(Tree(tmp_path), form)
    found = recognise(tmp_path)
    line = next(line for line in summary_lines(found, tmp_path) if "videos" in line)
    assert line.startswith("suspicious: 54 images look like frames of 9 videos (")
    assert {image.group for image in found.source.images} == {None}
    pattern = line.partition("--group-pattern '")[2].partition("'")[0]
    chosen = recognise(tmp_path, Hints(group_pattern=pattern))
    assert len({image.group for image in chosen.source.images}) == 9
    assert {image.file: image.labels[0] for image in chosen.source.images} == truth
    assert find_images(chosen.images, tmp_path).images == chosen.source.images
    assert not any("videos" in line for line in summary_lines(chosen, tmp_path))


def test_frames_in_folders_of_videos_beside_a_table_are_told(tmp_path: Path) -> None:
    truth = frames(tree := Tree(tmp_path), "clips/clip-{0}/{2:06d}.jpg")
    tree.text("labels.csv", "file,label", *(f"{name},{label}" for name, label in truth.items()))
    assert any(
        "frames of 9 videos (clip-0, cl" in line
        for line in summary_lines(recognise(tmp_path), tmp_path)
    )


@pytest.mark.parametrize(
    "form",
    [
        "{1}/{1}_{0}{2:03d}.jpg",
        "{1}/IMG_{0}_{2:04d}.jpg",
        "{1}/2017010{0}_{2:06d}.jpg",
        "{1}/{0}{2}.jpg",
    ],
)
def test_numbered_images_are_no_frames(form: str, tmp_path: Path) -> None:
    frames(Tree(tmp_path), form)
    assert not any("videos" in line for line in summary_lines(recognise(tmp_path), tmp_path))


def test_videos_that_lie_whole_in_given_parts_are_not_told(tmp_path: Path) -> None:
    parts = ["train", "train", "val"]
    names = [f"{parts[v // 3]}/{KINDS[v % 3]}/video{v}_{f}.jpg" for v in range(9) for f in range(6)]
    Tree(tmp_path).image(*names)
    assert not any("videos" in line for line in summary_lines(recognise(tmp_path), tmp_path))
    Tree(tmp_path).image("val/oak/video0_6.jpg")
    assert any(
        "frames of 1 video (video0)" in line
        for line in summary_lines(recognise(tmp_path), tmp_path)
    )


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "images.group_pattern"),
        ("a", "has no group"),
        ("(?P<group>x)y", "fits none of 54 paths"),
    ],
)
def test_a_group_pattern_that_cannot_be_used_is_one_clear_line(
    pattern: str, message: str, tmp_path: Path
) -> None:
    frames(Tree(tmp_path), "{1}/video{0}_{2}.jpg")
    with pytest.raises(PipelineError, match=message):
        recognise(tmp_path, Hints(group_pattern=pattern))


def test_a_group_pattern_where_no_image_is_found_is_not_what_is_wrong(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.text("labels.csv", "file,label", "a.jpg,oak", "b.jpg,elm")
    recipe = {
        "_target_": "pipeline.dataset.label_tables.in_table",
        "table": "labels.csv",
        "file": "file",
        "label": "label",
        "group_pattern": "(?P<group>video)",
    }
    with pytest.raises(PipelineError, match=r"found no images that can be used \(.*no such file"):
        find_images(recipe, tmp_path)


@stops(r"(--pattern '(?P<label>.*?[^\W\d_].*?)[-_. ]*\(?\d+\)?\.\w+' for cat, dog): write a CSV")
def few_images_with_labels_in_their_names(tree: Tree) -> None:
    tree.image("cat_1.jpg", "cat_2.jpg", "dog_1.jpg")


def test_classes_that_differ_in_a_number_are_told(tmp_path: Path) -> None:
    Tree(tmp_path).image(*(f"{n}/{i}.jpg" for n in ("cat_1", "cat_2", "dog_1") for i in range(9)))
    line = "suspicious: classes that differ in a number only: cat_1 and cat_2: call them alike if"
    assert any(each.startswith(line) for each in summary_lines(recognise(tmp_path), tmp_path))


def test_an_image_is_told_as_a_fault_or_as_not_used_and_never_as_both(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    names = plain(tree)
    tree.image("more/beside.jpg")
    tree.text("labels.csv", "file,label", *lines_of(names)[1:])
    found = recognise(tmp_path)
    assert [each.reason for each in found.source.faults] == ["not in labels.csv"]
    assert [note for note in found.notes if "in no table" in note] == [
        f"1 of {len(names) + 1} images is in no table and is not used"
    ]


def test_a_rare_label_near_a_frequent_one_is_asked_about() -> None:
    frequent = {"banded": 20, "cat_1": 30, "oak": 90, "5": 70}
    for label in ("bandde", "bandd", "bandedd", "bonded", "Xanded"):
        (line,) = misspelt_labels({**frequent, label: 2})
        assert line == (
            f"is {label!r} (2 images) a misspelling of 'banded' (20 images)? If so, correct the "
            "label"
        )
    for label in ("blended", "cat_2", "cat_11", "oat", "6", "Banded", "bend"):
        assert not list(misspelt_labels({**frequent, label: 1}))
    assert not list(misspelt_labels({"banded": 19, "bandde": 2}))
    assert not list(misspelt_labels({"banded": 300, "bandde": 3}))


def test_long_numbers_are_not_the_same_spelling() -> None:
    assert not list(odd_labels({"249114794", "249114795"}))
    assert list(odd_labels({"1", "1.0"}))


@stops("masks and . hold files of the same names, such as images and masks: move masks away to use")
def masks_beside_class_folders_with_their_names(tree: Tree) -> None:
    files = [f"{kind}/{i}.png" for kind in KINDS for i in range(9)]
    tree.image(*files, *(f"masks/{file}" for file in files))


@stops(
    "as a second copy does: move it away to use the others, or write --layout '{label}/**' if it"
)
def masks_of_other_names_beside_class_folders(tree: Tree) -> None:
    files = [f"{kind}/{i}" for kind in KINDS for i in range(9)]
    tree.image(*(f"{file}.png" for file in files), *(f"masks/{file}_m.png" for file in files))


@stops("look like volumes, groups, dates or ids: write --layout 'BigEarthNet-v1.0/{label}' if they")
def patches_of_satellite_images(tree: Tree) -> None:
    for i in range(12):
        patch = f"BigEarthNet-v1.0/S2A_MSIL2A_20170613T101031_{i}_{i * 3}"
        tree.image(*(f"{patch}/{band}.tif" for band in ("B02", "B03")))
        tree.json(f"{patch}/labels_metadata.json", {"labels": ["Pastures"]})


def to_a_csv(name: str, folder: Path) -> None:
    """Run the command of docs/datasets.md that is called so."""
    docs = Path("docs/datasets.md").read_text(encoding="utf-8")
    code = docs.partition(f"python - <<'EOF' # {name}\n")[2].partition("\nEOF\n")[0]
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)


def test_flowers_of_oxford_become_a_csv_by_the_command_of_the_docs(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.image(*(f"jpg/image_{i:05d}.jpg" for i in range(1, 37)))
    savemat(tmp_path / "imagelabels.mat", {"labels": [[1 + i % 3 for i in range(36)]]})
    parts = {"trnid": [range(1, 13)], "valid": [range(13, 25)], "tstid": [range(25, 37)]}
    savemat(tmp_path / "setid.mat", {key: [[*each] for each in of] for key, of in parts.items()})
    with pytest.raises(PipelineError, match=r"imagelabels.mat is not read: .*md#to-a-csv"):
        read(tmp_path)
    to_a_csv("Oxford Flowers", tmp_path)
    in_parts = ["train"] * 12 + ["valid"] * 12 + ["test"] * 12
    assert read(tmp_path) == {
        f"{in_parts[i]}:jpg/image_{i + 1:05d}.jpg": str(1 + i % 3) for i in range(36)
    }


def test_cars_of_stanford_become_a_csv_by_the_command_of_the_docs(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    files = [f"car_ims/{i:06d}.jpg" for i in range(1, 37)]
    tree.image(*files)
    kind = [(name, "O") for name in ("relative_im_path", "bbox_x1", "class", "test")]
    rows = [(file, 1, 1 + i % 3, int(i >= 24)) for i, file in enumerate(files)]
    names = np.array([KINDS], dtype=object)
    values = {"annotations": np.array([rows], dtype=kind), "class_names": names}
    savemat(tmp_path / "cars_annos.mat", values, do_compression=True)
    with pytest.raises(PipelineError, match=r"cars_annos.mat is not read: .*md#to-a-csv"):
        read(tmp_path)
    to_a_csv("Stanford Cars", tmp_path)
    parts = ["train"] * 24 + ["test"] * 12
    assert read(tmp_path) == {f"{parts[i]}:{f}": KINDS[i % 3] for i, f in enumerate(files)}


def cvat(names: list[str], form: str) -> list[str]:
    images = (
        f'<image id="{i}" name="{n}.jpg">{form.format(KINDS[i % 3])}</image>'
        for i, n in enumerate(names)
    )
    return ["<annotations><version>1.1</version>", *images, "</annotations>"]


def test_tags_of_cvat_become_a_csv_by_the_command_of_the_docs(tmp_path: Path) -> None:
    names = plain(tree := Tree(tmp_path))
    tree.text("annotations.xml", *cvat(names, '<tag label="{}" source="manual"></tag>'))
    with pytest.raises(PipelineError, match=r"annotations.xml is not read: .*md#to-a-csv"):
        read(tmp_path)
    to_a_csv("CVAT", tmp_path)
    assert read(tmp_path) == kinds(names, "images/{}.jpg")


@stops("names the images in a way that is not understood: its annotations are boxes or outlines")
def boxes_of_cvat(tree: Tree) -> None:
    names = plain(tree)
    tree.text("annotations.xml", *cvat(names, '<box label="{}" xtl="1" ytl="1" xbr="2" ybr="3"/>'))


def test_objects_of_coco_become_labels_by_the_command_of_the_docs(tmp_path: Path) -> None:
    tree, truth = Tree(tmp_path), {}
    for part, n in (("train", 30), ("val", 15)):
        files = [f"{part}2017/{part[0]}{i:03d}.jpg" for i in range(n)]
        tree.image(*files)
        tree.json(
            f"annotations/instances_{part}2017.json",
            {
                "images": [
                    {"id": i, "file_name": f.partition("/")[2]} for i, f in enumerate(files)
                ],
                "categories": [{"id": i + 1, "name": kind} for i, kind in enumerate(KINDS)],
                "annotations": [
                    {"image_id": i // 2, "category_id": i // 2 % 3 + 1, "bbox": [1, 1, 2, 2]}
                    for i in range(2 * n)  # two in each image
                ],
            },
        )
        word = {"train": "train", "val": "valid"}[part]
        truth |= {f"{word}:{file}": KINDS[i % 3] for i, file in enumerate(files)}
    with pytest.raises(
        PipelineError, match=r"give --table a CSV of labels \(docs/datasets\.md#boxes\)"
    ):
        read(tmp_path)
    to_a_csv("COCO", tmp_path)
    assert read(tmp_path, Hints(table="labels.csv")) == truth
    with pytest.raises(PipelineError, match="boxes or outlines"):
        read(tmp_path, Hints(table="annotations/instances_train2017.json"))


def test_objects_of_pascal_voc_become_labels_by_the_command_of_the_docs(tmp_path: Path) -> None:
    names = plain(tree := Tree(tmp_path), folder="JPEGImages/")
    for i, name in enumerate(names):
        box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>"
        part = f"<part><name>leaf</name>{box}</part>"
        objects = f"<object><name>{KINDS[i % 3]}</name>{box}{part}</object>" * 2
        tree.text(f"Annotations/{name}.xml", f"<annotation>{objects}</annotation>")
    with pytest.raises(PipelineError, match=r"of their own .*\(docs/datasets\.md#boxes has"):
        read(tmp_path)
    to_a_csv("Pascal VOC", tmp_path)
    assert read(tmp_path, Hints(table="labels.csv")) == kinds(names, "JPEGImages/{}.jpg")


@pytest.mark.parametrize("form", ["{kind}/{part}", "{part}/{kind}"])  # Ultralytics, Roboflow
@pytest.mark.parametrize("names", ["[oak, elm, ash]", "{0: oak, 1: elm, 2: ash}"])
def test_objects_of_yolo_become_labels_by_the_command_of_the_docs(
    form: str, names: str, tmp_path: Path
) -> None:
    tree, truth = Tree(tmp_path), {}
    tree.text("data.yaml", f"train: ../train/images\nnames: {names}")
    tree.text("README.dataset.txt", "Some labels")
    for part, word, n in (("train", "train", 30), ("val", "valid", 15)):
        for i in range(n):
            image = f"{form.format(kind='images', part=part)}/{i:03d}.jpg"
            tree.image(image)
            label = f"{form.format(kind='labels', part=part)}/{i:03d}.txt"
            tree.text(label, *[f"{i % 3} 0.5 0.5 0.1 0.1"] * (1 + i % 2))
            truth[f"{word}:{image}"] = KINDS[i % 3]
    with pytest.raises(PipelineError, match=r"of their own .*\(docs/datasets\.md#boxes has"):
        read(tmp_path)
    to_a_csv("YOLO", tmp_path)
    assert read(tmp_path, Hints(table="labels.csv")) == truth


def test_a_numbered_fold_becomes_valid_by_the_command_of_the_docs(tmp_path: Path) -> None:
    names = plain(tree := Tree(tmp_path))
    rows = (f"{row},{i % 5}" for i, row in enumerate(lines_of(names)))
    tree.text("train_folds.csv", "file,label,kfold", *rows)
    to_a_csv("folds", tmp_path)
    found = read(tmp_path, Hints(table="labels.csv"))
    part_of = {i: "train" if i % 5 else "valid" for i in range(45)}
    assert found == {f"{part_of[i]}:images/{n}.jpg": KINDS[i % 3] for i, n in enumerate(names)}


def test_masks_beside_the_parts_are_left_out_by_the_layout_of_the_docs(tmp_path: Path) -> None:
    """As in MVTec AD, whose defects are in test alone."""
    tree = Tree(tmp_path)
    tree.image(*(f"nut/train/good/{i:03d}.png" for i in range(9)))
    tree.image(*(f"nut/test/{kind}/{i:03d}.png" for kind in KINDS for i in range(6)))
    tree.image(*(f"nut/ground_truth/{kind}/{i:03d}_mask.png" for kind in KINDS for i in range(6)))
    with pytest.raises(PipelineError, match="but ground_truth beside them"):
        read(tmp_path)
    faults = recognise(tmp_path, Hints(layout="nut/{part}/{label}")).source.faults
    assert {each.reason for each in faults} == {
        "folder ground_truth/ names no part: move it away, write images.parts, or a part's name "
        "for {part} to use it alone"
    }
    truth = {f"nut/test/{kind}/{i:03d}.png": kind for kind in KINDS for i in range(6)}
    for hints in (Hints(layout="nut/test/{label}"), Hints(images="nut/test")):
        assert read(tmp_path, hints) == truth
        assert not recognise(tmp_path, hints).source.faults


@pytest.mark.parametrize("form", ["P{n:04d}_{side}_1", "patient-{n}_{side}", "sub_{n:02d} {side}"])
def test_images_of_patients_are_told_with_the_pattern_that_keeps_them_together(
    form: str, tmp_path: Path
) -> None:
    tree = Tree(tmp_path)
    for n in range(12):
        tree.image(*(f"{KINDS[n % 3]}/{form.format(n=n, side=side)}.jpg" for side in "LR"))
    lines = summary_lines(recognise(tmp_path), tmp_path)
    (line,) = (line for line in lines if "patient" in line and line.startswith("suspicious"))
    assert line.startswith("suspicious: 24 images look like images of 12 patients (")
    pattern = shlex.split(line)[shlex.split(line).index("--group-pattern") + 1]
    found = recognise(tmp_path, Hints(group_pattern=pattern))
    assert [*Counter(image.group for image in found.source.images).values()] == [2] * 12
    assert "look like" not in " ".join(summary_lines(found, tmp_path))


@pytest.mark.parametrize(
    "names",
    [
        ["p001", "p002", "p003"],  # no second word
        ["P1_a", "P1_b", "P2_a", "P2_b"],  # as of pages or products
        ["p001_a", "p002_b", "p003_c"],  # one image of each
        ["patient1_a", "patient1_b", "patient2_a", "patient2_b", "other"],
        ["case1_a", "case1_b", "case1_c"],  # one alone
    ],
)
def test_names_that_only_resemble_numbers_of_patients_are_passed_over(names: list[str]) -> None:
    images = [LabelledImage(f"{name}.jpg", (KINDS[i % 2],)) for i, name in enumerate(names)]
    assert images_of_patients(images) == ("", {})


def test_changed_copies_are_told_with_the_pattern_that_keeps_them_together(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    changes = ("", "_flip", "_rot90", "-aug_3", " - Copy (2)", ".rf.0a1b2c3d", "_hflip_rot180")
    stems = [f"{kind}/x{i}" for kind in KINDS for i in range(4)]
    tree.image(*(f"{stem}{change}.jpg" for stem in stems for change in changes))
    lines = summary_lines(recognise(tmp_path), tmp_path)
    (line,) = (line for line in lines if "changed copies" in line)
    assert line.startswith("suspicious: 84 images look like 12 pictures and changed copies of them")
    pattern = shlex.split(line)[shlex.split(line).index("--group-pattern") + 1]
    found = recognise(tmp_path, Hints(group_pattern=pattern))
    groups = Counter(image.group for image in found.source.images)
    assert groups == dict.fromkeys(stems, len(changes))
    assert "changed copies" not in " ".join(summary_lines(found, tmp_path))


@pytest.mark.parametrize(
    "names", [["rot_1", "rot_2", "copy"], ["x1", "x2", "x3"], ["robot1", "robot2", "flipper"]]
)
def test_names_that_hold_such_words_are_no_changed_copies(names: list[str]) -> None:
    images = [LabelledImage(f"{kind}/{name}.jpg", (kind,)) for kind in KINDS for name in names]
    assert changed_copies(images) == ("", {})


def test_a_name_of_many_changes_takes_no_time() -> None:
    """Each further ` - copy` took 2.7 times as long when the number after it could be empty."""
    images = [LabelledImage(f"oak/a{' - copy' * 20}!.j-pg", ("oak",))]
    begin = time.process_time()
    assert changed_copies(images) == ("", {})
    assert time.process_time() - begin < 1


def test_frames_are_looked_for_at_the_names_of_folders_and_files_alone() -> None:
    """Tried from each letter on, these paths took more than ten times as long."""
    folder = "/".join(["a-long-name-of-a-folder"] * 20)
    images = [LabelledImage(f"{folder}/{i:06x}-photo.jpg", ("oak",)) for i in range(3000)]
    begin = time.process_time()
    assert frames_of_videos(images) == ("", {})
    assert time.process_time() - begin < 3


@pytest.mark.parametrize(
    ("form", "other", "message"),
    [
        ("{}/{} ({}).png", "{}/{} ({})_mask.png", "_mask"),
        ("{}/{}Part{}.jpg", "{}/{}Part{}_label.bmp", "_label"),
        ("{}/{}exp{}.jpg", "{}/{}exp{}.png", ".png"),
    ],
)
def test_masks_among_the_images_of_class_folders_stop(
    form: str, other: str, message: str, tmp_path: Path
) -> None:
    tree = Tree(tmp_path)
    each = [(kind, kind, i) for kind in KINDS for i in range(1, 9)]
    tree.image(*(form.format(*one) for one in each), *(other.format(*one) for one in each[:20]))
    with pytest.raises(PipelineError, match=f"20 of 44 images .* end in {message}, .* masks"):
        read(tmp_path)
    assert len(read(tmp_path, Hints(layout="{label}"))) == 44


@understood
def a_few_images_called_like_masks(tree: Tree) -> Truth:
    truth = {f"{kind}/{i}.jpg": kind for kind in KINDS for i in range(12)}
    truth |= {"oak/3_mask.jpg": "oak", "elm/4.png": "elm"}
    tree.image(*truth)
    return truth


@understood
def classes_of_synsets_and_a_table_of_their_groups(tree: Tree) -> Truth:
    synsets = ["n01440764", "n01443537", "n02084071", "n02085620"]
    truth = {f"{name}/{name}_{i}.JPEG": name for name in synsets for i in range(9)}
    tree.image(*truth)
    tree.text("synsets.csv", "wnid,group", *(f"{s},{KINDS[i // 2]}" for i, s in enumerate(synsets)))
    return truth


@pytest.mark.parametrize("form", ["{:03d}.{}_tree", "class_{}"])
def test_a_table_of_the_families_of_class_folders_asks_nothing(form: str, tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    names = [form.format(2 * n + 1, kind) for n, kind in enumerate((*KINDS, "yew"))]
    tree.image(*(f"{name}/{i}x.png" for name in names for i in range(9)))
    tree.text("families.csv", "name,family", *(f"{n},{'AB'[i % 2]}" for i, n in enumerate(names)))
    assert set(read(tmp_path).values()) == set(names)


@understood
def classes_by_number_and_a_table_of_their_shapes(tree: Tree) -> Truth:
    truth = {f"{n}/{i}x.png": str(n) for n in range(8) for i in range(9)}
    tree.image(*truth)
    tree.text("meta.csv", "id,shape", *(f"{n},{('round', 'square')[n % 2]}" for n in range(8)))
    return truth


@stops("12 images, but no label in sizes.csv (--label names its column), no class folders")
def a_table_without_labels(tree: Tree) -> None:
    tree.image(*(f"photos/{i}.png" for i in range(12)))
    tree.text("sizes.csv", "file,width", *(f"{i}.png,{100 + i}" for i in range(12)))


def test_images_outside_the_table_are_told(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    names = plain(tree)
    tree.image(*(f"more/m{i}.jpg" for i in range(9)))
    tree.text("labels.csv", "file,label", *lines_of(names))
    assert "9 of 54 images are in no table and are not used" in recognise(tmp_path).notes


@understood
def files_by_id_whose_images_are_numbers_too(tree: Tree) -> Truth:
    names = [f"{KINDS[i % 3]}/{i}.jpg" for i in range(30)]
    tree.image(*(f"images/{name}" for name in names))
    tree.text("images.txt", *(f"{i} {name}" for i, name in enumerate(names)))
    tree.text("image_class_labels.txt", *(f"{i} {i % 3}" for i in range(30)))
    tree.text("train_test_split.txt", *(f"{i} {int(i < 20)}" for i in range(30)))
    tree.text("classes.txt", *(f"{k} {kind}" for k, kind in enumerate(KINDS)))
    parts = ["train"] * 20 + ["test"] * 10
    return {f"{parts[i]}:images/{name}": KINDS[i % 3] for i, name in enumerate(names)}


@stops("labels.csv: columns label and label_corrected hold the same labels, but differ in 5 of 45")
def labels_and_their_corrections(tree: Tree) -> None:
    names = plain(tree)
    rows = (f"{n}.jpg,{KINDS[i % 3]},{KINDS[0 if i < 8 else i % 3]}" for i, n in enumerate(names))
    tree.text("labels.csv", "file,label,label_corrected", *rows)


@stops("labels.csv: columns label and label_2 hold the same labels, but differ in 2 of 45 rows")
def corrections_of_few_labels(tree: Tree) -> None:
    rows = lines_of(plain(tree), "{}.jpg,{},")
    rows[1:3] = [row + KINDS[0] for row in rows[1:3]]
    tree.text("labels.csv", "file,label,label_2", *rows)


@understood
def grades_beside_a_flag_of_zeros_and_ones(tree: Tree) -> Truth:
    names = plain(tree)
    rows = (f"{n}.jpg,{i % 4},{int(i % 5 == 0)}" for i, n in enumerate(names))
    tree.text("labels.csv", "file,label,label_quality", *rows)
    return {f"images/{n}.jpg": str(i % 4) for i, n in enumerate(names)}


@understood
def a_column_that_repeats_the_labels(tree: Tree) -> Truth:
    names = plain(tree)
    rows = (f"{row},{row.partition(',')[2]}" for row in lines_of(names))
    tree.text("labels.csv", "file,label,label_checked", *rows)
    return kinds(names, "images/{}.jpg")


@understood
def delimiters_after_the_last_label_too(tree: Tree) -> Truth:
    names = plain(tree)
    cells = [f"{KINDS[i % 3]}{'; dark' * (i % 2)}{';' * (i % 5 == 0)}" for i in range(45)]
    tree.text("labels.csv", "file,tags", *map("{}.jpg,{}".format, names, cells))
    return {f"images/{name}.jpg": KINDS[i % 3] + "+dark" * (i % 2) for i, name in enumerate(names)}


@stops("column kfold seems to split the images, but 0, 1, 2, 3, ... (5 in all) names no part")
def a_column_of_five_folds(tree: Tree) -> None:
    rows = (f"{row},{i % 5}" for i, row in enumerate(lines_of(plain(tree))))
    tree.text("train_folds.csv", "file,label,kfold", *rows)


@pytest.mark.parametrize("part", [None, "kfold"])
def test_of_numbered_folds_the_message_says_how_to_validate_on_one(
    part: str | None, tmp_path: Path
) -> None:
    names = plain(tree := Tree(tmp_path))
    rows = (f"{row},{i % 5}" for i, row in enumerate(lines_of(names)))
    tree.text("folds.csv", "file,label,kfold", *rows)
    with pytest.raises(
        PipelineError, match="to validate on fold 0, replace that by valid and the others by train"
    ):
        recognise(tmp_path, Hints(part=part))
    images = recognise(tmp_path, Hints(part="none")).images
    parts = {"part": "kfold", "parts": {"valid": [0], "train": [1, 2, 3, 4]}}  # as the page says
    found = find_images(images | parts, tmp_path).images
    assert Counter(each.part for each in found) == {"valid": 9, "train": 36}


@pytest.mark.parametrize("cell", ["<c t='inlineStr'><is><t>{}</t></is></c>", "<si><t>{}</t></si>"])
def test_a_spreadsheet_with_the_images_ids_stops(cell: str, tmp_path: Path) -> None:
    names = [f"{KINDS[i % 3]}_{i:02d}" for i in range(30)]  # which name a class, perhaps another
    Tree(tmp_path).image(*(f"images/{name}.jpg" for name in names))
    with zipfile.ZipFile(tmp_path / "labels.xlsx", "w") as opened:
        opened.writestr("xl/sharedStrings.xml", "".join(map(cell.format, names)))
    with pytest.raises(
        PipelineError, match=r"labels.xlsx is not read: save it as a CSV.*, or --table none to"
    ):
        recognise(tmp_path)
    assert read(tmp_path, Hints(table="none"))[f"images/{names[0]}.jpg"] == KINDS[0]


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("classes.txt", "oak\nelm\nash\n", True),
        ("classes.csv", "id,name\n0,oak\n1,elm\n2,ash\n", True),
        ("cat_to_name.json", '{"0": "oak", "1": "elm", "2": "ash"}', True),
        ("names.json", "3", False),
        ("README.txt", f"{'These are trees. ' * 9}\n\nSee below.\nJo\n", False),
        ("classes.txt", "oak\nelm\n", False),
    ],
)
def test_names_of_numbered_classes_that_are_not_read_are_told(
    file: str, text: str, told: bool, tmp_path: Path
) -> None:
    tree = Tree(tmp_path)
    tree.image(*(f"{i % 3}/p{i}.jpg" for i in range(30)))
    tree.text(file, text)
    notes = " ".join(recognise(tmp_path).notes)
    assert (f"{file} is not read: if it names the 3 classes" in notes) is told


@stops("30 images, but list.csv names none of them, no class folders")
def a_table_whose_ids_lost_their_digits(tree: Tree) -> None:
    tree.image(*(f"images/{20240503100000 + i}.jpg" for i in range(30)))
    tree.text("list.csv", "id,label", *(f"2.02405E+13,{KINDS[i % 3]}" for i in range(30)))


def test_a_table_without_a_header_is_told_by_the_columns_numbers(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.text("labels.csv", *lines_of(plain(tree)))
    rule = recognise(tmp_path).rule
    assert "column 1 names 45 of 45" in rule
    assert "column column" not in rule


@pytest.mark.parametrize("case", UNDERSTOOD, ids=lambda case: case.__name__)
def test_what_is_common_is_understood(case: Case, tmp_path: Path) -> None:
    truth = case(Tree(tmp_path))
    assert read(tmp_path) == truth


@pytest.mark.parametrize(("case", "message"), STOPS, ids=lambda each: getattr(each, "__name__", ""))
def test_what_is_unclear_stops(case: Callable[[Tree], None], message: str, tmp_path: Path) -> None:
    case(Tree(tmp_path))
    with pytest.raises(PipelineError) as error:
        print(read(tmp_path))
    assert message in str(error.value)
