"use strict";
// The page without this script is whole but for interaction. With it: tables that sort, filter and turn pages, figures
// that zoom and tell their values, and an explorer of all runs. Nothing is loaded: plotly and the data are in the page.

const PAGE = 200; // rows of a table that are shown at a time
const MOST = 4000; // points that the explorer draws
const CHOICES = 200; // values of a factor that can be chosen one by one
const PALETTE = ["ink", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];
const MARKERS = ["circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star"];
const DASHES = ["solid", "dash", "dot", "dashdot"];
const STROKES = { solid: "", dash: "6 3", dot: "2 2", dashdot: "6 2 2 2" };
const HATCHES = ["", "/", "-", "\\", "x"];
const root = document.documentElement;
const first = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

function make(tag, properties = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...inside);
  return element;
}

// numbers, as the tables of the page write them

function rounded(value, decimals) {
  // half to even, as Python does: digits beyond are looked at
  const text = value.toFixed(decimals);
  if (!/^50*$/.test(value.toFixed(Math.min(100, decimals + 50)).slice(text.length + !decimals))) return text;
  const down = Math.trunc(Math.abs(value) * 10 ** decimals);
  return (Math.sign(value) * (down + (down % 2)) / 10 ** decimals).toFixed(decimals);
}

function digits(value, count) {
  if (value === 0) return "0";
  const [mantissa, exponent] = value.toExponential(count - 1).split("e");
  const power = Number(exponent);
  const bare = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  if (power >= -4 && power < count) return bare(rounded(value, Math.max(0, count - 1 - power)));
  return `${bare(mantissa)}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}

function number(value, unit) {
  if (value === null || value === undefined) return "-";
  if (unit === "ratio") return `${digits(100 * value, 3)} %`;
  if (unit === "bytes" && Math.abs(value) >= 1e6) {
    const power = Math.min(6, Math.floor(Math.log10(Math.abs(value)) / 3 + 1e-12));
    return `${digits(value / 1000 ** power, 4)} ${" kMGTPE"[power]}B`;
  }
  if (Number.isInteger(value)) return BigInt(value).toLocaleString("en-US");
  return digits(value, 4);
}

const measured = (value, unit) => {
  const text = number(value, unit);
  return unit && unit !== "ratio" && text !== "-" && !text.endsWith("B") ? `${text} ${unit}` : text;
};

// light and dark

const scheme = () => root.style.colorScheme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

function colour(name) {
  if (name.startsWith("#")) return name;
  const probe = make("span");
  probe.style.color = `var(--${name})`;
  root.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function startTheme() {
  const button = first("#theme");
  const told = () => { button.textContent = scheme() === "dark" ? "Light page" : "Dark page"; };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.style.colorScheme = scheme() === "dark" ? "light" : "dark";
    told();
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { told(); redraw(); });
  let before = null;
  addEventListener("beforeprint", () => {
    before = root.style.colorScheme;
    root.style.colorScheme = "light";
    redraw(true);
  });
  addEventListener("afterprint", () => {
    root.style.colorScheme = before ?? "";
    redraw();
  });
  told();
}

// what is packed in the page

function bytes(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const letters = atob(text), out = new Uint8Array(letters.length);
  for (let place = 0; place < letters.length; place++) out[place] = letters.charCodeAt(place);
  return out;
}

async function unpack(id) {
  const text = first(`#${id}`).textContent;
  const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).text();
}

// tables

class Rows {
  // the rows of a table: those in the page, or those of packed columns, which become elements when they are shown
  constructor(table, columns) {
    this.table = table;
    this.columns = columns;
    this.elements = columns ? [] : [...table.tBodies[0].rows];
    this.count = columns ? columns[0].text.length : this.elements.length;
    this.extra = []; // columns of metrics that were added: {text, sort}
  }

  key(row, column) {
    const own = this.table.tHead.rows[0].cells.length - this.extra.length;
    if (column >= own) return this.extra[column - own].sort[row] ?? "-";
    if (this.columns) {
      const held = this.columns[column];
      return held.sort?.[row] ?? held.text[row];
    }
    const cell = this.elements[row].cells[column];
    return "sort" in cell.dataset ? Number(cell.dataset.sort) : cell.textContent.trim();
  }

  text(row) {
    this.texts ??= [];
    this.texts[row] ??= (this.columns
      ? this.columns.map((column) => column.text[row]).join(" ")
      : this.elements[row].textContent).toLowerCase().replace(/\s+/g, " ");
    return this.texts[row];
  }

  element(row) {
    const element = this.elements[row] ?? (this.elements[row] = this.made(row));
    const own = this.table.tHead.rows[0].cells.length - this.extra.length;
    while (element.cells.length > own) element.lastElementChild.remove();
    for (const column of this.extra) element.append(make("td", { textContent: column.text(row) }));
    return element;
  }

  made(row) {
    const heads = this.table.tHead.rows[0].cells;
    return make("tr", {}, ...this.columns.map((column, place) => {
      const mark = column.mark?.[row] || "";
      const cell = make(place ? "td" : "th", { className: `${heads[place].className} ${mark}`.trim() });
      if (!place) cell.scope = "row";
      cell.append(column.text[row], ...(mark ? [" ", make("span", { className: "mark", textContent: mark })] : []));
      return cell;
    }));
  }
}

class Table {
  constructor(table, columns) {
    this.table = table;
    this.rows = new Rows(table, columns);
    this.order = Array.from({ length: this.rows.count }, (_, row) => row);
    this.sorted = { column: null, direction: "none" };
    this.page = 0;
    this.words = [];
    this.heads();
    this.tools();
    this.show();
  }

