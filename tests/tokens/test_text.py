"""Text documents of packages in all their formats, and the SentencePiece model in git."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
import sentencepiece

from gato_jax.errors import GatoError
from gato_jax.tokens import vocabulary
from rlds_builders import text
from rlds_builders.base import sources
from rlds_builders.text import documents, python_docs

MODEL = pathlib.Path(vocabulary.__file__).with_name("text.model")


@pytest.fixture(scope="module")
def model() -> sentencepiece.SentencePieceProcessor:
  return sentencepiece.SentencePieceProcessor(model_file=str(MODEL))


@pytest.fixture(scope="module")
def splits() -> dict[str, list[str]]:
  everything, validation = (
    list(python_docs.read()),
    list(documents.read("python_docs", "validation")),
  )
  return {
    "train": [document for document in everything if document not in validation],
    "validation": validation,
  }


def test_model_size(model):
  assert model.get_piece_size() == vocabulary.TEXT_SIZE
  assert model.id_to_piece(vocabulary.PADDING_ID) == "<pad>"
  assert MODEL.stat().st_size < 1.2e6


@pytest.mark.parametrize(
  "string",
  [
    "go to the red ball",
    "",
    " ",
    "  two spaces before, after and  between  ",
    "tab\there\n\n  indented\r\nwindows line\n",
    "日本語と中文，标点。",
    "emoji 😀👩\u200d🚀 e\u0301 ﬁ ½ \u00a0nbsp \ufeff",  # identity: nothing is normalised
    "<pad><unk></s><s><0x0A>",  # control pieces are not read out of text
    "nul \x00 escape \x1b",
    "12345 3.14159 __init__(self, **kwargs)",
  ],
)
def test_round_trip(model, string):
  ids = model.encode(string)
  assert model.decode(ids) == string
  assert not {model.pad_id(), model.unk_id(), model.eos_id()}.intersection(ids)


def test_documents_round_trip(model, splits):
  for document in splits["validation"]:
    ids = model.encode(document)
    assert model.decode(ids) == document
    assert 0 < min(ids) and max(ids) < vocabulary.TEXT_SIZE


def test_instruction_words_are_single_pieces(model):
  sentence = "put the green key next to the purple box, then pick up a yellow ball"
  assert len(model.encode(sentence)) == len(sentence.split()) + 1  # the comma


def test_splits(splits):
  train, validation = set(splits["train"]), set(splits["validation"])
  assert not train & validation
  assert len(train) == len(splits["train"])  # no duplicates
  assert 0.03 < len(validation) / len(train | validation) < 0.08
  assert all(len(document) >= python_docs.MIN_CHARACTERS for document in train)
  assert all(sources.is_validation(document) for document in validation)


def test_domain_reads_training_documents(splits):
  assert next(iter(text.DOMAIN.read_documents("python_docs"))) == splits["train"][0]


def test_unknown_split():
  with pytest.raises(GatoError, match="validation"):
    next(documents.read("python_docs", "test"))


def train_tokenizer(*arguments: str) -> tuple[int, str]:
  done = subprocess.run(
    [sys.executable, "-m", "experiments.train_tokenizer", *arguments],
    capture_output=True,
    text=True,
  )
  return done.returncode, done.stderr.strip().split("\n")[-1]


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["--corpus={0}/few.txt"], "error: --corpus without --output would replace"),
    (
      ["--corpus={0}/no/*.txt", "--output={0}/a.model"],
      "error: --corpus={0}/no/*.txt: there is no such file",
    ),
    (
      ["--corpus={0}/bytes.txt", "--output={0}/a.model"],
      "error: --corpus: {0}/bytes.txt cannot be read as text",
    ),
    (["--corpus={0}/few.txt", "--output={0}/a.model"], "error: the corpus has only "),
    (
      ["--corpus={0}/few.txt", "--output={0}/no/a.model"],
      "error: --output={0}/no/a.model: there is no folder",
    ),
  ],
)
def test_a_tokenizer_that_cannot_be_trained_is_one_line(tmp_path, arguments, message):
  (tmp_path / "few.txt").write_text("only a few words\n")
  (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
  status, said = train_tokenizer(*(argument.format(tmp_path) for argument in arguments))
  assert status == 1 and said.startswith(message.format(tmp_path)), said
  assert not (tmp_path / "a.model").exists()


@pytest.mark.slow
def test_a_tokenizer_of_ones_own_texts(tmp_path):
  letters = np.random.default_rng(0).choice(list("aabcdeeefghiilmnoorstuv"), (12_000, 7))
  words = ["".join(word) for word in letters]
  (tmp_path / "deep").mkdir()
  for part in range(4):
    (tmp_path / "deep" / f"{part}.txt").write_text(" ".join(words[part::4] * 2) + "\n")
  status, said = train_tokenizer(f"--corpus={tmp_path}/**/*.txt", f"--output={tmp_path}/own.model")

  assert status == 0 and said == "corpus: 4 files, 24,000 words", said

  own = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "own.model"))

  assert own.get_piece_size() == vocabulary.TEXT_SIZE

  string = f"{words[0]} {words[1]} 木\n"

  assert own.decode(own.encode(string)) == string and len(own.encode(words[0])) < 4
