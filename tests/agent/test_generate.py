"""Reading and generating text: `TextGenerator` against the training network, and the verb.

Streams consist of whole characters.
"""

import io
import re
import sys

import jax
import numpy as np
import pytest
import small_network
from absl import flags
from absl.testing import flagsaver
from generation_cases import (
  CONFIG,
  DOCUMENTS,
  TEXT,
  WORDS,
  greedy,
  make_reader,
  picture,
  policy,
  said,
  save,
  trained,
  words,
  write,
)
from PIL import Image

from experiments import cli
from experiments import generate as verb
from experiments.configs import default
from gato_jax import agent, documents
from gato_jax.agent import generation
from gato_jax.domain import DocumentDomain, document_task_spec
from gato_jax.errors import GatoError
from gato_jax.model import cache
from gato_jax.tokens import document_layout, vocabulary


@pytest.fixture(scope="module")
def params():
  return small_network.random_params()


@pytest.fixture(scope="module")
def acting_params(params):
  return cache.acting_params(CONFIG, params)


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("chunk", [generation.CHUNK, 16])
def test_log_probabilities_are_those_of_the_training_network(params, acting_params, name, chunk):
  """Holds for any size of chunk, and whatever was read before the document."""
  one = make_reader(acting_params, chunk)
  one.read(["something else", picture(9)])
  one.forget()
  scores, expected = one.score(DOCUMENTS[name]), trained(params, DOCUMENTS[name])

  np.testing.assert_allclose(scores[1:], expected[1:], atol=1e-4)
  assert expected[1:].std() > 0.5

  if name in ("text", "page"):  # nothing stands before its first token
    assert scores[0] == pytest.approx(-np.log(vocabulary.TEXT_SIZE))
  else:
    assert scores[0] == pytest.approx(expected[0], abs=1e-4)


def test_a_document_read_in_parts_is_the_same_document(params, acting_params):
  one, parts = make_reader(acting_params), DOCUMENTS["question"]
  one.read(parts[:1])
  one.read(parts[1:2])
  answer = one.score(parts[2:])
  np.testing.assert_allclose(answer, trained(params, parts)[-len(answer) :], atol=1e-4)
  assert len(answer) == len(TEXT.encode(" red")) + 1  # and its end


def test_pairs_follow_each_other_as_in_training(params, acting_params):
  """Tokens behind an end token attend to those before it."""
  pairs = (DOCUMENTS["caption"], DOCUMENTS["question"])
  whole = document_layout.join([document_layout.encode(parts, TEXT) for parts in pairs])
  one = make_reader(acting_params)
  scores = np.concatenate([one.score(parts) for parts in pairs])
  np.testing.assert_allclose(scores, trained(params, whole), atol=1e-4)


def test_the_oldest_is_forgotten(acting_params):
  """Two layers reach back twice the memory's 256 positions and no further."""
  one, words = make_reader(acting_params), document_layout.encode([WORDS * 32], TEXT)

  assert len(words.tokens) > 600

  last = []

  for changed in (600, 0, 80, 400, 595):
    words.tokens[changed] = TEXT.encode(" red")[0]
    one.forget()
    last.append(one._read_document(words, scored=True)[601])

  assert last[0] == last[1] == last[2]
  assert last[2] != last[3] != last[4]


@pytest.mark.parametrize("name", ["text", "question"])
def test_the_most_likely_text_is_written_at_temperature_0(params, acting_params, name):
  parts = DOCUMENTS[name][:2]
  written = write(make_reader(acting_params), *parts)
  assert written == greedy(params, parts, 12) and len(set(written)) > 3


def test_a_caption_does_not_begin_as_a_question_does(acting_params, monkeypatch):
  """The token that begins a question is never the first token of a caption.

  It stays allowed further on, even where it is the most likely one.
  """
  network, question = make_reader(acting_params), int(TEXT.encode(documents.ask("what?"))[0])
  network.read([picture(0)])
  row = 99 * acting_params.embedding["tokens"][question][None]
  choose = generation._choose
  monkeypatch.setattr(
    generation, "_choose", lambda params, hidden, *rest: choose(params, row, *rest)
  )

  assert list(network.write(2, 0.0, 0)) == [question, question]

  first, second = network.write(2, 0.0, 0, caption=True)

  assert first != question and second == question


def test_the_seed_decides_what_is_drawn(acting_params):
  network = make_reader(acting_params)
  drawn = {tuple(write(network, WORDS, temperature=0.9, seed=seed)) for seed in (1, 1, 2, 3)}
  assert len(drawn) == 3 and tuple(write(network, WORDS, temperature=0.9, seed=2)) in drawn
  assert len(set(write(network, WORDS, temperature=1e4))) > 8  # each token has noise of its own


