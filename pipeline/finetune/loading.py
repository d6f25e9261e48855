"""fastai data loaders over a prepared array, without worker processes.

They yield the same batches, in the same order and with the same batch transforms, as fastai's own.
The arrays hold the output of fastai's item transforms, so a batch is a single read. On CUDA, it is
read into pinned memory and copied to the device while the device is still computing.
"""

from functools import partial
from typing import Any

import numpy as np
import torch
from fastai.vision.all import (
    DataLoaders,
    IntToFloatTensor,
    TensorCategory,
    TensorImage,
    TensorMultiCategory,
    TfmdDL,
)

from pipeline.dataset.prepared import Prepared
from pipeline.finetune.parts import FlipsAndShifts
from pipeline.finetune.recipe import Recipe
from pipeline.finetune.speed import Speed

pinned = partial(torch.empty, pin_memory=True)  # torch reuses a block once its copy has finished


class ItemLoader(TfmdDL):
    """Loads rows of a uint8 array one by one and collates them, as fastai does."""

    def __init__(self, dataset: Any, images: Any = None, labels: Any = None, **kwargs: Any) -> None:
        self.images, self.labels = images, labels
        super().__init__(dataset, **kwargs)

    def create_item(self, place: int | None) -> tuple[TensorImage, torch.Tensor]:
        row = self.dataset[place or 0]
        pixels, label = self.images[[row]][0], torch.as_tensor(self.labels[row])
        return TensorImage(torch.from_numpy(pixels)), label_type(self.labels)(label)


class ArrayLoader(TfmdDL):
    """The same batches, each in a single read; with `pin`, through pinned memory.

    With gradient accumulation, `step_size` is the number of images per optimizer step. Images
    beyond the last full step are dropped, as they are without gradient accumulation.
    """

    def __init__(
        self,
        dataset: Any,
        images: Any = None,
        labels: Any = None,
        pin: bool = False,
        step_size: int = 1,
        **kwargs: Any,
    ) -> None:
        self.images, self.labels, self.pin, self.step_size = images, labels, pin, step_size
        super().__init__(dataset, **kwargs)

    def __len__(self) -> int:
        return -(-(self.n - self.n % self.step_size) // self.bs)

    def get_idxs(self) -> list[int]:
        places: list[int] = super().get_idxs()
        return places[: len(places) - len(places) % self.step_size]

    def create_batch(self, rows: list[int]) -> tuple[TensorImage, torch.Tensor]:
        where = np.asarray(rows)
        pixels, labels = self._read(self.images, where), self._read(self.labels, where)
        return TensorImage(pixels), label_type(self.labels)(labels)

    def retain(self, batch: Any, _items: Any) -> Any:
        return batch

    def _read(self, source: Any, where: np.ndarray) -> torch.Tensor:
        """These rows of `source`; with `pin`, being copied to the loader's device."""
        if not self.pin:
            return torch.from_numpy(source[where])
        if isinstance(source, np.ndarray):
            kind = torch.from_numpy(np.empty(0, source.dtype)).dtype
            batch = pinned((len(where), *source.shape[1:]), dtype=kind)
            np.take(source, where, axis=0, out=batch.numpy(), mode="clip")  # other modes buffer
        else:
            batch = torch.from_numpy(source[where]).pin_memory()
        return batch.to(self.device, non_blocking=True)


def loaders(
    data: Prepared,
    recipe: Recipe,
    image_size: int,
    device: torch.device,
    speed: Speed,
    parts: int,
) -> DataLoaders:
    """fastai data loaders over the prepared array; call `seed_everything` just before.

    The batch of each step is split into `parts` micro-batches, for gradient accumulation.
    """
    source: dict[str, Any] = {
        "images": data.array(image_size, recipe.resize),
        "labels": data.labels,
    }
    kind, step = ItemLoader, {}
    if speed.whole_batches or parts > 1:
        kind, step = ArrayLoader, {"step_size": recipe.batch_size}
        source["pin"] = speed.pinned_copies and device.type == "cuda"
    train = kind(
        data.rows("train").tolist(),
        **source,
        **step,
        bs=recipe.batch_size // parts,
        shuffle=True,
        drop_last=True,
        num_workers=0,
        device=device,
        after_batch=[IntToFloatTensor()],
    )
    rest = [
        train.new(data.rows(part).tolist(), **source, shuffle=False, drop_last=False)
        for part in ("valid", "test")
        if len(data.rows(part))
    ]
    if recipe.augment == "flips_shifts":
        train.after_batch.add(FlipsAndShifts())
    return DataLoaders(train, *rest, device=device)


def label_type(labels: np.ndarray | torch.Tensor) -> type[torch.Tensor]:
    """fastai's type for labels [images] or [images, classes]."""
    return TensorCategory if labels.ndim == 1 else TensorMultiCategory
