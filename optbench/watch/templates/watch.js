const scene = JSON.parse(document.getElementById("scene").textContent);
const [left, right, bottom, top_] = scene.window;
const last = Math.max(...scene.tracks.map((track) => track.costs[track.costs.length - 1]));
let place = 0; // 0 to 1; the cost shown grows with its square, so that the fast beginning is seen

const costNow = () => last * place * place;
const shown = () => scene.tracks.map((_, k) => document.querySelector(`[data-track="${k}"]`).checked);
const frameAt = (track, cost) => {
  let k = 0;
  while (k + 1 < track.costs.length && track.costs[k + 1] <= cost) k += 1;
  return k;
};
function drawPlane() {
  const [c, w, h] = sharp(byId("plane"));
  const x = (v) => ((v - left) / (right - left)) * w;
  const y = (v) => h - ((v - bottom) / (top_ - bottom)) * h;
  c.clearRect(0, 0, w, h);
  c.drawImage(byId("surface"), 0, 0, w, h);
  c.font = "13px system-ui, sans-serif";
  if (scene.minimum) { c.fillStyle = "#fff"; c.font = "26px sans-serif"; c.textAlign = "center"; c.textBaseline = "middle"; c.fillText("★", x(scene.minimum[0]), y(scene.minimum[1])); c.strokeStyle = "#000"; c.lineWidth = 0.8; c.strokeText("★", x(scene.minimum[0]), y(scene.minimum[1])); }
  const on = shown();
  scene.tracks.forEach((track, k) => {
    if (!on[k]) return;
    const f = frameAt(track, costNow());
    c.strokeStyle = c.fillStyle = track.colour;
    c.lineWidth = 2.2; c.lineJoin = "round";
    c.beginPath();
    for (let i = 0; i <= f; i += 1) { const [a, b] = track.places[i]; if (i) c.lineTo(x(a), y(b)); else c.moveTo(x(a), y(b)); }
    c.stroke();
    if (byId("clouds").checked) {
      c.globalAlpha = 0.65;
      for (const [a, b] of track.clouds[f]) { c.beginPath(); c.arc(x(a), y(b), 2.6, 0, 7); c.fill(); }
      const e = track.ellipses[f];
      if (e) { c.beginPath(); c.ellipse(x(e[0]), y(e[1]), Math.max(1, (e[2] / (right - left)) * w), Math.max(1, (e[3] / (top_ - bottom)) * h), -e[4], 0, 7); c.stroke(); }
      c.globalAlpha = 1;
    }
    const [a, b] = track.places[f];
    c.beginPath(); c.arc(x(a), y(b), 7, 0, 7); c.fill(); c.strokeStyle = "#fff"; c.lineWidth = 2; c.stroke();
  });
  c.font = "13px system-ui, sans-serif"; c.textBaseline = "alphabetic"; c.textAlign = "right";
  const write = (text, a, b) => { c.strokeStyle = "#fff"; c.lineWidth = 3; c.strokeText(text, a, b); c.fillStyle = "#111"; c.fillText(text, a, b); };
  write(`${scene.axes[0]}: ${number(left)} to ${number(right)}`, w - 8, h - 8);
  c.save(); c.translate(16, 8); c.rotate(-Math.PI / 2); write(`${scene.axes[1]}: ${number(bottom)} to ${number(top_)}`, 0, 0); c.restore();
}

const finite = scene.tracks.flatMap((track) => track.losses).filter((v) => v > 0 && v < 1e30);
const firstCost = Math.min(...scene.tracks.flatMap((track) => track.costs.filter((v) => v > 0)));
const low = Math.log10(Math.min(...finite)), high = Math.log10(Math.max(...finite));
function drawCurves() {
  const [c, w, h] = sharp(byId("curves"));
  const pad = { l: 58, r: 12, t: 12, b: 40 };
  const x0 = Math.log10(firstCost), x1 = Math.log10(last);
  const x = (v) => pad.l + ((Math.log10(Math.max(v, firstCost)) - x0) / Math.max(1e-9, x1 - x0)) * (w - pad.l - pad.r);
  const y = (v) => h - pad.b - ((Math.log10(Math.max(v, 10 ** low)) - low) / Math.max(1e-9, high - low)) * (h - pad.t - pad.b);
  c.clearRect(0, 0, w, h); c.fillStyle = "#fff"; c.fillRect(0, 0, w, h);
  c.font = "13px system-ui, sans-serif"; c.fillStyle = "#444"; c.strokeStyle = "#ddd"; c.lineWidth = 1;
  const steps = Math.max(1, Math.ceil((high - low) / 6));
  for (let d = Math.ceil(low); d <= high; d += steps) { c.beginPath(); c.moveTo(pad.l, y(10 ** d)); c.lineTo(w - pad.r, y(10 ** d)); c.stroke(); c.textAlign = "right"; c.fillText(number(10 ** d), pad.l - 6, y(10 ** d) + 4); }
  for (let d = Math.ceil(x0); d <= x1; d += Math.max(1, Math.ceil((x1 - x0) / 6))) { c.beginPath(); c.moveTo(x(10 ** d), pad.t); c.lineTo(x(10 ** d), h - pad.b); c.stroke(); c.textAlign = "center"; c.fillText(number(10 ** d), x(10 ** d), h - pad.b + 18); }
  c.textAlign = "center"; c.fillText("passes", (w + pad.l) / 2, h - 6);
  const on = shown();
  scene.tracks.forEach((track, k) => {
    if (!on[k]) return;
    const f = frameAt(track, costNow());
    c.strokeStyle = c.fillStyle = track.colour; c.lineWidth = 2; c.beginPath();
    let begun = false;
    for (let i = 0; i <= f; i += 1) {
      if (!(track.losses[i] > 0 && track.losses[i] < 1e30)) continue;
      if (begun) c.lineTo(x(track.costs[i]), y(track.losses[i])); else c.moveTo(x(track.costs[i]), y(track.losses[i]));
      begun = true;
    }
    c.stroke();
    if (track.losses[f] < 1e30) { c.beginPath(); c.arc(x(track.costs[f]), y(track.losses[f]), 4.5, 0, 7); c.fill(); }
    document.querySelector(`[data-loss="${k}"]`).textContent = number(track.losses[f]);
  });
}

