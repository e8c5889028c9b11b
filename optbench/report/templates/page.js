"use strict";
// Sorting, theme, and the live plot. The page reads well without any of it.
(() => {
  const byId = (id) => document.getElementById(id);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // A number at the start of a cell's text; "never" is infinite, text sorts as text and comes last.
  const keyOf = (text) => {
    const plain = text.trim().replace(/\u2212/g, "-");
    if (plain === "never" || plain === "∞") return Infinity;
    const found = plain.match(/^-?\d[\d.]*(e[+-]?\d+)?\s*(%|[kMGT])?/i);
    if (!found) return plain.toLowerCase();
    const scale = { k: 1e3, M: 1e6, G: 1e9, T: 1e12 }[found[2]] || 1;
    return parseFloat(found[0]) * scale;
  };
  const order = (a, b) => {
    if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
    return typeof a === "number" ? -1 : 1;
  };
  for (const head of document.querySelectorAll("th[scope=col]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.title = "sort";
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      // The first click puts the best first: the highest in columns that say so, else the lowest.
      const now = head.getAttribute("aria-sort");
      const down = now ? now === "ascending" : head.dataset.first === "descending";
      for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = head.closest("table").tBodies[0];
      const rows = [...body.rows].map((row) => [keyOf(row.cells[head.cellIndex].textContent), row]);
      rows.sort((a, b) => (down ? -1 : 1) * order(a[0], b[0]));
      body.replaceChildren(...rows.map((pair) => pair[1]));
    });
  }

  const unpack = async (id) => {
    const bytes = Uint8Array.from(atob(byId(id).textContent.trim()), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };

  const digits = (value) => {
    if (value === null || !isFinite(value)) return "never";
    if (value === 0) return "0";
    const size = Math.abs(value);
    return size >= 1e-3 && size < 1e5 ? String(Number(value.toPrecision(3))) : value.toExponential(2);
  };
  const safe = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  const start = (data, Plotly) => {
    const shown = new Set(data.labels.keys());
    const choice = (id) => byId(id).value;
    const fill = (id, names) => byId(id).replaceChildren(...names.map(([value, text]) => new Option(text, value)));
    fill("pick-problem", data.problems.map((p, k) => [k, p.name]));
    const titles = { loss: "training loss", valid_loss: "validation loss", test_loss: "test loss" };
    const title = (name) => titles[name] || name.replaceAll("_", " ");
    // Only what some optimizer recorded on this problem is offered; the choice stays where it can.
    const offer = () => {
      const curves = Object.values(data.problems[Number(choice("pick-problem"))].axes.passes.curves);
      const names = data.metrics.filter((name) => name === "loss" || curves.some((bands) => bands[name]));
      const before = choice("pick-metric");
      fill("pick-metric", names.map((name) => [name, title(name)]));
      if (names.includes(before)) byId("pick-metric").value = before;
    };

    const boxes = data.labels.map((label, k) => {
      const box = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.borderTop = `3px ${{ dash: "dashed", dot: "dotted", dashdot: "dashed" }[label.dash] || "solid"} ${label.colour}`;
      input.addEventListener("change", () => { input.checked ? shown.add(k) : shown.delete(k); draw(); });
      box.append(input, swatch, label.name);
      return box;
    });
    byId("pick-labels").append(...boxes);
    const all = (on) => {
      boxes.forEach((box, k) => { box.firstChild.checked = on; on ? shown.add(k) : shown.delete(k); });
      draw();
    };
    byId("show-all").addEventListener("click", () => all(true));
    byId("show-none").addEventListener("click", () => all(false));

    // The curves of the problem on the chosen axis; FLOPs are passes times the problem's FLOPs a pass.
    const view = () => {
      const problem = data.problems[Number(choice("pick-problem"))];
      const wanted = choice("pick-axis");
      const axis = problem.axes[wanted === "flops" ? "passes" : wanted];
      const factor = wanted === "flops" ? problem.flops : 1;
      return { problem, wanted, cost: axis.cost.map((c) => c * factor), curves: axis.curves, shared: wanted === "seconds" && axis.shared };
    };

    const goal = (problem) => {
      const left = 10 ** -Number(choice("pick-target"));
      if (problem.best === null || problem.start === null) return null;
      const gap = left * (problem.start - problem.best);
      return { left, gap, loss: problem.best + gap };
    };

    // Log axes: what is at or below the floor is drawn on it, so that an exact optimum stays in sight.
    const limits = (now, metric) => {
      const middles = [...shown].map((k) => now.curves[k] && now.curves[k][metric]).filter(Boolean).map((bands) => bands[0]);
      const positive = middles.flat().filter((v) => v !== null && v > 0);
      if (!positive.length) return [1e-8, 1];
      const starts = middles.map((m) => m[0]).filter((v) => v !== null && v > 0);
      const least = positive.reduce((a, b) => Math.min(a, b)), most = positive.reduce((a, b) => Math.max(a, b));
      const from = starts.length ? starts.reduce((a, b) => Math.max(a, b)) : most;
      const top = Math.min(2 * most, 100 * from);
      return [Math.min(Math.max(least, 1e-8 * from), top / 10), top];
    };

    // `add` is what turns the stored value into the one shown: losses are stored as gaps to the best.
    const traces = (now, metric, add, logged, floor) => {
      const out = [];
      const clean = (values) => values.map((v) => (v === null ? null : logged.y ? Math.max(v + add, floor) : v + add));
      const first = now.cost.length > 1 ? now.cost[1] / 2 : 1;
      data.labels.forEach((label, k) => {
        const bands = now.curves[k] && now.curves[k][metric];
        if (!shown.has(k) || !bands) return;
        const x = now.cost.slice(0, bands[0].length).map((c) => (logged.x ? Math.max(c, first) : c));
        const [middle, low, high] = bands.map(clean);
        if (byId("pick-bands").checked) {
          const both = [...low.keys()].filter((i) => low[i] !== null && high[i] !== null);
          // Steps, as the line has: every value holds until the next cost.
          const at = both.flatMap((i, j) => (j + 1 < both.length ? [x[i], x[both[j + 1]]] : [x[i]]));
          const along = (values) => both.flatMap((i, j) => (j + 1 < both.length ? [values[i], values[i]] : [values[i]]));
          out.push({
            x: [...at, ...at.slice().reverse()], y: [...along(high), ...along(low).reverse()],
            fill: "toself", fillcolor: label.colour, opacity: 0.13, line: { width: 0 }, mode: "lines", hoverinfo: "skip", showlegend: false,
          });
        }
        out.push({
          x, y: middle, name: safe(label.name), mode: "lines+markers", connectgaps: false,
          line: { color: label.colour, dash: label.dash, shape: "hv", width: 2 },
          marker: { symbol: label.symbol, size: 6, maxdisplayed: 8, color: label.colour },
          customdata: middle.map((_, i) => [1, 2, 0].map((j) => (bands[j][i] === null ? "never" : digits(bands[j][i] + add)))),
          hovertemplate: "%{customdata[2]} [%{customdata[0]}, %{customdata[1]}] at %{x:.4g}",
        });
      });
      return out;
    };

    const draw = () => {
      const now = view();
      const metric = choice("pick-metric");
      const logged = { x: byId("log-x").checked, y: byId("log-y").checked };
      const isLoss = metric === "loss";
      const above = isLoss && logged.y && now.problem.best !== null;
      const add = isLoss && !above && now.problem.best !== null ? now.problem.best : 0;
      const [floor, top] = limits(now, metric);
      const target = isLoss ? goal(now.problem) : null;
      const ink = css("--ink"), line = css("--line");
      const axis = (title, log) => ({ title: { text: safe(title) }, type: log ? "log" : "linear", gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true, exponentformat: "power" });
      const shapes = target ? [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: target.gap + add, y1: target.gap + add, line: { color: ink, width: 1, dash: "dot" } }] : [];
      const unit = { passes: "passes", samples: "samples forward and backward", flops: "FLOPs", seconds: "seconds" }[now.wanted];
      const layout = {
        margin: { l: 60, r: 12, t: 12, b: 48 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, size: 13 },
        xaxis: axis(unit + (now.shared ? " (shared clock: not comparable)" : ""), logged.x),
        yaxis: { ...axis(above ? "training loss above " + now.problem.source : title(metric), logged.y), ...(logged.y && isLoss ? { range: [Math.log10((floor + (above ? 0 : add)) / 1.5), Math.log10(top + (above ? 0 : add))] } : {}) },
        hovermode: "closest", showlegend: false, modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--soft"), activecolor: ink }, shapes, hoverlabel: { namelength: -1 },
      };
      Plotly.react("plot", traces(now, metric, add, logged, floor), layout, { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]], toImageButtonOptions: { format: "svg" } });
      reach(now, target);
    };

    // What the slider asks: at which cost the median curve, and the ends of its interval, first reach the target.
    const reach = (now, target) => {
      byId("pick-target").disabled = target === null;
      byId("target-text").textContent = target ? `${digits(100 * target.left)} % still to go: loss ≤ ${digits(target.loss)}` : "needs the training loss, a start and a best known loss";
      const first = (values) => { const k = target ? values.findIndex((v) => v !== null && v <= target.gap) : -1; return k < 0 ? Infinity : now.cost[k]; };
      const rows = [...shown].sort((a, b) => a - b).filter((k) => now.curves[k] && now.curves[k].loss).map((k) => [k, ...now.curves[k].loss.map(first)]);
      rows.sort((a, b) => order(a[1], b[1]));
      byId("reached").replaceChildren(...(target ? rows : []).map(([k, middle, low, high]) => {
        const row = document.createElement("tr");
        for (const text of [data.labels[k].name, digits(middle), digits(low), digits(high)]) row.insertCell().textContent = text;
        return row;
      }));
    };

    const flopsOption = byId("pick-axis").querySelector("[value=flops]");
    const guard = () => {
      offer();
      const known = data.problems[Number(choice("pick-problem"))].flops !== null;
      flopsOption.disabled = !known;
      if (!known && choice("pick-axis") === "flops") byId("pick-axis").value = "passes";
      draw();
    };
    for (const id of ["pick-metric", "pick-axis", "log-x", "log-y", "pick-bands"]) byId(id).addEventListener("change", draw);
    byId("pick-problem").addEventListener("change", guard);
    byId("pick-target").addEventListener("input", draw);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    byId("theme").addEventListener("click", () => setTimeout(draw, 0));
    guard();
    byId("live").dataset.ready = "yes";
  };

  byId("theme").hidden = false;
  byId("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  addEventListener("beforeprint", () => document.querySelectorAll(".verdict details").forEach((one) => { one.open = true; }));
  const live = byId("live");
  if (!live) return;
  if (typeof DecompressionStream === "undefined") {
    byId("live-note").textContent = "This browser is too old for the interactive curves; the figures below show the same.";
    return;
  }
  Promise.all([unpack("live-data"), unpack("live-library")]).then(([text, source]) => {
    const script = document.createElement("script");
    script.textContent = source;
    document.head.append(script);
    live.hidden = false;
    start(JSON.parse(text), window.Plotly);
    byId("live-note").remove();
  });
})();
