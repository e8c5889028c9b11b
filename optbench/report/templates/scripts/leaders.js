"use strict";
// The leaderboard, the ECDF and the profiles, made again from what the filters leave.
const leaders = (() => {
  const byId = (id) => document.getElementById(id);
  const { digits, html } = chart;

  const start = (data) => {
    const form = byId("filters");
    const fill = (id, whole, values) => byId(id).replaceChildren(new Option(whole, ""), ...[...new Set(values)].map((value) => new Option(value, value)));
    byId("f-question").replaceChildren(...data.questions.map((one, k) => new Option(`${one.name} loss`, k)));
    fill("f-track", "all", data.problems.map((one) => one.track).filter(Boolean));
    fill("f-kind", "all", data.problems.map((one) => one.kind));
    fill("f-size", "all", data.problems.map((one) => one.size));
    fill("f-family", "all", data.labels.map((one) => one.family));
    fill("f-tuned", "all", data.labels.map((one) => (one.tuned ? "tuned" : "not tuned")));
    for (const select of form.querySelectorAll("select")) select.parentElement.hidden = select.options.length < (select.id === "f-question" ? 2 : 3);
    form.hidden = byId("pair").hidden = false;

    const now = () => {
      const value = (id) => byId(id).value, limit = Number(value("f-limit"));
      const kept = (one) => ["track", "kind", "size"].every((name) => !value(`f-${name}`) || one[name] === value(`f-${name}`));
      const fits = (one) => (!value("f-family") || one.family === value("f-family")) && (!value("f-tuned") || (one.tuned ? "tuned" : "not tuned") === value("f-tuned"));
      const question = data.questions[Number(value("f-question")) || 0];
      const names = new Set([...data.problems.keys()].filter((p) => kept(data.problems[p]) && question.stated[p].length));
      const labels = new Set(data.labels.filter(fits).map((one) => one.name));
      const whole = names.size === question.stated.filter((taus) => taus.length).length && labels.size === data.labels.length && !(limit > 0);
      return { question, names, labels, limit: limit > 0 ? limit : Infinity, whole };
    };

    const draw = () => {
      const want = now(), { question, names, labels, limit } = want;
      const ranked = standings.standing(question, names, limit, labels);
      const most = Math.max(...ranked.map((one) => one.score), 1e-9);
      // The intervals of the whole are the report's own; those of a part are drawn again here.
      const given = new Map(want.whole ? question.order.map((one) => [one.label, [one.low, one.high]]) : []);
      const ends = ranked.map((one) => given.get(one.label) || standings.interval(one.strata) || [null, null]);
      const top = Math.max(most, ...ends.map((pair) => pair[1] || 0));
      const limits = [...names].map((p) => Math.max(...Object.entries(question.cells).filter(([key]) => key.startsWith(`${p},`)).map(([, cell]) => cell.budget)));
      const end = Math.min(Math.max(...limits, 2), limit);
      const count = `${names.size} problem${names.size === 1 ? "" : "s"}`;
      byId("filtered").textContent = (want.whole ? `All ${count}. ` : `${count}${limit < Infinity ? `, the first ${digits(limit)} ${data.unit}` : ""}: ${[...names].slice(0, 6).map((p) => data.problems[p].name).join(", ")}${names.size > 6 ? " and more" : ""}. `) +
        (ranked.length > 1 ? "On these problems the seeds decide; on problems like these the differences from problem to problem do." : ranked.length ? "" : "No optimizer reaches a target here.");
      const claims = new Map(want.whole ? question.order.map((one) => [one.label, one.claim]) : []);
      const SAID = { better: "behind", same: "practically the same", open: "not told apart", worse: "ahead", first: "first" };
      const head = ["", "optimizer", "score", "", "share of targets by cost", question.headline === null ? "" : `reached ${digits(100 * question.headline)} %`, "on these problems", ...(want.whole && names.size > 1 ? ["on problems like these"] : [])];
      const rows = ranked.map((one, k) => {
        const [x, y] = statistics.ecdf(standings.allCosts(question, names, limit, one.label)), hit = standings.hits(question, names, limit, one.label, question.headline);
        return html("tr", {}, html("td", {}, String(k + 1)),
          html("th", { scope: "row" }, html("a", { href: `#optimizer=${encodeURIComponent(one.label)}` }, chart.say(one.label))),
          html("td", {}, html("b", {}, digits(one.score)), ends[k][0] === null ? "" : html("span", { class: "soft" }, ` ${digits(ends[k][0])} to ${digits(ends[k][1])}`)),
          html("td", {}, chart.bar(one.score, ends[k][0], ends[k][1], top, one.label)),
          html("td", {}, chart.spark([0.5, ...x, end], [0, ...y, y.length ? y[y.length - 1] : 0], one.label, 0.5, Math.max(end, 1))),
          html("td", {}, hit[1] ? `${hit[0]}/${hit[1]}` : "–"),
          html("td", { class: one.level ? "level" : "" }, k === 0 ? "first" : one.level ? "not told apart" : "behind"),
          ...(want.whole && names.size > 1 ? [html("td", { class: ["open", "same", "first"].includes(claims.get(one.label)) ? "level" : "" }, SAID[claims.get(one.label)] || "–")] : []));
      });
      const table = html("table", {}, html("thead", {}, html("tr", {}, ...head.map((text) => html(text ? "th" : "td", text ? { scope: "col" } : {}, text)))), html("tbody", {}, ...rows));
      byId("leaders").replaceChildren(html("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "leaderboard" }, table));
      byId("leaders").drawn = { ranked: ranked.map((one) => one.label), scores: ranked.map((one) => one.score), level: ranked.filter((one) => one.level).map((one) => one.label) };
      pictures(want, ranked.map((one) => one.label), end);
    };

    const pictures = ({ question, names, limit }, labels, end) => {
      const some = labels.slice(0, 16);
      const steps = some.map((name) => {
        const [x, y] = statistics.ecdf(standings.allCosts(question, names, limit, name));
        return { name, x: [0.5, ...x.map((v) => Math.max(v, 0.5)), Math.max(end, 1)], y: [0, ...y, y.length ? y[y.length - 1] : 0], step: true };
      });
      chart.lines(byId("chart-ecdf"), { lines: steps, x: { title: data.unit, log: true, min: 0.5, max: Math.max(end, 1) }, y: { title: "share hit", log: false, min: 0, max: 1 }, label: "share of targets hit by a cost" });
      const ratios = question.headline === null ? [] : statistics.profile(standings.profileCosts(question, names, limit, some, question.headline));
      const far = Math.max(2, ...ratios.flat().filter(isFinite)) * 1.2;
      const lines = some.map((name, j) => {
        const x = ratios.map((row) => row[j]).filter(isFinite).sort((a, b) => a - b), y = x.map((_, k) => (k + 1) / ratios.length);
        return { name, x: [1, ...x, far], y: [0, ...y, y.length ? y[y.length - 1] : 0], step: true };
      });
      chart.lines(byId("chart-profile"), { lines: ratios.flat().some(isFinite) ? lines : [], x: { title: "times the cost of the cheapest", log: true, min: 1, max: far }, y: { title: "share of problems", log: false, min: 0, max: 1 }, nothing: "No optimizer reaches the main target.", label: "performance profiles" });
    };

    // A field of the map stands for a kind or size of problems and a budget.
    for (const field of document.querySelectorAll(".map a")) field.addEventListener("click", () => {
      form.reset();
      for (const name of ["kind", "size"]) if (data.problems.some((one) => one[name] === field.dataset.row)) byId(`f-${name}`).value = field.dataset.row;
      byId("f-limit").value = field.dataset.limit;
      setTimeout(draw, 0);
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(draw, 0));
    form.addEventListener("input", draw);
    let width = byId("chart-ecdf").clientWidth;
    if (typeof ResizeObserver !== "undefined") new ResizeObserver(() => {
      if (Math.abs(byId("chart-ecdf").clientWidth - width) > 8) { width = byId("chart-ecdf").clientWidth; draw(); }
    }).observe(byId("chart-ecdf"));
    draw();
    byId("leaders").dataset.ready = "yes";
  };

  return { start };
})();