  heads() {
    [...this.table.tHead.rows[0].cells].forEach((head, column) => {
      if (head.dataset.wired) return;
      head.dataset.wired = "yes";
      first("button", head).addEventListener("click", () => this.sort(column));
    });
  }

  tools() {
    const name = first("caption span", this.table)?.textContent || "";
    const filter = make("input", { type: "search", placeholder: "Filter rows", "aria-label": `Filter the rows of the table. ${name}`.trim() });
    filter.addEventListener("input", () => {
      this.words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      this.page = 0;
      this.show();
    });
    this.before = make("button", { type: "button", textContent: "Previous" });
    this.after = make("button", { type: "button", textContent: "Next" });
    this.before.addEventListener("click", () => this.turn(-1));
    this.after.addEventListener("click", () => this.turn(1));
    const save = make("button", { type: "button", textContent: "CSV", title: "Save the rows that are left by the filter" });
    save.addEventListener("click", () => this.save());
    this.told = make("span", { className: "count", role: "status" });
    this.bar = make("div", { className: "tools" }, filter, this.before, this.after, save, this.told);
    this.table.parentElement.before(this.bar);
    if (this.rows.count < 6) filter.hidden = true;
  }

  turn(by) {
    this.page += by;
    this.show();
    this.table.parentElement.scrollTop = 0;
  }

  sort(column) {
    // up, down, and back to the order of the study
    const heads = [...this.table.tHead.rows[0].cells];
    const before = this.sorted.column === column ? this.sorted.direction : "none";
    const direction = { none: "ascending", ascending: "descending", descending: "none" }[before];
    for (const head of heads) head.removeAttribute("aria-sort");
    if (direction !== "none") heads[column].setAttribute("aria-sort", direction);
    this.sorted = { column, direction };
    this.order = Array.from({ length: this.rows.count }, (_, row) => row);
    if (direction !== "none") {
      const keys = this.order.map((row) => this.rows.key(row, column));
      const absent = (key) => key === "" || key === "-";
      const sign = direction === "descending" ? -1 : 1;
      const collator = new Intl.Collator("en", { numeric: true });
      const compare = (a, b) => {
        if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
        return typeof a === "number" ? a - b : collator.compare(a, b);
      };
      this.order.sort((one, two) => {
        const a = keys[one], b = keys[two];
        return absent(a) - absent(b) || sign * compare(a, b);
      });
    }
    this.page = 0;
    this.show();
  }

  kept() {
    if (!this.words.length) return this.order;
    return this.order.filter((row) => this.words.every((word) => this.rows.text(row).includes(word)));
  }

  show() {
    const kept = this.kept();
    const pages = Math.max(1, Math.ceil(kept.length / PAGE));
    this.page = Math.min(Math.max(0, this.page), pages - 1);
    const shown = kept.slice(this.page * PAGE, (this.page + 1) * PAGE);
    this.table.tBodies[0].replaceChildren(...shown.map((row) => this.rows.element(row)));
    this.before.hidden = this.after.hidden = pages === 1;
    this.before.disabled = this.page === 0;
    this.after.disabled = this.page === pages - 1;
    const total = this.rows.count.toLocaleString("en-US");
    const of = kept.length === this.rows.count ? `${total} rows` : `${kept.length.toLocaleString("en-US")} of ${total} rows`;
    const from = this.page * PAGE;
    this.told.textContent = pages === 1 ? of : `${(from + 1).toLocaleString("en-US")} to ${(from + shown.length).toLocaleString("en-US")} of ${of}`;
  }

  add(columns) {
    // the metrics that are shown beside the table's own columns
    const row = this.table.tHead.rows[0];
    const own = row.cells.length - this.rows.extra.length;
    if (this.sorted.column >= own) this.sorted = { column: null, direction: "none" };
    while (row.cells.length > own) row.lastElementChild.remove();
    this.rows.extra = columns;
    for (const column of columns) {
      const button = make("button", { type: "button" }, column.head);
      if (column.unit && column.unit !== "ratio") button.append(" ", make("span", { className: "unit", textContent: `(${column.unit})` }));
      row.append(make("th", { scope: "col", title: column.meaning }, button));
    }
    this.heads();
    this.show();
  }

  save() {
    const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const cells = (row) => [...row.cells].map((cell) => quoted(cell.textContent.replace(/\s+/g, " ").trim())).join(",");
    const lines = [cells(this.table.tHead.rows[0]), ...this.kept().map((row) => cells(this.rows.element(row)))];
    const link = make("a", {
      href: URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "text/csv" })),
      download: `${this.table.dataset.name}.csv`,
    });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }
}

function chooseColumns(table, data) {
  // checkboxes for the metrics that the table of runs does not show
  const others = data.metrics.slice(data.shown);
  if (!others.length) return;
  const place = new Map(data.runs.row.map((row, at) => [row, at]));
  const boxes = others.map((metric, at) => {
    const box = make("input", { type: "checkbox" });
    box.addEventListener("change", () => {
      table.add(boxes.map((held, index) => ({ held, index })).filter(({ held }) => held.box.checked).map(({ index }) => column(index)));
    });
    return { box, label: make("label", { title: metric.meaning }, box, metric.words), at };
  });
  const column = (index) => {
    const metric = others[index], values = data.runs.values[data.shown + index];
    const of = (row) => (place.has(row) ? values[place.get(row)] : null);
    return {
      head: metric.words, unit: metric.unit, meaning: metric.meaning,
      text: (row) => number(of(row), metric.unit),
      sort: Array.from({ length: table.rows.count }, (_, row) => of(row)),
    };
  };
  table.bar.after(make("details", { className: "choices" },
    make("summary", { textContent: "More columns" }), make("div", {}, ...boxes.map((held) => held.label))));
}

