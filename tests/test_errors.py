"""The errors: one family, one sentence each."""

from __future__ import annotations

import inspect

import pytest

from partscope import errors
from partscope.errors import MissingExtraError, PartscopeError, nearest_names

ALL = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)]


def test_one_family() -> None:
    """A script catches `PartscopeError` for all of them, and the warning is none."""
    family = [error for error in ALL if not issubclass(error, Warning)]
    assert len(family) >= 8
    assert all(issubclass(error, PartscopeError) for error in family)
    assert not issubclass(errors.PartscopeWarning, PartscopeError)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.ImageError, ValueError),
        (errors.DatasetError, ValueError),
        (errors.OptionError, ValueError),
        (errors.BackboneError, ValueError),
        (errors.ModelFileError, ValueError),
        (errors.ScanError, RuntimeError),
        (errors.MissingExtraError, ImportError),
    ],
)
def test_errors_are_also_what_python_would_raise(error: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(error, builtin)


def test_missing_extra_says_what_to_install() -> None:
    error = MissingExtraError("matplotlib", "plot", "the report")
    assert str(error) == (
        "the report needs the package matplotlib, which is not installed: pip install 'partscope[plot]'."
    )


def test_nearest_names() -> None:
    assert nearest_names("beek", ["tail", "beak", "back"]).startswith("'beak'")
    assert nearest_names("zzz", ["tail", "beak"]) == "'tail', 'beak'"
    assert nearest_names("zzz", (name for name in "abcdefgh"), most=2) == "'a', 'b'"
    assert nearest_names("x", []) == "none"
