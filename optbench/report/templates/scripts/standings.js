"use strict";
// Who is best on some of the problems within some budget: what the filters of the page ask. `question` is one entry of
// the page's data: targets by problem, groups of problems that count as one, and what each trial paid for each target.
const standings = (() => {
  const { anytimeScore, iqm, iqmInterval, mean, rankSum, upperMedian } = statistics;
  const ALPHA = 0.05, MIN_APPLIES = 0.5;

  // Costs within a limit: Infinity is a miss, NaN a target that the trial's split of the data does not state.
  const costsOf = (cell, limit) => cell.costs.map((trial) => trial.map((cost) => (cost === null || cost > limit ? Infinity : cost < 0 ? NaN : cost)));
  const stated = (costs) => costs.filter((cost) => !Number.isNaN(cost));

  // By unit the mean score of each seed: {label: [[score by seed], ...]}, only units the label was planned on.
  const scoresOf = (question, names, limit) => {
    const out = {};
    question.labels.forEach((label, l) => {
      out[label] = question.units.map((unit) => {
        const cells = unit.filter((p) => names.has(p)).map((p) => question.cells[`${p},${l}`]).filter((cell) => cell && cell.costs.length);
        if (!cells.length) return null;
        const by = cells.map((cell) => costsOf(cell, limit).map((costs) => anytimeScore(stated(costs), Math.min(cell.budget, limit))));
        const seeds = Math.min(...by.map((one) => one.length));
        return [...Array(seeds).keys()].map((k) => mean(by.map((one) => one[k])));
      }).filter(Boolean);
    });
    return out;
  };

  const planned = (question, names, l) => [...names].filter((p) => question.cells[`${p},${l}`]);

  // names: a Set of problem numbers. limit: passes. Gives the ranked, best first, and those not told from the first.
  const standing = (question, names, limit = Infinity, labels = null) => {
    const scores = scoresOf(question, names, limit), ranked = [];
    question.labels.forEach((label, l) => {
      const mine = planned(question, names, l);
      const applies = mine.filter((p) => question.cells[`${p},${l}`].applies).length;
      if (labels && !labels.has(label)) return;
      if (!scores[label].length || applies < MIN_APPLIES * mine.length || question.apart[label]) return;
      if (!scores[label].some((values) => values.some((value) => value > 0))) return;
      ranked.push({ label, score: iqm(scores[label].flat()), strata: scores[label] });
    });
    ranked.sort((a, b) => b.score - a.score || mean(b.strata.flat()) - mean(a.strata.flat()));
    const pairs = (ranked.length * (ranked.length - 1)) / 2;
    const bySeed = (strata) => [...Array(Math.min(...strata.map((values) => values.length))).keys()].map((k) => mean(strata.map((values) => values[k])));
    ranked.forEach((one, k) => {
      one.level = k === 0 || !(rankSum(bySeed(ranked[0].strata), bySeed(one.strata)) * pairs < ALPHA);
    });
    return ranked;
  };

  // All costs of a label, misses included, for the ECDF; and its upper medians to one target, for the profile.
  const allCosts = (question, names, limit, label) => {
    const l = question.labels.indexOf(label);
    return planned(question, names, l).flatMap((p) => stated(costsOf(question.cells[`${p},${l}`], limit).flat()));
  };
  const profileCosts = (question, names, limit, labels, tau) => [...names].filter((p) => question.stated[p].includes(tau)).map((p) => labels.map((label) => {
    const cell = question.cells[`${p},${question.labels.indexOf(label)}`];
    if (!cell || !cell.costs.length) return Infinity;
    const place = question.stated[p].indexOf(tau);
    return Math.max(upperMedian(costsOf(cell, limit).map((trial) => (Number.isNaN(trial[place]) ? Infinity : trial[place]))), 1);
  }));
  const hits = (question, names, limit, label, tau) => {
    const l = question.labels.indexOf(label);
    let hit = 0, of = 0;
    for (const p of planned(question, names, l)) {
      const place = question.stated[p].indexOf(tau);
      if (place < 0) continue;
      for (const trial of costsOf(question.cells[`${p},${l}`], limit)) { of += Number.isNaN(trial[place]) ? 0 : 1; hit += isFinite(trial[place]) ? 1 : 0; }
    }
    return [hit, of];
  };

  return { standing, allCosts, profileCosts, hits, interval: (strata) => iqmInterval(strata) };
})();

if (typeof module !== "undefined") module.exports = { standings };
