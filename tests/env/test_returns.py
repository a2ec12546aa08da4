"""Return conditioning: switched off it changes nothing.

Switched on, the return-to-go is the return earned in training and the return asked for in acting.
"""

import dataclasses
import json

import dm_env
import numpy as np
import pytest
import small_network

import rlds_builders
from experiments.analysis import studies
from experiments.analysis.report import study_page
from gato_jax import agent, evaluate
from gato_jax.data import check, pipeline, prepare, prepared, records
from gato_jax.data.mixture import MixtureConfig
from gato_jax.domain import environment_task_spec
from gato_jax.env import collect, logs, loop, results, returns
from gato_jax.env.collect import perturbations
from gato_jax.env.results import POLICY
from gato_jax.errors import GatoError
from gato_jax.evaluate import evaluation, jobs, simulator_pool
from gato_jax.randomness import FIRST_EVALUATION_SEED
from gato_jax.task import TaskSpec, spec_difference
from gato_jax.tokens import codec, vocabulary
from gato_jax.train import checkpoint

TASK, KEY = "dummy.reach", returns.RETURN_TO_GO
WEIGHTS = {TASK: 1.0}


def batch(tfds_dir, **settings):
  config = MixtureConfig(weights=WEIGHTS, sequence_length=256, **settings)
  data = pipeline.Input(config, tfds_dir, 2, codec.default_text_codec(), 512)
  return data, next(data.batches())


def test_the_return_to_go_is_what_the_records_rewards_sum_to(dummy_tfds):
  data = prepared.load(dummy_tfds, TASK, keep=0, with_returns=True)
  source = records.EpisodeRecords(data.directory)

  for index in (0, 7):
    episode = source.episode(index)
    rewards, metadata = episode.rewards, episode.metadata
    observation, _ = data.window(index, 2, 5)
    expected = [
      100 * rewards[i:].sum() / abs(data.expert_return) for i in (2, 3, 4)
    ]  # rewards here are negative
    np.testing.assert_allclose(observation[KEY], expected, rtol=1e-5)
    assert data.returns_to_go(index, 0, 1)[0] == pytest.approx(metadata["return"], rel=1e-5)

  assert data.best()[0][0][KEY][0] == pytest.approx(
    100 * data.returns.max() / abs(data.expert_return), rel=1e-5
  )


def test_off_specs_fingerprints_tokens_and_rows_are_those_of_before(dummy_tfds):
  plain, rows = batch(dummy_tfds)
  spec = plain.task_specs[TASK]
  stored = json.loads((plain.datasets[TASK].directory / "metadata.json").read_text())

  assert "expert_return" not in spec.to_json() and KEY not in spec.observation
  assert spec.fingerprint() == TaskSpec.from_json(stored["spec"]).fingerprint() == "77d524d1de2e"

  on, more = batch(dummy_tfds, returns=True)

  assert on.task_specs[TASK].fingerprint() != spec.fingerprint()

  # The same draws: without the field's column the timesteps with it are those without, step for
  # step.
  before, after = plain.windows[TASK].layout, on.windows[TASK].layout
  field = next(f for f in after.observation if f.key == KEY)

  assert (after.length, field.size, field.kind) == (
    before.length + 1,
    1,
    vocabulary.Kind.CONTINUOUS,
  )

  observation, action = on.datasets[TASK].window(3, 0, 4)
  with_field = after.encode(observation, action).tokens
  without = before.encode({k: v for k, v in observation.items() if k != KEY}, action).tokens

  np.testing.assert_array_equal(np.delete(with_field, field.start, axis=1), without)

  bins = with_field[:, field.start] - vocabulary.CONTINUOUS_OFFSET

  np.testing.assert_array_equal(bins, codec.mu_law_bins().encode(observation[KEY]))
  assert rows["tokens"].shape == more["tokens"].shape


