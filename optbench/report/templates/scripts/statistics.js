"use strict";
// The statistics of optbench/report/analysis/statistics.py that the filters need again; tests hold the two equal.
const statistics = (() => {
  const ascending = (values) => Float64Array.from(values).sort();
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

  // One trial: costs of its targets (Infinity: missed) within `budget`; 1 is all at once, 0 is none.
  const anytimeScore = (costs, budget) => {
    const whole = Math.log(Math.max(budget, 1 + 1e-9));
    return mean(costs.map((cost) => (isFinite(cost) ? Math.min(Math.max(1 - Math.log(Math.max(cost, 1)) / whole, 0), 1) : 0)));
  };

  const trimmed = (sorted) => {
    const cut = Math.floor(0.25 * sorted.length);
    let sum = 0;
    for (let k = cut; k < sorted.length - cut; k++) sum += sorted[k];
    return sum / (sorted.length - 2 * cut);
  };
  const iqm = (values) => trimmed(ascending(values));

  // A small generator with a seed, so that the same filters show the same interval.
  const generator = (seed) => () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const quantile = (sorted, q) => {
    const at = q * (sorted.length - 1), low = Math.floor(at);
    return sorted[low] + (at - low) * (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]);
  };

  // Stratified bootstrap of the IQM: seeds are redrawn within each problem. null where there is nothing to redraw.
  const iqmInterval = (strata, resamples = 400) => {
    if (strata.every((values) => values.length < 2)) return null;
    const random = generator(1), size = strata.reduce((sum, values) => sum + values.length, 0);
    const drawn = new Float64Array(size), means = new Float64Array(resamples);
    for (let k = 0; k < resamples; k++) {
      let at = 0;
      for (const values of strata) for (let j = 0; j < values.length; j++) drawn[at++] = values[Math.floor(random() * values.length)];
      means[k] = trimmed(drawn.sort());
    }
    means.sort();
    return [quantile(means, 0.025), quantile(means, 0.975)];
  };

  // Steps: costs in rising order, and the share of all values, misses included, at or below each.
  const ecdf = (costs) => {
    const hit = ascending(costs.filter(isFinite)), x = [], y = [];
    hit.forEach((cost, k) => {
      if (x.length && x[x.length - 1] === cost) y[y.length - 1] = (k + 1) / costs.length;
      else { x.push(cost); y.push((k + 1) / costs.length); }
    });
    return [x, y];
  };

  // Dolan & More: rows of costs, a row an instance -> ratios to the least of each row.
  const profile = (rows) => rows.map((row) => {
    const least = Math.min(...row);
    return row.map((cost) => (!isFinite(cost) ? Infinity : cost === least ? 1 : cost / least));
  });

  // The upper median: half the trials are not enough.
  const upperMedian = (values) => ascending(values)[Math.floor(values.length / 2)];

  const ranks = (values) => {
    const order = [...values.keys()].sort((a, b) => values[a] - values[b]), out = new Array(values.length);
    for (let k = 0; k < order.length;) {
      let end = k;
      while (end + 1 < order.length && values[order[end + 1]] === values[order[k]]) end++;
      for (let j = k; j <= end; j++) out[order[j]] = (k + end) / 2 + 1;
      k = end + 1;
    }
    return out;
  };

  const choose = (n, k) => { let out = 1; for (let j = 1; j <= k; j++) out = (out * (n - k + j)) / j; return out; };

  const normalTail = (z) => { // P(Z > z), relative error below 1.2e-7 (Numerical Recipes, erfcc)
    const x = Math.abs(z) / Math.SQRT2, t = 1 / (1 + 0.5 * x);
    const tail = 0.5 * t * Math.exp(-x * x - 1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806 +
      t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277)))))))));
    return z >= 0 ? tail : 1 - tail;
  };

  // Two-sided p of the rank-sum test: exact given the ties for small samples, else normal with the corrections.
  const MAX_PERMUTATIONS = 20000;
  const rankSum = (a, b) => {
    const n = a.length, m = b.length, every = ranks([...a, ...b]);
    if (Math.min(n, m) < 2 || new Set(every).size === 1) return 1;
    const own = every.slice(0, n).reduce((sum, rank) => sum + rank, 0);
    if (choose(n + m, n) <= MAX_PERMUTATIONS) {
      const whole = 2 * every.reduce((sum, rank) => sum + rank, 0); // ranks end in .5 or .0: twice them are whole
      const ways = [...Array(n + 1)].map(() => new Float64Array(whole + 1));
      ways[0][0] = 1;
      for (const rank of every) for (let k = n; k > 0; k--) for (let s = whole; s >= 2 * rank; s--) ways[k][s] += ways[k - 1][s - 2 * rank];
      let below = 0, above = 0;
      ways[n].forEach((count, s) => { if (s <= 2 * own) below += count; if (s >= 2 * own) above += count; });
      return Math.min(1, (2 * Math.min(below, above)) / choose(n + m, n));
    }
    const u = own - (n * (n + 1)) / 2, counts = new Map();
    every.forEach((rank) => counts.set(rank, (counts.get(rank) || 0) + 1));
    const ties = [...counts.values()].reduce((sum, t) => sum + t * t * t - t, 0);
    const deviation = Math.sqrt(((n * m) / 12) * (n + m + 1 - ties / ((n + m) * (n + m - 1))));
    return Math.min(1, 2 * normalTail((Math.max(u, n * m - u) - (n * m) / 2 - 0.5) / deviation));
  };

  return { anytimeScore, iqm, iqmInterval, ecdf, profile, upperMedian, ranks, rankSum, mean };
})();

if (typeof module !== "undefined") module.exports = { statistics };
