"""Trains the SentencePiece model that ships in git: `python -m experiments.train_tokenizer` (15 s).

The paper: SentencePiece, 32,000 pieces (GATO_SPEC section 1). The corpus is what every CPython has, so anyone can
repeat it; another CPython 3.11 release gives a slightly other model, and a checkpoint carries its own.
"""

import io
import itertools
import pathlib
from collections.abc import Iterator

import sentencepiece
from absl import app, flags

from gato_jax.tokens import vocabulary
from rlds_builders.text import documents, python_docs

_OUTPUT = flags.DEFINE_string("output", "gato_jax/tokens/text.model", "Where the model is written.")


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


def main(_):
  texts = itertools.chain(documents.read("python_docs", "train"), python_docs.read_code(), instructions())
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=(line for text in texts for line in text.split("\n") if line),  # no piece spans two lines
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
  )
  pathlib.Path(_OUTPUT.value).write_bytes(model.getvalue())


if __name__ == "__main__":
  app.run(main)