def test_keep_0_takes_all_episodes_whatever_their_return(tmp_path):
  raw, domain = tmp_path / "raw", rlds_builders.get("dummy")
  for index in range(2):
    collect.collect_shard(
      domain,
      "reach",
      raw,
      index,
      range(10 * index, 10 * index + 10),
      collect.TaskSettings(mistakes=1.0),
    )

  rows = logs.rows(logs.task_directory(raw, "dummy", "reach"))
  means = {
    name: np.mean([r.episode_return for r in rows if r.actor == name])
    for name in {r.actor for r in rows}
  }

  assert means["expert, disturbed"] < means["expert"]  # shard 1 erred, shard 0 did not

  from rlds_builders.base import rlds_builder

  rlds_builder.build(domain, "reach", raw, tmp_path / "tfds")
  prepare.prepare(tmp_path / "tfds", TASK, codec.default_text_codec())

  assert not check.check(tmp_path / "tfds", TASK, 256)["problems"]

  strict, all_of_them = (prepared.load(tmp_path / "tfds", TASK, keep) for keep in (0.8, 0))

  assert len(strict.kept) < len(all_of_them.kept) == 20
  assert strict.expert_return == all_of_them.expert_return  # of the episodes without mistakes


def test_an_erring_expert_errs_as_often_as_it_should():
  class Expert:
    def reset(self, seed):
      self.asked = 0

    def act(self, timestep):
      self.asked += 1
      return np.ones(2, np.float32)

  spec = dm_env.specs.BoundedArray((2,), np.float32, 1.0, 2.0)  # random actions are never 1
  expert = Expert()
  actor, shares = perturbations.ExpertWithMistakes(expert, TASK, spec, 1.0), []

  for seed in range(60):
    actor.reset(seed)
    actions = np.stack([actor.act(None) for _ in range(100)])
    assert expert.asked == 100
    held = actions.reshape(10, 10, 2)
    assert (held == held[:, :1]).all()  # a mistake lasts ten steps
    shares.append(np.mean(actions[:, 0] != 1))

  assert (
    min(shares) < 0.15 and max(shares) > 0.85 and np.mean(shares) == pytest.approx(0.5, abs=0.1)
  )


class Told:
  """An actor that keeps the return-to-go of each observation."""

  def __init__(self):
    self.told = []

  def reset(self, slot, seed):
    pass

  def act(self, timesteps):
    self.told += [float(t.observation[KEY]) for t in timesteps.values()]
    return dict.fromkeys(timesteps, np.int32(0))


@pytest.mark.parametrize(
  ("expert", "target", "expected"), [(50.0, 1.2, [120, 118, 114]), (-50.0, 1.2, [-80, -82, -86])]
)
def test_what_is_left_of_the_return_asked_for(expert, target, expected):
  actor = Told()
  asking = returns.ReturnConditionedActor(actor, returns.ReturnTarget(expert, target))

  for seed in range(2):  # the second episode begins anew
    asking.reset(0, seed)
    asking.act({0: dm_env.restart({})})
    for reward in (1.0, 2.0):
      asking.act({0: dm_env.transition(reward, {})})

  np.testing.assert_allclose(actor.told, 2 * expected)


def test_specs_keep_the_expert_return_and_environments_are_not_asked_for_it():
  domain = rlds_builders.get("dummy")
  spec = environment_task_spec(domain, "reach", domain.make_environment("reach"))
  on = returns.with_return_to_go(spec, 12.5)
  again = TaskSpec.from_json(json.loads(json.dumps(on.to_json())))

  assert again.expert_return == 12.5 and not spec_difference(on, again)
  assert "return_to_go" in spec_difference(spec, on)
  assert "expert return: 12.5 against 13" in spec_difference(
    on, returns.with_return_to_go(spec, 13)
  )
  assert not spec_difference(returns.without_return_to_go(on), spec)
  with pytest.raises(GatoError, match="already has a field"):
    returns.with_return_to_go(on, 12.5)
  with pytest.raises(GatoError, match="no per cent of an expert return of 0"):
    returns.with_return_to_go(spec, 0.0)


def policy_of(path, spec):
  """Policy of an untrained network's checkpoint for one task."""
  store = checkpoint.Checkpoints(path / "checkpoints", keep=1)
  kept = {"model": small_network.SMALL.to_json(), "specs": {TASK: spec.to_json()}}
  store.save(
    5,
    small_network.random_params(),
    {"count": np.zeros([])},
    kept,
    codec.default_text_codec().model,
  )
  store.close()
  return agent.Policy(path)


