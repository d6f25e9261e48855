"""Names and weights: what a name means today, and what it meant in 2022."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from pipeline.errors import PipelineError
from pipeline.models import NAMES_2022, defaults, meaning_of, resolve, weights


@pytest.fixture(scope="module")
def study_names(shared: Path) -> pd.DataFrame:
    return pd.read_csv(shared / "reference/models_2022.csv")


def refusal(name: str) -> str:
    with pytest.raises(PipelineError) as caught:
        resolve(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_exact_tag_passes() -> None:
    assert resolve("convnext_tiny.fb_in1k") == "convnext_tiny.fb_in1k"


def test_a_bare_name_with_the_same_weights_as_in_2022_becomes_todays_tag() -> None:
    assert resolve("resnet50") == "resnet50.a1_in1k"


def test_a_bare_name_that_is_younger_than_2022_becomes_todays_tag() -> None:
    assert meaning_of("mobilenetv4_conv_small").changed is None
    assert resolve("mobilenetv4_conv_small") == defaults()["mobilenetv4_conv_small"]


@pytest.mark.parametrize(
    ("name", "today", "then"),
    [
        ("convnext_tiny", "convnext_tiny.in12k_ft_in1k", "convnext_tiny.fb_in1k"),
        (
            "vit_base_patch16_224",
            "vit_base_patch16_224.augreg2_in21k_ft_in1k",
            "vit_base_patch16_224.augreg_in21k_ft_in1k",
        ),
    ],
)
def test_a_bare_name_with_other_weights_than_in_2022_is_refused_naming_both(
    name: str, today: str, then: str
) -> None:
    line = refusal(name)
    assert today in line
    assert then in line


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("convnext_tiny_in22k", "write convnext_tiny.fb_in22k,"),  # timm's own map
        ("vit_base_patch32_224_sam", "write vit_base_patch32_224.sam_in1k,"),  # its map is broken
        ("mixer_b16_224_in21k", "write mixer_b16_224.goog_in21k,"),  # its map loads other weights
        ("efficientnet_b2a", "write efficientnet_b2.ra_in1k"),  # older than 2022
        ("gluon_xception65", "no replacement"),
        ("vit_giant_patch14_224", "no pretrained weights"),
        ("convnext_tny", "did you mean convnext_tiny or"),
        ("resnet18.a9_in1k", "did you mean resnet18.a"),
        ("resnte18.a1_in1k", "did you mean resnet18 or"),
        ("vit_base_patch32_224.sam", "did you mean vit_base_patch32_224.sam_in1k"),
        ("convnext_tiny_in22k.fb_in22k", "took no tag"),
    ],
)
def test_a_name_that_stands_for_no_weights_says_what_to_write(name: str, instead: str) -> None:
    assert instead in refusal(name)


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "resnet50/..",
        "hf-hub:timm/resnet50.a1_in1k",
        "local-dir:/tmp/weights",
        "resnet50;id",
        "resnet50\n",
        "resnet50.a1_in1k ",
        "resnet*",
        "",
        "=cmd",
        "é",
        "x" * 300,
    ],
)
def test_a_hostile_name_is_refused_in_one_short_line(name: str) -> None:
    line = refusal(name)
    assert "not a name in timm's registry" in line
    assert len(line) < 200


def test_all_93_names_of_the_study_are_known_with_their_2022_weights(
    study_names: pd.DataFrame,
) -> None:
    assert len(study_names) == 93
    found = {name: meaning_of(name).in_2022 for name in study_names["old_name"]}
    assert found == dict(zip(study_names["old_name"], study_names["new_name"], strict=True))


def test_exactly_17_names_of_the_study_load_other_weights_today(study_names: pd.DataFrame) -> None:
    direct = study_names[study_names["via"] == "direct"].set_index("old_name")
    changed = {name for name in direct.index if meaning_of(name).changed}
    assert len(changed) == 17
    assert changed == set(direct.index[~direct["same_weights_as_2022"]])
    for name in changed:
        line = refusal(name)
        assert direct.loc[name, "new_name"] in line
        assert direct.loc[name, "bare_name_loads_today"] in line


def test_the_study_names_that_timm_renamed_say_what_to_write(study_names: pd.DataFrame) -> None:
    renamed = study_names[study_names["via"] == "deprecated remap"]
    assert len(renamed) == 12
    for name, instead in zip(renamed["old_name"], renamed["new_name"], strict=True):
        assert f"write {instead}," in refusal(name)


def test_every_other_name_of_the_study_resolves_to_its_2022_weights(
    study_names: pd.DataFrame,
) -> None:
    same = study_names[(study_names["via"] == "direct") & study_names["same_weights_as_2022"]]
    assert len(same) == 64
    assert [resolve(name) for name in same["old_name"]] == list(same["new_name"])


def test_every_tag_of_the_2022_table_has_weights_today() -> None:
    table = pd.read_csv(NAMES_2022, comment="#", keep_default_na=False)
    assert table["name"].is_unique
    assert set(table["evidence"]) == {"file", "accuracy", "only tag", "name", "removed"}
    assert not set(table.loc[table["evidence"] != "removed", "tag"]) - set(weights())
    assert (table.loc[table["evidence"] == "removed", "tag"] == "").all()


def test_the_2022_tags_have_the_imagenet_accuracy_that_was_published_in_2022(shared: Path) -> None:
    """Weights that changed move top-1 by points; a re-measurement moves it by tenths."""
    then = pd.read_csv(shared / "timm-results-2022-06/results-imagenet.csv")
    today = pd.read_csv(shared / "timm-results/results-imagenet.csv")
    then["tag"] = [meaning_of(name).in_2022 for name in then["model"]]
    both = then.merge(
        today,
        left_on=["tag", "img_size"],
        right_on=["model", "img_size"],
        validate="one_to_one",
        suffixes=("_then", "_now"),
    )
    assert len(both) >= 585
    moved = (both["top1_now"] - both["top1_then"]).abs()
    assert moved.median() < 0.02
    assert moved.max() < 0.7


def test_importing_the_module_does_not_import_timm() -> None:
    code = "import sys, pipeline.models; sys.exit('timm' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
