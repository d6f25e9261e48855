"""What a record packs, and that it comes back as it was or not at all."""

import numpy as np
import pytest

from pipeline.records import pack_counts, unpack_counts


@pytest.mark.parametrize("counts", [[], [0, 1, 0], [17, 0, 255]])
def test_wrong_answers_come_back_as_they_were(counts: list[int]) -> None:
    packed = pack_counts(np.array(counts, dtype=np.int64))
    assert unpack_counts(packed).tolist() == counts


@pytest.mark.parametrize("text", ["", "not base64!", "AAAA", pack_counts(np.ones(99))[:12]])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the caller says which file
        unpack_counts(text)
