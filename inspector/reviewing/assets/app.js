// The review page: a list of photos, one of them on the stage, and what the reviewer says.

import * as api from "./api.js";
import {
  $, PAGE, drafts, notice, setBusy, showChoices, showEmpty, showFacts, showList, showNote, showProgress, showSaved, toast,
} from "./page.js";
import { boxesOf, showRegion } from "./regions.js";
import { Viewer } from "./viewer.js";

const AHEAD = 4;
const BEHIND = 2;
const photos = new api.Photos();
const state = { queue: null, generation: 0, at: 0, count: 0, rows: new Map(), row: null, shown: null };
let about = {};
let saving = Promise.resolve();
let unsaved = 0;
let undoing = 0;
let heatWanted = false;
let peakWanted = true;
let turn = 0; // counts the photos that were asked for: an answer for an older one is not shown
let asking = 0; // the same of lists
let heating = null;

const viewer = new Viewer($("stage"), {
  refine: (box, width) => api.region(state.generation, state.row.row, box, width),
  busy: (busy) => setBusy("zoom-button", busy),
  blurred: (error) => toast(`Not sharp, only reduced: ${error.message}`),
  changed: (scale, fitted) => {
    $("zoom").textContent = scale === null || fitted ? "Fit" : `${Math.round(scale * 100)} %`;
    $("zoom-button").setAttribute("aria-pressed", String(!fitted));
  },
  picked: (k) => showRegion(viewer?.size ? state.row : null, k),
  drawn: (box) => markPlace(box),
});

// --- the list

function filters() {
  const form = new FormData($("filters"));
  return new URLSearchParams([...form].filter(([, value]) => value));
}

async function startQueue() {
  const mine = ++asking;
  const asked = filters();
  history.replaceState(null, "", asked.size ? `#${asked}` : location.pathname);
  const found = await api.startQueue(asked);
  if (mine !== asking) return;
  Object.assign(state, { queue: found.queue, generation: found.generation, count: found.in_queue, row: null });
  state.rows.clear();
  showChoices(found.counts);
  showProgress(found);
  if (!found.in_queue) {
    turn++;
    hideHeat();
    viewer.clear();
    return showEmpty();
  }
  await go(Math.min(found.first_open, found.in_queue - 1));
}

async function rowAt(at) {
  if (at < 0 || at >= state.count) return null;
  if (!state.rows.has(at)) {
    const start = Math.floor(at / PAGE) * PAGE;
    const { queue } = state;
    const found = await api.rows(queue, start, PAGE);
    if (queue !== state.queue) return null;
    found.forEach((row, k) => state.rows.set(start + k, state.rows.get(start + k) ?? row));
  }
  return state.rows.get(at);
}

async function go(at) {
  if (at < 0 || at >= state.count) return toast(at < 0 ? "This is the first one." : "End of this list.");
  const mine = ++turn;
  keepNote();
  toggleMarking(false);
  state.shown = null;
  const unlessLeft = (error) => { if (mine === turn) throw error; };
  const listed = await rowAt(at).catch(unlessLeft);
  if (mine !== turn || !listed) return;
  state.at = at;
  showList(state, pick);
  keepNear(at);
  const asked = photos.get(state.generation, listed.row);
  const row = await asked.facts.catch(unlessLeft);
  if (mine !== turn) return;
  Object.assign(row, { label: listed.label, note: listed.note });
  state.row = row;
  showFacts(row, about.thresholds);
  await showPhoto(row, asked.picture, mine);
  if (mine === turn) prefetch(at);
}

function pick(at) {
  go(at);
  closeSide();
}

// Let go of photos that are not near, and stop asking for them.
function keepNear(at) {
  const near = Array.from({ length: BEHIND + 1 + AHEAD }, (_, k) => state.rows.get(at - BEHIND + k));
  photos.keepOnly(state.generation, near.filter(Boolean).map(({ row }) => row));
}

async function prefetch(at) {
  const ahead = [];
  for (let k = at + 1; k <= at + AHEAD; k++) ahead.push(await rowAt(k));
  if (at !== state.at) return;
  for (const listed of ahead) if (listed) photos.get(state.generation, listed.row);
}

// --- the photo

async function showPhoto(row, opening, mine) {
  const slow = setTimeout(() => { viewer.clear(); notice("opening …"); }, 150);
  hideHeat();
  try {
    const picture = await opening;
    if (mine !== turn) return;
    clearTimeout(slow);
    notice(picture.same ? "" : "This file has changed since the scan. Scan again, then label it.");
    placePeak(row);
    if (!(await viewer.show(picture, boxesOf(row))) || mine !== turn) return;
    state.shown = picture;
    document.body.dataset.shown = row.uri;
    if (heatWanted) showHeat();
  } catch (error) {
    if (mine !== turn) return;
    viewer.clear();
    if (error.kind === "stale") return again(error);
    const why = row.failure_code ? `${row.failure_code}: ${row.detail ?? ""}` : "";
    notice(`There is nothing to show. ${why || error.message}`);
    document.body.dataset.shown = row.uri;
  } finally {
    clearTimeout(slow);
  }
}

