#!/usr/bin/env bash
# hydra-submitit-launcher 1.2.0 with submitit 1.5.4, hydra/launcher=submitit_local: a sweep's jobs all start at
# once, however many there are, and each that asks for one GPU is told CUDA_VISIBLE_DEVICES=0, on a machine of
# eight as well. The launcher that it stands in for, submitit_slurm, queues them and gives each a GPU of its
# own. No setting of submitit_local limits the number (array_parallelism is refused); memory and CPUs asked
# for are not looked at. Fits run out of memory together, or are timed while they share a device.
#
# Seen: a sweep of six jobs with gpus_per_node=1 and cpus_per_task equal to all cores: all six run at one
# time, each with CUDA_VISIBLE_DEVICES=0. The basic launcher has one running at a time.
# Expected: jobs that wait for a free device, or a warning that they will not.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  hydra-core==1.3.8 hydra-submitit-launcher==1.2.0 submitit==1.5.4
cd "$work"
cat >app.py <<'P'
import os
import time
from pathlib import Path

import hydra


@hydra.main(version_base=None)
def train(config):
    """Runs until all six have started, or as long as it may wait."""
    start = time.time()
    folder = Path(config.folder)
    (folder / f"started{config.job}").touch()
    while time.time() < start + config.wait and len(list(folder.glob("started*"))) < 6:
        time.sleep(0.05)
    device = os.environ.get("CUDA_VISIBLE_DEVICES", "none")
    (folder / f"ran{config.job}").write_text(f"{start} {time.time()} {device}\n")


train()
P
cat >most.py <<'P'
import sys

runs = [line.split() for line in sys.stdin]
starts = [float(start) for start, _, _ in runs]
most = max(sum(float(start) <= at <= float(end) for start, end, _ in runs) for at in starts)
print(f"{most} of {len(runs)} at one time, on {' '.join(sorted({device for *_, device in runs}))}")
P
sweep() { # sweep NAME WAIT OVERRIDES: most jobs at one time, and the devices that they were told
  mkdir "$1"
  env -u CUDA_VISIBLE_DEVICES env/bin/python app.py --multirun "+job=range(6)" "+folder=$work/$1" "+wait=$2" \
    "hydra.sweep.dir=$work/$1" "${@:3}" >"$1.log" 2>&1 || return 1
  cat "$1"/ran* | env/bin/python most.py
}
submitit=(hydra/launcher=submitit_local hydra.launcher.gpus_per_node=1 "hydra.launcher.cpus_per_task=$(nproc)")
basic=$(sweep basic 0.3)
local=$(sweep local 120 "${submitit[@]}")
if grep -qiE 'warn|gpu' local.log; then echo "a warning"; cat local.log; exit 1; fi
echo "basic: $basic"; echo "submitit_local: $local"
[ "$basic" = "1 of 6 at one time, on none" ]
[ "$local" = "6 of 6 at one time, on 0" ]
if sweep limited 1 "${submitit[@]}" hydra.launcher.array_parallelism=1; then echo "a limit is taken"; exit 1; fi
grep -q "Key 'array_parallelism' not in" limited.log || { cat limited.log; exit 1; }
echo "as described: every job starts at once, on the first GPU"