// figures

const charts = []; // those that are drawn, or will be when they come into view
const escaped = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

function wrapped(text, letters) {
  const lines = [""];
  for (const word of String(text).split(" ")) {
    const last = lines.length - 1;
    if (lines[last] && lines[last].length + word.length >= letters) lines.push(word);
    else lines[last] = lines[last] ? `${lines[last]} ${word}` : word;
  }
  return lines.map(escaped).join("<br>");
}

function looks(place, bars) {
  const named = bars ? PALETTE[1 + (place % (PALETTE.length - 1))] : PALETTE[place % PALETTE.length];
  return {
    colour: colour(named), marker: MARKERS[place % MARKERS.length], dash: DASHES[place % DASHES.length],
    hatch: HATCHES[place % HATCHES.length],
  };
}

function swatch(held, kind) {
  const names = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(names, "svg");
  const put = (tag, properties) => {
    const element = document.createElementNS(names, tag);
    for (const [name, value] of Object.entries(properties)) element.setAttribute(name, value);
    svg.append(element);
  };
  svg.setAttribute("width", "30");
  svg.setAttribute("height", "12");
  svg.setAttribute("aria-hidden", "true");
  if (kind === "bars" || kind === "stack") {
    put("rect", { x: 1, y: 1, width: 28, height: 10, fill: held.colour, stroke: colour("edge") });
    const lines = { "/": "M4 11 12 1M12 11 20 1M20 11 28 1", "\\": "M4 1 12 11M12 1 20 11M20 1 28 11", "-": "M1 4H29M1 8H29", x: "M4 11 12 1M12 11 20 1M20 11 28 1M4 1 12 11M12 1 20 11M20 1 28 11" };
    if (held.hatch) put("path", { d: lines[held.hatch], stroke: "#ffffff", "stroke-width": 1 });
    return svg;
  }
  if (kind !== "points") put("path", { d: "M1 6H29", stroke: held.colour, "stroke-width": 2, "stroke-dasharray": STROKES[held.dash] });
  if (kind !== "course") {
    const shapes = {
      circle: "M15 2a4 4 0 1 0 .01 0z", square: "M11 2h8v8h-8z", diamond: "M15 1l5 5-5 5-5-5z", "triangle-up": "M15 1l5 9h-10z",
      "triangle-down": "M15 11l5-9h-10z", cross: "M13 1h4v3h3v4h-3v3h-4v-3h-3v-4h3z", x: "M11 1l4 3 4-3 1 2-3 3 3 3-1 2-4-3-4 3-1-2 3-3-3-3z", star: "M15 1l1.5 3.5 3.5.3-2.7 2.4.9 3.8-3.2-2-3.2 2 .9-3.8L10 4.8l3.5-.3z",
    };
    put("path", { d: shapes[held.marker], fill: held.colour });
  }
  return svg;
}

class Chart {
  constructor(figure, data) {
    this.figure = figure;
    this.plot = first(".plot", figure);
    this.hiding = new Set();
    this.mode = matchMedia("(pointer: coarse)").matches ? false : "zoom";
    this.caption = make("figcaption");
    figure.prepend(this.caption);
    this.legend = make("ul", { className: "legend", "aria-label": "Series: press to hide or show" });
    this.readout = make("p", { className: "readout soft", role: "status" });
    this.plot.after(this.legend, this.tools(), this.readout);
    this.plot.tabIndex = 0;
    this.plot.setAttribute("role", "application");
    this.plot.setAttribute("aria-roledescription", "interactive figure");
    this.plot.addEventListener("keydown", (event) => this.pressed(event));
    this.set(data);
  }

  set(data) {
    this.data = data;
    this.hiding.clear();
    this.at = null;
    this.caption.replaceChildren(make("strong", { textContent: data.title }), ...(data.note ? [data.note] : []));
    this.plot.setAttribute("aria-label", `${data.title}. ${data.note ? `${data.note}. ` : ""}Arrow keys go from value to value, plus and minus zoom, shift with arrows moves, 0 shows all.`);
    this.told();
    if (this.drawn) this.draw();
  }

  told() {
    const several = this.data.series.length > 1;
    this.legend.hidden = !several;
    if (!several) return;
    const named = this.data.by ? [make("li", { className: "soft", textContent: `${this.data.by}:` })] : [];
    this.legend.replaceChildren(...named, ...this.data.series.map((one, place) => {
      const button = make("button", { type: "button", "aria-pressed": String(!this.hiding.has(place)) },
        swatch(looks(one.place, this.flat()), this.data.kind), one.label);
      button.addEventListener("click", () => {
        if (!this.hiding.delete(place)) this.hiding.add(place);
        button.setAttribute("aria-pressed", String(!this.hiding.has(place)));
        this.at = null;
        this.draw();
      });
      return make("li", {}, button);
    }));
  }

  flat() {
    return this.data.kind === "bars" || this.data.kind === "stack";
  }

