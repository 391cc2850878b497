// The regions of the photo on the stage: their boxes, and the bar that says what is known of one.

import { $ } from "./page.js";
import { lengthOf } from "./viewer.js";

const length = ({ length_at_least: least, length_at_most: most }, scale) => lengthOf(least, most, scale);

// What the viewer draws: the model's regions, then the reviewer's own marks.
export function boxesOf(row) {
  if (!row.width || !row.height) return [];
  const boxed = ({ x, y, width, height }) => [x / row.width, y / row.height, width / row.width, height / row.height];
  const marks = (row.marks ?? []).map((mark) => ({ box: boxed(mark), text: "your mark", title: "marked by a person", said: mark.human }));
  const regions = (row.regions ?? []).map((region) => ({
    box: boxed(region),
    text: `${{ crack: "✓ ", clear: "✕ " }[region.human] ?? ""}${region.p_crack.toFixed(2)}`,
    title: `p(crack) ${region.p_crack.toFixed(3)}, ${length(region, row.mm_per_px)}`,
    said: region.human,
  }));
  return [...regions, ...marks];
}

// The bar below the photo; `k` is the chosen region, or null.
export function showRegion(row, k) {
  const regions = row?.regions ?? [];
  const found = [...regions, ...(row?.marks ?? [])];
  $("regions").hidden = !found.length;
  const region = k === null ? null : found[k];
  if (region && k >= regions.length) {
    $("region").textContent = `${k + 1} of ${found.length} · your mark`;
  } else {
  const said = found.filter(({ human }) => human).length;
  $("region").textContent = region
    ? `${k + 1} of ${found.length} · ${region.p_crack.toFixed(3)} · ${length(region, row.mm_per_px)}`
    : `${found.length} region${found.length === 1 ? "" : "s"}${said ? `, ${said} labelled` : ""}`;
  }
  for (const label of ["crack", "clear"])
    $(`region-${label}`).setAttribute("aria-pressed", String(region?.human === label));
}
