"""Inputs and labels of disturbed episodes: executed actions are seen, the expert's predicted."""

import dataclasses

import numpy as np
import pytest

import rlds_builders
from gato_jax.data import draws, prepare, prepared, windows
from gato_jax.data.mixture import MixtureConfig
from gato_jax.env import collect, logs
from gato_jax.errors import GatoError
from gato_jax.tokens import codec
from gato_jax.tokens.vocabulary import Kind
from rlds_builders.base import rlds_builder

TEXT, TASK = codec.default_text_codec(), "dummy.reach"
STEPS = 5  # that fit into a row


@pytest.fixture(scope="module")
def data(tmp_path_factory):
  """Twelve episodes, ten of them with perturbed actions."""
  raw, domain = tmp_path_factory.mktemp("labels") / "raw", rlds_builders.get("dummy")
  for index, seeds in ((0, range(2)), (1, range(10, 20))):
    collect.collect_shard(domain, "reach", raw, index, seeds, collect.TaskSettings(disturbance=0.8))

  assert (
    sum(row.actor != "expert" for row in logs.rows(logs.task_directory(raw, "dummy", "reach")))
    == 10
  )

  rlds_builder.build(domain, "reach", raw, raw.parent / "tfds")
  prepare.prepare(raw.parent / "tfds", TASK, TEXT)
  return prepared.load(raw.parent / "tfds", TASK, keep=0.0)


def rows(data, count=60, **changes):
  """Yields (windows, pieces, actions, labels) of `count` rows.

  Actions and labels are int32 [steps, A], as the row holds them.
  """
  config = MixtureConfig(
    **{"sequence_length": 26 * STEPS, "keep": 0.0, "prompt_probability": 0.0} | changes
  )
  made = windows.EpisodeWindows(data, TEXT, config, 512)

  for seed in range(count):
    pieces = made._draw(np.random.default_rng(seed))
    row = made.row(np.random.default_rng(seed), 0)
    at = row["kinds"] == Kind.ACTION
    assert (row["tokens"][~at] == row["labels"][~at]).all()
    yield made, pieces, *(row[name][at].reshape(-1, 2) for name in ("tokens", "labels"))


def truth(made, data, pieces):
  """Tokens of executed and of expert actions, and whether a step is its sample's last."""
  window = data.read([piece[:3] for piece in pieces])
  is_last = np.concatenate([np.arange(p.stop - p.start) == p.stop - p.start - 1 for p in pieces])
  is_prompt = np.concatenate([np.full(p.stop - p.start, p.is_prompt) for p in pieces])
  executed, expert = (made.layout.encode_actions(a) for a in (window.action, window.expert_action))
  return executed, expert, is_last & ~is_prompt, is_prompt


def test_the_prepared_data_has_both_actions(data):
  pushed = data.index["disturbed"]
  assert pushed.sum() == 10

  for index, is_pushed in enumerate(pushed):
    window = data.read([(index, 0, int(data.lengths[index]))])
    assert is_pushed or (window.action == window.expert_action).all()

  window = data.read([(i, 0, int(n)) for i, n in enumerate(data.lengths)])

  assert (window.action != window.expert_action).any(axis=1).mean() > 0.2


@pytest.mark.parametrize("past", ["executed", "expert"])
def test_labels_are_the_experts_and_later_steps_see_what_was_executed(data, past):
  different = 0
  for made, pieces, actions, labels in rows(data, past_actions=past):
    executed, expert, is_last, _ = truth(made, data, pieces)
    np.testing.assert_array_equal(labels, expert)
    np.testing.assert_array_equal(
      actions, np.where(is_last[:, None] | (past == "expert"), expert, executed)
    )
    different += int((actions != labels).sum())

  assert (different > 50) == (past == "executed")


def test_windows_of_one_step_hold_the_experts_action(data):
  """Its later tokens are conditioned on its earlier ones, as in acting."""
  for made, pieces, actions, labels in rows(data, window_steps=1):
    np.testing.assert_array_equal(actions, labels)
    np.testing.assert_array_equal(actions, truth(made, data, pieces)[1])


@pytest.mark.parametrize("past", ["executed", "expert"])
def test_prompts_hold_what_was_executed(data, past):
  different = 0
  for made, pieces, actions, labels in rows(data, prompt_probability=1.0, past_actions=past):
    executed, expert, _, is_prompt = truth(made, data, pieces)
    np.testing.assert_array_equal(actions[is_prompt], executed[is_prompt])
    np.testing.assert_array_equal(labels, expert)
    different += int((executed != expert)[is_prompt].sum())

  assert different > 50


def test_a_return_belongs_to_what_was_executed(data):
  told = prepared.PreparedEpisodes(data.directory, data.spec, keep=0.0, with_returns=True)
  for made, pieces, actions, labels in rows(told, sequence_length=27 * STEPS, returns=True):
    executed = truth(made, told, pieces)[0]
    np.testing.assert_array_equal(actions, executed)
    np.testing.assert_array_equal(labels, executed)

  for made, pieces, _, labels in rows(
    told, 5, sequence_length=27 * STEPS, returns=True, labels="expert"
  ):
    np.testing.assert_array_equal(labels, truth(made, told, pieces)[1])


@pytest.mark.parametrize("changes", [dict(labels="done"), dict(past_actions="")])
def test_unknown_actions_are_refused(changes):
  with pytest.raises(
    GatoError, match=f"data.{next(iter(changes))}=.*: use one of .*'expert', 'executed'"
  ):
    MixtureConfig(**changes)


def test_what_is_held_out_does_not_depend_on_how_many_episodes_train(data):
  config = MixtureConfig(sequence_length=128, keep=0.0, validation_every=3)
  few = dataclasses.replace(config, episodes={TASK: 2})
  held = [
    windows.EpisodeWindows(data, TEXT, c, 512, split="validation").episodes.tolist()
    for c in (config, few)
  ]

  assert held[0] == held[1] == [2, 5, 8, 11]

  training = [windows.EpisodeWindows(data, TEXT, c, 512).episodes for c in (config, few)]

  assert [len(one) for one in training] == [8, 2] and set(training[1]) < set(training[0])

  # A prompt shows what trains and nothing else: the best of these, not of all.
  shown = data.best(among=training[1])

  assert len(shown) == 2

  for (observation, _), index in zip(
    shown, training[1][np.argsort(-data.returns[training[1]])], strict=True
  ):
    np.testing.assert_array_equal(
      observation["camera"], data.window(int(index), 0, int(data.lengths[index]))[0]["camera"]
    )


def test_equal_returns_are_all_kept_whatever_their_rounding(data):
  from gato_jax.env import results

  returns = np.float32([0.1] * 30).astype(np.float64)
  assert results.reaches(returns, results.expert_return(returns), 1.0).all()
  assert not results.reaches(returns * 0.99, results.expert_return(returns), 1.0).any()


def test_each_place_of_a_long_sequence_is_as_likely_as_any_other():
  random, seen = np.random.default_rng(0), np.zeros(300)
  for _ in range(20_000):
    start, stop = draws.draw_window(random, 100, 300)
    assert 0 <= start < stop <= min(300, start + 100)
    seen[start:stop] += 1
  assert seen.min() > 0.94 * seen.mean() and seen.max() < 1.06 * seen.mean()
