"use strict";
const $ = (id) => document.getElementById(id);
const make = (tag, attributes = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...children);
  return element;
};
let offer = null; // what the server takes
let result = null; // what it said last
const files = new Map(); // by modality

function softmax(logits) {
  const top = Math.max(...logits);
  const powers = logits.map((value) => Math.exp(value - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((value) => value / sum);
}

const mean = (rows) => rows[0].map((_, at) => rows.reduce((sum, row) => sum + row[at], 0) / rows.length);
const chosen = () => result.modalities.filter((name) => $(`use-${name}`).checked);

function showError(text) {
  $("error").textContent = text;
  $("error").hidden = !text;
}

function choose(modality, file) {
  showError("");
  if (file) files.set(modality, file);
  else files.delete(modality);
  $(`name-${modality}`).textContent = file ? `${file.name}, ${(file.size / 1e6).toFixed(2)} MB` : "";
  $("send").disabled = files.size === 0;
}

function addInput(modality) {
  const input = make("input", { type: "file", id: `file-${modality}` });
  const note = modality in offer.computed ? ` (computed from ${offer.computed[modality]}, or given)` : "";
  const label = make("label", { htmlFor: input.id, textContent: modality + note });
  const name = make("div", { id: `name-${modality}`, className: "soft" });
  const zone = make("div", { className: "drop" }, label, input, name);
  input.addEventListener("change", () => choose(modality, input.files[0]));
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    if (event.dataTransfer.files.length) choose(modality, event.dataTransfer.files[0]);
  });
  $("inputs").append(zone);
}

async function read(response) {
  const text = await response.text();
  let content;
  try {
    content = JSON.parse(text);
  } catch {
    throw new Error(`The server answered ${response.status} without saying why.`);
  }
  if (!response.ok) throw new Error(content.error);
  return content;
}

async function send() {
  const size = [...files.values()].reduce((sum, file) => sum + file.size, 0);
  const { upload_bytes: most } = offer.limits;
  showError("");
  if (size > most) {
    showError(`The files have ${(size / 1e6).toFixed(0)} MB; ${(most / 1e6).toFixed(0)} MB at most are taken.`);
    return;
  }
  const form = new FormData();
  files.forEach((file, modality) => form.append(modality, file, file.name));
  $("send").disabled = true;
  $("status").textContent = "The video is being looked at …";
  try {
    result = await read(await fetch("/v1/videos", { method: "POST", body: form }));
    show();
  } catch (error) {
    $("result").hidden = true;
    showError(error instanceof TypeError ? "The server cannot be reached, or broke off: try again." : error.message);
  } finally {
    $("status").textContent = "";
    $("send").disabled = files.size === 0;
  }
}

function chart(title, probabilities) {
  const order = probabilities.map((_, at) => at).sort((a, b) => probabilities[b] - probabilities[a]);
  const rows = result.classes.map((name, at) => {
    const bar = make("div", { className: "bar" });
    bar.style.width = `${100 * probabilities[at]}%`;
    const heading = make("th", { scope: "row", textContent: name });
    const share = make("td", { className: "share", textContent: `${(100 * probabilities[at]).toFixed(1)} %` });
    return make("tr", { className: at === order[0] ? "best" : "" }, heading, make("td", {}, bar), share);
  });
  const shown = order.slice(0, 12).sort((a, b) => a - b);
  return make("table", {}, make("caption", { textContent: title }), make("tbody", {}, ...shown.map((at) => rows[at])));
}

function show() {
  $("result").hidden = false;
  const toggles = result.modalities.map((name) => {
    const box = make("input", { type: "checkbox", id: `use-${name}`, checked: true });
    box.addEventListener("change", update);
    return make("label", {}, box, ` ${name}`);
  });
  $("toggles").replaceChildren(make("legend", { textContent: "Modalities in the sum" }), ...toggles);
  $("about").textContent = `One of ${result.clips} clips, which were drawn from ${result.frames} frames.`;
  const strips = result.modalities.map((name) => {
    const images = result.pictures[name].map((src, at) => make("img", { src, alt: `${name}, frame ${at + 1} of 8` }));
    return make("div", {}, make("h3", { textContent: name }), make("div", { className: "strip" }, ...images));
  });
  $("strips").replaceChildren(...strips);
  update();
  $("answer").focus();
}

