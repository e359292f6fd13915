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
