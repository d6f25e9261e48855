"""The published example is what docs/example.py makes of the 2022 study's runs."""

import importlib.util
import re
from pathlib import Path

import pytest

EXAMPLE = Path("docs/example/report.html")


def test_the_example_is_one_file_under_seven_megabytes_that_loads_nothing(root: Path) -> None:
    html = (root / EXAMPLE).read_text(encoding="utf-8")
    assert len(html.encode()) < 7_000_000
    outside = re.sub(r"<(script|style).*?</\1>", "", html, flags=re.DOTALL)
    addresses = re.findall(r"""<[^>]*\b(?:src|href)="([^"]*)""", outside)
    assert addresses
    assert all(each.startswith(("#", "data:image/png;base64,")) for each in addresses)


@pytest.mark.slow
def test_the_example_says_what_the_study_gives_now(
    root: Path, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (shared / "reference/sweep_2022.csv").is_file():
        pytest.skip(f"the 2022 study's runs are not in {shared}/reference")
    monkeypatch.setenv("WB_SHARED", str(shared))
    spec = importlib.util.spec_from_file_location("example", root / "docs/example.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    example.main(out=tmp_path)
    made, published = said(tmp_path / "report.html"), said(root / EXAMPLE)
    assert made == published, f"{EXAMPLE} is out of date: make it again: python -m docs.example"


def said(path: Path) -> list[str]:
    """The page's text, without charts, pictures and markup."""
    html = path.read_text(encoding="utf-8")
    html = re.sub(r"<(script|style|svg).*?</\1>", " ", html, flags=re.DOTALL)
    return re.sub(r"<[^>]*>", " ", html).split()
