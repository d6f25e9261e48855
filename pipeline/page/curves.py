"""The report's interactive loss curves: a line per run, a trace per model."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
from plotly.graph_objects import Figure

from pipeline.figures.charts import style
from pipeline.page.escape import plain

DASHES = ("solid", "dash", "dot", "dashdot", "longdash")  # of models of one family


def loss_curves(history: pd.DataFrame, models: Sequence[str]) -> Figure:
    """Validation loss over epochs of these models' runs of one dataset and recipe.

    A trace per model: its runs lie one after the other, a null between them breaks the line.
    """
    made = Figure()
    dashes: Counter[str] = Counter()
    for model in models:
        rows = history[history["model"] == model]
        if rows.empty:
            continue
        ends = np.flatnonzero(np.diff(rows["seed"])) + 1
        family = str(rows["family"].iloc[0])
        made.add_scatter(
            x=np.insert(rows["epoch"].to_numpy(dtype="float32"), ends, np.nan),
            y=np.insert(rows["valid_loss"].to_numpy(dtype="float32"), ends, np.nan),
            customdata=np.insert(rows["seed"].to_numpy(dtype="float64"), ends, np.nan),
            mode="lines+markers",
            name=plain(model),
            line={"color": style(family).colour, "dash": DASHES[dashes[family] % len(DASHES)]},
            hovertemplate=f"{plain(model)}<br>seed %{{customdata}}, epoch %{{x}}: %{{y:.4f}}"
            "<extra></extra>",
        )
        dashes[family] += 1
    made.update_layout(xaxis_title="epoch", yaxis_title="validation loss", showlegend=True)
    made.update_xaxes(dtick=1 if history["epoch"].nunique() < 15 else None)
    return made
