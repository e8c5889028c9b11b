"use strict";
// The curves of one problem, and the controls of the section on curves.
const curves = (() => {
  const byId = (id) => document.getElementById(id);
  const { digits, html } = chart;
  const TITLES = { loss: "training loss", valid_loss: "validation loss", test_loss: "test loss" };
  const title = (name) => TITLES[name] || name.replaceAll("_", " ");

  // Log axes: what is at or below the floor is drawn on it, so that an exact optimum stays in sight.
  const limits = (middles) => {
    const positive = middles.flat().filter((v) => v !== null && v > 0);
    if (!positive.length) return [1e-8, 1];
    const starts = middles.map((m) => m[0]).filter((v) => v !== null && v > 0);
    const least = positive.reduce((a, b) => Math.min(a, b)), most = positive.reduce((a, b) => Math.max(a, b));
    const from = starts.length ? starts.reduce((a, b) => Math.max(a, b)) : most;
    const top = Math.min(2 * most, 100 * from);
    return [Math.min(Math.max(least, 1e-8 * from), top / 10), top];
  };

  // What is drawn of a problem. want: {metric, axis, logX, logY, bands, target, labels}. Losses are stored as gaps.
  const spec = (problem, want, unit) => {
    const axis = problem.axes[want.axis === "flops" ? "passes" : want.axis], factor = want.axis === "flops" ? problem.flops : 1;
    const isLoss = want.metric === "loss", above = isLoss && want.logY && problem.best !== null;
    const add = isLoss && !above && problem.best !== null ? problem.best : 0;
    const cost = axis.cost.map((c) => c * factor), first = cost.length > 1 ? cost[1] / 2 : 1;
    const names = Object.keys(axis.curves).filter((name) => want.labels.has(name) && axis.curves[name][want.metric]);
    const [floor, top] = limits(names.map((name) => axis.curves[name][want.metric][0]));
    const shift = (values) => values.map((v) => (v === null ? null : want.logY ? Math.max(v + add, floor) : v + add));
    const target = isLoss && want.target && problem.best !== null && problem.start !== null ? want.target * (problem.start - problem.best) : null;
    return {
      kind: "lines", add: 0, gap: target, cost, floor,
      lines: names.map((name) => {
        const [middle, low, high] = axis.curves[name][want.metric].map(shift);
        const x = cost.slice(0, middle.length).map((c) => (want.logX ? Math.max(c, first) : c));
        return { name, x, y: middle, step: true, ...(want.bands ? { low, high } : {}) };
      }),
      targets: target === null ? [] : [target + add],
      x: { title: { passes: unit, samples: "samples forward and backward", flops: "FLOPs", seconds: "seconds" }[want.axis] + (want.axis === "seconds" && axis.shared ? " (shared clock: not comparable)" : ""), log: want.logX },
      y: { title: above ? `training loss above ${problem.source}` : title(want.metric), log: want.logY, ...(want.logY && isLoss ? { min: (floor + add) / 1.5, max: top + add } : {}) },
      label: `${title(want.metric)} of ${problem.name} against ${want.axis}; the table below gives costs as numbers`,
      nothing: "No finite curve of the optimizers that are shown.",
    };
  };

  // Curves of a problem as they first stand, for its own view.
  const small = (host, problem, data) => chart.draw(host, spec(problem, { metric: "loss", axis: "passes", logX: true, logY: true, bands: true, target: 0.01, labels: new Set(data.labels.map((one) => one.name)) }, data.unit));

  // The controls. load: the name of a problem -> its curves.
  const controls = (data, names, load) => {
    const labels = data.labels.map((one) => one.name), shown = new Set(labels);
    const choice = (id) => byId(id).value;
    const fill = (id, options) => byId(id).replaceChildren(...options.map(([value, text]) => new Option(text, value)));
    fill("pick-problem", names.map((name) => [name, name]));
    const problem = () => load(choice("pick-problem"));
    // Only what some optimizer recorded on this problem is offered; the choice stays where it can.
    const offer = () => {
      const now = problem(), own = Object.values(now.axes.passes.curves), before = choice("pick-metric");
      const found = now.metrics.filter((name) => name === "loss" || own.some((bands) => bands[name]));
      fill("pick-metric", found.map((name) => [name, title(name)]));
      if (found.includes(before)) byId("pick-metric").value = before;
    };
    const boxes = labels.map((name) => {
      const input = html("input", { type: "checkbox" }), { colour, dash } = chart.look(name), swatch = html("span", { class: "swatch" });
      input.checked = true;
      swatch.style.borderTop = `3px ${dash === "solid" ? "solid" : dash === "dotted" ? "dotted" : "dashed"} ${colour}`;
      input.addEventListener("change", () => { input.checked ? shown.add(name) : shown.delete(name); draw(); });
      return html("label", {}, input, swatch, name);
    });
    byId("pick-labels").append(...boxes);
    const all = (on) => {
      boxes.forEach((box, k) => { box.firstChild.checked = on; on ? shown.add(labels[k]) : shown.delete(labels[k]); });
      draw();
    };
    byId("show-all").addEventListener("click", () => all(true));
    byId("show-none").addEventListener("click", () => all(false));

    const draw = () => {
      const now = problem(), left = 10 ** -Number(choice("pick-target"));
      const drawn = spec(now, { metric: choice("pick-metric"), axis: choice("pick-axis"), logX: byId("log-x").checked, logY: byId("log-y").checked, bands: byId("pick-bands").checked, target: left, labels: shown }, data.unit);
      byId("plot").drawn = drawn;
      chart.lines(byId("plot"), drawn);
      reach(now, drawn, left);
    };

    // What the slider asks: at which cost the median curve, and the ends of its interval, first reach the target.
    const reach = (now, drawn, left) => {
      const { gap, cost } = drawn;
      byId("pick-target").disabled = gap === null;
      byId("target-text").textContent = gap !== null ? `${digits(100 * left)} % still to go: loss ≤ ${digits(now.best + gap)}` : "needs the training loss, a start and a best known loss";
      const first = (values) => { const k = values.findIndex((v) => v !== null && v <= gap); return k < 0 ? Infinity : cost[k]; };
      const axis = now.axes[choice("pick-axis") === "flops" ? "passes" : choice("pick-axis")];
      const rows = gap === null ? [] : labels.filter((name) => shown.has(name) && axis.curves[name] && axis.curves[name].loss).map((name) => [name, ...axis.curves[name].loss.map(first)]);
      rows.sort((a, b) => (a[1] < b[1] ? -1 : a[1] > b[1] ? 1 : 0));
      byId("reached").replaceChildren(...rows.map((row) => html("tr", {}, ...row.map((value, k) => html("td", {}, k ? digits(value) : value)))));
    };

    const guard = () => {
      offer();
      const known = problem().flops !== null;
      byId("pick-axis").querySelector("[value=flops]").disabled = !known;
      if (!known && choice("pick-axis") === "flops") byId("pick-axis").value = "passes";
      draw();
    };
    for (const id of ["pick-metric", "pick-axis", "log-x", "log-y", "pick-bands"]) byId(id).addEventListener("change", draw);
    byId("pick-problem").addEventListener("change", guard);
    byId("pick-target").addEventListener("input", draw);
    let width = 0;
    if (typeof ResizeObserver !== "undefined") new ResizeObserver(() => { if (byId("plot") && Math.abs(byId("plot").clientWidth - width) > 8) { width = byId("plot").clientWidth; draw(); } }).observe(byId("plot"));
    guard();
    byId("live").dataset.ready = "yes";
  };

  return { controls, small };
})();