// Regions say where; without any, the mark of the strongest evidence does.
function placePeak(row) {
  const known = row.peak_x !== null && row.peak_y !== null && !row.regions?.length && !row.marks?.length;
  $("peak").hidden = !known || !peakWanted;
  viewer.marks.hidden = !peakWanted;
  if (known) Object.assign($("peak").style, { left: `${row.peak_x * 100}%`, top: `${row.peak_y * 100}%` });
}

function hideHeat() {
  heating?.abort();
  if ($("heat").src) URL.revokeObjectURL($("heat").src);
  $("heat").removeAttribute("src");
  $("heat").hidden = $("legend").hidden = true;
  setBusy("heat-button", false);
}

async function showHeat() {
  heating = new AbortController();
  const { signal } = heating;
  setBusy("heat-button", true);
  try {
    const map = await api.heat(state.generation, state.row.row, signal);
    if (signal.aborted) return URL.revokeObjectURL(map.url);
    $("heat").src = map.url;
    await $("heat").decode();
    $("heat").hidden = $("legend").hidden = false;
  } catch (error) {
    if (!signal.aborted) toast(`No heat map: ${error.message}`);
  } finally {
    if (!signal.aborted) setBusy("heat-button", false);
  }
}

function toggleHeat() {
  if (!about.heat) return toast(about.why_no_heat);
  heatWanted = !heatWanted;
  $("heat-button").setAttribute("aria-pressed", String(heatWanted));
  if (!heatWanted) hideHeat();
  else if (state.shown) showHeat();
}

function togglePeak() {
  peakWanted = !peakWanted;
  $("peak-button").setAttribute("aria-pressed", String(peakWanted));
  if (state.row) placePeak(state.row);
}

const peakPlace = () => (state.row?.peak_x == null ? undefined : [state.row.peak_x, state.row.peak_y]);

// --- what the reviewer says

// A photo that was decided about may come back: what is said now would be of another one.
function mustWait() {
  if (undoing) toast("Wait: the last decision is being taken back.");
  return undoing > 0;
}

function decide(label) {
  if (mustWait()) return;
  const { row, at, queue, generation } = state;
  const listed = state.rows.get(at);
  if (!row || !listed) return;
  const there = listed.row === row.row && (label === "unsure" || state.shown);
  if (!there) return toast("Wait until the photo is there; one that cannot be shown can only be unsure.");
  if (label !== "unsure" && !state.shown.same) return toast("The file has changed since the scan. Scan again, then label it.");
  const before = row.label;
  row.label = listed.label = label;
  save(async () => {
    try {
      const done = await api.label({ generation, row: row.row, uri: row.uri, label, queue });
      showProgress(done);
    } catch (error) {
      row.label = listed.label = before;
      await lose(error);
      if (state.queue === queue) await go(at);
    }
  });
  if (at + 1 < state.count) go(at + 1);
  else { showFacts(row, about.thresholds); showList(state, pick); toast("End of this list."); }
}

// Said of the chosen region; the same once more takes it back. The next one without a label follows.
function decideRegion(label) {
  if (mustWait()) return;
  const { row, queue, generation } = state;
  if (viewer.at !== null && viewer.at >= (row?.regions?.length ?? 0)) return label === "clear" ? unmark(viewer.at) : undefined;
  if (!row?.regions?.length) return toast("The model marked no region in this photo.");
  if (!state.shown?.same) return toast("Wait until the photo is there, as it was scanned.");
  if (viewer.at === null) return toast("Choose a region first: R, or a click on its number.");
  const k = viewer.at;
  const region = row.regions[k];
  const before = region.human;
  region.human = before === label ? null : label;
  save(async () => {
    try {
      showProgress(await api.labelRegion({
        generation, row: row.row, uri: row.uri, region: k, label: region.human ?? "", queue,
      }));
    } catch (error) {
      region.human = before;
      await lose(error);
      if (state.row === row) remark(row, k);
    }
  });
  const open = row.regions.findIndex(({ human }, other) => !human && other > k);
  remark(row, k);
  if (region.human && open >= 0) viewer.pick(open);
}

