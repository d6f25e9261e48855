"""Stage `plot`: the figures of the study and of timm's tables, each as SVG and PNG.

Reads params.yaml, imagenet.csv and the tables of `aggregate`, with --mistakes also those of stage
`mistakes`; writes a folder of figures. Charts of published speed use the two benchmark files that
params.yaml names under `charts`, and no other: no panel mixes the speeds of two devices.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from pipeline.core.command import run
from pipeline.core.files import replacing_folder
from pipeline.figures.look import LOOK, save
from pipeline.mistakes.tables import read_mistakes
from pipeline.plot import finetunes, published
from pipeline.plot import mistakes as plot_mistakes
from pipeline.results import read_results
from pipeline.study.params import MODES, read_study
from pipeline.timm_results.imagenet import chart_rows, read_imagenet


def main(
    params: Path, imagenet: Path, results: Path, figures: Path, *, mistakes: Path | None = None
) -> None:
    """Draw every figure.

    Args:
        params: the study file, params.yaml
        imagenet: the table of stage `merge`
        results: the folder with the tables of `aggregate`
        figures: the folder that the figures are written to
        mistakes: the folder of stage `mistakes`
    """
    study = read_study(params)
    table = read_imagenet(imagenet)
    charts = {mode: chart_rows(study, table, imagenet, mode) for mode in MODES}
    done = read_results(results)
    weights = table.sort_values(["model", "img_size"]).drop_duplicates("model")
    sizes = table.drop_duplicates(["model", "img_size"])
    board = done.board
    drawings: dict[str, Callable[[], Figure]] = {
        "error_against_fit_time": partial(finetunes.error_against_fit_time, board, done.runs),
        "error_against_imagenet": partial(
            finetunes.error_against_imagenet, board, done.correlations, table
        ),
        "parameters": partial(published.speed_against_parameters, charts),
        "models_per_family": partial(published.models_per_family, weights),
        "image_size": partial(published.accuracy_by_image_size, sizes),
    }
    if done.correlations["spearman"].notna().any():
        drawings["correlations"] = partial(finetunes.rank_correlations, done.correlations)
    if len(done.recipes):
        drawings["recipes"] = partial(finetunes.recipe_effects, done.recipes)
    for mode, rows in charts.items():
        drawings[f"{mode}_speed"] = partial(
            published.accuracy_against_speed, rows, mode, study.models
        )
        drawings[f"{mode}_speed_trends"] = partial(
            published.accuracy_against_speed_trends, rows, mode
        )
    if mistakes is not None:
        drawings.update(plot_mistakes.drawings(read_mistakes(mistakes)))
    with replacing_folder(figures) as folder, rc_context(LOOK):
        for name, draw in drawings.items():
            save(draw(), folder, name)


if __name__ == "__main__":
    run(main)
