import csv
from collections import Counter
from pathlib import Path

import pytest

from pipeline.timm_results.families import FAMILIES, PRETRAINING, family, pretraining


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def models(shared: Path) -> list[str]:
    """The 1,266 `arch.tag` of today's accuracy tables."""
    table = rows_of(shared / "timm-results" / "results-imagenet.csv")
    return sorted({row["model"] for row in table})


@pytest.fixture(scope="module")
def renamed() -> dict[str, str]:
    """2022 name -> `arch.tag`, as timm has it."""
    import timm  # noqa: F401 - fills the registry
    from timm.models import _registry

    return {old: new for old, new in _registry._deprecated_models.items() if new}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("convnext_tiny.fb_in22k_ft_in1k", "convnext"),
        ("convnext_tiny_in22ft1k", "convnext"),
        ("convnextv2_tiny.fcmae_ft_in1k", "convnextv2"),
        ("tf_efficientnet_lite0.in1k", "efficientnet"),
        ("tf_efficientnetv2_s.in21k_ft_in1k", "efficientnetv2"),
        ("gluon_resnet50_v1d", "resnet"),
        ("ssl_resnext50_32x4d", "resnext"),
        ("legacy_seresnet50.in1k", "senet"),
        ("ens_adv_inception_resnet_v2", "inception"),
        ("inception_next_tiny.sail_in1k", "inception_next"),
        ("deit3_base_patch16_224.fb_in1k", "deit3"),
        ("vit_base_patch16_clip_224.openai_ft_in1k", "vit"),
        ("tiny_vit_5m_224.in1k", "tiny_vit"),
        ("test_vit.r160_in1k", "test"),
        ("swinv2_cr_small_ns_224.sw_in1k", "swinv2"),
        ("swin_v2_cr_small_224", "swinv2"),
        ("nothing_of_the_kind", "other"),
        ("", "other"),
    ],
)
def test_a_family_is_told_from_todays_and_from_2022_names(name: str, expected: str) -> None:
    assert family(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("convnext_base.clip_laion2b_augreg_ft_in12k_in1k", "laion"),
        ("beitv2_base_patch16_224.in1k_ft_in22k_in1k", "in21k"),
        ("eva_giant_patch14_336.clip_ft_in1k", "in1k"),
        ("vit_base_patch16_clip_224.openai_ft_in12k_in1k", "openai"),
        ("tf_efficientnet_b7.ns_jft_in1k", "jft"),
        ("resnext101_32x8d.fb_swsl_ig1b_ft_in1k", "ig"),
        ("regnety_1280.swag_ft_in1k", "ig"),
        ("vit_base_patch14_dinov2.lvd142m", "lvd142m"),
        ("convnext_tiny.fb_in22k", "in21k"),
        ("convnext_tiny.in12k_ft_in1k", "in12k"),
        ("vit_base_patch16_224.sam_in1k", "in1k"),
        ("vit_base_patch16_224.mae", "in1k"),
        ("vit_base_patch16_sapiens2.fb", "other"),
        # 2022 names
        ("convnext_tiny", "in1k"),
        ("convnext_tiny_in22ft1k", "in21k"),
        ("swinv2_base_window12to16_192to256_22kft1k", "in21k"),
        ("tf_efficientnet_l2_ns_475", "jft"),
        ("vit_base_patch16_224", "in21k"),
        ("vit_base_patch16_224_sam", "in1k"),
        ("ssl_resnet18", "yfcc"),
        ("swinv2_cr_tiny_ns_224", "in1k"),
    ],
)
def test_pretraining_is_the_largest_collection_the_weights_saw(name: str, expected: str) -> None:
    assert pretraining(name) == expected


def test_every_published_model_has_a_family_and_a_pretraining(models: list[str]) -> None:
    assert len(models) == 1266
    assert [name for name in models if family(name) == "other"] == []
    assert [name for name in models if pretraining(name) == "other"] == []
    families = Counter(family(name) for name in models)
    assert len(families) == 101
    assert families.most_common(3) == [("vit", 120), ("resnet", 85), ("efficientnet", 66)]
    assert Counter(pretraining(name) for name in models) == {
        "in1k": 998,
        "in21k": 146,
        "in12k": 48,
        "laion": 24,
        "ig": 19,
        "jft": 10,
        "openai": 9,
        "yfcc": 6,
        "merged": 4,
        "webli": 2,
    }


def test_every_timed_architecture_but_two_has_a_family(shared: Path) -> None:
    names = {
        row["model"]
        for folder in ("timm-results", "timm-results-2022-06")
        for path in (shared / folder).glob("benchmark-*.csv")
        for row in rows_of(path)
    }
    assert len(names) > 1400
    assert {name for name in names if family(name) == "other"} == {"csatv2", "csatv2_21m"}


def test_no_rule_is_dead(models: list[str], renamed: dict[str, str]) -> None:
    import timm

    known = [*models, *renamed, *timm.list_models(pretrained=True), *timm.list_models()]
    assert {kind for kind, _ in FAMILIES} == {family(name) for name in known} - {"other"}
    assert {kind for kind, _ in PRETRAINING} == {pretraining(name) for name in known} - {"other"}


def test_a_2022_name_and_todays_agree_on_family_and_pretraining(
    shared: Path, renamed: dict[str, str]
) -> None:
    study = {r["old_name"]: r["new_name"] for r in rows_of(shared / "reference/models_2022.csv")}
    assert len(study) == 93
    for old, new in (renamed | study).items():
        assert family(old) == family(new), old
        assert "." not in new or pretraining(old) == pretraining(new), old


def test_bare_2022_names_have_the_pretraining_that_timm_published_then(shared: Path) -> None:
    published = {
        **{"in1k": "in1k", "in1k-adv": "in1k", "in1k-ap": "in1k", "in1k-dist": "in1k"},
        **{"in21k": "in21k", "in21k-selfsl": "in21k", "jft300m-ns": "jft"},
        **{"yfc-semisl": "yfcc", "ig1b-swsl": "ig", "ig1b-wsl": "ig"},
    }
    rows = rows_of(shared / "timm-results-2022-06" / "model_metadata-in1k.csv")
    wrong = [
        row["model"] for row in rows if pretraining(row["model"]) != published[row["pretrain"]]
    ]
    assert (len(rows), wrong) == (521, [])
