#!/usr/bin/env bash
# hydra-optuna-sweeper 1.3.0 with hydra-core 1.3.8: one range is three sets of values. Hydra's basic sweeper
# leaves its stop out, as the grammar says. The plugin's TPE and random samplers take the stop in, and its
# grid loses the last value too wherever (stop - start) // step rounds down: with 0.2, 0.1 and other steps
# that binary fractions cannot hold, or with a step that does not divide the range.
#
# Seen: dropout=range(0,0.6,0.2) is 0, 0.2, 0.4 in the basic sweeper, 0, 0.2 in the grid, and
# 0, 0.2, 0.4, 0.6 with "random", without a warning. size=range(160,320,64): the grid never tries 288,
# although Optuna warns that the range is "replaced by [160, 288]".
# Expected: the values that Hydra's grammar gives the range, in every sampler.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check hydra-core==1.3.8 hydra-optuna-sweeper==1.3.0
cd "$work"
cat >app.py <<'P'
import hydra


@hydra.main(version_base=None)
def train(config):
    (value,) = config.values()
    with open("asked.txt", "a") as file:
        file.write(f"{value}\n")
    return float(value)


train()
P
tried() { # tried RANGE [SAMPLER [MORE]]: the values that the app got, each once
  rm -f asked.txt
  local sweeper=()
  [ $# = 1 ] || sweeper=(hydra/sweeper=optuna hydra/sweeper/sampler="$2" hydra.sweeper.n_trials=20 "${@:3}")
  env/bin/python app.py --multirun "+value=$1" hydra.job.chdir=false "${sweeper[@]}" >>log.txt 2>>err.txt
  LC_ALL=C sort -nu asked.txt | xargs
}
basic=$(tried 'range(0,0.6,0.2)')
grid=$(tried 'range(0,0.6,0.2)' grid)
random=$(tried 'range(0,0.6,0.2)' random hydra.sweeper.sampler.seed=1)
if grep -qi warn log.txt err.txt; then echo "a warning"; exit 1; fi
sizes=$(tried 'range(160,320,64)')
grid_sizes=$(tried 'range(160,320,64)' grid)
echo "range(0,0.6,0.2): basic $basic; grid $grid; random $random"
echo "range(160,320,64): basic $sizes; grid $grid_sizes"
[ "$basic" = "0.0 0.2 0.4" ]
[ "$grid" = "0.0 0.2" ]
[ "$random" = "0.0 0.2 0.4 0.6" ]
[ "$sizes" = "160 224 288" ]
[ "$grid_sizes" = "160 224" ]
grep -qF 'It will be replaced by [160, 288]' err.txt
echo "as described: the grid leaves out the last value of a range, and random takes in its stop"
