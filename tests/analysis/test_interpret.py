"""Interpretation of a network: its layers, attention, directions and map.

The layers are those of `Gato`; acting without directions is acting with them taken out.
"""

import dataclasses
import json

import jax
import numpy as np
import pytest
import small_network
from interpret_cases import (
  ASKED,
  CONFIG,
  MIXTURE,
  TASKS,
  TRAINED,
  lower,
)

from experiments.analysis import studies
from experiments.analysis.interpret import (
  attention,
  interpretation,
  probes,
  rows,
  samples,
  states,
)
from experiments.analysis.report import study_page
from gato_jax import agent, evaluate
from gato_jax.data import prepared
from gato_jax.env import results
from gato_jax.errors import GatoError
from gato_jax.evaluate import evaluation
from gato_jax.model import Gato, cache, removal, transformer
from gato_jax.model.attention import RelativeAttention, WindowMask, distance_table
from gato_jax.model.embedding import Embedding
from gato_jax.tokens import codec, layout
from gato_jax.tokens.vocabulary import Kind
from gato_jax.train import checkpoint


@pytest.fixture(scope="module")
def datasets(dummy_tfds):
  return {task: prepared.load(dummy_tfds, task, keep=0.0) for task in TASKS}


@pytest.fixture(scope="module")
def found(datasets):
  text = codec.default_text_codec()
  return [
    one
    for data in datasets.values()
    for one in samples.draw(data, text, MIXTURE, CONFIG.max_local_positions, ASKED)
  ]


@pytest.fixture(scope="module")
def params():
  return small_network.random_params()


@pytest.fixture(scope="module")
def folder(datasets, params, tmp_path_factory):
  out = tmp_path_factory.mktemp("run") / rows.FOLDER
  network = interpretation.Network(CONFIG, params, codec.default_text_codec(), step=7)
  interpretation.run(network, datasets, TASKS, MIXTURE, ASKED, out)
  return out


@pytest.fixture(scope="module")
def some(found):
  """Four samples of both tasks, in rows of two lengths."""
  return [found[0], found[-1], found[3], found[-4]]


@pytest.fixture(scope="module")
def batch(some):
  return next(samples.batches(some, len(some)))


@pytest.fixture(scope="module")
def layers(batch, params):
  return np.asarray(jax.jit(states.streams, static_argnums=0)(TRAINED, params, batch))


def test_the_layers_are_those_of_the_network(batch, layers, params):
  hidden = jax.jit(Gato(TRAINED).apply)({"params": params}, batch)
  assert layers.shape == (CONFIG.layers + 1, *hidden.shape)

  last = transformer.LayerNorm().apply({"params": params["decoder"]["final_norm"]}, layers[-1])

  np.testing.assert_allclose(last, hidden, atol=2e-4)

  embedded = jax.jit(Embedding(CONFIG).apply)({"params": params["embedding"]}, batch)

  np.testing.assert_allclose(layers[0], embedded, atol=2e-3)
  assert all(np.abs(a - b).max() > 0.1 for a, b in zip(layers, layers[1:], strict=False))


def test_attention_is_that_of_the_first_layer(batch, layers, params):
  weights = np.asarray(jax.jit(states.first_attention, static_argnums=0)(TRAINED, params, batch))
  read = batch["kinds"] != Kind.PADDING

  np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
  assert np.all(weights[:, :, ~np.tri(weights.shape[-1], dtype=bool)] == 0)

  for row in range(len(weights)):
    queries = np.flatnonzero(read[row])
    assert np.all(weights[row][:, queries][:, :, ~read[row]] == 0)

  # What the first block adds by attention: the weighted values, by hand.
  layer = jax.tree.map(lambda leaf: leaf[0], params["decoder"]["layers"])
  x = transformer.LayerNorm().apply({"params": layer["attention_norm"]}, layers[0])
  values = np.einsum("bld,dhk->bhlk", x, layer["attention"]["qkv"][:, 2])
  mixed = np.einsum("bhlm,bhmk,hkd->bld", weights, values, layer["attention"]["out"])
  length = x.shape[1]
  attendance = WindowMask(
    visible=np.tri(length, dtype=bool)
    & ((read & (batch["segments"] == 1))[:, None, :] | np.eye(length, dtype=bool)),
    distances=distance_table(length - 1, CONFIG.width),
  )
  attend = jax.jit(RelativeAttention(CONFIG).apply)
  attended = attend({"params": layer["attention"]}, x, attendance)

  np.testing.assert_allclose(mixed[read], np.asarray(attended)[read], atol=2e-3)


