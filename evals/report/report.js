"use strict";
// Filtering, and passages where they are wanted. Everything else works without a script.
const form = document.querySelector(".filter");
const samples = [...document.querySelectorAll(".sample")];
const texts = new Map();

function textOf(sample) {
  if (!texts.has(sample)) texts.set(sample, sample.textContent.toLowerCase());
  return texts.get(sample);
}

function apply() {
  const wanted = new FormData(form);
  const words = wanted.get("words").toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const sample of samples) {
    const fits =
      (!wanted.get("task") || sample.dataset.task === wanted.get("task")) &&
      (!wanted.get("outcome") || sample.dataset.outcomes.split(" ").includes(wanted.get("outcome"))) &&
      words.every((word) => textOf(sample).includes(word));
    sample.hidden = !fits;
    shown += fits;
  }
  form.querySelector("output").textContent = `${shown} of ${samples.length} shown`;
}

function step(by) {
  const shown = samples.filter((sample) => !sample.hidden);
  const now = shown.findIndex((sample) => sample.contains(document.activeElement));
  const next = shown[now < 0 ? (by > 0 ? 0 : shown.length - 1) : now + by];
  if (next) next.querySelector("summary").focus();
}

function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  if (target) target.scrollIntoView();
}

if (form) {
  form.hidden = false;
  document.querySelector(".unfiltered").hidden = true;
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply(); // the browser may have kept what was chosen before
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const writing = event.target.matches("input[type=search], select");
    if (event.key === "Escape" && writing) event.target.blur();
    if (writing) return;
    if (event.key === "/") {
      event.preventDefault();
      form.elements.words.focus();
    } else if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
  });
}

document.addEventListener(
  "toggle",
  ({ target }) => {
    const key = target.dataset.passage;
    if (!key || !target.open) return;
    target.querySelector(".text").textContent = document.getElementById(key).querySelector(".text").textContent;
    delete target.dataset.passage;
  },
  true,
);
window.addEventListener("hashchange", reveal);
reveal();
