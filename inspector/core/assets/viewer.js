// A photo on its stage: fitted or zoomed, sharp where it is looked at, with its regions marked.
// The pages of `inspector review` and `inspector report` share it; each has a `.stage` with a
// `.photo` in it, that has `.whole`, `.sharp` and `.regions`.

const REFINE_AFTER_MS = 120;
const AROUND = 0.15; // of the visible part, loaded on each side of it
const CLOSEST = 12; // screen pixels per photo pixel
const FILLED = 0.6; // of the stage, by a region that is jumped to
const PAN = 0.25; // of the stage, by one key

export class Viewer {
  // `refine(box, width)` gives a picture of a part, `busy` says whether one is waited for, `blurred`
  // is told why there is none;
  // `changed(scale, fitted)` follows the zoom, `picked(k)` the region that is chosen, null for none;
  // `drawn(box)` is told of a box that was drawn, as for `mark`.
  constructor(stage, { refine, busy = () => {}, blurred = () => {}, changed = () => {}, picked = () => {}, drawn } = {}) {
    Object.assign(this, { stage, refine, busy, blurred, changed, picked, drawn, drawing: false });
    const find = (name) => stage.querySelector(`.${name}`);
    [this.photo, this.whole, this.sharp, this.marks] = ["photo", "whole", "sharp", "regions"].map(find);
    this.size = null;
    this.regions = [];
    this.at = null;
    this.pointers = new Map();
    this.serial = 0;
    new ResizeObserver(() => this.size && (this.fitted ? this.fit() : this.#place())).observe(stage);
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    stage.addEventListener("dblclick", (event) => event.target.closest("button") || this.toggle(this.#at(event)));
    for (const kind of ["pointerdown", "pointermove", "pointerup", "pointercancel"])
      stage.addEventListener(kind, (event) => this.#pointer(event));
  }

  // `picture`: `url` of the whole photo, perhaps reduced, and the photo's own `width` and `height`;
  // `regions` as for `mark`. Resolves once it is on the screen.
  async show(picture, regions = []) {
    const serial = ++this.serial;
    this.#dropSharp();
    this.whole.src = picture.url;
    await this.whole.decode();
    if (serial !== this.serial) return false;
    this.#forgetBegun(); // it was begun on another photo
    this.size = [picture.width, picture.height];
    this.photo.hidden = false;
    this.mark(regions);
    this.fit();
    return true;
  }

  clear() {
    this.serial++;
    this.size = null;
    this.pointers.clear();
    this.#forgetBegun();
    this.#dropSharp();
    this.mark([]);
    this.photo.hidden = true;
    this.whole.removeAttribute("src");
    this.changed(null, true);
  }

  // Draw boxes: `box` is left, top, width and height as shares of the photo's; `text` is short,
  // `title` says all, `said` is what a person said (`crack`, `clear` or nothing).
  mark(regions) {
    this.regions = regions;
    this.choose(null);
    this.marks.replaceChildren(...regions.map(({ box, text, title, said }, k) => {
      const mark = document.createElement("div");
      mark.className = `region ${said ?? ""} ${box[1] < 0.05 ? "high" : ""} ${box[0] > 0.9 ? "far" : ""}`;
      place(mark, box);
      const chip = document.createElement("button");
      Object.assign(chip, { type: "button", textContent: text, title });
      chip.addEventListener("click", (event) => { if (event.detail) chip.blur(); this.pick(k); });
      mark.append(chip);
      return mark;
    }));
  }

  // While it is on, a click or a drag draws a box into `#draft` and moves nothing; Enter marks the
  // middle of the stage, where a cross is shown.
  draw(on) {
    this.pointers.clear();
    this.drawing = Boolean(on && this.size);
    this.stage.classList.toggle("drawing", this.drawing);
    if (!this.drawing) this.#forgetBegun();
  }

  #forgetBegun() {
    if (this.begun) this.photo.querySelector("#draft").hidden = true;
    this.begun = null;
  }

  #stroke(event) {
    const draft = this.photo.querySelector("#draft");
    if (event.type === "pointerdown") {
      this.stage.setPointerCapture(event.pointerId);
      this.begun = [this.#at(event), event];
    }
    if (!this.begun) return;
    const [from, first] = this.begun;
    const to = this.#at(event);
    const moved = Math.hypot(event.clientX - first.clientX, event.clientY - first.clientY) > 4;
    const box = [0, 1].map((k) => Math.min(from[k], to[k])).concat([0, 1].map((k) => (moved ? Math.abs(from[k] - to[k]) : 0)));
    place(draft, box);
    draft.hidden = event.type === "pointerup" || event.type === "pointercancel";
    if (!draft.hidden) return;
    this.begun = null;
    if (event.type === "pointerup") this.drawn(box);
  }

  choose(k) {
    this.at = k;
    [...this.marks.children].forEach((mark, other) => mark.classList.toggle("on", other === k));
    this.picked(k);
  }

  // Zoom to a region; `jump` to the next one, or back.
  pick(k) {
    this.choose(k);
    if (!this.size) return;
    const sides = [this.stage.clientWidth, this.stage.clientHeight];
    const [left, top, width, height] = this.regions[k].box.map((share, side) => share * this.size[side % 2]);
    const closer = Math.min((FILLED * sides[0]) / width, (FILLED * sides[1]) / height, 2 / devicePixelRatio);
    this.#zoomTo(closer, [left + width / 2, top + height / 2]);
    if (this.fitted) return;
    this.centre = [left + width / 2, top + height / 2];
    this.#place();
  }

  jump(step) {
    const count = this.regions.length;
    if (count) this.pick(this.at === null ? (step > 0 ? 0 : count - 1) : (this.at + step + count) % count);
  }

  // A key that moves the view; false if it is none. `peak` is a place, as for `toggle`.
  key(event, peak) {
    const key = event.key.toLowerCase();
    const arrow = { arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1] }[key];
    if (arrow && event.shiftKey) this.#pan(arrow);
    else if (key === "enter" && this.drawing) this.drawn([...this.centre.map((c, k) => c / this.size[k]), 0, 0]);
    else if (key === "z") this.toggle(peak);
    else if (key === "+" || key === "=") this.zoomBy(1.5);
    else if (key === "-") this.zoomBy(1 / 1.5);
    else if (key === "r") this.jump(event.shiftKey ? -1 : 1);
    else return false;
    return true;
  }

  fit() {
    const [width, height] = this.size;
    this.fitted = true;
    this.scale = Math.min(this.stage.clientWidth / width, this.stage.clientHeight / height);
    this.centre = [width / 2, height / 2];
    this.#place();
  }

  // Between the whole photo and every pixel of it, around a place (shares of its sides).
  toggle(place) {
    if (!this.size) return;
    if (!this.fitted) return this.fit();
    const everyPixel = 1 / devicePixelRatio;
    const closer = everyPixel > this.scale * 1.2 ? everyPixel : this.scale * 3;
    const [x, y] = place ?? [0.5, 0.5];
    this.#zoomTo(closer, [x * this.size[0], y * this.size[1]]);
    this.centre = [x * this.size[0], y * this.size[1]];
    this.#place();
  }

  zoomBy(factor) {
    if (this.size) this.#zoomTo(this.scale * factor, this.centre);
  }

  #pan([x, y]) {
    if (!this.size || this.fitted) return;
    this.centre[0] += (x * PAN * this.stage.clientWidth) / this.scale;
    this.centre[1] += (y * PAN * this.stage.clientHeight) / this.scale;
    this.#place();
  }

  // The photo's pixel `fixed` stays where it is on the screen.
  #zoomTo(scale, fixed) {
    const fit = Math.min(this.stage.clientWidth / this.size[0], this.stage.clientHeight / this.size[1]);
    const next = Math.min(Math.max(scale, fit), Math.max(CLOSEST / devicePixelRatio, fit * 3));
    if (next <= fit * 1.001) return this.fit();
    this.centre = this.centre.map((c, k) => fixed[k] - (fixed[k] - c) * (this.scale / next));
    this.scale = next;
    this.fitted = false;
    this.#place();
  }

  #place() {
    const sides = [this.stage.clientWidth, this.stage.clientHeight];
    this.centre = this.centre.map((c, k) => {
      const half = sides[k] / 2 / this.scale;
      return 2 * half >= this.size[k] ? this.size[k] / 2 : Math.min(Math.max(c, half), this.size[k] - half);
    });
    const [left, top] = this.centre.map((c, k) => sides[k] / 2 - c * this.scale);
    Object.assign(this.photo.style, {
      left: `${left}px`,
      top: `${top}px`,
      width: `${this.size[0] * this.scale}px`,
      height: `${this.size[1] * this.scale}px`,
    });
    this.photo.classList.toggle("pixels", this.scale * devicePixelRatio >= 3);
    this.changed(this.scale * devicePixelRatio, this.fitted);
    clearTimeout(this.waiting);
    if (this.refine) this.waiting = setTimeout(() => this.#sharpen(), REFINE_AFTER_MS);
  }

  async #sharpen() {
    const wanted = this.size && this.size[0] * this.scale * devicePixelRatio;
    const { naturalWidth } = this.whole;
    if (!wanted || wanted <= naturalWidth * 1.05 || naturalWidth >= this.size[0]) return this.#dropSharp();
    const sides = [this.stage.clientWidth, this.stage.clientHeight];
    const half = sides.map((side) => (side / 2 / this.scale) * (1 + 2 * AROUND));
    const low = this.centre.map((c, k) => Math.max(0, (c - half[k]) / this.size[k]));
    const high = this.centre.map((c, k) => Math.min(1, (c + half[k]) / this.size[k]));
    const serial = this.serial;
    const asked = (this.asked = (this.asked ?? 0) + 1);
    const width = Math.min(4000, Math.ceil((high[0] - low[0]) * wanted));
    this.busy(true);
    let part;
    try {
      part = await this.refine([...low, ...high], width);
    } catch (error) {
      if (serial === this.serial && asked === this.asked) this.blurred(error); // the whole picture stays
      return;
    } finally {
      if (asked === this.asked) this.busy(false);
    }
    if (serial !== this.serial || asked !== this.asked) return URL.revokeObjectURL(part.url);
    this.#dropSharp();
    this.sharp.src = part.url;
    await this.sharp.decode().catch(() => {});
    place(this.sharp, [...low, high[0] - low[0], high[1] - low[1]]);
    this.sharp.hidden = false;
  }