// A box of shares of the photo; a point has no sides.
function markPlace([left, top, width, height]) {
  toggleMarking(false);
  if (mustWait()) return;
  const { row } = state;
  if (!state.shown?.same) return toast("Wait until the photo is there, as it was scanned.");
  const at = (share, side) => Math.min(Math.max(0, Math.round(share * side)), side - 1);
  const [x, y] = [at(left, row.width), at(top, row.height)];
  const mark = { x, y, width: Math.min(Math.round(width * row.width), row.width - x), height: Math.min(Math.round(height * row.height), row.height - y), human: "crack" };
  if (!mark.width || !mark.height) mark.width = mark.height = 0;
  saveMark(row, mark, "crack", [...(row.marks ?? []), mark]);
}

function unmark(k) {
  const { row } = state;
  const place = k - (row.regions?.length ?? 0);
  saveMark(row, row.marks[place], "", row.marks.filter((_, other) => other !== place));
}

function saveMark(row, { x, y, width, height }, label, after) {
  const { queue, generation } = state;
  const before = row.marks;
  row.marks = after;
  placePeak(row);
  remark(row, null);
  save(async () => {
    try {
      showProgress(await api.mark({ generation, row: row.row, uri: row.uri, x, y, width, height, label, queue }));
    } catch (error) {
      row.marks = before;
      await lose(error);
      if (state.row === row) remark(row, null);
    }
  });
}

function toggleMarking(on = !viewer.drawing) {
  viewer.draw(on && !!state.row);
  $("mark-button").setAttribute("aria-pressed", String(viewer.drawing));
  if (!viewer.drawing) return;
  $("stage").focus({ preventScroll: true });
  toast("Click a point, or drag a box around the crack; Enter marks the cross.");
}

function keepNote() {
  const { row, at, queue, generation } = state;
  const note = $("note").value.trim();
  if (!row || $("note").dataset.of !== row.uri) return;
  if (note === (row.note ?? "")) return void drafts.delete(row.uri);
  const listed = state.rows.get(at);
  const before = row.note;
  row.note = note || null;
  if (listed?.row === row.row) listed.note = row.note;
  showList(state, pick);
  save(async () => {
    try {
      showProgress(await api.note({ generation, row: row.row, uri: row.uri, note, queue }));
      drafts.delete(row.uri);
    } catch (error) {
      row.note = before;
      drafts.set(row.uri, note);
      if (listed?.row === row.row) listed.note = before;
      await lose(error, "NOT SAVED, the note waits beside its photo");
      if (state.row === row) showNote(row);
    }
  });
}

function remark(row, k) {
  viewer.mark(boxesOf(row));
  viewer.choose(k);
}

function undo() {
  undoing++;
  save(() => takeBack().finally(() => { undoing--; }));
}

async function takeBack() {
  let done;
  try {
    done = await api.undo(state.queue);
  } catch (error) {
    return lose(error, "NOT TAKEN BACK");
  }
  showProgress(done);
  if (!done.row) return toast(done.gone ? "Taken back; that photo is no longer in the table." : "Nothing to take back.");
  const { regions, marks, ...listed } = done.row;
  const name = listed.path.split("/").pop();
  if (done.at === null) return toast(`Taken back: ${name}, which is not in this list.`);
  state.rows.set(done.at, listed);
  await photos.get(state.generation, listed.row).facts.then((row) => Object.assign(row, { regions, marks }), () => {});
  await go(done.at);
  toast(`Taken back: ${name}`);
}

// One after the other, in the order of the keys.
function save(work) {
  unsaved++;
  showSaved(unsaved);
  saving = saving.then(work).catch(failed).finally(() => { unsaved--; showSaved(unsaved); });
}

async function lose(error, what = "NOT SAVED") {
  if (error.kind === "stale") await again(error, what);
  else toast(`${what}: ${error.message}`, true);
}

// What was lost by that, if anything, stays to be read.
async function again(error, lost) {
  $("note").blur(); // what is being written there is about a photo of the old list
  if (lost) toast(`${lost}: a scan has changed the table; the list was made anew.`, true);
  else toast("A scan has changed the table; the list was made anew.");
  await startQueue().catch(() => toast(error.message, true));
}

const failed = (error) => (error?.kind === "stale" ? again(error) : toast(error?.message ?? String(error), true));

// --- keys and clicks

