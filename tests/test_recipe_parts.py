"""What a recipe may add: each part does what its name says, exactly by seed."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fastai.vision.all import TensorCategory, TensorImage, vision_learner
from omegaconf import DictConfig, OmegaConf
from tiny_runs import CPU, MODEL, OFF, fitted, run_on, same_bits, write_squares

from pipeline.core.errors import PipelineError
from pipeline.finetune import training
from pipeline.finetune.__main__ import adjustments, describe_fit
from pipeline.finetune.callbacks import Epochs
from pipeline.finetune.frozen import frozen_features, linear_probe
from pipeline.finetune.loading import loaders
from pipeline.finetune.parts import AveragedWeights, FlipsAndShifts, loss_function
from pipeline.finetune.recipe import Recipe, fit_settings, fitted_to, recipe_of
from pipeline.finetune.speed import Speed
from pipeline.hardware.telemetry import Watch
from pipeline.sweep.session import refuse_broken_recipes

ROOT = Path(__file__).parent.parent
LP_FT: dict[str, Any] = {
    **{"features": "timm", "head": "linear", "head_start": "probe", "schedule": "one_cycle"},
    **{"frozen_epochs": 0, "batch_norm": "eval", "augment": "flips_shifts"},
    **{"weight_average": 0.9, "lr": 3e-4, "lr_mult": 3.0},
}
CONVOLUTIONS_AND_TRANSFORMERS = (
    *("resnet18.a1_in1k", "vit_tiny_patch16_224.augreg_in21k", "convnext_atto.d2_in1k"),
    *("swin_tiny_patch4_window7_224.ms_in1k", "levit_128s.fb_dist_in1k"),
)


@pytest.fixture
def squares(tmp_path: Path) -> Path:
    return write_squares(tmp_path / "squares")


@pytest.mark.parametrize("model", [MODEL, "test_vit.r160_in1k"])
@pytest.mark.parametrize("pool", ["concat", "average"])
def test_fastais_features_and_head_are_vision_learners_to_the_bit(
    squares: Path, model: str, pool: str
) -> None:
    size = 160 if "vit" in model else 32  # which vision_learner does not tell timm
    resized(squares, size)
    run = replace(run_on(squares, OFF, model=model, pool=pool), image_size=size)
    ours = training.seeded_learner(run)
    training.seed_everything(run.seed)
    dls = loaders(run.data, run.recipe, size, CPU, OFF, 1)
    training.seed_everything(run.seed)
    theirs = vision_learner(
        dls,
        model,
        n_out=3,
        loss_func=torch.nn.functional.cross_entropy,
        concat_pool=pool == "concat",
        pretrained_cfg_overlay=run.weights.overlay,
    )
    assert str(ours.model) == str(theirs.model)
    assert same_bits(ours.model.state_dict(), theirs.model.state_dict())
    assert ours.opt.frozen_idx == theirs.opt.frozen_idx == 1
    ours_sizes, theirs_sizes = (
        [len(group) for group in each.opt.param_lists] for each in (ours, theirs)
    )
    assert ours_sizes == theirs_sizes
    names = [str(each) for each in ours.dls.train.after_batch.fs]
    assert names == [str(each) for each in theirs.dls.train.after_batch.fs]


@pytest.mark.parametrize("speed", [OFF, Speed()])
def test_a_recipe_of_all_parts_is_exact_by_seed(squares: Path, speed: Speed) -> None:
    first, second, other = (fitted(run_on(squares, speed, seed, **LP_FT)) for seed in (0, 0, 1))
    assert same_bits(first[1], second[1])
    assert first[0].metrics == second[0].metrics
    assert not same_bits(first[1], other[1])


def test_a_head_from_the_probe_starts_with_the_probes_answers(squares: Path) -> None:
    run = run_on(squares, OFF, **LP_FT, epochs=1)
    learn = training.seeded_learner(run)
    found: dict[str, torch.Tensor] = {}

    class Start(training.Callback):  # type: ignore[misc]
        def before_train(self) -> None:
            found["weight"] = self.learn.model[-1][-1].weight.detach().clone()

    learn.add_cb(Start())
    training.fit(learn, run.recipe, Epochs(), Watch(CPU))
    features, _ = frozen_features(run)
    data, train = run.data, run.data.rows("train")
    probe = linear_probe(
        features[train], data.labels[train], "single", np.arange(len(train)), len(data.classes)
    )
    assert np.allclose(found["weight"].numpy(), probe.weight, rtol=0.05, atol=0.05)


def test_batch_norm_in_eval_keeps_the_statistics_and_trains_the_scales(squares: Path) -> None:
    run = run_on(squares, OFF, batch_norm="eval", lr_mult=1.0)
    before = {k: v.clone() for k, v in training.seeded_learner(run).model[0].state_dict().items()}
    after = {
        name.removeprefix("0."): value
        for name, value in fitted(run)[1].items()
        if name.startswith("0.")
    }
    means = [name for name in before if "running_mean" in name]
    scales = [name.replace("running_mean", "weight") for name in means]
    assert means
    assert all(torch.equal(before[name], after[name]) for name in means)
    assert not any(torch.equal(before[name], after[name]) for name in scales)


def test_the_average_of_the_weights_is_validated_and_left(squares: Path) -> None:
    run = run_on(squares, OFF, weight_average=0.9)
    learn = training.seeded_learner(run)
    outcome = training.fit(learn, run.recipe, Epochs(), Watch(CPU))
    with learn.no_bar(), learn.no_logging():
        again = learn.validate()
    assert again[0] == pytest.approx(outcome.metrics["valid_loss"])
    assert not same_bits(learn.model.state_dict(), fitted(run_on(squares, OFF))[1])


def test_a_long_average_of_few_steps_is_their_mean() -> None:
    part = AveragedWeights(0.99)
    part.learn = type("Learn", (), {"model": torch.nn.Linear(1, 1, bias=False), "training": True})()
    weight = part.learn.model.weight
    torch.nn.init.constant_(weight, 0.0)
    part.before_fit()
    for value in (1.0, 2.0, 3.0):
        torch.nn.init.constant_(weight, value)
        part.after_step()
    assert float(part.average[0]) == pytest.approx(1.5)


def test_steps_are_averaged_and_not_the_parts_of_their_batches(squares: Path) -> None:
    run = run_on(squares, Speed(), batch_norm="eval", head="linear", weight_average=0.9)
    steps = []
    for parts in (1, 4):
        learn = training.seeded_learner(run, parts)
        training.fit(learn, run.recipe, Epochs(), Watch(CPU))
        steps.append(next(each for each in learn.cbs if isinstance(each, AveragedWeights)).steps)
    assert steps[0] == steps[1] > 0


def test_flips_and_shifts_move_whole_pixels_and_mirror_the_border() -> None:
    torch.manual_seed(0)
    image = torch.arange(3 * 20 * 20).view(1, 3, 20, 20).expand(200, -1, -1, -1)
    moved = torch.Tensor(FlipsAndShifts().encodes(TensorImage(image.to(torch.int32))))
    rows = (moved[:, 0, 10, 10].long() // 20 - 10).tolist()
    assert set(rows) == {-2, -1, 0, 1, 2}
    flipped = moved[:, 0, 0, 0] > moved[:, 0, 0, 1]
    middle_flipped = moved[:, 0, 10, 10] > moved[:, 0, 10, 11]
    assert 60 < int(middle_flipped.sum()) < 140
    assert flipped.ndim == 1
    for channel in range(3):
        inside = moved[:, channel, 5:15, 5:15] - moved[:, channel, 5:6, 5:6]
        step = torch.where(middle_flipped, -1, 1)[:, None]
        assert torch.equal(inside[:, 0].long(), step * torch.arange(10))
    assert moved.min() >= 0
    assert moved.max() < 3 * 400


def test_only_training_batches_are_augmented(squares: Path) -> None:
    run = run_on(squares, Speed(), augment="flips_shifts")
    dls = training.seeded_learner(run).dls
    names = [[type(each).__name__ for each in dl.after_batch.fs] for dl in dls.loaders]
    assert names[0][0] == "FlipsAndShifts"
    assert all("FlipsAndShifts" not in each for each in names[1:])
    images, _ = dls.train.one_batch()
    assert images.shape[1:] == (3, 32, 32)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_smoothed_labels_count_in_training_alone(kind: str) -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 0])
    if kind == "multi":
        labels = torch.eye(3)[labels]
    smooth, plain = loss_function(kind, 0.1), loss_function(kind, 0.0)
    kept = TensorCategory(labels) if kind == "single" else labels
    assert float(smooth(logits, kept)) != float(plain(logits, kept))
    with torch.no_grad():
        assert float(smooth(logits, kept)) == float(plain(logits, kept))


@pytest.mark.slow
@pytest.mark.parametrize("model", CONVOLUTIONS_AND_TRANSFORMERS)
def test_all_parts_work_for_convolutions_and_transformers(tmp_path: Path, model: str) -> None:
    folder = resized(write_squares(tmp_path / "squares", 16, 8), 224)
    run = run_on(folder, Speed(), model=model, **LP_FT, batch_size=8)
    run = training.Run(**{**vars(run), "image_size": 224})
    learn, unused = training.seeded_learner(run), set()

    class Unused(training.Callback):  # type: ignore[misc]
        def after_backward(self) -> None:
            named = self.learn.model.named_parameters()
            unused.update(name for name, each in named if each.grad is None)

    learn.add_cb(Unused())
    outcome = training.fit(learn, run.recipe, Epochs(), Watch(CPU))
    assert np.isfinite(outcome.metrics["valid_loss"])
    assert unused == set(), "all that was pretrained learns"


def resized(folder: Path, size: int) -> Path:
    """The squares, blown up."""
    squares = np.load(folder / "squish-32.npy")
    big = squares.repeat(size // 32, axis=2).repeat(size // 32, axis=3)
    np.save(folder / f"squish-{size}.npy", big)
    return folder


def test_a_batch_is_never_larger_than_the_training_part_and_steps_have_a_floor() -> None:
    recipe = Recipe("r", 5, 0, 0.1, 10, 32, "concat", "squish", "fp32", least_steps=100)
    assert fitted_to(recipe, 3200) == recipe
    small = fitted_to(recipe, 20)
    assert (small.batch_size, small.epochs) == (20, 100)
    assert adjustments(recipe, small) == (
        "batch size 20 instead of 32: there are no more training images; "
        "100 epochs instead of 5: at least 100 steps"
    )
    assert describe_fit(small, 20) == {"batch_size": 20, "epochs": 100, "steps": 100}
    assert adjustments(recipe, fitted_to(recipe, 3200)) == ""
    with pytest.raises(PipelineError, match="1 training images: a fine-tune needs at least two"):
        fitted_to(recipe, 1)


def test_a_key_that_a_recipe_leaves_out_is_what_fits_did_before_there_was_the_key() -> None:
    """Changed, one of these would change what older records say of themselves."""
    assert fit_settings({"name": "mine", "rate_of": "yours"}) == {
        "oom": "record",
        "features": "fastai",
        "head": "fastai",
        "head_start": "random",
        "schedule": "fine_tune",
        "least_steps": 0,
        "batch_norm": "train",
        "augment": "none",
        "label_smoothing": 0.0,
        "weight_average": 0.0,
    }
    assert fit_settings({"epochs": 3, "head": "linear"})["head"] == "linear"
    assert str(fit_settings({"lr_mult": 100})["lr_mult"]) == "100.0"


def config_of(**values: Any) -> DictConfig:
    whole = OmegaConf.load(ROOT / "conf/recipe/lp_ft.yaml")
    assert isinstance(whole, DictConfig)
    return OmegaConf.merge(whole, values)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"head": "fastai"}, "recipe.head_start=probe: a probe is linear: write head: linear"),
        ({"frozen_epochs": 1}, "recipe.frozen_epochs=1: one_cycle freezes nothing: write 0"),
        ({"weight_average": 1.0}, "recipe.weight_average=1.0: write a number from 0 to below 1"),
        ({"label_smoothing": -0.1}, "recipe.label_smoothing=-0.1: write a number from 0"),
        ({"least_steps": -1}, "recipe.least_steps=-1: write 0 or more"),
        ({"features": "tim"}, "recipe.features=tim: did you mean timm"),
        ({"augment": "flips"}, "recipe.augment=flips: did you mean flips_shifts"),
        ({"batch_norm": "evil"}, "recipe.batch_norm=evil: did you mean eval"),
    ],
)
def test_choices_that_make_no_recipe_are_one_clear_line(values: dict[str, Any], line: str) -> None:
    with pytest.raises(PipelineError) as caught:
        recipe_of(config_of(**values))
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("\nlr: 0.001 #", "\n#", "recipe: missing lr: see the others in conf/recipe"),
        ("name: quickstart", "#", "recipe: missing name: see the others in conf/recipe"),
        ("lr: 0.001 #", "lr: -1.0 #", "recipe.lr=-1.0: write a number above 0"),
    ],
)
def test_a_broken_recipe_gives_the_same_line_in_a_fit_and_in_a_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, line: str
) -> None:
    folder = tmp_path / "conf" / "recipe"
    folder.mkdir(parents=True)
    (folder / "a_draft.yaml").write_text("lr: [")
    text = (ROOT / "conf/recipe/quickstart.yaml").read_text()
    assert text.count(old) == 1
    broken = folder / "quickstart.yaml"
    broken.write_text(text.replace(old, new))
    monkeypatch.setattr("pipeline.finetune.recipe.FOLDER", folder)
    study: Any = SimpleNamespace(path=tmp_path / "params.yaml", recipes=["quickstart"], raced=[])
    config = OmegaConf.load(broken)
    assert isinstance(config, DictConfig)
    for refuse in (lambda: recipe_of(config), lambda: refuse_broken_recipes(study)):
        with pytest.raises(PipelineError) as caught:
            refuse()
        assert str(caught.value) == f"{broken}: {line}"


def test_a_key_that_the_command_line_changed_is_not_blamed_on_the_file() -> None:
    config = OmegaConf.merge(OmegaConf.load(ROOT / "conf/recipe/quickstart.yaml"), {"lr": -1.0})
    assert isinstance(config, DictConfig)
    with pytest.raises(PipelineError, match=r"^recipe\.lr=-1\.0: write a number above 0$"):
        recipe_of(config)


@pytest.mark.parametrize("name", ["fastai2022", "avg_pool"])
def test_the_recipes_of_2022_use_none_of_the_parts(name: str) -> None:
    config = OmegaConf.load(ROOT / f"conf/recipe/{name}.yaml")
    assert isinstance(config, DictConfig)
    recipe = recipe_of(config)
    plain = Recipe(name, 5, 1, 0.008, 100, 32, recipe.pool, "squish", "fp16")
    assert recipe == plain