  tools() {
    const bar = make("div", { className: "tools" });
    const add = (text, title, does) => {
      const button = make("button", { type: "button", textContent: text, title });
      button.addEventListener("click", () => does(button));
      bar.append(button);
      return button;
    };
    add("Zoom in", "Show less of the axes", () => this.zoom(0.6));
    add("Zoom out", "Show more of the axes", () => this.zoom(1 / 0.6));
    add("All", "Show all values again", () => this.reset());
    const modes = [["zoom", "Drag: zoom", "Drag over a part to enlarge it"], ["pan", "Drag: move", "Drag to move what is shown"]];
    const buttons = modes.map(([mode, text, title]) => add(text, title, () => {
      this.mode = this.mode === mode ? false : mode;
      buttons.forEach((button, place) => button.setAttribute("aria-pressed", String(this.mode === modes[place][0])));
      Plotly.relayout(this.plot, { dragmode: this.mode });
    }));
    buttons.forEach((button, place) => button.setAttribute("aria-pressed", String(this.mode === modes[place][0])));
    for (const format of ["svg", "png"]) {
      add(format.toUpperCase(), `Save as ${format.toUpperCase()}`, () => {
        const size = this.plot._fullLayout;
        Plotly.downloadImage(this.plot, { format, scale: format === "png" ? 2 : 1, width: size.width, height: size.height, filename: this.figure.dataset.file || "explored" });
      });
    }
    return bar;
  }

  axes() {
    const layout = this.plot._fullLayout;
    return this.flat() ? [layout.xaxis] : [layout.xaxis, layout.yaxis];
  }

  moved(change) {
    const ranges = {};
    for (const axis of this.axes()) {
      const [low, high] = axis.range.map(Number);
      ranges[`${axis._name}.range`] = change(low, high, axis._name);
    }
    return Plotly.relayout(this.plot, ranges);
  }

  zoom(by) {
    return this.moved((low, high) => {
      const middle = (low + high) / 2, half = ((high - low) / 2) * by;
      return [middle - half, middle + half];
    });
  }

  shift(across, up) {
    return this.moved((low, high, name) => {
      const by = (high - low) * 0.15 * (name === "xaxis" ? across : up);
      return [low + by, high + by];
    });
  }

  reset() {
    this.at = null;
    return this.draw();
  }

  pressed(event) {
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const arrow = arrows[event.key];
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (arrow && event.shiftKey) this.shift(...arrow);
    else if (arrow) this.step(...arrow);
    else if (event.key === "+" || event.key === "=") this.zoom(0.6);
    else if (event.key === "-") this.zoom(1 / 0.6);
    else if (event.key === "0" || event.key === "Escape") this.reset();
    else return;
    event.preventDefault();
  }

  step(along, between) {
    // from value to value with left and right, from series to series with up and down; bars lie, and turn both round
    const [points, series] = this.flat() ? [-between, along] : [along, -between];
    const tops = this.traces.flatMap((trace, curve) => (trace.told ? [{ curve, count: trace.plain.length }] : []));
    if (!tops.length) return;
    if (this.at === null) this.at = { top: 0, point: points < 0 ? tops[0].count - 1 : 0 };
    else {
      this.at.top = (this.at.top + series + tops.length) % tops.length;
      const { count } = tops[this.at.top];
      this.at.point = (Math.min(this.at.point, count - 1) + points + count) % count;
    }
    const { curve } = tops[this.at.top];
    Plotly.Fx.hover(this.plot, [{ curveNumber: curve, pointNumber: this.at.point }]);
    this.readout.textContent = this.traces[curve].plain[this.at.point];
  }

  draw() {
    this.drawn = true;
    const { traces, layout } = this.flat() ? this.bars() : this.lines();
    this.traces = traces;
    const given = traces.map(({ told, plain, ...trace }) => trace);
    const done = Plotly.react(this.plot, given, layout, { displayModeBar: false, displaylogo: false, responsive: true, doubleClick: "reset", scrollZoom: false });
    if (!this.listens) {
      this.listens = true;
      this.plot.on("plotly_hover", ({ points: [point] }) => {
        const trace = this.traces[point.curveNumber];
        if (trace?.plain) this.readout.textContent = trace.plain[point.pointNumber] ?? "";
      });
    }
    return done;
  }

