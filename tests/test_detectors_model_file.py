from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

import hostile_files
from drawn import drawn_dataset
from hostile_files import bomb, dropped, newer, noticed, put, tampered, tensor
from partscope import __version__
from partscope.detectors import PartDetector, PriorDetector, TransferDetector, saving
from partscope.detectors.model_file import read_model, write_model
from partscope.errors import ModelFileError, PartscopeError


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Bytes of a saved model per method; the transfer model holds two images, to be small."""
    folder = tmp_path_factory.mktemp("saved")
    data = drawn_dataset(folder / "images", 2)
    files = {}
    for detector in (PriorDetector("box"), TransferDetector()):
        detector.fit(data).save(folder / "m.partscope")
        files[detector.method] = (folder / "m.partscope").read_bytes()
    return files


def refused(path: Path, match: str) -> None:
    hostile_files.refused(lambda: PartDetector.load(path), path, match)


def safetensors_bytes(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


# -- writing --------------------------------------------------------------------------------------------------------
def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    tensors = {name: np.arange(6, dtype=np.float32).reshape(2, 3) for name in "zebra"}
    document = {"method": "prior", "params": {"b": 1, "a": [0.1, None]}}
    for name in ("one", "two"):
        write_model(tmp_path / name, document, tensors)
        document = dict(reversed(document.items()))
        tensors = dict(reversed(tensors.items()))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    fields, arrays = read_model(tmp_path / "one")
    assert fields["params"] == {"a": [0.1, None], "b": 1}
    assert fields["partscope"] == __version__
    np.testing.assert_array_equal(arrays["z"], tensors["z"])


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=5),
        st.integers(0, 3).map(lambda n: np.ones((n, 2), np.float64)),
        max_size=3,
    ),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    ),
)
@settings(max_examples=40)
def test_any_content_comes_back(tmp_path: Path, tensors: dict[str, Any], value: Any) -> None:
    tensors.pop("__metadata__", None)
    write_model(tmp_path / "m", {"value": value}, tensors)
    fields, arrays = read_model(tmp_path / "m")
    assert fields["value"] == value
    assert {name: a.shape for name, a in arrays.items()} == {name: a.shape for name, a in tensors.items()}


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    with pytest.raises(PartscopeError, match="no such folder"):
        write_model(tmp_path / "nowhere" / "m.partscope", {}, {})
    with pytest.raises(PartscopeError, match="folder"):
        write_model(tmp_path, {}, {})


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), 1j])
def test_a_parameter_that_json_cannot_hold_is_named(value: object) -> None:
    with pytest.raises(ModelFileError, match=r"m\.partscope: the parameter alpha="):
        saving.storable("m.partscope", "alpha", value)


def test_parameters_are_stored_as_json_holds_them(tmp_path: Path) -> None:
    assert saving.storable("m", "n", np.int64(3)) == 3
    assert saving.storable("m", "file", tmp_path) == str(tmp_path)
    assert saving.storable("m", "random_state", np.random.default_rng(0)) is None
    assert saving.storable("m", "backbone", object()) is None
    assert saving.storable("m", "backbone", "squeezenet1_1") == "squeezenet1_1"


# -- files that are no models ---------------------------------------------------------------------------------------
def test_missing_folder_empty(tmp_path: Path) -> None:
    refused(tmp_path / "none.partscope", "there is no such model file")
    refused(tmp_path, "this is a folder")
    (tmp_path / "empty").touch()
    refused(tmp_path / "empty", "it is empty")


def test_pickles_and_archives_are_never_opened(tmp_path: Path) -> None:
    pickled, trace = bomb(tmp_path)
    (tmp_path / "m.partscope").write_bytes(pickled)
    refused(tmp_path / "m.partscope", "pickle or a zip archive")
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("data.pkl", pickled)
    refused(tmp_path / "m.pt", "pickle or a zip archive")
    assert not trace.exists()


@pytest.mark.parametrize(
    "data", [b"x", b"hello, world; this is a text file\n" * 9, bytes(100), b"\xff" * 100]
)
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.partscope").write_bytes(data)
    refused(tmp_path / "m.partscope", "not a partscope model file")


def test_another_safetensors_file_is_refused(tmp_path: Path) -> None:
    save_file({"weight": np.ones(3)}, tmp_path / "net.safetensors")
    refused(tmp_path / "net.safetensors", "holds no partscope model")


TEN_GB = {"a": {"dtype": "F32", "shape": [50000, 50000], "data_offsets": [0, 10**10]}}


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2**64 - 1) + b"{}" * 50,
        struct.pack("<Q", 10**9) + b"{}" * 50,
        safetensors_bytes(TEN_GB),
        safetensors_bytes({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 8]}}, bytes(8)),
        safetensors_bytes({"a": {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}}),
        safetensors_bytes({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)),
        safetensors_bytes({"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
        safetensors_bytes({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, bytes(4)),
        safetensors_bytes({"__metadata__": {"partscope": {"format": 1}}}),
        safetensors_bytes({"__metadata__": [1, 2]}),
        safetensors_bytes(b"[" * 100_000),
        safetensors_bytes(b'{"a":' * 100_000),
        safetensors_bytes([]),
    ],
    ids=range(14),
)
def test_hostile_headers_are_refused_without_allocating_what_they_claim(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.partscope").write_bytes(data)
    refused(tmp_path / "m.partscope", "partscope model")


@pytest.mark.parametrize(
    "document",
    [
        "",
        "[",
        "[]",
        "null",
        "7",
        '"format"',
        "[" * 200_000,
        '{"a":' * 200_000,
        '{"format": NaN}',
        '{"format": 1, "x": 1e999}',
        '{"format": ' + "9" * 10_000 + "}",
        "{}",
        '{"format": "1"}',
        '{"format": true}',
        '{"format": 1.5}',
        '{"format": 0}',
        '{"format": -3}',
        '{"format": 1}',
    ],
    ids=lambda text: text[:20],
)
def test_hostile_documents_are_refused(tmp_path: Path, document: str) -> None:
    save_file({"a": np.ones(1)}, tmp_path / "m.partscope", metadata={"partscope": document})
    refused(tmp_path / "m.partscope", "fit and save the detector again")


@pytest.mark.parametrize("dtype", ["BF16", "F16", "U64", "C64"])
def test_unexpected_tensor_types_are_refused(tmp_path: Path, dtype: str) -> None:
    size = {"BF16": 2, "F16": 2, "U64": 8, "C64": 8}[dtype]
    header = {
        "__metadata__": {"partscope": '{"format": 1}'},
        "a": {"dtype": dtype, "shape": [1], "data_offsets": [0, size]},
    }
    (tmp_path / "m.partscope").write_bytes(safetensors_bytes(header, bytes(size)))
    refused(tmp_path / "m.partscope", f"has the type {dtype}|not a partscope model")


def test_a_file_larger_than_any_model_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "m.partscope").open("wb") as stream:
        stream.write(safetensors_bytes(TEN_GB))
        try:
            stream.truncate(10**10 + 1000)  # sparse: takes no room
        except OSError:
            pytest.skip("the file system has no sparse files")
    refused(tmp_path / "m.partscope", "more than any partscope model")


# -- models that are not right --------------------------------------------------------------------------------------
def test_a_newer_file_asks_for_an_upgrade(tmp_path: Path, saved: dict[str, bytes]) -> None:
    path = tampered(tmp_path / "m.partscope", saved["prior"], newer, sign=False)
    refused(path, r"made by partscope 99\.0 in the format 2, newer than .*upgrade")


def test_a_changed_value_does_not_fit_the_checksum(tmp_path: Path, saved: dict[str, bytes]) -> None:
    def move(document: dict[str, Any], tensors: dict[str, Any]) -> None:
        tensors["prior.image"] += 1e-3

    def rename(document: dict[str, Any], tensors: dict[str, Any]) -> None:
        document["parts"][0] = "bill"

    for change in (move, rename):
        refused(tampered(tmp_path / "m", saved["prior"], change, sign=False), "checksum")
        PartDetector.load(tampered(tmp_path / "m", saved["prior"], change))


@pytest.mark.parametrize(
    ("method", "change", "match"),
    [
        (
            "prior",
            put("method", to="telepathy"),
            "the method 'telepathy', which this partscope does not have",
        ),
        ("prior", put("method", to=["prior"]), "'method' is not of the type str"),
        ("prior", dropped("method"), "'method' is missing"),
        ("prior", dropped("params"), "'params' is missing"),
        ("prior", put("params", to={"colour": 1}), "no option 'colour'"),
        ("prior", put("params", to=[1]), "'params' is not of the type dict"),
        ("prior", put("params", "region", to="moon"), "'image' or 'box'"),
        ("prior", put("params", "region", to={}), "'image' or 'box'"),
        ("prior", put("parts", to="beak"), "'parts' is not of the type list"),
        ("prior", put("parts", to=[1, 2, 3, 4, 5]), "'parts' is not a list of names"),
        ("prior", put("parts", to=["beak", "left eye", "right eye", "tail", "tail"]), "contradict.*unique"),
        ("prior", put("parts", to=["a", "b"]), "where float64 with shape 2×2 belongs"),
        ("prior", put("parts", to=[]), "no parts|0×2"),
        ("prior", put("pairs", to=[["beak", "wheel"]]), "contradict"),
        ("prior", put("pairs", to=[1]), "contradict"),
        ("prior", put("pairs", to=[[[], []]]), "contradict"),
        ("prior", put("pairs", to=None), "'pairs' is not of the type list"),
        ("prior", put("train_ids", to=[None]), "'train_ids' is not a list of names"),
        ("prior", put("config", to=[]), "'config' is not of the type dict"),
        ("prior", dropped("prior.image"), "'prior.image' is missing"),
        ("prior", tensor("prior.visibility", lambda a: a * np.nan), "not finite"),
        ("prior", tensor("prior.visibility", lambda a: a.astype(np.float32)), "is float32 .*where float64"),
        ("transfer", dropped("transfer.features"), "'features' is missing"),
        ("transfer", tensor("transfer.features", lambda a: a[:1]), "shape"),
        ("transfer", tensor("transfer.features", lambda a: a[:, :9].copy()), "shape"),
        ("transfer", tensor("transfer.features", lambda a: np.full_like(a, np.inf)), "not finite"),
        ("transfer", tensor("transfer.positions", lambda a: np.nan_to_num(a).astype(np.int32)), "int32"),
        ("transfer", put("train_ids", to=[]), "shape"),
        ("transfer", put("config", to={}), "'hog' is missing"),
        ("transfer", put("config", "hog", to={"side": 3}), "other HOG settings"),
    ],
)
def test_contents_that_are_not_right_are_named(
    tmp_path: Path, saved: dict[str, bytes], method: str, change: Any, match: str
) -> None:
    refused(tampered(tmp_path / "m.partscope", saved[method], change), match)


# -- damage ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", ["prior", "transfer"])
@given(data=st.data())
@settings(max_examples=120)
def test_flipped_and_missing_bytes_are_noticed(
    tmp_path: Path, saved: dict[str, bytes], method: str, data: st.DataObject
) -> None:
    noticed(PartDetector.load, saved[method], tmp_path / "m.partscope", data)


@given(st.binary(max_size=300))
@settings(max_examples=60)
def test_arbitrary_bytes_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.partscope").write_bytes(data)
    with pytest.raises(ModelFileError, match="partscope"):
        PartDetector.load(tmp_path / "m.partscope")
