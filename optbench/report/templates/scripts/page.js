"use strict";
// What unfolds, sorts and answers to an address. The answer and the table of the leaderboard read well without it.
(() => {
  const byId = (id) => document.getElementById(id);

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
  const sortable = (root) => {
    for (const head of root.querySelectorAll("table:not(.map):not(.heat) th[scope=col]")) {
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
  };

  // Parts by name, each unpacked once, when it is first asked for.
  const stored = new Map([...document.querySelectorAll("script[data-name]")].map((one) => [one.dataset.name, one]));
  const found = new Map();
  const part = (name) => {
    if (!found.has(name)) {
      const bytes = Uint8Array.from(atob(stored.get(name).textContent.trim()), (c) => c.charCodeAt(0));
      found.set(name, JSON.parse(new TextDecoder().decode(inflate(bytes))));
    }
    return found.get(name);
  };

  const data = part("minute");
  chart.setLooks(Object.fromEntries(data.labels.map((one) => [one.name, one])));
  const withCurves = [...stored.keys()].filter((name) => name.startsWith("curves=")).map((name) => name.slice(7));

  const unfold = (body, one) => {
    body.innerHTML = one.html; // escaped where it was made
    sortable(body);
    for (const host of body.querySelectorAll("[data-chart]")) chart.draw(host, one.charts[host.dataset.chart]);
    for (const host of body.querySelectorAll("[data-curves]")) if (stored.has(`curves=${host.dataset.curves}`)) curves.small(host, part(`curves=${host.dataset.curves}`), data);
  };
  const open = (fold) => {
    fold.open = true;
    if (fold.dataset.done) return;
    fold.dataset.done = "yes";
    unfold(fold.querySelector(".body"), part(fold.dataset.part));
    if (fold.id === "curves" && withCurves.length) curves.controls(data, withCurves, (name) => part(`curves=${name}`));
  };
  const folds = [...document.querySelectorAll("details.part")];
  for (const fold of folds) {
    fold.addEventListener("toggle", () => { if (fold.open) open(fold); });
    if (fold.dataset.open) open(fold);
  }

  // Addresses: #curves opens a section, #optimizer=adam and #problem=line_mse a view of their own.
  const go = () => {
    const asked = decodeURIComponent(location.hash.slice(1)), view = byId("view");
    // "adam" is enough for "adam (tuned, 8)" where no other begins so.
    const near = stored.has(asked) ? [] : [...stored.keys()].filter((one) => one.startsWith(`${asked} (`));
    const address = near.length === 1 ? near[0] : asked;
    const fold = folds.find((one) => one.id === address);
    if (fold) { open(fold); fold.scrollIntoView(); }
    const own = /^(optimizer|problem)=/.test(address);
    view.hidden = !own;
    if (!own) return;
    const kind = address.split("=")[0], name = address.slice(kind.length + 1), heading = document.createElement("h2"), body = document.createElement("div");
    const back = Object.assign(document.createElement("a"), { href: `#${kind}s`, textContent: `all ${kind}s` });
    const close = Object.assign(document.createElement("a"), { href: "#verdict", textContent: "close" });
    const line = document.createElement("p");
    line.append(back, " · ", close);
    heading.textContent = name;
    view.replaceChildren(heading, line, body);
    if (stored.has(address)) unfold(body, part(address));
    else body.textContent = `There is no ${kind} of this name in this report.`;
    document.title = `${name} · optbench report`;
    view.scrollIntoView();
    view.focus({ preventScroll: true });
  };
  addEventListener("hashchange", go);

  byId("theme").hidden = false;
  byId("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  addEventListener("beforeprint", () => {
    document.querySelectorAll("details.all").forEach((one) => { one.open = true; });
  });
  byId("unfold").hidden = false;
  byId("unfold").addEventListener("click", () => folds.forEach(open));
  sortable(document);
  if (data.questions.some((one) => one.units.length)) leaders.start(data);
  go();
  document.documentElement.dataset.ready = "yes";
})();