def test_draws_follow_the_probabilities_and_are_text(params, acting_params):
  """Compares the frequencies of 500 first tokens, by eighths of likelihood.

  <pad>, <unk> and action tokens are never drawn.
  """
  network, table = make_reader(acting_params), acting_params.embedding["tokens"]

  for wanted in (0, 1, TEXT.end, 40, vocabulary.TEXT_SIZE + 3):  # its own row predicts it
    chosen = int(
      generation._choose(
        acting_params, 99 * table[wanted][None], network._writable, 0.0, jax.random.key(0)
      )
    )
    assert (chosen == wanted) == (wanted in (TEXT.end, 40)) and TEXT.writable[chosen]

  network.read([WORDS])
  state = network._state.hidden
  temperature, keys = 40.0, jax.random.split(jax.random.key(0), 500)

  def draw(key):
    return generation._choose(acting_params, state, network._writable, temperature, key)

  drawn = np.asarray(jax.lax.map(draw, keys))
  scores = (
    np.asarray(state @ acting_params.embedding["tokens"].T)[0, : vocabulary.TEXT_SIZE] / temperature
  )
  expected = np.exp(scores - scores.max()) * TEXT.writable
  expected /= expected.sum()

  assert TEXT.writable[drawn].all() and not TEXT.writable[[0, 1]].any() and TEXT.writable[TEXT.end]

  for part in np.array_split(np.argsort(-expected), 8):
    share = expected[part].sum()
    assert (np.isin(drawn, part)).mean() == pytest.approx(
      share, abs=4 * float(np.sqrt(share / 500))
    )

  assert expected.max() < 0.5


@pytest.mark.parametrize(("drawn", "tokens"), [("red end", 9), ("red", 1)])
@pytest.mark.parametrize("asked", [True, False])
def test_the_end_is_read_once_before_what_follows(
  params, acting_params, monkeypatch, drawn, tokens, asked
):
  """As in training, the next pair stands behind the end token.

  A turn that did not draw an end token can be given one.
  """
  network, parts = make_reader(acting_params), DOCUMENTS["question"]
  (red,) = TEXT.encode(" red")
  choices = iter({"red": red, "end": TEXT.end}[one] for one in drawn.split())
  monkeypatch.setattr(generation, "_choose", lambda *a: next(choices))
  network.read(parts[:2])

  assert list(network.write(tokens, 0.0, 0)) == [red]

  if asked:
    network.end()
  after = network.score(DOCUMENTS["caption"])
  whole = [
    document_layout.encode(parts, TEXT, end=asked or "end" in drawn),
    document_layout.encode(DOCUMENTS["caption"], TEXT),
  ]

  np.testing.assert_allclose(
    after, trained(params, document_layout.join(whole))[-len(after) :], atol=1e-4
  )


def test_nothing_read_nothing_written(acting_params):
  with pytest.raises(GatoError, match="nothing has been read"):
    list(make_reader(acting_params).write(3, 0.0, 0))


@pytest.mark.parametrize("text", ["plain words", "日本 € 😀!", "\ufffd kept \ufffd", "a\n\nb  c"])
def test_a_stream_shows_whole_characters_only(text):
  ids = TEXT.encode(text)
  shown = list(generation.stream(TEXT, ids))
  assert "".join(shown) == text and len(shown) > 1
  if "\ufffd" not in text:
    assert not any("\ufffd" in piece for piece in shown)


def test_a_stream_of_broken_bytes_loses_nothing_and_does_not_wait_for_ever():
  bytes_of = {b: TEXT.encode("\U0001f600").tolist()[i] for i, b in enumerate("\U0001f600".encode())}
  start = bytes_of[0xF0] - 0xF0  # byte pieces stand in a row
  euro, cut = [start + b for b in "€".encode()], [start + 0xF0, start + 0x9F]

  assert list(generation.stream(TEXT, euro)) == ["€"]
  assert "".join(generation.stream(TEXT, [*cut, *TEXT.encode("x")])) == TEXT.decode(
    [*cut, *TEXT.encode("x")]
  )
  assert list(generation.stream(TEXT, cut)) == [TEXT.decode(cut)]  # the end of what was written

  shown, ids = [], iter([start + 0x80] * 9)

  for piece in generation.stream(TEXT, ids):
    shown.append(piece)
    if len(shown) == 3:
      break

  assert len(list(ids)) == 3  # at most three wait


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, params):
  """Checkpoint 5 of a network whose specs say that it was trained on captions."""
  path = tmp_path_factory.mktemp("run")
  domain = DocumentDomain("c", ("d",), 1.0, documents="", document_kind="captions")
  save(path, params, {"c.d": document_task_spec(domain, "d", 64).to_json()})
  return path


