"""Model files: one safetensors file whose metadata holds one JSON document; nothing in it can run code.

The document's keys: `format` (version of this layout), `partscope` (the version that wrote it), `method`, `params`,
`parts`, `pairs`, `train_ids`, `config` (the method's own), `kind` (where it is no detector), `sha256` (over the document
without this key and all tensors).
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from partscope.atomic import atomic_write
from partscope.errors import ModelFileError
from partscope.places import read_bytes, shown, url_of
from partscope.version import __version__

#: Version of the layout. A file with a larger one is refused; raise it when an older partscope would misread a new file.
FORMAT = 1

#: Files larger than this are refused unread (a detector of a million training images would fit).
MAX_BYTES = 4 << 30

#: What a model file may hold: the class that reads it, and the commands. A document without `kind` holds a detector.
KINDS = {
    "detector": ("PartDetector", "partscope locate and partscope evaluate"),
    "classifier": ("PartClassifier", "partscope classify predict and partscope classify evaluate"),
}

_KEY = "partscope"
_DTYPES = {"F64", "F32", "I64", "I32", "I16", "I8", "U8", "BOOL"}
_REMEDY = "copy it again, or fit and save the detector again"

T = TypeVar("T")


class Fields(Mapping[str, Any]):
    """A JSON object of a model file, read with type checks.

    Parameters
    ----------
    path: the model file, for error messages.
    values: the object's members.
    """

    def __init__(self, path: Path, values: Mapping[str, Any]) -> None:
        self.path = path
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def take(self, name: str, kind: type[T]) -> T:
        """Return the entry `name`, which must be of the type `kind` (`bool` is no `int`, an `int` is a `float`).

        Raises
        ------
        ModelFileError: the entry is missing or of another type.
        """
        if name not in self._values:
            damaged(self.path, f"its entry {name!r} is missing")
        value = self._values[name]
        if kind is float and type(value) is int:
            value = float(value)
        if not isinstance(value, kind) or (
            isinstance(value, bool) and kind is not bool and kind is not object
        ):
            damaged(self.path, f"its entry {name!r} is not of the type {kind.__name__}")
        return value

    def take_names(self, name: str) -> tuple[str, ...]:
        """Return the entry `name`, which must be a list of strings.

        Raises
        ------
        ModelFileError: the entry is missing or something else.
        """
        values = self.take(name, list)
        if not all(isinstance(value, str) for value in values):
            damaged(self.path, f"its entry {name!r} is not a list of names")
        return tuple(values)


class Tensors(Mapping[str, NDArray[Any]]):
    """Named arrays of a model file, read with checks of shape, dtype and finiteness.

    Parameters
    ----------
    path: the model file, for error messages.
    arrays: the arrays.
    """

    def __init__(self, path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.path = path
        self._arrays = dict(arrays)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def take(
        self, name: str, shape: tuple[int | None, ...], dtype: type[np.generic], *, finite: bool = True
    ) -> NDArray[Any]:
        """Return the array `name`.

        Parameters
        ----------
        shape: the shape it must have; None stands for any length.
        dtype: the dtype it must have.
        finite: refuse NaN and infinity.

        Raises
        ------
        ModelFileError: the array is missing, or has another shape or dtype, or is not finite.
        """
        if name not in self._arrays:
            damaged(self.path, f"its tensor {name!r} is missing")
        array = self._arrays[name]
        fits = array.ndim == len(shape) and all(
            wanted is None or wanted == length for wanted, length in zip(shape, array.shape, strict=True)
        )
        if not fits or array.dtype != dtype:
            wanted = "×".join("any" if length is None else str(length) for length in shape)
            damaged(
                self.path,
                f"its tensor {name!r} is {array.dtype} with shape {array.shape} where {np.dtype(dtype)} with shape "
                f"{wanted} belongs",
            )
        if finite and not np.isfinite(array).all():
            damaged(self.path, f"its tensor {name!r} holds values that are not finite")
        return array

    def under(self, prefix: str) -> Tensors:
        """Return the arrays whose names start with `prefix`, without it."""
        arrays = {name[len(prefix) :]: array for name, array in self.items() if name.startswith(prefix)}
        return Tensors(self.path, arrays)


def check_kind(document: Fields, wanted: str) -> None:
    """Refuse a model file that holds another kind of model than `wanted`, a key of :data:`KINDS`.

    Raises
    ------
    ModelFileError: it holds another kind; the message names the class and the commands that read it.
    """
    kind = document.take("kind", str) if "kind" in document else "detector"
    if kind == wanted:
        return
    if kind not in KINDS:
        raise ModelFileError(
            f"{document.path}: the model file holds a {kind!r}, which this partscope does not know; the kinds are "
            f"{', '.join(KINDS)}."
        )
    cls, commands = KINDS[kind]
    raise ModelFileError(
        f"{document.path}: the model file holds a {kind}, not a {wanted}; read it with {cls}.load, or use it with {commands}."
    )


def damaged(path: Path, detail: str) -> NoReturn:
    """Raise the ModelFileError for a file whose content is not what partscope writes."""
    raise ModelFileError(f"{path}: the model file is damaged ({detail.rstrip('.')}); {_REMEDY}.")


def write_model(path: str | Path, document: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write a model file; the same content always gives the same bytes, and the file appears whole or not at all.

    Parameters
    ----------
    path: the file to write; replaced if it exists.
    document: JSON-able values; `format`, `partscope` and `sha256` are added.
    tensors: arrays of 64- or 32-bit floats, integers or booleans.

    Raises
    ------
    PartscopeError: the file cannot be written; what stood there before is still there.
    """
    content = {**document, "format": FORMAT, "partscope": __version__}
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    content["sha256"] = _checksum(content, arrays)
    # One metadata key alone: the order of several is not fixed by the library.
    data = to_safetensors(arrays, metadata={_KEY: _canonical(content)})
    atomic_write(path, data)


