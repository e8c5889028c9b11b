const picture = JSON.parse(byId("picture").textContent);
const frames = picture.control.values.length;
const at = (value, k) => (value !== null && typeof value === "object" && value.frames ? value.frames[Math.min(k, value.frames.length - 1)] : value);
const each = (value, i) => (Array.isArray(value) ? value[i] : value);
const raised = (n) => "10" + String(n).replace(/./g, (one) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(one)]);

function colours(palette) { // 256 colours between those of a palette
  const stops = palette.map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  return Array.from({ length: 256 }, (_, i) => {
    const place = (i / 255) * (stops.length - 1), k = Math.min(stops.length - 2, Math.floor(place));
    return stops[k].map((from, j) => Math.round(from + (stops[k + 1][j] - from) * (place - k)));
  });
}
const tiles = new Map();
function tile(layer, k) { // one image as a canvas, kept
  const coded = at(layer.pixels, k), known = layer.palette.join() + layer.fade + coded;
  if (tiles.has(known)) return tiles.get(known);
  const made = document.createElement("canvas"), palette = colours(layer.palette), bytes = atob(coded);
  made.width = layer.columns; made.height = layer.rows;
  const c = made.getContext("2d"), data = c.createImageData(layer.columns, layer.rows);
  for (let i = 0; i < bytes.length; i += 1) data.data.set([...palette[bytes.charCodeAt(i)], layer.fade ? bytes.charCodeAt(i) : 255], 4 * i);
  c.putImageData(data, 0, 0);
  tiles.set(known, made);
  return made;
}

function ticks(low, high, log, count) {
  if (log) {
    const first = Math.ceil(Math.log10(low) - 1e-9), last = Math.floor(Math.log10(high) + 1e-9), found = [];
    const step = Math.max(1, Math.ceil((last - first + 1) / count));
    for (let d = first; d <= last; d += step) found.push([10 ** d, d >= -2 && d <= 3 ? String(+(10 ** d).toPrecision(3)) : raised(d)]);
    if (found.length > 1) return found;
    const finer = [];
    for (let d = first - 1; d <= last; d += 1) for (const m of [1, 2, 5]) { const v = m * 10 ** d; if (v >= low && v <= high) finer.push([v, String(+v.toPrecision(3))]); }
    return finer;
  }
  const rough = (high - low) / count, unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((m) => m * unit >= rough), found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i += 1) found.push([i * step, (+(i * step).toPrecision(6)).toLocaleString("en")]);
  return found;
}

const draws = {
  line(c, layer, k, x, y) {
    const xs = at(layer.x, k), ys = at(layer.y, k), upto = at(layer.upto, k) ?? xs.length;
    c.strokeStyle = layer.colour; c.lineWidth = layer.width; c.setLineDash(layer.dash); c.lineJoin = "round"; c.beginPath();
    let begun = false;
    for (let i = 0; i < Math.min(upto, xs.length); i += 1) {
      if (xs[i] === null || ys[i] === null) { begun = false; continue; }
      if (begun) c.lineTo(x(xs[i]), y(ys[i])); else c.moveTo(x(xs[i]), y(ys[i]));
      begun = true;
    }
    c.stroke(); c.setLineDash([]);
  },
  dots(c, layer, k, x, y) {
    const xs = at(layer.x, k), ys = at(layer.y, k), fill = at(layer.colour, k), size = at(layer.size, k);
    xs.forEach((v, i) => {
      if (v === null || ys[i] === null) return;
      c.fillStyle = each(fill, i); c.beginPath(); c.arc(x(v), y(ys[i]), each(size, i), 0, 7); c.fill();
      if (layer.edge) { c.strokeStyle = layer.edge; c.lineWidth = 1.4; c.stroke(); }
    });
  },
  bars(c, layer, k, x, y) {
    const xs = at(layer.x, k), ys = at(layer.y, k), fill = at(layer.colour, k);
    xs.forEach((v, i) => {
      if (ys[i] === null) return;
      c.fillStyle = each(fill, i);
      c.fillRect(x(v - layer.width / 2), Math.min(y(0), y(ys[i])), x(v + layer.width / 2) - x(v - layer.width / 2), Math.abs(y(ys[i]) - y(0)));
    });
  },
  boxes(c, layer, k, x, y) {
    const fill = at(layer.colour, k);
    at(layer.items, k).forEach(([a, b, d, e], i) => {
      c.fillStyle = each(fill, i); c.beginPath(); c.rect(x(a), y(e), x(b) - x(a), y(d) - y(e));
      if (each(fill, i)) c.fill();
      if (layer.edge) { c.strokeStyle = layer.edge; c.lineWidth = 1.5; c.stroke(); }
    });
  },
  arrows(c, layer, k, x, y) {
    const stroke = at(layer.colour, k);
    at(layer.items, k).forEach(([a, b, d, e], i) => {
      const x0 = x(a), y0 = y(b), x1 = x(d), y1 = y(e), turn = Math.atan2(y1 - y0, x1 - x0), head = 5 + 1.5 * layer.width;
      if (Math.hypot(x1 - x0, y1 - y0) < 2) return;
      c.strokeStyle = c.fillStyle = each(stroke, i); c.lineWidth = layer.width;
      c.beginPath(); c.moveTo(x0, y0); c.lineTo(x1 - 0.6 * head * Math.cos(turn), y1 - 0.6 * head * Math.sin(turn)); c.stroke();
      c.beginPath(); c.moveTo(x1, y1);
      for (const side of [-0.42, 0.42]) c.lineTo(x1 - head * Math.cos(turn + side), y1 - head * Math.sin(turn + side));
      c.fill();
    });
  },
  text(c, layer, k, x, y, scale) {
    const fill = at(layer.colour, k);
    c.font = `${layer.bold ? "600 " : ""}${Math.max(9.5, layer.size * scale)}px system-ui, sans-serif`; c.textAlign = layer.align; c.textBaseline = "middle";
    at(layer.items, k).forEach(([a, b, words], i) => { c.fillStyle = each(fill, i); c.fillText(words, x(a), y(b)); });
  },
  image(c, layer, k, x, y) {
    const [a, b, d, e] = layer.extent;
    c.imageSmoothingEnabled = layer.smooth;
    c.drawImage(tile(layer, k), x(a), y(e), x(b) - x(a), y(d) - y(e));
  },
};

