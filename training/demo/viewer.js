// Runs once, when gradio has laid out viewer.html. It gives: element, props, server, watch.
// props.value is a prediction (viewer.py), props.classes and props.heads are the model's.
const root = element.querySelector(".dpn-viewer");
const find = (selector) => root.querySelector(selector);
const [image, canvas, cross, tip] = ["img", "canvas", ".cross", ".tip"].map(find);
const [frameInput, headInput, strengthInput] = ["frames", "heads", "strength"].map((name) => find(`.${name} input`));
const { classes, heads } = props;
const rgb = (color) => `rgb(${color.join(",")})`;

let prediction = null; // of the image or frame that is shown
let maps = []; // of each head: labels and confidences, one byte per pixel
let position = null; // [x, y] of the pixel pointed at
let chosen = null; // the class that is highlighted: clicked on, or only hovered over in the legend
let hovered = null;
let request = 0; // late responses are dropped

async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function show(value) {
  const current = ++request;
  const inflated = await Promise.all(value.maps.map(inflate));
  if (current !== request) return;
  prediction = value;
  const pixels = value.width * value.height;
  maps = inflated.map((map) => ({ labels: map.subarray(0, pixels), confidences: map.subarray(pixels) }));
  image.src = value.image;
  image.alt = value.name;
  canvas.width = value.width;
  canvas.height = value.height;
  // As wide as possible, but not taller than most of the window.
  const figure = find(".figure");
  figure.style.aspectRatio = `${value.width} / ${value.height}`;
  figure.style.maxWidth = `calc(62vh * ${value.width / value.height})`;
  if (position && (position[0] >= value.width || position[1] >= value.height)) position = null;
  find(".name").textContent = value.name;
  find(".note").textContent = value.note;
  drawHead();
}

function drawHead() {
  const index = Number(headInput.value);
  const { labels } = maps[index];
  const counts = new Array(256).fill(0);
  for (const label of labels) counts[label]++;
  classes.forEach(({ name }, label) => {
    const button = find(`.legend li:nth-child(${label + 1}) button`);
    button.disabled = !counts[label];
    button.querySelector("b").textContent = percent(counts[label] / labels.length);
  });
  find(".heads output").textContent = heads[index].title;
  headInput.setAttribute("aria-valuetext", heads[index].title);
  root.querySelectorAll(".ticks button").forEach((b, i) => b.setAttribute("aria-pressed", i === index));
  const link = find(".download");
  link.href = `data:image/png;base64,${prediction.files[index]}`;
  link.download = `${prediction.name}_${heads[index].name}.png`;
  colorize();
  point();
}

function percent(fraction) {
  if (!fraction) return "–";
  return fraction < 0.001 ? "<0.1%" : `${(100 * fraction).toFixed(1)}%`;
}

function colorize() {
  const { labels } = maps[Number(headInput.value)];
  const picked = hovered ?? chosen;
  const overlay = new ImageData(prediction.width, prediction.height);
  const colors = new Uint32Array(classes.length);
  classes.forEach(({ color }, label) => {
    const opacity = picked === null || picked === label ? 255 : 30;
    new Uint8Array(colors.buffer, 4 * label).set([...color, opacity]);
  });
  const pixels = new Uint32Array(overlay.data.buffer);
  labels.forEach((label, i) => (pixels[i] = colors[label]));
  canvas.getContext("2d").putImageData(overlay, 0, 0);
  canvas.style.opacity = strengthInput.value / 100;
  find(".strength output").textContent = `${strengthInput.value}%`;
}