def test_simulators_supply_it_as_sequential_play_does(dummy_raw, tmp_path):
  domain, environment = (
    rlds_builders.get("dummy"),
    rlds_builders.get("dummy").make_environment("reach"),
  )
  spec = environment_task_spec(domain, "reach", environment)
  act = agent.ActConfig(prompt="none", memory_steps=3, return_target=0.5)
  policy = policy_of(tmp_path, returns.with_return_to_go(spec, 8.0))
  config = evaluate.EvaluateConfig(episodes=3, workers=1, videos=False)

  with simulator_pool.Simulators(config, tmp_path / "log") as simulators:
    run = evaluation.Evaluation([(domain, "reach")], tmp_path, config, simulators)
    run.check_settings(act)
    run.play(run.missing(5), "evaluate", policy, act)
    run.check()

  actor = policy.actor(TASK, 1, act)

  def alone(wanted):
    seeds = range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + 3)
    played = loop.run_episodes([environment], returns.ReturnConditionedActor(actor, wanted), seeds)
    return {one.seed: one.episode_return for one in played}

  played = {row.seed: row.episode_return for row in run.rows}

  assert played == alone(policy.return_target(TASK, act))
  assert played != alone(returns.ReturnTarget(8.0, -40.0))  # what is asked for reaches the network
  with pytest.raises(GatoError, match="act.return_target 0.5, not 1.0"):
    run.check_settings(dataclasses.replace(act, return_target=1.0))


def test_a_policy_that_was_not_trained_so_cannot_be_asked(tmp_path):
  domain = rlds_builders.get("dummy")
  spec = environment_task_spec(domain, "reach", domain.make_environment("reach"))
  policy, act = policy_of(tmp_path, spec), agent.ActConfig(prompt="none", return_target=0.5)

  assert policy.return_target(TASK, agent.ActConfig()) is None

  config = evaluate.EvaluateConfig(episodes=1, workers=1, videos=False)

  with simulator_pool.Simulators(config, tmp_path / "log") as simulators:
    run = evaluation.Evaluation([(domain, "reach")], tmp_path, config, simulators)
    with pytest.raises(
      GatoError, match=r"act.return_target=0.5: dummy.reach was trained without returns"
    ):
      run.play([jobs.Job(domain, "reach", POLICY, 5, 1)], "evaluate", policy, act)


def test_settings_of_before_there_were_returns_are_the_default(tmp_path):
  (tmp_path / "results.jsonl").write_text(
    json.dumps(
      dict(task=TASK, actor="gato", seed=1, episode_return=1, length=1, success=None, seconds=1)
    )
    + "\n"
  )
  old = dataclasses.asdict(agent.ActConfig())
  del old["return_target"]
  (tmp_path / "act.json").write_text(json.dumps(old))
  run = evaluation.Evaluation([], tmp_path, evaluate.EvaluateConfig(), None)
  run.check_settings(agent.ActConfig())

  with pytest.raises(GatoError, match="act.return_target 1.0, not 2.0"):
    run.check_settings(agent.ActConfig(return_target=2.0))


def test_the_section_sets_what_was_asked_for_beside_what_was_got(tmp_path):
  played = []
  for name, target, value in (("filtered", None, 90.0), ("half", 0.5, 40.0), ("whole", 1.0, 95.0)):
    rows = [results.Row("a.b", "gato", seed, value + seed, 10, None, 1.0, 7) for seed in (-1, 0, 1)]
    rows += [results.Row("a.b", "expert", seed, 100.0, 10, None, 1.0) for seed in range(3)]
    results.append(
      tmp_path / name / "results.jsonl",
      [*rows, results.Row("a.b", "random", 0, 0.0, 10, None, 1.0)],
    )
    changes = {} if target is None else {"act.return_target": target}
    run = studies.StudyRun(name, changes, {"arm": name}, plays="work/x", verbs=("evaluate",))
    played.append(study_page.Played(run, tmp_path / name, tmp_path / name))

  study = study_page.Study("s", {}, played)
  path, section = study_page.write(tmp_path / "report", study, "return_conditioning", {})

  assert "filtered 90.0, half 40.0, whole 95.0" in section.text[0]
  assert (
    "0.5: 0.40, 1: 0.95; they differ by 0.08" in section.text[1]
    and section.text[1] in path.read_text()
  )

  lines = {line["arm"]: line for line in section.tables["returns"]}

  assert (
    lines["half"]["low"] < lines["half"]["got"] < lines["half"]["high"]
    and lines["filtered"]["asked"] == ""
  )
  with pytest.raises(GatoError, match="no run of s that was asked for a return"):
    study_page.write(
      tmp_path / "other", study_page.Study("s", {}, played[:1]), "return_conditioning", {}
    )
