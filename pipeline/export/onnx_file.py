"""The ONNX file: pixels to logits, with any number of images; not every family can be exported."""

import io
import logging
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch.export import Dim

from pipeline.predict.exported import Net

NEEDS = ("onnx", "onnxscript", "onnxruntime")
INPUT, OUTPUT = "images", "logits"


def missing_packages() -> list[str]:
    """What the ONNX file needs and is not installed."""
    return [name for name in NEEDS if find_spec(name) is None]


def write_onnx(net: Net, image_size: int, path: Path) -> str | None:
    """Write `path`; returns why not, in one line, where the model's family cannot be exported."""
    if lacking := missing_packages():
        return f"{', '.join(lacking)} not installed: pip install 'which-backbone[export]'"
    example = torch.zeros(2, 3, image_size, image_size)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                net,
                (example,),
                str(path),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes={INPUT: {0: Dim("batch")}},
                dynamo=True,
                external_data=False,
            )
    except Exception as error:  # torch's exporter raises nearly anything on an unknown operation
        path.unlink(missing_ok=True)
        first = next((line for line in str(error).splitlines() if line.strip()), "")
        return f"torch {torch.__version__} cannot export it ({type(error).__name__}: {first[:120]})"
    return None


def onnx_logits(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """A function from preprocessed images, float32 [images, 3, size, size], to logits."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def logits(images: np.ndarray) -> np.ndarray:
        made: np.ndarray = session.run([OUTPUT], {INPUT: images})[0]
        return made

    return logits
