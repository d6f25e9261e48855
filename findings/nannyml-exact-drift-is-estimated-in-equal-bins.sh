#!/usr/bin/env bash
# nannyml 0.13.1, UnivariateDriftCalculator(computation_params={"kolmogorov_smirnov": {"calculation_method": "exact"}}):
# from 10,000 reference rows on drift is estimated from bins unless one asks for "exact"; for Kolmogorov-Smirnov "bins
# are quantile-based". Neither holds. The methods look for "calculation_method" one level too high in the dictionary, so
# "exact" and "n_bins" are ignored, with no message. And the bins have equal width from minimum to maximum, so one large
# value puts all the others into one bin.
#
# Seen: 20,000 reference losses per image with mean 0.3, one of them 100,000 (a broken image); 5,000 current losses
# with mean 0.6. The Kolmogorov-Smirnov statistic is 0.000, no alert, with "auto" and with "exact" alike; SciPy's
# ks_2samp gives 0.25. With 9,999 reference rows nannyml, too, has 0.25 and an alert. "wasserstein" also gives the same
# with "exact" and with 10 bins as with "auto".
# Expected: 0.25 in each case.
# It matters because a shift that doubles all losses goes unseen as soon as the reference has its ten thousandth row,
# and the option that the documentation offers against it does nothing.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  nannyml==0.13.1 pandas==2.3.3 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 statsmodels==0.15.0
cd "$work"
NML_DISABLE_USAGE_LOGGING=1 "$work/env/bin/python" -W ignore - <<'P'
import numpy as np
import pandas as pd
from nannyml import UnivariateDriftCalculator
from scipy.stats import ks_2samp

described = " ".join(UnivariateDriftCalculator.__init__.__doc__.split())
assert "`exact` : Store the whole reference data." in described
assert "Bins are quantile-based for Kolmogorov-Smirnov" in described
draw = np.random.default_rng(0)
reference, current = draw.exponential(0.3, 20000), draw.exponential(0.6, 5000)
reference[0] = 100_000
METHODS = ["kolmogorov_smirnov", "wasserstein"]


def drift(reference, params):
    options = {method: params for method in METHODS} if params else None
    calculator = UnivariateDriftCalculator(
        ["loss"], continuous_methods=METHODS, chunk_size=5000, computation_params=options
    )
    calculator.fit(pd.DataFrame({"loss": reference}))
    found = calculator.calculate(pd.DataFrame({"loss": current})).filter(period="analysis").to_df()["loss"].iloc[0]
    statistic, alert = found["kolmogorov_smirnov", "value"], bool(found["kolmogorov_smirnov", "alert"])
    print(f"{len(reference)} rows, {params or 'default'}: KS {statistic:.4f}, alert {alert}", end=", ")
    print(f"Wasserstein {found['wasserstein', 'value']:.4f}")
    return statistic, alert, found["wasserstein", "value"]


right = ks_2samp(reference, current).statistic
print(f"scipy.stats.ks_2samp: {right:.4f}")
default = drift(reference, None)
assert default[0] < 0.001 and not default[1] and right > 0.24
for params in ({"calculation_method": "exact"}, {"calculation_method": "estimated", "n_bins": 10}):
    assert drift(reference, params) == default
fewer = drift(reference[:9999], None)
assert abs(fewer[0] - ks_2samp(reference[:9999], current).statistic) < 1e-6 and fewer[1]
P
echo "as described: the exact calculation is not exact and finds no drift"
