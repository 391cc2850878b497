// What the page shows: text, lists and numbers. File names come from anywhere and are only ever set as text.

import { thumb } from "./api.js";

export const $ = (id) => document.getElementById(id);
export const PAGE = 100;
export const drafts = new Map(); // notes that could not be saved, by the photos' addresses

const NAMES = {
  crack: "crack", clear: "clear", review: "review", failed: "failed", unsure: "unsure", not_concrete: "not concrete",
  open: "not labelled yet", labelled: "labelled", differs: "against the model",
};
const WHY = {
  model: "clearly on one side", near_threshold: "near the threshold", downscaled: "much downscaled",
  out_of_distribution: "unlike concrete", scale: "too coarse a scale", preview: "only a preview",
};
const inOrder = new Intl.Collator(undefined, { numeric: true });
const ALL = { folder: "all folders", verdict: "anything", reason: "any reason", failure: "any failure", label: "anything" };

export function showChoices(counts) {
  for (const [name, words] of Object.entries(counts)) {
    const select = $("filters").elements[name];
    const chosen = select.value || new URLSearchParams(location.hash.slice(1)).get(name) || "";
    const options = Object.entries(words).filter(([word, count]) => count || word === chosen);
    if (name === "folder") options.sort(([one], [other]) => inOrder.compare(one, other));
    const shared = name === "folder" ? sharedFolder(options.map(([word]) => word)) : 0;
    const spoken = (word) => (name === "folder" ? word.slice(shared) || "." : (name === "reason" ? WHY : NAMES)[word] ?? word);
    select.replaceChildren(new Option(ALL[name], ""), ...options.map(([word, count]) =>
      new Option(`${spoken(word)} (${count.toLocaleString("en")})`, word)));
    select.value = chosen;
    select.parentElement.hidden = !options.length;
    select.parentElement.classList.toggle("set", chosen !== "");
  }
}

// Letters, up to a slash, with which all folders begin.
function sharedFolder(folders) {
  const [first = "", ...others] = folders;
  let end = first.lastIndexOf("/") + 1;
  while (end && others.some((other) => !other.startsWith(first.slice(0, end)))) end = first.lastIndexOf("/", end - 2) + 1;
  return end;
}

export function showProgress({ labelled_in_queue: here, in_queue: count, labelled, rows }) {
  const share = count ? (100 * here) / count : 0;
  const n = (value) => value.toLocaleString("en");
  $("bar").firstElementChild.style.width = `${share}%`;
  $("bar").setAttribute("aria-valuenow", share.toFixed(1));
  const all = count === rows ? "" : ` · ${n(labelled)} of ${n(rows)} in all`;
  $("progress").textContent = `${n(here)} of ${n(count)} labelled${all}`;
}

export function showSaved(unsaved) {
  $("saved").textContent = unsaved ? `saving ${unsaved} …` : "all saved";
  $("saved").classList.toggle("busy", unsaved > 0);
}

export function showFacts(row, thresholds) {
  const cut = row.path.lastIndexOf("/") + 1;
  $("file").textContent = row.path.slice(cut);
  $("file").title = row.path;
  $("folder").textContent = row.path.slice(0, cut);
  const facts = [
    row.width && `${row.width} × ${row.height}`,
    row.format,
    row.size_bytes && bytes(row.size_bytes),
    row.taken_at && row.taken_at.replace("T", " ").slice(0, 16),
    row.gps_lat != null && row.gps_lon != null && `${row.gps_lat.toFixed(5)}, ${row.gps_lon.toFixed(5)}`,
    row.camera,
    row.crack_windows != null && `${row.view}: ${row.crack_windows.toLocaleString("en")} of ${row.windows.toLocaleString("en")} windows`,
  ];
  $("details").textContent = $("details").title = facts.filter(Boolean).join(" · ");
  const verdict = row.verdict ?? "failed";
  $("verdict").textContent = NAMES[verdict];
  $("verdict").className = `chip ${verdict}`;
  $("scale").hidden = row.p_crack === null;
  $("p").textContent = row.p_crack === null ? "" : `p(crack) ${probability(row.p_crack)}`;
  $("why").textContent = row.failure_code ? `${row.failure_code}: ${row.detail ?? ""}` : WHY[row.reason] ?? row.reason ?? "";
  if (row.p_crack !== null) showScale(row, (row.view !== "whole" && thresholds.own) || thresholds.whole);
  showSay(row.label);
  showNote(row);
  $("now").textContent = [row.path.slice(cut), NAMES[verdict], $("p").textContent, $("why").textContent, $("said").textContent].filter(Boolean).join(", ");
}

// The probability between the thresholds that photos of this kind were judged by.
function showScale(row, thresholds) {
  const [low, high] = thresholds ?? [];
  for (const [name, value] of [["b", row.p_crack], [".low", low], [".high", high]]) {
    const mark = $("scale").querySelector(name);
    mark.hidden = value === undefined;
    mark.style.left = `${100 * (value ?? 0)}%`;
  }
  const limits = thresholds ? `clear below ${low}, crack from ${high}` : "";
  $("scale").title = limits;
  $("scale").setAttribute("aria-label", `probability of a crack ${probability(row.p_crack)}${limits && `; ${limits}`}`);
}

