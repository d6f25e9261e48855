#!/usr/bin/env bash
# keras 3.15.1, SwapEMAWeights: "replaces the model's weight values with the values of the optimizer's EMA weights [...]
# before model evaluation, and restores the previous weights after evaluation." After evaluate() it does. After
# predict() it does not: on_predict_end() swaps back only if the EMA weights are *not* in the model. From then on the
# model holds the average, the optimizer updates it, and takes the trained weights for the average.
#
# Seen: predictions at the end of each epoch with model.predict(images, callbacks=[SwapEMAWeights()]), to compute a
# metric, as one does with scikit-learn. After the first epoch's predict() the weight that was trained to 1.1 is back
# at 0.2, near its initial 0: with the default momentum of 0.99 the average has hardly moved. The second epoch's
# training loss is 0.47 instead of 0.33. With evaluate() in its place nothing of the kind.
# Expected: predict() leaves the weights and the course of the training as they are.
# It matters because looking at the predictions undoes the training so far, and the log shows a slow start.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 jax==0.10.2 numpy==2.4.6
cd "$work"
KERAS_HOME="$work" KERAS_BACKEND=jax "$work/env/bin/python" -W ignore - <<'P'
import inspect

import keras
import numpy as np

described = " ".join(inspect.getdoc(keras.callbacks.SwapEMAWeights).split())
assert "and restores the previous weights after evaluation" in described
draw = np.random.default_rng(0)
features = draw.normal(size=(256, 4)).astype("float32")
classes = (features[:, :1] > 0).astype("float32")


class Look(keras.callbacks.Callback):
    """Looks at the averaged model at the end of each epoch and keeps the first weight before and after that."""

    def __init__(self, how):
        super().__init__()
        self.how, self.swap, self.weights = how, keras.callbacks.SwapEMAWeights(), []

    def first(self):
        return float(keras.ops.convert_to_numpy(self.model.layers[0].kernel)[0, 0])

    def on_epoch_end(self, epoch, logs=None):
        before = self.first()
        if self.how == "predict":
            self.model.predict(features, verbose=0, callbacks=[self.swap])
        elif self.how == "evaluate":
            self.model.evaluate(features, classes, verbose=0, callbacks=[self.swap])
        self.weights.append((before, self.first()))


def fit(how):
    keras.utils.set_random_seed(0)
    layer = keras.layers.Dense(1, activation="sigmoid", kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile(keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.99), loss="binary_crossentropy")
    look = Look(how)
    losses = model.fit(features, classes, epochs=4, verbose=0, callbacks=[look]).history["loss"]
    before, after = look.weights[0]
    print(f"{how}: the weight after epoch 1 is {before:.2f}, after a look at it {after:.2f}", end="; ")
    print("training losses", " ".join(f"{loss:.2f}" for loss in losses))
    return losses, look.weights


plain, _ = fit("no look")
for how in ("evaluate", "predict"):
    losses, weights = fit(how)
    if how == "evaluate":
        assert np.allclose(losses, plain, atol=0.02) and all(before == after for before, after in weights)
    else:
        assert losses[0] == plain[0] and losses[1] > plain[1] + 0.1
        assert weights[0][0] > 0.9 and abs(weights[0][1]) < 0.3
P
echo "as described: predict() with the callback leaves the average in the model"
