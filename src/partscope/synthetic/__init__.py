"""Drawn birds with exact part positions: data for the demo and the tests that needs no download.

What they are: ray-cast solids. A bird is some ninety ellipsoids in the proportions of its species and the angles of its pose; the
nearest surface is found in closed form for every half pixel, painted with the species' markings, lit, and set among
branches, leaves, reeds and out-of-focus backgrounds. The fifteen parts of CUB-200-2011 are patches of that surface, and
positions, visibility and box are read off it after everything that hides a piece has been taken away: the bird itself,
what stands before it, the water, the border of the picture. They vary in species (proportions, colours, markings), pose,
direction, scale, place, light, surroundings, occlusion, size and aspect ratio.

What they are not: photographs. Their surface statistics, their species and the frequency of their poses are invented; they
are easier than photographs in some ways (one bird per picture, in focus) and stranger in others. An error measured on
them compares methods and catches mistakes; it says nothing about the error on photographs.
"""

from partscope.synthetic.birds import DrawnBird, draw_bird, render_bird, synthesize_birds
from partscope.synthetic.parts import PARTS
from partscope.synthetic.pose import Pose, draw_pose
from partscope.synthetic.species import Species, draw_species
from partscope.synthetic.writing import write_synthetic_birds

__all__ = [
    "PARTS",
    "DrawnBird",
    "Pose",
    "Species",
    "draw_bird",
    "draw_pose",
    "draw_species",
    "render_bird",
    "synthesize_birds",
    "write_synthetic_birds",
]
