// Progress of an ingest; see assistant/web/upload.py.
import { useRecoilValue } from "recoil";
import { messagesState } from "@chainlit/react-client";

function find(messages, id) {
  for (const message of messages) {
    const found = message.id === id ? message : find(message.steps || [], id);
    if (found) return found;
  }
}

const remaining = (seconds) =>
  seconds < 90 ? `about ${Math.max(1, Math.round(seconds))} s left` : `about ${Math.round(seconds / 60)} min left`;

export default function Ingest() {
  const { phase, progress } = find(useRecoilValue(messagesState), props.message)?.metadata || {};
  if (phase !== "reading") return <span className="lectern-report" hidden />;
  if (!progress) return <p className="lectern-status">Adding to the course</p>;
  const { done_files, total_files, file, passages, passages_per_s, remaining_s } = progress;
  const facts = [
    `${done_files} of ${total_files} files`,
    passages > 0 && `${passages} passages, ${Math.round(passages_per_s)} a second`,
    remaining_s != null && remaining(remaining_s),
  ];
  return (
    <div className="lectern-ingest" role="status">
      <p className="file">{file}</p>
      {done_files > 0 ? <progress value={done_files} max={total_files} /> : <progress />}
      <p className="facts">{facts.filter(Boolean).join(" · ")}</p>
    </div>
  );
}