  base(height) {
    const ink = colour("ink"), line = colour("line"), soft = colour("soft"), page = colour("page");
    const axis = { color: soft, gridcolor: line, linecolor: colour("edge"), zerolinecolor: colour("edge"), automargin: true, tickfont: { color: soft, size: 12 }, title: { font: { color: ink, size: 13 }, standoff: 8 } };
    return {
      axis,
      layout: {
        height, dragmode: this.mode, showlegend: false, hovermode: "closest", hoverdistance: 30,
        margin: { l: 8, r: 14, t: 10, b: 8 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        font: { family: getComputedStyle(document.body).fontFamily, color: ink, size: 13 },
        hoverlabel: { bgcolor: page, bordercolor: colour("edge"), font: { color: ink, size: 13 }, align: "left" },
        modebar: { remove: ["sendDataToCloud"] },
      },
    };
  }

  hover(one, place, x) {
    // what is read at a value: the line by line form of the figure, and one sentence
    const unit = this.data.y.unit;
    const parts = [x, measured(one.y[place], unit)];
    if (one.low && one.low[place] !== null && one.high[place] !== null && one.low[place] < one.high[place]) {
      parts.push(`${number(one.low[place], unit)} to ${number(one.high[place], unit)}`);
    }
    if (one.label && this.data.series.length > 1) parts.unshift(one.label);
    return parts.filter(Boolean);
  }

  reach(one, times) {
    const away = (ends, sign) => one.y.map((value, place) => {
      const end = ends[place];
      return value === null || end === null || end === undefined ? 0 : Math.max(0, sign * (end - value) * times);
    });
    return { type: "data", symmetric: false, array: away(one.high, 1), arrayminus: away(one.low, -1), thickness: 1.2, width: 4, color: colour("ink") };
  }

  bars() {
    const { data } = this, times = data.y.unit === "ratio" ? 100 : 1;
    const narrow = this.plot.clientWidth < 480;
    const names = data.x.texts.map((text) => wrapped(text === data.baseline ? `${text} (baseline)` : text, narrow ? 16 : 28));
    const groups = data.kind === "stack" ? 1 : Math.max(1, data.series.length - this.hiding.size);
    const lines = Math.max(...names.map((name) => name.split("<br>").length));
    const slot = Math.max(20 * groups + 8, 15 * lines + 10, 34);
    const { axis, layout } = this.base(slot * names.length + 64);
    const at = names.map((_, place) => place);
    const alone = data.series.length === 1;
    const seen = data.series.filter((_, place) => !this.hiding.has(place));
    const traces = seen.map((one) => {
      const held = looks(one.place, true);
      const texts = one.y.map((_, index) => this.hover(one, index, data.x.texts[index]));
      const fill = alone ? data.x.texts.map((text) => (text === data.baseline ? colour("edge") : held.colour)) : held.colour;
      return {
        type: "bar", orientation: "h", y: at, x: one.y.map((value) => (value === null ? null : value * times)),
        marker: { color: fill, line: { color: colour("edge"), width: 1 }, pattern: { shape: alone ? "" : held.hatch, fgcolor: "#ffffff", fillmode: "overlay", size: 7, solidity: 0.2 } },
        error_x: one.low && data.kind !== "stack" ? this.reach(one, times) : undefined,
        hoverinfo: "text", hovertext: texts.map((parts) => parts.map(escaped).join("<br>")), plain: texts.map((parts) => parts.join(": ")), told: true,
      };
    });
    if (data.kind === "bars") {
      // the values stand behind the ends of their intervals
      const thick = 0.75 / groups;
      seen.forEach((one, place) => traces.push({
        type: "scatter", mode: "text", textposition: "middle right", hoverinfo: "skip", cliponaxis: false,
        y: at.map((spot) => spot + (place - (groups - 1) / 2) * thick),
        x: one.y.map((value, index) => Math.max(0, value ?? 0, one.high?.[index] ?? 0) * times),
        text: one.y.map((value) => ` ${value === null ? "no run" : number(value, data.y.unit)}`),
        textfont: { color: colour("ink"), size: 12 },
      }));
    }
    const ends = seen.flatMap((one) => one.y.flatMap((value, index) => [value, one.low?.[index], one.high?.[index]])).filter(Number.isFinite);
    const top = Math.max(0, ...ends) * times, low = Math.min(0, ...ends) * times;
    const room = narrow ? 0.42 : 0.2;
    layout.xaxis = {
      ...axis, title: { ...axis.title, text: wrapped(data.y.label, narrow ? 30 : 60) }, tickformat: format(top),
      range: data.kind === "stack" ? [0, 100] : [low * 1.25, low + (top - low || 1) * (1 + room)], zeroline: true, nticks: narrow ? 4 : 7,
    };
    layout.yaxis = { ...axis, tickvals: at, ticktext: names, range: [names.length - 0.5, -0.5], fixedrange: true, showgrid: false, zeroline: false, tickfont: { color: colour("ink"), size: 12.5 } };
    layout.barmode = data.kind === "stack" ? "stack" : "group";
    layout.bargap = 0.25;
    return { traces, layout };
  }

  lines() {
    const { data } = this, times = data.y.unit === "ratio" ? 100 : 1;
    const narrow = this.plot.clientWidth < 480;
    const { axis, layout } = this.base(narrow ? 300 : 360);
    const scaled = (values) => values.map((value) => (value === null || value === undefined ? null : value * times));
    const traces = [], behind = [];
    data.series.forEach((one, place) => {
      if (this.hiding.has(place)) return;
      const held = looks(one.place, false);
      const course = data.kind === "course";
      const at = one.at ?? data.x.at ?? data.x.texts.map((_, index) => index);
      const xs = course ? [0, ...at] : at;
      const fold = (values) => (course ? [values[0], ...values] : values);
      const y = scaled(fold(one.y));
      const line = { color: held.colour, dash: held.dash, width: course ? 1.5 : 2, shape: course ? "vh" : "linear" };
      const of = (index) => {
        if (course) return `${digits(xs[index], 3)} % of the trace`;
        return one.texts?.[index] ?? `${data.x.label ? `${data.x.label} ` : ""}${data.x.texts?.[index] ?? at[index]}`;
      };
      const folded = course ? { ...one, y: fold(one.y), low: one.low && fold(one.low), high: one.high && fold(one.high) } : one;
      const texts = folded.y.map((_, index) => this.hover(folded, index, of(index)));
      const band = one.low && data.kind !== "points" && (course || (data.x.at && at.length > 1));
      if (band) {
        for (const [ends, fill] of [[folded.low, undefined], [folded.high, "tonexty"]]) {
          behind.push({ type: "scatter", mode: "lines", x: xs, y: scaled(ends), line: { width: 0, shape: line.shape }, fill, fillcolor: faint(held.colour), hoverinfo: "skip" });
        }
      }
      traces.push({
        type: "scatter", mode: data.kind === "points" ? "markers" : course ? "lines" : "lines+markers", x: xs, y, line, connectgaps: false,
        marker: { color: held.colour, symbol: held.marker, size: data.kind === "points" ? 7 : 8, opacity: data.kind === "points" && one.means?.length ? 0.5 : 1, line: { width: 0 } },
        error_y: one.low && !band ? { ...this.reach(one, times), color: held.colour } : undefined,
        hoverinfo: "text", hovertext: texts.map((parts) => parts.map(escaped).join("<br>")), plain: texts.map((parts) => parts.join(": ")), told: true,
      });
      if (one.means?.length) {
        const [x, mean, low, high] = [0, 1, 2, 3].map((index) => one.means.map((held_) => held_[index]));
        const told = { y: mean, low, high, label: one.label };
        const read = x.map((_, index) => this.hover(told, index, "mean of a part"));
        behind.push({ type: "scatter", mode: "lines", hoverinfo: "skip", line: { color: held.colour, width: 1 }, x: one.means.flatMap((part) => [part[4], part[5], null]), y: one.means.flatMap((part) => [part[1] * times, part[1] * times, null]) });
        traces.push({
          type: "scatter", mode: "markers", x, y: scaled(mean), marker: { color: held.colour, symbol: held.marker, size: 13, line: { color: colour("page"), width: 1.5 } },
          error_y: { ...this.reach(told, times), color: held.colour },
          hoverinfo: "text", hovertext: read.map((parts) => parts.map(escaped).join("<br>")), plain: read.map((parts) => parts.join(": ")), told: true,
        });
      }
    });
    const values = traces.flatMap((trace) => trace.y).filter(Number.isFinite);
    const reach = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
    layout.xaxis = { ...axis, title: { ...axis.title, text: wrapped(data.x.label, narrow ? 30 : 70) }, type: data.x.log ? "log" : "linear", zeroline: false, showline: true, ...this.ticks() };
    if (data.kind === "course") layout.xaxis.range = [0, 100];
    layout.yaxis = { ...axis, title: { ...axis.title, text: wrapped(data.y.label, 36) }, tickformat: format(reach[1]), nticks: 7, zeroline: false };
    if (data.y.log) layout.yaxis.type = "log";
    const least = Math.max(...reach.map(Math.abs)) / 50 - (reach[1] - reach[0]);
    if (least > 0 && !data.y.log) layout.yaxis.range = [reach[0] - least / 2 - reach[1] / 100, reach[1] + least / 2 + reach[1] / 100];
    if (data.kind === "course" && reach[0] >= 0) layout.yaxis.rangemode = "tozero";
    return { traces: [...behind, ...traces], layout };
  }

  ticks() {
    // the values of the study as it writes them, without those that would run into the one before
    const { x } = this.data;
    if (!x.texts || x.free) return x.free ? { tickformat: format(x.greatest) } : {};
    const at = x.at ?? x.texts.map((_, place) => place);
    const places = at.map((value) => (x.log ? Math.log10(value) : value));
    const low = Math.min(...places), span = Math.max(...places) - low || 1;
    const width = this.plot.clientWidth - 90;
    const letters = x.at ? 40 : Math.max(8, Math.floor(width / places.length / 7));
    const names = x.texts.map((text) => (x.at ? escaped(text) : wrapped(text.length > 60 ? `${text.slice(0, 58)} ...` : text, letters)));
    const order = places.map((_, index) => index).sort((a, b) => places[a] - places[b]);
    let free = -Infinity;
    const kept = order.filter((index) => {
      const middle = ((places[index] - low) / span) * width;
      const half = (7 * Math.max(...names[index].split("<br>").map((part) => part.length)) + 12) / 2;
      if (x.at && middle - half < free) return false;
      free = middle + half;
      return true;
    });
    const pad = x.at ? span * 0.04 : 0.4;
    const range = [low - pad, low + span + pad];
    return { tickvals: kept.map((index) => at[index]), ticktext: kept.map((index) => names[index]), range: places.length > 1 || !x.at ? range : undefined };
  }
}

const format = (greatest) => (Math.abs(greatest) >= 1e4 ? "~s" : "~g");

function faint(text) {
  const [red, green, blue] = text.startsWith("#")
    ? [1, 3, 5].map((place) => parseInt(text.slice(place, place + 2), 16))
    : text.match(/[\d.]+/g).map(Number);
  return `rgba(${red},${green},${blue},0.2)`;
}

function redraw(whole = false) {
  for (const chart of charts) {
    if (whole || chart.drawn) {
      chart.told();
      chart.draw();
    }
  }
}

function startCharts(held) {
  for (const figure of all("figure[data-chart]")) charts.push(new Chart(figure, held[Number(figure.dataset.chart)]));
  charts[0]?.draw();
  whenSeen(charts.slice(1));
}

function whenSeen(waiting) {
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((held) => held.isIntersecting)) {
      watch.unobserve(entry.target);
      const chart = charts.find((held) => held.figure === entry.target);
      if (!chart.drawn) chart.draw();
    }
  }, { rootMargin: "400px" });
  for (const chart of waiting) watch.observe(chart.figure);
}

