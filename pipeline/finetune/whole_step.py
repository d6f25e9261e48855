"""A step of training or validation as one CUDA graph: read, transform, forward, loss, backward.

fastai's Learner, schedules, callbacks and `fine_tune` are kept; only what happens within a batch is
replaced. The images are kept on the device. A step starts from its row numbers, and everything up
to the gradients is one replay instead of a few hundred calls. The optimizer runs outside the graph,
because its momentum changes at every step and the fused kernel takes it as a Python number.

The first steps of a phase (frozen, unfrozen, validation) run uncaptured. They are real steps, and
they run on the stream that is used for the capture, because a parameter's gradient belongs to the
stream of its first backward pass. If a capture fails, nothing is lost: the step is run uncaptured,
and `mode` gives the reason.
"""

from functools import partial
from typing import Any

import numpy as np
import torch
from fastai.callback.schedule import ParamScheduler
from fastai.vision.all import (
    CancelBackwardException,
    CancelBatchException,
    CancelStepException,
    CastToTensor,
    Learner,
    TensorImage,
)

from pipeline.core.errors import first_line
from pipeline.finetune.loading import ArrayLoader, label_type
from pipeline.finetune.speed import FusedAdamW, LossScaling

OLDEST_TORCH = "2.11"  # oldest version tested; up to 2.8, a failed capture breaks the generator
UNCAPTURED_STEPS = 3  # in each phase, before its graph is captured
FEWEST_BATCHES = 12  # in a pass; with fewer, capturing costs more time than it saves
MOST_OF_FREE_MEMORY = 0.25  # larger sets stay in the host's memory and are copied batch by batch
PIECE_IMAGES = 1024  # copied to the device at a time
WITHIN_A_STEP = {
    "before_batch": (CastToTensor, ParamScheduler),
    "after_pred": (),
    "after_loss": (),
    "before_backward": (LossScaling,),
    "after_backward": (),
}  # fastai's events that run within the step, and the callbacks known to work in a CUDA graph