function update() {
  const names = chosen();
  const charts = result.modalities.map((name) => chart(name, result.networks[name].probabilities));
  if (names.length) {
    const sum = softmax(mean(names.map((name) => result.networks[name].logits)));
    const best = sum.indexOf(Math.max(...sum));
    $("answer").textContent = `${result.classes[best]}, ${(100 * sum[best]).toFixed(1)} %, by ${names.join(" + ")}`;
    charts.unshift(chart(`sum of ${names.join(" + ")}`, sum));
  } else {
    $("answer").textContent = "No modality is left: switch one on";
  }
  $("charts").replaceChildren(...charts);
  $("timeline").hidden = !result.timeline || !names.length;
  if (!$("timeline").hidden) draw(names);
}

function draw(names) {
  const { begin, end, logits } = result.timeline;
  const rows = begin.map((_, at) => softmax(mean(names.map((name) => logits[name][at]))));
  const canvas = document.querySelector("canvas");
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  [canvas.width, canvas.height] = [width * ratio, height * ratio];
  const style = getComputedStyle(document.documentElement);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.font = "13px system-ui, sans-serif";
  pen.textBaseline = "middle";
  const most = result.classes.map((_, label) => Math.max(...rows.map((row) => row[label])));
  const shown = most.map((_, at) => at).sort((a, b) => most[b] - most[a]).slice(0, 10).sort((a, b) => a - b);
  const [left, step] = [180, (height - 24) / shown.length];
  shown.forEach((label, line) => {
    pen.globalAlpha = 1;
    pen.fillStyle = style.getPropertyValue("--text");
    pen.fillText(result.classes[label], 0, (line + 0.5) * step, left - 8);
    pen.fillStyle = style.getPropertyValue("--bar");
    rows.forEach((row, at) => {
      pen.globalAlpha = 0.04 + 0.96 * row[label];
      const cell = (width - left) / rows.length;
      pen.fillRect(left + at * cell, line * step + 1, Math.ceil(cell), step - 2);
    });
  });
  pen.globalAlpha = 1;
  pen.fillStyle = style.getPropertyValue("--soft");
  const last = end[end.length - 1];
  pen.fillText("0 s", left, height - 10);
  pen.textAlign = "right";
  pen.fillText(`${last.toFixed(1)} s`, width, height - 10);
  const spoken = [];
  rows.forEach((row, at) => {
    const name = result.classes[row.indexOf(Math.max(...row))];
    if (!spoken.length || spoken[spoken.length - 1].name !== name) spoken.push({ name, from: begin[at] });
  });
  $("spoken").textContent = spoken.map(({ name, from }) => `from ${from.toFixed(1)} s ${name}`).join("; ");
  canvas.setAttribute("aria-label", `Probabilities over time: ${$("spoken").textContent}`);
}

async function record() {
  showError("");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
  } catch (error) {
    showError(`The webcam cannot be used (${error.name}): allow it, or choose a file.`);
    return;
  }
  const view = document.querySelector("#camera video");
  const modality = offer.modalities.includes("rgb") ? "rgb" : offer.modalities[0];
  $("record").disabled = true;
  $("camera").hidden = false;
  view.srcObject = stream;
  await view.play();
  const kind = ["video/webm;codecs=vp8", "video/mp4"].find((type) => MediaRecorder.isTypeSupported(type));
  const recorder = new MediaRecorder(stream, kind ? { mimeType: kind } : {});
  const parts = [];
  recorder.ondataavailable = (event) => parts.push(event.data);
  recorder.onstop = () => {
    stream.getTracks().forEach((track) => track.stop());
    $("camera").hidden = true;
    $("record").disabled = false;
    $("status").textContent = "";
    choose(modality, new File(parts, "webcam", { type: recorder.mimeType }));
    send();
  };
  recorder.start();
  for (let left = 5; left > 0; left -= 1) {
    $("status").textContent = `${left} seconds left`;
    await new Promise((done) => setTimeout(done, 1000));
  }
  recorder.stop();
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
$("record").addEventListener("click", record);
window.addEventListener("resize", () => result && !$("timeline").hidden && draw(chosen()));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => result && update());
["dragover", "drop"].forEach((kind) => window.addEventListener(kind, (event) => event.preventDefault()));
fetch("/v1/videos").then(read).then((content) => {
  offer = content;
  const { name, version } = offer.model;
  $("model").textContent = `Model ${name}, version ${version}, of ${offer.classes.length} classes; videos of `
    + `${offer.limits.duration} seconds at most.`;
  offer.modalities.forEach(addInput);
}).catch(() => showError("The server cannot be reached: reload the page."));