// the explorer

class Explorer {
  constructor(data) {
    this.data = data;
    this.form = first("#explorer");
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.level = data.points ? "points" : "runs";
    this.build();
    this.chart = new Chart(first("#explored"), this.picked());
    charts.push(this.chart);
    whenSeen([this.chart]);
  }

  get held() {
    return this.data[this.level];
  }

  build() {
    const { metrics } = this.data;
    const before = this.state ?? {};
    const factors = this.held.factors;
    const label = (name, control) => make("label", {}, name, control);
    const choice = (options, value, does) => {
      const select = make("select", {}, ...options.map(([key, text]) => make("option", { value: key, textContent: text })));
      if (options.some(([key]) => key === value)) select.value = value;
      select.addEventListener("change", () => does(select.value));
      return select;
    };
    const many = factors.map((factor) => new Set(factor.codes).size);
    const swept = factors.findIndex((factor, place) => factor.name !== "seed" && factor.name !== "what_if" && many[place] > 1);
    const any = factors.findIndex((factor) => factor.name !== "seed");
    const variants = factors.findIndex((factor) => factor.name === "what_if");
    const start = swept >= 0 ? swept : any;
    this.state = {
      y: before.y ?? String(Math.max(0, this.data.shown - 1)),
      x: before.x ?? (start >= 0 ? `f${start}` : metrics.length > 1 ? "m1" : "m0"),
      by: before.by ?? (variants >= 0 && variants !== start && many[variants] <= 20 ? String(variants) : ""),
      kind: before.kind ?? "auto",
      words: before.words ?? "",
      off: new Map(),
    };
    const named = metrics.map((metric, place) => [String(place), metric.unit && metric.unit !== "ratio" ? `${metric.words} (${metric.unit})` : metric.words]);
    const set = (name) => (value) => { this.state[name] = value; this.show(); };
    const over = [...factors.map((factor, place) => [`f${place}`, factor.words]), ...named.map(([place, text]) => [`m${place}`, text])];
    const by = [["", "nothing"], ...factors.map((factor, place) => [String(place), factor.words])];
    const kinds = [["auto", "what fits"], ["bars", "bars"], ["lines", "lines"], ["points", "points"]];
    const controls = [
      label("Show", choice(named, this.state.y, set("y"))),
      label("over", choice(over, this.state.x, set("x"))),
      label("colours for", choice(by, this.state.by, set("by"))),
      label("as", choice(kinds, this.state.kind, set("kind"))),
    ];
    if (this.data.points) {
      const levels = [["points", "means of seeds, with intervals"], ["runs", "single runs"]];
      controls.push(label("each mark is", choice(levels, this.level, (value) => {
        this.level = value;
        this.state = { ...this.state, x: undefined, by: undefined };
        this.build();
        this.show();
      })));
    }
    const filter = make("input", { type: "search", value: this.state.words, placeholder: "words of a variant" });
    filter.addEventListener("input", () => { this.state.words = filter.value; this.show(); });
    controls.push(label("only with", filter));
    this.form.replaceChildren(...controls, ...factors.flatMap((factor, place) => this.values(factor, place)));
  }

