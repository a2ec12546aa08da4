"""Text documents and the SentencePiece model that ships in git."""

import pathlib

import pytest
import sentencepiece

from gato_jax.errors import GatoError
from gato_jax.tokens import vocabulary
from rlds_builders import text
from rlds_builders.text import documents

MODEL = pathlib.Path(vocabulary.__file__).with_name("text.model")


@pytest.fixture(scope="module")
def model() -> sentencepiece.SentencePieceProcessor:
  return sentencepiece.SentencePieceProcessor(model_file=str(MODEL))


@pytest.fixture(scope="module")
def splits() -> dict[str, list[str]]:
  return {split: list(documents.read("python_docs", split)) for split in documents.SPLITS}


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
  assert all(len(document) >= documents.MIN_CHARACTERS for document in train)
  assert list(documents.read()) == splits["train"]


def test_domain_reads_training_documents(splits):
  assert next(iter(text.DOMAIN.read_documents("python_docs"))) == splits["train"][0]


def test_unknown_split():
  with pytest.raises(GatoError, match="validation"):
    next(documents.read("python_docs", "test"))
