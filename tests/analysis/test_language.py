"""Measures of held-out documents: against numbers computed by hand, on records, and on the page."""

import dataclasses
import math
import re

import document_sets
import jax
import numpy as np
import pytest
import sacrebleu
import small_network
import test_report

from experiments.analysis.language import measure, validation, vqa
from experiments.analysis.report import language_scores, language_table, page
from gato_jax import documents
from gato_jax.agent import generation
from gato_jax.data import records
from gato_jax.env import results
from gato_jax.model import Gato, cache
from gato_jax.tokens import document_layout
from gato_jax.tokens.vocabulary import Kind

CONFIG = small_network.SMALL
KINDS = tuple(documents.KINDS)


@pytest.mark.parametrize(
  ("answer", "expected"),
  [
    ("The red ball.", "red ball"),
    ("An  Apple, a pear", "apple pear"),
    ("two", "2"),
    ("none", "0"),
    ("Ten of them", "10 of them"),
    ("3.5 m.", "3.5 m"),
    ("1,024", "1024"),
    ("left/right", "left right"),
    ("red-blue?", "red blue"),
    ("the girl's", "girl's"),
    ("2:50", "2:50"),
    ("dont", "don't"),
    ("wouldn'tve", "wouldn't've"),
    ("wouldnt've", "wouldn't've"),
    ("were", "were"),  # is a word, too
    ("", ""),
  ],
)
def test_answers_are_normalised(answer, expected):
  assert vqa.normalise(answer) == expected


@pytest.mark.parametrize(
  ("answer", "references", "expected"),
  [
    ("red", ["red"] * 10, 1.0),
    ("red", ["red"] * 3 + ["blue"] * 7, 0.9),  # (3 x 2/3 + 7 x 1) / 10
    ("red", ["red"] * 2 + ["blue"] * 8, 0.6),  # (2 x 1/3 + 8 x 2/3) / 10
    ("red", ["red"] + ["blue"] * 9, 0.3),  # (1 x 0 + 9 x 1/3) / 10
    ("red", ["blue"] * 10, 0.0),
    ("the Two", ["two", "2", "2."] + ["blue"] * 7, 0.9),
    ("red", ["red"], 1.0),
    ("red", ["blue"], 0.0),
    ("red", ["red", "blue"], 1.0),  # five each
  ],
)
def test_vqa_accuracy_by_hand(answer, references, expected):
  assert vqa.accuracy(answer, references) == pytest.approx(expected)


@pytest.fixture(scope="module")
def params():
  return small_network.random_params()


@pytest.fixture(scope="module")
def network(params):
  return generation.TextGenerator(
    CONFIG, cache.acting_params(CONFIG, params), document_sets.TEXT, 32
  )


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory):
  path = tmp_path_factory.mktemp("tfds")
  for kind in KINDS:
    document_sets.builder_of(kind)(config=kind, data_dir=path).download_and_prepare()
  return path


def directories(tfds_dir, kinds=KINDS):
  return {f"{kind}.{kind}": records.directory_of(tfds_dir, f"{kind}.{kind}") for kind in kinds}


@pytest.fixture(scope="module")
def measured(tfds_dir, network, tmp_path_factory):
  workdir = tmp_path_factory.mktemp("run")
  assert validation.run(network, 5, directories(tfds_dir), workdir, 3) == 12
  return workdir


def read(workdir) -> list[measure.DocumentRow]:
  return list(results.read(workdir / measure.ROWS, measure.DocumentRow))


def test_bits_are_those_of_the_network(network):
  shown, other = document_sets.picture(0), document_sets.picture(1)
  document = documents.CaptionedImage(shown, ("a ball", "a grün ball"))
  found = measure.measure(network, document, documents.CaptionedImage(other, ("a box",)), None)

  def bits(given, caption):
    network.forget()
    return -network.score([given, caption]).sum() / math.log(2)

  assert found["bits"] == pytest.approx(bits(shown, "a ball") + bits(shown, "a grün ball"))
  assert found["bits_elsewhere"] == pytest.approx(
    bits(other, "a ball") + bits(other, "a grün ball")
  )
  assert found["bits_elsewhere"] != pytest.approx(found["bits"], rel=1e-3)
  assert found["bytes"] == len("a ball" + "a grün ball") + 1
  assert (
    found["tokens"]
    == len(network.text.encode("a ball")) + len(network.text.encode("a grün ball")) + 2
  )


def test_a_long_text_is_cut_and_then_has_no_end(network, monkeypatch):
  monkeypatch.setattr(measure, "TEXT_CHARACTERS", 20)
  short, long = (measure.measure(network, "x" * n, None, None) for n in (20, 21))
  assert short["bytes"] == long["bytes"] == 20 and short["tokens"] == long["tokens"] + 1


