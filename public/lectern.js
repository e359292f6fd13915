// What Chainlit has no setting for. Runs before the page is built.

// Follow the system's colours until the reader chooses.
if (!localStorage.getItem("vite-ui-theme")) localStorage.setItem("vite-ui-theme", "system");

// The header's "Sources": Chainlit passes window messages to the server (assistant/web/sources.py).
document.addEventListener("click", (event) => {
  if (!event.target.closest('a[href$="#sources"]')) return;
  event.preventDefault();
  window.postMessage("lectern:sources", window.location.origin);
});

// Escape closes the side panel, as it closes dialogs.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || document.querySelector("[role=dialog], [role=menu], [role=listbox]")) return;
  document.querySelector("#side-view-title button")?.click();
});

// A copied answer cites as [1], not with the links that citations are on this page. No clipboard: the page came over plain
// HTTP from another machine.
const clipboard = navigator.clipboard;
if (clipboard?.write) {
  const write = clipboard.write.bind(clipboard);
  clipboard.write = async (items) => write(await Promise.all(items.map(readable)));
}

async function readable(item) {
  const blobs = await Promise.all(item.types.map(async (type) => [type, await item.getType(type)]));
  const content = Object.fromEntries(blobs);
  const text = await content["text/plain"].text();
  const plain = text.replace(/\u2060?\[(\d+)\]\(#quote-[^)]*\)/g, " [$1]").replace(/\\([:$])/g, "$1");
  return new ClipboardItem({ ...content, "text/plain": new Blob([plain], { type: "text/plain" }) });
}

// The microphone: what Chainlit's recorder and player need, and the line that says who is at work. The server's side of it is
// assistant/web/microphone.py.
const STATES = {
  loading: "Listening; the first time takes a moment",
  listening: "Listening. Press the microphone, or P, when you have asked.",
  handsFree: "Listening. A pause ends your question.",
  thinking: "Thinking",
  speaking: "Speaking",
};
const PROBLEMS = {
  insecure:
    "Browsers give the microphone only to pages that come over https, or from this machine (localhost). " +
    "Type your question, or ask whoever runs Lectern for an https address.",
  NotAllowedError: "The browser was told to give no microphone. Allow it beside the page's address, then press again.",
  NotFoundError: "There is no microphone. Connect one, then press again.",
  NotReadableError: "Another program has the microphone. Close it, then press again.",
  lost: "The connection was lost, and what you said with it. Press the microphone and ask again.",
};
const voice = { player: null, state: "idle", problem: "", line: null };

function drawVoice(change) {
  Object.assign(voice, change);
  const { line, state, problem } = voice;
  if (!line) return;
  const [said, alarm, stop] = line.children;
  const text = STATES[state] || "";
  if (said.textContent !== text) said.textContent = text; // or screen readers would say it again
  if (alarm.textContent !== problem) alarm.textContent = problem;
  stop.textContent = problem ? "Close" : "Stop";
  stop.hidden = !problem && !["thinking", "speaking"].includes(state);
  line.dataset.state = problem ? "problem" : state;
  const input = document.querySelector("#message-composer")?.getBoundingClientRect();
  if (!input) return;
  line.style.left = `${input.left + input.width / 2}px`;
  line.style.bottom = `${window.innerHeight - input.top + 10}px`;
}

function hush() {
  voice.player?.interrupt();
  window.postMessage("lectern:hush", window.location.origin);
  drawVoice({ state: "idle" });
}

// Ours is the first listener, so Chainlit's does not send the server's own words back to it.
window.addEventListener("message", (event) => {
  if (event.source !== window || event.data?.lectern !== "voice") return;
  event.stopImmediatePropagation();
  const { state, handsFree, problem, latency } = event.data;
  if (problem) drawVoice({ problem: PROBLEMS[problem] || problem });
  drawVoice({ state: handsFree && state === "listening" ? "handsFree" : state, latency: latency || voice.latency });
});
window.addEventListener("resize", () => drawVoice({}));
// Chainlit's button has a picture only.
document.addEventListener("focusin", ({ target }) => {
  if (target.matches("#message-composer button:not([id]):has(svg)")) target.setAttribute("aria-label", "Microphone");
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && voice.state === "speaking") hush();
});

document.addEventListener("DOMContentLoaded", () => {
  voice.line = document.createElement("div");
  voice.line.id = "lectern-voice";
  voice.line.innerHTML = '<span role="status"></span><span role="alert"></span><button type="button"></button>';
  voice.line.lastChild.addEventListener("click", () => (voice.problem ? drawVoice({ problem: "" }) : hush()));
  document.body.append(voice.line);
  drawVoice({ state: "idle" });
  if (window.WavRecorder && window.WavStreamPlayer) mendAudio(window.WavRecorder.prototype, window.WavStreamPlayer.prototype);
});

function mendAudio(recorder, player) {
  const { begin, end } = recorder;
  recorder.begin = async function (...options) {
    drawVoice({ problem: "" });
    try {
      return await begin.apply(this, options);
    } catch (error) {
      const why = window.isSecureContext ? error.cause?.name : "insecure";
      drawVoice({ problem: PROBLEMS[why] || `The microphone could not be opened: ${error.message}.` });
      throw error;
    }
  };
  // Chainlit's own loses the last words, throws where nothing had begun or is about to end, and leaves its audio context open.
  recorder.end = async function () {
    if (!this.processor || this.ending) return;
    this.ending = true;
    const rest = this._chunkProcessorBuffer;
    this._chunkProcessorBuffer = { raw: new ArrayBuffer(0), mono: new ArrayBuffer(0) };
    if (rest.mono.byteLength) this._chunkProcessor(rest);
    const { context } = this.source;
    try {
      await end.call(this);
      await context.close();
    } finally {
      this.ending = false;
    }
  };
  const { connect } = player;
  player.connect = async function () {
    voice.player = this;
    return this.context?.state === "running" || connect.call(this);
  };
}
