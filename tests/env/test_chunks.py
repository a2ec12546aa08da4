"""Action chunks: what a timestep holds, what is executed, and who must not be asked for it."""

import dm_env
import numpy as np
import pytest
from dm_env import specs

from gato_jax.data import mixture, pipeline, prepared
from gato_jax.env import chunks
from gato_jax.errors import GatoError
from gato_jax.task import TaskSpec
from gato_jax.tokens import codec
from gato_jax.tokens.vocabulary import Kind

TEXT = codec.default_text_codec()
SIZE = 3


@pytest.mark.parametrize(
  "action",
  [
    specs.BoundedArray((2,), np.float32, [-1, 0], [1, 10]),
    specs.BoundedArray((2,), np.float32, -0.1, 0.1),
    specs.DiscreteArray(5, np.int32),
  ],
)
def test_a_chunk_has_the_bounds_of_each_action(action):
  spec = chunks.with_chunk(TaskSpec("a.b", {"x": specs.Array((1,), np.float32)}, action), SIZE)
  assert spec.action.shape == (SIZE, *action.shape) and spec.action.dtype == action.dtype

  for i in range(SIZE):
    np.testing.assert_array_equal(
      spec.action.minimum[i], np.broadcast_to(action.minimum, action.shape)
    )
    np.testing.assert_array_equal(
      spec.action.maximum[i], np.broadcast_to(action.maximum, action.shape)
    )


@pytest.mark.parametrize("task", ["dummy.reach", "dummy.reach_discrete"])
def test_a_step_holds_its_action_and_those_that_follow(dummy_tfds, task):
  single = prepared.load(dummy_tfds, task, keep=0)
  chunked = prepared.load(dummy_tfds, task, keep=0, chunk=SIZE)

  for episode in (0, 7):
    length = int(single.lengths[episode])
    whole = single.read([(episode, 0, length)])

    # Pieces in the middle, over the end, and of one step; several at once.
    pieces = [(episode, 1, 4), (episode, length - 2, length), (episode, 0, 1)]
    read = chunked.read(pieces)
    steps = [1, 2, 3, length - 2, length - 1, 0]

    for row, step in enumerate(steps):
      following = [min(step + i, length - 1) for i in range(SIZE)]
      np.testing.assert_array_equal(read.action[row], whole.action[following])
      np.testing.assert_array_equal(read.expert_action[row], whole.expert_action[following])
      for key, column in whole.observation.items():
        np.testing.assert_array_equal(read.observation[key][row], column[step])


def test_batches_predict_every_action_of_the_chunk(dummy_tfds):
  def batch(chunk):
    config = mixture.MixtureConfig(
      weights={"dummy.reach": 1.0}, sequence_length=128, prompt_probability=0.0, chunk=chunk
    )
    inputs = pipeline.Input(config, dummy_tfds, 4, TEXT, 512)
    return inputs, next(inputs.batches())

  inputs, made = batch(SIZE)

  assert inputs.task_specs["dummy.reach"].action.shape == (SIZE, 2)

  is_action = made["kinds"] == Kind.ACTION

  assert made["targets"][is_action].all()

  steps = (made["kinds"] == Kind.SEPARATOR).sum()

  assert is_action.sum() == 2 * SIZE * steps

  inputs, made = batch(0)

  assert inputs.task_specs["dummy.reach"].action.shape == (2,)


def test_the_first_actions_of_a_chunk_are_executed_one_by_one():
  class Counting:
    """Gives chunks whose actions say when they were asked for."""

    def __init__(self):
      self.calls = []

    def reset(self, slot, seed):
      del slot, seed

    def act(self, timesteps):
      self.calls.append(sorted(timesteps))
      number = len(self.calls)
      return {slot: np.array([10 * number, 10 * number + 1, 10 * number + 2]) for slot in timesteps}

  inner = Counting()
  actor = chunks.ChunkedActor(inner, 2)
  step = dm_env.restart(None)
  actor.reset(0, 0)
  executed = [int(actor.act({0: step})[0]) for _ in range(3)]
  actor.reset(1, 0)  # another slot begins in the middle of a chunk
  executed += [{slot: int(a) for slot, a in actor.act({0: step, 1: step}).items()}]

  assert executed == [10, 11, 20, {0: 21, 1: 30}]
  assert inner.calls == [[0], [0], [1]]

  with pytest.raises(GatoError, match="act.chunk_steps=0"):
    chunks.ChunkedActor(inner, 0)


def test_a_negative_chunk_is_refused():
  with pytest.raises(GatoError, match="data.chunk=-1"):
    mixture.MixtureConfig(chunk=-1)
