// The report's large view: a click on a photo opens it, with the parts of it that the page has
// sharp; the photo's own file takes their place, where a browser reaches and shows it.

const closer = document.getElementById("closer");
const [title, about, link] = ["strong", ".about", "a"].map((name) => closer.querySelector(`.bar-of ${name}`));
const photo = closer.querySelector(".photo");
const peak = closer.querySelector(".peak");
const SAME_SHAPE = 0.02;
let list = null; // `length` photos; `card(k)` is the figure of one
let at = 0;
let back = null;

const viewer = new Viewer(closer.querySelector(".stage"), {
  picked: (k) => { if (k !== null) about.textContent = viewer.regions[k].title; },
});

const lying = ({ style }) => [style.left, style.top, style.width, style.height].map((side) => parseFloat(side) / 100);
const patches = () => photo.querySelectorAll(".patch");

async function show(k, step = 1) {
  at = (k + list.length) % list.length;
  for (let tried = 0; !list.card(at).dataset.sides; tried++) {
    if (tried === list.length) return;
    at = (at + step + list.length) % list.length;
  }
  const figure = list.card(at);
  const [width, height] = figure.dataset.sides.split(" ").map(Number);
  const file = figure.querySelector("a.name");
  title.textContent = figure.querySelector(".name").textContent;
  about.textContent = [...figure.querySelectorAll(".line")].map((line) => line.textContent).join(" · ");
  link.hidden = !file?.hasAttribute("href");
  if (!link.hidden) link.href = file.href;
  for (const old of patches()) old.remove();
  for (const part of [...figure.querySelectorAll(".part img")].sort((a, b) => area(b) - area(a))) {
    const patch = Object.assign(new Image(), { src: part.src, className: "patch", alt: "" });
    place(patch, lying(part));
    viewer.marks.before(patch);
  }
  const marks = [...figure.querySelectorAll(".region[data-text]")];
  const regions = marks.map((mark) => ({ box: lying(mark), text: mark.dataset.text, title: mark.title }));
  const [x, y] = peakOf(figure) ?? [];
  peak.hidden = x === undefined;
  if (!peak.hidden) Object.assign(peak.style, { left: `${x * 100}%`, top: `${y * 100}%` });
  if (!closer.open) closer.showModal();
  const url = figure.querySelector(".photo img").src;
  const shown = await viewer.show({ url, width, height }, regions).catch(() => false);
  if (!shown || link.hidden || url === link.href) return;
  const whole = Object.assign(new Image(), { src: link.href });
  if (!(await whole.decode().then(() => true, () => false)) || list?.card(at) !== figure) return;
  if (Math.abs((whole.naturalWidth * height) / (whole.naturalHeight * width) - 1) > SAME_SHAPE) return;
  viewer.whole.src = whole.src;
  for (const patch of patches()) patch.remove();
}

const peakOf = (figure) => figure.dataset.peak?.split(" ").map(Number);
const area = (part) => lying(part)[2] * lying(part)[3];

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  if (viewer.key(event, peakOf(list.card(at)))) return true;
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step) show(at + step, step);
  else if (event.key === "Escape") closer.close();
  return Boolean(step);
}

closer.addEventListener("keydown", (event) => { if (press(event)) event.preventDefault(); });
for (const button of closer.querySelectorAll("[data-key]"))
  button.addEventListener("click", () => press({ key: button.dataset.key, shiftKey: false }));
closer.addEventListener("close", () => {
  const card = list.card(at);
  (card.isConnected ? card.querySelector(".frames") : back).focus();
});

// Let a click on a figure open it as number `k()` of `photos()`.
function opens(figure, photos, k) {
  if (!figure.dataset.sides) return;
  const frames = figure.querySelector(".frames");
  const open = () => { [list, back] = [photos(), frames]; show(k()); };
  Object.assign(frames, { tabIndex: 0 });
  frames.setAttribute("role", "button");
  frames.setAttribute("aria-label", `Closer: ${figure.querySelector(".name").textContent}`);
  frames.addEventListener("click", open);
  frames.addEventListener("keydown", (event) => {
    if (["Enter", " "].includes(event.key)) { event.preventDefault(); open(); }
  });
}