  values(factor, place) {
    // one checkbox a value; all but one value of what is neither x nor colour are off at first, as in figures
    const there = [...new Set(factor.codes)].sort((a, b) => a - b);
    if (there.length < 2 || there.length > CHOICES) return [];
    const off = new Set();
    this.state.off.set(place, off);
    const used = [`f${place}`, String(place)];
    const drawn = factor.name === "seed" || used[0] === this.state.x || used[1] === this.state.by;
    const kept = Math.max(0, there.findIndex((code) => factor.texts[code] === this.data.baseline));
    if (!drawn && this.state.x.startsWith("f")) there.forEach((code, at) => at !== kept && off.add(code));
    const told = make("summary");
    const tell = () => { told.textContent = `${factor.words}: ${there.length - off.size} of ${there.length}`; };
    const boxes = there.map((code) => {
      const box = make("input", { type: "checkbox", checked: !off.has(code) });
      box.addEventListener("change", () => {
        if (box.checked) off.delete(code); else off.add(code);
        tell();
        this.show();
      });
      return { box, code, label: make("label", {}, box, factor.texts[code] || "none") };
    });
    const set = (on) => {
      for (const { box, code } of boxes) {
        box.checked = on;
        if (on) off.delete(code); else off.add(code);
      }
      tell();
      this.show();
    };
    const every = make("button", { type: "button", textContent: "all" }), none = make("button", { type: "button", textContent: "none" });
    every.addEventListener("click", () => set(true));
    none.addEventListener("click", () => set(false));
    tell();
    return [make("details", { className: "choices" }, told, make("div", {}, every, none, ...boxes.map((held) => held.label)))];
  }

  name(row) {
    return this.held.factors.map((factor) => factor.texts[factor.codes[row]]).filter(Boolean).join(", ");
  }

  kept() {
    const { factors, count } = this.held;
    const words = this.state.words.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [];
    for (let row = 0; row < count; row++) {
      if ([...this.state.off].some(([place, off]) => off.has(factors[place].codes[row]))) continue;
      if (words.length && !words.every((word) => this.name(row).toLowerCase().includes(word))) continue;
      rows.push(row);
    }
    return rows;
  }

