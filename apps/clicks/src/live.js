// The live page: draws each scene that the server sends. All text goes in as text, never as HTML:
// user agents and referers are what strangers wrote.
"use strict";

const at = (id) => document.getElementById(id);

function rows(body, lines) {
  body.replaceChildren(...lines.map((cells) => {
    const row = document.createElement("tr");
    row.append(...cells.map((text) => {
      const cell = document.createElement("td");
      cell.textContent = text;
      if (typeof text === "number") cell.className = "number";
      return cell;
    }));
    return row;
  }));
}

function draw(scene) {
  at("total").textContent = scene.total.toLocaleString("en");
  const whole = scene.seconds.slice(0, -1);
  at("now").textContent = (whole.at(-1) ?? 0).toLocaleString("en");
  const most = Math.max(1, ...whole);
  at("rate").replaceChildren(...whole.map((count) => {
    const bar = document.createElement("i");
    bar.style.height = `${(100 * count) / most}%`;
    bar.title = `${count} clicks`;
    return bar;
  }));
  rows(at("top"), scene.top);
  const several = (click) => (click.weight > 1 ? `${click.code} ×${click.weight}` : click.code);
  rows(at("last"), scene.last.map((click) =>
    [several(click), click.country, click.browser, click.os, click.referer].map((it) => it || "–")));
}

const events = new EventSource("/live/events");
events.onopen = () => { at("state").textContent = "live"; at("state").className = ""; };
events.onerror = () => { at("state").textContent = "connection lost, trying again"; at("state").className = "lost"; };
events.onmessage = (event) => draw(JSON.parse(event.data));
