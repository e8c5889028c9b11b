"use strict";
const byId = (id) => document.getElementById(id);
const number = (value) => (Math.abs(value) >= 1e30 ? "∞" : value === 0 ? "0" : Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5 ? value.toExponential(1) : value.toPrecision(3));

function sharp(canvas) { // a canvas in device pixels, drawn in CSS pixels, as high as its height is to its width
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  if (!canvas.dataset.shape) canvas.dataset.shape = canvas.height / canvas.width;
  const width = canvas.clientWidth || 600, height = Math.round(width * canvas.dataset.shape);
  const wide = Math.round(width * ratio), high = Math.round(height * ratio);
  if (canvas.width !== wide || canvas.height !== high) { canvas.width = wide; canvas.height = high; }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return [context, width, height];
}

/* Plays a picture. steps: of the slider. seconds: of a whole run at normal speed. start: the place, 0 to 1, that is shown
   first. moves: whether it begins by itself, unless the reader asks for less motion. draw(place) draws and says in words
   what is shown. */
function player({ steps, seconds, start, moves, draw }) {
  const slider = byId("place"), button = byId("play"), now = byId("now"), speed = byId("speed");
  let place = start, playing = false, before = null;
  const show = () => {
    slider.value = Math.round(steps * place);
    const said = draw(place);
    now.textContent = said;
    slider.setAttribute("aria-valuetext", said);
  };
  const stop = () => { playing = false; before = null; button.textContent = "Play"; };
  const step = (time) => {
    if (!playing) return;
    if (before !== null) place = Math.min(1, place + ((time - before) / 1000 / seconds) * +speed.value);
    before = time;
    if (place >= 1) stop();
    show();
    if (playing) requestAnimationFrame(step);
  };
  button.addEventListener("click", () => {
    if (playing) { stop(); return; }
    if (place >= 1) place = 0;
    playing = true; button.textContent = "Pause"; requestAnimationFrame(step);
  });
  slider.addEventListener("input", () => { stop(); place = slider.value / steps; show(); });
  window.addEventListener("resize", show);
  window.addEventListener("beforeprint", () => { stop(); if (moves) place = 1; show(); });
  return {
    draw: show,
    begin: () => {
      const still = window.matchMedia("(prefers-reduced-motion: reduce), print").matches;
      if (moves && still) place = 1;
      show();
      if (moves && !still) button.click();
    },
  };
}
