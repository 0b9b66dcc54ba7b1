// Runs once, when gradio has laid out viewer.html. It gives: element, props, server, watch.
// props.value is an answer (viewer.py), props.classes and props.stages are the model's.
const root = element.querySelector(".dpn-viewer");
const find = (selector) => root.querySelector(selector);
const [photo, canvas, cross, tip] = ["img", "canvas", ".cross", ".tip"].map(find);
const [frameInput, stageInput, strengthInput] = ["frames", "stages", "strength"].map((name) => find(`.${name} input`));
const { classes, stages } = props;
const rgb = (color) => `rgb(${color.join(",")})`;

let answer = null; // of the picture or frame that is shown
let maps = []; // of each stage: labels and confidences, one byte a pixel
let place = null; // [x, y] of the pixel pointed at
let chosen = null; // the class that is picked out: clicked on, or only hovered over in the legend
let hovered = null;
let asked = 0; // answers that come late are dropped

async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function show(found) {
  const turn = ++asked;
  const inflated = await Promise.all(found.maps.map(inflate));
  if (turn !== asked) return;
  answer = found;
  const pixels = found.width * found.height;
  maps = inflated.map((map) => ({ labels: map.subarray(0, pixels), confidences: map.subarray(pixels) }));
  photo.src = found.image;
  photo.alt = found.name;
  canvas.width = found.width;
  canvas.height = found.height;
  // As wide as there is room, but not taller than most of the window.
  const stage = find(".stage");
  stage.style.aspectRatio = `${found.width} / ${found.height}`;
  stage.style.maxWidth = `calc(62vh * ${found.width / found.height})`;
  if (place && (place[0] >= found.width || place[1] >= found.height)) place = null;
  find(".name").textContent = found.name;
  find(".note").textContent = found.note;
  drawStage();
}

function drawStage() {
  const index = Number(stageInput.value);
  const { labels } = maps[index];
  const counts = new Array(256).fill(0);
  for (const label of labels) counts[label]++;
  classes.forEach(({ name }, label) => {
    const button = find(`.legend li:nth-child(${label + 1}) button`);
    button.disabled = !counts[label];
    button.querySelector("b").textContent = percent(counts[label] / labels.length);
  });
  find(".stages output").textContent = stages[index].title;
  stageInput.setAttribute("aria-valuetext", stages[index].title);
  root.querySelectorAll(".ticks button").forEach((b, i) => b.setAttribute("aria-pressed", i === index));
  const link = find(".download");
  link.href = `data:image/png;base64,${answer.files[index]}`;
  link.download = `${answer.name}_${stages[index].name}.png`;
  paint();
  point();
}

function percent(share) {
  if (!share) return "–";
  return share < 0.001 ? "<0.1%" : `${(100 * share).toFixed(1)}%`;
}

function paint() {
  const { labels } = maps[Number(stageInput.value)];
  const picked = hovered ?? chosen;
  const picture = new ImageData(answer.width, answer.height);
  const colors = new Uint32Array(classes.length);
  classes.forEach(({ color }, label) => {
    const opacity = picked === null || picked === label ? 255 : 30;
    new Uint8Array(colors.buffer, 4 * label).set([...color, opacity]);
  });
  const pixels = new Uint32Array(picture.data.buffer);
  labels.forEach((label, i) => (pixels[i] = colors[label]));
  canvas.getContext("2d").putImageData(picture, 0, 0);
  canvas.style.opacity = strengthInput.value / 100;
  find(".strength output").textContent = `${strengthInput.value}%`;
}

