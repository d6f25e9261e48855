import io
import json
import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.configuration import hydra_app
from pipeline.core.errors import PipelineError
from pipeline.dataset import __main__ as dataset
from pipeline.dataset import arrays, checks
from pipeline.dataset.__main__ import main, prepare
from pipeline.dataset.checks import Faulty, Policy, choose, look_at, read_config
from pipeline.dataset.folder_names import suspicious
from pipeline.dataset.images import crop, decode, squish
from pipeline.dataset.prepared import Crops, Prepared, open_prepared
from pipeline.dataset.sources import Fault, LabelledImage, Source
from pipeline.dataset.splits import Split
from pipeline.finetune.__main__ import describe


def photo(seed: int, width: int = 12, height: int = 8) -> Image.Image:
    small = np.random.RandomState(seed).randint(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height))


def jpeg(seed: int, **options: int) -> bytes:
    stream = io.BytesIO()
    photo(seed, **options).save(stream, "JPEG", quality=95)
    return stream.getvalue()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Ten different cats and ten different dogs, in folders of their own."""
    for number in range(20):
        path = tmp_path / "pictures" / ("cat", "dog")[number // 10] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(number))
    return tmp_path / "pictures"


FOLDERS = {"_target_": "pipeline.dataset.sources.in_class_folders"}


def config_of(
    source: Path, out: Path, image_size: Any = 8, resize: Any = "squish", **keys: Any
) -> Any:
    config = hydra_app.compose(
        "dataset", ["dataset=digits", "dataset.valid_pct=0.2", "image_size=8"]
    )
    config.out, config.image_size, config.resize = str(out), image_size, resize
    config.dataset = {
        **config.dataset,
        "name": "pictures",
        "source": str(source),
        "images": FOLDERS,
        **keys,
    }
    return config


def wanted(source: Path, out: Path, **keys: Any) -> Any:
    return read_config(config_of(source, out, **keys))


def prepared(source: Path, out: Path, **keys: Any) -> Prepared:
    prepare(wanted(source, out, **keys))
    return open_prepared(out)


def test_a_folder_becomes_an_index_labels_parts_and_pixels(pictures: Path, tmp_path: Path) -> None:
    data = prepared(pictures, tmp_path / "out")
    assert (data.name, data.kind, data.classes) == ("pictures", "single", ["cat", "dog"])
    assert data.labels.tolist() == [0] * 10 + [1] * 10
    assert Counter(data.parts.tolist()) == {"train": 16, "valid": 4}
    assert data.files[:2] == ["cat/0.jpg", "cat/1.jpg"]
    images = data.array(8)
    assert (images.shape, images.dtype) == ((20, 3, 8, 8), np.uint8)
    for row, file in enumerate(data.files):
        expected = squish(decode((pictures / file).read_bytes()).pixels, 8)
        assert np.array_equal(images[row], expected)


def test_the_same_input_gives_the_same_bytes_wherever_it_lies(
    pictures: Path, tmp_path: Path
) -> None:
    prepare(wanted(pictures, tmp_path / "one"))
    shutil.copytree(pictures, tmp_path / "elsewhere" / "copy")
    prepare(wanted(tmp_path / "elsewhere" / "copy", tmp_path / "two"))
    first, second = sorted((tmp_path / "one").iterdir()), sorted((tmp_path / "two").iterdir())
    assert [path.name for path in first] == [
        "decoded.csv",
        "index.csv",
        "meta.json",
        "rejected.csv",
        "squish-8.npy",
    ]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_the_fingerprint_follows_bytes_labels_and_split_and_nothing_else(
    pictures: Path, tmp_path: Path
) -> None:
    base = prepared(pictures, tmp_path / "base").fingerprint
    assert prepared(pictures, tmp_path / "size", image_size=[4, 6]).fingerprint == base
    assert prepared(pictures, tmp_path / "seed", split_seed=1).fingerprint != base
    (pictures / "cat/0.jpg").write_bytes(jpeg(99))
    changed = prepared(pictures, tmp_path / "bytes").fingerprint
    assert changed != base
    (pictures / "cat").rename(pictures / "lynx")
    assert prepared(pictures, tmp_path / "labels").fingerprint not in (base, changed)


def test_several_sizes_cost_one_decode(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "decode", logging_decode(tmp_path / "log"))
    data = prepared(pictures, tmp_path / "out", image_size=[4, 8], resize=["squish", "crop"])
    assert decoded(tmp_path / "log") == 20
    assert data.array(4).shape == (20, 3, 4, 4)
    assert data.array(8).shape == (20, 3, 8, 8)
    assert len(data.array(8, "crop")) == 20


def test_a_new_split_decodes_nothing_and_a_new_size_itself_only(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "decode", logging_decode(tmp_path / "log"))
    first = prepared(pictures, tmp_path / "out")
    again = prepared(pictures, tmp_path / "out", split_seed=1)
    assert decoded(tmp_path / "log") == 20
    assert again.fingerprint != first.fingerprint
    grown = prepared(pictures, tmp_path / "out", image_size=[4, 8])
    assert decoded(tmp_path / "log") == 40
    assert np.array_equal(grown.array(8), again.array(8))
    fresh = wanted(pictures, tmp_path / "fresh", image_size=[4, 8])
    prepare(fresh)
    for path in fresh.out.iterdir():
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes(), path.name


@pytest.mark.parametrize("change", ["a file", "Pillow", "the array"])
def test_nothing_is_reused_that_is_no_longer_true(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    prepare(wanted(pictures, tmp_path / "out"))
    if change == "a file":
        (pictures / "cat/0.jpg").write_bytes(jpeg(99))
    elif change == "Pillow":
        meta = json.loads((tmp_path / "out/meta.json").read_text())
        meta["decoder"]["pillow"] = "1.0"
        (tmp_path / "out/meta.json").write_text(json.dumps(meta))
    else:
        np.load(tmp_path / "out/squish-8.npy", mmap_mode="r+")[0] ^= 1
    monkeypatch.setattr(arrays, "decode", logging_decode(tmp_path / "log"))
    data = prepared(pictures, tmp_path / "out")
    assert decoded(tmp_path / "log") == 20
    image = decode((pictures / data.files[0]).read_bytes()).pixels
    assert np.array_equal(data.array(8)[0], squish(image, 8))


class logging_decode:
    """`decode` that leaves a byte in a file for each call, in whichever process."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def __call__(self, data: bytes) -> Any:
        with self.log.open("ab", buffering=0) as file:
            file.write(b".")
        return decode(data)


