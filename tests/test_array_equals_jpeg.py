"""A fine-tune from a prepared array is the fine-tune from the image files, bit for bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.vision.all import (
    DataLoaders,
    Datasets,
    IntToFloatTensor,
    PILImage,
    RandomSplitter,
    Resize,
    TensorCategory,
    TensorImage,
    TensorMultiCategory,
    ToTensor,
)
from torchvision.transforms import v2

from pipeline.configuration import hydra_app
from pipeline.dataset.__main__ import prepare
from pipeline.dataset.checks import read_config
from pipeline.dataset.find_images import find_images
from pipeline.dataset.prepared import Crops, Prepared, open_prepared
from pipeline.dataset.splits import Split, split_images
from pipeline.finetune import training
from pipeline.finetune.callbacks import Epochs
from pipeline.finetune.recipe import Recipe
from pipeline.finetune.speed import Speed
from pipeline.finetune.weights import Weights
from pipeline.hardware.telemetry import Watch

SIZE = 64
DATASETS = {"pets": "oxford_pets_370", "planet_sample": "planet_sample"}


def source_of(name: str, shared: Path) -> Path:
    return shared / "datasets" / DATASETS[name]


@pytest.fixture(scope="module", params=DATASETS)
def data(
    request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Prepared:
    """Pets (RGB, many shapes) and Planet (CMYK), prepared."""
    config = hydra_app.compose("dataset", [f"dataset={request.param}", f"image_size={SIZE}"])
    config.dataset.source = str(source_of(request.param, shared))
    config.out, config.resize = str(tmp_path_factory.mktemp("data") / "out"), ["squish", "crop"]
    wanted = read_config(config)
    prepare(wanted)
    return open_prepared(wanted.out)


def test_every_pixel_is_what_fastais_item_transforms_give(data: Prepared, shared: Path) -> None:
    resize, root = Resize(SIZE, method="squish"), source_of(data.name, shared)
    images = data.array(SIZE)
    for row in range(0, len(data.files), 5):
        tensor = ToTensor()(resize(PILImage.create(root / data.files[row])))
        assert np.array_equal(images[row], tensor.numpy()), data.files[row]


def test_a_crop_is_what_torchvisions_resize_and_crop_give(data: Prepared, shared: Path) -> None:
    transform = v2.Compose([v2.Resize(SIZE, v2.InterpolationMode.BILINEAR), v2.PILToTensor()])
    crops, root = data.array(SIZE, "crop"), source_of(data.name, shared)
    assert isinstance(crops, Crops)
    for row in range(0, len(data.files), 10):
        whole = transform(PILImage.create(root / data.files[row])).numpy()
        height, width = whole.shape[1:]
        top, left = int(0.3 * (height - SIZE)), int(0.3 * (width - SIZE))
        expected = whole[:, top : top + SIZE, left : left + SIZE]
        assert np.array_equal(crops.square(row, 0.3), expected), data.files[row]


RECIPE = Recipe("tiny", 1, 1, 0.01, 100, 16, "concat", "squish", "fp32")


def test_weights_and_metrics_are_bit_identical(
    data: Prepared, shared: Path, tmp_path: Path
) -> None:
    few = shortened(data, tmp_path / "few")
    root = source_of(data.name, shared)
    torch.set_num_threads(1)
    first, second = (
        fitted(few, lambda: training.loaders(few, RECIPE, SIZE, torch.device("cpu"), Speed(), 1)),
        fitted(few, lambda: image_loaders(few, root)),
    )
    assert first["metrics"] == second["metrics"]
    assert first["weights"].keys() == second["weights"].keys()
    for name, tensor in first["weights"].items():
        assert torch.equal(tensor, second["weights"][name]), name


def shortened(data: Prepared, folder: Path) -> Prepared:
    """The same dataset with 48 images to learn from and 16 to compare on."""
    rows = np.sort(np.concatenate([data.rows("train")[:48], data.rows("valid")[:16]]))
    folder.mkdir()
    pd.read_csv(data.folder / "index.csv").iloc[rows].to_csv(folder / "index.csv", index=False)
    np.save(folder / f"squish-{SIZE}.npy", data.array(SIZE)[rows])
    (folder / "meta.json").write_text((data.folder / "meta.json").read_text())
    return open_prepared(folder)


def image_loaders(data: Prepared, root: Path) -> DataLoaders:
    """The usual fastai loaders, which decode and resize each file every time."""
    kind = TensorCategory if data.kind == "single" else TensorMultiCategory
    datasets = Datasets(
        range(len(data.files)),
        tfms=[
            [lambda row: PILImage.create(root / data.files[row])],
            [lambda row: kind(torch.from_numpy(np.asarray(data.labels[row])))],
        ],
        splits=(data.rows("train").tolist(), data.rows("valid").tolist()),
    )
    return datasets.dataloaders(
        bs=RECIPE.batch_size,
        after_item=[Resize(SIZE, method="squish"), ToTensor()],
        after_batch=[IntToFloatTensor()],
        num_workers=0,
        device=torch.device("cpu"),
    )


def fitted(data: Prepared, loaders: Any) -> dict[str, Any]:
    """Metrics and weights of a small model after two epochs."""
    training.seed_everything(0)
    dls = loaders()
    training.seed_everything(0)
    learn = training.learner(dls, data, RECIPE, "test_resnet.r160_in1k", random_weights(), Speed())
    outcome = training.fit(learn, RECIPE, Epochs(), Watch(torch.device("cpu")))
    assert isinstance(dls.one_batch()[0], TensorImage)
    weights = {name: tensor.clone() for name, tensor in learn.model.state_dict().items()}
    return {"metrics": outcome.metrics, "weights": weights}


def random_weights() -> Weights:
    """A state of timm's smallest ResNet in place of a download."""
    import timm

    torch.manual_seed(0)
    state = timm.create_model("test_resnet", pretrained=False).state_dict()
    return Weights("folder", "random", Path("random"), "0" * 64, {"state_dict": state})


def test_the_split_of_2022_is_fastais_random_splitter(shared: Path) -> None:
    """Planet to the image: fastai splits the rows of labels.csv, and so does `fastai2022`."""
    config = hydra_app.compose("dataset", ["dataset=planet_sample", "image_size=64"])
    config.dataset.source = str(source_of("planet_sample", shared))
    wanted = read_config(config)
    images = find_images(wanted.images, wanted.source).images
    parts = split_images(images, Split("fastai2022", 0.2, 0.0, 42))
    train, valid = RandomSplitter(valid_pct=0.2, seed=42)(images)
    assert {row for row, part in enumerate(parts) if part == "valid"} == set(valid)
    assert {row for row, part in enumerate(parts) if part == "train"} == set(train)
    first = pd.read_csv(source_of("planet_sample", shared) / "labels.csv")["image_name"][0]
    assert images[0].file == f"train/{first}.jpg"
