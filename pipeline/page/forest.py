"""The report's interactive chart of rank correlations: a row per predictor, a mark per dataset."""

from typing import Any

import pandas as pd
from plotly.graph_objects import Figure

from pipeline.figures.charts import COLOURS, SYMBOLS
from pipeline.figures.correlations import name_of
from pipeline.page.escape import plain

SPREAD = 0.7  # of a row, over which the datasets' marks are spread
MARK, LEAST_ROW, AXIS, LEGEND = 9, 32, 130, 20  # pixels: apart, per predictor, below, per entry


def rank_correlations(correlations: pd.DataFrame, outcome: str) -> Figure:
    """Spearman's rho of every predictor with `outcome`, a trace per dataset and recipe."""
    known = correlations[correlations["outcome"] == outcome].dropna(subset="spearman")
    predictors = list(dict.fromkeys(known["predictor"]))
    several = known["recipe"].nunique() > 1
    groups = list(known.groupby(["dataset", "recipe"], sort=False))
    made = Figure()
    for number, ((dataset, recipe), rows) in enumerate(groups):
        beside = SPREAD * ((number + 0.5) / len(groups) - 0.5)
        place = rows["predictor"].map(predictors.index) + beside
        made.add_scatter(
            x=rows["spearman"],
            y=place,
            error_x={
                "array": rows["spearman_high"] - rows["spearman"],
                "arrayminus": rows["spearman"] - rows["spearman_low"],
                "width": 0,
            },
            mode="markers",
            name=plain(f"{dataset}, {recipe}" if several else dataset),
            marker={
                "color": COLOURS[number % len(COLOURS)],
                "symbol": SYMBOLS[number % len(SYMBOLS)],
                "size": 10,
            },
            hovertext=[_hover(row) for row in rows.to_dict("records")],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    names = [plain(name_of(name)) for name in predictors]
    made.update_layout(
        xaxis={"title": "Spearman's ρ", "range": [-1.05, 1.05], "zeroline": True},
        yaxis={"tickvals": list(range(len(names))), "ticktext": names},
        showlegend=True,
    )
    made.update_yaxes(range=[len(names) - 0.5, -0.5], showgrid=False)
    return made


def height_of(correlations: pd.DataFrame, outcome: str) -> int:
    """Pixels that the chart's rows, axis and legend need."""
    known = correlations[correlations["outcome"] == outcome].dropna(subset="spearman")
    groups = known.groupby(["dataset", "recipe"]).ngroups
    row = max(LEAST_ROW, round(MARK * groups / SPREAD))
    return AXIS + LEGEND * groups + row * known["predictor"].nunique()


def _hover(row: dict[Any, Any]) -> str:
    interval = "" if pd.isna(row["spearman_low"]) else " [{spearman_low:.2f}, {spearman_high:.2f}]"
    shown = ("ρ {spearman:.2f}" + interval + ", n = {n}").format(**row).replace("-", "−")
    predictor = name_of(row["predictor"])
    return (
        f"<b>{plain(row['dataset'])}</b>, {plain(row['recipe'])}<br>{plain(predictor)}<br>{shown}"
    )
