// The report's large view: a click on a photo opens it, with the parts of it that the page has sharp.

const closer = document.getElementById("closer");
const [title, about, link] = ["strong", ".about", "a"].map((name) => closer.querySelector(`.bar-of ${name}`));
const photo = closer.querySelector(".photo");
const peak = closer.querySelector(".peak");
const figures = [...document.querySelectorAll("figure[data-sides]")];
let at = 0;

const viewer = new Viewer(closer.querySelector(".stage"), {
  picked: (k) => { if (k !== null) about.textContent = viewer.regions[k].title; },
});

const lying = ({ style }) => [style.left, style.top, style.width, style.height].map((side) => parseFloat(side) / 100);

function show(k) {
  at = (k + figures.length) % figures.length;
  const figure = figures[at];
  const [width, height] = figure.dataset.sides.split(" ").map(Number);
  title.textContent = figure.querySelector(".photo img").alt;
  about.textContent = figure.querySelector(".regions-of")?.textContent ?? "";
  const file = figure.querySelector(".file a");
  link.hidden = !file;
  if (file) link.href = file.href;
  for (const old of photo.querySelectorAll(".patch")) old.remove();
  const parts = [...figure.querySelectorAll(".part img")].sort((a, b) => area(b) - area(a));
  for (const part of parts) {
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
  viewer.show({ url: figure.querySelector(".photo img").src, width, height }, regions);
}

const peakOf = (figure) => figure.dataset.peak?.split(" ").map(Number);
const area = (part) => lying(part)[2] * lying(part)[3];

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  if (viewer.key(event, peakOf(figures[at]))) return true;
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step) show(at + step);
  else if (event.key === "Escape") closer.close();
  return Boolean(step);
}

closer.addEventListener("keydown", (event) => { if (press(event)) event.preventDefault(); });
for (const button of closer.querySelectorAll("[data-key]"))
  button.addEventListener("click", () => press({ key: button.dataset.key, shiftKey: false }));
closer.addEventListener("close", () => figures[at].focus());
figures.forEach((figure, k) => {
  figure.tabIndex = 0;
  const frames = figure.querySelector(".frames");
  frames.setAttribute("role", "button");
  frames.addEventListener("click", () => show(k));
  figure.addEventListener("keydown", (event) => {
    if (event.target === figure && ["Enter", " "].includes(event.key)) { event.preventDefault(); show(k); }
  });
});
