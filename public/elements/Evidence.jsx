// The sources of one answer, above it. State comes from the message's metadata; see assistant/web/show.py.
import { useEffect, useRef } from "react";
import { useRecoilValue, useSetRecoilState } from "recoil";
import { messagesState, sideViewState } from "@chainlit/react-client";

const STATUS = {
  loading: "Loading the model. The first question has to wait for it.",
  searching: "Searching the course",
  reading: "Reading the sources",
};
const COLD = "From the best sentences only: the section has not been read in full yet.";
const LINK = 'a[href^="#quote-"]';

// Custom elements cannot import one another, so each has its own.
function find(messages, id) {
  for (const message of messages) {
    const found = message.id === id ? message : find(message.steps || [], id);
    if (found) return found;
  }
}

const where = ({ heading, page, cell }) =>
  [heading.at(-1), page && `page ${page}`, cell && `cell ${cell}`].filter(Boolean).join(", ");

export default function Evidence() {
  const message = find(useRecoilValue(messagesState), props.message);
  const setSideView = useSetRecoilState(sideViewState);
  const box = useRef(null);
  const turn = useRef({});
  turn.current = message?.metadata || {};
  const { phase, passages = [], foremost = 0, cold, quotes = {}, refused, warnings = [], leftOut = [] } = turn.current;

  const open = (key, number, text) => {
    const place = turn.current.passages.find((passage) => passage.number === number);
    const element = { id: `${props.message}-${key}`, type: "custom", name: "SourcePassage", display: "side" };
    setSideView({ title: `Source ${number}`, elements: [{ ...element, props: { ...place, text } }] });
  };

  // Citations are plain links in the answer's Markdown; this is where they lead.
  useEffect(() => {
    const content = box.current?.closest(".message-content");
    const follow = (event) => {
      const link = event.target.closest(LINK);
      if (!link) return;
      event.preventDefault();
      const key = link.getAttribute("href").slice("#quote-".length);
      const quote = turn.current.quotes?.[key];
      if (quote) open(key, quote.number, quote.text);
    };
    content?.addEventListener("click", follow);
    return () => content?.removeEventListener("click", follow);
  }, []);

  const cited = new Set(Object.values(quotes).map((quote) => quote.number));
  const finished = phase === "done" && !refused;
  const listed = passages.filter(({ number }) => number <= foremost || cited.has(number));
  const folded = passages.filter((passage) => !listed.includes(passage));
  const row = (passage) => (
    <li key={passage.number} className={finished && !cited.has(passage.number) ? "unused" : ""}>
      <button
        type="button"
        disabled={!passage.text}
        onClick={() => open(`passage-${passage.number}`, passage.number, passage.text)}
      >
        <span className="number">{passage.number}</span>
        <span className="title">{passage.title}</span>
        <span className="where">{where(passage)}</span>
      </button>
    </li>
  );
  return (
    <div ref={box} className="lectern-evidence" data-phase={phase}>
      {warnings.map((warning) => (
        <p key={warning} role="note" className="lectern-warning">
          {warning}
        </p>
      ))}
      {passages.length > 0 && (
        <section aria-label="Sources of this answer">
          <h2>{refused ? "Nearest passages" : "Sources"}</h2>
          <ol>{listed.map(row)}</ol>
          {folded.length > 0 && (
            <details>
              <summary>{folded.length === 1 ? "1 more passage" : `${folded.length} more passages`}</summary>
              <ol>{folded.map(row)}</ol>
            </details>
          )}
          {leftOut.length > 0 && <p className="note">Not in the course, it seems: {leftOut.join(" / ")}</p>}
          {cold && <p className="note">{COLD}</p>}
        </section>
      )}
      {STATUS[phase] && (
        <p role="status" className="lectern-status">
          {STATUS[phase]}
        </p>
      )}
    </div>
  );
}
