"""One register for everything that has a name: policies, readers, generators, scenarios.

A class joins with one decorator and no other edit:

    @register("srrip", family="way-replacement", paper="Jaleel et al., ISCA 2010, doi:10.1145/1815961.1815971")
    class Srrip: ...

Command line, YAML schema, documentation and the generic tests are derived from it. The index reads the decorators
out of the source files without importing them, so that listing a hundred policies stays cheap; a class is imported
when it is used. Third parties add theirs with an entry point in the group ``tiersim.<family>``, or a study names a
file: ``policy: path/to/file.py:Name``.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from tiersim._base.errors import StudyError
from tiersim._base.params import config, forms
from tiersim._base.syntax import parse

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["Entry", "build", "families", "find", "index", "inside", "load", "nearest", "register"]

ROOT = Path(__file__).parents[1]
FLOORS = ("traces", "policies", "models", "experiments")
# a registered class as far as its docstring: to parse whole files would be a tenth of a second of each start
HEAD = re.compile(r'^@register\(.*?^class \w+[^:]*:\n(?:\s+"""[\s\S]*?""")?', re.MULTILINE | re.DOTALL)

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """What the register knows of one class before it is imported."""

    name: str
    family: str
    module: str
    attribute: str
    aliases: tuple[str, ...] = ()
    paper: str = ""
    summary: str = ""
    file: str = ""


def register(name: str, *, family: str, aliases: tuple[str, ...] = (), paper: str = "") -> Callable[[type[T]], type[T]]:
    """Give a class its name. All arguments must be literals: the index reads them without importing the file."""

    def mark(cls: type[T]) -> type[T]:
        made = config(cls)
        made.registered = Entry(  # type: ignore[attr-defined]
            name, family, cls.__module__, cls.__qualname__, aliases, paper, _first_line(cls.__doc__)
        )
        return made

    return mark


def _first_line(text: str | None) -> str:
    return (text or "").strip().split("\n\n")[0].replace("\n", " ").strip()


@cache
def _all() -> dict[str, dict[str, Entry]]:
    found: dict[str, dict[str, Entry]] = {}
    for floor in FLOORS:
        for path in sorted((ROOT / floor).rglob("*.py")):
            source = path.read_text(encoding="utf-8")
            if "@register(" in source:
                inside = path.relative_to(ROOT).with_suffix("").parts
                for item in _decorated(source, ".".join(("tiersim", *inside)), str(path)):
                    _add(found, item)
    plugins = entry_points()
    for group in sorted(plugins.groups):
        if group.startswith("tiersim."):
            for point in plugins.select(group=group):
                module, _, attribute = point.value.partition(":")
                family = group.removeprefix("tiersim.")
                _add(found, Entry(point.name, family, module, attribute, summary=f"from {module}"))
    return found


def _add(found: dict[str, dict[str, Entry]], item: Entry) -> None:
    names = found.setdefault(item.family, {})
    for name in (item.name, *item.aliases):
        if name in names:
            raise StudyError(f"two {item.family} classes are called {name!r}: {names[name].module} and {item.module}")
        names[name] = item


def _decorated(source: str, module: str, file: str) -> Iterable[Entry]:
    for node in (node for head in HEAD.findall(source) for node in parse(f"{head}\n    pass\n").body):
        assert isinstance(node, ast.ClassDef)
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == "register":
                said = {word.arg: ast.literal_eval(word.value) for word in mark.keywords}
                yield Entry(
                    ast.literal_eval(mark.args[0]),
                    said["family"],
                    module,
                    node.name,
                    said.get("aliases", ()),
                    said.get("paper", ""),
                    _first_line(ast.get_docstring(node)),
                    file,
                )


def families() -> list[str]:
    """The names of all families."""
    return sorted(_all())


def index(family: str) -> dict[str, Entry]:
    """Every name and alias of a family with its entry, nothing imported."""
    return dict(sorted(_all().get(family, {}).items()))


def nearest(word: str, words: Iterable[str]) -> str:
    """A did-you-mean sentence, or an empty string when nothing is near."""
    near = difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else ""


def find(family: str, name: str) -> Entry:
    """The entry of a name. Raises StudyError with the nearest right spelling."""
    names = index(family)
    if name in names:
        return names[name]
    hint = nearest(name, names) or f"there are: {', '.join(sorted({e.name for e in names.values()}))}"
    raise StudyError(f"no {family} is called {name!r}; {hint}")


def load(family: str, name: str) -> type[Any]:
    """The class behind a name, alias or ``path/to/file.py:Name``. Raises StudyError when there is none."""
    if ".py:" in name:
        return _from_file(family, name)
    item = find(family, name)
    cls = getattr(importlib.import_module(item.module), item.attribute)
    return cls if "registered" in vars(cls) else _named(cls, item.name, family)


def _named(cls: type[Any], name: str, family: str) -> type[Any]:
    """A class of someone else's under a name of its own: an inherited one would make it pass for the class above."""
    made: type[Any] = cls if "registered" in vars(cls) else register(name, family=family)(cls)
    # another process knows the class only after it has been loaded there
    setattr(made, "__reduce__", lambda self: (_rebuilt, (family, name, vars(self))))  # noqa: B010 (mypy's view)
    return made


def _rebuilt(family: str, name: str, values: dict[str, Any]) -> Any:
    cls = load(family, name)
    made: Any = object.__new__(cls)
    vars(made).update(values)
    return made


_files: dict[str, Any] = {}


