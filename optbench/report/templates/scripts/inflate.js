"use strict";
// Parts of the page are stored as gzip in base64. This unpacks them at once, in every browser and while printing
// (RFC 1951 and 1952; the built-in DecompressionStream answers too late for that).
const inflate = (() => {
  const table = (lengths) => {
    const counts = new Uint16Array(16), starts = new Uint16Array(16), symbols = new Uint16Array(lengths.length);
    for (const length of lengths) counts[length] += 1;
    counts[0] = 0;
    for (let k = 1; k < 16; k++) starts[k] = starts[k - 1] + counts[k - 1];
    lengths.forEach((length, symbol) => { if (length) symbols[starts[length]++] = symbol; });
    return { counts, symbols };
  };
  const FIXED = [
    table([...Array(288).keys()].map((k) => (k < 144 ? 8 : k < 256 ? 9 : k < 280 ? 7 : 8))),
    table(Array(30).fill(5)),
  ];
  const series = (first, groups) => { // [base, extra bits] of each code
    const out = [];
    let base = first;
    for (const [extra, count] of groups) for (let k = 0; k < count; k++) { out.push([base, extra]); base += 1 << extra; }
    return out;
  };
  const LENGTHS = series(3, [[0, 8], [1, 4], [2, 4], [3, 4], [4, 4], [5, 4]]);
  LENGTHS.push([258, 0]);
  const DISTANCES = series(1, [[0, 4], ...[...Array(13).keys()].map((k) => [k + 1, 2])]);
  const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

  return (bytes) => {
    const size = new DataView(bytes.buffer, bytes.byteOffset + bytes.length - 4).getUint32(0, true);
    const out = new Uint8Array(size);
    let at = 10, hold = 0, held = 0, end = 0; // after the header of gzip, which Python writes without a name
    const bits = (count) => {
      while (held < count) { hold |= bytes[at++] << held; held += 8; }
      const value = hold & ((1 << count) - 1);
      hold >>>= count;
      held -= count;
      return value;
    };
    const symbol = ({ counts, symbols }) => {
      let code = 0, first = 0, index = 0;
      for (let k = 1; k < 16; k++) {
        code |= bits(1);
        const count = counts[k];
        if (code - count < first) return symbols[index + (code - first)];
        index += count;
        first = (first + count) << 1;
        code <<= 1;
      }
      throw new Error("a part of the page is damaged");
    };
    const dynamic = () => {
      const literals = bits(5) + 257, distances = bits(5) + 1, codes = bits(4) + 4, lengths = new Array(19).fill(0);
      for (let k = 0; k < codes; k++) lengths[ORDER[k]] = bits(3);
      const code = table(lengths), found = [];
      while (found.length < literals + distances) {
        const next = symbol(code);
        if (next < 16) found.push(next);
        else if (next === 16) found.push(...Array(3 + bits(2)).fill(found.at(-1)));
        else found.push(...Array(next === 17 ? 3 + bits(3) : 11 + bits(7)).fill(0));
      }
      return [table(found.slice(0, literals)), table(found.slice(literals))];
    };
    for (let last = 0; !last;) {
      last = bits(1);
      const kind = bits(2);
      if (kind === 0) {
        hold = held = 0;
        const length = bytes[at] | (bytes[at + 1] << 8);
        out.set(bytes.subarray(at + 4, at + 4 + length), end);
        at += 4 + length;
        end += length;
        continue;
      }
      const [literals, distances] = kind === 1 ? FIXED : dynamic();
      for (let code = symbol(literals); code !== 256; code = symbol(literals)) {
        if (code < 256) { out[end++] = code; continue; }
        const [base, extra] = LENGTHS[code - 257];
        const length = base + bits(extra);
        const [far, more] = DISTANCES[symbol(distances)];
        const from = end - far - bits(more);
        for (let k = 0; k < length; k++) out[end++] = out[from + k];
      }
    }
    return out;
  };
})();

if (typeof module !== "undefined") module.exports = { inflate };
