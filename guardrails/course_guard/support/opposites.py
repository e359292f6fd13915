"""Words that say the opposite of each other, in what courses talk about. Written for Lectern."""

import re
from collections.abc import Mapping

_OPPOSITES = """
increase decrease|increases decreases|increased decreased|increasing decreasing|rise fall|rises falls|rising falling|rose fell
raise lower|raises lowers|raised lowered|raising lowering|grow shrink|grows shrinks|growing shrinking|gain loss|gains losses
more less|more fewer|most least|larger smaller|large small|largest smallest|bigger smaller|higher lower|high low|highest lowest
longer shorter|long short|longest shortest|faster slower|fast slow|better worse|best worst|strong weak|stronger weaker
early late|earlier later|before after|above below|over under|upper lower|maximum minimum|maximise minimise|maximises minimises
maximising minimising|positive negative|positives negatives|optimistic pessimistic|with without|inside outside|true false
right wrong|correct incorrect|correct wrong|supported unsupported|supervised unsupervised|labelled unlabelled|linear nonlinear
possible impossible|able unable|same different|similar dissimilar|equal unequal|symmetric asymmetric|convex concave
input output|inputs outputs|encoder decoder|encoders decoders|training test|training validation|precision recall|bias variance
overfit underfit|overfitting underfitting|vanishing exploding|sparse dense|row column|rows columns|first last|forward backward
forward reverse|relative absolute|direct indirect|intrinsic extrinsic|open closed|start end|starts ends|begins ends|add remove
adds removes|include exclude|includes excludes|allow forbid|allows forbids|allow prevent|allows prevents|accept reject
accepts rejects|help hurt|helps hurts|helped hurt|improve worsen|improves worsens|improve harm|success failure|easy hard
easier harder|simple complex|cheap expensive|cheaper dearer|cheaper costlier|safe dangerous|rich poor|hot cold|warm cool
old young|older younger|new old|male female|men women|win lose|won lost|buy sell|import export|north south|east west|left right
legal illegal|public private|major minor|majority minority|often rarely|often seldom|usually rarely|always never|common rare
frequent rare|present absent|internal external|physical mental|acute chronic|benign malignant|active passive|static dynamic
local global|odd even|discrete continuous|trainable frozen|masked unmasked|penalised unpenalised|favours hinders
encourage discourage|encourages discourages|rewarded punished|many few|close far|near far|deep shallow|narrow wide
robust sensitive|accurate inaccurate|additive multiplicative|parallel sequential|lighter darker|agree disagree|covered uncovered
"""


def _both_ways(table: str) -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for pair in re.split(r"[|\n]", table.strip()):
        one, other = pair.split()
        found.setdefault(one, set()).add(other)
        found.setdefault(other, set()).add(one)
    return {word: frozenset(others) for word, others in found.items()}


OPPOSITES = _both_ways(_OPPOSITES)
