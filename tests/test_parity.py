"""Every domain found: acting step by step gives the tokens of the recorded episode. Simulators, no TensorFlow."""

import numpy as np
import pytest

import rlds_builders
from gato_jax import environment_loop, logs, specs
from gato_jax.evaluate import sequential
from gato_jax.tokens import codec, layout

_STEPS = 40  # enough to see every field move; control-suite episodes have 1000
CONTROL_DOMAINS = [domain for domain in rlds_builders.domains().values() if domain.environment]


class _Recorder:
  """An expert that keeps the tokens of each observation it is shown, as an agent would make them."""

  def __init__(self, expert, token_layout):
    self._expert, self._layout = expert, token_layout
    self.seen = []

  def reset(self, seed):
    self._expert.reset(seed)

  def act(self, timestep):
    observation = specs.flatten(timestep.observation)
    self.seen.append(self._layout.encode({k: np.asarray(v)[None] for k, v in observation.items()}, None))
    return self._expert.act(timestep)


class _Short:
  """Ends an environment's episode early."""

  def __init__(self, environment):
    self._environment = environment
    self._left = 0

  def __getattr__(self, name):
    return getattr(self._environment, name)

  def reset(self):
    self._left = _STEPS
    return self._environment.reset()

  def step(self, action):
    timestep = self._environment.step(action)
    self._left -= 1
    return timestep._replace(step_type=2) if self._left <= 0 else timestep


@pytest.mark.parametrize("domain", CONTROL_DOMAINS, ids=lambda d: d.name)
def test_acting_gives_the_tokens_of_the_recorded_episode(domain, tmp_path):
  task = domain.tasks[0]
  environment = domain.make_environment(task)
  spec = specs.environment_task_spec(domain, task, environment)
  token_layout = layout.TokenLayout(spec, codec.default_text_codec())
  expert = _Recorder(domain.make_expert(environment, task), token_layout)
  with logs.ShardWriter(tmp_path, 0, _Short(environment)) as writer:
    for e in environment_loop.run_episodes([writer.environment], environment_loop.PerSlot([expert]), [3]):
      writer.append(sequential.row(spec.name, "expert", 0, e))
  ((row, columns),) = logs.read_shard(tmp_path / "shard-00000")
  observation = {k.removeprefix("observation/"): v[:-1] for k, v in columns.items() if k.startswith("observation/")}
  recorded = token_layout.encode(observation, columns["action"][:-1])
  assert len(expert.seen) == row.length > 0
  width = token_layout.observation_length + 1
  for t, live in enumerate(expert.seen):
    np.testing.assert_array_equal(live.tokens[0], recorded.tokens[t, :width], err_msg=f"step {t}")
    np.testing.assert_array_equal(live.kinds[0], recorded.kinds[t, :width])
    np.testing.assert_array_equal(live.locals[0], recorded.locals[t, :width])
    np.testing.assert_array_equal(live.patches[0], recorded.patches[t])


@pytest.mark.parametrize("domain", CONTROL_DOMAINS, ids=lambda d: d.name)
def test_an_episode_depends_on_its_seed_and_nothing_before(domain):
  task = domain.tasks[0]
  environment = domain.make_environment(task)

  def first(seed):
    environment.seed(seed)
    return specs.flatten(environment.reset().observation)

  once, other, again = first(5), first(6), first(5)
  for key, value in once.items():
    np.testing.assert_array_equal(value, again[key], err_msg=key)
  assert any(not np.array_equal(once[key], other[key]) for key in once)
