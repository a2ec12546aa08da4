"""Samples and what they show of the past: cut histories, prompts that are marked, corrections."""

import numpy as np
import pytest
from conftest import EPISODES

import rlds_builders
from gato_jax.data import mixture, pipeline, prepare
from gato_jax.domain import environment_task_spec
from gato_jax.env import loop
from gato_jax.env.results import POLICY
from gato_jax.errors import GatoError
from gato_jax.evaluate import corrections, jobs
from gato_jax.randomness import FIRST_CORRECTION_SEED
from gato_jax.tokens import codec
from gato_jax.tokens.vocabulary import Kind
from rlds_builders.base import rlds_builder

TEXT = codec.default_text_codec()
TASK = "dummy.reach"


def batches(tfds_dir, count=6, corrections_dir=None, **changes):
  settings = dict(weights={TASK: 1.0}, sequence_length=256, seed=7, prompt_probability=0.0)
  inputs = pipeline.Input(
    mixture.MixtureConfig(**(settings | changes)),
    tfds_dir,
    8,
    TEXT,
    512,
    corrections_dir=corrections_dir,
  )
  iterator = inputs.batches()
  return inputs, [next(iterator) for _ in range(count)]


def steps_of_samples(batch):
  """Steps of each sample but the last of its row, which the row's end may cut."""
  counts = []
  for kinds, segments in zip(batch["kinds"], batch["segments"], strict=True):
    for segment in range(1, segments.max()):
      counts.append(int(((kinds == Kind.SEPARATOR) & (segments == segment)).sum()))
  return np.array(counts)


def test_history_dropout_cuts_its_share_of_samples_to_three_steps(dummy_tfds):
  _, whole = batches(dummy_tfds, window_steps=6)
  _, cut = batches(dummy_tfds, window_steps=6, history_dropout=1.0)
  _, half = batches(dummy_tfds, window_steps=6, history_dropout=0.5)
  whole, cut, half = (
    np.concatenate([steps_of_samples(b) for b in bs]) for bs in (whole, cut, half)
  )

  assert whole.max() > 3 and set(cut) == {1, 2, 3}
  assert np.mean(whole > 3) > 1.5 * np.mean(half > 3) > 0


def test_without_dropout_no_draw_changes(dummy_tfds):
  """The batches of runs that were started before."""
  _, before = batches(dummy_tfds, window_steps=6)
  _, after = batches(dummy_tfds, window_steps=6, history_dropout=0.0)
  for a, b in zip(before, after, strict=True):
    np.testing.assert_array_equal(a["tokens"], b["tokens"])


@pytest.mark.parametrize("stride", [2, 5])
def test_samples_may_skip_steps(dummy_tfds, stride):
  inputs, _ = batches(dummy_tfds, count=0, window_steps=4, history_stride=stride)
  rows = inputs.windows[TASK]
  lasts = []

  for seed in range(200):
    samples: dict[int, list] = {}
    for piece in rows._draw(np.random.default_rng(seed)):
      samples.setdefault(piece.segment, []).append(piece)

    # The row's end may cut the last sample.
    for segment, pieces in samples.items():
      steps = [piece.start for piece in pieces]
      assert len({piece.episode for piece in pieces}) == 1
      assert all(piece.stop == piece.start + 1 for piece in pieces)
      assert all(np.diff(steps) == stride)
      assert len(steps) <= 4 and (len(steps) == 4 or steps[0] < stride or segment == len(samples))
      lasts.append(steps[-1])

  # Every step of an episode ends samples.
  lengths = inputs.datasets[TASK].lengths[rows.episodes]
  assert set(lasts) == set(range(lengths.max()))


def test_only_the_last_step_of_a_sample_is_a_target(dummy_tfds):
  for stride in (1, 3):
    inputs, (batch, *_) = batches(
      dummy_tfds, window_steps=4, history_stride=stride, last_step_targets=True
    )
    is_action = batch["kinds"] == Kind.ACTION
    size = inputs.windows[TASK].layout.action.size

    for row in range(len(is_action)):
      for segment in range(1, batch["segments"][row].max() + 1):
        actions = np.flatnonzero(is_action[row] & (batch["segments"][row] == segment))
        targets = np.flatnonzero(batch["targets"][row] & (batch["segments"][row] == segment))
        last_action = targets[is_action[row][targets]]
        np.testing.assert_array_equal(last_action, actions[-size:])

        # The text of a step that is no target is none either.
        assert targets.min() > (actions[-size - 1] if len(actions) > size else -1)