const KEYS = {
  c: () => decide("crack"),
  n: () => decide("clear"),
  o: () => decide("not_concrete"),
  m: () => toggleMarking(),
  t: () => $("note").focus(),
  s: () => decide("unsure"),
  " ": () => decide("unsure"),
  u: undo,
  h: toggleHeat,
  p: togglePeak,
  y: () => decideRegion("crack"),
  x: () => decideRegion("clear"),
  arrowleft: () => go(state.at - 1),
  arrowright: () => go(state.at + 1),
  "?": () => $("help").showModal(),
  "/": () => { openSide(); $("text").focus(); },
};
const MAY_REPEAT = new Set(["arrowleft", "arrowright"]);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  if (event.key === "Escape" && viewer.drawing) return toggleMarking(false);
  if (event.key === "Escape" && event.target === $("note")) $("note").value = state.row?.note ?? "";
  if (event.key === "Enter" && event.target === $("note")) return void $("note").blur();
  if (event.key === "Escape") return void (document.activeElement?.blur(), closeSide(), closeToast());
  if (event.target.closest("input, select")) return;
  if (event.target.closest("button") && [" ", "Enter"].includes(event.key)) return;
  if (event.target === $("list") && inList(event)) return event.preventDefault();
  if (event.key.length === 1 && !$("letters").checked) return;
  if (viewer.key(event, peakPlace())) return event.preventDefault();
  const key = event.key.toLowerCase();
  if (!(key in KEYS) || (event.repeat && !MAY_REPEAT.has(key))) return;
  event.preventDefault();
  KEYS[key]();
});

// A key of the list itself; false if it is none.
function inList(event) {
  const step = event.shiftKey ? undefined : { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (step) go(state.at + step);
  return Boolean(step) || event.key === " ";
}

function onClick(id, work) {
  $(id).addEventListener("click", (event) => {
    if (event.detail) event.currentTarget.blur(); // or the next Space would press it again
    work();
  });
}

onClick("crack", KEYS.c);
onClick("clear", KEYS.n);
onClick("other", KEYS.o);
onClick("unsure", KEYS.s);
onClick("mark-button", KEYS.m);
onClick("undo", undo);
onClick("back", KEYS.arrowleft);
onClick("on", KEYS.arrowright);
onClick("heat-button", toggleHeat);
onClick("peak-button", togglePeak);
onClick("zoom-button", () => viewer.toggle(peakPlace()));
onClick("region-back", () => viewer.jump(-1));
onClick("region-on", () => viewer.jump(1));
onClick("region-crack", KEYS.y);
onClick("region-clear", KEYS.x);
onClick("help-button", KEYS["?"]);
onClick("page-back", () => go(Math.max(0, (Math.floor(state.at / PAGE) - 1) * PAGE)));
onClick("page-on", () => go(Math.min(state.count - 1, (Math.floor(state.at / PAGE) + 1) * PAGE)));
onClick("menu", () => ($("side").classList.contains("open") ? closeSide() : openSide()));
onClick("folder", () => {
  const select = $("filters").elements.folder;
  const folder = $("folder").textContent.replace(/(.)\/$/, "$1");
  if (![...select.options].some(({ value }) => value === folder)) select.append(new Option(folder, folder));
  select.value = folder;
  refilter();
});
$("note").addEventListener("change", keepNote);
$("toast").addEventListener("click", closeToast);

function closeToast() {
  $("toast").hidden = true;
}

function openSide() {
  $("side").classList.add("open");
  $("menu").setAttribute("aria-expanded", "true");
}

function closeSide() {
  $("side").classList.remove("open");
  $("menu").setAttribute("aria-expanded", "false");
}

const refilter = () => startQueue().catch((error) => toast(error.message, true));
let typing;
$("filters").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(refilter, event.target.id === "text" ? 300 : 0);
});
// The mouse has chosen: keys are for the photo again. Who chooses by keys may go on to the next.
let byMouse = false;
for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, () => { byMouse = kind === "pointerdown"; }, true);
$("filters").addEventListener("change", (event) => { if (byMouse) event.target.blur?.(); });
$("filters").addEventListener("submit", (event) => { event.preventDefault(); $("text").blur(); });
addEventListener("beforeunload", (event) => { keepNote(); if (unsaved || drafts.size) event.preventDefault(); });
addEventListener("pagehide", keepNote);
addEventListener("unhandledrejection", (event) => failed(event.reason));

async function start() {
  about = await api.about();
  $("name").textContent = about.name;
  document.title = `${about.name} – inspector review`;
  $("heat-button").classList.toggle("off", !about.heat);
  $("heat-button").setAttribute("aria-disabled", String(!about.heat));
  $("heat-button").title = about.heat ? "" : about.why_no_heat;
  $("text").value = new URLSearchParams(location.hash.slice(1)).get("text") ?? "";
  for (const [name, value] of new URLSearchParams(location.hash.slice(1)))
    if ($("filters").elements[name]?.tagName === "SELECT") $("filters").elements[name].append(new Option(value, value, true, true));
  await startQueue();
}

start().catch((error) => toast(error.message, true));
