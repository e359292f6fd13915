// The side panel with the documents of the course; see assistant/web/sources.py.
import { useState } from "react";

const count = (number, noun) => `${number.toLocaleString("en-GB")} ${noun}${number === 1 ? "" : "s"}`;

export default function Sources() {
  const [documents, setDocuments] = useState(props.documents);
  const [asked, setAsked] = useState(null); // the source whose removal waits for a yes
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const [filter, setFilter] = useState("");

  const remove = async (source) => {
    setBusy(true);
    try {
      const { response } = await callAction({ name: "remove_source", payload: { source } });
      setProblem(response ? response.problem : "It could not be removed. The terminal shows why.");
      if (response) setDocuments(response.documents);
    } catch (error) {
      setProblem(String(error));
    } finally {
      setBusy(false);
      setAsked(null);
    }
  };

  const wanted = filter.trim().toLowerCase();
  const shown = documents.filter(({ title, source }) => `${title} ${source}`.toLowerCase().includes(wanted));
  const passages = documents.reduce((sum, { passages }) => sum + passages, 0);
  return (
    <section className="lectern-sources">
      <p className="total">
        {count(documents.length, "document")}, {count(passages, "passage")}. Drop files on the page to add to them.
      </p>
      {documents.length > 8 && (
        <input
          type="search"
          aria-label="Filter the documents"
          placeholder="Filter"
          value={filter}
          onChange={(event) => setFilter(event.target.value)}
        />
      )}
      {problem && <p role="alert">{problem}</p>}
      <ul>
        {shown.map(({ source, title, passages }) => (
          <li key={source}>
            <div>
              <span className="title">{title}</span>
              <span className="path">{source}</span>
              <span className="count">{count(passages, "passage")}</span>
            </div>
            {asked === source ? (
              <span className="confirm">
                <button type="button" className="danger" disabled={busy} onClick={() => remove(source)} autoFocus>
                  Remove for good
                </button>
                <button type="button" disabled={busy} onClick={() => setAsked(null)}>
                  Keep
                </button>
              </span>
            ) : (
              <button type="button" disabled={busy} aria-label={`Remove ${title}`} onClick={() => setAsked(source)}>
                Remove
              </button>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}