function point() {
  cross.classList.toggle("on", Boolean(position) && document.activeElement === canvas && canvas.matches(":focus-visible"));
  tip.classList.toggle("on", Boolean(position));
  root.querySelectorAll(".legend .pointed").forEach((button) => button.classList.remove("pointed"));
  if (!position) return;
  const [x, y] = position;
  const { labels, confidences } = maps[Number(headInput.value)];
  const i = y * prediction.width + x;
  const label = classes[labels[i]];
  const words = confidences.length ? `${label.name} ${confidences[i]}%` : label.name;
  tip.querySelector("i").style.background = rgb(label.color);
  tip.querySelector("span").textContent = words;
  find(".readout").textContent = `${words} at x ${x}, y ${y}`;
  find(`.legend li:nth-child(${labels[i] + 1}) button`).classList.add("pointed");
  const { width, height } = canvas.getBoundingClientRect();
  const [left, top] = [((x + 0.5) / prediction.width) * width, ((y + 0.5) / prediction.height) * height];
  cross.style.left = `${left}px`;
  cross.style.top = `${top}px`;
  tip.style.left = `${Math.min(left + 16, width - tip.offsetWidth - 4)}px`;
  tip.style.top = `${top + 20 + tip.offsetHeight < height ? top + 16 : top - 16 - tip.offsetHeight}px`;
}

function pointAt(event) {
  const box = canvas.getBoundingClientRect();
  const inside = (value, count) => Math.max(0, Math.min(count - 1, Math.floor(value * count)));
  position = [
    inside((event.clientX - box.left) / box.width, prediction.width),
    inside((event.clientY - box.top) / box.height, prediction.height),
  ];
  point();
}

function moveCross(event) {
  const step = event.shiftKey ? 10 : 1;
  const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
  if (!move) return;
  event.preventDefault();
  const [x, y] = position ?? [prediction.width >> 1, prediction.height >> 1];
  position = [
    Math.max(0, Math.min(prediction.width - 1, x + move[0])),
    Math.max(0, Math.min(prediction.height - 1, y + move[1])),
  ];
  point();
}

function pick(label, event) {
  if (event === "click") chosen = chosen === label ? null : label;
  else hovered = label;
  root.querySelectorAll(".legend button").forEach((b, i) => b.setAttribute("aria-pressed", i === chosen));
  colorize();
}

function build() {
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
  headInput.max = heads.length - 1;
  headInput.value = heads.length - 1;
  root.toggleAttribute("data-heads", heads.length > 1);
  heads.forEach(({ tick }, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = tick;
    button.addEventListener("click", () => ((headInput.value = index), drawHead()));
    find(".ticks").append(button);
  });
}

function showMessage(text) {
  root.dataset.state = text ? "message" : "empty";
  find(".message").textContent = text ?? "";
}

async function update() {
  const value = props.value;
  request++;
  find(".figure").setAttribute("aria-busy", "false");
  if (!value?.maps) return showMessage(value?.message);
  position = chosen = hovered = null;
  find(".readout").textContent = "Point at the image, touch it, or use the arrow keys.";
  frameInput.max = (value.frames || 1) - 1;
  frameInput.value = 0;
  find(".frames output").textContent = `1 of ${value.frames}`;
  root.toggleAttribute("data-video", Boolean(value.frames));
  await show(value);
  root.dataset.state = "prediction";
  // On a phone it may be below the examples.
  if (root.getBoundingClientRect().top > 0.6 * innerHeight) root.scrollIntoView({ behavior: "smooth" });
}

async function seek() {
  const index = Number(frameInput.value);
  const current = ++request;
  find(".frames output").textContent = `${index + 1} of ${props.value.frames}`;
  const figure = find(".figure");
  figure.setAttribute("aria-busy", "true");
  let value;
  try {
    value = await server.read_frame({ video: props.value.video, index });
  } catch {
    value = { message: "The server doesn't answer. Load the page again, or start keras-dpn demo again." };
  }
  if (current !== request) return;
  if (value.maps) await show(value);
  else showMessage(value.message);
  figure.setAttribute("aria-busy", "false");
}

build();
headInput.addEventListener("input", drawHead);
strengthInput.addEventListener("input", colorize);
frameInput.addEventListener("input", seek);
canvas.addEventListener("pointermove", pointAt);
canvas.addEventListener("pointerdown", pointAt);
canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && ((position = null), point()));
canvas.addEventListener("keydown", moveCross);
canvas.addEventListener("blur", point);
watch("value", update);
update();
