"""BibTeX out of references as the register states them, and of nothing more: what is not stated is left out.

A reference reads ``Authors, Title, Venue Volume(Number), Year, doi:...``, where only the authors must be there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tiersim.experiments.paper.latex import escaped

__all__ = ["Reference", "bibtex", "merged", "read_references"]

DOI = re.compile(r"\b(?:doi:|https?://doi\.org/)(10\.\d{4,}/[^\s,;()]+)")
ARXIV = re.compile(r"\b(?:arXiv[: ]|https?://arxiv\.org/abs/)(\d{4}\.\d{4,5})")
URL = re.compile(r"\b(?:https?://)?((?:[a-z0-9-]+\.)+(?:org|com|net|io|edu|cn|gov)(?:/[^\s,;()]*)?)")
YEAR = re.compile(r"\b(?:19[5-9]\d|20\d\d)\b")
ARTICLE = re.compile(r"(.+?) (\d+)\((\d+)\)")
SURNAME = r"(?:O')?[A-Z][a-z\u00e0-\u00ff]+(?:-[A-Z][a-z]+)?"
FIRST = re.compile(rf"({SURNAME})( et al\.)?|({SURNAME}) and ({SURNAME})")
NEXT = re.compile(r"(?:O')?[A-Z][A-Za-z\u00e0-\u00ff-]*[a-z]")
VENUE = re.compile(r"(?:[A-Z][\w&-]*[ ])+(?:19[5-9]\d|20\d\d)")
REPORT = re.compile(r".*\b(?:report|Laboratories|MAC-M-\d+)\b.*")


@dataclass
class Reference:
    """One work, by the fields of BibTeX that are known of it; `used` says what for, `said` how it is stated."""

    said: str
    fields: dict[str, str] = field(default_factory=dict)
    used: list[str] = field(default_factory=list)

    @property
    def same(self) -> str:
        """What two statements of one work share."""
        return self.fields.get("doi") or self.fields.get("eprint") or self.fields.get("url") or self.said

    @property
    def kind(self) -> str:
        return "article" if "journal" in self.fields else "inproceedings" if "booktitle" in self.fields else "misc"

    def key(self) -> str:
        """A name such as ``belady1966``."""
        first = re.split(r" and ", self.fields.get("author") or self.fields.get("title") or self.said)[0]
        return (re.sub(r"[^a-z0-9]", "", first.split("/")[0].lower())[:20] or "source") + self.fields.get("year", "")


def read_references(text: str, used: str) -> list[Reference]:
    """The works that a text names, one before each semicolon."""
    return [_one(part.strip(), used) for part in text.split(";") if part.strip()]


def _one(said: str, used: str) -> Reference:
    found: dict[str, str] = {}
    rest = said
    for name, pattern in (("doi", DOI), ("eprint", ARXIV), ("url", URL)):
        if match := pattern.search(rest):
            found[name] = match[1] if name != "url" else f"https://{match[1]}"
            rest = rest.replace(match[0], "")
    if "eprint" in found:
        found["archiveprefix"] = "arXiv"
    notes = re.findall(r"\(([^()]*[a-z][^()]*)\)", rest)
    parts = [part for part in (p.strip() for p in re.sub(r"\([^()]*[a-z][^()]*\)", "", rest).split(",")) if part]
    if said[:1].islower() and " " in said.split(",")[0]:  # a sentence, which has no title
        return Reference(said, {**found, "note": said}, [used])
    authors, parts = _authors(parts)
    if authors:
        found["author"] = authors
    for part in parts:
        if article := ARTICLE.fullmatch(part):
            found |= {"journal": article[1], "volume": article[2], "number": article[3]}
        elif VENUE.fullmatch(part) and "journal" not in found:
            found.setdefault("booktitle", part)
        elif REPORT.fullmatch(part):
            found["howpublished"] = part
        elif not YEAR.fullmatch(part):
            if found.keys() & {"title", "journal", "booktitle", "howpublished"}:
                notes.append(part)
            else:
                found["title"] = part
    if years := YEAR.findall(" ".join(parts)):
        found["year"] = years[-1]
    if re.fullmatch(r"[\w.-]+/[\w.-]+", found.get("title", "")):  # a repository
        found.setdefault("url", f"https://github.com/{found['title']}")
    if notes:
        found["note"] = "; ".join(notes)
    return Reference(said, found, [used])


def _authors(parts: list[str]) -> tuple[str, list[str]]:
    """The names that a reference begins with; a word with capitals inside is the name of a system, not of a person."""
    match = FIRST.fullmatch(parts[0]) if parts else None
    if match is None:
        return "", parts
    if match[3]:
        return f"{match[3]} and {match[4]}", parts[1:]
    if match[2]:
        return f"{match[1]} and others", parts[1:]
    names = [match[1]]
    for part in parts[1:]:
        if not NEXT.fullmatch(part):
            break
        names.append(part)
    return " and ".join(names), parts[len(names) :]


def merged(references: list[Reference]) -> dict[str, Reference]:
    """Each work once, by its key; a work that several use tells all of them."""
    works: dict[str, Reference] = {}
    for one in references:
        known = works.setdefault(one.same, Reference(one.said, one.fields))
        known.used += [use for use in one.used if use not in known.used]
    out: dict[str, Reference] = {}
    for one in works.values():
        out[next(name for name in _names(one.key()) if name not in out)] = one
    return out


def bibtex(works: dict[str, Reference]) -> str:
    """A file of entries; a comment over each says what used it, and how it is stated."""
    out = []
    for key, one in works.items():
        lines = [f"% for {', '.join(one.used)}; stated as: {one.said}".replace("@", "(at)"), f"@{one.kind}{{{key},"]
        lines += [f"  {name} = {{{_value(name, held)}}}," for name, held in one.fields.items()]
        out.append("\n".join([*lines, "}"]))
    return "\n\n".join(out) + "\n"


def _names(key: str) -> list[str]:
    return [key, *(f"{key}{letter}" for letter in "bcdefghijklmnopqrstuvwxyz"), *(f"{key}-{n}" for n in range(2, 999))]


def _value(name: str, held: str) -> str:
    """The text of a field; capitals of titles are kept."""
    if name in ("doi", "url", "eprint"):
        return held.replace("{", "").replace("}", "")
    return f"{{{escaped(held)}}}" if name in ("title", "journal", "booktitle") else escaped(held)
