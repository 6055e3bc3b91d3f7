"""The registry of methods, and how `PartDetector(method=...)` becomes an instance of the method's class."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from partscope.errors import OptionError

if TYPE_CHECKING:
    from partscope.detectors.base import PartDetector

#: What users are served best by (docs/results.md), and the paper's.
DEFAULT_METHODS = ("linear", "channel")

_METHODS: dict[str, type[PartDetector]] = {}

#: Methods of rooms that build on the detectors, and so are imported when they are first asked for.
_ELSEWHERE = {"discovered": "partscope.discovery"}

_D = TypeVar("_D", bound="type[PartDetector]")


def register_detector(method: str) -> Callable[[_D], _D]:
    """Return a class decorator: `PartDetector(method=method)` and `PartDetector.load` give instances of the class."""

    def register(cls: _D) -> _D:
        cls.method = method
        _METHODS[method] = cls
        return cls

    return register


def detector_class(method: str) -> type[PartDetector]:
    """Return the class registered for `method`; an OptionError names the methods there are."""
    if method not in _METHODS and method in _ELSEWHERE:
        importlib.import_module(_ELSEWHERE[method])
    if method not in _METHODS:
        raise OptionError(f"there is no method {method!r}; the methods are {', '.join(detector_methods())}.")
    return _METHODS[method]


def detector_methods() -> tuple[str, ...]:
    """Return the names of the registered methods."""
    return tuple(sorted({*_METHODS, *_ELSEWHERE}))


def default_method(options: Iterable[str]) -> str:
    """Return the method where none is named: the first of `DEFAULT_METHODS` that has all the options, or the first.

    So the paper's method is had by naming one of its options, such as `centre`, as well as by its name.
    """
    names = set(options)
    for method in DEFAULT_METHODS:
        if names <= set(inspect.signature(_METHODS[method].__init__).parameters):
            return method
    return DEFAULT_METHODS[0]


def make_detector(method: str | None = None, **options: Any) -> PartDetector:
    """Return an unfitted detector of `method`: what a call of :class:`PartDetector` does.

    Without a method it is that of :func:`default_method`.

    Raises
    ------
    OptionError: unknown method, or an option that the method does not have.
    """
    method = default_method(options) if method is None else method
    cls = detector_class(method)
    known = list(inspect.signature(cls.__init__).parameters)[1:]
    for name in options:
        if name not in known:
            has = f"its options are {', '.join(known)}" if known else "it has no options"
            raise OptionError(f"the method {method!r} has no option {name!r}; {has}.")
    return cls(**options)


class ByMethod(type):
    """Makes `PartDetector(method=..., **options)` an instance of the method's class; subclasses are called as usual.

    A metaclass, because `__new__` could not keep `method` out of the subclass's `__init__`.
    """

    def __call__(cls, *args: Any, **options: Any) -> Any:
        if cls.__dict__.get("_dispatches", False):
            return make_detector(*args, **options)
        return super().__call__(*args, **options)
