"""Actions along recorded episodes: predictions given the true past.

Baselines, intervals, rows and refusals.
"""

import dataclasses
import json

import av
import numpy as np
import pytest
from PIL import Image

from experiments.analysis.recorded import measure, rows
from experiments.analysis.report import action_scores, page, recorded_video
from gato_jax import agent
from gato_jax.data import prepared, records
from gato_jax.data.mixture import MixtureConfig
from gato_jax.env import results
from gato_jax.errors import GatoError

TASKS = ["dummy.reach", "dummy.reach_discrete"]
CONFIG = MixtureConfig(validation_every=5, keep=0.0)
GREEDY = agent.ActConfig(temperature=0.0)
STEPS = 6  # of 26 tokens, which fit into the memory of 256 behind a prompt of 128


@pytest.fixture(scope="module")
def policy(small_workdir):
  return agent.Policy(small_workdir)


@pytest.fixture(scope="module")
def measured(policy, dummy_tfds, tmp_path_factory):
  workdir = tmp_path_factory.mktemp("measured")
  assert run(policy, dummy_tfds, workdir) == 12
  return workdir


def run(policy, tfds_dir, workdir, config=CONFIG, act=GREEDY, episodes=50, steps=5):
  return measure.run(
    policy, act, tfds_dir, TASKS, config, workdir, episodes, steps, film=recorded_video.write
  )


@pytest.mark.parametrize(
  ("task", "act"),
  [
    ("dummy.reach", GREEDY),
    pytest.param(
      "dummy.reach", dataclasses.replace(GREEDY, memory_steps=3), marks=pytest.mark.slow
    ),
    pytest.param("dummy.reach", dataclasses.replace(GREEDY, prompt="none"), marks=pytest.mark.slow),
    ("dummy.reach_discrete", dataclasses.replace(GREEDY, prompt="none", memory_steps=1)),
  ],
  ids=["prompt", "three steps", "no prompt", "one step"],
)
def test_given_what_acting_did_it_chooses_what_acting_chose(policy, dummy_tfds, task, act):
  """Given its own actions as the true past, the policy chooses the same actions again."""
  data = prepared.load(dummy_tfds, task)
  episode = int(np.argmax(data.lengths))
  observation, recorded = data.window(episode, 0, STEPS)
  engine = policy.engine([task], 1, act)
  engine.start(0, task, episode)
  packed = [
    engine.pack(task, {key: column[t] for key, column in observation.items()}) for t in range(STEPS)
  ]
  acted = np.stack([engine.act({0: one})[0] for one in packed])

  assert len(np.unique(acted.reshape(STEPS, -1), axis=0)) > 1 or act.memory_steps == 1

  follower = measure.Follower(policy, act, task, data)

  np.testing.assert_array_equal(
    follower.actions(episode, observation, acted, np.arange(STEPS)), acted
  )

  other = follower.actions(episode, observation, recorded[::-1].copy(), np.arange(STEPS))

  assert (act.memory_steps == 1) == np.array_equal(other, acted)  # with a memory the past matters


@pytest.mark.parametrize("task", TASKS)
def test_baselines_are_what_they_say(measured, dummy_tfds, task):
  source = records.EpisodeRecords(records.directory_of(dummy_tfds, task))
  found = [row for row in read(measured) if row.task == task]

  assert [row.episode for row in found] == list(
    range(4, 30, 5)
  )  # every fifth of thirty, and none that trained

  training = np.concatenate([source.episode(i)[1] for i in range(30) if i % 5 != 4])
  discrete = task == "dummy.reach_discrete"
  constant = np.bincount(training).argmax() if discrete else training.mean(axis=0)

  for row in found:
    actions = source.episode(row.episode).action
    at = measure._sample(f"steps/{task}/{row.episode}", len(actions), 5)
    before = np.concatenate([np.asarray(constant)[None], actions[:-1]])[at]
    for expected, ours in ((before, row.copied), (constant, row.constant)):
      apart = expected != actions[at] if discrete else np.abs(expected - actions[at])
      np.testing.assert_allclose(ours, np.atleast_1d(apart.mean(axis=0)), rtol=1e-5, atol=1e-7)

    assert (
      row.steps == min(5, len(actions))
      and row.discrete == discrete
      and len(row.error) == (1 if discrete else 2)
    )


def read(workdir):
  return list(results.read(workdir / rows.ROWS, rows.ActionErrorRow))


@pytest.mark.slow  # the measurement once more
def test_only_what_is_missing_is_measured(policy, dummy_tfds, measured, tmp_path):
  lines = (measured / rows.ROWS).read_text().splitlines(keepends=True)
  (tmp_path / rows.ROWS).write_text("".join(lines[:5] + lines[7:]))

  assert run(policy, dummy_tfds, tmp_path) == 2 and run(policy, dummy_tfds, tmp_path) == 0
  assert sorted(map(str, read(tmp_path))) == sorted(map(str, read(measured)))
  assert run(policy, dummy_tfds, tmp_path, act=agent.ActConfig(temperature=1.0), episodes=2) == 4
  assert {score.temperature for score in action_scores.scores(read(tmp_path))} == {
    1.0
  }  # measured last


