// What stands below one answer: topics after a refusal, sentences that were left out, how the answer ended.
import { useRecoilValue } from "recoil";
import { loadingState, messagesState } from "@chainlit/react-client";
import { Markdown } from "@/components/markdown";

function find(messages, id) {
  for (const message of messages) {
    const found = message.id === id ? message : find(message.steps || [], id);
    if (found) return found;
  }
}

const asQuestion = (topic) => (topic.trim().endsWith("?") ? topic : `What does the course say about ${topic}?`);

export default function Afterword() {
  const turn = find(useRecoilValue(messagesState), props.message)?.metadata || {};
  const busy = useRecoilValue(loadingState);
  const { phase, refused, stopped, suggestions = [], dropped = [], seconds, model } = turn;
  return (
    <div className="lectern-afterword" data-refused={refused || undefined}>
      {suggestions.length > 0 && (
        <nav aria-label="Nearest topics of the course">
          <h2>Nearest in the course</h2>
          {suggestions.map((topic) => (
            <button key={topic} type="button" disabled={busy} onClick={() => sendUserMessage(asQuestion(topic))}>
              {topic}
            </button>
          ))}
        </nav>
      )}
      {dropped.length > 0 && (
        <details>
          <summary>
            {dropped.length === 1 ? "1 sentence was left out" : `${dropped.length} sentences were left out`}
          </summary>
          <ul>
            {dropped.map((sentence, index) => (
              <li key={index}>
                <Markdown renderMarkdown latex>
                  {sentence.text}
                </Markdown>
                <p>{sentence.reason}</p>
              </li>
            ))}
          </ul>
        </details>
      )}
      {phase === "done" && (
        <p className="lectern-end">
          {[stopped && "Stopped", seconds > 0 && `${seconds} s`, model].filter(Boolean).join(" · ")}
        </p>
      )}
    </div>
  );
}
