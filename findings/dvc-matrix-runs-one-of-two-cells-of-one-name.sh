#!/usr/bin/env bash
# DVC 3.67.1: `matrix` names a cell by its values, joined by hyphens. Where values have hyphens of their own,
# two cells can get one name, and the later one silently takes the place of the earlier: it is not in
# `dvc stage list`, is never run, and `dvc repro` ends with "up to date" and 0. The documentation says how the
# names are made, not that they must differ. Names of datasets, models and recipes commonly have hyphens.
#
# Seen: datasets pets and pets-small, images small-crops and crops: four cells, three stages. pets with
# small-crops is missing, since pets-small with crops is train@pets-small-crops as well. With underscores
# in the place of the hyphens there are four.
# Expected: four stages, or an error that two of them have one name.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check dvc==3.67.1
export PATH="$work/env/bin:$PATH" DVC_NO_ANALYTICS=1 HOME="$work"
cells() { # cells HYPHEN: the cells that were run, one a line
  mkdir "$work/run$1"; cd "$work/run$1"
  git init --quiet; dvc init --quiet
  cat >dvc.yaml <<Y
stages:
  train:
    matrix:
      dataset: [pets, pets$1small]
      images: [small$1crops, crops]
    cmd: mkdir -p out && echo \${item.dataset} \${item.images} > out/\${item.dataset}+\${item.images}
    outs:
      - out/\${item.dataset}+\${item.images}
Y
  dvc repro --quiet
  dvc status >status
  grep -q 'up to date' status
  [ "$(dvc stage list | wc -l)" = "$(cat out/* | wc -l)" ]
  cat out/*
}
hyphens=$(cells - 2>"$work/log") underscores=$(cells _ 2>>"$work/log")
if [ -s "$work/log" ]; then echo "DVC said something:"; cat "$work/log"; exit 1; fi
printf 'with hyphens:\n%s\nwith underscores:\n%s\n' "$hyphens" "$underscores"
[ "$hyphens" = $'pets crops\npets-small crops\npets-small small-crops' ]
[ "$(wc -l <<<"$underscores")" = 4 ]
grep -qx 'pets small_crops' <<<"$underscores"
echo "as described: two cells have one name, and one of them is never run"
