({
  // what tests ask of a page

  contrast() {
    // the least contrast of a text with what is behind it (WCAG 2), and where that is
    const parse = (text) => {
      const held = text.match(/[\d.]+/g).map(Number);
      return held.length > 3 ? held : [...held, 1];
    };
    const light = (colour) => colour.slice(0, 3).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
      .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
    const behind = (element) => {
      for (let held = element; held; held = held.parentElement) {
        const found = parse(getComputedStyle(held).backgroundColor);
        if (found[3] === 1) return found;
      }
      return [255, 255, 255];
    };
    let least = [21, ""];
    for (const element of document.querySelectorAll("body *")) {
      const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
      const aside = element.closest('script, style, noscript, .card, :disabled, [aria-pressed="false"]');
      if (!own || !element.getClientRects().length || aside) continue;
      const style = getComputedStyle(element);
      const colour = element.closest("svg") ? style.fill : style.color;
      if (style.visibility === "hidden" || colour === "none") continue;
      const [one, two] = [light(parse(colour)), light(behind(element))].sort((a, b) => b - a);
      const ratio = (one + 0.05) / (two + 0.05);
      if (ratio < least[0]) least = [ratio, `${element.outerHTML.slice(0, 80)} ${element.textContent.slice(0, 40)}`];
    }
    return least;
  },

  focused() {
    // what the focus is on, empty for the page itself, and how that is seen
    const held = document.activeElement;
    const told = held.ariaLabel || held.textContent.trim() || held.placeholder || held.type;
    return [held === document.body ? "" : told, getComputedStyle(held).outlineStyle];
  },

  nameless() {
    // controls that say nothing to those who do not see them
    const name = (held) => held.textContent.trim() || held.ariaLabel || held.labels?.[0]?.textContent.trim();
    return [...document.querySelectorAll("button, input, select, summary")]
      .filter((held) => held.getClientRects().length && !name(held)).map((held) => held.outerHTML);
  },

  twice() {
    // how many ids stand twice
    const ids = [...document.querySelectorAll("[id]")].map((held) => held.id);
    return ids.length - new Set(ids).size;
  },

  beyond(width) {
    // what is wider than the window, but for what scrolls by itself
    return [...document.querySelectorAll("main *, header *")]
      .filter((held) => !held.closest(".scroll, nav, pre, .card, svg") && held.getBoundingClientRect().right > width + 1)
      .map((held) => held.outerHTML.slice(0, 120));
  },
})
