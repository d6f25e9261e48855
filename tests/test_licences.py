"""The licences of weights: what timm states, what of it is commercial, and where it is shown."""

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml
from study_fakes import LITE, write_imagenet, write_run, write_study

from pipeline.aggregate import __main__ as aggregate
from pipeline.merge.__main__ import licence
from pipeline.models.__main__ import rows_of
from pipeline.names.resolve import resolve, weights
from pipeline.report import __main__ as report
from pipeline.report import tables
from pipeline.results import read_pool_table, read_results
from pipeline.study.params import read_study
from pipeline.timm_results.imagenet import read_imagenet
from pipeline.timm_results.licences import LICENCES, commercial, shown, stated


@pytest.fixture(scope="module")
def of_timm() -> Counter[str]:
    """How many of timm's weights have each licence."""
    return Counter(stated(config.license) for config in weights().values())


def test_every_licence_of_the_installed_timm_is_judged(of_timm: Counter[str]) -> None:
    new = {name: count for name, count in of_timm.items() if name and name not in LICENCES}
    assert new == {}, (
        f"timm states licences that pipeline/timm_results/licences.py does not judge: {new}; read "
        "their texts and add them to LICENCES, commercial=False in doubt"
    )


def test_no_licence_is_judged_that_timm_does_not_state(of_timm: Counter[str]) -> None:
    assert set(LICENCES) - set(of_timm) == set()


def test_the_counts_are_those_of_timm_1_0_31(of_timm: Counter[str]) -> None:
    assert (of_timm.total(), of_timm.total() - of_timm[""]) == (1826, 1801)
    assert (of_timm["apache-2.0"], of_timm["mit"], of_timm["cc-by-nc-4.0"]) == (1317, 224, 88)
    assert sum(count for name, count in of_timm.items() if commercial(name)) == 1605


def test_what_says_nothing_or_is_new_is_not_commercial() -> None:
    for unknown in ("", None, float("nan"), pd.NA, "unknown", "llama4", "APACHE"):
        assert not commercial(unknown)


def test_what_says_non_commercial_or_research_is_not_commercial() -> None:
    for name in LICENCES:
        if any(word in name for word in ("-nc-", "noncommercial", "amlr", "research")):
            assert not commercial(name)


def test_unknown_is_empty_in_tables_and_a_word_for_people() -> None:
    assert [stated(name) for name in (None, "unknown", "mit")] == ["", "", "mit"]
    assert [shown(name) for name in ("", None, float("nan"), "mit")] == ["unknown"] * 3 + ["mit"]


def test_three_of_the_93_weights_of_2022_are_not_free_for_commercial_use(root: Path) -> None:
    grid = yaml.safe_load((root / "studies/fastai2022.yaml").read_text("utf-8"))["grid"]
    found = {model: stated(weights()[resolve(model)].license) for model in grid["models"]}
    assert Counter(found.values()) == {
        "apache-2.0": 63,
        "mit": 26,
        "cvnets-license": 3,
        "bsd-3-clause": 1,
    }
    refused = [model for model, name in found.items() if not commercial(name)]
    assert refused == [f"mobilevit_{size}.cvnets_in1k" for size in ("s", "xs", "xxs")]
    text = (root / "docs/licences.md").read_text("utf-8")
    assert all(f"`{model}`" in text for model in refused)


def test_the_page_on_licences_has_the_table_of_the_code(root: Path) -> None:
    lines = (root / "docs/licences.md").read_text("utf-8").splitlines()
    for name, terms in LICENCES.items():
        assert f"| `{name}` | {'yes' if terms.commercial else 'no'} | {terms.source} |" in lines


def test_merge_asks_timm_by_the_exact_name_or_that_of_2022() -> None:
    assert licence("convnextv2_tiny.fcmae_ft_in1k") == "cc-by-nc-4.0"
    assert licence("mobilevit_s") == "cvnets-license"
    assert licence("no_such_model.at_all") == licence("no_such_model") == ""


def test_models_states_the_licence_of_each(tmp_path: Path) -> None:
    table = write_imagenet(tmp_path / "imagenet.csv")
    names = ["mobilevit_s.cvnets_in1k", "res2net50_26w_4s.in1k"]
    assert [row.licence for row in rows_of(names, table, None)] == ["cvnets-license", None]


def test_licences_survive_from_imagenet_csv_to_leaderboard_page_and_explorer(
    tmp_path: Path,
) -> None:
    study = read_study(write_study(tmp_path))
    licences = {LITE[1]: "", LITE[2]: "cc-by-nc-4.0"}
    imagenet = write_imagenet(tmp_path / "imagenet.csv", licences=licences)
    for model in LITE:
        write_run(tmp_path / "runs", model, 0, 0.1)
    names = ("params.yaml", "runs", "imagenet.csv", "results", "metrics")
    aggregate.main(*(tmp_path / name for name in names))
    board = read_results(tmp_path / "results").board
    told = board.set_index("model")["licence"]
    assert (told[LITE[0]], told[LITE[2]]) == ("apache-2.0", "cc-by-nc-4.0")
    assert pd.isna(told[LITE[1]])
    page = tables.leaderboard(board, read_pool_table(tmp_path / "results"))
    place = [column.name for column in page.columns].index("licence")
    assert {row.cells[place].shown for row in page.rows} == {
        "apache-2.0",
        "unknown",
        "cc-by-nc-4.0",
    }
    drawn = report.explorer(study, read_imagenet(imagenet))
    assert '"licence":["apache-2.0"' in drawn
    assert '"unknown"' in drawn
