"""Takes plain Python functions apart and puts their source into generated modules.

Numba's disk cache looks at one file only: a loop that imported its policy would not notice when the policy changes, and
a loop that takes its policy as an argument is never cached. So every generated module holds all of its source, and
its name is the hash of it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import linecache
import os
import sys
import textwrap
from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import Lock
from types import FunctionType, ModuleType
from typing import Any

from tiersim._base.bits import highest, lowest
from tiersim._base.errors import PolicyError
from tiersim._base.paths import cache_folder
from tiersim._base.syntax import parse

__all__ = ["Borrowed", "borrow", "load_module"]

_importing = Lock()  # threads may want the same loop at once

# Python never calls these, and what it would need for that takes a sixth of compiling
JIT = "@njit(_nrt=False, error_model='numpy', no_cpython_wrapper=True, no_cfunc_wrapper=True)\n"
JIT_APART = JIT.replace("_nrt", "forceinline=False, _nrt")  # else it is as its first caller is
JIT_CACHED = "@njit(_nrt=False, error_model='numpy', cache=True, nogil=True)\n"
HEADER = (
    "from numba import njit\n"
    "from tiersim.sim.pointers import find, highest, inline, lowest, pointer, prefetch, renew, shift, use\n"
)
PLAIN_HEADER = """
def inline(function):
    return function

def pointer(array):
    return array

class shift:
    def __init__(self, held, index):
        self.held, self.index = held, index

    def __getitem__(self, index):
        return self.held[self.index + index]

    def __setitem__(self, index, value):
        self.held[self.index + index] = value

def prefetch(address, index):
    return

def lowest(mask):
    return (int(mask) & -int(mask)).bit_length() - 1

def highest(mask):
    return (int(mask) & (1 << 64) - 1).bit_length() - 1

def find(tags, base, ways, x):
    for way in range(ways):
        if tags[base + way] | 1 == x << 1 | 1:
            return way
    return -1

def renew(tags, base, ways, tag, dirt, zero):
    way = place(tags, base, ways, tag, dirt)
    last = int(tags[base + ways - 1])
    to_front(tags, base, way if way >= 0 else ways - 1, tag | (tags[base + way] & dirt if way >= 0 else 0))
    return last, -(way < 0)

def use(tags, base, ways, tag, zero):
    way = place(tags, base, ways, tag, 0)
    if way >= 0:
        to_front(tags, base, way, tag)
    return -(way < 0)

def place(tags, base, ways, tag, dirt):
    for way in range(ways):
        if tags[base + way] | dirt == tag | dirt:
            return way
    return -1

def to_front(tags, base, way, tag):
    while way > 0:
        tags[base + way] = tags[base + way - 1]
        way -= 1
    tags[base] = tag

"""


class Borrowed:
    """The source of a policy's verbs under a prefix of their own, and the argument names of each verb."""

    def __init__(self) -> None:
        self.text = ""
        self.arguments: dict[str, tuple[str, ...]] = {}


def borrow(cls: type, verbs: tuple[str, ...], prefix: str) -> Borrowed:
    """The static functions `verbs` of `cls`, and all that they call or name, as text with prefixed names.

    Raises PolicyError when a verb is missing, is not a static function, or names something that cannot be copied.
    """
    found = Borrowed()
    parts: dict[str, str] = {}
    constants: dict[str, str] = {}
    waiting: list[tuple[str, Any]] = []
    for verb in verbs:
        held = inspect.getattr_static(cls, verb, None)
        if not isinstance(held, staticmethod):
            raise PolicyError(
                f"{cls.__name__} has no static function {verb!r}",
                None,
                f"write it in {inspect.getfile(cls)}, under @staticmethod; `tiersim.policies` says what it may ask for",
            )
        waiting.append((f"{cls.__name__}.{verb}", held.__func__))
        found.arguments[verb] = tuple(inspect.signature(held.__func__).parameters)
    origins: dict[str, Any] = {}
    while waiting:
        name, function = waiting.pop()
        new = _renamed(prefix, name, cls, function.__module__)
        if new in origins:
            if origins[new] is not function:
                raise PolicyError(
                    f"{cls.__name__} borrows two functions {function.__name__!r} from modules that are both called "
                    f"{_tail(function.__module__)!r}",
                    None,
                    "give one of them another name",
                )
            continue
        origins[new] = function
        renamer = _Renamer(cls, function, prefix)
        tree = parse(textwrap.dedent(_source(function))).body[0]
        assert isinstance(tree, ast.FunctionDef)
        tree.name = new
        tree.decorator_list = []
        tree.returns = None
        for argument in tree.args.args:
            argument.annotation = None
        if ast.get_docstring(tree) is not None:
            tree.body = tree.body[1:] or [ast.Pass()]
        parts[tree.name] = "@jit\n" + ast.unparse(renamer.visit(tree)) + "\n"
        waiting += renamer.functions
        constants |= renamer.constants
    found.text = "".join(f"{name} = {value}\n" for name, value in sorted(constants.items()))
    # callees first, so that the text also runs without a compiler at definition time
    found.text += "\n".join(parts[name] for name in reversed(parts))
    return found