@pytest.mark.parametrize(
  ("trained", "validation_every", "said"),
  [
    (
      0,
      0,
      r"no recorded episode held out \(data.validation_every=0\).*; train with --config.data.validation_every=10",
    ),
    (
      0,
      10,
      r"no recorded episode held out \(data.validation_every=0\).*; train with --config.data.validation_every=10",
    ),
    (31, 31, "with data.validation_every=31 to hold out there are none of 30"),
    (
      5,
      4,
      "was trained with data.validation_every=5, now it is 4: .* measure with --config.data.validation_every=5",
    ),
    (
      5,
      0,
      "was trained with data.validation_every=5, now it is 0: .* measure with --config.data.validation_every=5",
    ),
  ],
)
def test_what_trained_is_never_measured(
  policy, dummy_tfds, tmp_path, monkeypatch, trained, validation_every, said
):
  monkeypatch.setitem(policy.meta, "config", {"data": {"validation_every": trained}})
  with pytest.raises(GatoError, match=said):
    run(
      policy,
      dummy_tfds,
      tmp_path,
      config=dataclasses.replace(CONFIG, validation_every=validation_every),
    )
  assert not (tmp_path / rows.ROWS).exists()


def made(episode, error, steps=10, step=7, data="x", copied=0.5):
  return rows.ActionErrorRow(
    "a.b", step, data, episode, 0.0, False, steps, [error, 0.3], [copied, 0.2], [0.9, 0.1]
  )


def test_scores_weigh_steps_and_resample_episodes():
  ours, other = action_scores.scores(
    [made(0, 9.0, step=6), made(1, 9.0, data="old"), made(0, 0.1), made(1, 0.4, 30)]
  )

  assert (ours.error, other.error) == pytest.approx((0.325, 0.3)) and (
    ours.episodes,
    ours.steps,
  ) == (2, 40)
  assert 0.1 <= ours.low < ours.error < ours.high <= 0.4 and ours.beats
  assert (
    np.isnan(other.low) and not other.beats
  )  # each episode has the same error, larger than both others
  assert action_scores.scores([made(0, 9.0, step=6), made(0, 0.1)], step=6)[0].error == 9.0

  wide = action_scores.scores([made(i, e) for i, e in enumerate([0.1, 0.9, 0.1, 0.6])])[0]

  assert wide.error < wide.copied < wide.high and not wide.beats


def test_a_video_shows_images_and_both_actions(measured, dummy_tfds):
  facts = json.loads((measured / "recorded/dummy.reach.json").read_text())
  assert facts == {"step": 5, "episode": 4}

  with av.open(str(measured / "recorded/dummy.reach.mp4")) as container:
    frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
  data = prepared.load(dummy_tfds, "dummy.reach", keep=0.0)
  assert len(frames) == data.lengths[4]

  # The image of the first step is above the curves, and only there.
  observation, _ = data.window(4, 0, 1)
  (image,) = [column[0] for column in observation.values() if column.ndim == 4]
  side = recorded_video._IMAGE_HEIGHT
  shown = frames[0][:side, :side].astype(float)
  enlarged = np.asarray(Image.fromarray(image).resize((side, side)))
  assert np.abs(shown - enlarged).mean() < 10 and frames[0].shape[0] > side

  # The line moves to the right.
  blue = [np.abs(f[side:].astype(float) - recorded_video._CURSOR).sum(-1) < 60 for f in frames]
  places = [np.argmax(mask.sum(0)) for mask in blue]
  assert places == sorted(places) and places[-1] > places[0] + 100


def test_the_report_shows_them_alone(measured, tmp_path, capsys):
  found = action_scores.scores(read(measured))
  paths = [tmp_path / name for name in ("none", "no", "nor")]
  earlier = [dataclasses.replace(row, step=2) for row in read(measured)]
  path, scored = page.write(
    tmp_path / "report",
    *paths,
    {"config": "x"},
    actions=found,
    recorded_rows=[*read(measured), *earlier],
    recorded_videos=measured / rows.VIDEOS,
  )
  text = path.read_text()

  assert '<video src="recorded/dummy.reach.mp4"' in text and "held-out episode 4" in text
  assert (tmp_path / "report/recorded/dummy.reach.mp4").read_bytes()
  assert (tmp_path / "report/action_errors.png").exists()

  assert (
    not scored
    and "Actions of recorded episodes" in text
    and "dummy.reach_discrete" in text
    and " %</td>" in text
  )

  action_scores.show(found)
  shown = capsys.readouterr().out

  assert (
    "last action" in shown and "at temperature 0 on " in shown and shown.count("dummy.reach ") == 2
  )