  #dropSharp() {
    if (this.sharp.src) URL.revokeObjectURL(this.sharp.src);
    this.sharp.removeAttribute("src");
    this.sharp.hidden = true;
  }

  #at(event) {
    const box = this.photo.getBoundingClientRect();
    const shares = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    return shares.map((share) => Math.min(Math.max(share, 0), 1));
  }

  #wheel(event) {
    if (!this.size) return;
    event.preventDefault();
    const fixed = this.#at(event).map((share, k) => share * this.size[k]);
    this.#zoomTo(this.scale * Math.exp(-event.deltaY * 0.002), fixed);
  }

  // One pointer moves, two pinch.
  #pointer(event) {
    if (!this.size || event.target.closest("button, a")) return;
    if (this.drawing || this.begun) return this.#stroke(event);
    const before = [...this.pointers.values()];
    if (event.type === "pointerdown") {
      this.stage.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, event);
      return;
    }
    if (!this.pointers.has(event.pointerId)) return;
    if (event.type !== "pointermove") return void this.pointers.delete(event.pointerId);
    const last = this.pointers.get(event.pointerId);
    this.pointers.set(event.pointerId, event);
    const now = [...this.pointers.values()];
    if (now.length === 2) {
      const apart = ([a, b]) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
      const middle = { clientX: (now[0].clientX + now[1].clientX) / 2, clientY: (now[0].clientY + now[1].clientY) / 2 };
      const fixed = this.#at(middle).map((share, k) => share * this.size[k]);
      return this.#zoomTo((this.scale * apart(now)) / Math.max(apart(before), 1), fixed);
    }
    if (this.fitted) return;
    this.centre[0] -= (event.clientX - last.clientX) / this.scale;
    this.centre[1] -= (event.clientY - last.clientY) / this.scale;
    this.#place();
  }
}

// The length of a region along its axis, as `wording.length` gives it.
export function lengthOf(least, most, scale) {
  const between = (factor) => [...new Set([least, most].map((end) => Math.round(end * factor).toLocaleString("en")))].join(" to ");
  return `${between(1)} px long${scale ? ` (${between(scale)} mm)` : ""}`;
}

// Lay an element over a part of the photo: left, top, width and height as shares.
export function place(element, box) {
  ["left", "top", "width", "height"].forEach((side, k) => { element.style[side] = `${box[k] * 100}%`; });
}
