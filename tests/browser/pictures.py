"""Pictures of a report compared with those that are kept, by what the eye sees and not by pixels.

A picture is brought to a coarse grid before it is compared: fonts and versions of Chromium move letters by a few
pixels, while a figure that is missing, an empty table or a wrong scheme changes whole cells.
`python -m tests.browser.pictures` makes the kept pictures anew; look at them before they are committed.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

KEPT = Path(__file__).parent / "kept"
GRID = (24, 16)  # cells across and down
STORED = 240  # pixels across of a picture that is kept
WHOLE, WORST = 0.012, 0.053  # of full contrast: by which all cells, and the worst of them, may differ
PARTS = {  # what is pictured: a name, the width of the window, the scheme, and the element
    "head-light": (1000, "light", "header"),
    "answer-dark": (1000, "dark", "section[aria-labelledby=answer]"),
    "lines-light": (1000, "light", "figure[data-chart='0']"),
    "bars-dark": (1000, "dark", "figure[data-chart='1']"),
    "table-light": (1000, "light", "section[aria-labelledby=variants]"),
    "explorer-narrow": (360, "light", "section[aria-labelledby=explore]"),
}

Cells = NDArray[np.float64]


def cells(picture: Image.Image) -> Cells:
    """The colours of a picture on a coarse grid, blurred over neighbours, from 0 to 1."""
    small = picture.convert("RGB").resize((GRID[0] * 8, GRID[1] * 8), Image.Resampling.BOX)
    grid = np.asarray(small.resize(GRID, Image.Resampling.BOX), float) / 255
    padded = np.pad(grid, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    blurred: Cells = (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 4
    return blurred


def apart(one: Image.Image, two: Image.Image) -> tuple[float, float]:
    """How far two pictures are apart: the mean of all cells, and that of the worst twentieth of them."""
    differences = np.sort(np.abs(cells(one) - cells(two)).max(axis=2).ravel())
    return float(differences.mean()), float(differences[-(len(differences) // 20) :].mean())


def alike(one: Image.Image, two: Image.Image) -> bool:
    """Whether an eye takes two pictures for the same page; see `test_pictures_tell_faults` for what it sees."""
    whole, worst = apart(one, two)
    return whole < WHOLE and worst < WORST


def taken(page: Any, selector: str) -> Image.Image:
    """A picture of an element, when its figures are drawn."""
    element = page.locator(selector).first
    page.add_style_tag(content="nav { position: static !important; }")  # it lies over what is scrolled to
    element.scroll_into_view_if_needed()
    for plot in element.locator(".plot").all():
        plot.locator(".main-svg").first.wait_for()
    page.wait_for_timeout(400)  # figures follow the width of the window
    picture = Image.open(BytesIO(element.screenshot(animations="disabled")))
    picture.load()
    return picture


def kept(name: str) -> Image.Image:
    picture = Image.open(KEPT / f"{name}.png")
    picture.load()
    return picture


@contextmanager
def chromium() -> Iterator[Any]:
    """The Chromium that is installed, driven by playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def main() -> None:
    from tests.browser.studies import small
    from tiersim.experiments.report import write_report

    KEPT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        write_report(small(Path(folder)))
        for name, (width, scheme, selector) in PARTS.items():
            page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
            page.goto((Path(folder) / "report.html").as_uri())
            page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)
            picture = taken(page, selector).convert("RGB")
            height = round(picture.height * STORED / picture.width)
            stored = picture.resize((STORED, height), Image.Resampling.LANCZOS)
            stored.quantize(64).save(KEPT / f"{name}.png", optimize=True)
            page.close()
            print(KEPT / f"{name}.png")


if __name__ == "__main__":
    main()