const hues = ["#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#0072B2"];
function drawLearned() {
  if (!scene.view) return;
  const [c, w, h] = sharp(byId("learned"));
  const { kind, fixed, frames } = scene.view;
  c.clearRect(0, 0, w, h); c.fillStyle = "#fff"; c.fillRect(0, 0, w, h);
  const cost = costNow(), on = shown();
  if (kind === "function") {
    const ys = fixed.dots[1], lo = Math.min(...ys), hi = Math.max(...ys), air = 0.15 * (hi - lo || 1);
    const x = (v) => 10 + ((v - fixed.x[0]) / (fixed.x[fixed.x.length - 1] - fixed.x[0])) * (w - 20);
    const y = (v) => h - 10 - ((v - lo + air) / (hi - lo + 2 * air)) * (h - 20);
    c.fillStyle = "#999";
    fixed.dots[0].forEach((v, i) => { c.beginPath(); c.arc(x(v), y(ys[i]), 2.5, 0, 7); c.fill(); });
    c.save(); c.beginPath(); c.rect(0, 0, w, h); c.clip();
    scene.tracks.forEach((track, k) => {
      if (!on[k]) return;
      c.strokeStyle = track.colour; c.lineWidth = 2.4; c.beginPath();
      frames[k][frameAt(track, cost)].forEach((v, i) => (i ? c.lineTo(x(fixed.x[i]), y(v)) : c.moveTo(x(fixed.x[i]), y(v))));
      c.stroke();
    });
    c.restore();
    return;
  }
  const k = +byId("whose").value, frame = frames[k][frameAt(scene.tracks[k], cost)];
  if (kind === "boundary") {
    const n = fixed.side, [a, b, d, e] = fixed.window;
    c.globalAlpha = 0.45;
    for (let i = 0; i < n * n; i += 1) { c.fillStyle = hues[+frame[i] % hues.length]; c.fillRect(((i % n) * w) / n, h - (Math.floor(i / n) + 1) * (h / n), w / n + 0.6, h / n + 0.6); }
    c.globalAlpha = 1;
    fixed.classes.forEach((one, i) => { c.fillStyle = hues[one % hues.length]; c.strokeStyle = "#222"; c.lineWidth = 0.8; c.beginPath(); c.arc(((fixed.dots[0][i] - a) / (b - a)) * w, h - ((fixed.dots[1][i] - d) / (e - d)) * h, 3.5, 0, 7); c.fill(); c.stroke(); });
    return;
  }
  const n = fixed.classes, pad = 26, side = (w - pad) / n;
  c.font = `${Math.min(15, side / 3)}px system-ui, sans-serif`; c.textAlign = "center"; c.textBaseline = "middle";
  for (let i = 0; i < n; i += 1) { c.fillStyle = "#444"; c.fillText(i, pad + (i + 0.5) * side, pad / 2); c.fillText(i, pad / 2, pad + (i + 0.5) * side); }
  frame.forEach((share, i) => {
    const row = Math.floor(i / n), column = i % n;
    c.fillStyle = row === column ? `rgba(0,114,178,${share})` : `rgba(213,94,0,${share})`;
    c.fillRect(pad + column * side, pad + row * side, side - 1, side - 1);
    if (share >= 0.05) { c.fillStyle = share > 0.55 ? "#fff" : "#222"; c.fillText(Math.round(100 * share), pad + (column + 0.5) * side, pad + (row + 0.5) * side); }
  });
}

const watched = player({
  steps: 1000,
  seconds: 12, // a whole run at normal speed
  start: 0,
  moves: true,
  draw: (now) => {
    place = now;
    drawPlane(); drawCurves(); drawLearned();
    return `${number(costNow())} passes`;
  },
});
for (const one of document.querySelectorAll("[data-track], #clouds, #whose")) one.addEventListener("change", watched.draw);
byId("surface").decode().then(watched.begin);
