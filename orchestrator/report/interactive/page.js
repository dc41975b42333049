"use strict";
// Draws the plots of the page, in its colours and its width, and answers to the arrow keys.
(() => {
  const NARROW_PX = 560, PRINTED_PX = 660;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)");
  const colours = JSON.parse(document.getElementById("dark-colours").textContent);
  const said = document.getElementById("said");
  const plots = [...document.querySelectorAll("[data-plot]")];
  const places = new Map();
  let printing = false;

  function set(layout, dotted, value) {
    const keys = dotted.split("."), last = keys.pop();
    let at = layout;
    for (const key of keys) at = at[key] ??= {};
    at[last] = value;
  }

  function inDark(text) {
    return text.replace(/"(#[0-9a-f]{6})([0-9a-f]{2})?"/g, (all, colour, alpha) =>
      colours[colour] ? `"${colours[colour]}${alpha ?? ""}"` : all);
  }

  function draw(place) {
    const text = document.getElementById(place.dataset.plot).textContent;
    const figure = JSON.parse(dark.matches && !printing ? inDark(text) : text);
    const width = printing ? Math.min(PRINTED_PX, place.clientWidth) : place.clientWidth;
    if (!width) return;
    if (width < NARROW_PX)
      for (const [key, value] of Object.entries(figure.narrow)) set(figure.layout, key, value);
    figure.layout.width = width;
    if (coarse.matches) figure.layout.dragmode = false; // a finger scrolls the page
    Plotly.react(place, figure.data, figure.layout, {
      displayModeBar: false, // its buttons would be in the way of the tab key
    });
    place.dataset.width = width;
    place.querySelector(".plot-container").setAttribute("aria-hidden", "true");
  }

  function points(place) {
    const found = [];
    place.data.forEach((trace, curveNumber) => {
      if (trace.meta === "skip" || !trace.hovertext) return;
      trace.hovertext.forEach((text, i) => {
        if (!Array.isArray(text)) {
          if (text) found.push({ text, at: { curveNumber, pointNumber: i } });
          return;
        }
        text.forEach((one, j) => {
          if (one) found.push({ text: one, at: { curveNumber, pointNumber: [i, j] } });
        });
      });
    });
    return found;
  }

  function step(place, key) {
    const all = points(place), last = all.length - 1;
    if (last < 0) return;
    const now = places.get(place) ?? -1;
    const next = { ArrowRight: now + 1, ArrowDown: now + 1, ArrowLeft: now - 1, ArrowUp: now - 1,
      Home: 0, End: last }[key];
    const chosen = Math.max(0, Math.min(last, next));
    places.set(place, chosen);
    Plotly.Fx.hover(place, [all[chosen].at]);
    const words = document.createElement("div");
    words.innerHTML = all[chosen].text.replaceAll("<br>", "; ");
    said.textContent = words.textContent;
  }

  const KEYS = ["ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown", "Home", "End"];
  for (const place of plots) {
    place.hidden = false;
    place.tabIndex = 0;
    place.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      if (event.key === "Escape") Plotly.Fx.unhover(place);
      if (!KEYS.includes(event.key)) return;
      event.preventDefault();
      step(place, event.key);
    });
    place.addEventListener("blur", () => Plotly.Fx.unhover(place));
  }
  const drawAll = () => plots.forEach(draw);
  drawAll();
  const watch = new ResizeObserver((entries) => {
    if (printing) return;
    for (const { target } of entries)
      if (target.clientWidth !== Number(target.dataset.width)) draw(target);
  });
  plots.forEach((place) => watch.observe(place));
  dark.addEventListener("change", drawAll);
  addEventListener("beforeprint", () => { printing = true; drawAll(); });
  addEventListener("afterprint", () => { printing = false; drawAll(); });
})();
