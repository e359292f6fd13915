"""Pieces of generated text -> finished sentences, each as soon as it is finished."""

import re

from knowledge.sentences import sentence_spans

_LEAD = re.compile(r"\s*(?:(?:[-*+•]|\d{1,2}[.)])\s+|#{1,6}\s+)?")
# Code (kept), or [2], [Passage 1, 3], (source 2). A bare [1, 3] is left alone: in a course it is more often a vector.
_CODE_OR_CITATION = re.compile(
    r"(```.*|`[^`\n]*`)"
    r"|\s*(?:(?<!\b\w)\[[1-9]\d?\]|[\[(](?:passage|source)s?\s+[1-9]\d?(?:\s*(?:,|-|–|and)\s*[1-9]\d?)*[\])])",
    re.IGNORECASE | re.DOTALL,
)
_FENCE = "```"


class SentenceBuffer:
    """Collects generated text; `feed` and `finish` return (lead, sentence) pairs.

    The lead is the white space and list mark before a sentence. A fenced code block counts as one sentence. Citations that
    the model wrote are removed: they are not evidence of anything. How the text is cut into pieces makes no difference.
    """

    def __init__(self) -> None:
        self._text = ""

    def feed(self, piece: str) -> list[tuple[str, str]]:
        """Sentences that this piece completes."""
        self._text += piece
        done = []
        while (end := self._first_end()) is not None:
            done.append(self._text[:end])
            self._text = self._text[end:]
        return _split(done)

    def finish(self) -> list[tuple[str, str]]:
        """What is left when the model has ended."""
        rest, self._text = self._text, ""
        ends = [len(rest)] if _FENCE in rest else [end for _, end in sentence_spans(rest)]
        return _split([rest[a:b] for a, b in zip([0, *ends], ends, strict=False)])

    def _first_end(self) -> int | None:
        fence = self._text.find(_FENCE)
        spans = sentence_spans(self._text if fence < 0 else self._text[:fence])
        if fence >= 0:
            if spans:
                return spans[0][1]
            close = self._text.find(_FENCE, fence + len(_FENCE))
            return close + len(_FENCE) if close >= 0 else None
        if spans and (len(spans) > 1 or self._text.endswith("\n\n")) and not self._inside_code(spans[0][1]):
            return spans[0][1]
        return None

    def _inside_code(self, position: int) -> bool:
        """Whether a code span that is still open on this line may reach over the position."""
        line = self._text[self._text.rfind("\n", 0, position) + 1 : position]
        return line.count("`") % 2 == 1 and "\n" not in self._text[position:]


def _split(parts: list[str]) -> list[tuple[str, str]]:
    pairs = []
    for part in parts:
        lead = _LEAD.match(part)
        cut = lead.end() if lead else 0
        sentence = _CODE_OR_CITATION.sub(lambda found: found[1] or "", part[cut:]).strip()
        if sentence:
            pairs.append((part[:cut], sentence))
    return pairs
