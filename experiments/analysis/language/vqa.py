"""VQA accuracy: one answer against those of several people (Antol et al. 2015).

The rules that normalise answers are those of that paper's evaluation.
"""

import re
from collections.abc import Sequence

PEOPLE = 10  # who answer each question of VQA; fewer answers are repeated up to this number
_AGREE = 3  # people with the same answer make it right
_ARTICLES = {"a", "an", "the"}
_NUMBERS = {
  word: str(n)
  for n, word in enumerate("zero one two three four five six seven eight nine ten".split())
}
_NUMBERS["none"] = "0"

_DIGIT_COMMA = re.compile(r"(?<=\d),(?=\d)")
# A period before a digit is a decimal point.
_PERIOD = re.compile(r"\.(?!\d)")
# An apostrophe and a colon stay: girl's, 2:50.
_PUNCTUATION = re.compile(r"[;/\[\]\"{}()=+\\_\-><@`,?!]")

_CONTRACTIONS = """
  ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
  haven't he'd he'd've he's how'd how'll how's i'd've i'm i've isn't it'd it'd've it'll ma'am
  mightn't mightn't've might've mustn't must've needn't not've o'clock oughtn't shan't she'd've
  should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've
  someone'll someone's something'd something'd've something'll that's there'd there'd've there're
  there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll
  what're what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll
  why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll
  you're you've
""".split()


def _misspellings() -> dict[str, str]:
  """Returns each contraction without one of its apostrophes -> the contraction."""
  words = {}
  for word in _CONTRACTIONS:
    for match in re.finditer("'", word):
      words[word[: match.start()] + word[match.end() :]] = word

  return words


_CORRECTED = _misspellings()


def normalise(answer: str) -> str:
  """Returns an answer as it is compared.

  It is in lower case, without articles, punctuation and periods, with digits for numbers up to ten
  and with the apostrophe of a contraction where one is missing.
  """
  text = _PERIOD.sub("", _DIGIT_COMMA.sub("", answer.lower()))
  words = [_NUMBERS.get(word, word) for word in _PUNCTUATION.sub(" ", text).split()]

  return " ".join(_CORRECTED.get(word, word) for word in words if word not in _ARTICLES)


def accuracy(answer: str, references: Sequence[str]) -> float:
  """Returns the accuracy of an answer, in [0, 1].

  It is min(people with the same answer / 3, 1), averaged over leaving out each person in turn. A
  single reference, as questions about simulators have it, counts as that of ten people: an answer
  is then right or wrong.
  """
  repeats = -(-PEOPLE // len(references))  # rounded up
  people = [normalise(reference) for reference in references] * repeats

  normalised = normalise(answer)
  matching = people.count(normalised)

  # A person who gave the same answer does not count while they are left out.
  scores = [min((matching - (person == normalised)) / _AGREE, 1.0) for person in people]

  return sum(scores) / len(people)
