// Lets a reader go through a table of steps, a row at a time: buttons, arrow keys, a slow show. Without it all rows stand there.
(() => {
  "use strict";
  const PACE = 1200; // milliseconds of a step in the show

  function button(text, label, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.setAttribute("aria-label", label);
    made.title = label;
    made.addEventListener("click", act);
    return made;
  }

  function stepper(table) {
    const rows = [...table.tBodies[0].rows];
    let at = -1; // no step: all rows are shown alike
    let timer = 0;

    const bar = document.createElement("div");
    bar.className = "stepper";
    bar.setAttribute("role", "group");
    bar.setAttribute("aria-label", "Go through the steps");
    bar.tabIndex = 0;
    const said = document.createElement("span");
    said.setAttribute("aria-live", "polite");

    function go(to) {
      at = Math.max(-1, Math.min(rows.length - 1, to));
      rows.forEach((row, k) => {
        row.classList.toggle("step-now", k === at);
        row.classList.toggle("step-later", at >= 0 && k > at);
      });
      said.textContent = at < 0 ? "all steps" : `step ${at + 1} of ${rows.length}`;
      if (at === rows.length - 1) pause();
    }
    function pause() {
      clearInterval(timer);
      timer = 0;
      play.textContent = "play";
    }
    function toggle() {
      if (timer) return pause();
      if (at === rows.length - 1) go(-1);
      timer = setInterval(() => go(at + 1), PACE);
      play.textContent = "pause";
      go(at + 1);
    }
    function by(many) {
      pause();
      go(at + many);
    }
    const play = button("play", "Show step after step", toggle);
    bar.append(
      button("previous", "Previous step (left arrow)", () => by(-1)),
      button("next", "Next step (right arrow)", () => by(1)),
      play,
      button("all", "Show all steps (Escape)", () => by(-rows.length)),
      said,
    );
    bar.addEventListener("keydown", (event) => {
      const many = { ArrowRight: 1, ArrowLeft: -1, Home: -rows.length, End: rows.length, Escape: -rows.length }[event.key];
      if (many === undefined) return;
      event.preventDefault();
      by(many);
    });
    go(-1);
    table.before(bar);
  }

  function start() {
    for (const table of document.querySelectorAll("table")) {
      const head = table.tHead && table.tHead.rows[0];
      if (head && head.cells[0].textContent.trim() === "step" && table.tBodies.length) stepper(table);
    }
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
