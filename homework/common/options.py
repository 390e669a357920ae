"""The options of commands, checked before anything is loaded.

Fire derives the type of a value from how it is written, and Python callers pass what they like.
`coerce` gives a value the type that the option's annotation names: `checked` does so for all the
options of a command, `takes` for those of a configuration. Every function raises an InputError that
names the flag if the value is wrong.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

from .errors import InputError, one_line
from .files import DATA_DIR, MAX_JSON_BYTES, read_plain, reading

# Annotations of numbers; what stands beside the type are the bounds of `whole` and of `number`.
Count = Annotated[int, 1]
Natural = Annotated[int, 0]
Positive = Annotated[float, 0]
Fraction = Annotated[float, 0, 1]

P = ParamSpec("P")
C = TypeVar("C")


def checked(command: Callable[P, None]) -> Callable[P, None]:
    """Give a command its options in the form that its annotations name: see `coerce`."""

    @functools.wraps(command)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        signature = inspect.signature(command, eval_str=True)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        for name, each in signature.parameters.items():
            bound.arguments[name] = coerce(f"--{name}", bound.arguments[name], each.annotation)
        command(*bound.args, **bound.kwargs)

    return call


def takes(config: Callable[P, C]) -> Callable[[Callable[[C], None]], Callable[P, None]]:
    """Make a function of a configuration a command whose options are those of `config`.

    Args:
        config: the class, with its options under "Args:" in its docstring. Its option "config"
            names a file that holds others.
    """
    signature = inspect.signature(config, eval_str=True)

    def decorate(function: Callable[[C], None]) -> Callable[P, None]:
        @functools.wraps(function)
        def command(*args: P.args, **kwargs: P.kwargs) -> None:
            given: Mapping[str, Any] = signature.bind(*args, **kwargs).arguments
            if (config_file := given.get("config")) is not None:
                file = path("--config", config_file)
                given = _read_options(file, config, signature.parameters) | given
            function(config(**given))  # pyright: ignore[reportCallIssue] (as bound above)

        command.__signature__ = signature  # pyright: ignore[reportAttributeAccessIssue]
        _, title, args = (inspect.getdoc(config) or "").partition("\n\nArgs:\n")
        command.__doc__ = f"{inspect.getdoc(function)}{title}{args}"
        return command

    return decorate


def _read_options(
    file: Path, config: Callable[..., Any], known: Mapping[str, Any]
) -> dict[str, Any]:
    """The options in a YAML or JSON file; InputError if it or one of them is wrong."""
    import yaml

    parse = json.loads if file.suffix == ".json" else yaml.safe_load
    try:
        with reading(f"--config: {file}"):
            given = parse(read_plain(file, MAX_JSON_BYTES))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = f"--config: {file}: not valid {file.suffix[1:]} ({one_line(error)})"
        raise InputError(line) from None
    if not isinstance(given, dict):
        raise InputError(f"--config: {file}: give options, one a line, such as max_steps: 100")
    for name in given:
        if name not in known or name == "config":
            near = get_close_matches(str(name), known, 1, cutoff=0)
            raise InputError(f"--config: {file}: no option {name!r}; the nearest is {near[0]}")
    try:
        config(**given)
    except InputError as error:
        raise InputError(f"--config: {file}: {error}") from None
    return given


def coerce(flag: str, value: Any, annotation: Any) -> Any:
    """The value of an option as its annotation has it.

    Args:
        annotation: str, Path, bool, Literal, Sequence[str] (names with commas between), int or
            float, Annotated with bounds, or a union of one of these with Literal and None.
    """
    choices = get_args(annotation) if is_union(annotation) else (annotation,)
    words = [word for each in choices if get_origin(each) is Literal for word in get_args(each)]
    if value is None and NoneType in choices:
        return None
    if isinstance(value, bool) and bool in choices:  # also where there is another kind
        return value
    if value in words and not isinstance(value, bool):
        return value
    kinds = [each for each in choices if each is not NoneType and get_origin(each) is not Literal]
    if not kinds:
        raise InputError(f"{flag}: give one of {', '.join(map(str, words))}, not {value!r}")
    kind, *bounds = get_args(kinds[0]) if get_origin(kinds[0]) is Annotated else kinds
    if kind is int:
        return whole(flag, value, *bounds, words=words)
    if kind is float:
        if isinstance(value, str):  # YAML reads 1e-3 as text
            with suppress(ValueError):
                value = float(value)
        return number(flag, value, *bounds, words=words)
    if kind is bool:
        raise InputError(f"{flag}: give True or False, not {value!r}")
    if kind is Path:
        return path(flag, value)
    if get_origin(kind) is Sequence:
        if isinstance(value, bool) or value is None:
            raise InputError(f"{flag}: give names with commas between, not {value!r}")
        return tuple(parts(value))
    if isinstance(value, bool) or not isinstance(value, str | int | float | os.PathLike):
        raise InputError(f"{flag}: give a name, not {value!r}")
    return str(value)  # Fire turns a name of digits into a number


def is_union(annotation: Any) -> bool:
    """Whether an annotation is a union of several."""
    return get_origin(annotation) in (Union, UnionType)


def path(flag: str, value: Any) -> Path:
    """The path given for a flag; a `~` in it is the home folder."""
    # Fire turns a name of digits into a number, and a flag without a value into True.
    if isinstance(value, bool) or not isinstance(value, str | int | float | os.PathLike):
        raise InputError(f"{flag}: {value!r} is no path; give one")
    return Path(os.path.expanduser(str(value)))  # Path's own raises where it knows no such user


def data_folder(given: str | Path | None = None, default: str = "") -> Path:
    """The folder of data that a command reads or writes: `given` as --data_dir.

    If omitted, it is the folder `default` in the data folder beside the package, or that itself.
    """
    if given in (None, ""):
        return DATA_DIR / default
    return path("--data_dir", given)


def whole(
    flag: str, value: Any, least: int, most: int | None = None, words: Sequence[Any] = ()
) -> int:
    """A flag's whole number from `least` to `most`; `words` are other values that it takes."""
    wrong = isinstance(value, bool) or not isinstance(value, int)
    if wrong or value < least or (most is not None and value > most):
        bounds = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise InputError(f"{flag}: give a whole number {_or(bounds, words)}, not {value!r}")
    return value


def number(
    flag: str, value: Any, above: float, below: float = math.inf, words: Sequence[Any] = ()
) -> float:
    """The value of a flag, a number between `above` and `below`, both excluded; as `whole`."""
    wrong = isinstance(value, bool) or not isinstance(value, int | float)
    if wrong or not above < value < below:
        bounds = f"above {above:g}" if below == math.inf else f"between {above:g} and {below:g}"
        raise InputError(f"{flag}: give a number {_or(bounds, words)}, not {value!r}")
    return value


def _or(bounds: str, words: Sequence[Any]) -> str:
    return bounds + "".join(f", or {word}" for word in words)


def parts(value: Any) -> list[str]:
    """The names between commas; Fire turns a,b into a tuple."""
    if isinstance(value, list | tuple):
        return [str(part) for part in value]
    return str(value).split(",")