// A note that is being written is not overwritten.
export function showNote(row) {
  if (document.activeElement !== $("note") || $("note").dataset.of !== row.uri) $("note").value = drafts.get(row.uri) ?? row.note ?? "";
  $("note").dataset.of = row.uri;
  $("note").disabled = false;
}

// What the reviewer said about the photo on the stage.
export function showSay(label) {
  $("said").hidden = !label;
  $("said").textContent = label ? `you said: ${{ clear: "no crack" }[label] ?? NAMES[label]}` : "";
  $("said").className = label ?? "";
}

// Work that a button has begun and that is not done yet.
export function setBusy(id, busy) {
  $(id).classList.toggle("busy", busy);
  $(id).setAttribute("aria-busy", String(busy));
}

// The page of the list that holds the current photo; `pick` is told which one is wanted.
export function showList(state, pick) {
  const start = Math.floor(state.at / PAGE) * PAGE;
  const end = Math.min(start + PAGE, state.count);
  const items = [];
  for (let k = start; k < end; k++) if (state.rows.has(k)) items.push(listItem(k, state.rows.get(k), k === state.at, pick, state.generation));
  $("list").replaceChildren(...items);
  $("list").setAttribute("aria-activedescendant", `item-${state.at}`);
  $("page").textContent = `${(start + 1).toLocaleString("en")}–${end.toLocaleString("en")} of ${state.count.toLocaleString("en")}`;
  $("page-back").disabled = start === 0;
  $("page-on").disabled = end >= state.count;
  $("list").querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
}

// A picture that is there already is moved, not asked for again.
const thumbs = new Map();
const MOST_THUMBS = 3 * PAGE;
function thumbOf(generation, row) {
  const address = thumb(generation, row);
  if (!thumbs.has(address)) {
    const picture = Object.assign(document.createElement("img"), { alt: "", loading: "lazy", width: 44, height: 44, src: address });
    picture.addEventListener("error", () => picture.classList.add("none"));
    thumbs.set(address, picture);
    if (thumbs.size > MOST_THUMBS) thumbs.delete(thumbs.keys().next().value);
  }
  return thumbs.get(address);
}

function listItem(at, row, selected, pick, generation) {
  const item = document.createElement("li");
  const verdict = row.verdict ?? "failed";
  item.id = `item-${at}`;
  item.setAttribute("role", "option");
  item.setAttribute("aria-selected", String(selected));
  const name = Object.assign(document.createElement("span"), { className: "name", textContent: row.path.split("/").pop(), title: row.path });
  const p = Object.assign(document.createElement("span"), { className: "p", textContent: row.p_crack === null ? row.failure_code ?? "" : probability(row.p_crack) });
  const chip = Object.assign(document.createElement("span"), { className: `dot ${verdict}`, title: NAMES[verdict] });
  chip.setAttribute("aria-label", `model: ${NAMES[verdict]}`);
  const said = Object.assign(document.createElement("span"), { className: `mark ${row.label ?? ""}`, textContent: { crack: "C", clear: "N", not_concrete: "O", unsure: "S" }[row.label] ?? "" });
  const picture = thumbOf(generation, row.row);
  if (row.note) { said.classList.add("noted"); said.title = row.note; }
  const words = Object.assign(document.createElement("span"), { className: "words" });
  words.append(name, chip, p);
  item.append(picture, words, said);
  item.addEventListener("click", () => pick(at));
  return item;
}

export function showEmpty() {
  for (const id of ["file", "folder", "details", "p", "why", "page", "verdict", "now"]) $(id).textContent = "";
  $("file").title = $("details").title = $("note").value = "";
  delete $("note").dataset.of;
  $("note").disabled = true;
  $("verdict").className = "";
  $("scale").hidden = $("said").hidden = true;
  $("list").replaceChildren();
  $("list").removeAttribute("aria-activedescendant");
  notice("No photo is like that. Choose other filters.");
}

export function notice(text) {
  $("notice").hidden = !text; // first: a text that comes into sight is announced
  $("notice").textContent = text;
}

// What stays, stays until somebody closes it; the next that does is added.
let toastEnds;
export function toast(text, stays = false) {
  const before = !$("toast").hidden && $("toast").classList.contains("bad") ? $("toast").textContent.split("\n") : [];
  if (before.length && !stays) return;
  clearTimeout(toastEnds);
  $("toast").textContent = [...new Set([...before, text])].join("\n");
  $("toast").hidden = false;
  $("toast").classList.toggle("bad", stays);
  if (!stays) toastEnds = setTimeout(() => { $("toast").hidden = true; }, 3500);
}

const bytes = (count) => (count >= 1e6 ? `${(count / 1e6).toFixed(1)} MB` : `${Math.ceil(count / 1e3)} kB`);

function probability(p) {
  if (p > 0 && p < 0.001) return "< 0.001";
  if (p < 1 && p > 0.999) return "> 0.999";
  return p.toFixed(3);
}

