"""Trains the SentencePiece model that ships in git: `python -m experiments.train_tokenizer` (15 s).

The paper: SentencePiece, 32,000 pieces (GATO_SPEC section 1). The corpus is what every CPython has, so anyone can
repeat it; another CPython 3.11 release gives a slightly other model, and a checkpoint carries its own.

python -m experiments.train_tokenizer --corpus='books/**/*.txt' --output=books.model    of one's own text, instead
"""

import glob
import io
import itertools
import pathlib
import re
import sys
from collections.abc import Iterator

import sentencepiece
import tqdm
from absl import flags

from experiments import cli
from gato_jax.errors import GatoError
from gato_jax.tokens import vocabulary
from rlds_builders.text import documents, python_docs

_MODEL = "gato_jax/tokens/text.model"
_OUTPUT = flags.DEFINE_string("output", _MODEL, "Where the model is written; with --corpus it must be named.")
_CORPUS = flags.DEFINE_string(
  "corpus", "", "Text files in UTF-8 as a pattern, ** for any folders; what ships if empty."
)
_TOO_HIGH = re.compile(r"Vocabulary size (?:is )?too high .*?<= (\d+)")


def default_corpus() -> Iterator[str]:
  return itertools.chain(documents.read("python_docs", "train"), python_docs.read_code(), instructions())


def files(pattern: str) -> Iterator[str]:
  """Lines of the files in the order of their names; a line to stderr says how much that is.

  Everything is read once before: SentencePiece would take an error in its iterator for the end of the text.

  Raises:
    GatoError: there is none, or one is not UTF-8.
  """
  paths = sorted(path for path in map(pathlib.Path, glob.glob(pattern, recursive=True)) if path.is_file())
  if not paths:
    raise GatoError(f"--corpus={pattern}: there is no such file; quote the pattern, e.g. --corpus='books/**/*.txt'")
  words = sum(
    len(line.split())
    for path in tqdm.tqdm(paths, desc="corpus", unit="file", leave=False, delay=1)
    for line in _lines(path)
  )
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
  """Sentences of control tasks in BabyAI's language (Chevalier-Boisvert et al. 2019, section 3.2)."""
  kinds = ("ball", "box", "key", "door", "object")
  colours = ("", *(f"{c} " for c in ("red", "green", "blue", "purple", "yellow", "grey")))
  places = ("", " on your left", " on your right", " in front of you", " behind you")
  objects = [f"{a} {c}{k}" for a, c, k in itertools.product(("a", "the"), colours, kinds)]
  clauses = [f"{v} {o}{p}" for v, o, p in itertools.product(("go to", "open", "pick up"), objects, places)]
  clauses += [f"put {a} next to {b}" for a, b in itertools.product(objects, objects)]
  for first, join, second in zip(clauses, itertools.cycle((", then ", " and ", " after you ")), clauses[7:]):
    yield from (first, f"{first}{join}{second}")


def train(texts: Iterator[str]) -> bytes:
  """The model's file.

  Raises:
    GatoError: there is too little text for so many pieces, or no space in it.
  """
  model = io.BytesIO()
  lines = (line for text in texts for line in text.split("\n") if line)  # no piece spans two lines
  try:
    _train(lines, model)
  except RuntimeError as e:
    if not (found := _TOO_HIGH.search(str(e))):
      raise
    raise GatoError(
      f"the corpus has only {int(found[1]):,} different pieces, {vocabulary.TEXT_SIZE:,} are needed: give more text"
    ) from e
  made = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
  if made.decode(made.encode(" ")) != " ":
    raise GatoError("the corpus has no space in it, so that the model could not write one: add a text that has some")
  return model.getvalue()


def _train(lines: Iterator[str], model: io.BytesIO) -> None:
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=lines,
    model_writer=model,
    model_type="bpe",
    vocab_size=vocabulary.TEXT_SIZE,
    byte_fallback=True,  # any text has an encoding, so the unknown piece is never produced
    pad_id=vocabulary.PADDING_ID,
    unk_id=1,
    eos_id=2,
    bos_id=-1,
    user_defined_symbols=["\n", "\t"],  # else they would take byte pieces
    normalization_rule_name="identity",  # this and the next three keep decode(encode(x)) == x
    add_dummy_prefix=False,
    remove_extra_whitespaces=False,
    allow_whitespace_only_pieces=True,
    split_digits=True,
    max_sentence_length=1 << 20,
    num_threads=1,  # the same corpus gives the same bytes
    minloglevel=2,
  )


def main() -> None:
  pattern, output = _CORPUS.value, pathlib.Path(_OUTPUT.value)
  if pattern and _OUTPUT.value == _MODEL:
    raise GatoError(f"--corpus without --output would replace {_MODEL}, which checkpoints share; name another file")
  if not output.parent.is_dir():
    raise GatoError(f"--output={output}: there is no folder {output.parent}")
  output.write_bytes(train(files(pattern) if pattern else default_corpus()))
  print(f"{output}: {vocabulary.TEXT_SIZE:,} pieces, {output.stat().st_size:,} bytes; use it with --config.tokenizer")


if __name__ == "__main__":
  cli.run_without_config(main)
