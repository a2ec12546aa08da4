"""Perturbed actions, independent random streams, and steps that violate the spec."""

import re

import numpy as np
import pytest
import quirky_domain
from scipy import stats

import rlds_builders
from experiments import collect as verb
from gato_jax import randomness
from gato_jax.env import collect, logs, loop, results
from gato_jax.env.collect import perturbations
from gato_jax.env.results import Failure
from gato_jax.errors import GatoError

KEY = 7269002234897570033
CONTINUOUS = rlds_builders.get("dummy").make_environment("reach").action_spec()


def collected(raw, settings, shards=2, domain=None, task="reach"):
  """Rows and columns of the episodes of the first shards, ten episodes each."""
  domain = domain or rlds_builders.get("dummy")
  for index in range(shards):
    collect.collect_shard(domain, task, raw, index, range(10 * index, 10 * index + 10), settings)
  return [
    one
    for shard in logs.shards(logs.task_directory(raw, domain.name, task))
    for one in logs.read_shard(shard)
  ]


@pytest.mark.parametrize(
  "settings", [dict(disturbance=0.5), dict(mistakes=1.0), dict(disturbance=0.5, mistakes=1.0)]
)
def test_the_log_says_what_was_done_and_what_was_meant(tmp_path, settings):
  domain = rlds_builders.get("dummy")
  environment = domain.make_environment("reach")
  expert = domain.make_expert(environment, "reach")
  changed = 0

  for row, columns in collected(tmp_path, collect.TaskSettings(**settings)):
    executed, meant = columns["action"][:-1], columns["expert_action"][:-1]
    assert row.actor == ("expert" if row.seed < 10 else "expert, disturbed")

    if row.actor == "expert":
      np.testing.assert_array_equal(executed, meant)
    changed += int((executed != meant).any())

    # The next state follows from what was executed, and the expert would have done what was meant.
    environment.seed(row.seed)
    timestep = environment.reset()

    for t in range(row.length):
      np.testing.assert_array_equal(
        columns["observation/body/position"][t], timestep.observation["body"]["position"]
      )
      np.testing.assert_array_equal(meant[t], expert.act(timestep))
      timestep = environment.step(executed[t])

    assert timestep.last()

  assert changed > 3


def draws(domain, task, seeds):
  """Random numbers [seeds, 5]: the dummy's scenes, and a domain's perturbations beside them."""
  environment = rlds_builders.get("dummy").make_environment(task)
  spec, name = environment.action_spec(), f"{domain}.{task}"

  class Still:
    def reset(self, seed):
      pass

    def act(self, timestep):
      return np.zeros(spec.shape, spec.dtype)

  pushed = perturbations.PushedExpert(Still(), name, spec, 0.1)
  mistaken = perturbations.ExpertWithMistakes(Still(), name, spec, 1.0)
  random = loop.RandomExpert(spec, name)
  found = []

  for seed in seeds:
    environment.seed(seed)
    timestep = environment.reset()
    scene = np.concatenate([np.ravel(v) for v in timestep.observation["body"].values()])
    for one in (pushed, mistaken, random):
      one.reset(seed)
    pushes = [pushed.act(timestep)[0]]
    while not pushes[-1]:  # the first steps are not pushed in half of the episodes
      pushes.append(pushed.act(timestep)[0])
    found.append([scene[0], scene[1], pushes[-1], mistaken._probability, random.act(timestep)[0]])

  return np.array(found)


def test_no_stream_is_another_one():
  """Perturbations drawn from default_rng(seed), as scenes are, correlated with them by 1.00."""
  columns = np.concatenate(
    [draws(name, "reach", range(100)) for name in ("dummy", "another")], axis=1
  )
  scenes = (
    0,
    1,
    5,
    6,
  )  # the two domains are one environment: their scenes are equal, and nothing else is
  correlation = np.abs(stats.spearmanr(columns).statistic)

  np.testing.assert_allclose(correlation[0, 5], 1)

  for a in range(10):
    for b in range(a):
      if not (a in scenes and b in scenes):
        assert correlation[a, b] < 0.4, (a, b)  # 100 pairs: 0.33 is exceeded once in a thousand


