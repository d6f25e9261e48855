"""Names beside points, without overlap: each where there is room, the important ones first."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation

from pipeline.figures.canvas import FAINT, INK

NO_POINTS = np.empty((0, 2))
_DIRECTIONS = np.array(
    [(1, 0), (0.7, 0.7), (0.7, -0.7), (0, 1), (0, -1), (-0.7, 0.7), (-0.7, -0.7), (-1, 0)]
)
_DISTANCES_POINTS = (7, 12, 20, 30, 45, 65, 90)
_LEADER_FROM_POINTS = 11


def place_labels(
    axes: Axes,
    points: np.ndarray,
    texts: Sequence[str],
    marks: np.ndarray = NO_POINTS,
    lines: np.ndarray = NO_POINTS,
) -> list[Annotation]:
    """Write each text beside its point [n, 2] where there is room, the most important first.

    No text hides one of the points or `marks` [m, 2]; points along `lines` [k, 2] are hidden only
    where there is no better place. A text without room is left out. Call it when all else is drawn:
    it settles the layout and freezes it.
    """
    made = axes.get_figure(root=True)
    assert isinstance(made, Figure)
    made.draw_without_rendering()
    made.set_layout_engine("none")
    axes.autoscale(False)
    frame = axes.get_window_extent()
    scale = made.dpi / 72  # pixels per point
    at = axes.transData.transform(points)
    hard = np.vstack([at, axes.transData.transform(marks)])
    soft = np.vstack([hard, axes.transData.transform(lines)])
    taken: list[np.ndarray] = []
    placed = []
    for point, data, text in zip(at, points, texts, strict=True):
        label = axes.annotate(
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
        size = np.asarray(label.get_window_extent().size) + 2 * scale
        within = np.array([frame.min, frame.max])
        box = _free_box(point, size, scale, within, soft, taken)
        if box is None:
            box = _free_box(point, size, scale, within, hard, taken)
        if box is None:
            label.remove()
            continue
        taken.append(box)
        offset = (box.mean(axis=0) - point) / scale
        label.set_position(tuple(offset))
        placed.append(label)
        _draw_leader(axes, data, point, box, scale)
    return placed


def _free_box(
    point: np.ndarray,
    size: np.ndarray,
    scale: float,
    frame: np.ndarray,
    avoid: np.ndarray,
    taken: list[np.ndarray],
) -> np.ndarray | None:
    """The first box [[left, low], [right, high]] in pixels that hides nothing; None if none."""
    for distance in _DISTANCES_POINTS:
        for direction in _DIRECTIONS:
            centre = point + direction * distance * scale + np.sign(direction) * size / 2
            box = np.array([centre - size / 2, centre + size / 2])
            if (box[0] < frame[0]).any() or (box[1] > frame[1]).any():
                continue
            if any((box[0] < other[1]).all() and (other[0] < box[1]).all() for other in taken):
                continue
            if not ((avoid > box[0] - 3 * scale) & (avoid < box[1] + 3 * scale)).all(1).any():
                return box
    return None


def _draw_leader(
    axes: Axes, data: np.ndarray, point: np.ndarray, box: np.ndarray, scale: float
) -> None:
    """A thin line from a label to its point, where the two are far apart."""
    nearest = np.clip(point, box[0], box[1])
    if np.hypot(*(nearest - point)) > _LEADER_FROM_POINTS * scale:
        end = axes.transData.inverted().transform(nearest)
        axes.plot(*zip(data, end, strict=True), color=FAINT, linewidth=0.6, zorder=5)
