// What a fresh chat shows: what this is, and questions that the course answers; see `greet` in assistant/app.py.
import { useRecoilValue } from "recoil";
import { loadingState, messagesState } from "@chainlit/react-client";

function find(messages, id) {
  for (const message of messages) {
    const found = message.id === id ? message : find(message.steps || [], id);
    if (found) return found;
  }
}

const count = (number, noun) => `${number.toLocaleString("en-GB")} ${noun}${number === 1 ? "" : "s"}`;

export default function Welcome() {
  const state = find(useRecoilValue(messagesState), props.message)?.metadata || {};
  const busy = useRecoilValue(loadingState);
  const { phase, starters = [], documents, passages, problem, remedy } = state;
  return (
    <section className="lectern-welcome">
      <img src="/public/favicon.svg" alt="" width="52" height="52" />
      <h1>What would you like to understand?</h1>
      <p>Answers come from the course, and every sentence shows its source.</p>
      {phase === "loading" && <p className="lectern-status" role="status">Opening the course</p>}
      {phase === "failed" && (
        <div className="lectern-problem" role="alert">
          <strong>{problem}</strong>
          <span>{remedy}</span>
        </div>
      )}
      {phase === "ready" && starters.length > 0 && (
        <div className="starters">
          {starters.map((question) => (
            <button key={question} type="button" disabled={busy} onClick={() => sendUserMessage(question)}>
              {question}
            </button>
          ))}
        </div>
      )}
      {phase === "ready" && (
        <p className="facts">
          {documents > 0
            ? `${count(documents, "document")}, ${count(passages, "passage")}, all on this machine`
            : "The course is empty. Drop files here, or take the one that ships with Lectern: lectern ingest --starter"}
        </p>
      )}
    </section>
  );
}
