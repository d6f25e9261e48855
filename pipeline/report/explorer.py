"""The data of the report's explorer: everything timm publishes, for the page's script to draw.

Accuracy is stored once per pair of weights and image size. Every benchmark file, of all devices and
both modes, adds a speed and a batch size per pair in the same order, 0 where it has none, rounded
to what is shown: 29,618 rows of 22 files, 9.7 MB in imagenet.csv, take 0.4 MB.
"""

import json
from typing import Any

import pandas as pd

from pipeline.figures.style import OTHERS, Style, legend_families, style
from pipeline.report.words import in_script
from pipeline.study.params import Study
from pipeline.timm_results.imagenet import OWN

PAIR = ["model", "img_size"]
MOST_FAMILIES = 18  # with a legend entry of their own
DIGITS = 4  # of a speed


def explorer(study: Study, imagenet: pd.DataFrame) -> str:
    """JSON for `explorer.js`, safe inside a script; it starts at the study's inference chart."""
    pairs = imagenet.drop_duplicates(PAIR).reset_index(drop=True)
    families = list(dict.fromkeys(pairs["family"]))
    in_legend = legend_families(pairs["family"], MOST_FAMILIES)
    families.sort(key=lambda name: in_legend.index(name) if name in in_legend else len(in_legend))
    files = _files(imagenet, pairs)
    names = [file["name"] for file in files]
    data = {
        "families": [
            {"name": name, **_look(style(name)), "legend": name in in_legend} for name in families
        ],
        "others": _look(OTHERS),
        "model": pairs["model"].tolist(),
        "family": pairs["family"].map(families.index).tolist(),
        "pretraining": pairs["pretraining"].tolist(),
        "pixels": pairs["img_size"].tolist(),
        "top1": [round(value, 2) for value in pairs["top1"]],
        "params": [round(value, 1) for value in pairs["params_m"]],
        "studied": pairs.index[pairs["model"].isin(study.models)].tolist(),
        "files": files,
        "start": names.index(study.charts["infer"]),
    }
    return in_script(json.dumps(data, separators=(",", ":"), allow_nan=False))


def _files(imagenet: pd.DataFrame, pairs: pd.DataFrame) -> list[dict[str, Any]]:
    """Every benchmark file, those of one device from the newest torch to the oldest."""
    timed = imagenet[imagenet["benchmark_file"] != ""]
    order = pd.MultiIndex.from_frame(pairs[PAIR])
    files = []
    for name, rows in timed.groupby("benchmark_file"):
        first = rows.iloc[0]
        aligned = rows.set_index(PAIR)[["samples_per_second", "batch_size"]].reindex(order)
        files.append(
            {
                "name": name,
                "mode": first["mode"],
                "device": first["device"],
                "setup": _setup(first),
                "speed": [_rounded(value) for value in aligned["samples_per_second"]],
                "batch": aligned["batch_size"].fillna(0).astype(int).tolist(),
            }
        )
    torch = timed.groupby("benchmark_file")["torch"].first().map(_version)
    files.sort(key=lambda file: torch[file["name"]], reverse=True)
    return sorted(files, key=lambda file: (file["mode"], file["device"]))


def _look(look: Style) -> dict[str, str]:
    return {"colour": look.colour, "symbol": look.symbol}


def _setup(file: pd.Series) -> str:
    """`amp, nchw, torch 2.9.1, cu130, dynamo`, after `own` if it is this machine's."""
    own = "own" if file["measured_by"] == OWN else ""
    known = [own, file["precision"], file["layout"], f"torch {file['torch']}", file["backend"]]
    return ", ".join(part for part in [*known, "dynamo" * (file["compile"] == "dynamo")] if part)


def _version(torch: str) -> tuple[int, ...]:
    return tuple(int(part) for part in torch.split(".") if part.isdigit())


def _rounded(speed: float) -> int | float:
    """A speed to four digits; 0 for none."""
    if pd.isna(speed):
        return 0
    short = float(f"{speed:.{DIGITS}g}")
    return int(short) if short.is_integer() else short