def test_each_kind_has_its_rows_and_pictures(tfds_dir, measured, network):
  rows = read(measured)
  assert [(row.kind, row.document) for row in rows] == [
    (kind, place) for kind in KINDS for place in (0, 1, 2)
  ]

  for row in rows:
    (given,) = [
      one
      for i, one in enumerate(document_sets.read(row.kind, "validation", 64))
      if i == row.document
    ]
    picture = measured / measure.IMAGES / row.task / f"{row.document}.png"

    assert picture.exists() == (row.kind in ("captions", "questions"))

    if row.kind == "questions":
      assert (row.question, row.references) == (given.question, list(given.answers))
      assert (
        row.common == row.blind == next(iter(document_sets.read("questions", "train", 64))).answer
      )
      assert row.bits == 0
    else:
      texts = [part for s in documents.sequences(given) for part in s if isinstance(part, str)]
      assert row.bytes == len("".join(texts).encode()) and row.bits > row.bytes

    if row.kind == "captions":
      network.forget()
      network.read([given.image])
      assert row.written == network.text.decode(list(network.write(48, 0.0, 1))).strip()
      assert row.bits_elsewhere > 0 and row.references == list(given.captions)


def test_only_what_is_missing_is_measured(tfds_dir, measured, network, tmp_path):
  path = tmp_path / measure.ROWS
  lines = (measured / measure.ROWS).read_text().splitlines(keepends=True)
  path.write_text("".join(lines[:4] + lines[5:]) + lines[-1][:30])  # one is lost, the last one torn

  assert validation.run(network, 5, directories(tfds_dir), tmp_path, 3) == 1
  assert sorted(map(str, read(tmp_path))) == sorted(map(str, read(measured)))
  assert validation.run(network, 5, directories(tfds_dir), tmp_path, 3) == 0
  assert validation.run(network, 6, directories(tfds_dir, ["text"]), tmp_path, 4) == 4


def test_a_training_row_read_through_the_memory(params, network, tfds_dir):
  """The row holds five pairs, each with its end token, as the input pipeline makes them."""
  from gato_jax.data import prepare

  prepare.prepare(tfds_dir, "captions.captions", document_sets.TEXT)
  batch = next(document_sets.inputs(tfds_dir, "captions").batches())
  one = {name: value[:1] for name, value in batch.items()}
  n = int((one["segments"] == 1).sum())

  assert n < document_sets.LENGTH and (one["tokens"][0] == document_sets.TEXT.end).sum() == 5

  @jax.jit
  def forward(params, one):
    hidden = Gato(CONFIG).apply({"params": params}, one)
    return jax.nn.log_softmax(Gato(CONFIG).apply({"params": params}, hidden, method="logits"))

  log_probs = np.asarray(
    forward(params, {k: v for k, v in one.items() if k not in ("targets", "components")})
  )
  is_text = np.flatnonzero(one["kinds"][0, :n] == Kind.TEXT)
  expected = log_probs[0, is_text - 1, one["tokens"][0, is_text]]
  slots = one["patch_slots"][0, :n][one["kinds"][0, :n] == Kind.PATCH]
  row = document_layout.DocumentTokens(
    one["tokens"][0, :n],
    one["kinds"][0, :n],
    np.zeros(n, bool),
    one["patches"][0, slots],
    one["patch_positions"][0, slots],
  )
  network.forget()

  np.testing.assert_allclose(network._read_document(row, scored=True), expected, atol=1e-4)


def captions(*pairs, step=7, task="a.b") -> list[measure.DocumentRow]:
  return [
    measure.DocumentRow(task, step, "x", i, "captions", 80.0, 10, 4, 120.0, "", written, references)
    for i, (written, references) in enumerate(pairs)
  ]


def by_name(rows) -> dict[str, language_scores.LanguageScore]:
  return {score.name: score for score in language_scores.scores(language_scores.newest(rows))}


def test_bits_per_byte_by_hand():
  rows = [
    measure.DocumentRow("a.text", 7, "x", i, "text", *cost)
    for i, cost in enumerate([(100.0, 50, 10), (20.0, 30, 6)])
  ]
  score = by_name(rows)["bits per byte"]

  assert score.value == pytest.approx(120 / 80) and score.chance == pytest.approx(
    16 * math.log2(32000) / 80
  )
  assert math.isnan(score.blind) and score.beats
  assert score.low == pytest.approx(20 / 30) and score.high == pytest.approx(
    2
  )  # the same document twice


def test_captions_are_scored_as_sacrebleu_does():
  pairs = [
    ("a red ball on the floor", ["A red ball on a floor", "the red ball lies on the floor"]),
    ("a blue box behind a key", ["two keys and one grey box"]),
    ("", ["a key left of the green ball"]),
  ]
  for some, least in (
    (pairs, 10),
    (pairs[1:], 1),
  ):  # the others have no four words in a row right: smoothed
    written = [one for one, _ in some]
    references = [[of[min(i, len(of) - 1)] for _, of in some] for i in range(2)]
    expected = sacrebleu.corpus_bleu(written, references, lowercase=True).score
    assert by_name(captions(*some))["BLEU-4"].value == pytest.approx(expected) and expected > least

  found = by_name(captions(*pairs))
  chrf = [sacrebleu.CHRF(lowercase=True).sentence_score(one, of).score for one, of in pairs]

  assert (
    found["chrF"].value == pytest.approx(np.mean(chrf)) and found["chrF"].low < found["chrF"].value
  )
  assert found["bits per byte"].value == 8 and found["bits per byte"].blind == 12
  assert found["chrF"].blind < 25 < found["chrF"].value


