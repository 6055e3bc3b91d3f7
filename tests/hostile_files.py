"""Model files that are not right: altered contents with a fitting checksum, damaged bytes, pickles that would do something."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from safetensors.numpy import save_file

from partscope.detectors import model_file
from partscope.detectors.model_file import read_model
from partscope.errors import ModelFileError

Change = Callable[[dict[str, Any], dict[str, Any]], Any]


def refused(
    load: Callable[[], object], path: Path, match: str, kind: type[Exception] = ModelFileError
) -> None:
    """Make sure that `load` says in one line what is wrong with the file, and names it first."""
    with pytest.raises(kind, match=match) as caught:
        load()
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message.strip()


def tampered(path: Path, original: bytes, change: Change, sign: bool = True) -> Path:
    """Write a model whose document or tensors `change(document, tensors)` has altered, with a fitting checksum."""
    path.write_bytes(original)
    fields, arrays = read_model(path)
    document, tensors = json.loads(json.dumps(dict(fields))), {name: a.copy() for name, a in arrays.items()}
    change(document, tensors)
    if sign:
        document["sha256"] = model_file._checksum(document, tensors)
    save_file(tensors, path, metadata={"partscope": json.dumps(document)})
    return path


def put(*keys: Any, to: Any) -> Change:
    """The change that sets a value of the document."""

    def change(document: dict[str, Any], tensors: dict[str, Any]) -> None:
        target: Any = document
        for key in keys[:-1]:
            target = target[key]
        target[keys[-1]] = to

    return change


def dropped(key: str) -> Change:
    """The change that takes away a tensor, or a key of the document."""
    return lambda document, tensors: (tensors if key in tensors else document).pop(key)


def tensor(name: str, function: Callable[[Any], Any]) -> Change:
    """The change that replaces a tensor by a function of it."""
    return lambda document, tensors: tensors.update({name: function(tensors[name])})


def newer(document: dict[str, Any], tensors: dict[str, Any]) -> None:
    """The change into a file of a later version, with contents that this one does not know."""
    document.update(
        format=model_file.FORMAT + 1, partscope="99.0", kind="oracle", method="telepathy", parts=7
    )


def noticed(load: Callable[[Path], Any], original: bytes, path: Path, data: st.DataObject) -> None:
    """Flip and cut bytes: either the file still says the same (a flip in white space, say), or it is refused."""
    header = 8 + int.from_bytes(original[:8], "little")
    place = st.integers(0, 7) | st.integers(8, header - 1) | st.integers(0, len(original) - 1)
    damage = bytearray(original)
    for at, value in data.draw(st.lists(st.tuples(place, st.integers(0, 255)), max_size=4), "flips"):
        damage[at] = value
    if data.draw(st.booleans(), "truncate"):
        del damage[data.draw(place, "length") :]
    path.write_bytes(damage)
    try:
        loaded = load(path)
    except ModelFileError:
        return
    loaded.save(path)
    assert path.read_bytes() == original


def bomb(folder: Path) -> tuple[bytes, Path]:
    """A pickle that makes a folder when it is opened, and that folder."""
    trace = folder / "exploded"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(trace),)

    return pickle.dumps(Bomb()), trace
