"""One real training step of each model of the 2022 study, with random weights, on a CPU.

    python -m benchmarks.models_2022 [MODEL ...] [--batch 2] [--image-size 224]

Each gets a fresh process. The loss must be a number and the weights must have moved.
"""

import argparse
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import timm
import torch
import yaml
from fastai.vision.all import DataLoaders, IntToFloatTensor, TensorCategory, TensorImage, TfmdDL

from pipeline.dataset.prepared import Prepared
from pipeline.finetune import training
from pipeline.finetune.recipe import Recipe
from pipeline.finetune.speed import Speed
from pipeline.finetune.weights import Weights
from pipeline.hardware import machine

STUDY = Path(__file__).parent.parent / "studies/fastai2022.yaml"
RECIPE = Recipe("step", 1, 1, 0.001, 1, 2, "concat", "squish", "fp32")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", default=models_of_2022())
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--image-size", type=int, default=224)
    given = parser.parse_args()
    failed = 0
    for model in given.models:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            line, fine = pool.submit(outcome_of, model, given.batch, given.image_size).result()
        failed += not fine
        print(f"{model}  {line}", flush=True)
    print(f"{len(given.models) - failed} of {len(given.models)} models took a step")


def models_of_2022() -> list[str]:
    study = yaml.safe_load(STUDY.read_text(encoding="utf-8"))
    return [str(model) for model in study["grid"]["models"]]


def outcome_of(model: str, batch: int, image_size: int) -> tuple[str, bool]:
    torch.set_num_threads(1)
    began = time.process_time()
    try:
        loss = loss_of_a_step(model, batch, image_size)
    except Exception as error:  # of any kind: the next model is to be tried as well
        return f"{type(error).__name__}: {str(error).splitlines()[0]}", False
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    seconds = time.process_time() - began
    return f"loss {loss:.3f}  {seconds:.1f} CPU s  {peak:.1f} GiB", True


def loss_of_a_step(model: str, batch: int = 2, image_size: int = 224) -> float:
    """The training loss of one step of everything unfrozen."""
    learn = learner_on_noise(model, batch, image_size)
    before = [param.detach().clone() for param in learn.model[-1].parameters()]
    learn.unfreeze()
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 1e-3)
    assert all(param.requires_grad for param in learn.model.parameters())
    moved = zip(before, learn.model[-1].parameters(), strict=True)
    assert all(not torch.equal(old, new) for old, new in moved), "weights of the head stood still"
    loss = float(learn.recorder.values[-1][0])
    assert np.isfinite(loss), f"loss is {loss}"
    return loss


def learner_on_noise(model: str, batch: int, image_size: int) -> training.Learner:
    """The pipeline's learner on one batch of noise, of two classes."""
    torch.manual_seed(0)
    noise = torch.randint(0, 256, (batch, 3, image_size, image_size), dtype=torch.uint8)
    items = [(TensorImage(image), TensorCategory(n % 2)) for n, image in enumerate(noise)]
    loaders = [
        TfmdDL(items, bs=batch, num_workers=0, after_batch=[IntToFloatTensor()]) for _ in range(2)
    ]
    state = timm.create_model(model.partition(".")[0]).state_dict()
    weights = Weights("folder", "random", Path("random"), "0" * 64, {"state_dict": state})
    labels, parts = np.arange(batch) % 2, np.full(batch, "train")
    data = Prepared(Path(), "noise", "single", ["a", "b"], [], labels, parts, {})
    dls = DataLoaders(*loaders, device=machine.choose_device("cpu"))
    return training.learner(dls, data, RECIPE, model, weights, Speed(), image_size)


if __name__ == "__main__":
    main()
