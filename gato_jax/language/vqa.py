"""VQA accuracy: an answer against those of several people (Antol et al. 2015, and the rules of their evaluation)."""

import re
from collections.abc import Sequence

PEOPLE = 10  # answer each question of VQA; fewer answers are repeated until there are so many
_AGREE = 3  # people who said the same make an answer right
_ARTICLES = {"a", "an", "the"}
_NUMBERS = {word: str(n) for n, word in enumerate("zero one two three four five six seven eight nine ten".split())}
_NUMBERS["none"] = "0"
_DIGIT_COMMA = re.compile(r"(?<=\d),(?=\d)")
_PERIOD = re.compile(r"\.(?!\d)")  # one before a digit is a decimal point
_PUNCTUATION = re.compile(r"[;/\[\]\"{}()=+\\_\-><@`,?!]")  # an apostrophe and a colon stay: girl's, 2:50
_CONTRACTIONS = """
  ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
  he's how'd how'll how's i'd've i'm i've isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't
  must've needn't not've o'clock oughtn't shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll
  somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd
  there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll
  what're what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's
  won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
""".split()
_WITHOUT_ONE = {
  word[:place] + word[place + 1 :]: word
  for word in _CONTRACTIONS
  for place in (match.start() for match in re.finditer("'", word))
}


def normalise(answer: str) -> str:
  """Lower case, no articles, punctuation or periods, digits for numbers up to ten, apostrophes where one is missing."""
  text = _PERIOD.sub("", _DIGIT_COMMA.sub("", answer.lower()))
  words = (_NUMBERS.get(word, word) for word in _PUNCTUATION.sub(" ", text).split())
  return " ".join(_WITHOUT_ONE.get(word, word) for word in words if word not in _ARTICLES)


def accuracy(answer: str, references: Sequence[str]) -> float:
  """min(others who said the same / 3, 1), averaged over leaving out each person; in [0, 1].

  One answer, as questions about simulators have it, counts as ten people's: then it is right or wrong.
  """
  said = [normalise(reference) for reference in references] * -(-PEOPLE // len(references))
  ours = normalise(answer)
  matching = said.count(ours)
  scores = (min((matching - (one == ours)) / _AGREE, 1.0) for one in said)
  return sum(scores) / len(said)
