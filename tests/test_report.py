"""Stage `report`: one page, an honest answer, and text that stays text."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from study_fakes import LITE, write_failure, write_imagenet, write_run, write_study

from pipeline import aggregate, report
from pipeline.errors import PipelineError
from pipeline.page.answer import answer, duration
from pipeline.study2022 import __main__ as study2022

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if not self.tags or self.tags[-1][0] not in ("script", "style"):
            self.text += data


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder with params.yaml, imagenet.csv and three seeds of three models; lite0 is worst."""
    write_study(tmp_path, seeds=[0, 1, 2])
    write_imagenet(tmp_path / "imagenet.csv")
    for model, error in zip(LITE, (0.20, 0.06, 0.061), strict=True):
        for seed in range(3):
            write_run(tmp_path / "runs", model, seed, error + seed * (seed - 1) / 1000)
    return tmp_path


def render(folder: Path) -> str:
    names = ("params.yaml", "runs", "imagenet.csv", "results", "metrics")
    aggregate.main(*(folder / name for name in names))
    report.main(*paths(folder))
    return (folder / "report.html").read_text()


def paths(folder: Path) -> list[Path]:
    """The arguments of stage `report`, the pictures of stage `plot` among them."""
    for name in ("parameters", "image_size", "models_per_family"):
        Image.new("RGB", (4, 3)).save(folder / f"{name}.png")
    names = ("params.yaml", "imagenet.csv", "results", "", "report.html")
    return [folder / name for name in names]


def words(folder: Path) -> str:
    """What the page says, in one line."""
    return " ".join(Page(render(folder)).text.split())


def figures_of(html: str) -> list:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', html, re.S)
    assert found
    return json.loads(found[1])


def test_the_page_is_one_file_under_seven_megabytes_that_loads_nothing(study: Path):
    html = render(study)
    assert len(html.encode()) < 7_000_000
    tags = Page(html).tags
    pictures = [attrs.pop("src") or "" for tag, attrs in tags if tag == "img"]
    assert all(address.startswith("data:image/png;base64,") for address in pictures)
    assert not [attrs for _, attrs in tags if {"src", "href", "srcset", "action"} & set(attrs)]
    assert not [tag for tag, _ in tags if tag in ("link", "iframe", "object", "embed")]
    assert "@import" not in html.partition("</style>")[0]


def test_the_answer_stands_first_with_error_interval_seeds_chance_and_cost(study: Path):
    text = words(study)
    first = text[text.index("digits", text.index("Which pretrained")) :][:400]
    for part in (LITE[1], "6.07 % [4.0", "seeds", "90.00 %", "21.0 s", "Some CPU, 2 threads"):
        assert part in first


def test_every_chart_has_its_figure(study: Path):
    html = render(study)
    figures = figures_of(html)
    drawn = [attrs["data-figure"] for _, attrs in Page(html).tags if "data-figure" in attrs]
    assert sorted(map(int, filter(None, drawn))) == list(range(len(figures)))
    assert all(figure["data"] for figure in figures)


@pytest.mark.parametrize("place", ["model", "reason", "imagenet"])
def test_hostile_text_stays_text(study: Path, place: str):
    harmless = {tag for tag, _ in Page(render(study)).tags}
    if place == "model":
        model = f"tf_{HOSTILE}".replace("/", "_")  # as far as a folder's name can be hostile
        write_study(study, models=[*LITE, model], seeds=[0, 1, 2])
        write_run(study / "runs", model, 0, 0.01)
    if place == "reason":
        write_failure(study / "runs", LITE[0], 0, HOSTILE)
    if place == "imagenet":
        table = pd.read_csv(study / "imagenet.csv")
        table.assign(model=HOSTILE).to_csv(study / "imagenet.csv", index=False)
    html = render(study)
    page = Page(html)
    assert "onerror=alert" in html
    assert not [attrs for _, attrs in page.tags if "onerror" in attrs]
    assert "alert(1)</script>" not in html
    assert {tag for tag, _ in page.tags} == harmless | {"section"}
    assert sum(tag == "script" for tag, _ in page.tags) == 3
    figures_of(html)


def test_failed_diverged_and_missing_runs_are_listed_with_their_reason(study: Path):
    write_failure(study / "runs", LITE[0], 0, "out of memory")
    (study / "runs/digits" / LITE[2] / "quickstart/1.json").unlink()
    text = words(study)
    assert "9 runs, 7 ok, 1 failed, 1 missing" in text
    assert "out of memory" in text


def test_a_dataset_without_a_finished_run_is_shown_without_numbers(study: Path):
    write_study(study, datasets=["digits", "later", "broken"], seeds=[0, 1, 2])
    write_failure(study / "runs", LITE[0], 0, "out of memory", dataset="broken")
    text = words(study)
    assert text.count("No run has finished: there is no answer yet.") == 2
    assert "6.07 % [4.0" in text


