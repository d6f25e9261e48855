"""The 93 models of the 2022 study build, train and give as many answers as there are classes."""

import pytest
import torch
from fastai.vision.learner import create_timm_model, default_split

from benchmarks.models_2022 import loss_of_a_step, models_of_2022
from pipeline.names.vision_learner import NEEDS_OVERLAY, fit_of

CLASSES = 37


@pytest.mark.slow
def test_every_model_takes_a_step_at_224_pixels_in_shapes() -> None:
    """On torch's meta device every operation of a step runs, on shapes alone."""
    models = models_of_2022()
    assert len(set(models)) == 93
    for model in models:
        overlay = {"pool_size": None} if fit_of(model) is NEEDS_OVERLAY else {}
        with torch.device("meta"):
            net, _config = create_timm_model(
                model, CLASSES, default_split, False, pretrained_cfg_overlay=overlay
            )
            answers = net(torch.empty(2, 3, 224, 224))
            answers.sum().backward()
        assert answers.shape == (2, CLASSES), model
        first, head = next(net.parameters()), list(net[-1].parameters())
        assert all(param.grad is not None for param in (first, *head)), model


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        "swin_tiny_patch4_window7_224.ms_in1k",
        "levit_128s.fb_dist_in1k",
        "vit_tiny_patch16_224.augreg_in21k_ft_in1k",
    ],
)
def test_a_model_that_pools_itself_takes_a_real_step(model: str) -> None:
    torch.set_num_threads(1)
    assert 0 < loss_of_a_step(model) < 10
