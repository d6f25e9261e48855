"""Names and weights: what a name means today, and what it meant in 2022."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from pipeline.core.errors import PipelineError
from pipeline.hardware.faults import DoesNotFit
from pipeline.merge.__main__ import merge
from pipeline.models.__main__ import TABLE, main, print_json, print_table, rows_of, since_2022
from pipeline.names.resolve import (
    BUILT_FOR_A_SIZE,
    NAMES_2022,
    RUN_AT_ANY_SIZE,
    defaults,
    fixed_size,
    meaning_of,
    module_of,
    resolve,
    size_options,
    weights,
)
from pipeline.names.vision_learner import body_of, features_of_model, fit_of, left_out
from pipeline.timm_results.families import for_users
from pipeline.timm_results.imagenet import COLUMNS


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


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("timm/resnet50.a1_in1k", "write resnet50.a1_in1k, without timm/"),
        ("hf-hub:timm/resnet50.a1_in1k", "write resnet50.a1_in1k, without hf-hub:timm/"),
        ("timm/resnet50.a1_in2k", "has no weights tagged a1_in2k: did you mean resnet50.a1_in1k"),
    ],
)
def test_a_name_as_the_hub_has_it_says_what_to_write(name: str, line: str) -> None:
    with pytest.raises(PipelineError) as caught:
        resolve(name)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


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


def test_at_least_41_valid_names_load_other_weights_than_in_2022() -> None:
    table = pd.read_csv(NAMES_2022, comment="#", keep_default_na=False)
    changed = [name for name in table["name"] if name in defaults() and meaning_of(name).changed]
    assert len(changed) >= 41
    assert {"tf_efficientnet_b0", "regnety_160", "hrnet_w18", "swin_small_patch4_window7_224"} <= (
        set(changed)
    )


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


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    """A merged table of two models, one published at two sizes and timed on two devices."""
    rows = [
        {"model": "resnet18.a1_in1k", "img_size": 224, "top1": 71.5, "params_m": 11.69},
        {"model": "resnet18.a1_in1k", "img_size": 288, "top1": 73.2, "params_m": 11.69},
        {"model": "resnet18.tv_in1k", "img_size": 288, "top1": 71.3, "params_m": 11.69},
    ]
    files = [
        {"benchmark_file": "a.csv", "mode": "infer", "backend": "cu130", "torch": "2.10.0"},
        {"benchmark_file": "b.csv", "mode": "infer", "backend": "cu130", "torch": "2.9.1"},
        {"benchmark_file": "c.csv", "mode": "infer", "backend": "cpu", "torch": "3.0.0"},
    ]
    rest = {"precision": "amp", "compile": "eager", "device": "x", "commit": "1234567890abcdef"}
    table = pd.DataFrame(rows).merge(pd.DataFrame(files), how="cross").assign(**rest)
    table["samples_per_second"] = 1000.0 + table.index
    path = tmp_path / "imagenet.csv"
    table.reindex(columns=COLUMNS).to_csv(path, index=False)
    return path


def test_a_changed_bare_name_shows_todays_weights_and_those_of_2022(imagenet: Path) -> None:
    today, then = rows_of(["resnet18"], imagenet, None)
    assert (today.model, then.model) == ("resnet18.a1_in1k", "resnet18.tv_in1k")
    assert since_2022(today) == "CHANGED, was .tv_in1k"
    assert since_2022(then) == "was resnet18"


def test_accuracy_and_speed_are_those_of_the_size_nearest_to_the_models_input(
    imagenet: Path,
) -> None:
    today, then = rows_of(["resnet18"], imagenet, None)
    assert (today.img_size, today.imagenet_top1) == (224, 71.5)
    assert (then.img_size, then.imagenet_top1) == (288, 71.3)
    assert today.samples_per_second == 1000.0


def test_the_speed_file_is_the_newest_torch_on_a_gpu_unless_named(imagenet: Path) -> None:
    assert rows_of(["resnet18"], imagenet, None)[0].speed_file == "a.csv"
    assert rows_of(["resnet18"], imagenet, "c.csv")[0].speed_file == "c.csv"
    with pytest.raises(PipelineError, match=r"no benchmark file d\.csv: did you mean"):
        rows_of(["resnet18"], imagenet, "d.csv")


def test_a_pattern_lists_every_pretrained_model_that_matches(imagenet: Path) -> None:
    models = [row.model for row in rows_of(["resnet18.*"], imagenet, None)]
    assert len(models) > 5
    assert set(models) == {name for name in weights() if name.startswith("resnet18.")}
    with pytest.raises(PipelineError, match="no model with pretrained weights matches"):
        rows_of(["zz*"], imagenet, None)


def test_a_pattern_stands_for_timms_miniatures_only_if_it_begins_as_they_do(
    imagenet: Path,
) -> None:
    tiny = "test_vit.r160_in1k"
    with pytest.raises(PipelineError, match=r"^'\*test_vit\*': no model with pretrained weights"):
        rows_of(["*test_vit*"], imagenet, None)
    assert tiny in [row.model for row in rows_of(["test_vit*"], imagenet, None)]
    assert [row.model for row in rows_of([tiny], imagenet, None)] == [tiny]
    assert not [name for name in for_users(weights()) if name.startswith("test_")]


def test_a_pattern_that_fits_nothing_hides_no_model_that_others_fit(
    imagenet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PipelineError, match=r"^'zz\*': no model with pretrained weights matches$"):
        main("zz*", "resnet18", table=imagenet, json=True)
    assert [row["model"] for row in json.loads(capsys.readouterr().out)] == [
        "resnet18.a1_in1k",
        "resnet18.tv_in1k",
    ]
    with pytest.raises(PipelineError, match=r"^'zz\*': .*; model resnet_50: .*did you mean"):
        main("zz*", "resnet_50", table=imagenet)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("part", "pattern", "named"),
    [
        ("lite0", "'*lite0*'", "tf_efficientnet_lite0.in1k"),
        ("tiny_vit", "'tiny_vit*'", "tiny_vit_5m_224"),
        ("lite0*", "'*lite0*'", "tf_efficientnet_lite0.in1k"),
    ],
)
def test_a_part_of_names_is_answered_with_the_pattern_for_them(
    imagenet: Path, part: str, pattern: str, named: str
) -> None:
    with pytest.raises(PipelineError) as caught:
        rows_of([part], imagenet, None)
    assert f"write {pattern} for " in str(caught.value)
    assert named in str(caught.value)
    with pytest.raises(PipelineError, match="did you mean resnet50"):
        rows_of(["resnet_50"], imagenet, None)


def test_parameters_that_nobody_published_are_counted(imagenet: Path) -> None:
    assert rows_of(["levit_128s"], imagenet, None)[0].params_m == 7.78


def test_json_and_the_table_say_what_the_rows_say(imagenet: Path) -> None:
    rows = rows_of(["resnet18", "swin_tiny_patch4_window7_224", "levit_128s"], imagenet, None)
    text, shown = io.StringIO(), io.StringIO()
    print_json(rows, text)
    print_table(rows, shown)
    parsed = json.loads(text.getvalue())
    assert [row["model"] for row in parsed] == [row.model for row in rows]
    assert parsed[0]["samples_per_second"] == 1000.0
    assert parsed[2]["imagenet_top1"] is None
    assert "=224" in shown.getvalue()
    assert "a.csv at 1234567890ab" in shown.getvalue()


def test_a_named_table_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="no such table"):
        rows_of(["resnet18"], tmp_path / "none.csv", None)


def test_without_a_table_accuracy_stays_blank_and_a_note_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert rows_of(["resnet18"], TABLE, None)[0].imagenet_top1 is None
    assert "stay blank" in capsys.readouterr().err


@pytest.mark.slow
def test_the_93_study_models_fit_vision_learner_as_measured(study_names: pd.DataFrame) -> None:
    words = study_names["new_name"].map(lambda model: fit_of(model).word)
    pooled = study_names["head"].eq("pooled by timm (concat_pool ignored)")
    overlay = study_names["note"].fillna("").str.contains("pool_size=None", regex=False)
    sam = study_names["new_name"].str.endswith(".sam_in1k")
    assert overlay.sum() == 9
    assert set(words[overlay]) == {"pool_size=None"}
    assert set(words[pooled | sam]) == {"timm pools"}
    assert set(words[~(pooled | sam | overlay)]) == {"yes"}


@pytest.mark.parametrize(
    "model",
    [
        "test_resnet.r160_in1k",
        "test_vit.r160_in1k",
        "mambaout_femto.in1k",
        "levit_128s.fb_dist_in1k",
        "mobilenetv3_small_050.lamb_in1k",
        "swin_tiny_patch4_window7_224.ms_in1k",
        "swinv2_cr_tiny_ns_224.sw_in1k",
        "swinv2_tiny_window8_256.ms_in1k",
        "sam2_hiera_tiny.fb_r896",
        "coat_tiny.in1k",
        "gemma4_vit_167m_enc.gemma4_e4b_it",
        "mobilenetv5_300m.gemma3n",
        "mobilenetv5_300m_enc",
    ],
)
def test_the_fit_is_what_building_the_model_shows(model: str) -> None:
    import timm
    import torch

    config = timm.get_pretrained_cfg(model)
    pools_itself = config.pool_size is None
    with torch.device("meta"), torch.no_grad():
        built = timm.create_model(model, pretrained=False, num_classes=0).eval()
        images = torch.empty(2, *config.input_size)
        pooled = built(images).shape
        mapped = pooled if pools_itself else built.forward_features(images).shape
    if not pools_itself and len(mapped) == 4 and mapped[1] == built.num_features:
        word = "yes"
    elif pooled == (2, built.num_features):
        word = "timm pools" if pools_itself else "pool_size=None"
    else:
        word = "no"
    assert fit_of(model).word == word


@pytest.mark.parametrize(
    ("model", "least", "most"),
    [
        ("tf_efficientnet_lite0.in1k", 0, 0),
        ("resnet18.a1_in1k", 0, 0),
        ("efficientvit_b0.r224_in1k", 0.67, 0.69),
        ("hgnetv2_b0.ssld_stage1_in22k_in1k", 0.52, 0.54),
        ("convnext_atto.d2_in1k", 0.0001, 0.001),  # the final norm
    ],
)
def test_what_vision_learner_leaves_out_is_counted_and_timms_features_leave_out_nothing(
    model: str, least: float, most: float
) -> None:
    found = left_out(model, "fastai")
    assert found is not None
    assert least <= found <= most
    assert left_out(model, "timm") == 0
    assert features_of_model(model, "timm").pooled


def test_a_model_that_cannot_give_such_features_has_no_share() -> None:
    assert left_out("gemma4_vit_167m_enc.gemma4_e4b_it", "timm") is None


@pytest.mark.slow
def test_all_models_are_listed_from_the_real_table(
    root: Path, shared: Path, tmp_path: Path
) -> None:
    table = tmp_path / "imagenet.csv"
    merge(shared / "timm-results")[0].to_csv(table, index=False)
    shown = subprocess.run(
        [sys.executable, "-m", "pipeline.models", "*", "--json", "--table", str(table)],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    rows = json.loads(shown.stdout)
    assert [row["model"] for row in rows] == for_users(weights())
    assert sum(row["imagenet_top1"] is not None for row in rows) >= 1200
    assert sum(row["samples_per_second"] is not None for row in rows) >= 1200


def test_torchs_warning_at_the_import_of_fastai_is_shown_by_no_command() -> None:
    code = "import pipeline.core.command; import fastai.vision.all"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stderr == ""


def test_a_model_is_built_for_the_images_size_only_where_it_must_be() -> None:
    assert size_options("vit_tiny_patch16_224.augreg_in21k", 160) == {"img_size": 160}
    assert size_options("vit_tiny_patch16_224.augreg_in21k", 224) == {}  # that of its weights
    assert size_options("vit_tiny_patch16_224", 160) == {"img_size": 160}  # an architecture
    assert size_options("resnet18.a1_in1k", 160) == {}
    assert size_options("crossvit_9_240.in1k", 160) == {}
    assert size_options("levit_128s.fb_dist_in1k", 160) == {}  # and fails


def test_a_model_whose_patches_leave_out_much_of_the_images_is_refused() -> None:
    model = "test_vit.r160_in1k"  # patches of 16 pixels
    with pytest.raises(DoesNotFit, match="patches of 16 pixels leave out 8 of the 24 pixels"):
        body_of(model, "timm", False, {}, 24)
    for size in (32, 36):  # of 36 pixels a ninth
        body_of(model, "timm", False, {}, size)


def test_mvitv2_takes_sizes_that_are_no_whole_number_of_its_cells() -> None:
    import torch

    model = "mvitv2_tiny.fb_in1k"
    assert size_options(model, 96) == {"img_size": 96}
    assert size_options(model, 200) == {}  # its own 224
    for size in (48, 100):
        body = body_of(model, "timm", False, {}, size).eval()
        with torch.inference_mode():
            assert body(torch.zeros(1, 3, size, size)).shape == (1, 768)


RESIZABLE = [  # the smallest of each module of timm, a second one of those that differ most
    "beit_base_patch16_224.in22k_ft_in22k_in1k",
    "coat_lite_tiny.in1k",
    "deit_tiny_patch16_224.fb_in1k",
    "eva02_tiny_patch14_224.mim_in22k",
    "vit_small_patch16_dinov3.lvd1689m",
    "maxvit_rmlp_pico_rw_256.sw_in1k",
    "coatnet_nano_rw_224.sw_in1k",
    "mvitv2_tiny.fb_in1k",
    "swin_tiny_patch4_window7_224.ms_in1k",
    "swinv2_tiny_window8_256.ms_in1k",
    "swinv2_cr_tiny_ns_224.sw_in1k",
    "tnt_s_patch16_224.in1k",
    "test_vit.r160_in1k",
    "vit_small_patch14_dinov2.lvd142m",
    "vit_tiny_r_s16_p8_224.augreg_in21k",
    "vit_relpos_small_patch16_224.sw_in1k",
    "vitamin_small_224.datacomp1b_clip",
    "efficientvit_m0.r224_in1k",
    "resnet50_clip.openai",
    "sequencer2d_s.in1k",
    "swiftformer_xs.dist_in1k",
    "twins_svt_small.in1k",
    "xcit_nano_12_p8_224.fb_in1k",
    "crossvit_tiny_240.in1k",
]


def test_of_each_module_of_any_size_a_model_is_tried() -> None:
    assert {module_of(model) for model in RESIZABLE} == BUILT_FOR_A_SIZE | RUN_AT_ANY_SIZE


@pytest.mark.parametrize(
    "model", [pytest.param(m, marks=[] if "test" in m else pytest.mark.slow) for m in RESIZABLE]
)
def test_pretrained_weights_are_all_loaded_at_another_size(model: str, tmp_path: Path) -> None:
    import safetensors.torch
    import timm
    import torch

    torch.manual_seed(0)
    saved = timm.create_model(model).state_dict()
    file = tmp_path / "weights.safetensors"
    safetensors.torch.save_model(timm.create_model(model), str(file))
    overlay = {"file": str(file), "custom_load": False}
    for size in (96, 128, 288):
        bodies = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            bodies.append(body_of(model, "timm", True, overlay, size).eval())
        one, other = (body.state_dict() for body in bodies)
        drawn = [name for name in one if not torch.equal(one[name], other[name])]
        assert drawn == []  # nothing was left to chance: all of it is in the file
        resized = [
            name
            for name, value in one.items()
            if value.shape != saved[name.removeprefix("model.")].shape
        ]
        assert all(re.search("pos|bias|rel_|rope", name) for name in resized)
        with torch.inference_mode():
            assert bodies[0](torch.zeros(1, 3, size, size)).ndim == 2
    assert fixed_size(model) is None