  picked() {
    const { metrics, baseline } = this.data, { factors, values, low, high } = this.held, { state } = this;
    const place = Number(state.y), metric = metrics[place], column = values[place];
    let rows = this.kept().filter((row) => column[row] !== null);
    const over = Number(state.x.slice(1)), factor = state.x.startsWith("f") ? factors[over] : null;
    if (!factor) rows = rows.filter((row) => values[over][row] !== null);
    const all_ = rows.length;
    if (all_ > MOST) rows = rows.filter((_, at) => Math.floor((at * MOST) / all_) !== Math.floor(((at - 1) * MOST) / all_));
    const by = state.by === "" ? null : factors[Number(state.by)];
    const groups = new Map();
    for (const row of rows) {
      const code = by ? by.codes[row] : 0;
      if (!groups.has(code)) groups.set(code, []);
      groups.get(code).push(row);
    }
    const codes = [...groups.keys()].sort((a, b) => a - b);
    const notes = [metric.meaning];
    if (all_ > MOST) notes.push(`${MOST.toLocaleString("en-US")} of ${all_.toLocaleString("en-US")} points are drawn, evenly chosen`);
    const real = Boolean(factor?.at) && factor.at.every((value) => value !== null);
    const unique = factor && [...groups.values()].every((held) => new Set(held.map((row) => factor.codes[row])).size === held.length);
    let kind = state.kind;
    const named = factor && ["what_if", "trace"].includes(factor.name); // which have no order
    if (kind === "auto") kind = !factor || !unique ? "points" : named ? "bars" : "lines";
    if (kind === "bars" && !factor) kind = "points";
    if ((kind === "bars" || kind === "lines") && factor && !unique) {
      notes.push(`several runs stand at one value of ${factor.words}: choose one value of the other factors, or colours for them`);
      kind = "points";
    }
    if (kind === "lines" && !factor) kind = "points";
    if (low?.[place]) notes.push(`intervals hold with ${100 * this.data.confidence} % confidence`);
    const label = (what) => (what.unit === "ratio" ? `${what.words} (%)` : what.unit ? `${what.words} (${what.unit})` : what.words);
    const data = {
      title: `${metric.words[0]?.toUpperCase()}${metric.words.slice(1)} over ${factor ? factor.words : metrics[over].words}`,
      note: notes.filter(Boolean).join("; "), kind, baseline,
      y: { label: label(metric), unit: metric.unit, meaning: metric.meaning },
      by: by && by.name !== "what_if" && codes.length > 1 ? by.words : "",
    };
    const there = factor ? [...new Set(rows.map((row) => factor.codes[row]))].sort((a, b) => a - b) : [];
    const spot = new Map(there.map((code, at) => [code, at]));
    const ends = (held, found) => (held?.[place] ? found.map((row) => (row === undefined ? null : held[place][row])) : null);
    const one = (code, found) => ({
      label: by ? by.texts[code] : "", place: by ? codes.indexOf(code) : 1,
      y: found.map((row) => (row === undefined ? null : column[row])), low: ends(low, found), high: ends(high, found),
    });
    if (kind === "points") {
      const times = !factor && metrics[over].unit === "ratio" ? 100 : 1;
      const x = factor ? (row) => (real ? factor.at[factor.codes[row]] : spot.get(factor.codes[row])) : (row) => values[over][row] * times;
      data.x = factor
        ? { label: factor.words, texts: there.map((code) => factor.texts[code]), at: real ? there.map((code) => factor.at[code]) : null, log: factor.log }
        : { label: label(metrics[over]), texts: null, at: null, log: false, free: true, greatest: Math.max(0, ...rows.map((row) => values[over][row])) };
      data.series = codes.map((code) => {
        const found = groups.get(code);
        return { ...one(code, found), at: found.map(x), texts: found.map((row) => this.name(row)) };
      });
      return data;
    }
    const at = real ? there.map((code) => factor.at[code]) : null;
    const positive = at && at[0] > 0 && at.at(-1) / at[0] >= 8;
    data.x = { label: factor.words, texts: there.map((code) => factor.texts[code]), at, log: Boolean(at && (factor.log || positive)) };
    data.series = codes.map((code) => {
      const found = new Map(groups.get(code).map((row) => [factor.codes[row], row]));
      return one(code, there.map((held) => found.get(held)));
    });
    return data;
  }

  show() {
    const data = this.picked();
    this.chart.set(data);
  }
}

// start

function still() {
  // without what unpacks the data the page is as it is without a script
  for (const held of all("figure[data-chart] noscript")) held.outerHTML = held.textContent;
}

async function start() {
  startTheme();
  if (!("DecompressionStream" in window)) {
    still();
    for (const table of all("table.sortable")) new Table(table, null);
    return;
  }
  // what is seen first, first: the rows of tables are in the page, and plotly's second is before that of the data
  // (which stands behind this script: it may still be read)
  const [library, figures] = await Promise.all([unpack("library"), unpack("charts")]);
  document.head.append(make("script", { textContent: library }));
  startCharts(JSON.parse(figures));
  root.dataset.drawn = String(Math.round(performance.now()));
  await new Promise((shown) => setTimeout(shown)); // it is painted
  if (document.readyState === "loading") await new Promise((read) => addEventListener("DOMContentLoaded", read));
  const data = JSON.parse(await unpack("data"));
  const tables = new Map(all("table.sortable").map((table) => [table.dataset.name, new Table(table, data.tables[table.dataset.name])]));
  chooseColumns(tables.get("runs"), data);
  if (data.resolved) {
    const whole = first("#whole");
    whole.hidden = false;
    whole.addEventListener("toggle", () => { first("pre", whole).textContent ||= data.resolved; });
  }
  if (data.runs.count) {
    for (const held of all(".scripted")) held.hidden = false;
    new Explorer(data);
  }
  root.dataset.ready = String(Math.round(performance.now()));
}

start();
