"use strict";
// Pictures as SVG, drawn at the width there is: lines with bands, marks with intervals, heat tables, mean ranks.
const chart = (() => {
  const NS = "http://www.w3.org/2000/svg";
  const svg = (name, attributes = {}, ...children) => {
    const made = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const html = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const RAISED = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
  const tick = (value) => {
    if (value <= 0 || (value >= 0.01 && value < 1e4)) return String(Number(value.toPrecision(3)));
    const [digits, exponent] = value.toExponential(0).split("e");
    const raised = "10" + [...String(Number(exponent))].map((c) => RAISED[c]).join("");
    return digits === "1" ? raised : `${digits}·${raised}`;
  };
  const digits = (value, never = "never") => {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    if (!isFinite(value)) return never;
    if (value === 0) return "0";
    const size = Math.abs(value);
    return (size >= 1e-3 && size < 1e5 ? String(Number(value.toPrecision(3))) : value.toExponential(2)).replace("-", "\u2212");
  };

  const scale = (low, high, log, from, to) => {
    if (log) { low = Math.log10(low); high = Math.log10(high); }
    if (!(high > low)) { low -= 0.5; high += 0.5; }
    const at = (value) => from + (((log ? Math.log10(value) : value) - low) / (high - low)) * (to - from);
    const ticks = [];
    if (log && high - low >= 0.6) {
      const step = Math.ceil((high - low) / 6);
      const parts = high - low < 1.2 ? [1, 2, 5] : high - low < 2 ? [1, 3] : [1];
      for (let k = Math.floor(low); k <= high; k += step) for (const part of parts) {
        const value = part * 10 ** k;
        if (Math.log10(value) >= low - 1e-9 && Math.log10(value) <= high + 1e-9) ticks.push(value);
      }
    } else {
      const [a, b] = log ? [10 ** low, 10 ** high] : [low, high];
      const raw = (b - a) / 4, power = 10 ** Math.floor(Math.log10(raw));
      const step = [1, 2, 2.5, 5, 10].find((part) => part * power >= raw - 1e-12) * power;
      for (let k = Math.ceil(a / step - 1e-9); k * step <= b + 1e-9 * step; k++) ticks.push(k * step);
    }
    return { at, ticks };
  };

  const DASHES = { solid: "", dashed: "6 3", dotted: "2 3", dashdot: "7 3 2 3" };
  let looks = {};
  const setLooks = (labels) => { looks = labels; };
  const look = (name) => looks[name] || { colour: "var(--ink)", dash: "solid" };
  const short = (name, width) => (name.length > width ? name.slice(0, width - 1) + "…" : name);
  const say = (name) => (looks[name] && looks[name].short) || name;

  const path = (x, y, step) => {
    let out = "", on = false;
    for (let k = 0; k < x.length; k++) {
      if (!isFinite(y[k])) { on = false; continue; }
      const point = `${x[k].toFixed(1)} ${y[k].toFixed(1)}`;
      out += on ? (step ? `H${x[k].toFixed(1)}V${y[k].toFixed(1)}` : `L${point}`) : `M${point}`;
      on = true;
    }
    return out;
  };
  const area = (x, low, high) => {
    const some = [...x.keys()].filter((k) => isFinite(low[k]) && isFinite(high[k]));
    if (some.length < 2) return "";
    const step = (values, first, k, j) => (j === 0 ? `${first}${x[k].toFixed(1)} ${values[k].toFixed(1)}` : `H${x[k].toFixed(1)}V${values[k].toFixed(1)}`);
    const back = some.slice().reverse();
    return some.map((k, j) => step(high, "M", k, j)).join("") + back.map((k, j) => (j === 0 ? `L${x[k].toFixed(1)} ${low[k].toFixed(1)}` : `V${low[k].toFixed(1)}H${x[k].toFixed(1)}`)).join("") + "Z";
  };

  const frame = (host, width, height, margin, x, y, titles, label) => {
    const made = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label || "chart" });
    for (const value of y.ticks) {
      made.append(svg("line", { class: "grid", x1: margin.left, x2: width - margin.right, y1: y.at(value), y2: y.at(value) }));
      made.append(svg("text", { class: "tick", x: margin.left - 5, y: y.at(value) + 4, "text-anchor": "end" }, tick(value)));
    }
    let last = -Infinity;
    for (const value of x.ticks) {
      const at = x.at(value), wide = tick(value).length * 4;
      made.append(svg("line", { class: "grid", x1: at, x2: at, y1: margin.top, y2: height - margin.bottom }));
      if (at - wide < last) continue;
      last = at + wide + 4;
      made.append(svg("text", { class: "tick", x: at, y: height - margin.bottom + 15, "text-anchor": "middle" }, tick(value)));
    }
    made.append(svg("text", { class: "title", x: (margin.left + width - margin.right) / 2, y: height - 3, "text-anchor": "middle" }, titles.x));
    made.append(svg("text", { class: "title", x: 0, y: 11 }, titles.y));
    host.append(made);
    return made;
  };

  // lines: [{name, x, y, low, high, step, dots, bars}]. Beyond the axes is cut. Names stand at the ends where there is room.
  const lines = (host, spec) => {
    const width = Math.max(host.clientWidth || 0, 240), shown = spec.lines.filter((line) => line.y.some((v) => v !== null && isFinite(v)));
    const wide = width >= 460 && !spec.silent; // names at the ends of lines need width, and height for all of them
    const height = Math.round(Math.max(Math.min(Math.max(0.62 * width, 190), 400), wide && shown.length <= 24 ? 14 * shown.length + 60 : 0));
    host.replaceChildren();
    if (spec.title) host.append(html("p", { class: "chart-title" }, spec.title));
    if (!shown.length) { host.append(html("p", { class: "soft" }, spec.nothing || "Nothing to draw.")); return; }
    const direct = wide && !spec.alone && shown.length <= 24;
    const names = shown.map((line) => short(say(line.name), 24));
    const margin = { left: 46, right: direct ? Math.min(Math.max(...names.map((name) => name.length)) * 6.6 + 22, 190) : 10, top: 24, bottom: 36 };
    const good = (value, log) => value !== null && isFinite(value) && (!log || value > 0);
    const xs = shown.flatMap((line) => line.x.filter((v, k) => good(v, spec.x.log) && good(line.y[k], false)));
    const ys = shown.flatMap((line) => line.y.filter((v) => good(v, spec.y.log)));
    const least = (values, other) => values.reduce((a, b) => Math.min(a, b), other), most = (values, other) => values.reduce((a, b) => Math.max(a, b), other);
    const lowX = spec.x.min ?? least(xs, Infinity), highX = spec.x.max ?? most(xs, -Infinity);
    const lowY = spec.y.min ?? least(ys, Infinity), highY = spec.y.max ?? most(ys, -Infinity);
    if (!isFinite(lowX) || !isFinite(lowY)) { host.append(html("p", { class: "soft" }, spec.nothing || "Nothing to draw.")); return; }
    const x = scale(lowX, highX, spec.x.log, margin.left, width - margin.right), y = scale(lowY, highY, spec.y.log, height - margin.bottom, margin.top);
    const made = frame(host, width, height, margin, x, y, { x: spec.x.title, y: spec.y.title }, spec.label);
    const clamp = (value, low, high, log) => (value === null || !isFinite(value) ? NaN : Math.min(Math.max(value, low), high));
    const mark = (value) => (value === null ? NaN : x.at(clamp(value, lowX, highX)));
    const rise = (value) => { const at = clamp(value, lowY, highY); return isFinite(at) && (!spec.y.log || at > 0) ? y.at(at) : NaN; };
    for (const value of spec.targets || []) if (value > lowY && value < highY) made.append(svg("line", { class: "target", x1: margin.left, x2: width - margin.right, y1: y.at(value), y2: y.at(value) }));
    const ends = [];
    shown.forEach((line, j) => {
      const { colour, dash } = line.colour ? line : look(line.name), px = line.x.map(mark), py = line.y.map(rise);
      const group = svg("g", { class: "line" }, svg("title", {}, line.name));
      if (line.low) group.append(svg("path", { d: area(px, line.low.map(rise), line.high.map(rise)), fill: colour, opacity: shown.length > 6 ? 0.06 : 0.13 }));
      if (line.bars) px.forEach((at, k) => group.append(svg("line", { x1: at, x2: at, y1: y.at(Math.max(lowY, 0)), y2: py[k], stroke: colour, "stroke-width": 7 })));
      else group.append(svg("path", { d: path(px, py, line.step), fill: "none", stroke: colour, "stroke-width": 2, "stroke-dasharray": DASHES[dash] || "" }));
      if (line.dots) px.forEach((at, k) => { if (isFinite(py[k])) group.append(svg("circle", { cx: at, cy: py[k], r: 2.6, fill: colour })); });
      made.append(group);
      const last = py.findLastIndex(isFinite);
      if (last >= 0) ends.push({ name: names[j], full: line.name, colour, x: px[last], y: py[last] });
    });
    if (direct) { // names pushed apart, each tied to the end of its line
      ends.sort((a, b) => a.y - b.y);
      const gap = Math.min(14, (height - 8) / ends.length);
      ends.forEach((end, k) => { end.at = Math.max(end.y, k ? ends[k - 1].at + gap : 10); });
      let floor = height - 4;
      for (const end of ends.slice().reverse()) { end.at = Math.min(end.at, floor); floor = end.at - gap; }
      const edge = width - margin.right;
      for (const end of ends) {
        made.append(svg("path", { d: `M${end.x} ${end.y}L${edge + 12} ${end.at}`, stroke: end.colour, "stroke-width": 0.8, fill: "none", opacity: 0.7 }));
        made.append(svg("text", { class: "name", x: edge + 15, y: end.at + 4 }, end.name));
      }
    } else if (!spec.silent && !spec.alone) host.append(legend(shown.map((line) => line.name)));
    hover(host, made, shown, { x, y, mark, rise, spec });
  };

  const legend = (names) => html("p", { class: "legend" }, ...names.map((name) => {
    const { colour, dash } = look(name), swatch = html("span", { class: "swatch" });
    swatch.style.borderTop = `3px ${dash === "solid" ? "solid" : dash === "dotted" ? "dotted" : "dashed"} ${colour}`;
    return html("span", {}, swatch, " ", say(name));
  }));

  // The nearest point of a line under the pointer, as text below the chart.
  const hover = (host, made, shown, { mark, rise, spec }) => {
    const note = html("p", { class: "hover", "aria-hidden": "true" }, "\u00a0");
    host.append(note);
    made.addEventListener("pointermove", (event) => {
      const box = made.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
      let best = null;
      for (const line of shown) line.x.forEach((value, k) => {
        const far = Math.hypot(mark(value) - px, rise(line.y[k]) - py);
        if (isFinite(far) && (!best || far < best.far)) best = { far, line, k };
      });
      if (!best) return;
      const { line, k } = best, add = spec.add || 0;
      const ends = line.low ? ` [${digits(line.low[k] === null ? Infinity : line.low[k] + add)}, ${digits(line.high[k] === null ? Infinity : line.high[k] + add)}]` : "";
      note.textContent = `${line.name}: ${digits(line.y[k] + add)}${ends} at ${digits(line.x[k])} ${spec.x.title}`;
    });
    made.addEventListener("pointerleave", () => { note.textContent = "\u00a0"; });
  };

  // rows: [{name, values: [...], low, high, far}]: marks on a line an optimizer; `far` says that it lies beyond the axis.
  const strip = (host, spec) => {
    const width = Math.max(host.clientWidth || 0, 240), rows = spec.rows;
    host.replaceChildren();
    if (spec.title) host.append(html("p", { class: "chart-title" }, spec.title));
    const values = rows.flatMap((row) => [...row.values, row.low, row.high]).filter((v) => v !== null && v !== undefined && isFinite(v) && (!spec.x.log || v > 0));
    if (!values.length) { host.append(html("p", { class: "soft" }, "Nothing to draw.")); return; }
    const sorted = Float64Array.from(values).sort(), least = sorted[0], most = sorted[sorted.length - 1];
    const usual = sorted[Math.floor(0.75 * (sorted.length - 1))];
    const low = spec.x.min ?? (spec.x.log ? Math.max(least, 1e-8 * most) : least), high = spec.x.max ?? (spec.x.log ? Math.max(Math.min(most, 1e3 * usual), low * 10) : most);
    const names = rows.map((row) => short(say(row.name), 26)), pitch = 17;
    const margin = { left: Math.min(Math.max(...names.map((name) => name.length)) * 6.6 + 10, 0.45 * width), right: 14, top: 6, bottom: 36 };
    const height = margin.top + margin.bottom + pitch * rows.length;
    const x = scale(low, high, spec.x.log, margin.left, width - margin.right);
    const made = frame(host, width, height, margin, x, { ticks: [] }, { x: spec.x.title, y: "" }, spec.label);
    rows.forEach((row, k) => {
      const at = margin.top + pitch * (k + 0.5), { colour } = look(row.name), place = (v) => x.at(Math.min(Math.max(v, low), high));
      made.append(svg("text", { class: "name", x: margin.left - 6, y: at + 4, "text-anchor": "end" }, names[k]));
      const group = svg("g", {}, svg("title", {}, `${row.name}: ${row.values.map((v) => digits(v === null ? Infinity : v, "no result")).join(", ")}`));
      const drawn = row.values.filter((v) => v !== null && isFinite(v));
      const from = row.low ?? (drawn.length ? Math.min(...drawn) : null), to = row.low === undefined || row.low === null ? (drawn.length ? Math.max(...drawn) : null) : row.high === null ? high : row.high;
      if (from !== null && to !== null && drawn.length) group.append(svg("line", { x1: place(from), x2: place(to), y1: at, y2: at, stroke: colour, "stroke-width": 1.5 }));
      for (const value of row.values) {
        if (value === null || !isFinite(value)) group.append(svg("text", { class: "tick", x: width - margin.right, y: at + 4, "text-anchor": "middle" }, "✗"));
        else if (value > high) group.append(svg("text", { class: "tick", x: width - margin.right, y: at + 4, "text-anchor": "middle" }, "▸"));
        else group.append(svg("circle", { cx: place(value), cy: at, r: 3.2, fill: colour }));
      }
      made.append(group);
    });
  };

  // A table whose cells are shaded by the logarithm of their value; null is a miss.
  const heat = (host, spec) => {
    const finite = spec.values.flat().filter((v) => v !== null && v !== undefined && v > 0), low = Math.log(Math.min(...finite)), high = Math.log(Math.max(...finite));
    const head = html("tr", {}, html("td"), ...spec.columns.map((name) => html("th", { scope: "col" }, html("span", {}, say(name)))));
    const body = spec.rows.map((name, i) => html("tr", {}, html("th", { scope: "row" }, name), ...spec.values[i].map((value) => {
      const cell = html("td", {}, value === undefined ? "" : value === null ? "✗" : digits(value));
      const share = value > 0 && high > low ? (Math.log(value) - low) / (high - low) : 0;
      if (value !== null && value !== undefined) cell.style.setProperty("--share", `${Math.round(50 - 42 * share)}%`);
      cell.className = value === null || value === undefined ? "miss" : "shade";
      return cell;
    })));
    host.replaceChildren(html("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": spec.label || "table" }, html("table", { class: "heat" }, html("thead", {}, head), html("tbody", {}, ...body))));
  };

  // Critical-difference diagram: mean ranks on a line, names beside, bars over what is not told apart.
  const ranksChart = (host, spec) => {
    const width = Math.max(host.clientWidth || 0, 260), order = spec.ranks, n = order.length, half = Math.ceil(n / 2), pitch = 16;
    const names = order.map(([name]) => short(say(name), 22)), side = Math.min(Math.max(...names.map((name) => name.length)) * 7 + 52, 0.36 * width);
    const base = 26 + 8 * spec.bars.length + 12, height = base + pitch * half + 8;
    const x = (rank) => side + ((rank - 1) / Math.max(n - 1, 1)) * (width - 2 * side);
    const made = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": spec.label || "mean ranks" });
    made.append(svg("line", { class: "axis", x1: x(1), x2: x(n), y1: 20, y2: 20 }));
    for (let k = 1; k <= n; k += n > 20 ? 2 : 1) made.append(svg("line", { class: "axis", x1: x(k), x2: x(k), y1: 16, y2: 20 }), svg("text", { class: "tick", x: x(k), y: 12, "text-anchor": "middle" }, String(k)));
    spec.bars.forEach(([a, b], k) => made.append(svg("line", { class: "bar", x1: x(order[a][1]) - 3, x2: x(order[b][1]) + 3, y1: 28 + 8 * k, y2: 28 + 8 * k })));
    order.forEach(([name, rank], k) => {
      const left = k < half, y = base + pitch * (left ? k : n - 1 - k), edge = left ? side - 6 : width - side + 6, { colour } = look(name);
      made.append(svg("path", { d: `M${x(rank)} 20V${y}H${edge}`, fill: "none", stroke: colour, "stroke-width": 1.2 }));
      made.append(svg("text", { class: "name", x: left ? edge - 3 : edge + 3, y: y + 4, "text-anchor": left ? "end" : "start" }, left ? `${names[k]} ${rank.toFixed(2)}` : `${rank.toFixed(2)} ${names[k]}`));
    });
    host.replaceChildren(made);
  };

  // A small curve without axes, for a row of a table.
  const spark = (x, y, name, low, high) => {
    const made = svg("svg", { class: "spark", width: 90, height: 22, viewBox: "0 0 90 22", "aria-hidden": "true" });
    const at = scale(low, high, true, 1, 89).at;
    made.append(svg("path", { d: path(x.map((v) => at(Math.min(Math.max(v, low), high))), y.map((v) => 21 - 20 * v), true), fill: "none", stroke: look(name).colour, "stroke-width": 1.6 }));
    return made;
  };
  const bar = (middle, low, high, most, name) => {
    const made = svg("svg", { class: "spark", width: 110, height: 16, viewBox: "0 0 110 16", "aria-hidden": "true" }), at = (v) => 2 + (106 * v) / most, { colour } = look(name);
    made.append(svg("line", { class: "grid", x1: 2, x2: 108, y1: 8, y2: 8 }));
    if (low !== null) made.append(svg("line", { x1: at(low), x2: at(high), y1: 8, y2: 8, stroke: colour, "stroke-width": 2 }));
    made.append(svg("circle", { cx: at(middle), cy: 8, r: 3.5, fill: colour }));
    return made;
  };

  const image = (host, spec) => {
    const rows = spec.values.length, columns = spec.values[0].length, size = Math.max(4, Math.floor(180 / columns));
    const made = svg("svg", { width: columns * size, height: rows * size, viewBox: `0 0 ${columns * size} ${rows * size}`, role: "img", "aria-label": spec.label || "image" });
    spec.values.forEach((row, i) => row.forEach((value, j) => made.append(svg("rect", { x: j * size, y: i * size, width: size, height: size, fill: `rgb(${Array(3).fill(Math.round(255 * value)).join(" ")})` }))));
    host.replaceChildren(made);
  };

  const KINDS = { image, lines, strip, heat, ranks: ranksChart };
  // A chart of one panel, or of several side by side; drawn again when its width changes.
  const draw = (host, spec) => {
    const panels = spec.panels || [spec];
    const draws = panels.map((panel) => {
      const own = spec.panels ? host.appendChild(html("div", { class: "panel" })) : host;
      return () => KINDS[spec.kind](own, { ...spec, ...panel, silent: Boolean(spec.panels) && spec.kind === "lines" });
    });
    if (spec.panels) host.classList.add("panels");
    const again = () => draws.forEach((one) => one());
    again();
    if (spec.panels && spec.kind === "lines") host.append(legend([...new Set(panels.flatMap((panel) => panel.lines.map((line) => line.name)))]));
    let before = host.clientWidth;
    if (!["heat", "image"].includes(spec.kind) && typeof ResizeObserver !== "undefined") new ResizeObserver(() => {
      if (host.clientWidth && Math.abs(host.clientWidth - before) > 8) { before = host.clientWidth; again(); }
    }).observe(host);
  };

  return { draw, lines, spark, bar, legend, digits, html, say, setLooks, look };
})();
