#!/usr/bin/env bash
# comparecast 1.0.0, confseq_h, also compare_forecasts(use_hoeffding=True): "the Hoeffding-style confidence sequences
# for the time-varying mean of a sequence of bounded random variables", with lo and hi "Lower bound" and "Upper bound on
# the input random variables". The intrinsic time is "t * sigma^2" by the comment in the code, and sigma * t in the
# code: the sequence is right where hi - lo is 2, too wide below and too narrow above.
#
# Seen: two models, each right on 70 % of the images, alpha 0.05, 1,000 images, 2,000 streams. Differences of -1, 0 and
# 1 with lo=-1 and hi=1: the true difference, 0, is left out at some time in none of the streams. The same differences
# in per cent, lo=-100 and hi=100: in 100 %. After 1,000 images the half width is 11 % there and 1.3 % here. No warning.
# Expected: the same sequence in both units, only times 100; at most 5 % of the streams.
# It matters because the promise is that one may look at each image: here one finds one of two equal models better every
# time. confseq, which it needs, is built from its source: a C++ compiler has to be there.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  cmake==4.4.5 ninja==1.13.2 scikit-build==0.19.1 setuptools==69.5.1 wheel==0.48.0 pybind11==2.13.6 \
  boost-headers==1.85.0.post1 numpy==2.4.6 scipy==1.17.1 pandas==3.1.1
boost=$("$work/env/bin/python" -c "import pathlib, sysconfig
print(next(pathlib.Path(sysconfig.get_paths()['purelib']).rglob('boost/version.hpp')).parent.parent)")
CPLUS_INCLUDE_PATH=$boost BOOST_ROOT=$boost PATH="$work/env/bin:$PATH" "$work/env/bin/pip" install --quiet \
  --disable-pip-version-check --no-build-isolation confseq==0.0.11 >"$work/log" 2>&1 || { tail -20 "$work/log"; exit 1; }
"$work/env/bin/pip" install --quiet --disable-pip-version-check comparecast==1.0.0
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect

import numpy as np
from comparecast.confseq import confseq_h

described = " ".join(inspect.getdoc(confseq_h).split())
assert (
    "Computes the Hoeffding-style confidence sequences for the time-varying mean of a sequence of bounded" in described
)
assert "lo: Lower bound on the input random variables." in described
assert "hi: Upper bound on the input random variables." in described

draw = np.random.default_rng(0)
IMAGES, STREAMS = 1000, 2000
right = draw.random((2, STREAMS, IMAGES)) < 0.7
differences = right[0].astype(float) - right[1]
times = np.arange(1, IMAGES + 1)
means = np.cumsum(differences, axis=1) / times


def hoeffding(alpha=0.05):
    """Half the width by Hoeffding's inequality and a union bound over all times, for differences from -1 to 1."""
    return np.sqrt(2 * np.log(2 * times * (times + 1) / alpha) / times)


seen = {}
for unit, scale in (("shares", 1), ("per cent", 100)):
    for stream in (0, 1):  # the half width is the same for every stream
        sequence = confseq_h(scale * differences[stream], alpha=0.05, lo=-scale, hi=scale)
        half = (sequence.ucbs - sequence.lcbs) / 2 / scale
    assert np.allclose(sequence.lcbs + half * scale, scale * means[1])
    missed = (np.abs(means) > half).any(axis=1).mean()
    seen[unit] = half, missed
    print(
        f"in {unit}: half width after 10, 100 and 1,000 images {half[9]:.4f}, {half[99]:.4f}, {half[999]:.4f} of the",
        end=" ",
    )
    print(f"difference of 1; 0 is left out in {missed:.1%} of {STREAMS} streams")
missed = (np.abs(means) > hoeffding()).any(axis=1).mean()
print(
    f"by Hoeffding's inequality at each time: half width after 1,000 images {hoeffding()[-1]:.4f}, left out in {missed:.1%}"
)
assert seen["shares"][1] < 0.05 and missed < 0.05 and seen["per cent"][1] > 0.95
assert 5 < seen["shares"][0][-1] / seen["per cent"][0][-1] < 15
P
echo "as described: in per cent the sequence is far too narrow"
