from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from networks import awkward_network, everything
from partscope.backbones.weights import load_weights, read_weights
from partscope.errors import BackboneError

State = dict[str, Tensor]


def state() -> State:
    return {
        "conv.weight": torch.arange(24, dtype=torch.float32).reshape(4, 3, 2, 1) / 7,
        "conv.bias": torch.tensor([1.5, -2.0, 0.0, 1e-30]),
        "norm.steps": torch.tensor(12),
    }


def save_npz(values: State, path: Path) -> None:
    np.savez(path, **{name: value.numpy() for name, value in values.items()})


def save_old(values: State, path: Path) -> None:
    torch.save(values, path, _use_new_zipfile_serialization=False)


WRITERS: dict[str, Callable[[State, Path], None]] = {
    "file.safetensors": save_file,
    "FILE.SAFETENSORS": save_file,
    "file.npz": save_npz,
    "file.pt": torch.save,
    "file.pth": torch.save,
    "file.bin": torch.save,
    "old.pt": save_old,
    "checkpoint.tar": save_old,
}


def assert_same(found: State, expected: State) -> None:
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)


# -- kinds of files ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_gives_the_same_tensors(tmp_path: Path, name: str) -> None:
    WRITERS[name](state(), tmp_path / name)
    assert_same(read_weights(tmp_path / name), state())
    assert_same(read_weights(str(tmp_path / name)), state())


@pytest.mark.parametrize("envelope", ["state_dict", "model", "model_state_dict", "state_dict_ema"])
def test_a_training_checkpoint_is_unwrapped(tmp_path: Path, envelope: str) -> None:
    wrapped = {f"module.{name}": value for name, value in state().items()}
    torch.save({"epoch": 3, "optimizer": {"lr": 0.1}, envelope: wrapped, "arch": "x"}, tmp_path / "c.pt")
    assert_same(read_weights(tmp_path / "c.pt"), state())


def test_an_array_of_another_byte_order_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.arange(6, dtype=">f4").reshape(2, 3), b=np.array(2.5))
    found = read_weights(tmp_path / "a.npz")
    assert_same(found, {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(2.5, dtype=torch.float64)})


# -- hostile and broken files ----------------------------------------------------------------------------------------------------
class Hostile:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pt_file_is_not_run(tmp_path: Path, zipped: bool) -> None:
    trap = tmp_path / "was here"
    torch.save({**state(), "extra": Hostile(trap)}, tmp_path / "h.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(BackboneError, match=r"h\.pt: .*not unpickled.*safetensors"):
        read_weights(tmp_path / "h.pt")
    assert not trap.exists()
    # The trap works: it is the reader that keeps it shut.
    pickle.loads(pickle.dumps(Hostile(trap)))
    assert trap.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_in_a_bare_pickle_is_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "was here"
    (tmp_path / "h.pth").write_bytes(pickle.dumps(Hostile(trap)))
    with pytest.raises(BackboneError, match=r"h\.pth: "):
        read_weights(tmp_path / "h.pth")
    assert not trap.exists()


def test_code_in_an_npz_file_is_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "was here"
    np.savez(tmp_path / "h.npz", weight=np.array([Hostile(trap)], dtype=object))
    with pytest.raises(BackboneError, match=r"h\.npz: .*damaged or of another kind"):
        read_weights(tmp_path / "h.npz")
    assert not trap.exists()


def test_a_whole_network_in_a_file_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "n.pt")
    with pytest.raises(BackboneError, match="holds more than tensors"):
        read_weights(tmp_path / "n.pt")


@pytest.mark.parametrize("name", WRITERS)
@given(share=st.floats(0, 0.999))
def test_a_truncated_file_is_refused(tmp_path: Path, name: str, share: float) -> None:
    whole = tmp_path / name
    if not whole.exists():
        WRITERS[name](state(), whole)
    cut = tmp_path / f"cut{whole.suffix}"
    cut.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    with pytest.raises(BackboneError, match=f"cut{whole.suffix}: "):
        read_weights(cut)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("name", WRITERS)
