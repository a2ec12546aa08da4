"""Corrections: the policy acts, the expert labels, and neither sees the other's stream."""

import numpy as np
import pytest

import rlds_builders
from gato_jax.domain import environment_task_spec
from gato_jax.env import logs, loop
from gato_jax.env.collect import perturbations
from gato_jax.env.results import POLICY
from gato_jax.evaluate import corrections, jobs
from gato_jax.randomness import FIRST_CORRECTION_SEED

DOMAIN = rlds_builders.get("dummy")
TASK = "reach"


class Still:
  """A policy that always takes the lowest action."""

  def __init__(self, spec):
    self._action = np.asarray(spec.minimum, spec.dtype) * np.ones(spec.shape, spec.dtype)
    self.seen = 0

  def reset(self, slot, seed):
    self.seen = 0

  def act(self, timesteps):
    self.seen += 1
    return {slot: self._action for slot in timesteps}


def play(raw, beta, shard=0):
  environment = DOMAIN.make_environment(TASK)
  spec = environment_task_spec(DOMAIN, TASK, environment)
  request = jobs.CorrectionRequest(raw, shard, beta)
  job = jobs.Job(
    DOMAIN, TASK, POLICY, step=7, seed=FIRST_CORRECTION_SEED + shard, correction=request
  )
  row = corrections.play(job, environment, spec, policy=Still(environment.action_spec()))
  environment.close()
  (shard_path,) = logs.shards(logs.task_directory(raw, "dummy", TASK))
  ((logged, columns),) = logs.read_shard(shard_path)

  assert logged == row
  return row, columns


def test_the_policy_acts_and_the_experts_labels_are_those_of_the_states_it_reached(tmp_path):
  row, columns = play(tmp_path, beta=0.0)
  assert row.actor == f"{POLICY}, step 7" and row.seed == FIRST_CORRECTION_SEED

  # The same expert asked again along the logged states.
  environment = DOMAIN.make_environment(TASK)
  environment.seed(row.seed)
  timestep = environment.reset()
  expert = DOMAIN.make_expert(environment, TASK)
  expert.reset(row.seed)
  low = environment.action_spec().minimum

  for step in range(row.length):
    np.testing.assert_array_equal(columns["expert_action"][step], expert.act(timestep))
    np.testing.assert_array_equal(
      columns["action"][step], low * np.ones_like(columns["action"][step])
    )
    timestep = environment.step(columns["action"][step])

  environment.close()

  assert np.any(columns["action"][:-1] != columns["expert_action"][:-1])


def test_beta_executes_the_experts_actions(tmp_path):
  _, columns = play(tmp_path / "all", beta=1.0)
  np.testing.assert_array_equal(columns["action"], columns["expert_action"])

  _, columns = play(tmp_path / "half", beta=0.5)
  same = np.all(columns["action"] == columns["expert_action"], axis=-1)[:-1]
  assert 0.2 < same.mean() < 0.8


def test_what_is_complete_is_not_played_again(tmp_path):
  tasks = [(DOMAIN, TASK)]

  def missing(round_number):
    return corrections.missing(
      tasks, tmp_path, round_number=round_number, episodes=3, beta=0.5, step=1
    )

  assert [job.correction.shard for job in missing(1)] == [0, 1, 2]

  play(tmp_path, beta=0.0, shard=0)

  assert [job.correction.shard for job in missing(1)] == [1, 2]
  assert [job.seed - FIRST_CORRECTION_SEED for job in missing(2)] == [3, 4, 5]


def test_an_expert_that_asks_is_told_what_was_executed():
  class Asking:
    def __init__(self):
      self.told = []

    def reset(self, seed):
      del seed

    def act(self, timestep):
      del timestep
      return np.float32([0.5])

    def executed(self, action):
      self.told.append(float(action[0]))

  environment_spec = loop.specs.BoundedArray((1,), np.float32, -1, 1)
  expert = Asking()
  policy = Still(environment_spec)
  actor = perturbations.CorrectedPolicy(expert, policy, "a.b", environment_spec, beta=0.5)
  actor.reset(0)
  executed = [float(actor.act(loop.dm_env.restart(None))[0]) for _ in range(20)]

  assert policy.seen == 20 and set(executed) == {-1.0, 0.5}
  assert expert.told == [action for action in executed if action != 0.5]


@pytest.mark.parametrize("domain", ["atari", "atari_extended", "manipulation", "rgb_stacking"])
def test_experts_that_follow_their_own_plan_are_left_out(domain):
  assert not rlds_builders.get(domain).corrects
