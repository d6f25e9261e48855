#!/usr/bin/env bash
# DVC 3.67.1: `dvc exp run -S grid.lr=0.5` has no effect, and says nothing, where params.yaml uses the
# mapping `grid` a second time, below, through a YAML alias. The experiment runs with the old value and exits
# with 0.
#
# Seen: `grid: &g {lr: 0.1}` and `copy: *g`; after `dvc exp run -S grid.lr=0.5` the stage has written
# 0.1. Without the alias it writes 0.5.
# Expected: 0.5, or an error that the key belongs to an aliased mapping.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check dvc==3.67.1
export PATH="$work/env/bin:$PATH" DVC_NO_ANALYTICS=1 HOME="$work"
run() { # run NAME PARAMS: what the stage writes under -S grid.lr=0.5
  mkdir "$work/$1"; cd "$work/$1"
  git init --quiet; git config user.name n; git config user.email n@localhost
  dvc init --quiet
  printf '%s' "$2" >params.yaml
  printf 'stages:\n  write:\n    cmd: echo ${grid.lr} > out\n    params: [grid.lr]\n    outs: [out: {cache: false}]\n' >dvc.yaml
  git add -A; git commit --quiet -m start
  dvc exp run --quiet -S grid.lr=0.5
  cat out
}
aliased=$(run aliased $'grid: &g {lr: 0.1}\ncopy: *g\n')
plain=$(run plain $'grid: {lr: 0.1}\ncopy: {lr: 0.1}\n')
echo "aliased mapping: $aliased; plain mapping: $plain"
[ "$aliased" = 0.1 ]
[ "$plain" = 0.5 ]
echo "as described: the override of an aliased mapping is lost in silence"