function point() {
  cross.classList.toggle("on", Boolean(place) && document.activeElement === canvas && canvas.matches(":focus-visible"));
  tip.classList.toggle("on", Boolean(place));
  root.querySelectorAll(".legend .pointed").forEach((button) => button.classList.remove("pointed"));
  if (!place) return;
  const [x, y] = place;
  const { labels, confidences } = maps[Number(stageInput.value)];
  const i = y * answer.width + x;
  const known = classes[labels[i]];
  const words = confidences.length ? `${known.name} ${confidences[i]}%` : known.name;
  tip.querySelector("i").style.background = rgb(known.color);
  tip.querySelector("span").textContent = words;
  find(".readout").textContent = `${words} at x ${x}, y ${y}`;
  find(`.legend li:nth-child(${labels[i] + 1}) button`).classList.add("pointed");
  const { width, height } = canvas.getBoundingClientRect();
  const [left, top] = [((x + 0.5) / answer.width) * width, ((y + 0.5) / answer.height) * height];
  cross.style.left = `${left}px`;
  cross.style.top = `${top}px`;
  tip.style.left = `${Math.min(left + 16, width - tip.offsetWidth - 4)}px`;
  tip.style.top = `${top + 20 + tip.offsetHeight < height ? top + 16 : top - 16 - tip.offsetHeight}px`;
}

function pointAt(event) {
  const box = canvas.getBoundingClientRect();
  const inside = (value, count) => Math.max(0, Math.min(count - 1, Math.floor(value * count)));
  place = [
    inside((event.clientX - box.left) / box.width, answer.width),
    inside((event.clientY - box.top) / box.height, answer.height),
  ];
  point();
}

function moveCross(event) {
  const step = event.shiftKey ? 10 : 1;
  const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
  if (!move) return;
  event.preventDefault();
  const [x, y] = place ?? [answer.width >> 1, answer.height >> 1];
  place = [
    Math.max(0, Math.min(answer.width - 1, x + move[0])),
    Math.max(0, Math.min(answer.height - 1, y + move[1])),
  ];
  point();
}

function pick(label, kind) {
  if (kind === "click") chosen = chosen === label ? null : label;
  else hovered = label;
  root.querySelectorAll(".legend button").forEach((b, i) => b.setAttribute("aria-pressed", i === chosen));
  paint();
}

function lay() {
  classes.forEach(({ name, color }, label) => {
    const item = document.createElement("li");
    item.innerHTML = '<button type="button" aria-pressed="false"><i></i><span></span><b></b></button>';
    const button = item.firstChild;
    button.querySelector("i").style.background = rgb(color);
    button.querySelector("span").textContent = name;
    button.addEventListener("click", () => pick(label, "click"));
    button.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && pick(label));
    button.addEventListener("pointerleave", () => pick(null));
    find(".legend").append(item);
  });
  stageInput.max = stages.length - 1;
  stageInput.value = stages.length - 1;
  root.toggleAttribute("data-stages", stages.length > 1);
  stages.forEach(({ tick }, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = tick;
    button.addEventListener("click", () => ((stageInput.value = index), drawStage()));
    button.style.left = `${(100 * index) / (stages.length - 1)}%`;
    find(".ticks").append(button);
  });
}

function say(text) {
  root.dataset.state = text ? "message" : "empty";
  find(".message").textContent = text ?? "";
}

async function update() {
  const value = props.value;
  asked++;
  if (!value?.maps) return say(value?.message);
  place = chosen = hovered = null;
  find(".readout").textContent = "Point at the picture, touch it, or use the arrow keys.";
  frameInput.max = (value.frames || 1) - 1;
  frameInput.value = 0;
  find(".frames output").textContent = `1 of ${value.frames}`;
  root.toggleAttribute("data-film", Boolean(value.frames));
  await show(value);
  root.dataset.state = "answer";
  // On a phone it may lie below the examples.
  if (root.getBoundingClientRect().top > 0.6 * innerHeight) root.scrollIntoView({ behavior: "smooth" });
}

async function seek() {
  const index = Number(frameInput.value);
  const turn = ++asked;
  find(".frames output").textContent = `${index + 1} of ${props.value.frames}`;
  const found = await server.frame_of({ film: props.value.film, index });
  if (turn !== asked) return;
  if (found.maps) await show(found);
  else say(found.message);
}

lay();
stageInput.addEventListener("input", drawStage);
strengthInput.addEventListener("input", paint);
frameInput.addEventListener("input", seek);
canvas.addEventListener("pointermove", pointAt);
canvas.addEventListener("pointerdown", pointAt);
canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && ((place = null), point()));
canvas.addEventListener("keydown", moveCross);
canvas.addEventListener("blur", point);
watch("value", update);
update();