def test_no_episode_is_on_both_sides_and_samples_are_of_theirs(datasets, found):
  assert len(found) == 2 * ASKED.samples

  for task in datasets:
    sides = [
      {one.episode for one in found if one.task == task and one.test is test}
      for test in (False, True)
    ]
    assert not sides[0] & sides[1] and len(sides[0]) > 3 and len(sides[1]) > 1
    assert sum(one.test for one in found if one.task == task) == ASKED.samples // ASKED.test_every

  one = next(one for one in found if one.test)
  data = datasets[one.task]
  whole = layout.TokenLayout(data.spec, codec.default_text_codec(), CONFIG.max_local_positions)
  encoded = whole.encode(*data.window(one.episode, 0, int(data.lengths[one.episode])))

  assert any(np.array_equal(step, one.row["tokens"]) for step in encoded.tokens)

  others = [e for e in data.kept.tolist() if e != one.episode]
  encoded = [whole.encode(*data.window(e, 0, int(data.lengths[e]))).tokens for e in others]

  assert not any(np.array_equal(step, one.row["tokens"]) for episode in encoded for step in episode)


def test_places_of_a_state(found):
  one = found[0]
  last, step = states.positions(one, ())
  kinds = one.row["kinds"]

  assert kinds[last[0]] == Kind.SEPARATOR and last[0] == step[-1]
  assert Kind.PADDING not in kinds[step] and Kind.ACTION not in kinds[step]
  assert {*kinds[: last[0] + 1].tolist()} - {*kinds[step].tolist()} <= {Kind.PADDING}

  (first,) = states.positions(one, (3,))

  assert first.tolist() == np.flatnonzero(kinds != Kind.PADDING)[:3].tolist()


def test_pooled_states_are_means_of_the_layers(some, layers, params):
  pooled = states.pooled(CONFIG, params, some, ())
  for index, one in enumerate(some):
    for state, where in enumerate(states.positions(one, ())):
      np.testing.assert_allclose(
        pooled[:, state, index], layers[:, index, where].mean(1), atol=1e-3
      )


def test_raw_features_count_what_is_seen(found):
  where = [states.positions(one, ())[1] for one in found]
  table = probes.raw_features(where, found).toarray()
  kinds = len(Kind)
  counted = table[:, : -3 * 16]

  assert counted.shape[1] > kinds and np.all(counted >= 0)

  one = int(np.flatnonzero([Kind.PATCH in sample.row["kinds"] for sample in found])[0])

  np.testing.assert_allclose(
    table[one, -48:].mean(),
    found[one].row["patches"][: np.sum(found[one].row["kinds"] == Kind.PATCH)].mean() / 255,
    atol=1e-6,
  )


def test_acting_with_and_without_directions(batch, layers, params, monkeypatch):
  plain = cache.acting_params(CONFIG, params)
  one = removal.Removal(np.eye(CONFIG.width, dtype=np.float32)[:2], np.zeros(2, np.float32))
  lowered, read = lower(plain)

  assert lower(plain.replace(removed=(None, None)))[0].as_text() == lowered.as_text()

  with monkeypatch.context() as patch:  # the program has nothing but take_out of it
    patch.setattr(removal.Removal, "take_out", lambda self, x: x)
    assert lower(plain.replace(removed=(one, one)))[0].as_text() == lowered.as_text()

  with_removal = lower(plain.replace(removed=(None, one)))[0]

  assert with_removal.as_text().count("dot_general") == lowered.as_text().count("dot_general") + 2

  # What acting reads without them is what the last block returns without them, after the norm.
  first = np.argmax(batch["kinds"][0] != Kind.PADDING)  # positions before it are seen by nobody
  x, last = (layers[depth][:1, first : first + 2] for depth in (0, -1))
  last = one.take_out(last)
  expected = transformer.LayerNorm().apply({"params": params["decoder"]["final_norm"]}, last)

  np.testing.assert_allclose(read(plain.replace(removed=(None, one)), x), expected, atol=1e-4)
  assert np.abs(read(plain.replace(removed=(one, None)), x) - read(plain, x)).max() > 1e-2