def test_a_stride_is_at_least_one():
  with pytest.raises(GatoError, match="data.history_stride=0: a number of steps"):
    mixture.MixtureConfig(history_stride=0)


def test_prompts_are_marked(dummy_tfds):
  _, without = batches(dummy_tfds, window_steps=6)
  assert not any(batch["prompts"].any() for batch in without)

  _, with_prompts = batches(dummy_tfds, window_steps=6, prompt_probability=1.0)
  marked = 0

  for batch in with_prompts:
    for prompts, segments in zip(batch["prompts"], batch["segments"], strict=True):
      for segment in range(1, segments.max() + 1):
        of_sample = prompts[segments == segment]
        # The marked positions come first in their sample, and its own steps follow.
        assert not of_sample[-1] or segment == segments.max()
        assert np.all(of_sample[:-1] >= of_sample[1:])
        marked += int(of_sample.any())

  assert marked > 20


@pytest.fixture(scope="module")
def corrected(tmp_path_factory):
  """Datasets of three episodes of the random actor, corrected by the expert."""
  home = tmp_path_factory.mktemp("corrections")
  domain = rlds_builders.get("dummy")
  environment = domain.make_environment("reach")
  spec = environment_task_spec(domain, "reach", environment)
  policy = loop.PerSlot([loop.RandomExpert(environment.action_spec(), "test")])

  for shard in range(3):
    job = jobs.Job(
      domain,
      "reach",
      POLICY,
      step=5,
      seed=FIRST_CORRECTION_SEED + shard,
      correction=jobs.CorrectionRequest(home / "raw", shard, beta=0.0),
    )
    corrections.play(job, environment, spec, policy=policy)

  rlds_builder.build(domain, "reach", home / "raw", home / "tfds")
  prepare.prepare(home / "tfds", TASK, TEXT)
  return home / "tfds"


def test_corrections_have_a_share_of_their_own_and_the_experts_labels(dummy_tfds, corrected):
  inputs, made = batches(
    dummy_tfds, corrections_dir=corrected, corrections=0.25, window_steps=2, count=20
  )
  name = f"{TASK} (corrections)"

  assert inputs.shares == {name: 0.25, TASK: 0.75}
  assert list(inputs.expert_windows) == [TASK] and list(inputs.task_specs) == [TASK]

  components = np.concatenate([batch["components"] for batch in made])
  share = np.mean(components == inputs.names.index(name))

  assert 0.15 < share < 0.35

  # The executed actions are random ones: the labels differ nearly everywhere.
  for batch in made:
    is_action = batch["kinds"] == Kind.ACTION
    of_corrections = (batch["components"] == inputs.names.index(name))[:, None] & is_action
    differs = batch["tokens"] != batch["labels"]
    assert not differs[is_action & ~of_corrections].any()
    if of_corrections.any():
      assert differs[of_corrections].mean() > 0.2


def test_corrections_count_for_nothing_else(dummy_tfds, corrected):
  """Neither the expert's return nor the demonstrations know of them."""
  with_them, _ = batches(dummy_tfds, corrections_dir=corrected, count=1)
  without, _ = batches(dummy_tfds, count=1)

  assert with_them.datasets[TASK].expert_return == without.datasets[TASK].expert_return
  assert len(with_them.datasets[TASK]) == EPISODES
  assert len(with_them.datasets[f"{TASK} (corrections)"].kept) == 3

  # A share of nothing, and the validation split, leave them out.
  none, _ = batches(dummy_tfds, corrections_dir=corrected, corrections=0.0, count=1)

  assert none.names == [TASK]


def test_corrections_of_a_mixture_that_learns_executed_actions_are_refused(dummy_tfds, corrected):
  with pytest.raises(GatoError, match="data.corrections=0"):
    batches(dummy_tfds, corrections_dir=corrected, labels="executed", count=1)


@pytest.mark.parametrize("name", ["history_dropout", "corrections"])
def test_shares_lie_between_0_and_1(name):
  with pytest.raises(GatoError, match=f"data.{name}=1.5: a share"):
    mixture.MixtureConfig(**{name: 1.5})