def read_model(path: str | Path) -> tuple[Fields, Tensors]:
    """Read and check a model file.

    Returns
    -------
    The JSON document and the tensors; both raise a ModelFileError that names the file when an entry is not as it must be.

    Raises
    ------
    ModelFileError: the file is missing, empty, truncated, damaged, not a model file, or made by a newer partscope.
    """
    path = Path(path)
    if url_of(path) is not None:
        return _read_remote(path)
    _check_plain(path)
    try:
        with safe_open(path, framework="numpy") as stream:
            document = _document(path, stream.metadata() or {})
            arrays = {}
            for name in sorted(stream.keys()):
                dtype = stream.get_slice(name).get_dtype()
                if dtype not in _DTYPES:
                    damaged(path, f"its tensor {name!r} has the type {dtype}")
                arrays[name] = stream.get_tensor(name)
        expected = document.pop("sha256", None)
        actual = _checksum(document, arrays)
    except ModelFileError:
        raise
    except (SafetensorError, OSError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise ModelFileError(
            f"{path}: this is not a partscope model file, or it is truncated ({error}); {_REMEDY}."
        ) from error
    if expected != actual:
        damaged(path, "its checksum does not fit its content")
    return Fields(path, document), Tensors(path, arrays)


def _read_remote(path: Path) -> tuple[Fields, Tensors]:
    """Read a model file by way of a copy on this machine: its metadata are read from a file alone."""
    try:
        data = read_bytes(path, MAX_BYTES)
    except FileNotFoundError as error:
        raise ModelFileError(
            f"{shown(path)}: there is no such model file; check the address, or fit and save a detector."
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ModelFileError(f"{shown(path)}: the model file cannot be read ({reason}); check it.") from error
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(data)
        try:
            document, tensors = read_model(copy)
        except ModelFileError as error:
            raise ModelFileError(str(error).replace(str(copy), shown(path))) from error
    document.path = tensors.path = path
    return document, tensors


def _check_plain(path: Path) -> None:
    """Refuse what is recognisable before any parser sees it, each with its own remedy."""
    try:
        with path.open("rb") as stream:
            start = stream.read(8)
            size = path.stat().st_size
    except FileNotFoundError as error:
        raise ModelFileError(
            f"{path}: there is no such model file; check the path, or fit and save a detector."
        ) from error
    except IsADirectoryError as error:
        raise ModelFileError(f"{path}: this is a folder, not a model file; name the file in it.") from error
    except OSError as error:
        raise ModelFileError(
            f"{path}: the model file cannot be read ({error.strerror or error}); check it."
        ) from error
    if size == 0:
        damaged(path, "it is empty")
    if size > MAX_BYTES:
        raise ModelFileError(f"{path}: {size:,} bytes are more than any partscope model has; check the path.")
    if start[:2] == b"PK" or start[:1] == b"\x80":
        # A safetensors header of these lengths is possible in principle, but never starts with `{` where it must.
        with path.open("rb") as stream:
            if stream.read(9)[8:] != b"{":
                raise ModelFileError(
                    f"{path}: this is a pickle or a zip archive, which partscope never opens as a model; "
                    "name a file that was written by PartDetector.save."
                )


def _document(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    if _KEY not in metadata:
        raise ModelFileError(
            f"{path}: this safetensors file holds no partscope model; name a file that was written by PartDetector.save."
        )
    try:
        document = json.loads(metadata[_KEY], parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        damaged(path, f"its document is not valid JSON: {error}")
    if not isinstance(document, dict):
        damaged(path, "its document is not a JSON object")
    version = Fields(path, document).take("format", int)
    if version > FORMAT:
        maker = document.get("partscope")
        by = f"partscope {maker}" if isinstance(maker, str) else "a newer partscope"
        raise ModelFileError(
            f"{path}: the model file was made by {by} in the format {version}, newer than the format {FORMAT} of this "
            f"version ({__version__}); upgrade with pip install --upgrade partscope."
        )
    if version < 1:
        damaged(path, f"its format is {version}")
    return document


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON value")


def _canonical(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _checksum(document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(_canonical(document).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}\0{array.dtype.str}{array.shape}".encode("utf-8", "surrogatepass"))
        digest.update(array.tobytes())
    return digest.hexdigest()
