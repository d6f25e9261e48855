#!/usr/bin/env bash
# optuna 5.0.0, PatientPruner: a trial whose values stand still is never pruned. The documentation says that a
# trial is pruned "if the improvement in the intermediate values after a patience period is less than a
# threshold", min_delta, and that it is early stopping where no pruner is wrapped. The code asks for the
# opposite: the values of the last `patience` steps must be worse than the best before them, by more than
# min_delta. An improvement of 0 is not worse, so a larger min_delta prunes less, where in Keras, ignite and
# Lightning it stops more. A network that has died and answers at chance, epoch after epoch, is what
# patience is for; it runs to its end, and as part of a wrapper it is kept from the pruner inside as well.
#
# Seen: eight trials that learn, from accuracy 0.5 up, and one that stays at 0.1 for 100 epochs. MedianPruner
# prunes it after its first epoch. PatientPruner around the same pruner, or around none, with patience 3 never
# does, with min_delta 0 as with 0.1. One that loses 0.01 an epoch is pruned after 5 epochs with min_delta 0,
# after 15 with 0.1.
# Expected: the flat trial pruned after the patience, and no later with a larger min_delta.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check optuna==5.0.0
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import optuna
from optuna.pruners import MedianPruner, PatientPruner

optuna.logging.set_verbosity(optuna.logging.ERROR)
EPOCHS = 100


def learns(epoch):
    return 0.9 - 0.4 / (epoch + 1)


def flat(epoch):
    return 0.1


def falls(epoch):
    return 0.9 - 0.01 * epoch


def pruned_after(pruner, accuracy):
    """Epochs of a trial with these accuracies, after eight trials that learn, until it is pruned."""
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for _ in range(8):
        trial = study.ask()
        for epoch in range(EPOCHS):
            trial.report(learns(epoch), epoch)
        study.tell(trial, learns(EPOCHS))
    trial = study.ask()
    for epoch in range(EPOCHS):
        trial.report(accuracy(epoch), epoch)
        if trial.should_prune():
            return epoch + 1
    return None


assert "if the improvement in" in PatientPruner.__doc__ and "is less than a threshold" in PatientPruner.__doc__
bare = pruned_after(MedianPruner(), flat)
print("flat trial, MedianPruner alone: pruned after epoch", bare)
assert bare == 1
for inside in (MedianPruner(), None):
    for min_delta in (0.0, 0.1):
        after = pruned_after(PatientPruner(inside, patience=3, min_delta=min_delta), flat)
        print(f"flat trial, PatientPruner around {type(inside).__name__}, min_delta {min_delta}: {after}")
        assert after is None
slow = [pruned_after(PatientPruner(None, patience=3, min_delta=min_delta), falls) for min_delta in (0.0, 0.1)]
print("falling trial, PatientPruner around none, min_delta 0 and 0.1: pruned after epochs", slow)
assert slow[0] == 5 and 14 <= slow[1] <= 16
P
echo "as described: the trial that stands still runs to its end"