@pytest.fixture
def generate(workdir, monkeypatch, capsys):
  """Runs the verb in this process and returns (standard output, standard error)."""

  def run(stdin: str = "", folder=workdir, **settings) -> tuple[str, str]:
    monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
    monkeypatch.setattr(agent, "Policy", policy)  # read once: converting its parameters compiles
    if not flags.FLAGS.is_parsed():
      flags.FLAGS(["generate"])
    config = default.get_config()
    config.workdir = str(folder)
    with flagsaver.flagsaver(**settings):
      verb.main(cli.Experiment(config))
    return capsys.readouterr()

  return run


@pytest.fixture
def png(tmp_path):
  path = tmp_path / "cat.png"
  Image.fromarray(picture(7, 64, 64)).save(path)
  return str(path)


def test_captions_answers_and_continuations(params, generate, png):
  greedily = dict(temperature=0.0, max_tokens=6)
  shown, question = picture(7, 64, 64), documents.ask("what?")
  out, err = generate(image=png, **greedily)

  assert out == said(params, shown).lstrip() + "\n" and "checkpoint 5 of" in err

  out, err = generate(image=png, question="what?", **greedily)

  assert out == said(params, shown, question).lstrip() + "\n" and err.endswith("Q: what?\nA: ")

  out, err = generate(text=WORDS, **greedily)

  assert out == said(params, WORDS) + "\n" and err.endswith(WORDS) and WORDS not in out
  assert generate(image=png, text="It is", **greedily).out == said(params, shown, "It is") + "\n"


def test_a_dialogue_remembers_its_turns(params, generate, png, monkeypatch):
  """The network reads the turns one after the other, each with its end token."""
  read, take = [], generation.TextGenerator._read_tokens

  def note(self, document, *rest, **more):
    read.extend(document.tokens)
    return take(self, document, *rest, **more)

  monkeypatch.setattr(generation.TextGenerator, "_read_tokens", note)
  first, second = (documents.ask(question) for question in ("what?", "why?"))
  out, err = generate("what?\n\nwhy?\n", image=png, chat=True, temperature=0.0, max_tokens=3)
  turn = document_layout.encode([picture(7, 64, 64), first], TEXT, end=False)
  answer = greedy(params, turn, 3)
  turn = document_layout.join(
    [
      turn,
      *(words([token]) for token in (*answer, TEXT.end)),
      document_layout.encode([second], TEXT, end=False),
    ]
  )
  expected = [answer, greedy(params, turn, 3)]

  assert out == "".join(f"{TEXT.decode(ids).lstrip()}\n" for ids in expected)
  assert read == [*turn.tokens, *expected[1][:-1]]  # the last one waits for another turn
  assert "Q: what?\nA: " in err and err.count("A: ") == 2
  assert (
    generate("what?\n", temperature=0.0, max_tokens=3).out
    == said(params, first, n=3).lstrip() + "\n"
  )


def test_samples_have_seeds_of_their_own_and_a_drawn_seed_is_printed(generate, png):
  out, _ = generate(image=png, samples=3, seed=4, max_tokens=5)
  assert len(set(out.splitlines())) == 3 == len(out.splitlines())
  assert generate(image=png, seed=5, max_tokens=5).out == out.splitlines(keepends=True)[1]
  err = generate(image=png, max_tokens=5).err
  (seed,) = re.findall(r"seed (\d+)\n", err)
  assert f"seed {seed}\n" not in generate(image=png, max_tokens=5).err


def test_what_cannot_be_done_is_one_line(params, generate, png, tmp_path):
  for settings, message in (
    (dict(folder=tmp_path, text="x"), "no checkpoint in .*experiments.train"),
    (dict(image=str(tmp_path / "none.png")), "none.png: No such file"),
    (dict(image=png, side=50), "50; it must be a multiple of 16"),
    (dict(text="x", question="y"), "exclude each other"),
    (dict(chat=True, samples=2), "has one answer"),
  ):
    with pytest.raises(GatoError, match=message) as e:
      generate(**settings)
    assert "\n" not in str(e.value)

  save(tmp_path, params, {})
  out, err = generate(folder=tmp_path, text="x", max_tokens=2)

  assert "never trained on text" in err and out.endswith("\n")
