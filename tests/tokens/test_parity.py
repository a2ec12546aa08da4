"""Acting in every domain makes the tokens of the recorded episode.

Training encodes recorded episodes with `TokenLayout.encode`. Acting packs each observation and
tokenises it inside the compiled step. Both must make the same tokens.
"""

import jax
import numpy as np
import pytest
from dm_env import specs

import rlds_builders
from gato_jax.agent import buckets, step
from gato_jax.domain import SimulatedDomain, environment_task_spec
from gato_jax.env import logs, loop, sequential
from gato_jax.task import TaskSpec, flatten
from gato_jax.tokens import codec, layout, packing, vocabulary
from gato_jax.tokens.vocabulary import Kind

pytestmark = pytest.mark.alone  # simulators run here, and TensorFlow in its neighbours

# Enough to see every field move; episodes of the control suite have 1,000 steps.
_STEPS = 40
SIMULATED_DOMAINS = [
  domain for domain in rlds_builders.domains().values() if isinstance(domain, SimulatedDomain)
]


class _RecordingExpert:
  """Expert that packs each observation it is shown, as an engine would."""

  def __init__(self, expert, token_layout):
    self._expert = expert
    self._layout = token_layout
    self.packed = []

  def reset(self, seed):
    self._expert.reset(seed)

  def act(self, timestep):
    self.packed.append(packing.pack(self._layout, flatten(timestep.observation)))
    return self._expert.act(timestep)


class _ShortEpisodes:
  """Environment whose episodes end after `_STEPS` steps."""

  def __init__(self, environment):
    self._environment = environment
    self._steps_left = 0

  def __getattr__(self, name):
    return getattr(self._environment, name)

  def reset(self):
    self._steps_left = _STEPS
    return self._environment.reset()

  def step(self, action):
    timestep = self._environment.step(action)
    self._steps_left -= 1
    return timestep._replace(step_type=2) if self._steps_left <= 0 else timestep


def acting_chunks(token_layout, packed):
  """Tokenises packed observations of one task as the compiled step does, one at a time."""
  task = token_layout.spec.name
  layouts = {task: token_layout}
  (bucket,) = buckets.group(layouts)
  tables = buckets.tables(bucket, layouts)
  row_tables = {name: table for name, table in tables.items() if name != "centres"}
  tokenise = jax.jit(step.tokenise)

  for observation in packed:
    padded = buckets.pad_observations(bucket, 1, {0: observation})
    pending = np.array([step.NONE_PENDING], np.int32)
    yield jax.device_get(tokenise(row_tables, pending, **padded))


@pytest.mark.parametrize("domain", SIMULATED_DOMAINS, ids=lambda d: d.name)
def test_acting_makes_the_tokens_of_the_recorded_episode(domain, tmp_path):
  task = domain.tasks[0]
  environment = domain.make_environment(task)
  spec = environment_task_spec(domain, task, environment)
  token_layout = layout.TokenLayout(spec, codec.default_text_codec())
  expert = _RecordingExpert(domain.make_expert(environment, task), token_layout)

  with logs.ShardWriter(tmp_path, 0, _ShortEpisodes(environment)) as writer:
    for episode in loop.run_episodes([writer.environment], loop.PerSlot([expert]), [3]):
      writer.append(sequential.row(spec.name, "expert", 0, episode))

  ((row, columns),) = logs.read_shard(tmp_path / "shard-00000")

  # The last row of a log is the observation after the last action, which nobody acts on.
  observation = {
    key.removeprefix("observation/"): column[:-1]
    for key, column in columns.items()
    if key.startswith("observation/")
  }
  recorded = token_layout.encode(observation, columns["action"][:-1])

  assert len(expert.packed) == row.length > 0

  length = token_layout.observation_length + 1
  patch_count = token_layout.patch_count

  for t, chunk in enumerate(acting_chunks(token_layout, expert.packed)):
    where = f"{domain.name}, step {t}"

    # Index 0 is the action token of the step before; the observation and the separator follow.
    acting = {name: chunk[name][0, 1 : 1 + length] for name in ("tokens", "kinds", "locals")}
    training = {name: getattr(recorded, name)[t, :length] for name in acting}

    np.testing.assert_array_equal(acting["kinds"], training["kinds"], err_msg=where)
    assert not chunk["kinds"][0, 1 + length :].any(), where

    # Unused positions of text fields are padding on both sides; nothing attends to them.
    attended = training["kinds"] != Kind.PADDING

    for name in ("tokens", "locals"):
      np.testing.assert_array_equal(
        acting[name][attended], training[name][attended], err_msg=f"{where}: {name}"
      )

    # In acting, patch_slots picks the patch of a position; in training they lie in token order.
    is_patch = acting["kinds"] == Kind.PATCH
    slots = chunk["patch_slots"][0, 1 : 1 + length][is_patch]

    assert len(slots) == patch_count == len(recorded.patches[t]), where
    np.testing.assert_array_equal(chunk["patches"][0, slots], recorded.patches[t], err_msg=where)
    np.testing.assert_array_equal(
      chunk["patch_positions"][0, slots], token_layout.patch_positions, err_msg=where
    )


def test_a_scaled_state_has_the_same_bins_in_training_and_acting():
  random = np.random.default_rng(0)
  low, high = np.array([-0.02, 10, -3], np.float32), np.array([0.01, 11, 400], np.float32)
  spec = TaskSpec(
    "robot.lift",
    observation={
      "joints": specs.BoundedArray((3,), np.float32, low, high),
      "speed": specs.Array((2,), np.float32),
    },
    action=specs.BoundedArray((2,), np.float32, -1, 1),
    scaled=("joints",),
  )
  token_layout = layout.TokenLayout(TaskSpec.from_json(spec.to_json()), codec.default_text_codec())

  # A tenth of the range lies outside on either side; the rest covers all bins.
  share = random.uniform(-0.1, 1.1, (2000, 3))
  joints = (low + share * (high - low)).astype(np.float32)
  speed = random.normal(size=(2000, 2)).astype(np.float32)
  tokens = token_layout.encode({"joints": joints, "speed": speed}, None).tokens

  bins = tokens[:, :3] - vocabulary.CONTINUOUS_OFFSET
  expected = np.clip(np.floor(share * 1024), 0, 1023)
  assert np.abs(bins - expected).max() <= 1 and (bins == expected).mean() > 0.99
  assert bins.min() == 0 and bins.max() == 1023

  packed = [
    packing.pack(token_layout, {"joints": joints[t], "speed": speed[t]}) for t in range(200)
  ]
  for t, chunk in enumerate(acting_chunks(token_layout, packed)):
    np.testing.assert_array_equal(chunk["tokens"][0, 1:6], tokens[t, :5])


@pytest.mark.parametrize(
  "domain",
  # Ten seconds to make its environment, and a test of its own that compares more.
  [domain for domain in SIMULATED_DOMAINS if domain.name != "rgb_stacking"],
  ids=lambda d: d.name,
)
def test_an_episode_depends_on_its_seed_and_nothing_before(domain):
  task = domain.tasks[0]
  environment = domain.make_environment(task)

  def first_observation(seed):
    environment.seed(seed)
    return flatten(environment.reset().observation)

  once, other, again = first_observation(5), first_observation(6), first_observation(5)

  for key, value in once.items():
    np.testing.assert_array_equal(value, again[key], err_msg=key)

  assert any(not np.array_equal(once[key], other[key]) for key in once)
