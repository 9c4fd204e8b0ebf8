"""Figures carry alternative text, come out the same twice, and keep colours apart."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest

from aimaas_helpers import plotting, training

PALETTE = [plotting.BLUE, plotting.VERMILLION, plotting.GREEN, plotting.PURPLE, plotting.ORANGE, plotting.SKY]


@pytest.fixture
def shown(monkeypatch):
    """What is displayed, as pairs of data and metadata."""
    outputs = []
    monkeypatch.setattr("IPython.display.display", lambda data, *, raw, metadata: outputs.append((data, metadata)))
    return outputs


def line_figure():
    fig, (ax,) = plotting.panels(1)
    ax.plot([1, 2, 3], label="one")
    ax.plot([3, 1, 2], label="two")
    ax.legend()
    return fig


@pytest.mark.parametrize(("exact", "kind"), [(True, "image/svg+xml"), (False, "image/png")])
def test_a_figure_has_alternative_text_and_is_closed(shown, exact, kind):
    plotting.show(line_figure(), "Two lines.", exact=exact)
    (data, metadata), *others = shown
    assert not others and not plt.get_fignums()
    assert metadata[kind]["alt"] == "Two lines." and "Two lines." in data["text/plain"]
    assert metadata[kind]["width"] == 672  # 7 inches in CSS pixels


@pytest.mark.parametrize("exact", [True, False])
def test_the_same_figure_comes_out_the_same(shown, exact):
    for _ in range(2):
        plotting.show(line_figure(), "Two lines.", exact=exact)
    assert shown[0] == shown[1]


def test_a_figure_without_alternative_text_is_refused(shown):
    with pytest.raises(ValueError, match="alternative text"):
        plotting.show(line_figure(), " ")
    plt.close("all")


def test_what_the_package_draws_is_shown(shown):
    plotting.images(np.zeros((5, 4, 4)), "abcde", alt="Five empty pictures.", columns=3)
    plotting.heatmap([[5, 0], [1, 4]], ["a", "b"], rows="true", columns="predicted", alt="A table.")
    training.History({"loss": [2.0, 1.0], "val_loss": [2.0, 1.5]}, epochs=2, seconds=1.0).plot()
    assert len(shown) == 3 and all(metadata["image/png"]["alt"] for _, metadata in shown)


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    bright, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_text_and_the_first_lines_stand_out_from_the_card():
    assert contrast(plotting.INK, "#ffffff") >= 7
    assert all(contrast(colour, "#ffffff") >= 3 for colour in PALETTE[:3])  # WCAG 1.4.11


# How a red-blind and a green-blind eye see linear RGB: Viénot, Brettel and Mollon (1999).
BLINDNESS = {
    "protan": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
    "deutan": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
}


@pytest.mark.parametrize("kind", BLINDNESS)
def test_colours_stay_apart_without_colour_vision(kind):
    seen = []
    for colour in PALETTE:
        srgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
        seen.append(np.clip(np.array(BLINDNESS[kind]) @ linear, 0, 1) ** (1 / 2.4))
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 0.1


def test_lines_differ_in_dash_as_well():
    styles = [entry["linestyle"] for entry in plotting.STYLE["axes.prop_cycle"]]
    assert len(set(styles[:4])) == 4
