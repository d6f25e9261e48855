"""The parts of `benchmarks/finetune_speed.py` that must be right for its numbers to be."""

from pathlib import Path

import pytest
import torch
from tiny_runs import CPU, OFF, run_on, write_squares

from benchmarks.floor import ADAM_PASSES, Rates, Work, floor_seconds, rates_of, work_of_a_step
from benchmarks.phases import PHASES, PhaseClock, watch_phases
from pipeline.finetune import training


def test_the_time_between_two_switches_belongs_to_one_phase() -> None:
    times = iter([0.0, 1.0, 3.0, 6.0])
    clock = PhaseClock(lambda: next(times))
    assert [clock.switch(phase) for phase in ("data", "forward", "other")] == [
        *("other", "data", "forward")
    ]
    assert {name: value for name, value in clock.seconds.items() if value} == {
        **{"other": 1.0, "data": 2.0, "forward": 3.0}
    }


def test_every_phase_of_a_fit_is_seen_as_often_as_it_is_there(tmp_path: Path) -> None:
    """The clock advances by one at each look, so phases hold how often they ended."""
    learn = training.seeded_learner(run_on(write_squares(tmp_path / "squares"), OFF))
    ticks = iter(range(10**6))
    clock = watch_phases(learn, lambda: float(next(ticks)))
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(1, 1e-3)
    assert set(clock.seconds) == set(PHASES)
    steps = len(learn.dls.train)
    ended = {name: clock.seconds[name] for name in ("transforms", "forward", "backward")}
    assert ended == {"transforms": steps, "forward": steps, "backward": steps}
    assert clock.seconds["optimizer"] == steps
    assert clock.seconds["validation"] == 1


def test_a_steps_work_is_its_products_and_what_must_be_moved(tmp_path: Path) -> None:
    learn = training.seeded_learner(run_on(write_squares(tmp_path / "squares"), OFF))
    learn.model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 4))
    learn.loss_func = lambda answers, labels: answers.sum()
    work = work_of_a_step(learn)
    product = 2 * 16 * 3072 * 4
    assert work.flops == 2 * product  # forward, and the weight's gradient
    assert work.parameter_bytes == 4 * (3072 * 4 + 4)
    assert work.saved_bytes == 4 * 16 * 3072  # the images


@pytest.mark.parametrize(("flops_per_second", "seconds"), [(10.0, 10.0), (1000.0, 2.0)])
def test_the_floor_is_the_longer_of_arithmetic_and_traffic(
    flops_per_second: float, seconds: float
) -> None:
    parameter_bytes = 10.0
    work = Work(100.0, 50.0, parameter_bytes)
    moved = 2 * 50 + (3 + ADAM_PASSES) * parameter_bytes
    assert floor_seconds(work, Rates(flops_per_second, moved / 2)) == seconds


def test_rates_are_those_of_the_device() -> None:
    rates = rates_of(CPU, torch.float32, side=64, times=3)
    assert rates.flops_per_second > 1e6
    assert rates.bytes_per_second > 1e6
