"""Where the cells of a layer lie in the network's input.

Two cells that follow each other are as many input pixels apart as the strides on the way multiply to. That is not the input's side
divided by the number of cells wherever layers without padding leave a border out: 16 and not 16.8 pixels in the last layer of
SqueezeNet at 320. The grid as a whole is taken to lie in the middle of the input. Receptive fields say otherwise where padding is
one-sided (TensorFlow's "same"), by half a stride; but networks learn from mirrored images, and what a cell says is centred
accordingly: of EfficientNet-Lite0, whose fields lie 15.5 pixels to the right, the centres in an image and in its mirror image agree
without the shift and disagree with it (benchmarks/forward_only.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(frozen=True)
class CellGeometry:
    """Centres of the cells of a grid along the two axes of an input, in input pixels.

    Parameters
    ----------
    start: `(x, y)` of the first cell's centre.
    step: `(x, y)` from one cell to the next.
    """

    start: tuple[float, float]
    step: tuple[float, float]

    @classmethod
    def centred(
        cls, side: int, grid: tuple[int, int], step: tuple[float, float] | None = None
    ) -> CellGeometry:
        """Return a grid of (rows, columns) in the middle of an input of `side` pixels; by default it fills the input."""
        rows, columns = grid
        across, down = (side / columns, side / rows) if step is None else step
        return cls(((side - (columns - 1) * across) / 2, (side - (rows - 1) * down) / 2), (across, down))

    def finer(self, factor: int) -> CellGeometry:
        """Return the geometry of the same grid with `factor` times the cells on each axis."""
        step = (self.step[0] / factor, self.step[1] / factor)
        start = tuple(
            first - (old - new) / 2 for first, old, new in zip(self.start, self.step, step, strict=True)
        )
        return CellGeometry((start[0], start[1]), step)

    def to_input(self, points: Tensor) -> Tensor:
        """Bring points (..., 2) on the grid, where cell i is centred at i + 0.5, to input pixels."""
        return points.new_tensor(self.start) + (points - 0.5) * points.new_tensor(self.step)

    def positions(self, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return the rows' (h,) and the columns' (w,) centres in input pixels, float64."""
        rows, columns = (torch.arange(count, dtype=torch.float64) for count in grid)
        return self.start[1] + rows * self.step[1], self.start[0] + columns * self.step[0]


def cell_step(run: Callable[[Tensor], Tensor], blank: Tensor) -> tuple[float, float] | None:
    """Return the distance `(x, y)` in input pixels of two neighbouring cells, or None where the operations do not tell.

    The strides of all operations that a blank input goes through are multiplied up; of branches that meet in a sum or a
    concatenation the first counts.

    Parameters
    ----------
    run: from an input (1, 3, S, S) to a layer's value (1, K, h, w).
    blank: such an input.
    """
    follower = _Follower(blank)
    with torch.no_grad(), follower:
        value = run(blank)
    return follower.step(value)


class _Follower(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch's base is not typed
    """Notes the step of every map that is computed from the input."""

    def __init__(self, blank: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # The tensor is kept with its step: the number of one that is gone would be given to another.
        self._known: dict[int, tuple[Tensor, tuple[float, float]]] = {id(blank): (blank, (1.0, 1.0))}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        outputs = func(*args, **(kwargs or {}))
        output = outputs[0] if isinstance(outputs, (tuple, list)) and outputs else outputs
        if isinstance(output, Tensor) and output.ndim == 4:
            step = self._behind(func.overloadpacket.__name__, args, output)
            if step is not None:
                self._known[id(output)] = (output, step)
        return outputs

    def step(self, value: Tensor) -> tuple[float, float] | None:
        """Return the step of a value, or None."""
        return self._known[id(value)][1] if id(value) in self._known else None

    def _behind(self, name: str, args: tuple[Any, ...], output: Tensor) -> tuple[float, float] | None:
        """Return the step behind an operation."""
        flat = [item for arg in args for item in (arg if isinstance(arg, (list, tuple)) else (arg,))]
        source = next((item for item in flat if isinstance(item, Tensor) and id(item) in self._known), None)
        if source is None:
            return None
        step = self._known[id(source)][1]
        if name == "convolution" and not args[6]:  # not transposed
            return _strided(step, args[3])
        if name in ("max_pool2d_with_indices", "avg_pool2d"):
            return _strided(step, args[2] if len(args) > 2 and args[2] else args[1])
        # Padding keeps the distance of cells, and so does what keeps the grid; anything else is not known.
        kept = name == "constant_pad_nd" or output.shape[-2:] == source.shape[-2:]
        return step if kept else None


def _strided(step: tuple[float, float], stride: Any) -> tuple[float, float]:
    """Return a step behind a stride, a number or `(rows, columns)`."""
    down, across = (stride, stride) if isinstance(stride, int) else (stride[0], stride[-1])
    return step[0] * across, step[1] * down