def test_two_recipes_are_compared_and_one_is_not(study: Path):
    assert "What does the recipe change?" not in words(study)
    write_study(study, recipes=["quickstart", "crop"], seeds=[0, 1, 2])
    for model, error in zip(LITE, (0.19, 0.05, 0.05), strict=True):
        for seed in range(3):
            write_run(study / "runs", model, seed, error + seed * (seed - 1) / 1000, recipe="crop")
    text = words(study)
    assert "What does the recipe change?" in text
    assert "−1.03 [−1.18, −0.89]" in text  # -1.0, -1.0 and -1.1 points


def test_a_study_without_failures_says_so(study: Path):
    assert "None: every run of the grid finished." in words(study)


def test_two_close_models_cannot_be_told_apart_and_a_far_one_can(study: Path):
    for seed in range(3):
        cost = {"fit_seconds": 12.0, "peak_rss_gib": 0.9}
        write_run(study / "runs", LITE[2], seed, 0.061 + seed * (seed - 1) / 1000, cost=cost)
    text = words(study)
    assert "It cannot be told apart from 1 of the 2 others: P(best) is 0." in text
    assert f"The quickest of those that may be the best is {LITE[2]}, 12.0 s for" in text


def test_a_model_far_ahead_is_told_apart(study: Path):
    for seed in range(3):
        write_run(study / "runs", LITE[2], seed, 0.25 + seed / 1000)
    assert "It is told apart from all 2 others: P(best) is 1.00." in words(study)


def board(*rows: dict) -> pd.DataFrame:
    """Rows of a leaderboard with what `answer` reads."""
    usual = {
        "dataset": "d",
        "recipe": "r",
        "n": 3,
        "error_rate_low": 0.05,
        "error_rate_high": 0.15,
        "interval_covers": "seeds and images",
        "p_best": 0.5,
        "tied": True,
        "fbeta2_mean": float("nan"),
        "fit_seconds_median": 10.0,
        "n_timed": 3,
        "n_not_timed": 0,
        "device": "CPU",
        "chance_error_rate": 0.9,
        "data_kind": "single",
        "n_valid": 400,
    }
    return pd.DataFrame([{**usual, **row} for row in rows])


def test_models_that_ran_once_come_with_a_warning():
    found = answer(
        "d",
        board(
            {"model": "a", "error_rate_mean": 0.1, "n": 1, "interval_covers": "images"},
            {"model": "b", "error_rate_mean": 0.2, "n": 1, "interval_covers": "images"},
        ),
    )
    assert any("run more seeds" in sentence for sentence in found.sentences)


def test_without_the_number_of_images_nothing_is_said_about_how_sure_it_is():
    unknown = {"p_best": float("nan"), "tied": None, "error_rate_low": float("nan")}
    found = answer(
        "d",
        board(
            {"model": "a", "error_rate_mean": 0.1, **unknown},
            {"model": "b", "error_rate_mean": 0.2, **unknown},
        ),
    )
    assert found.sentences == [
        "The number of validation images is unknown, so is how sure its place is."
    ]
    assert ("error", "10.00 %") in found.facts


def test_an_error_at_chance_is_called_that():
    found = answer("d", board({"model": "a", "error_rate_mean": 0.91}))
    assert any("no better than chance" in sentence for sentence in found.sentences)


def test_a_dataset_without_a_finished_run_has_no_answer():
    found = answer("d", board({"model": "a", "error_rate_mean": float("nan"), "n": 0}))
    assert found.model is None
    assert found.sentences == ["No run has finished: there is no answer yet."]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the browser chromium")
def test_the_search_box_hides_the_rows_that_lack_a_word(study: Path):
    script = """<script>
      const box = document.querySelector(".search input");
      box.value = "LITE2 efficientnet"; box.dispatchEvent(new Event("input"));
    </script></body>"""
    page = study / "searched.html"
    page.write_text(render(study).replace("</body>", script))
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    rows = [attrs for tag, attrs in Page(done.stdout.partition("</table>")[0]).tags if tag == "tr"]
    assert ["hidden" in attrs for attrs in rows] == [False, True, False, True]
    assert '<span class="faint" role="status">1 of 3</span>' in done.stdout


def test_the_section_on_the_2022_study_is_markup_in_the_page(study: Path, shared: Path):
    render(study)
    study2022.main(str(shared / "reference/sweep_2022.csv"), study / "study2022")
    report.main(*paths(study), study2022=study / "study2022")
    html = (study / "report.html").read_text()
    assert "study2022" in {attrs.get("id") for _, attrs in Page(html).tags}
    assert len(html) < 7_000_000


def test_a_missing_folder_of_the_2022_study_is_one_clear_line(study: Path):
    render(study)
    (study / "report.html").unlink()
    with pytest.raises(PipelineError, match=r"nowhere/section.html: no such file"):
        report.main(*paths(study), study2022=study / "nowhere")
    assert not (study / "report.html").exists()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(25.64, "25.6 s"), (192, "3 min 12 s"), (3900, "1 h 05 min"), (float("nan"), "–")],
)
def test_durations_are_written_for_people(seconds: float, text: str):
    assert duration(seconds) == text
