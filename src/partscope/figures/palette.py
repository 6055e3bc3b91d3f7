"""Colours of parts and methods that stay apart for readers with a colour vision deficiency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Colour = tuple[int, int, int]

#: The seven chromatic colours of Okabe and Ito (2008), followed by the sRGB colours that keep the largest CIELAB
#: distance from all earlier ones as seen with normal vision, deuteranopia and protanopia (Machado et al. 2009).
PART_COLOURS: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (0, 0, 255),
    (170, 255, 170),
    (119, 0, 0),
    (102, 17, 68),
    (51, 34, 170),
    (102, 119, 255),
    (119, 255, 255),
    (102, 187, 102),
    (153, 221, 187),
)

#: The colours of Fig. 2 of the paper, for data with these parts.
FIGURE_2_COLOURS: Mapping[str, Colour] = {
    "head": (255, 255, 255),
    "belly": (0, 200, 70),
    "tail": (230, 30, 30),
}

#: Line colours on a light background: dark enough for a contrast of 3:1 against white (WCAG 2.1, 1.4.11).
METHOD_COLOURS: tuple[str, ...] = (
    "#0072b2",
    "#d55e00",
    "#008a64",
    "#b5558f",
    "#5b5b5b",
    "#997000",
    "#3322aa",
)
#: Line styles beside the colours, so that a figure survives a black-and-white print.
METHOD_STYLES: tuple[str, ...] = ("-", "--", "-.", ":")
METHOD_MARKERS: tuple[str, ...] = ("o", "s", "^", "D", "v", "P", "X")


def part_colours(parts: Sequence[str]) -> tuple[Colour, ...]:
    """Return one RGB colour (0–255) per part by its place in `parts`; from the 17th part on they repeat."""
    return tuple(PART_COLOURS[p % len(PART_COLOURS)] for p in range(len(parts)))


def ink_on(colour: Colour) -> Colour:
    """Return black or white, whichever has the larger contrast on `colour` (relative luminance of WCAG 2.1)."""
    linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (0, 0, 0) if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else (255, 255, 255)


def hexadecimal(colour: Colour) -> str:
    """Return an RGB colour (0–255) as `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
