// The side panel with a passage in its place in the document, the cited words marked.
import { useEffect, useRef } from "react";
import { Markdown } from "@/components/markdown";

const MARKS = /([\u2e28\u2e29])/; // as in assistant/web/marking.py

function mark(root) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) texts.push(walker.currentNode);
  let inside = false;
  for (const text of texts) {
    const parts = text.data.split(MARKS);
    const drawable = !text.parentElement.closest(".katex");
    const nodes = [];
    for (const part of parts) {
      if (MARKS.test(part)) {
        inside = part === "\u2e28";
      } else if (inside && drawable && part.trim()) {
        const node = document.createElement("mark");
        node.textContent = part;
        nodes.push(node);
      } else {
        nodes.push(part);
      }
    }
    if (drawable) text.replaceWith(...nodes);
  }
}

export default function SourcePassage() {
  const drawn = useRef(null);
  const page = useRef(null);
  const { title, heading, page: pageNumber, cell, source, text } = props;

  useEffect(() => {
    // A copy, because React must not find its own text nodes split.
    page.current.innerHTML = drawn.current.innerHTML;
    mark(page.current);
    page.current.querySelector("mark")?.scrollIntoView({ block: "center" });

    const opener = document.activeElement;
    document.querySelector("#side-view-title button")?.setAttribute("aria-label", "Close the source");
    return () => opener?.isConnected && opener.focus({ preventScroll: true });
  }, []);

  const place = [...heading, pageNumber && `Page ${pageNumber}`, cell && `Cell ${cell}`].filter(Boolean);
  return (
    <article className="lectern-source">
      <header>
        <h2>{title}</h2>
        {place.length > 0 && <p className="place">{place.join(" › ")}</p>}
        <p className="path">{source}</p>
      </header>
      <div ref={drawn} hidden>
        <Markdown renderMarkdown latex>
          {text}
        </Markdown>
      </div>
      <div ref={page} className="page" />
    </article>
  );
}
