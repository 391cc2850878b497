// The photo on its stage: fitted or zoomed, sharp where it is looked at.

const stage = document.getElementById("stage");
const photo = document.getElementById("photo");
const whole = document.getElementById("whole");
const sharp = document.getElementById("sharp");
const REFINE_AFTER_MS = 120;
const AROUND = 0.15; // of the visible part, loaded on each side of it
const CLOSEST = 12; // screen pixels per photo pixel

export class Viewer {
  // `refine(box, width)` gives a picture of a part, `busy` says whether one is waited for;
  // `changed(scale, fitted)` follows the zoom.
  constructor(refine, busy, changed) {
    this.refine = refine;
    this.busy = busy;
    this.changed = changed;
    this.size = null;
    this.pointers = new Map();
    this.serial = 0;
    new ResizeObserver(() => this.size && (this.fitted ? this.fit() : this.#place())).observe(stage);
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    stage.addEventListener("dblclick", (event) => this.toggle(this.#at(event)));
    for (const kind of ["pointerdown", "pointermove", "pointerup", "pointercancel"])
      stage.addEventListener(kind, (event) => this.#pointer(event));
  }

  // Resolves once the picture is on the screen.
  async show(picture) {
    const serial = ++this.serial;
    this.#dropSharp();
    whole.src = picture.url;
    await whole.decode();
    if (serial !== this.serial) return false;
    this.size = [picture.width, picture.height];
    photo.hidden = false;
    this.fit();
    return true;
  }

  clear() {
    this.serial++;
    this.size = null;
    this.#dropSharp();
    photo.hidden = true;
    whole.removeAttribute("src");
    this.changed(null, true);
  }

  fit() {
    const [width, height] = this.size;
    this.fitted = true;
    this.scale = Math.min(stage.clientWidth / width, stage.clientHeight / height);
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

  // The photo's pixel `fixed` stays where it is on the screen.
  #zoomTo(scale, fixed) {
    const fit = Math.min(stage.clientWidth / this.size[0], stage.clientHeight / this.size[1]);
    const next = Math.min(Math.max(scale, fit), Math.max(CLOSEST / devicePixelRatio, fit * 3));
    if (next <= fit * 1.001) return this.fit();
    this.centre = this.centre.map((c, k) => fixed[k] - (fixed[k] - c) * (this.scale / next));
    this.scale = next;
    this.fitted = false;
    this.#place();
  }

  #place() {
    const sides = [stage.clientWidth, stage.clientHeight];
    this.centre = this.centre.map((c, k) => {
      const half = sides[k] / 2 / this.scale;
      return 2 * half >= this.size[k] ? this.size[k] / 2 : Math.min(Math.max(c, half), this.size[k] - half);
    });
    const [left, top] = this.centre.map((c, k) => sides[k] / 2 - c * this.scale);
    Object.assign(photo.style, {
      left: `${left}px`,
      top: `${top}px`,
      width: `${this.size[0] * this.scale}px`,
      height: `${this.size[1] * this.scale}px`,
    });
    whole.classList.toggle("pixels", this.scale * devicePixelRatio >= 3);
    this.changed(this.scale * devicePixelRatio, this.fitted);
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.#sharpen(), REFINE_AFTER_MS);
  }

  async #sharpen() {
    const wanted = this.size && this.size[0] * this.scale * devicePixelRatio;
    if (!wanted || wanted <= whole.naturalWidth * 1.05 || whole.naturalWidth >= this.size[0]) {
      return this.#dropSharp();
    }
    const sides = [stage.clientWidth, stage.clientHeight];
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
    } catch {
      return; // the whole picture stays
    } finally {
      if (asked === this.asked) this.busy(false);
    }
    if (serial !== this.serial || asked !== this.asked) return URL.revokeObjectURL(part.url);
    this.#dropSharp();
    sharp.src = part.url;
    await sharp.decode().catch(() => {});
    const percent = (share) => `${share * 100}%`;
    Object.assign(sharp.style, {
      left: percent(low[0]),
      top: percent(low[1]),
      width: percent(high[0] - low[0]),
      height: percent(high[1] - low[1]),
    });
    sharp.classList.toggle("pixels", this.scale * devicePixelRatio >= 3);
    sharp.hidden = false;
  }

  #dropSharp() {
    if (sharp.src) URL.revokeObjectURL(sharp.src);
    sharp.removeAttribute("src");
    sharp.hidden = true;
  }

  #at(event) {
    const box = photo.getBoundingClientRect();
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
    if (!this.size || event.target.closest("button")) return;
    const before = [...this.pointers.values()];
    if (event.type === "pointerdown") {
      stage.setPointerCapture(event.pointerId);
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
