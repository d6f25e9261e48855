"""Where the names of a few models stand in an interactive chart: beside marks, across nothing.

plotly offers eight places around a mark and looks for no room by itself. Room is reckoned in the
pixels of a chart as wide as the page; the page's script leaves names out in a narrower window.
"""

from collections.abc import Sequence

import numpy as np

WIDTH, HEIGHT = 860, 400  # pixels of the plot's area in a full page
LETTER, LINE = 7.6, 17  # pixels of the page's font, 13 pixels high
BESIDE = 8  # pixels between a mark's centre and its name
PLACES = {  # plotly's names, the best first: where the name's centre lies, x to the right, y up
    "middle right": (1, 0),
    "top right": (1, 1),
    "bottom right": (1, -1),
    "middle left": (-1, 0),
    "top left": (-1, 1),
    "bottom left": (-1, -1),
    "top center": (0, 1),
    "bottom center": (0, -1),
}


def text_positions(
    points: np.ndarray, texts: Sequence[str], lines: np.ndarray, bars: np.ndarray
) -> list[str]:
    """Each text's place beside its point [n, 2], coordinates from 0 to 1; "" where no room is.

    No name lies across another, a point, or one of the points along `lines` [m, 2]; across points
    along `bars` [k, 2] only where there is no better place.
    """
    size = np.array([WIDTH, HEIGHT])
    at, taken = points * size, np.empty((0, 2, 2))
    hard = np.vstack([at, lines * size])
    soft = np.vstack([hard, bars * size])
    found = []
    for point, text in zip(at, texts, strict=True):
        boxes = _boxes(point, np.array([len(text) * LETTER, LINE]) / 2)
        free = [place for place, box in boxes.items() if _is_free(box, soft, taken)]
        free += [place for place, box in boxes.items() if _is_free(box, hard, taken)]
        found.append(free[0] if free else "")
        if free:
            taken = np.vstack([taken, boxes[free[0]][None]])
    return found


def _boxes(point: np.ndarray, half: np.ndarray) -> dict[str, np.ndarray]:
    """The box [[left, low], [right, high]] of a text of this half size at every place."""
    centres = {name: point + np.array(way) * (half + BESIDE) for name, way in PLACES.items()}
    return {name: np.array([centre - half, centre + half]) for name, centre in centres.items()}


def _is_free(box: np.ndarray, obstacles: np.ndarray, taken: np.ndarray) -> bool:
    inside = (box[0] >= 0).all() and (box[1] <= (WIDTH, HEIGHT)).all()
    hides = ((obstacles > box[0]) & (obstacles < box[1])).all(1).any()
    overlaps = ((taken[:, 0] < box[1]) & (taken[:, 1] > box[0])).all(1).any()
    return bool(inside and not hides and not overlaps)