def test_a_stream_is_the_same_on_every_machine_and_in_every_run():
  assert randomness.key("push/dummy.reach") == KEY != randomness.key("push/dummy.reach_discrete")


def test_a_push_is_held_and_does_not_leave_the_bounds():
  class Edge:
    def reset(self, seed):
      self.asked = 0

    def act(self, timestep):
      self.asked += 1
      return CONTINUOUS.maximum + np.zeros(CONTINUOUS.shape, CONTINUOUS.dtype)

  pushed = perturbations.PushedExpert(Edge(), "a.b", CONTINUOUS, 0.5)
  pushed.reset(1)
  actions = np.stack([pushed.act(None) for _ in range(200)]).reshape(20, 10, 2)

  assert (
    (actions == actions[:, :1]).all()
    and (actions <= CONTINUOUS.maximum).all()
    and len(np.unique(actions)) > 2
  )
  np.testing.assert_array_equal(pushed.expert_action, CONTINUOUS.maximum + np.zeros(2, np.float32))


FAULTS = {
  "nan": r"quirky.nan, seed \d, step 5: observation 'x' is not finite",
  "list": "seed .*, step 5: observation 'x' is a list, not a NumPy array",
  "extra_key": r"step 5: the spec has \['x'\], the observation \['x', 'y'\]",
  "missing_key": r"step 5: the spec has \['x'\], the observation \[\]",
  "shape": r"step 5: observation 'x' is not what its spec says: Expected shape \(3,\)",
  "dtype": "step 5: observation 'x' is not what its spec says: Expected dtype .*float32",
  "bounds": "step 5: observation 'x' is not what its spec says: Values were not all within bounds",
  "nan_reward": "step 5: reward is nan, not a finite number",
  "no_reward": "step 5: reward is None; every step but an episode's first has one",
  "restarts": "step 5: step.. began another episode in the middle of one",
  "outside": r"seed \d, step 0: action .* is outside its bounds",
  "expert_shape": r"seed \d, step 0: action has shape \(1,\)",
  "infinite_action": "quirky.infinite_action: the action spec needs finite bounds",
  "image_84": "image.* 16",
  "no_text_tokens": "quirky.no_text_tokens: text field 'text' needs an entry in the domain's max_text_tokens",
}


def test_a_step_that_is_not_what_the_spec_says_stops_its_task_after_the_first_few(tmp_path):
  good = [task for task in quirky_domain.TASKS if task not in FAULTS]
  tasks = [(quirky_domain.DOMAIN, task) for task in [*FAULTS, *good]]
  config = collect.CollectConfig(episodes=12, shard_episodes=4, workers=2, episode_seconds=120.0)
  collection = collect.Collection(tasks, tmp_path, config)

  with pytest.raises(
    GatoError, match=rf"^{len(FAULTS)} tasks were given up after failures in a row, [^\n]*$"
  ):
    verb.run(collection)

  for task, message in FAULTS.items():
    directory = logs.task_directory(tmp_path, "quirky", task)
    failures = list(results.read(directory / "failures.jsonl", Failure))

    assert 1 <= len(failures) <= config.failures + 1, task  # one more: of the other worker

    for failure in failures:
      assert "\n" not in failure.reason and re.search(message, failure.reason), (
        task,
        failure.reason,
      )

    assert not logs.shards(directory)

  for task in good:
    rows = logs.rows(logs.task_directory(tmp_path, "quirky", task))
    assert [row.seed for row in rows] == list(range(12)), task


def test_evaluation_seeds_are_never_collected():
  with pytest.raises(
    GatoError, match="collect.episodes=2,000,000,000: at most 1,000,000,000, since evaluation"
  ):
    collect.CollectConfig(domain_episodes={"dummy": 2_000_000_000})


def test_a_domain_has_one_number_of_episodes_or_one_for_each_task():
  config = collect.CollectConfig(
    episodes=7, domain_episodes={"babyai": 30, "sokoban": {"boxes_4": 5}}
  )

  assert config.episodes_of("meta_world", "reach-v3") == 7
  assert config.episodes_of("babyai", "GoTo") == 30
  assert config.episodes_of("sokoban", "boxes_4") == 5
  assert config.episodes_of("sokoban", "boxes_1") == 7