def test_captions_of_any_picture_are_no_better_than_blind():
  """If every image has the same words, the blind baseline equals the measure itself."""
  score = by_name(
    captions(*[("a red ball", [f"a {colour} ball"]) for colour in ("red", "blue", "green", "grey")])
  )
  assert "BLEU-4" not in score  # three words
  assert score["chrF"].blind == pytest.approx(score["chrF"].value) and not score["chrF"].beats


def questions(*said, common="yes") -> list[measure.DocumentRow]:
  return [
    measure.DocumentRow(
      "q.a",
      7,
      "x",
      i,
      "questions",
      question="?",
      written=one,
      references=of,
      common=common,
      blind=blind,
    )
    for i, (one, of, blind) in enumerate(said)
  ]


def test_questions_by_hand():
  ten = ["red"] * 3 + ["blue"] * 7
  found = by_name(
    questions(
      ("red", ten, "red"), ("Yes.", ["yes"] * 10, "no"), ("2", ["2"], "2"), ("no", ["3"], "3")
    )
  )
  exact, accuracy = found["exact match %"], found["VQA accuracy %"]

  assert (exact.value, exact.chance, exact.blind) == (25, 25, 50)
  assert accuracy.value == pytest.approx(100 * (0.9 + 1 + 1) / 4) and accuracy.chance == 25
  assert accuracy.blind == pytest.approx(100 * (0.9 + 0 + 1 + 1) / 4)
  assert (
    "always 'yes'" in exact.chance_of and 0 <= accuracy.low < accuracy.value < accuracy.high <= 100
  )


def test_the_newest_step_and_the_data_measured_last_count():
  old, new = captions(("a", ["a"])), captions(("b", ["b"]), ("c", ["c"]), step=9)
  rebuilt = [dataclasses.replace(row, data="y") for row in new[:1]]
  assert [row.written for row in language_scores.newest(old + new)["a.b"]] == ["b", "c"]
  assert [row.written for row in language_scores.newest(old + new, 7)["a.b"]] == ["a"]
  assert language_scores.newest(old + new + rebuilt)["a.b"] == rebuilt


def test_page_of_language_alone(measured, tmp_path):
  by_task = language_scores.newest(read(measured))
  path, scored = page.write(
    tmp_path / "report",
    tmp_path / "none",
    tmp_path / "no",
    tmp_path / "nor",
    {"config": "x"},
    measured=by_task,
    pictures=measured / measure.IMAGES,
  )
  html = path.read_text()

  assert not scored and "Every task" not in html and "Text, captions and answers" in html

  shown = re.findall(r'<img src="(pictures/[^"]+)"', html)

  assert len(shown) == 6 and all((tmp_path / "report" / file).exists() for file in shown)
  assert "which is it, 100?" in html and "people: picture 100" in html

  for score in language_scores.scores(by_task):
    assert html.count(f"<td>{score.task}</td><td>{score.name}</td>") == 1


@pytest.mark.slow  # a second evaluation
def test_page_of_both(measured, tmp_path):
  by_task = language_scores.newest(read(measured))
  paths = (tmp_path / "results.jsonl", tmp_path / "no", tmp_path / "nor")
  played = test_report.make_rows(3)
  results.append(paths[0], [row for row in played if row.actor != "gato"])
  _, scored = page.write(
    tmp_path / "r", *paths, {}, measured=by_task
  )  # baselines alone are nothing to score

  assert not scored

  results.append(paths[0], [row for row in played if row.actor == "gato"])
  path, scored = page.write(
    tmp_path / "r", *paths, {}, measured=by_task, pictures=measured / measure.IMAGES
  )
  html = path.read_text()

  assert (
    len(scored) == len(test_report.TASKS)
    and "Every task" in html
    and "Text, captions and answers" in html
  )
  assert "Checkpoint of step 6,000" in html and "at step 5." in html

  path, _ = page.write(tmp_path / "r", *paths, {})

  assert "captions" not in path.read_text()


def test_examples_do_not_depend_on_what_was_written(measured, tmp_path):
  by_task = language_scores.newest(read(measured))
  by_task |= {
    "more." + t: [dataclasses.replace(r, task="more." + t) for r in rows]
    for t, rows in by_task.items()
  }
  other = {
    task: [dataclasses.replace(row, written="else") for row in rows]
    for task, rows in by_task.items()
  }
  folder = measured / measure.IMAGES
  one, two = (language_table.examples(rows, folder, tmp_path) for rows in (by_task, other))

  assert [example.file for example in one] == [example.file for example in two] and len(one) == 6