def import_file(path: Path) -> Any:
    """The module of a user's file, under a name that is the same in every process. Raises StudyError.

    The name holds a hash of the content, so that a file edited while Python runs is imported again.
    """
    where = hashlib.sha256(str(path.resolve()).encode() + path.read_bytes()).hexdigest()[:16]
    if where in _files:
        return _files[where]
    module_name = f"tiersim_user_{where}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None, "a .py file always has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses and inspect look their module up here
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), vars(module))  # a loader might take an older .pyc
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise StudyError(f"{path} cannot be imported: {type(error).__name__}: {error}") from None
    _files[where] = module
    return module


def _from_file(family: str, name: str) -> type[Any]:
    file, _, attribute = name.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise StudyError(f"there is no file {file!r} to take {attribute!r} from")
    module = import_file(path)
    classes = [
        key for key, held in vars(module).items() if isinstance(held, type) and held.__module__ == module.__name__
    ]
    if attribute not in classes:
        raise StudyError(f"{file} has no class {attribute!r}; {nearest(attribute, classes)}".rstrip("; "))
    cls: type[Any] = getattr(module, attribute)
    if hasattr(cls, "on_access") and "__init__" in vars(cls) and "registered" not in vars(cls):
        raise StudyError(
            f"{name} has a constructor of its own; what is set at the start belongs into start(self, capacity), and "
            "parameters are fields of the class, as in `share: float = 0.1`"
        )
    return _named(cls, name, family)


def build(family: str, value: Any) -> Any:
    """An instance from what stands in YAML: a name, or ``{use: name, parameter: value}``.

    Raises StudyError; its ``detail`` holds (path inside the value, message) pairs for parameters that are wrong.
    """
    if hasattr(type(value), "registered"):
        return value
    given = {"use": value} if isinstance(value, str) else value
    if not isinstance(given, dict) or not isinstance(given.get("use"), str):
        raise StudyError(f"must be the name of a {family}, or {{use: name, ...}}")
    try:
        cls = load(family, given["use"])
    except StudyError as error:
        error.detail = [(("use",), error.message)]
        raise
    problems, made = validate(cls, {key: held for key, held in given.items() if key != "use"})
    if problems:
        wrong = StudyError(f"{given['use']}: {problems[0][1]}")
        wrong.detail = problems
        raise wrong
    return made


def validate(cls: type[T], value: Any) -> tuple[list[tuple[tuple[Any, ...], str]], T | None]:
    """Check plain data against a config class: (path, message) for each problem, and the object if there is none."""
    from pydantic import ValidationError

    adapter: TypeAdapter[T] = _adapter(cast(Any, cls))
    try:
        return [], adapter.validate_python(value)
    except ValidationError as wrong:
        problems: dict[tuple[Any, ...], str] = {}  # by path: each alternative of a type has a complaint of its own
        for item in wrong.errors(include_url=False):
            path, hint = inside(cls, item["loc"])
            detail = (item.get("ctx") or {}).get("detail") or [((), _sentence(path, hint, item))]
            for inner, message in detail:
                problems.setdefault((*path, *inner), message)
        return list(problems.items()), None


@cache  # to make one takes milliseconds, and a sweep checks thousands of values
def _adapter(cls: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


def inside(cls: Any, loc: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
    """How far a path leads into a config class, and the type found there.

    A key that a class does not know ends the path and belongs to it, with the class as its type. What the path holds
    beyond (parameters of a policy; the names of alternatives that pydantic adds) is left out.
    """
    hint = cls
    for place, step in enumerate(loc):
        options = _options(hint)
        owner = next((option for option in options if is_dataclass(option)), None)
        many = next((get_args(option)[-1] for option in options if get_origin(option) in (dict, list)), None)
        inner = get_type_hints(owner, include_extras=True).get(step) if owner is not None else many
        if inner is None:
            return (loc if owner is not None else loc[:place]), hint
        hint = inner
    return loc, hint


def _options(hint: Any) -> list[Any]:
    """The alternatives of a type, without its notes."""
    if get_origin(hint) is Annotated:
        return _options(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return [option for arg in get_args(hint) for option in _options(arg)]
    return [hint]


def _sentence(path: tuple[Any, ...], hint: Any, item: Any) -> str:
    if item["type"] == "tiersim":
        return str(item["msg"])
    if item["type"] in ("missing", "missing_argument"):
        return f"the key {path[-1]!r} is missing"
    known = [field.name for option in _options(hint) if is_dataclass(option) for field in fields(option) if field.init]
    if item["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        hint_ = nearest(str(path[-1]), known) or (f"known here: {', '.join(known)}" if known else "it takes none")
        return f"unknown key {path[-1]!r}; {hint_}"
    words = [arg for option in _options(hint) if get_origin(option) is Literal for arg in get_args(option)]
    either = [f"`{form}`" if form in words else form for form in forms(hint)]
    listed = f"{', '.join(either[:-1])} or {either[-1]}" if len(either) > 1 else either[0]
    near = nearest(item["input"], words) if isinstance(item["input"], str) else ""
    more = f"; {near}" if near else f"; known here: {', '.join(known)}" if known else ""
    return f"must be {listed}, not {_shown(item['input'])}{more}"


def _shown(value: Any) -> str:
    """A value from YAML, as its reader calls it."""
    if isinstance(value, bool):
        return str(value).lower()
    named = {dict: "a mapping", list: "a list", NoneType: "nothing"}
    return named.get(type(value)) or repr(value)