@given(places=st.lists(st.floats(0, 0.999), min_size=1, max_size=6), seed=st.integers(0, 9999))
def test_a_damaged_file_is_read_or_refused_but_never_anything_else(
    tmp_path: Path, name: str, places: list[float], seed: int
) -> None:
    whole = tmp_path / name
    if not whole.exists():
        WRITERS[name](state(), whole)
    content, rng = bytearray(whole.read_bytes()), np.random.default_rng(seed)
    for place in places:
        content[int(place * len(content))] = int(rng.integers(256))
    damaged = tmp_path / f"damaged{whole.suffix}"
    damaged.write_bytes(content)
    with contextlib.suppress(BackboneError):
        assert all(isinstance(value, Tensor) for value in read_weights(damaged).values())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "no tensors"),
        ({"epoch": 3}, "no tensors"),
        ([1, 2], "a list where"),
        (torch.ones(2), "a Tensor where"),
    ],
)
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, content: object, reason: str) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(BackboneError, match=reason):
        read_weights(tmp_path / "x.pt")


def test_arrays_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", names=np.array(["a", "b"]))
    with pytest.raises(BackboneError, match=r"x\.npz: .*another kind"):
        read_weights(tmp_path / "x.npz")


def test_missing_files_and_unknown_kinds_say_so(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"none\.pt: there is no such weights file; check the path"):
        read_weights(tmp_path / "none.pt")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(BackboneError, match=r"folder\.npz: there is no such weights file"):
        read_weights(tmp_path / "folder.npz")
    for name in ("weights.pkl", "weights.h5", "weights"):
        with pytest.raises(BackboneError, match=rf"{name}: weights must be a file ending in \.safetensors"):
            read_weights(tmp_path / name)


# -- into a network -----------------------------------------------------------------------------------------------------------------
NEEDED = {f"1.{name}" for name in ("weight", "bias")} | {
    f"2.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
}


def test_tensors_are_copied_into_the_network() -> None:
    source, target = awkward_network(1), awkward_network(2)
    load_weights(target, source.state_dict(), "file", NEEDED)
    assert everything(target) == everything(source)
    with torch.no_grad():
        source[1].weight.zero_()
    assert not torch.equal(target[1].weight, source[1].weight)


def test_a_classifier_may_be_missing_or_of_another_size() -> None:
    target, source = awkward_network(2), awkward_network(1).state_dict()
    own = target[9].weight.clone()
    del source["9.weight"]
    source["9.bias"] = torch.zeros(1000)
    load_weights(target, source, "file", NEEDED)
    assert torch.equal(target[9].weight, own)
    assert torch.equal(target[1].weight, source["1.weight"])


def test_the_step_counter_of_a_batch_norm_may_be_missing() -> None:
    source = awkward_network(1).state_dict()
    del source["2.num_batches_tracked"]
    load_weights(awkward_network(2), source, "file", NEEDED)


@pytest.mark.parametrize("missing", ["1.weight", "1.bias", "2.running_var"])
def test_a_needed_tensor_that_is_missing_is_named(missing: str) -> None:
    source, target = awkward_network(1).state_dict(), awkward_network(2)
    del source[missing]
    before = everything(target)
    with pytest.raises(
        BackboneError, match=rf"^file: the tensor '{missing}' is missing; the file holds 10 tensors"
    ):
        load_weights(target, source, "file", NEEDED)
    assert everything(target) == before


def test_a_needed_tensor_of_another_shape_is_named() -> None:
    source, target = awkward_network(1).state_dict(), awkward_network(2)
    source["1.weight"] = torch.zeros(6, 3, 5, 5)
    before = everything(target)
    with pytest.raises(
        BackboneError, match=r"'1\.weight' has shape \(6, 3, 5, 5\) where the network needs \(6, 3, 3, 3\)"
    ):
        load_weights(target, source, "file", NEEDED)
    assert everything(target) == before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float) -> None:
    source, target = awkward_network(1).state_dict(), awkward_network(2)
    source["2.running_mean"][3] = value
    before = everything(target)
    with pytest.raises(
        BackboneError, match=r"'2\.running_mean' holds values that are not finite; the file is damaged"
    ):
        load_weights(target, source, "file", NEEDED)
    assert everything(target) == before
