"""Gradients of channels as an attribution method of captum.

`ChannelGradient` gives what captum's `NeuronGradient` gives for a whole channel, the gradient of the channel's sum with respect
to the input (section 2 of the paper), and stands wherever captum takes an attribution method, such as in `NoiseTunnel`. For
one image and many channels it is faster: they share one linearised network (:mod:`partscope.backward`). Importing this module
needs the extra `captum`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from partscope.backbones import Backbone
from partscope.errors import MissingExtraError, OptionError
from partscope.maps import REDUCTIONS, input_gradients

try:
    from captum.attr import GradientAttribution
    from captum.log import log_usage
except ImportError as error:
    raise MissingExtraError("captum", "captum", "partscope.captum") from error


class ChannelGradient(GradientAttribution):  # type: ignore[misc]  # captum has no types
    """Attributes a channel's sum to the input.

    Parameters
    ----------
    backbone: network, layer and preprocessing; :func:`~partscope.get_backbone` gives one, of any network.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(self._sums)
        self.backbone = backbone

    def _sums(self, inputs: Tensor) -> Tensor:
        """Return (N, K) sums of the layer's channels: the function that is attributed."""
        return self.backbone.activations(inputs).sum(dim=(2, 3))

    @log_usage()  # type: ignore[untyped-decorator]  # captum's tunnels look for what this decorator leaves; it logs nothing
    def attribute(
        self,
        inputs: Tensor,
        target: int | Sequence[int] | Tensor,
        reduction: str | None = None,
        engine: str = "auto",
    ) -> Tensor:
        """Return the gradients, (N, 3, S, S) or, reduced, (N, S, S); they are no part of a graph.

        Parameters
        ----------
        inputs: (N, 3, S, S), as the backbone's preprocessing returns them.
        target: a channel for all images, or one for each; several channels for a single image give a row each.
        reduction: over the three colours, `"l2"`, `"l1"` or `"max"`; none by default, as in captum.
        engine: as of :func:`partscope.maps.gradient_maps`.

        Raises
        ------
        OptionError: `inputs` are no such tensor, there is no such channel, their number is another than that of the images,
            or an unknown reduction or engine.
        BackboneError: as :meth:`Backbone.activations`.
        """
        if not isinstance(inputs, Tensor) or inputs.ndim != 4:
            what = f"of shape {tuple(inputs.shape)}" if isinstance(inputs, Tensor) else type(inputs).__name__
            raise OptionError(f"inputs must be one tensor (images, colours, rows, columns), not {what}.")
        if reduction is not None and reduction not in REDUCTIONS:
            raise OptionError(
                f"the colour reduction must be None or one of {', '.join(REDUCTIONS)}, not {reduction!r}."
            )
        channels = _channels(target)
        if len(channels) == 1:
            channels *= len(inputs)
        if len(inputs) == 1:
            gradients = input_gradients(self.backbone, inputs[0], channels, engine=engine)
        elif len(channels) == len(inputs):
            found = [
                input_gradients(self.backbone, image, [channel], engine=engine)
                for image, channel in zip(inputs, channels, strict=True)
            ]
            gradients = torch.cat(found) if found else torch.empty_like(inputs)
        else:
            raise OptionError(
                f"there are {len(channels)} channels in target for {len(inputs)} images; give one, or one for each image."
            )
        return gradients if reduction is None else REDUCTIONS[reduction](gradients)


def _channels(target: object) -> list[int]:
    values = target.tolist() if isinstance(target, Tensor) else target
    given: list[Any] = list(values) if isinstance(values, (list, tuple)) else [values]
    if not given or any(isinstance(value, bool) or not isinstance(value, int) for value in given):
        raise OptionError(
            f"target must be the number of a channel, or a list of such numbers, not {target!r}."
        )
    return given
