"""What the names of folders say: which may be classes, and which are parts, cases, dates or ids.

And which columns are called like groups, and what about the labels that were read may be a
mistake, see `suspicious`.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.core.command import number_of
from pipeline.core.errors import PipelineError
from pipeline.dataset.file_column import NO_IMAGES, Unclear
from pipeline.dataset.image_files import empty_folders
from pipeline.dataset.label_tables import column_key
from pipeline.dataset.sources import (
    PART_NAMES,
    LabelledImage,
    Source,
    grouped,
    listed,
    part_in_words,
    part_of_folder,
    words,
)
from pipeline.dataset.table_files import read_table

NO_CLASSES = NO_IMAGES | words(
    "image images img imgs pic pics picture pictures photo photos jpg jpeg jpegs png pngs "
    "jpegimages data dataset raw original originals input inputs output outputs files "
    "frames crops thumbnails thumbs resized unlabeled unlabelled tmp temp export exports"
)
SAYS_NOTHING = NO_CLASSES | {"cropped", "frame", "all"}
_OUTCOMES = words(  # of which there are numbered cases, seldom numbered classes
    "normal abnormal tumor tumour cancer benign malignant healthy sick diseased control controls "
    "positive negative pos neg covid infected uninfected"
)
_ONES = "patient|subject|sub|case|session|ses|slide|video|scene|site|user|group|seq|sequence|clip"
_ONES += "|study|specimen"
_VOLUMES = re.compile(
    r"(?:.*[-_ ])?(?:part|batch|chunk|folder|shard|split|fold|vol|volume|disk|images?|imgs?|data|"
    rf"set|dir|tile|patch|slice|{_ONES})"
    r"[-_ ]?\d+(?:[-_ ][a-z]*[-_ ]?\d+)*",  # patient_004_node_2
    re.I,
)
OF_ONE = re.compile(rf"(?:{_ONES})[-_ ]?\d+", re.I)  # whose images go together
_DATE = re.compile(r"(?:19|20)\d\d[-_.]?(?:0\d|1[0-2])[-_.]?[0-3]\d.*|.*_20\d{6}T\d{6}(_.*)?")
_ID = re.compile(  # of DICOM, a hash, a UUID, of The Cancer Genome Atlas
    r"\d+(?:\.\d+){4,}|[0-9a-f]{16,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|TCGA(?:-\w+){2,}",
    re.I,
)
GROUP_NAMES = (
    *("patient", "subject", "person", "participant", "case", "individual", "animal", "lesion"),
    *("slide", "user", "video", "sequence", "scene", "site", "location", "group", "session"),
)
_GROUP = re.compile(
    rf"(?:the_)?({'|'.join(GROUP_NAMES)})s?(?:_?(?:id|no|nr|number|name|code|key))?"
)
NUMBERED = re.compile(r".*\d.*")
MANY_IN_A_ROW, FEW_IMAGES = 5, 20
MOST_OF_MISSPELT, TIMES_AS_MANY, SHORTEST_MISSPELT = 2, 10, 4  # images, letters


def may_be_class(folder: str) -> bool:
    """Whether a folder's name may be a class's."""
    odd = _VOLUMES.fullmatch(folder) or _DATE.fullmatch(folder) or part_in_words(folder)
    return bool(folder) and folder.lower() not in NO_CLASSES and not odd


def parts_in_words(folders: Iterable[str]) -> dict[str, str]:
    """The part of each folder that is called like one by a word of its name."""
    return {folder: part for folder in folders if (part := part_in_words(folder))}


def groups_in(columns: Sequence[str]) -> list[str]:
    """The columns that are called like a group: `patient_id`, `video`."""
    return [column for column in columns if _GROUP.fullmatch(column_key(column))]


def group_rank(column: str) -> int:
    """The place in GROUP_NAMES of the name that a column of groups has."""
    match = _GROUP.fullmatch(column_key(column))
    assert match is not None
    return GROUP_NAMES.index(match[1])


def refuse_odd_classes(classes: Sequence[str], n_images: int, layout: str) -> None:
    """Raise where folders are called like something other than classes."""
    generic = [name for name in classes if name.lower() in NO_CLASSES]
    part_of = parts_in_words(classes)
    parts = [name for name in part_of if part_of_folder(name)]
    if {"train"} < set(part_of.values()):
        parts = list(part_of)
    if odd := generic + parts:
        others = [name for name in classes if name not in odd]
        instead = "--images FOLDER for the folder that holds the images"
        if len(others) > 1:
            instead = f"move them away to use the others alone ({listed(others)})"
        raise Unclear(
            f"classes would be made of folders {listed(odd)}, which are called like something "
            f"else: write --layout '{layout}' if they are classes, or {instead}"
        )
    look = ""
    if any(all(map(each.fullmatch, classes)) for each in (_VOLUMES, _DATE, _ID)):
        look = "look like volumes, groups, dates or ids"
    if before := _numbered_cases(classes, n_images):
        look = f"are {listed(before)} and a number, as slides or patients are"
    if look:
        raise Unclear(
            f"classes would be made of folders {listed(classes)}, which {look}: write --layout "
            f"'{layout}' if they are classes, or give a table with a column of file names and one "
            "of labels"
        )


def refuse_groups_as_classes(root: Path, paths: Sequence[str], classes: Sequence[str]) -> None:
    """Raise where the class folders are called like the patients, or other groups, of a table."""
    for path in paths:
        try:
            table = read_table(root / path)
        except PipelineError:  # a text
            continue
        for column in groups_in(list(table.columns)) if table.shape[1] > 1 else ():
            if len(set(table[column]).intersection(classes)) >= 0.5 * len(classes):
                raise Unclear(
                    f"the folders are called like column {column} of {path} ({listed(classes)}), "
                    "so they are no classes: write a table with a row per image, or --table none "
                    "to use the folders alone"
                )


def _numbered_cases(classes: Sequence[str], n_images: int) -> list[str]:
    """What precedes the numbers in names of cases, such as tumor_1, tumor_2, normal_1, normal_2.

    Classes are numbered too. Cases are called like an outcome, or are many in a row of few images.
    """
    matches = [re.fullmatch(r"(.*[^\W\d_])[-_ ]?(\d+)", name) for name in classes]
    found = [(match[1], match[2]) for match in matches if match]
    numbers_of: dict[str, list[int]] = defaultdict(list)
    for text, number in sorted(found):
        numbers_of[text].append(int(number))
    rows = list(map(sorted, numbers_of.values()))
    if len(found) < len(classes) or len(rows) < 2 or min(map(len, rows)) < 2:
        return []
    padded = any(number.startswith("0") and len(number) > 1 for _, number in found)
    in_a_row = padded and all(of[-1] - of[0] + 1 == len(of) >= MANY_IN_A_ROW for of in rows)
    few_images = n_images < FEW_IMAGES * len(classes)
    outcomes = {text.lower() for text in numbers_of} <= _OUTCOMES
    return list(numbers_of) if outcomes or (in_a_row and few_images) else []


def sorted_classes(labels: set[str]) -> list[str]:
    """Alphabetical, or by number where every label is one."""
    if all(label.isascii() and label.isdigit() for label in labels):
        return sorted(labels, key=lambda label: (int(label), label))
    return sorted(labels)


_MISSING = frozenset(("nan", "none", "null", "n/a", "na", "nil", "unknown", "?", "-", "-1"))


def odd_labels(labels: set[str]) -> Iterator[str]:
    """Labels that differ in spelling only, and such as look like a missing one."""
    by_spelling = grouped(sorted(labels), _spelling)
    if twins := [each for each in by_spelling.values() if len(each) > 1]:
        yield "classes that differ in spelling only: " + "; ".join(
            " and ".join(repr(label) for label in each) for each in twins[:5]
        )
    if missing := sorted(label for label in labels if label.strip().lower() in _MISSING):
        yield f"classes that look like a missing label: {', '.join(map(repr, missing))}"


def _spelling(label: str) -> str:
    """The same for Cat, cat and `cat `, and for 1, 01 and 1.0."""
    text = " ".join(label.replace("_", " ").replace("-", " ").split()).casefold()
    try:
        return str(float(text)) if text.replace(".", "").isdigit() else text
    except ValueError:
        return text


def suspicious(source: Source, root: Path) -> Iterator[str]:
    """What names and folders say that may be a mistake in the data, in words."""
    counts = Counter(label for image in source.images for label in image.labels)
    yield from odd_labels(set(counts))
    yield from _numbered_labels(set(counts))
    yield from misspelt_labels(counts)
    yield from _classes_and_groups_in_parts(source.images)
    if empty := empty_folders(root):
        yield f"empty folders: {listed(empty)}"


def _classes_and_groups_in_parts(images: Sequence[LabelledImage]) -> Iterator[str]:
    """Classes that are in one part only; groups that are in several."""
    labels_of: dict[str, set[str]] = defaultdict(set)
    parts_of_group: dict[str, set[str]] = defaultdict(set)
    for image in images:
        if image.part is not None:
            labels_of[image.part].update(image.labels)
            if image.group is not None:
                parts_of_group[image.group].add(image.part)
    if len(labels_of) > 1:
        for part in (part for part in PART_NAMES if part in labels_of):
            others = set().union(*(each for other, each in labels_of.items() if other != part))
            if alone := sorted(labels_of[part] - others):
                yield f"classes only in {part}: {listed(alone)}"
    if shared := sorted(group for group, parts in parts_of_group.items() if len(parts) > 1):
        yield (
            f"{number_of(len(shared), 'group is', 'groups are')} in several of the given parts "
            f"({listed(shared)}): write split: stratified, which keeps groups whole"
        )


def _numbered_labels(labels: set[str]) -> Iterator[str]:
    """Labels that differ in the number at their end only."""
    by_text = grouped(sorted(labels), lambda label: re.sub(r"[-_ ]?\d+$", "", label))
    if len(by_text) > 1 and (numbered := [each for each in by_text.values() if len(each) > 1]):
        shown = listed(" and ".join(each[:2]) for each in numbered)
        yield f"classes that differ in a number only: {shown}: call them alike if they are one"


def misspelt_labels(counts: Mapping[str, int]) -> Iterator[str]:
    """Rare labels that equal a frequent one but for one letter, or for its place, as a question.

    A digit more or another digit is no misspelling.
    """
    near = defaultdict[str, list[str]](list)  # frequent labels, by what is left without a letter
    for label, count in counts.items():
        if count >= TIMES_AS_MANY:
            for each in _without_a_letter(label):
                near[each].append(label)
    for label, count in counts.items():
        if count > MOST_OF_MISSPELT or len(label) < SHORTEST_MISSPELT:
            continue
        meant = dict.fromkeys(other for each in _without_a_letter(label) for other in near[each])
        enough = (m for m in meant if counts[m] >= TIMES_AS_MANY * count)
        words = (m for m in enough if _digits(m) == _digits(label))
        if found := [m for m in words if _spelling(m) != _spelling(label)]:
            likely = max(found, key=counts.__getitem__)
            few, many = (number_of(n, "image", "images") for n in (count, counts[likely]))
            yield (
                f"is {label!r} ({few}) a misspelling of {likely!r} ({many})? "
                "If so, correct the label"
            )


def _without_a_letter(label: str) -> list[str]:
    """The label, and what is left of it without each one of its letters."""
    return [label, *(label[:i] + label[i + 1 :] for i in range(len(label)))]


def _digits(label: str) -> str:
    return re.sub(r"\D", "", label)
