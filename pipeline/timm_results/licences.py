"""Whether weights may be used commercially, by the licence that timm states for them.

An identifier that is not in LICENCES is not allowed, nor is one whose text leaves a doubt: its
owner may allow what is excluded here. The licence is that of the weights; the images that they
learned from have terms of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

UNKNOWN = "unknown"  # shown for "", and timm's own word for a licence that it could not find


@dataclass(frozen=True)
class Terms:
    """`source` is the SPDX identifier or the name of the vendor's text, with what decides."""

    commercial: bool
    source: str


_SAMPLE_CODE = "grants a personal licence, and says nothing of commercial use"
LICENCES: Mapping[str, Terms] = MappingProxyType(
    {
        "apache-2.0": Terms(True, "SPDX Apache-2.0"),
        "bsd-3-clause": Terms(True, "SPDX BSD-3-Clause"),
        "cc-by-4.0": Terms(True, "SPDX CC-BY-4.0: with attribution"),
        "mit": Terms(True, "SPDX MIT"),
        "nvidia-open-model-license": Terms(
            True, 'NVIDIA Open Model License Agreement: "Models are commercially usable", on terms'
        ),
        "cc-by-nc-4.0": Terms(False, "SPDX CC-BY-NC-4.0: no commercial use"),
        "apple-amlr": Terms(
            False, "Apple Machine Learning Research Model License: research purposes alone"
        ),
        "fair-noncommercial-research-license": Terms(
            False, "FAIR Noncommercial Research License: research without commerce"
        ),
        "seer-license": Terms(False, "Meta's SEER model license: research without commerce"),
        "apple-ascl": Terms(False, f"Apple Sample Code License: {_SAMPLE_CODE}"),
        "cvnets-license": Terms(False, f"LICENSE of apple/ml-cvnets: {_SAMPLE_CODE}"),
        "fastvit-license": Terms(False, f"LICENSE of apple/ml-fastvit: {_SAMPLE_CODE}"),
        "mobileone-license": Terms(False, f"LICENSE of apple/ml-mobileone: {_SAMPLE_CODE}"),
        "dinov3-license": Terms(
            False, "Meta's DINOv3 License: commercial use on conditions, behind an approval"
        ),
        "gemma": Terms(False, "Google's Gemma Terms of Use: uses are restricted, and may change"),
        "qwen-community-1.0": Terms(False, "a community licence of Qwen: its text was not read"),
        "sapiens2-license": Terms(False, "Meta's Sapiens2 License: its text was not read"),
    }
)


def stated(identifier: str | None) -> str:
    """timm's identifier of a licence; "" where timm does not know it."""
    return "" if identifier in (None, UNKNOWN) else str(identifier)


def commercial(licence: Any) -> bool:
    """Is commercial use allowed, beyond doubt? Nothing known ("" or a null) is not allowed."""
    terms = LICENCES.get(licence) if isinstance(licence, str) else None
    return terms is not None and terms.commercial


def shown(licence: Any) -> str:
    """The licence for people: `unknown` for "" and a null."""
    return licence if isinstance(licence, str) and licence else UNKNOWN
