#!/usr/bin/env bash
# tensorboard-reducer 0.4.0 computes "statistics (mean, std, min, max, median or any other numpy operation) of multiple
# TensorBoard run directories", one number per step. The operations are pandas': NaN is skipped, and std divides by
# n - 1, not by n. So a run whose loss becomes NaN leaves the mean, the minimum and the spread from that step on, with
# strict_steps=True as well, "throw error if equal tags across different runs have unequal numbers of steps". That
# check sees no step after the 10,000th either: of a longer run 10,000 steps drawn by chance are read.
#
# Seen: three seeds of 20 steps, losses 1, 2 and 3, the third NaN from step 10 on. Mean 2.0, then 1.5: the curve
# improves where a fit breaks down. numpy: 2.0, then nan. std of 1, 2, 3: 1.0; numpy: 0.82. Runs of 12,000 and 20,000
# steps pass the check (of 6,000 and 12,000 they do not); 6,023 steps are left, those that both have by chance: steps
# 2, 5, 7, 8, 10, 15 and so on. No warning.
# Expected: numpy's numbers, or a word; the error that the documentation promises.
# It matters because a recipe under which a seed diverges has the better mean curve. Count the finite values of each
# step before reducing, and log less often than 10,000 times.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  tensorboard-reducer==0.4.0 tensorboard==2.21.0 numpy==2.4.6 pandas==3.1.1
cd "$work"
"$work/env/bin/python" -W error::UserWarning -W error::RuntimeWarning - 2>log <<'P' || { cat log; exit 1; }
import inspect
from importlib.metadata import metadata

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard_reducer import load_tb_events, reduce_events

assert "or any other [`numpy` operation]" in " ".join(metadata("tensorboard-reducer").get_payload().split())
described = " ".join(inspect.getdoc(load_tb_events).split())
assert "throw error if equal tags across different runs have unequal numbers of steps" in described


def write(folder, losses):
    writer = EventFileWriter(folder)
    for step, loss in enumerate(losses):
        summary = Summary(value=[Summary.Value(tag="loss", simple_value=loss)])
        writer.add_event(Event(wall_time=step, step=step, summary=summary))
    writer.close()
    return folder


losses = np.repeat([[1.0], [2.0], [3.0]], 20, axis=1)
losses[2, 10:] = np.nan
seeds = [write(f"seed-{seed}", values) for seed, values in enumerate(losses)]
events = load_tb_events(seeds)
reduced = {name: table["loss"].to_numpy() for name, table in reduce_events(events, ["mean", "std"]).items()}
assert events["loss"].shape == (20, 3) and np.array_equal(events["loss"].to_numpy(), losses.T, equal_nan=True)
print("steps 9 and 10, mean:", reduced["mean"][9:11], "numpy:", losses.mean(0)[9:11], end="; ")
print("std:", reduced["std"][9:11].round(2), "numpy:", losses.std(0)[9:11].round(2))
assert reduced["mean"][9] == 2 and reduced["mean"][10] == 1.5 and np.isnan(losses.mean(0)[10])
assert reduced["std"][9] == 1 and abs(losses.std(0)[9] - 0.816) < 0.001 and abs(reduced["std"][10] - 0.707) < 0.001

long = [write(f"long-{steps}", np.ones(steps)) for steps in (12000, 20000)]
table = load_tb_events(long)["loss"]
print(f"runs of 12,000 and 20,000 steps: {len(table)} steps are left, the first of them {list(table.index[:6])}")
assert 4000 < len(table) < 9000 and list(table.index[:10]) != list(range(10))
try:
    load_tb_events([write("short", np.ones(6000)), long[0]])
except ValueError as error:
    assert "Unequal number of steps" in str(error)
else:
    raise AssertionError("6,000 and 12,000 steps pass")
P
echo "as described: a diverged run leaves the mean"
