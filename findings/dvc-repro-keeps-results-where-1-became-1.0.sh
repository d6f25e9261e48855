#!/usr/bin/env bash
# DVC 3.67.1 compares a parameter with the one in dvc.lock as Python does: 1, 1.0 and true are equal, so are
# 0, 0.0 and false. A change from one to another is none for `dvc repro`, `dvc status`, `dvc params diff` and
# `dvc exp run -S`: the stage is skipped, the old result stays, the exit code is 0. But many libraries mean
# different things by them: 1 is one item and 1.0 all of them for max_features and max_samples of
# scikit-learn and for limit_train_batches of Lightning. params.yaml then says what was not run.
#
# Seen: a random forest of max_features 1 (one feature a split) has an R2 of 0.42, one of 1.0 (all) 0.90. After
# 1 is changed to 1.0 in params.yaml, `dvc repro` skips the stage, and so does `dvc exp run -S
# max_features=1.0`; metrics.json has 0.42 beside a params.yaml with 1.0. `dvc repro --force` gives 0.90.
# Expected: a changed parameter, as 1 to 2 is.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  dvc==3.67.1 numpy==2.4.6 scikit-learn==1.9.1 scipy==1.17.1
export PATH="$work/env/bin:$PATH" DVC_NO_ANALYTICS=1 HOME="$work"
mkdir "$work/project"; cd "$work/project"
git init --quiet; git config user.name n; git config user.email n@localhost
dvc init --quiet
cat >train.py <<'P'
import json

import dvc.api
from sklearn.datasets import make_regression
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import train_test_split

params = dvc.api.params_show()
x, y = make_regression(600, 20, n_informative=3, random_state=0)
x, x_test, y, y_test = train_test_split(x, y, random_state=0)
forest = RandomForestRegressor(50, max_features=params["max_features"], random_state=0).fit(x, y)
json.dump({"r2": round(forest.score(x_test, y_test), 3)}, open("metrics.json", "w"))
P
cat >dvc.yaml <<'Y'
stages:
  train:
    cmd: python train.py
    deps: [train.py]
    params: [max_features]
    metrics: [metrics.json: {cache: false}]
Y
echo 'max_features: 1' >params.yaml
dvc repro --quiet; git add -A; git commit --quiet -m one
one=$(cat metrics.json)
echo 'max_features: 1.0' >params.yaml
dvc repro >said
grep -q "Stage 'train' didn't change, skipping" said
dvc status | grep -q 'up to date'
[ -z "$(dvc params diff)" ]
changed=$(cat metrics.json)
git checkout --quiet params.yaml
dvc exp run -S max_features=1.0 >said 2>&1
grep -q "Stage 'train' didn't change, skipping" said
[ "$(cat params.yaml)" = 'max_features: 1.0' ]
overridden=$(cat metrics.json)
dvc repro --quiet --force
all=$(cat metrics.json)
echo "1: $one; changed to 1.0: $changed; -S max_features=1.0: $overridden; 1.0 with --force: $all"
[ "$changed" = "$one" ]; [ "$overridden" = "$one" ]; [ "$all" != "$one" ]
echo "as described: the result of 1 is kept as the result of 1.0"
