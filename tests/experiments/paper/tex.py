"""A strict reader of the LaTeX that tables are written in: what it does not know is an error, as it would be there."""

from __future__ import annotations

import re
from collections.abc import Iterator

COMMANDS = {
    *("caption", "label", "centering", "toprule", "midrule", "bottomrule", "shortstack", "linewidth"),
    *("textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textbar", "dots"),
}
MATH = {"pm", "times", "cdot", "le", "ge", "ne", "mu", "sigma", "tau", "rho", "infty", "to", "circ"}
TOKEN = re.compile(r"\\([a-zA-Z]+)\*?|\\(.)|(.)", re.DOTALL)
PRINTED = {"textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<", "textgreater": ">"}
PRINTED |= {"textbar": "|"}


def read_table(text: str) -> tuple[str, str, list[list[str]]]:
    """Caption, label and the cells of a table, heads first. Raises ValueError where LaTeX would not compile it."""
    text = re.sub(r"(?<!\\)%.*\n", "", text)
    match = re.fullmatch(
        r"\\begin\{(table\*?)\}\[t\]\n\\centering\n\\caption\{(.*)\}\n\\label\{([A-Za-z0-9:-]+)\}\n"
        r"\\begin\{tabular\}\{(.*)\}\n\\toprule\n(.*)\n\\midrule\n(.*)\n\\bottomrule\n\\end\{tabular\}\n\\end\{\1\}\n",
        text,
        re.DOTALL,
    )
    if match is None:
        raise ValueError("no table")
    columns = len(re.findall(r"[lr]|p\{0\.2\\linewidth\}", match[4]))
    if re.sub(r"[lr]|p\{0\.2\\linewidth\}", "", match[4]):
        raise ValueError(f"columns: {match[4]}")
    check(match[2])
    rows = [match[5], *match[6].split("\n")]
    cells = []
    for row in rows:
        if not row.endswith(r" \\"):
            raise ValueError(f"a row without end: {row}")
        cells.append([cell.strip() for cell in split(row.removesuffix(r" \\"))])
        if len(cells[-1]) != columns:
            raise ValueError(f"{len(cells[-1])} cells in {columns} columns: {row}")
        for cell in cells[-1]:
            check(cell)
    return match[2], match[3], cells


def tokens(text: str) -> Iterator[tuple[str, str]]:
    for match in TOKEN.finditer(text):
        kind = "command" if match[1] else "escape" if match[2] else "char"
        yield kind, match[1] or match[2] or match[3]


def split(row: str) -> list[str]:
    """The cells of a row: at each & that is not escaped and in no brace."""
    cells, depth = [""], 0
    for match in TOKEN.finditer(row):
        char = match[3]
        depth += (char == "{") - (char == "}")
        if char == "&" and not depth:
            cells.append("")
        else:
            cells[-1] += match[0]
    return cells


def check(cell: str) -> None:
    """Raise ValueError where braces, math or commands are wrong."""
    depth, math = 0, False
    for kind, what in tokens(cell):
        if kind == "command":
            if what not in (MATH if math else COMMANDS):
                raise ValueError(f"\\{what} in {'math' if math else 'text'}: {cell}")
        elif kind == "escape":
            if what not in (" &%$#_{}" if math else "&%$#_{}\\"):
                raise ValueError(f"\\{what}: {cell}")
        elif what == "$":
            math = not math
        elif what in "{}":
            depth += 1 if what == "{" else -1
            if depth < 0:
                raise ValueError(f"a brace too many: {cell}")
        elif what in ("#%&" if math else "#%&_^"):
            raise ValueError(f"{what} as it is: {cell}")
    if depth or math:
        raise ValueError(f"not closed: {cell}")


def printed(cell: str) -> str:
    """What is read of a text on the page."""
    out = ""
    for kind, what in tokens(cell.replace("''", '"')):
        if kind == "command":
            out += PRINTED[what]
        elif kind == "escape" or what not in "{}":
            out += what
    return out