function axes(panel, canvas, k) {
  const [c, w, h] = sharp(canvas);
  const pad = panel.bare ? { l: 2, r: 2, t: 2, b: 2 } : { l: panel.y_label ? 60 : panel.numbered ? 42 : 12, r: 12, t: 10, b: panel.x_label ? 42 : 24 };
  const [x0, x1] = at(panel.x, k), [y0, y1] = at(panel.y, k);
  const place = (log, low, high, from, to) => (log
    ? (v) => from + ((Math.log10(Math.max(v, low / 1e3)) - Math.log10(low)) / (Math.log10(high) - Math.log10(low))) * (to - from)
    : (v) => from + ((v - low) / (high - low)) * (to - from));
  const x = place(panel.log.includes("x"), x0, x1, pad.l, w - pad.r), y = place(panel.log.includes("y"), y0, y1, h - pad.b, pad.t);
  c.fillStyle = "#fff"; c.fillRect(0, 0, w, h);
  const font = "12px system-ui, sans-serif";
  if (!panel.bare) {
    c.font = font; c.strokeStyle = "#e3e6ea"; c.fillStyle = "#444"; c.lineWidth = 1;
    const many = Math.max(3, Math.min(7, Math.floor((w - pad.l - pad.r) / 62)));
    c.textAlign = "center"; c.textBaseline = "top";
    for (const [v, words] of panel.ticks.length ? panel.ticks : ticks(x0, x1, panel.log.includes("x"), many)) {
      if (!panel.ticks.length) { c.beginPath(); c.moveTo(x(v), pad.t); c.lineTo(x(v), h - pad.b); c.stroke(); }
      c.fillText(words, x(v), h - pad.b + 6);
    }
    c.textAlign = "right"; c.textBaseline = "middle";
    for (const [v, words] of ticks(y0, y1, panel.log.includes("y"), Math.max(3, Math.min(6, Math.floor(h / 48))))) {
      c.beginPath(); c.moveTo(pad.l, y(v)); c.lineTo(w - pad.r, y(v)); c.stroke();
      if (panel.numbered) c.fillText(words, pad.l - 6, y(v));
    }
    c.textAlign = "center"; c.textBaseline = "alphabetic";
    if (panel.x_label) c.fillText(panel.x_label, (pad.l + w - pad.r) / 2, h - 7);
    if (panel.y_label) { c.save(); c.translate(13, (pad.t + h - pad.b) / 2); c.rotate(-Math.PI / 2); c.fillText(panel.y_label, 0, 0); c.restore(); }
  }
  c.save(); c.beginPath(); c.rect(pad.l, pad.t, w - pad.l - pad.r, h - pad.t - pad.b); c.clip();
  for (const layer of panel.layers) {
    c.globalAlpha = layer.alpha ?? 1;
    draws[layer.kind](c, layer, k, x, y, Math.max(0.62, Math.min(1.1, w / 560)));
    c.globalAlpha = 1;
  }
  c.restore();
  if (!panel.bare) { c.strokeStyle = "#888"; c.lineWidth = 1; c.strokeRect(pad.l + 0.5, pad.t + 0.5, w - pad.l - pad.r - 1, h - pad.t - pad.b - 1); }
}

const { control, panels } = picture;
const toured = player({
  steps: frames - 1,
  seconds: control.seconds,
  start: control.moves ? 0 : control.start / Math.max(1, frames - 1),
  moves: control.moves,
  draw: (place) => {
    const k = Math.round(place * (frames - 1));
    panels.forEach((panel, i) => axes(panel, byId(`panel${i}`), k));
    return control.values[k];
  },
});
toured.begin();
document.documentElement.dataset.ready = "yes";