class WholeStep:
    """Runs a learner's batches as whole steps; `attach` puts it in place of fastai's batch loop.

    `mode` is "captured", "uncaptured" (on a CPU, or with too few batches to save time), or
    "uncaptured: " followed by the reason why capturing failed.
    """

    def __init__(self, learn: Learner) -> None:
        self.learn = learn
        self.device = torch.device(learn.dls.device)
        self.mode = "uncaptured"
        self.captures = self.device.type == "cuda" and torch.__version__ >= OLDEST_TORCH
        if self.device.type == "cuda" and not self.captures:
            self.mode = f"uncaptured: torch is older than {OLDEST_TORCH}"
        self.resident = _resident(learn.dls.train, self.device)
        self._graphs: dict[Any, _Graph] = {}
        self._steps: dict[Any, int] = {}
        if self.captures:
            self._stream = torch.cuda.Stream(self.device)

    def all_batches(self) -> None:
        """fastai's `all_batches`: one pass over `learn.dl`."""
        if not self.captures:
            self._pass()
            return
        outside = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(outside)
        with torch.cuda.stream(self._stream):
            self._pass()
        outside.wait_stream(self._stream)

    def _pass(self) -> None:
        learn = self.learn
        learn.n_iter = len(learn.dl)
        learn.xb, learn.yb = (None,), (None,)  # there is no batch yet at `before_batch`
        phase = self._phase()
        self._drop_graphs(phase)
        rows = rows_of_pass(learn.dl)
        enough = len(rows) // learn.dl.bs >= FEWEST_BATCHES
        on_device = rows.to(self.device) if self.resident else rows
        for number, batch in enumerate(on_device.split(learn.dl.bs)):
            learn.iter = number
            capture = self.captures and enough and len(batch) == learn.dl.bs
            step = partial(self._step, (phase, len(batch)), batch, capture)
            learn._with_events(step, "batch", CancelBatchException)
        learn.dl.after_iter()

    def _phase(self) -> Any:
        """What a graph depends on besides its input: trained parameters and modules' modes."""
        model = self.learn.model
        trained = tuple(each.requires_grad for each in model.parameters())
        return self.learn.training, trained, tuple(each.training for each in model.modules())

    def _drop_graphs(self, phase: Any) -> None:
        """Drop the graphs that will not be replayed, before a pass of `phase`.

        Validation is captured anew in each pass, because a network may cache tensors in eval mode
        until it is next trained. The graph of a training phase is kept until another phase trains,
        which then has its memory.
        """
        training, captured = phase[0], len(self._graphs)
        for old in {key[0] for key in self._steps}:
            if not old[0] or (training and old != phase):
                self._forget(old)
        if training and captured and not self._graphs:
            self.learn.opt.zero_grad()  # the last gradients lie in the graphs' memory
            torch.cuda.empty_cache()

    def _step(self, key: Any, rows: torch.Tensor, capture: bool) -> None:
        learn = self.learn
        inputs = self._inputs(rows)
        graph = self._graphs.get(key)
        if graph is None and capture and self._steps.get(key, 0) >= UNCAPTURED_STEPS:
            graph = self._capture(key, inputs)
        if graph is None:
            self._steps[key] = self._steps.get(key, 0) + 1
            if learn.training:
                learn.opt.zero_grad()  # a graph leaves its gradients behind
            self._compute(inputs)
        else:
            graph.replay(inputs)
        if not learn.training:
            return
        learn._with_events(learn._step, "step", CancelStepException)
        if graph is None:
            learn.opt.zero_grad()  # a graph overwrites its gradients, which stay in one place

    def _capture(self, key: Any, inputs: tuple[torch.Tensor, ...]) -> "_Graph | None":
        """Capture this step, without running it, as a graph; None if that fails."""
        learn = self.learn
        graph = _Graph(learn, inputs)
        if not self._graphs:  # torch refuses a pool all of whose graphs are gone
            self._pool = torch.cuda.graph_pool_handle()
        try:
            with torch.cuda.graph(
                graph.graph,
                pool=self._pool,
                stream=self._stream,
                capture_error_mode="thread_local",
            ):
                self._compute(graph.inputs)
        except Exception as error:  # whatever the error, the step is run uncaptured
            self.captures = False
            self.mode = f"uncaptured: {type(error).__name__}: {first_line(error)}"[:300]
            self._graphs.clear()
            torch.cuda.synchronize(self.device)
            torch.cuda.empty_cache()
            return None
        graph.keep()
        self.mode = "captured"
        self._graphs[key] = graph
        return graph

    def _forget(self, phase: Any) -> None:
        for key in [each for each in self._graphs if each[0] == phase]:
            del self._graphs[key]
        for key in [each for each in self._steps if each[0] == phase]:
            del self._steps[key]

    def _inputs(self, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The input of a step: row numbers if images are on the device, else pixels and labels."""
        if self.resident is not None:
            return (rows,)
        pixels, labels = self.learn.dl.create_batch(rows.tolist())
        return pixels.to(self.device), labels.to(self.device)

    def _compute(self, inputs: tuple[torch.Tensor, ...]) -> None:
        """Do what fastai does with a batch, from the loader's transforms to the gradients."""
        learn = self.learn
        if self.resident is not None:
            inputs = tuple(each.index_select(0, inputs[0]) for each in self.resident)
        pixels, labels = inputs
        named = label_type(labels)(labels)
        learn._split(learn.dl.after_batch((TensorImage(pixels), named)))
        learn.xb, learn.yb = (
            tuple(each.as_subclass(torch.Tensor) for each in part) for part in (learn.xb, learn.yb)
        )
        learn.pred = learn.model(*learn.xb)
        learn("after_pred")
        learn.loss_grad = learn.loss_func(learn.pred, *learn.yb)
        learn.loss = learn.loss_grad.clone()
        learn("after_loss")
        if learn.training:
            learn._with_events(learn._backward, "backward", CancelBackwardException)


class _Graph:
    """A captured step: its input tensors, and the attributes that it sets on the learner."""

    LEFT = ("xb", "yb", "pred", "loss_grad", "loss")

    def __init__(self, learn: Learner, inputs: tuple[torch.Tensor, ...]) -> None:
        self.learn, self.graph = learn, torch.cuda.CUDAGraph()
        self.inputs = tuple(each.as_subclass(torch.Tensor).clone() for each in inputs)

    def keep(self) -> None:
        self._left = {name: getattr(self.learn, name) for name in self.LEFT}

    def replay(self, inputs: tuple[torch.Tensor, ...]) -> None:
        for static, given in zip(self.inputs, inputs, strict=True):
            static.copy_(given)
        self.graph.replay()
        for name, value in self._left.items():
            setattr(self.learn, name, value)


def attach(learn: Learner) -> str:
    """Let `learn` run whole steps. Returns "", or the reason if it cannot.

    On a CPU, the steps run uncaptured and give the same bits as fastai's loop.
    """
    if not isinstance(learn.dls.train, ArrayLoader):
        return "images are read one by one"
    if not isinstance(learn.opt_func, type) or not issubclass(learn.opt_func, FusedAdamW):
        return "the optimizer is fastai's own, which adds to gradients"
    for event, known in WITHIN_A_STEP.items():
        for callback in learn.cbs:
            has_it = event in dir(type(callback)) or event in vars(callback)
            if has_it and not isinstance(callback, known):
                return f"{type(callback).__name__} acts within the step"
    learn.whole_step = WholeStep(learn)
    learn.all_batches = learn.whole_step.all_batches
    return ""


def rows_of_pass(loader: ArrayLoader) -> torch.Tensor:
    """The rows that one pass of `loader` reads, in its order, int64 [rows].

    It draws the same random numbers as fastai's own iteration, including the seed that torch draws
    for worker processes, although there are none.
    """
    loader.randomize()
    loader.before_iter()
    places = loader.get_idxs()
    torch.empty((), dtype=torch.int64).random_()
    rows = torch.as_tensor([loader.dataset[place] for place in places], dtype=torch.int64)
    return rows[: len(loader) * loader.bs]


def _resident(loader: ArrayLoader, device: torch.device) -> tuple[torch.Tensor, ...] | None:
    """Images, uint8 [images, 3, height, width], and labels, copied to the device.

    None if the images take too much of its free memory, or are random crops.
    """
    images = loader.images
    if not isinstance(images, np.ndarray):
        return None  # crops are drawn anew for every batch
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if images.nbytes > MOST_OF_FREE_MEMORY * free:
            return None
    return _on(device, images), _on(device, loader.labels)


def _on(device: torch.device, array: np.ndarray) -> torch.Tensor:
    """Copy an array to the device; a memory-mapped one is read piece by piece."""
    whole = torch.empty(array.shape, dtype=torch.from_numpy(array[:0].copy()).dtype, device=device)
    for start in range(0, len(array), PIECE_IMAGES):
        piece = array[start : start + PIECE_IMAGES].copy()
        whole[start : start + len(piece)] = torch.from_numpy(piece)
    return whole
