"""One style for every figure: colour-blind safe, readable on light and dark pages, with alternative text.

Figures stand on an opaque white card, so they look the same wherever they are shown. Colours are the palette of
Okabe and Ito (2008); lines differ in dash as well as in colour.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from cycler import cycler

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
INK, FAINT = "#1f2328", "#d0d7de"

STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.prop_cycle": cycler(color=[BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY])
    + cycler(linestyle=["-", "--", "-.", ":", "-", "--"]),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",  # ships with Matplotlib, so text has the same outlines everywhere
    "grid.color": FAINT,
    "image.cmap": "cividis",
    "legend.frameon": False,
    "svg.hashsalt": "aimaas",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def use_style() -> None:
    """Make :data:`STYLE` the style of every figure drawn from now on."""
    import matplotlib as mpl

    mpl.rcParams.update(STYLE)


def panels(n: int, *, columns: int = 2, width: float = 7.0, height: float = 2.8) -> tuple[Figure, list[Axes]]:
    """A figure with ``n`` axes, at most ``columns`` side by side; whole ``width`` and ``height`` a row, in inches."""
    import matplotlib.pyplot as plt

    use_style()
    columns = min(columns, n)
    rows = -(-n // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(width, height * rows), squeeze=False)
    for spare in axes.flat[n:]:
        spare.set_axis_off()
    return fig, list(axes.flat[:n])


def show(fig: Figure, alt: str, *, exact: bool = False) -> None:
    """Display ``fig`` in the notebook with ``alt``, one or two sentences for whoever cannot see it, and close it.

    ``exact=True`` draws SVG, which the tests compare letter by letter: for figures that come out the same on every
    machine. All others (anything trained or timed) are drawn as PNG at twice the screen's resolution. ``alt`` must
    hold no number that another machine might change.
    """
    import matplotlib.pyplot as plt
    from IPython.display import display

    if not alt.strip():
        raise ValueError("Every figure needs alternative text: say in a sentence what it shows.")
    buffer = io.BytesIO()
    image: str | bytes
    if exact:
        fig.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
        kind, image = "image/svg+xml", buffer.getvalue().decode()
    else:
        fig.savefig(buffer, format="png", bbox_inches="tight", dpi=2 * 96, metadata={"Software": None})
        kind, image = "image/png", buffer.getvalue()
    plt.close(fig)
    described = {"alt": alt, "width": round(fig.get_figwidth() * 96)}  # width in CSS pixels
    display({kind: image, "text/plain": f"Figure: {alt}"}, raw=True, metadata={kind: described})


def images(pictures: ArrayLike, titles: Iterable[object] = (), *, alt: str, columns: int = 8) -> None:
    """Show ``pictures``, grey values ``[n, height, width]`` in ``[0, 1]``, in a grid, each with its title if given."""
    array, names = np.asarray(pictures), [str(title) for title in titles]
    columns = min(columns, len(array))
    fig, axes = panels(len(array), columns=columns, width=0.9 * columns, height=1.15 if names else 0.95)
    for ax, picture in zip(axes, array, strict=True):
        ax.imshow(picture, cmap="gray_r", vmin=0, vmax=1)
        ax.set_axis_off()
    for ax, name in zip(axes, names, strict=False):
        ax.set_title(name, fontsize="small")
    show(fig, alt)


def heatmap(table: ArrayLike, labels: Sequence[str], *, rows: str, columns: str, alt: str) -> None:
    """Show a square table of counts ``[k, k]`` as shades, each cell with its number; the axes are named."""
    array = np.asarray(table)
    size = 0.42 * len(labels) + 1.4
    fig, (ax,) = panels(1, width=size, height=size)
    ax.imshow(np.sqrt(array), cmap="Blues")  # the square root keeps rare mistakes visible
    ax.set(xlabel=columns, ylabel=rows, xticks=range(len(labels)), yticks=range(len(labels)))
    ax.set_xticklabels(labels, rotation=0 if max(map(len, labels)) < 3 else 90)
    ax.set_yticklabels(labels)
    ax.grid(False)
    for (row, column), value in np.ndenumerate(array):
        if value:
            dark = np.sqrt(value) > np.sqrt(array.max()) / 2
            ax.text(column, row, f"{value:,}", ha="center", va="center", fontsize=8, color="white" if dark else INK)
    show(fig, alt)
