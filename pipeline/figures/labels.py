"""Where names go in all charts: next to their points without overlap, the most important first.

`place_labels` writes them into a figure, `name_boxes` finds their places in a chart that a browser
draws. A name that is far from its point has a line to it, its leader.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation

from pipeline.figures.look import FAINT, INK

NO_POINTS = np.empty((0, 2))
_DIRECTIONS = np.array(
    [
        *((1, 0), (0.7, 0.7), (0.7, -0.7), (0, 1), (0, -1), (-0.7, 0.7), (-0.7, -0.7), (-1, 0)),
        *((0.9, 0.45), (0.9, -0.45), (-0.9, 0.45), (-0.9, -0.45)),
    ]
)
_DISTANCES_POINTS = (7, 12, 20, 30, 45, 65, 90, 120)
_LEADER_FROM_POINTS = 11
LINE_PIXELS = 17  # a name's height in a browser
SCALE = 1.25  # a browser's pixels per point, the unit of a name's distances


def place_labels(
    axes: Axes,
    points: np.ndarray,
    texts: Sequence[str],
    marks: np.ndarray,
    lines: np.ndarray = NO_POINTS,
) -> list[Annotation]:
    """Write each text next to its point [n, 2] where there is room, the most important first.

    No text hides one of the points or `marks` [m, 2]; points along `lines` [k, 2] are hidden only
    where there is no better place. A text without room is left out. All are in the axes' data
    coordinates. Call it when all else is drawn: it freezes the layout.
    """
    scale = _freeze_layout(axes)
    frame = axes.get_window_extent()
    within = np.array([frame.min, frame.max])
    to_pixels = axes.transData.transform
    at = to_pixels(points)
    labels = [_annotation(axes, *each) for each in zip(points, texts, strict=True)]
    sizes = [np.asarray(label.get_window_extent().size) + 2 * scale for label in labels]
    boxes = free_boxes(at, sizes, scale, within, to_pixels(marks), to_pixels(lines))
    for label, point, data, box in zip(labels, at, points, boxes, strict=True):
        if box is None:
            label.remove()
        else:
            label.set_position(tuple((box.mean(axis=0) - point) / scale))
            _draw_leader(axes, data, point, box, scale)
    return [label for label, box in zip(labels, boxes, strict=True) if box is not None]


def _freeze_layout(axes: Axes) -> float:
    """Settle where the axes are, so that pixels stay where they are; returns pixels per point."""
    fig = axes.get_figure(root=True)
    assert isinstance(fig, Figure)
    fig.draw_without_rendering()
    fig.set_layout_engine("none")
    axes.autoscale(False)
    return fig.dpi / 72


def _annotation(axes: Axes, data: np.ndarray, text: str) -> Annotation:
    """The text centred on its point, above all else, with a white outline."""
    return axes.annotate(
        text,
        tuple(data),
        xytext=(0, 0),
        textcoords="offset points",
        size=8,
        color=INK,
        ha="center",
        va="center",
        zorder=6,
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
    )


def free_boxes(
    points: np.ndarray,
    sizes: Sequence[np.ndarray | None],
    scale: float,
    frame: np.ndarray,
    never: np.ndarray,
    rather_not: np.ndarray,
) -> list[np.ndarray | None]:
    """A box near each point [n, 2] for a text of its size, the first ones first.

    None without room, and where the size is None: that point has no text. No box lies on another
    one, on a leader, or on one of the points or `never` [m, 2]; on `rather_not` [k, 2] only where
    there is no better place. See `free_box`.
    """
    never = np.vstack([points, never])
    found: list[np.ndarray | None] = []
    taken: list[np.ndarray] = []
    leaders: list[np.ndarray] = []
    for point, size in zip(points, sizes, strict=True):
        box = None
        if size is not None:
            both = np.vstack([never, rather_not])
            box = free_box(point, size, scale, frame, both, taken, leaders)
            if box is None:
                box = free_box(point, size, scale, frame, never, taken, leaders)
        found.append(box)
        if box is not None:
            taken.append(box)
            leaders.append(leader(point, box, scale))
            never = np.vstack([never, leaders[-1]])
    return found


def free_box(
    point: np.ndarray,
    size: np.ndarray,
    scale: float,
    frame: np.ndarray,
    avoid: np.ndarray,
    taken: list[np.ndarray],
    leaders: list[np.ndarray],
) -> np.ndarray | None:
    """The first box [[left, low], [right, high]] for a text of this size that hides nothing.

    It is within `frame` [[left, low], [right, high]], and clear of the points `avoid` [n, 2] and of
    the boxes `taken`, and its leader crosses none of the `leaders`; None where there is no room.
    All in pixels, `scale` of them per point. Error bars are upright, so that no leader may be.
    """
    for distance in _DISTANCES_POINTS:
        for direction in _DIRECTIONS:
            centre = point + direction * distance * scale + np.sign(direction) * size / 2
            box = np.array([centre - size / 2, centre + size / 2])
            if (box[0] < frame[0]).any() or (box[1] > frame[1]).any():
                continue
            if any((box[0] < other[1]).all() and (other[0] < box[1]).all() for other in taken):
                continue
            line = leader(point, box, scale)
            if len(line) and abs(line[-1, 0] - point[0]) < abs(line[-1, 1] - point[1]) / 2:
                continue
            if any(((line > other[0]) & (line < other[1])).all(1).any() for other in taken):
                continue
            if len(line) and any(_cross(line, other) for other in leaders if len(other)):
                continue
            if not ((avoid > box[0] - 3 * scale) & (avoid < box[1] + 3 * scale)).all(1).any():
                return box
    return None


def _cross(line: np.ndarray, other: np.ndarray) -> bool:
    """Whether two straight lines [n, 2] cross: the ends of each lie on both sides of the other."""

    def parted(along: np.ndarray, ends: np.ndarray) -> bool:
        (x, y), to = along[-1] - along[0], ends - along[0]
        left, right = x * to[:, 1] - y * to[:, 0]
        return bool(left * right < 0)

    return parted(line, other[[0, -1]]) and parted(other, line[[0, -1]])


def leader(point: np.ndarray, box: np.ndarray, scale: float) -> np.ndarray:
    """Points along the leader from a point to the box of its text [n, 2]; none if they are close.

    All in pixels, `scale` of them per point.
    """
    nearest = np.clip(point, box[0], box[1])
    if np.hypot(*(nearest - point)) <= _LEADER_FROM_POINTS * scale:
        return NO_POINTS
    return np.linspace(point, nearest, 40)


def _draw_leader(
    axes: Axes, data: np.ndarray, point: np.ndarray, box: np.ndarray, scale: float
) -> None:
    """A thin line from a label to its point, where the two are far apart."""
    line = leader(point, box, scale)
    if len(line):
        to = axes.transData.inverted().transform(line[-1])
        axes.plot(*zip(data, to, strict=True), color=FAINT, linewidth=0.6, zorder=5)


def along_steps(corners: np.ndarray, n: int, logarithmic: bool = True) -> np.ndarray:
    """Points along the steps through these corners [m, 2], from left to right; `n` on each piece.

    Names are kept clear of them. `logarithmic`: the horizontal axis is.
    """
    share = np.linspace(0, 1, n)[:, None]
    x, y = corners[:, 0], corners[:, 1]
    across = x[:-1] * (x[1:] / x[:-1]) ** share if logarithmic else x[:-1] + share * np.diff(x)
    level, down = y[:-1] + 0 * share, y[:-1] + np.diff(y) * share
    pieces = np.stack([across, level], -1), np.stack([x[1:] + 0 * share, down], -1)
    return np.vstack([each.reshape(-1, 2) for each in pieces])


def name_boxes(
    points: np.ndarray,
    texts: Sequence[str],
    lines: np.ndarray,
    bars: np.ndarray,
    area: tuple[int, int],
    letter: float,
) -> list[np.ndarray | None]:
    """The box of each text near its point [n, 2], coordinates from 0 to 1; None without room.

    Boxes are in pixels of `area`, the plot's width and height; `letter` is the width of a letter in
    pixels. The first texts choose first. No name lies across another, a point, or one of the points
    along `lines` [m, 2]; across points along `bars` [k, 2] only where there is no better place.
    """
    size = np.array(area)
    frame = np.array([(0, 0), size])
    sizes = [np.array([len(text) * letter, LINE_PIXELS]) if text else None for text in texts]
    return free_boxes(points * size, sizes, SCALE, frame, lines * size, bars * size)