def test_a_policy_acts_without_directions(datasets, params, tmp_path):
  store = checkpoint.Checkpoints(tmp_path / "checkpoints", keep=1)
  meta = {
    "model": CONFIG.to_json(),
    "specs": {task: data.spec.to_json() for task, data in datasets.items()},
  }
  store.save(5, params, {"count": np.zeros([], np.int32)}, meta, codec.default_text_codec().model)
  store.close()
  policy = agent.Policy(tmp_path)
  width = CONFIG.width
  path = tmp_path / "some.npz"
  removal.write(
    path,
    {
      2: removal.Removal(
        np.eye(width, dtype=np.float32)[: width - 1], np.ones(width - 1, np.float32)
      )
    },
  )

  assert removal.read(path, CONFIG)[0] is None and removal.read(path, CONFIG)[
    1
  ].directions.shape == (width - 1, width)

  engine = policy.engine(["dummy.reach"], 1, agent.ActConfig(remove=str(path), prompt="none"))

  assert engine._params.removed[1] is not None

  for missing in (tmp_path / "no.npz", tmp_path / "checkpoints"):
    with pytest.raises(
      GatoError, match="cannot be read .*; python -m experiments.interpret writes"
    ):
      policy.engine(["dummy.reach"], 1, agent.ActConfig(remove=str(missing), prompt="none"))

  for other in (
    {3: removal.Removal(np.eye(width)[:1], np.zeros(1))},
    {1: removal.Removal(np.eye(4)[:1], np.zeros(1))},
  ):
    removal.write(path, other)
    with pytest.raises(
      GatoError, match=f"is of another network than this one of 2 layers of width {width}"
    ):
      removal.read(path, CONFIG)


def test_an_interpretation_and_its_sections(folder, found, tmp_path):
  facts = json.loads((folder / rows.FACTS).read_text())
  assert facts["tasks"] == dict.fromkeys(TASKS, ASKED.samples) and facts["step"] == 7

  told = list(results.read(folder / rows.PROBES, rows.Probe))

  assert {row.layer for row in told} == {-1, 0, 1, 2} and {row.state for row in told} == {
    "last",
    "step",
  }

  separator = {
    row.layer: row
    for row in told
    if (row.target, row.state, row.probe) == ("task", "last", "linear")
    and not (row.components or row.signs or row.shuffled)
  }

  assert (
    separator[0].accuracy == separator[0].majority == 0.5
  )  # the separator's own vector is the same in every task
  assert separator[1].by_class != separator[0].by_class  # the first block reads the step

  heads = list(results.read(folder / rows.HEADS, rows.Head))
  with np.load(folder / rows.FRAMES) as pictures:
    frame, weights = pictures["frame_0"], pictures["weights_0"]
  sample = attention.choose(found, 1)[0]

  assert heads[0].task == sample.task and len(weights) == CONFIG.heads
  assert weights[0].sum() == pytest.approx(heads[0].on_patches, abs=1e-5)
  assert frame.shape[0] == 16 * weights.shape[1] and frame.shape[1] == 16 * weights.shape[2]
  np.testing.assert_array_equal(frame[:16, :16], sample.row["patches"][0])

  points = list(results.read(folder / rows.MAP, rows.MapPoint))

  assert len(points) == 2 * ASKED.map_samples and np.ptp([point.x for point in points]) > 0

  look = studies.StudyRun(
    "timestep", labels={"look": "timestep"}, plays="work/x", verbs=("interpret",)
  )
  study = study_page.Study("probes", {}, [study_page.Played(look, folder.parent, folder)])

  for kind, figure, table in (
    ("probes", "depth.png", "jumps"),
    ("embeddings", "map.png", "neighbours"),
  ):
    out = tmp_path / kind
    index, section = study_page.write(out, study, kind, {})
    assert (
      (out / figure).stat().st_size > 5_000
      and section.tables[table]
      and "data:image/png" in index.read_text()
    )

  empty = study_page.Study("probes", {}, [study_page.Played(look, tmp_path, tmp_path)])
  for kind in ("probes", "embeddings"):
    with pytest.raises(GatoError, match=r"python -m experiments.study"):
      study_page.write(tmp_path / "none", empty, kind, {})


def test_too_little_to_look_at(datasets, tmp_path):
  with pytest.raises(GatoError, match="fewer than two train"):
    interpretation.run(None, datasets, TASKS[:1], MIXTURE, ASKED, tmp_path)

  data = datasets[TASKS[0]]

  with pytest.raises(GatoError, match="every 1000th would test, so none"):
    samples.draw(
      data,
      codec.default_text_codec(),
      MIXTURE,
      64,
      dataclasses.replace(ASKED, test_every=1000, samples=4000),
    )


def test_rows_that_were_played_before_there_were_removals_go_on(tmp_path):
  run = evaluation.Evaluation([], tmp_path, evaluate.EvaluateConfig(), None)
  run.check_settings(agent.ActConfig())
  old = json.loads((tmp_path / "act.json").read_text())

  assert old.pop("remove") == ""

  (tmp_path / "act.json").write_text(json.dumps(old))
  results.append(run.path, [results.Row("dummy.reach", "gato", 0, 1.0, 5, True, 0.1, 5)])
  again = evaluation.Evaluation([], tmp_path, evaluate.EvaluateConfig(), None)
  again.check_settings(agent.ActConfig())
  (tmp_path / "act.json").write_text(json.dumps(old))

  with pytest.raises(GatoError, match="played with act.remove '', not 'some.npz'"):
    again.check_settings(agent.ActConfig(remove="some.npz"))