def decoded(log: Path) -> int:
    return log.stat().st_size


def test_all_bad_files_are_told_at_once_before_anything_is_written(
    pictures: Path, tmp_path: Path
) -> None:
    make_bad(pictures)
    with pytest.raises(
        PipelineError, match=r"pictures: 5 bad files .*`bad: drop` in conf/dataset/pictures\.yaml"
    ):
        prepare(wanted(pictures, tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def make_bad(pictures: Path) -> None:
    (pictures / "cat/0.jpg").write_bytes(jpeg(0)[:-200])
    (pictures / "cat/empty.jpg").write_bytes(b"")
    (pictures / "dog/page.jpg").write_bytes(b"<html>")
    (pictures / "dog/notes.txt").write_bytes(b"x")
    (pictures / "dog/a|b").mkdir()
    (pictures / "dog/a|b/z.jpg").write_bytes(jpeg(50))


def test_bad_files_can_be_dropped_and_are_counted(pictures: Path, tmp_path: Path) -> None:
    make_bad(pictures)
    data = prepared(pictures, tmp_path / "out", bad="drop", resize=["squish", "crop"])
    rejected = pd.read_csv(tmp_path / "out/rejected.csv").set_index("file")["reason"].to_dict()
    assert rejected == {
        "dog/notes.txt": "not an image by its name",
        "cat/0.jpg": rejected["cat/0.jpg"],
        "cat/empty.jpg": "empty file",
        "dog/a|b/z.jpg": "label 'a|b' contains '|', which separates labels",
        "dog/page.jpg": "not an image file",
    }
    assert rejected["cat/0.jpg"].startswith("damaged image")
    assert data.meta["n_rejected"] == 5
    assert len(data.files) == len(data.array(8)) == len(data.array(8, "crop")) == 19
    for row, file in enumerate(data.files):
        image = decode((pictures / file).read_bytes()).pixels
        assert np.array_equal(data.array(8)[row], squish(image, 8))
        strip = data.array(8, "crop")
        assert isinstance(strip, Crops)
        assert np.array_equal(strip.images[row], crop(image, 8))


def test_the_command_lists_the_faults_and_leaves_the_list_in_a_file(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bad(pictures)
    config = hydra_app.compose(
        "dataset", ["dataset=digits", "dataset.valid_pct=0.2", "image_size=8"]
    )
    config.out = str(tmp_path / "out")
    config.dataset.source, config.dataset.images = str(pictures), FOLDERS
    with pytest.raises(PipelineError, match=r"all 5 are listed in .*out\.faults\.csv"):
        main(config)
    assert "cat/empty.jpg: empty file" in capsys.readouterr().err
    assert len(pd.read_csv(tmp_path / "out.faults.csv")) == 5
    config.dataset.bad = "drop"
    main(config)
    assert not (tmp_path / "out.faults.csv").exists()
    assert "19 images (15 train, 4 valid), 2 classes, single-label, 5 rejected" in (
        capsys.readouterr().out
    )


def add_rare(pictures: Path) -> None:
    (pictures / "yeti").mkdir()
    (pictures / "yeti/1.jpg").write_bytes(jpeg(77))


def test_memory_that_runs_out_for_a_moment_loses_no_image(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(data: bytes) -> None:
        raise MemoryError

    asked = wanted(pictures, tmp_path / "out", bad="drop")
    with monkeypatch.context() as patch:
        patch.setattr(arrays, "decode", no_memory)
        with pytest.raises(PipelineError, match="memory ran out"):
            prepare(asked)
    assert prepare(asked)["n_rejected"] == 0


def test_memory_that_runs_out_while_the_array_is_written_is_one_line(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(arrays.ArrayWriter, "append_file", no_memory)
    with pytest.raises(PipelineError, match="memory ran out while images were decoded"):
        prepare(wanted(pictures, tmp_path / "out"))


def test_a_decoding_process_that_is_killed_is_told_with_the_folder(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "decode", lambda data: os._exit(1))
    with pytest.raises(PipelineError, match=rf"{tmp_path}/.*out.*: a decoding process was killed"):
        prepare(wanted(pictures, tmp_path / "out"))


def test_a_class_with_too_few_images_fails_unless_it_may_be_kept_or_dropped(
    pictures: Path, tmp_path: Path
) -> None:
    add_rare(pictures)
    with pytest.raises(Faulty, match=r"1 class .*`rare: drop` in conf/dataset/pictures\.") as told:
        prepare(wanted(pictures, tmp_path / "out"))
    once = Fault("class yeti", "1 image, fewer than min_class_images=2; no image in valid")
    assert told.value.faults == [once]
    kept = prepared(pictures, tmp_path / "kept", rare="keep")
    assert kept.classes == ["cat", "dog", "yeti"]
    assert kept.meta["notes"] == [
        "class yeti: 1 image, fewer than min_class_images=2",
        "class yeti: no image in valid",
    ]
    dropped = prepared(pictures, tmp_path / "dropped", rare="drop")
    assert dropped.classes == ["cat", "dog"]
    assert dropped.meta["n_rejected"] == 1
    assert dropped.meta["notes"] == ["class yeti: left out: 1 image, fewer than min_class_images=2"]
    assert len(dropped.array(8)) == 20


def test_one_rare_class_and_several_are_told_in_whole_sentences(
    pictures: Path, tmp_path: Path
) -> None:
    add_rare(pictures)
    one = r"1 class .* leaves it out, .* accepts it\): it is listed in .*out\.faults\.csv"
    with pytest.raises(PipelineError, match=one):
        main(config_of(pictures, tmp_path / "out"))
    (pictures / "yak").mkdir()
    (pictures / "yak/1.jpg").write_bytes(jpeg(99))
    two = r"2 classes .* leaves them out, .* accepts them\): all 2 are listed"
    with pytest.raises(PipelineError, match=two):
        main(config_of(pictures, tmp_path / "out"))


def test_a_class_missing_in_a_part_is_found(pictures: Path, tmp_path: Path) -> None:
    for number, part in enumerate(["train"] * 8 + ["val"] * 2):
        for label in ("cat", "dog"):
            target = tmp_path / "split" / part / label / f"{number}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(jpeg(100 + number if label == "cat" else 200 + number))
    shutil.rmtree(tmp_path / "split/val/dog")
    images = {**FOLDERS, "parts": {"train": "train", "valid": "val"}}
    with pytest.raises(PipelineError, match="1 class with too few images"):
        prepare(wanted(tmp_path / "split", tmp_path / "out", images=images, split="given"))
    kept = prepared(tmp_path / "split", tmp_path / "out", images=images, split="given", rare="keep")
    assert kept.meta["notes"] == ["class dog: no image in valid"]


def test_a_class_that_was_renamed_is_told_before_anything_is_left_out(
    pictures: Path, tmp_path: Path
) -> None:
    (pictures / "dog").rename(pictures / "dogs")
    with pytest.raises(PipelineError, match="`classes` has dog, which no image has, but not dogs"):
        prepare(wanted(pictures, tmp_path / "out", classes=["dog", "cat"]))


def test_a_label_outside_the_listed_classes_is_a_fault(pictures: Path, tmp_path: Path) -> None:
    add_rare(pictures)
    data = prepared(pictures, tmp_path / "out", classes=["dog", "cat"], bad="drop")
    assert data.classes == ["dog", "cat"], "in the order of the list"
    assert pd.read_csv(tmp_path / "out/rejected.csv")["reason"].tolist() == ["unknown label 'yeti'"]


def some_bad(rng: np.random.Generator) -> tuple[list[LabelledImage], list[str]]:
    """150 images of one to three labels, a few rare or none; and why a few cannot be read."""
    weights = np.array([40, 30, 20, 5, 2, 1.5, 1, 0.5])
    found = []
    for row in range(150):
        n = rng.integers(0, 4) if row % 9 == 0 else rng.integers(1, 3)
        labels = rng.choice(list("abcdefgh"), size=n, replace=False, p=weights / weights.sum())
        found.append(LabelledImage(f"{row}.jpg", tuple(map(str, labels)), None, None))
    rare = [("i",), ("j", "i"), ("j", "a")]
    found += [LabelledImage(f"{150 + row}.jpg", labels) for row, labels in enumerate(rare)]
    return found, [*("damaged" if rng.random() < 0.1 else "" for _ in range(150)), *[""] * 3]


def test_what_is_left_without_bad_files_and_rare_classes_is_that_of_pandas() -> None:
    split = Split("stratified", valid_pct=0.2, test_pct=0.0, split_seed=42)
    policy = Policy("planet", "multi", None, bad="drop", rare="drop", min_class_images=4)
    extra = Fault("x.jpg", "not in labels.csv")
    for seed in range(3):
        found, reasons = some_bad(np.random.default_rng(seed))
        table = pd.DataFrame({"labels": [each.labels for each in found], "reason": reasons})
        table.loc[(table["reason"] == "") & (table["labels"].map(len) == 0), "reason"] = "no label"
        usable = table[table["reason"] == ""]
        long = usable["labels"].explode()
        counts = long.value_counts()
        frequent = long[long.map(counts) >= 4]
        kept = frequent.groupby(level=0, sort=False).agg(tuple)
        rare = sorted(counts[counts < 4].index)
        assert rare
        assert len(kept) < len(usable)
        chosen = choose(found, reasons, [extra], policy, split)
        assert chosen.rows == kept.index.tolist()
        assert [image.file for image in chosen.images] == [f"{row}.jpg" for row in kept.index]
        assert [image.labels for image in chosen.images] == kept.tolist()
        assert chosen.classes == sorted(frequent.unique())
        bad = table[table["reason"] != ""]["reason"]
        gone = usable.drop(kept.index)["labels"].str[0]
        few = {name: f"{n} image{'s' * (n != 1)}" for name, n in counts.items()}
        why = {name: f"{few[name]}, fewer than min_class_images=4" for name in rare}
        assert chosen.rejected == [
            extra,
            *(Fault(f"{row}.jpg", reason) for row, reason in bad.items()),
            *(Fault(f"{row}.jpg", f"class {name}: {why[name]}") for row, name in gone.items()),
        ]
        assert chosen.notes == [f"class {name}: left out: {why[name]}" for name in rare]
        assert len(chosen.parts) == len(kept)
        for name in chosen.classes:
            parts = [
                part
                for image, part in zip(chosen.images, chosen.parts, strict=True)
                if name in image.labels
            ]
            assert {*parts} == {"train", "valid"}
        refusing = replace(policy, bad="fail", rare="fail")
        with pytest.raises(Faulty) as told:
            choose(found, reasons, [extra], refusing, split)
        assert told.value.faults[: 1 + len(bad)] == chosen.rejected[: 1 + len(bad)]
        classes = told.value.faults[1 + len(bad) :]
        assert [each.file for each in classes] == [f"class {name}" for name in rare]
        assert all(each.reason.startswith(why[each.file[-1]]) for each in classes)


def test_a_class_of_one_given_part_is_left_out_with_the_images_of_no_other_class() -> None:
    found = [
        LabelledImage(f"{row}.jpg", ("a", "b"), "train" if row % 3 else "valid") for row in range(9)
    ]
    found += [LabelledImage("9.jpg", ("c",), "train"), LabelledImage("10.jpg", ("c", "a"), "train")]
    policy = Policy("planet", "multi", None, bad="fail", rare="drop", min_class_images=2)
    chosen = choose(found, [""] * 11, [], policy, Split("given", 0.2, 0.0, 42))
    assert chosen.rows == [*range(9), 10]
    assert chosen.parts == [str(found[row].part) for row in chosen.rows]
    assert chosen.images[-1].labels == ("a",)
    assert chosen.classes == ["a", "b"]
    assert chosen.rejected == [Fault("9.jpg", "class c: no image in valid")]
    assert chosen.notes == ["class c: left out: no image in valid"]


def test_classes_of_one_part_and_groups_of_several_are_told(tmp_path: Path) -> None:
    def told(*rows: tuple[str, str | None, str | None]) -> list[str]:
        found = [LabelledImage(f"{at}.jpg", (row[0],), *row[1:]) for at, row in enumerate(rows)]
        return list(suspicious(Source(found, lambda file: b""), tmp_path))

    both = [("oak", "train", "p1"), ("oak", "valid", "p2"), ("elm", "train", "p3")]
    assert told(*both) == ["classes only in train: elm"]
    assert told(*both, ("elm", "valid", "p2"), ("elm", "test", "p4")) == []
    assert told(*both, ("elm", "test", "p4"), ("ash", "valid", None)) == [
        "classes only in valid: ash"
    ]
    assert told(("oak", "train", "p1"), ("elm", "train", "p1")) == []
    assert told(("oak", None, "p1"), ("elm", None, "p1")) == []
    said = "are in several of the given parts (p1, p2): write split: stratified, which keeps"
    again = [("elm", "valid", "p1"), ("oak", "train", "p2"), ("oak", "valid", None)]
    assert told(*both, *again) == [f"2 groups {said} groups whole"]
    (tmp_path / "yew").mkdir()
    assert told(*both, ("elm", "valid", None)) == ["empty folders: yew"]


def test_a_look_decodes_a_few_and_compares_the_bytes_of_all(tmp_path: Path) -> None:
    found, exif = [], Image.Exif()
    exif[0x0112] = 6
    for row in range(70):  # of which every second one is decoded, 32 at most
        found.append(LabelledImage(f"{row:02}.img", ("oak", "elm")[row % 2 :][:1]))
        picture = photo(row)
        options: dict[str, Any] = {"exif": exif} if row % 10 == 0 else {}
        if row % 7 == 0:
            values = np.random.RandomState(row).randint(0, 4096, (8, 8)).astype(np.uint16)
            values[0, 0] = 4095
            picture = Image.fromarray(values)
        picture.save(tmp_path / found[-1].file, "PNG", **options)
    for row in (4, 5):
        (tmp_path / found[row].file).write_bytes(b"no image")
    (tmp_path / found[5].file).write_bytes(b"no image either")
    (tmp_path / found[9].file).write_bytes(b"")
    for row, other in ((13, 11), (17, 11), (22, 25)):
        (tmp_path / found[row].file).write_bytes((tmp_path / found[other].file).read_bytes())
    found[30] = replace(found[30], labels=())
    source = Source(found, lambda file: (tmp_path / file).read_bytes())
    look = look_at(source, "single", tmp_path, {"69.img": "seen before"})
    same = "the same file as {}.img, whose label is {}"
    assert look.faults == [
        Fault("04.img", "not an image file"),
        Fault("09.img", "empty file"),
        Fault("22.img", same.format(25, "elm")),
        Fault("25.img", same.format(22, "oak")),
        Fault("30.img", "no label"),
        Fault("69.img", "seen before"),
    ]
    decoded = [row for row in range(0, 64, 2) if row != 4]
    rotated = sum(row % 10 == 0 for row in decoded)
    deep = sum(row % 7 == 0 for row in decoded)
    assert sorted(look.odd) == sorted(
        [
            "1 picture has different labels in different files (22.img: oak and 25.img: elm)",
            "3 files are the same picture (11.img, 13.img, 17.img)",
            f"{rotated} of 32 images looked at are rotated",
            f"{deep} of 32 images looked at are 16-bit",
            f"{deep} of 32 images looked at are of 16 bits of which 12 are used: dark, unless they "
            "are scaled",
        ]
    )


def test_one_peculiar_image_is_told_in_the_singular(pictures: Path) -> None:
    photo(2).convert("RGBA").save(pictures / "cat/2.jpg", "PNG")
    found = [LabelledImage(f"cat/{number}.jpg", ("cat",)) for number in range(5)]
    source = Source(found, lambda file: (pictures / file).read_bytes())
    look = look_at(source, "single", pictures, {})
    assert (look.faults, look.odd) == ([], ["1 of 5 images looked at is transparent"])


def test_only_files_of_one_size_are_read_and_only_so_many_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = {"a": b"12345", "b": b"12345", "c": b"x" * 40, "d": b"x" * 40, "e": b"alone"[:4]}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    read = []
    found = [LabelledImage(name, ("oak",)) for name in contents]
    source = Source(found, lambda file: read.append(file) or contents[file])
    for most, expected in ((91, ["a", "b", "c", "d"]), (90, ["a", "b"]), (10, [])):
        monkeypatch.setattr(checks, "MOST_READ", most)
        read.clear()
        equal, hashes = checks._equal_files(source, found, tmp_path)
        assert read == expected
        assert [image.file for same in equal for image in same] == expected
        assert [bool(digest) for digest in hashes] == [name in expected for name in contents]


@pytest.mark.parametrize("key", ["name", "kind", "images"])
def test_a_key_that_a_dataset_must_have_is_named(pictures: Path, tmp_path: Path, key: str) -> None:
    config = config_of(pictures, tmp_path / "out")
    config.dataset = {name: value for name, value in config.dataset.items() if name != key}
    with pytest.raises(PipelineError, match=rf"^dataset\.{key} is missing in conf/dataset/"):
        read_config(config)


def test_the_same_picture_in_two_parts_is_told(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = prepared(pictures, tmp_path / "before")
    assert data.meta["duplicates_across_parts"] == []
    train, valid = (data.files[data.rows(part)[0]] for part in ("train", "valid"))
    copied = decode((pictures / train).read_bytes()).pixels
    copied.save(pictures / valid, "PNG")  # other bytes, the same pixels
    data = prepared(pictures, tmp_path / "out")
    assert data.meta["duplicates_across_parts"] == [[f"train: {train}", f"valid: {valid}"]]
    dataset._print_summary(tmp_path / "out", data.meta)
    assert "warning: 1 picture is in more than one part" in capsys.readouterr().out


def test_chance_is_the_best_constant_guess_that_train_teaches() -> None:
    from pipeline.dataset.meta import chance_error_rate

    parts = np.array(["train"] * 3 + ["valid"] * 4)
    single = np.array([0, 0, 1, 0, 1, 1, 1])
    assert chance_error_rate("single", single, parts) == 0.75
    multi = np.array([[1, 0], [1, 0], [0, 1], [1, 1], [0, 0], [1, 1], [1, 0]], dtype=np.float32)
    assert chance_error_rate("multi", multi, parts) == 3 / 8


def test_a_crop_is_a_random_square_for_training_and_the_middle_otherwise(tmp_path: Path) -> None:
    for number in range(10):
        path = tmp_path / "pictures" / ("cat", "dog")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(number, width=40, height=10))
    data = prepared(tmp_path / "pictures", tmp_path / "out", image_size=10, resize=["crop"])
    crops = data.array(10, "crop")
    train, valid = int(data.rows("train")[0]), int(data.rows("valid")[0])
    drawn = {crops[[train]].tobytes() for _ in range(20)}
    assert len(drawn) > 5
    strip = crop(decode((tmp_path / "pictures" / data.files[valid]).read_bytes()).pixels, 10)
    assert strip.shape == (3, 10, 40)
    assert np.array_equal(crops[[valid]][0], strip[:, :, 15:25])
    assert crops[[train, valid]].shape == (2, 3, 10, 10)


def test_the_median_shorter_side_of_the_images_is_known(pictures: Path, tmp_path: Path) -> None:
    for number in range(12):
        path = pictures / ("cat", "dog")[number // 10] / f"{number}.jpg"
        path.write_bytes(jpeg(number, width=30, height=400))
    (pictures / "dog/damaged.jpg").write_bytes(b"no picture")
    data = prepared(pictures, tmp_path / "out", bad="drop")
    assert data.meta["median_side"] == 30
    again = prepared(pictures, tmp_path / "out", bad="drop", valid_pct=0.5)
    assert again.meta["median_side"] == 30
    run = describe(again, image_size=8)
    counts = np.bincount(again.labels[again.rows("valid")])
    assert (run.median_side, run.n_valid_rarest) == (30, counts.min())


def test_a_folder_prepared_before_sides_were_kept_is_decoded_again(
    pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    prepare(wanted(pictures, out))
    pd.read_csv(out / "decoded.csv").drop(columns="side").to_csv(out / "decoded.csv", index=False)
    assert prepared(pictures, out).meta["median_side"] == 8


def test_peculiar_images_are_counted(pictures: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(1).save(pictures / "cat/1.jpg", "JPEG", exif=exif)
    photo(2).convert("RGBA").save(pictures / "cat/2.jpg", "PNG")
    data = prepared(pictures, tmp_path / "out")
    assert data.meta["peculiar"] == {"rotated": 1, "transparent": 1}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"bda": "drop"}, r"unknown key dataset.bda: did you mean bad"),
        ({"bad": "drpo"}, "dataset.bad=drpo: choose from fail, drop"),
        ({"rare": "no"}, "dataset.rare=no: choose from fail, drop, keep"),
        ({"kind": "both"}, "dataset.kind=both"),
        ({"image_size": 0}, "image_size=0"),
        ({"image_size": [64, "x"]}, "image_size=x"),
        ({"resize": ["pad"]}, "unknown resize 'pad'"),
        ({"archive": {"size": 3}}, "dataset.archive.url is missing"),
        ({"archive": {"url": "http://x/y.tgz", "sha": 3}}, "unknown key dataset.archive.sha"),
    ],
)
def test_a_wrong_key_or_value_is_one_clear_line(
    pictures: Path, tmp_path: Path, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(PipelineError, match=message):
        prepare(wanted(pictures, tmp_path / "out", **keys))


def test_single_label_data_with_several_labels_is_told(shared: Path, tmp_path: Path) -> None:
    config = hydra_app.compose(
        "dataset", ["dataset=planet_sample", "image_size=8", "dataset.kind=single"]
    )
    config.dataset.source, config.out = str(shared / "datasets/planet_sample"), str(tmp_path / "x")
    with pytest.raises(PipelineError, match="950 bad files"):
        main(config)
    assert "labels in a single-label dataset" in (tmp_path / "x.faults.csv").read_text()


@pytest.mark.parametrize("name", ["digits", "digit_mosaic"])
def test_the_datasets_that_need_no_network_are_ready(tmp_path: Path, name: str) -> None:
    config = hydra_app.compose(
        "dataset", [f"dataset={name}", "image_size=16", f"out={tmp_path}/out"]
    )
    main(config)
    data = open_prepared(tmp_path / "out")
    assert data.classes == [str(digit) for digit in range(10)]
    assert data.array(16).shape == (len(data.files), 3, 16, 16)
    assert set(data.parts) == {"train", "valid"}
    assert data.meta["duplicates_across_parts"] == []


def test_no_digit_of_a_valid_mosaic_is_in_a_train_mosaic() -> None:
    from pipeline.dataset.find_images import mosaics

    source = mosaics(count=1200, valid_pct=0.2, seed=42)
    shown: dict[str, set[bytes]] = {"train": set(), "valid": set()}
    for image in source.images:
        pixels = decode(source.read(image.file)).pixels.convert("L")
        for left, top in ((0, 0), (8, 0), (0, 8), (8, 8)):
            tile = pixels.crop((left, top, left + 8, top + 8))
            shown[str(image.part)].add(tile.tobytes())
    assert len(shown["train"]) > 1400
    assert len(shown["valid"]) > 300
    assert not shown["train"] & shown["valid"]


@pytest.mark.parametrize(
    ("name", "folder", "n_images", "n_classes"),
    [("planet_sample", "planet_sample", 1000, 17), ("pets", "oxford_pets_370", 370, 37)],
)
def test_the_datasets_of_2022_are_read_from_local_copies(
    shared: Path, tmp_path: Path, name: str, folder: str, n_images: int, n_classes: int
) -> None:
    config = hydra_app.compose("dataset", [f"dataset={name}", "image_size=16"])
    config.dataset.source, config.out = str(shared / "datasets" / folder), str(tmp_path / "out")
    main(config)
    data = open_prepared(tmp_path / "out")
    assert (len(data.files), len(data.classes)) == (n_images, n_classes)
    assert len(data.rows("valid")) == n_images // 5


def archive_of(name: str, folder: Path) -> None:
    """Two classes, all parts, laid out as the archive of dataset `name` is."""
    layouts = {
        "pets": ["p/images/{label}_{n}.jpg"],
        "planet_sample": ["p/train/{label}{n}.jpg"],
        "imagenette_160": ["p/train/{label}/{n}.JPEG", "p/val/{label}/v{n}.JPEG"],
        "imagewoof_160": ["p/train/{label}/{n}.JPEG", "p/val/{label}/v{n}.JPEG"],
        "flowers102": ["p/jpg/{label}{n}.jpg"],
        "eurosat": ["2750/{label}/{label}_{n}.jpg"],
    }
    for number in range(20):
        for layout in layouts[name]:
            label = str(number % 2)
            path = folder / layout.format(label=label, n=number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(jpeg(number + 100 * ("val" in layout)))
    if name == "planet_sample":
        lines = [f"{n % 2}{n},tag{n % 2} tag\n" for n in range(20)]
        (folder / "p/labels.csv").write_text("image_name,tags\n" + "".join(lines))
    if name == "flowers102":
        for part, rows in {"train": range(8), "valid": range(8, 12), "test": range(12, 20)}.items():
            lines = [f"jpg/{n % 2}{n}.jpg {n % 2}\n" for n in rows]
            (folder / "p" / f"{part}.txt").write_text("".join(lines))


@pytest.mark.parametrize(
    "name",
    ["pets", "planet_sample", "imagenette_160", "imagewoof_160", "flowers102", "eurosat"],
)
def test_each_archive_is_read_by_its_own_rule(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WB_ARCHIVES", str(tmp_path / "archives"))
    config = hydra_app.compose("dataset", [f"dataset={name}", "image_size=8"])
    archive_of(name, tmp_path / "made")
    kind = "zip" if name == "eurosat" else "gztar"
    made = Path(shutil.make_archive(str(tmp_path / "made"), kind, tmp_path / "made"))
    site = tmp_path / "site" / Path(config.dataset.archive.url).name
    site.parent.mkdir()
    made.rename(site)
    monkeypatch.setenv("WB_DATA", str(site.parent))
    config.dataset.archive = {"url": config.dataset.archive.url}
    config.out = str(tmp_path / "out")
    main(config)
    data = open_prepared(tmp_path / "out")
    assert len(data.classes) == (3 if name == "planet_sample" else 2)
    assert len(data.files) == (40 if name.startswith("image") else 20)
    assert len(data.rows("test")) == (8 if name == "flowers102" else 0)
    assert len(data.meta["archive_sha256"]) == 64


def test_every_dataset_is_named_like_its_file_and_read_without_a_fault(root: Path) -> None:
    for path in sorted((root / "conf/dataset").glob("*.yaml")):
        config = hydra_app.compose("dataset", [f"dataset={path.stem}", "image_size=64"])
        assert read_config(config).policy.name == path.stem


def test_a_file_that_cannot_be_read_is_a_fault_like_any_other(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures / "cat/0.jpg").unlink()
    (pictures / "cat/0.jpg").symlink_to(pictures / "cat/1.jpg")
    listed = wanted(pictures, tmp_path / "out")
    monkeypatch.setattr(dataset, "find_images", removing(pictures / "cat/1.jpg"))
    with pytest.raises(PipelineError, match="2 bad files"):
        prepare(listed)


def test_a_folder_that_cannot_be_read_is_one_line(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures / "locked").mkdir()
    scandir = os.scandir

    def forbidden(path: Path) -> Any:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    with pytest.raises(PipelineError, match="locked: Permission denied"):
        prepare(wanted(pictures, tmp_path / "out"))


class removing:
    """`find_images`, after which a file is gone."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __call__(self, recipe: Any, root: Path) -> Any:
        from pipeline.dataset.find_images import find_images

        source = find_images(recipe, root)
        self.file.unlink()
        return source


def test_arrays_of_another_version_or_size_are_told(pictures: Path, tmp_path: Path) -> None:
    data = prepared(pictures, tmp_path / "out")
    with pytest.raises(PipelineError, match=r"no crop array at 8.* image_size=8 'resize=\[squish,"):
        data.array(8, "crop")
    with pytest.raises(PipelineError, match=r"at 16 pixels.*'image_size=\[8,16\]' resize=squish "):
        data.array(16)
    meta = json.loads((tmp_path / "out/meta.json").read_text())
    (tmp_path / "out/meta.json").write_text(json.dumps(meta | {"format": 0}))
    with pytest.raises(PipelineError, match="prepared by another version"):
        open_prepared(tmp_path / "out")


def study_of(folder: Path, image_size: int) -> Path:
    """A study at `image_size`; returns where its dataset `pictures` is prepared."""
    (folder / "params.yaml").write_text(f"image_size: {image_size}\n")
    return folder / "data/datasets/pictures"


def test_what_a_one_off_run_needs_is_prepared_outside_the_study(
    pictures: Path, tmp_path: Path
) -> None:
    """In the study's folder, stage `dataset` would remove it, and all fits would be out of date."""
    data = prepared(pictures, study_of(tmp_path, 8))
    outside = tmp_path / "data/adhoc/pictures"
    then = f" out={outside}`, then repeat your command with `data={outside}`"
    with pytest.raises(PipelineError) as error:
        data.array(16)
    made = "run `python -m pipeline.dataset dataset=pictures image_size=16 resize=squish"
    assert str(error.value).endswith(f"at 16 pixels: {made}{then}")
    prepare(wanted(pictures, outside, image_size=16))
    with pytest.raises(PipelineError) as error:  # keeps what is there
        data.array(24)
    assert str(error.value).endswith(f" 'image_size=[16,24]' resize=squish{then}")
    with pytest.raises(PipelineError) as error:
        data.array(8, "crop")
    recipe = "; for a recipe of the study write `resize: [squish, crop]` into conf/dataset.yaml"
    assert str(error.value).endswith(f"'image_size=[8,16]' 'resize=[squish,crop]'{then}{recipe}")


def test_an_array_of_the_studys_new_size_is_made_as_its_stage_makes_it(
    pictures: Path, tmp_path: Path
) -> None:
    data = prepared(pictures, study_of(tmp_path, 8))
    study_of(tmp_path, 16)
    made = "python -m pipeline.dataset dataset=pictures image_size=16"
    with pytest.raises(PipelineError, match=f"run `{made} out={data.folder}`$"):
        data.array(16)


def test_a_dataset_that_is_not_prepared_is_told_with_a_command_that_can_be_run(
    tmp_path: Path,
) -> None:
    folder = study_of(tmp_path, 8)
    made = "no prepared dataset here: run `python -m pipeline.dataset dataset=pictures image_size"
    with pytest.raises(PipelineError, match=f"{made}=8 out={folder}`$"):
        open_prepared(folder)  # as `export` does, which takes the study's size
    outside = tmp_path / "data/adhoc/pictures"
    then = f" out={outside}`, then repeat your command with `data={outside}`$"
    with pytest.raises(PipelineError, match=f"{made}=16{then}"):
        open_prepared(folder, "pictures", 16)
    elsewhere = tmp_path / "elsewhere"
    with pytest.raises(PipelineError, match=f"{made}=16 out={elsewhere}`$"):
        open_prepared(elsewhere, "pictures", 16)


def sixteen_bits(folder: Path, most: int) -> Path:
    for number in range(20):
        path = folder / ("cat", "dog")[number // 10] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.RandomState(number).randint(0, most + 1, (8, 8)).astype(np.uint16)
        values[0, 0] = most
        Image.fromarray(values).save(path)
    return folder


def test_twelve_bits_in_sixteen_are_refused_and_fourteen_are_told(tmp_path: Path) -> None:
    said = "20 images of 16 bits hold at most 4,095 of 65,535, nearly black: .* pixels by 16, or"
    with pytest.raises(PipelineError, match=said):
        prepare(wanted(sixteen_bits(tmp_path / "dark", 4095), tmp_path / "out"))
    meta = prepare(wanted(sixteen_bits(tmp_path / "dim", 16383), tmp_path / "out"))
    assert meta["notes"] == ["20 images of 16 bits hold at most 16,383 of 65,535, so they are dark"]
    again = prepare(wanted(tmp_path / "dim", tmp_path / "out"))
    assert again["notes"] == meta["notes"]
    assert prepare(wanted(sixteen_bits(tmp_path / "full", 65535), tmp_path / "out"))["notes"] == []


def test_a_source_that_is_gone_leaves_only_what_was_prepared_just_so(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    meta = prepare(wanted(pictures, tmp_path / "out"))
    shutil.rmtree(pictures)
    assert prepare(wanted(pictures, tmp_path / "out")) == meta
    assert "is not there" in capsys.readouterr().out
    for changed in ({"image_size": 16}, {"split_seed": 1}, {"bad": "drop"}):
        with pytest.raises(PipelineError, match=r"is not there, and .* holds nothing"):
            prepare(wanted(pictures, tmp_path / "out", **changed))
