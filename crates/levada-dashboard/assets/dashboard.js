// Draws the live charts of the overview from /events. What it puts into the page are numbers of its
// own, set as text and as points of a line; nothing that a stream holds comes this way.
"use strict";

(() => {
  const WIDTH = 300;
  const HEIGHT = 80;
  const KEPT = 150; // samples: five minutes
  const place = document.getElementById("charts");
  if (!place) return;

  const charts = new Map();
  for (const figure of place.querySelectorAll("figure[data-chart]")) {
    charts.set(figure.dataset.chart, {
      line: figure.querySelector("polyline"),
      output: figure.querySelector("output"),
      values: [],
    });
  }

  const add = (name, value) => {
    const chart = charts.get(name);
    if (!chart) return;
    if (!Number.isFinite(value)) {
      chart.output.textContent = "unknown";
      return;
    }
    chart.values.push(value);
    if (chart.values.length > KEPT) chart.values.shift();
    chart.output.textContent = value.toLocaleString(undefined, { maximumFractionDigits: 2 });
    const top = Math.max(...chart.values, 1e-9);
    // The line begins at the right and fills a minute, then all that is kept.
    const step = WIDTH / (Math.max(chart.values.length, 30) - 1);
    const first = WIDTH - step * (chart.values.length - 1);
    const point = (each, at) =>
      `${(first + at * step).toFixed(1)},${(HEIGHT - 2 - (each / top) * (HEIGHT - 6)).toFixed(1)}`;
    chart.line.setAttribute("points", chart.values.map(point).join(" "));
  };

  let before = null;
  const show = (sample) => {
    const now = performance.now();
    const number = (value) => (value === null ? NaN : value);
    if (before) {
      const seconds = (now - before.now) / 1000;
      // A counter that falls was set back: a restart, or CONFIG RESETSTAT.
      const rate = (name) => Math.max(0, number(sample[name]) - number(before.sample[name])) / seconds;
      add("appends", rate("appends"));
      add("commands", rate("commands"));
    }
    add("lag", number(sample.lag));
    add("commit", number(sample.commit_us) / 1000);
    before = { now, sample };
    place.dataset.samples = String(Number(place.dataset.samples || "0") + 1);
  };

  let source = null;
  const open = () => {
    before = null;
    source = new EventSource(place.dataset.events);
    source.onmessage = (event) => show(JSON.parse(event.data));
  };
  // A page that nobody looks at needs no place among the watchers.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && source) {
      source.close();
      source = null;
    } else if (!document.hidden && !source) {
      open();
    }
  });
  open();
})();
