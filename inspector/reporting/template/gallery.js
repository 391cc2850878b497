// All photos of an outcome, from columns in the page: sorted, filtered, a page of cards at a time.
// The first cards stand in the page; the others are made when they are looked at. Words are those
// of `wording.py`.

const [CARDS, ROWS] = [24, 200]; // of a page
const PRINTED = { crack: [48, 2000], review: [12, 500] }; // cards and rows on paper
const MOST_FOLDERS = 500;
const MOST_KEPT = 400;
const MOST_REGIONS = 50; // of a photo, in the page
const TYPED_AFTER_MS = 150;
const PREPARED_AFTER_MS = 500;
const words = new Intl.Collator(undefined, { numeric: true });
const two = (number) => `${number}`.padStart(2, "0");
const whole = (number) => number.toLocaleString("en");

class Gallery {
  constructor(place) {
    this.place = place;
    this.kind = place.dataset.kind;
    this.data = JSON.parse(place.querySelector("script").textContent);
    const find = (name) => place.querySelector(name);
    [this.tools, this.many, this.cards, this.rows, this.pager] = [".tools", ".many", ".cards", ".rows", ".pager"].map(find);
    [this.find, this.folder, this.why] = [".tools input", ".by-folder select", ".by-why select"].map(find);
    [this.order, this.look] = [".by-order", ".by-look"].map(find);
    this.first = new Map([...this.cards.children].map((card, k) => [k, card]));
    this.made = new Map();
    this.all = [...this.data.file.keys()];
    for (const [k, card] of this.first) this.#opens(card, k);
    this.#offer();
    this.tools.hidden = false;
    this.tools.addEventListener("submit", (event) => event.preventDefault());
    this.tools.addEventListener("input", (event) => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.choose(), event.target === this.find ? TYPED_AFTER_MS : 0);
    });
    for (const button of this.pager.querySelectorAll("button"))
      button.addEventListener("click", () => this.turn(Number(button.dataset.step)));
    this.choose();
  }

  // What can be filtered by: folders, and what people said or why a photo is left open.
  #offer() {
    const { folders, words: names, human, reason } = this.data;
    const add = (list, value, text) => list.add(new Option(text, value));
    if (folders.length > 1 && folders.length <= MOST_FOLDERS)
      for (const k of [...folders.keys()].sort((a, b) => words.compare(folders[a], folders[b]))) add(this.folder, k, folders[k] || "(top)");
    this.by = this.kind === "crack" ? human : reason;
    const found = [...new Set(this.by)].sort((a, b) => a - b);
    for (const k of found) add(this.why, k, names[k] || "nothing yet");
    for (const list of [this.folder, this.why]) list.parentElement.hidden = list.options.length < 3;
  }

  name(k) {
    const folder = this.data.folders[this.data.folder[k]];
    return folder ? `${folder}/${this.data.file[k]}` : this.data.file[k];
  }

  link(k) {
    const folder = this.data.links[this.data.folder[k]];
    return folder ? `${folder}/${this.data.tails[k] ?? encodeURIComponent(this.data.file[k])}` : "";
  }

  longest(k) {
    const found = this.data.regions[k] ?? [];
    let longest = 0;
    for (let at = 0; at < found.length; at += 7) longest = Math.max(longest, found[at + 6]);
    return longest;
  }

  choose() {
    const { folder, taken } = this.data;
    const plain = (text) => text.normalize("NFC").toLowerCase();
    const wanted = plain(this.find.value.trim());
    if (wanted) this.names ??= this.all.map((k) => plain(this.name(k)));
    const chosen = this.all.filter((k) =>
      (!wanted || this.names[k].includes(wanted)) &&
      (!this.folder.value || folder[k] === Number(this.folder.value)) &&
      (!this.why.value || this.by[k] === Number(this.why.value)));
    const by = (value) => { const of = chosen.length && this.all.map(value); chosen.sort((a, b) => of[a] - of[b]); };
    const order = this.order.value;
    if (order === "longest") by((k) => -this.longest(k));
    if (order === "newest") by((k) => -taken[k]);
    if (order === "oldest") by((k) => taken[k] || Infinity);
    if (order === "name") chosen.sort((a, b) => words.compare(this.name(a), this.name(b)));
    this.chosen = chosen;
    this.page = 0;
    this.draw();
  }

  turn(step) {
    this.page += step;
    this.draw();
    this.place.scrollIntoView({ behavior: "instant" });
    this.place.querySelector(".cards [tabindex], .rows a")?.focus({ preventScroll: true });
  }

  draw() {
    const total = this.chosen.length;
    const size = this.look.value === "list" ? ROWS : CARDS;
    const [begin, end] = [this.page * size, Math.min((this.page + 1) * size, total)];
    this.many.textContent = total === this.all.length ? "" : `${whole(total)} of ${whole(this.all.length)} photos`;
    const [back, on] = this.pager.querySelectorAll("button");
    this.pager.querySelector("span").textContent = `${whole(Math.min(begin + 1, total))} to ${whole(end)} of ${whole(total)}`;
    [this.pager.hidden, back.disabled, on.disabled] = [total <= size, !this.page, end >= total];
    const seen = this.chosen.slice(begin, end);
    if (this.look.value === "list") this.fill([], seen, begin);
    else this.fill(seen, []);
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.#prepare(), PREPARED_AFTER_MS);
  }

  // Paper waits for no picture: those that the page holds are made before.
  #prepare() {
    for (const k of this.chosen.slice(0, PRINTED[this.kind][0])) if (this.data.pictures[k]) this.card(k);
  }

  fill(cards, rows, begin = 0) {
    this.cards.replaceChildren(...cards.map((k) => this.card(k)));
    this.rows.replaceChildren(...(rows.length ? [this.table(rows, begin)] : []));
    [this.cards.hidden, this.rows.hidden] = [!cards.length, !rows.length];
  }

  print() {
    const [cards, rows] = PRINTED[this.kind];
    this.fill(this.chosen.slice(0, cards), this.chosen.length > cards ? this.chosen.slice(0, rows) : []);
    const left = this.chosen.length - rows;
    if (left > 0) this.rows.append(`${whole(left)} more ${left === 1 ? "is" : "are"} in the page itself and in the list of --csv.`);
  }

  card(k) {
    const known = this.first.get(k) ?? this.made.get(k);
    if (known) return known;
    if (this.made.size > MOST_KEPT) this.made.clear();
    const card = this.#make(k);
    this.made.set(k, card);
    this.#opens(card, k);
    return card;
  }

  #opens(card, k) {
    opens(card, () => ({ length: this.chosen.length, card: (n) => this.card(this.chosen[n]) }), () => this.chosen.indexOf(k));
  }

  #make(k) {
    const { data } = this;
    const card = document.getElementById("blank").content.firstElementChild.cloneNode(true);
    const [frame, photo, image, name] = [".frame", ".photo", "img", ".name"].map((part) => card.querySelector(part));
    const [width, height, link] = [data.width[k], data.height[k], this.link(k)];
    const url = data.pictures[k] ?? (data.unseen[k] ? "" : link);
    name.textContent = image.alt = this.name(k);
    if (link) name.href = link;
    for (const text of this.lines(k)) name.parentElement.append(line(text));
    const gone = (why) => { delete card.dataset.sides; frame.replaceChildren(element("p", `no picture: ${why}`)); };
    if (!url || !width || !height) {
      gone(data.unseen[k] ?? "this page has none and reaches no file");
      return card;
    }
    card.dataset.sides = `${width} ${height}`;
    photo.style.setProperty("--r", width / height);
    image.addEventListener("error", () => gone("the file is not there, or no browser shows it"));
    image.loading = data.pictures[k] ? "eager" : "lazy";
    image.src = url;
    const found = data.regions[k] ?? [];
    for (let at = 0; at < found.length; at += 7) {
      const [x, y, w, h, p] = found.slice(at, at + 5);
      const mark = element("span", "", "region");
      place(mark, [x / width, y / height, w / width, h / height]);
      mark.dataset.text = p < 0 ? "mark" : (p / 1000).toFixed(2);
      const about = p < 0 ? `marked by a person, ${whole(w)} x ${whole(h)} px` : `p ${(p / 1000).toFixed(3)}, ${this.length(k, at)}`;
      mark.title = `region ${at / 7 + 1} of ${found.length / 7}: ${about}`;
      photo.append(mark);
    }
    if (!found.length && data.x[k] >= 0 && data.y[k] >= 0) {
      const ring = element("span", "", "ring");
      [ring.style.left, ring.style.top] = [data.x[k], data.y[k]].map((share) => `${share / 10}%`);
      photo.append(ring);
      card.dataset.peak = `${data.x[k] / 1000} ${data.y[k] / 1000}`;
    }
    return card;
  }

  lines(k) {
    return [this.said(k), this.found(k), this.note(k), this.when(k)].filter(Boolean);
  }

  said(k) {
    const { data } = this;
    const [model, human, reason] = [data.model, data.human, data.reason].map((column) => data.words[column[k]]);
    return [
      data.p[k] < 0 ? "" : `p ${(data.p[k] / 1000).toFixed(3)}`,
      (model || "failed") === this.kind ? "" : `the model says ${model || "failed"}`,
      human && (human === "unsure" ? "a person is unsure" : `a person says ${human.replace("_", " ")}`),
      reason === "model" ? "" : reason,
    ].filter(Boolean).join(" · ");
  }

  note(k) {
    return k in this.data.notes ? `note: ${this.data.notes[k]}` : "";
  }

  found(k) {
    const found = this.data.regions[k];
    if (!found) return "";
    if (!found.length) return "no region";
    let [longest, marked] = [0, 0];
    for (let at = 0; at < found.length; at += 7) {
      if (found[at + 4] < 0) marked++;
      if (found[at + 6] > found[longest + 6]) longest = at;
    }
    const count = found.length / 7 - marked;
    const number = count === 1 ? "1 region," : `${count}${count + marked < MOST_REGIONS ? " regions, the longest" : " or more regions, the longest of these"}`;
    return [
      count ? `${number} ${this.length(k, longest)}` : "",
      marked ? `${marked} place${marked === 1 ? "" : "s"} marked by a person` : "",
    ].filter(Boolean).join("; ");
  }

  length(k, at) {
    return lengthOf(...this.data.regions[k].slice(at + 5, at + 7), this.data.scale[k]);
  }

  when(k) {
    const { taken, lat, lon } = this.data;
    const at = new Date(1000 * taken[k]);
    const [north, east] = [lat[k], lon[k]];
    return [
      taken[k] ? `${at.getUTCFullYear()}-${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())} ${two(at.getUTCHours())}:${two(at.getUTCMinutes())}` : "",
      north || east ? `${(north / 1e6).toFixed(6)}, ${(east / 1e6).toFixed(6)}` : "",
    ].filter(Boolean).join(" · ");
  }

  table(rows, begin) {
    const table = element("table", "", "wide list");
    const head = table.createTHead().insertRow();
    for (const text of ["no.", "photo", "what is known", "when and where"]) head.append(Object.assign(element("th", text), { scope: "col" }));
    const body = table.createTBody();
    rows.forEach((k, n) => {
      const row = body.insertRow();
      row.insertCell().textContent = whole(begin + n + 1);
      const name = element(this.link(k) ? "a" : "span", this.name(k));
      if (this.link(k)) Object.assign(name, { href: this.link(k), target: "_blank", rel: "noreferrer" });
      row.insertCell().append(name);
      row.insertCell().textContent = [this.said(k), this.found(k), this.note(k)].filter(Boolean).join(" · ");
      row.insertCell().textContent = this.when(k);
    });
    return table;
  }
}

const line = (text) => element("span", text, "line");

function element(kind, text, name = "") {
  return Object.assign(document.createElement(kind), { textContent: text, className: name });
}

const galleries = [...document.querySelectorAll(".gallery-of")].map((place) => new Gallery(place));
const figures = [...document.querySelectorAll("#differing ~ .cards figure")];
figures.forEach((figure, k) => opens(figure, () => ({ length: figures.length, card: (n) => figures[n] }), () => k));
addEventListener("beforeprint", () => galleries.forEach((gallery) => gallery.print()));
addEventListener("afterprint", () => galleries.forEach((gallery) => gallery.draw()));
