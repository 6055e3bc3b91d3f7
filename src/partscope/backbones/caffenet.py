"""BVLC's reference CaffeNet, the paper's network (through DeCAF), up to its last pooling layer.

Not the same as torchvision's AlexNet, which has other widths, no grouped convolutions and no local response normalisation.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from partscope.backbones.preprocessing import Preprocessing

#: BGR, 0–255, minus the mean of ImageNet, 227×227.
CAFFENET_PREPROCESSING = Preprocessing(
    input_size=227, mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0), scale=1.0, bgr=True
)


def caffenet() -> nn.Sequential:
    """Build CaffeNet's convolutional part, without weights: conv1 … conv5, each pool *before* its normalisation.

    Takes (N, 3, 227, 227), gives `pool5`: (N, 256, 6, 6). Parameter names `conv1.weight` … `conv5.bias`.
    """

    def pool() -> nn.MaxPool2d:
        return nn.MaxPool2d(3, stride=2, ceil_mode=True)

    def norm() -> nn.LocalResponseNorm:
        return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)

    layers: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Conv2d(3, 96, 11, stride=4)),
        ("relu1", nn.ReLU()),
        ("pool1", pool()),
        ("norm1", norm()),
        ("conv2", nn.Conv2d(96, 256, 5, padding=2, groups=2)),
        ("relu2", nn.ReLU()),
        ("pool2", pool()),
        ("norm2", norm()),
        ("conv3", nn.Conv2d(256, 384, 3, padding=1)),
        ("relu3", nn.ReLU()),
        ("conv4", nn.Conv2d(384, 384, 3, padding=1, groups=2)),
        ("relu4", nn.ReLU()),
        ("conv5", nn.Conv2d(384, 256, 3, padding=1, groups=2)),
        ("relu5", nn.ReLU()),
        ("pool5", pool()),
    ]
    return nn.Sequential(OrderedDict(layers))