def _source(function: Callable[..., Any]) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        raise PolicyError(
            f"the source of {function.__qualname__} cannot be read", None, "put the policy into a file of its own"
        ) from None


def _renamed(prefix: str, name: str, cls: type, module: str) -> str:
    """The policy's own verbs are PREFIX_VERB; what comes from elsewhere keeps its class's and its module's name."""
    verb = name.removeprefix(f"{cls.__name__}.")
    own = verb.replace(".", "_")
    return f"{prefix}_{own}" if verb != name or module == cls.__module__ else f"{prefix}_{_tail(module)}_{own}"


def _tail(module: str) -> str:
    return module.rpartition(".")[2]


class _Renamer(ast.NodeTransformer):
    """Puts the prefix before every name that a function takes from its module or its class."""

    def __init__(self, cls: type, function: FunctionType, prefix: str) -> None:
        self.cls, self.prefix = cls, prefix
        self.globals = function.__globals__
        self.local = set(function.__code__.co_varnames)
        self.functions: list[tuple[str, Any]] = []
        self.constants: dict[str, str] = {}
        self.where = function.__qualname__

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        owner = self.globals.get(node.value.id) if isinstance(node.value, ast.Name) else None
        held = inspect.getattr_static(owner, node.attr, None) if isinstance(owner, type) else None
        if isinstance(owner, type) and isinstance(held, staticmethod):
            name = f"{owner.__name__}.{node.attr}"
            self.functions.append((name, held.__func__))
            return ast.copy_location(ast.Name(self.renamed(name, held.__func__), node.ctx), node)
        return self.generic_visit(node)

    def renamed(self, name: str, function: Any) -> str:
        return _renamed(self.prefix, name, self.cls, function.__module__)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self.local or node.id not in self.globals:
            return node
        held = self.globals[node.id]
        if held is lowest or held is highest:  # which every module has, said below Python
            return ast.copy_location(ast.Name(held.__name__, node.ctx), node)
        if isinstance(held, FunctionType):
            self.functions.append((node.id, held))
            name = self.renamed(node.id, held)
        elif isinstance(held, bool | int | float):
            # two modules may give one name to different numbers
            module = str(self.globals["__name__"])
            name = _renamed(self.prefix, node.id, self.cls, module)
            self.constants[name] = repr(held)
        else:
            raise PolicyError(
                f"{self.where} uses {node.id!r}, a {type(held).__name__}; a compiled policy may only use numbers and "
                "plain functions of its module",
                None,
                "pass it through the state, or set `compiled = False` in the class",
            )
        return ast.copy_location(ast.Name(name, node.ctx), node)


@cache
def _parts() -> str:
    return Path(__file__).with_name("pointers.py").read_text(encoding="utf-8")


def load_module(text: str, *, compiled: bool, about: str = "") -> ModuleType:
    """Import generated source, through a file in the user's cache folder when it is to be compiled.

    ``@jit``, ``@jit_apart`` and ``@jit_cached`` in the text stand for the decorators of inner functions, of those that
    are never copied into what calls them, and of the one called from Python.
    """
    decorators = {"@jit\n": JIT, "@jit_apart\n": JIT_APART, "@jit_cached\n": JIT_CACHED}
    if not compiled:
        plain = PLAIN_HEADER + _replaced(text, dict.fromkeys(decorators, ""))
        module = ModuleType("tiersim_plain_loop")
        module.__file__ = f"<plain loop {hashlib.sha256(plain.encode()).hexdigest()[:20]}>"
        # for debuggers and messages, which ask here for the lines of a file
        linecache.cache[module.__file__] = (len(plain), None, plain.splitlines(keepends=True), module.__file__)
        exec(compile(plain, module.__file__, "exec"), module.__dict__)
        return module
    body = f'"""{about}"""\n' + HEADER + _replaced(text, decorators)
    digest = hashlib.sha256((body + _parts()).encode()).hexdigest()[:20]
    with _importing:
        return _imported(f"tiersim_loop_{digest}", body)


def _replaced(text: str, parts: dict[str, str]) -> str:
    for part, by in parts.items():
        text = text.replace(part, by)
    return text


def _imported(name: str, body: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    path = cache_folder("loops") / f"{name}.py"
    if not path.exists():
        draft = path.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(body, encoding="utf-8")
        draft.replace(path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "a .py file always has a loader"
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
