"""Trains the SentencePiece models that ship in git: python -m experiments.train_tokenizer (15 s).

The paper's has 32,000 pieces (Reed et al. 2022, section 2.1), and so has ours. Its corpus is what
every CPython has, so that anyone can repeat it; another release of CPython 3.11 gives a slightly
different model, and a checkpoint carries its own. The smaller one, for small networks:
python -m experiments.train_tokenizer --pieces=2048 --output=gato_jax/tokens/text_2k.model

A model of your own text:
python -m experiments.train_tokenizer --corpus='books/**/*.txt' --output=books.model
"""

import glob
import io
import itertools
import pathlib
import re
import sys
from collections.abc import Iterator

import sentencepiece
from absl import flags

from experiments import cli
from gato_jax import progress
from gato_jax.errors import GatoError
from gato_jax.tokens import vocabulary
from rlds_builders.text import documents, python_docs

_MODEL = "gato_jax/tokens/text.model"
_OUTPUT = flags.DEFINE_string(
  "output", _MODEL, "Path that the model is written to; with --corpus it must be given."
)
_CORPUS = flags.DEFINE_string(
  "corpus",
  "",
  "Pattern of the paths of text files in UTF-8, ** for any folders; by default the texts that "
  "ship with Python.",
)
_PIECES = flags.DEFINE_integer(
  "pieces",
  vocabulary.TEXT_SIZE,
  "Number of pieces; a network needs config.model.text_pieces of at least as many.",
  lower_bound=512,
  upper_bound=vocabulary.TEXT_SIZE,
)
_TOO_HIGH = re.compile(r"Vocabulary size (?:is )?too high .*?<= (\d+)")


def default_corpus() -> Iterator[str]:
  """Returns Python's documentation and code, and instructions of control tasks."""
  return itertools.chain(
    documents.read("python_docs", "train"), python_docs.read_code(), instructions()
  )


def files(pattern: str) -> Iterator[str]:
  """Returns the lines of the files in the order of their names, and reports how much that is.

  Everything is read once before the first line is returned: SentencePiece would take an error in
  its iterator for the end of the text.

  Raises:
    GatoError: There is no file, no text in them, or one is not UTF-8.
  """
  paths = sorted(
    path for path in map(pathlib.Path, glob.glob(pattern, recursive=True)) if path.is_file()
  )
  if not paths:
    raise GatoError(
      f"--corpus={pattern}: there is no such file; "
      "quote the pattern, e.g. --corpus='books/**/*.txt'"
    )

  words = 0
  for path in progress.Bar(paths, desc="corpus", unit="file", leave=False, delay=1):
    for line in _lines(path):
      words += len(line.split())
  if not words:
    raise GatoError(f"--corpus={pattern}: there is no text in {len(paths):,} files")

  print(f"corpus: {len(paths):,} files, {words:,} words", file=sys.stderr)
  return (line for path in paths for line in _lines(path))


def _lines(path: pathlib.Path) -> Iterator[str]:
  try:
    with path.open(encoding="utf-8") as file:
      yield from file
  except (UnicodeDecodeError, OSError) as e:
    raise GatoError(f"--corpus: {path} cannot be read as text in UTF-8: {e}") from e


def instructions() -> Iterator[str]:
  """Yields instructions in BabyAI's language (Chevalier-Boisvert et al. 2019, section 3.2)."""
  kinds = ("ball", "box", "key", "door", "object")
  colour_names = ("red", "green", "blue", "purple", "yellow", "grey")
  colours = ("", *(f"{colour} " for colour in colour_names))
  locations = ("", " on your left", " on your right", " in front of you", " behind you")
  verbs = ("go to", "open", "pick up")

  objects = [
    f"{article} {colour}{kind}"
    for article, colour, kind in itertools.product(("a", "the"), colours, kinds)
  ]
  clauses = [
    f"{verb} {name}{location}"
    for verb, name, location in itertools.product(verbs, objects, locations)
  ]
  clauses += [
    f"put {moved} next to {fixed}" for moved, fixed in itertools.product(objects, objects)
  ]

  # Each clause alone, and joined with the one seven further: a neighbour would differ in one word.
  conjunctions = itertools.cycle((", then ", " and ", " after you "))
  for first, conjunction, second in zip(clauses, conjunctions, clauses[7:], strict=False):
    yield first
    yield f"{first}{conjunction}{second}"


def train(texts: Iterator[str], pieces: int) -> bytes:
  """Returns the file of a model of `pieces` pieces that is trained on texts.

  Raises:
    GatoError: There is too little text for so many pieces, or no space in it.
  """
  lines = (line for text in texts for line in text.split("\n") if line)  # no piece spans two lines

  file = io.BytesIO()
  try:
    _train(lines, file, pieces=pieces)
  except RuntimeError as e:
    match = _TOO_HIGH.search(str(e))
    if not match:
      raise
    raise GatoError(
      f"the corpus has only {int(match[1]):,} different pieces, {pieces:,} are "
      "needed: give more text"
    ) from e

  model = sentencepiece.SentencePieceProcessor(model_proto=file.getvalue())
  if model.decode(model.encode(" ")) != " ":
    raise GatoError(
      "the corpus has no space in it, so that the model could not write one: "
      "add a text that has some"
    )

  return file.getvalue()


def _train(lines: Iterator[str], file: io.BytesIO, pieces: int) -> None:
  """Trains a model on lines and writes it into `file`."""
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=lines,
    model_writer=file,
    model_type="bpe",
    vocab_size=pieces,
    # Any text has an encoding, so that the unknown piece is never produced.
    byte_fallback=True,
    pad_id=vocabulary.PADDING_ID,
    unk_id=1,
    eos_id=2,
    bos_id=-1,
    # They would take byte pieces otherwise.
    user_defined_symbols=["\n", "\t"],
    # These four keep decode(encode(text)) == text.
    normalization_rule_name="identity",
    add_dummy_prefix=False,
    remove_extra_whitespaces=False,
    allow_whitespace_only_pieces=True,
    split_digits=True,
    # The default of 4,192 bytes would leave out long lines.
    max_sentence_length=1 << 20,
    # With one thread the same corpus gives the same bytes.
    num_threads=1,
    minloglevel=2,
  )


def main() -> None:
  pattern, output = _CORPUS.value, pathlib.Path(_OUTPUT.value)
  if _OUTPUT.value == _MODEL and (pattern or _PIECES.value != vocabulary.TEXT_SIZE):
    raise GatoError(
      f"--{'corpus' if pattern else 'pieces'} without --output would replace {_MODEL}, which "
      "checkpoints share; name another file"
    )
  if not output.parent.is_dir():
    raise GatoError(f"--output={output}: there is no folder {output.parent}")

  output.write_bytes(train(files(pattern) if pattern else default_corpus(), _PIECES.value))
  print(
    f"{output}: {_PIECES.value:,} pieces, {output.stat().st_size:,} bytes; "
    "use it with --config.tokenizer"
  )


if __name__ == "__main__":
  cli.run_without_config(main)
