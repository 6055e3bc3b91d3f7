"""A network whose channels are colours, for the animals of `drawn`: what it must find is known."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from partscope.backbones import Backbone, Preprocessing
from partscope.detectors import ChannelDetector

SIDE = 48
#: Channels of the network: where a picture is red (the head), yellow (the tail), white (the beak), blue (the body),
#: anything (everywhere), and never.
RED, YELLOW, WHITE, BLUE, ANY, DEAD = range(6)


def colour_network() -> nn.Sequential:
    network = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU(inplace=True))
    rows = [(1, -1, -1), (0.5, 0.5, -1), (0.4, 0.3, 0.3), (-1, -1, 1), (0.1, 0.1, 0.1), (0, 0, 0)]
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor(rows)[:, :, None, None])
        network[0].bias.copy_(torch.tensor([-0.2, -0.4, -0.85, -0.2, 0.1, -1.0]))
    return network


def colours(**options: Any) -> Backbone:
    return Backbone(
        colour_network(), "1", Preprocessing(SIDE, (0, 0, 0), (1, 1, 1)), name="colours", **options
    )


def quick(**options: Any) -> ChannelDetector:
    """A detector with the cheapest centre, for what does not depend on it."""
    return ChannelDetector(colours(), **{"centre": "maximum", **options})
