"""Recorded episodes of TFDS' catalogue, from its real features to a training batch.

Values are mocked.
"""

import dataclasses
import importlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.testing import mocking

import rlds_builders
from gato_jax.data import mixture, pipeline, prepare, prepared
from gato_jax.errors import GatoError
from gato_jax.task import flatten
from gato_jax.tokens import codec, layout
from rlds_builders.base import recorded_source, recorded_spec, rlds_builder

TEXT = codec.default_text_codec()
CODE_DOMAINS = (
  "d4rl_mujoco",
  "unplugged_control_suite",
  "unplugged_locomotion",
  "robosuite",
  "unplugged_dmlab",
)
CODE_TASKS = [(name, task) for name in CODE_DOMAINS for task in rlds_builders.get(name).tasks]
CODE_TASKS += [
  ("unplugged_atari", task) for task in ("asterix", "carnival-last", "zaxxon-last")
]  # all are alike
ROBOTS = rlds_builders.get("robot_rlds").tasks
EPISODES, STEPS = 5, 7


def batch(tfds_dir, name):
  config = mixture.MixtureConfig(name=name, weights={name: 1.0}, sequence_length=1024)
  return next(pipeline.Input(config, tfds_dir, 2, TEXT, 512).batches())


@pytest.mark.parametrize(("name", "task"), CODE_TASKS)
def test_every_task_fits_the_catalogues_features(name, task):
  domain = rlds_builders.get(name)
  spec = recorded_spec.task_spec(domain, task, recorded_source.load(domain.sources[task]))
  table = layout.TokenLayout(spec, TEXT)
  assert spec.observation and table.length <= 512
  assert np.all(spec.action.maximum == (domain.sources[task].choices or 2) - 1)


@pytest.mark.parametrize(
  ("name", "task"),
  [
    ("d4rl_mujoco", "walker2d-expert"),
    ("unplugged_control_suite", "fish_swim"),
    ("unplugged_locomotion", "rodent_gaps"),
    ("robosuite", "can-human"),
  ],
)
def test_catalogue_episodes_train(tmp_path, monkeypatch, name, task):
  domain = rlds_builders.get(name)
  mocked(monkeypatch)
  rlds_builder.build(domain, task, tmp_path, tmp_path)
  recorded = list(recorded_source.load(domain.sources[task]).as_dataset(split="train"))
  flat = [flatten(step) for step in tfds.as_numpy(recorded[2]["steps"])]
  prepare.prepare(tmp_path, f"{name}.{task}", TEXT)
  data = prepared.load(tmp_path, f"{name}.{task}")

  assert len(data) == EPISODES and data.lengths.tolist() == [STEPS - 1] * EPISODES

  observation, actions = data.window(2, 0, STEPS - 1)

  np.testing.assert_array_equal(
    actions, np.array([step["action"] for step in flat[:-1]], np.float32)
  )

  declared = domain.sources[task].observation

  for key, values in observation.items():
    path = declared[key] if declared else f"observation/{key}"
    np.testing.assert_array_equal(
      values, np.array([step[path] for step in flat[:-1]], values.dtype)
    )

  found = batch(tmp_path, f"{name}.{task}")

  assert found["targets"].any() and (found["kinds"] > 0).mean() > 0.5


@pytest.mark.parametrize(
  ("name", "task", "path"),
  [
    ("unplugged_atari", "pong", "observation"),
    ("unplugged_atari", "space_invaders-last", "observation"),
    ("unplugged_dmlab", "rooms_watermaze", "observation/pixels"),
  ],
)
def test_pictures_and_discrete_actions_train(tmp_path, monkeypatch, name, task, path):
  domain = rlds_builders.get(name)
  mocked(monkeypatch, domain.sources[task].choices)
  rlds_builder.build(domain, task, tmp_path, tmp_path)
  recorded = list(
    recorded_source.load(domain.sources[task]).as_dataset(split=domain.sources[task].split)
  )
  steps = [flatten(step) for step in tfds.as_numpy(recorded[2]["steps"])]
  prepare.prepare(tmp_path, f"{name}.{task}", TEXT)
  data = prepared.load(tmp_path, f"{name}.{task}")
  observation, actions = data.window(2, 0, STEPS - 1)

  assert actions.dtype == np.int32 and actions.tolist() == [step["action"] for step in steps[:-1]]

  (picture,) = observation.values()

  assert picture.shape == (STEPS - 1, *domain.sources[task].image_size, 3)
  np.testing.assert_allclose(
    picture.mean(axis=(1, 2, 3)), [step[path].mean() for step in steps[:-1]], atol=3
  )

  if steps[0][path].shape[-1] == 1:
    assert (np.ptp(picture, axis=-1) == 0).all()
  found = batch(tmp_path, f"{name}.{task}")

  assert found["patches"].any() and found["targets"].any()


def test_an_action_that_is_no_choice_is_refused(tmp_path, monkeypatch):
  domain = rlds_builders.get("unplugged_atari")
  fewer = {**domain.sources, "pong": dataclasses.replace(domain.sources["pong"], choices=4)}
  domain = dataclasses.replace(domain, sources=fewer)
  module = importlib.import_module("rlds_builders.unplugged_atari.unplugged_atari_dataset_builder")
  monkeypatch.setattr(module.Builder, "DOMAIN", domain)
  mocked(monkeypatch, 18)

  with pytest.raises(
    GatoError,
    match=r"unplugged_atari.pong: \d+% of the values of action number 0 lie outside \[0, 3",
  ):
    rlds_builder.build(domain, "pong", tmp_path, tmp_path)


def vector(*shape, dtype=np.float32):
  return tfds.features.Tensor(shape=shape, dtype=dtype)


def image(*shape):
  return tfds.features.Image(shape=(*shape, 3))


INSTRUCTION = {
  "natural_language_embedding": vector(512),
  "natural_language_instruction": vector(dtype=np.object_),
}
ARM = {"rotation_delta": vector(3), "world_vector": vector(3)}
# steps of the datasets, as their pages in the catalogue have them: (action, observation, other
# fields)
OPEN_X = {
  "bridge": (
    {**ARM, "open_gripper": np.bool_, "terminate_episode": np.float32},
    {**INSTRUCTION, "image": image(480, 640), "state": vector(7)},
    {},
  ),
  "bridge_data_v2": (
    vector(7),
    {f"image_{i}": image(256, 256) for i in range(4)} | {"state": vector(7)},
    {
      "discount": np.float32,
      "language_embedding": vector(512),
      "language_instruction": tfds.features.Text(),
    },
  ),
  "fractal20220817_data": (
    {
      **ARM,
      "base_displacement_vector": vector(2),
      "base_displacement_vertical_rotation": vector(1),
      "gripper_closedness_action": vector(1),
      "terminate_episode": vector(3, dtype=np.int32),
    },
    {
      **INSTRUCTION,
      "base_pose_tool_reached": vector(7),
      "gripper_closed": vector(1),
      "gripper_closedness_commanded": vector(1),
      "height_to_bottom": vector(1),
      "image": image(256, 320),
      "orientation_box": vector(2, 3),
      "orientation_start": vector(4),
      "robot_orientation_positions_box": vector(3, 3),
      "rotation_delta_to_go": vector(3),
      "src_rotation": vector(4),
      "vector_to_go": vector(3),
      "workspace_bounds": vector(3, 3),
    },
    {},
  ),
  "jaco_play": (
    {
      "gripper_closedness_action": vector(1),
      "terminate_episode": vector(3, dtype=np.int32),
      "world_vector": vector(3),
    },
    {
      **INSTRUCTION,
      "end_effector_cartesian_pos": vector(7),
      "end_effector_cartesian_velocity": vector(6),
      "image": image(224, 224),
      "image_wrist": image(224, 224),
      "joint_pos": vector(8),
    },
    {},
  ),
  "roboturk": (
    {**ARM, "gripper_closedness_action": vector(1), "terminate_episode": np.float32},
    {**INSTRUCTION, "front_rgb": image(480, 640)},
    {},
  ),
}


class Recorded(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """A fetched dataset of the catalogue, as TFRecord, with random values.

  mock_data itself cannot give TensorFlow texts inside of steps.
  """

  def __init__(self, name, version, data_dir):
    self.name, self.VERSION = name, tfds.core.Version(version)
    super().__init__(data_dir=data_dir)

  def _info(self):
    action, observation, more = OPEN_X[self.name]
    flags = dict.fromkeys(("is_first", "is_last", "is_terminal"), np.bool_)
    steps = {"action": action, "observation": observation, "reward": np.float32, **flags, **more}
    features = tfds.features.FeaturesDict({"steps": tfds.features.Dataset(steps)})
    return tfds.core.DatasetInfo(builder=self, features=features)

  def _split_generators(self, dl_manager):
    del dl_manager
    return {"train": self._generate_examples()}

  def _generate_examples(self):
    features = self.info.features["steps"].feature
    steps = list(mocking.RandomFakeGenerator(features, num_examples=EPISODES * STEPS))
    for i in range(EPISODES):
      yield i, {"steps": steps[i * STEPS : (i + 1) * STEPS]}


def mocked(monkeypatch, choices=None):
  """Lets mock_data invent the values of the catalogue's features; our builder writes real files.

  `choices` is the size of a discrete action, which mock_data does not know.
  """
  load = recorded_source.load

  def choose(episode):
    return {
      **episode,
      "steps": episode["steps"].map(lambda step: {**step, "action": step["action"] % choices}),
    }

  def mocked_load(source):
    builder = load(source)
    with tfds.testing.mock_data(num_examples=EPISODES, num_sub_examples=STEPS):
      recorded = builder.as_dataset(split=source.split)
    recorded = recorded.map(choose) if choices else recorded
    builder.as_dataset = lambda split, **_: recorded
    return builder

  monkeypatch.setattr(recorded_source, "load", mocked_load)


def fetched(monkeypatch, folder, task, **changes):
  """Returns the robot domain with one dataset in a TFDS directory."""
  domain = rlds_builders.get("robot_rlds")
  _, name, version = domain.sources[task].dataset.split(":")
  builder = Recorded(name, version, folder)
  builder.download_and_prepare()
  monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(folder))
  changed = {**domain.sources, task: dataclasses.replace(domain.sources[task], **changes)}
  domain = dataclasses.replace(domain, sources=changed)
  module = importlib.import_module("rlds_builders.robot_rlds.robot_rlds_dataset_builder")
  monkeypatch.setattr(module.Builder, "DOMAIN", domain)
  return domain


@pytest.mark.parametrize("task", ROBOTS)
def test_robots_train_and_are_described(tmp_path, monkeypatch, task):
  domain = fetched(
    monkeypatch, tmp_path / "catalogue", task, minimum=(-1.0,), maximum=(1.0,)
  )  # mocked: 0 to 1
  source = domain.sources[task]
  rlds_builder.build(domain, task, tmp_path, tmp_path / "tfds")
  prepare.prepare(tmp_path / "tfds", f"robot_rlds.{task}", TEXT)
  data = prepared.load(tmp_path / "tfds", f"robot_rlds.{task}")
  recorded = list(recorded_source.load(source).as_dataset(split="train"))
  step = [flatten(s) for s in tfds.as_numpy(recorded[1]["steps"])][2]
  observation, actions = data.window(1, 2, 3)

  for key, path in source.observation.items():
    if key == "instruction":
      assert observation[key][0] == step[path]
    elif "camera" in key:
      assert observation[key].shape == (1, *source.image_size, 3)
      assert (
        abs(float(observation[key].mean()) - step[path].mean()) < 2
      )  # the same picture, smaller
    else:
      np.testing.assert_array_equal(observation[key][0], step[path])

  np.testing.assert_array_equal(
    actions[0], np.concatenate([np.ravel(step[p]) for p in source.action], dtype=np.float32)
  )

  found = batch(tmp_path / "tfds", f"robot_rlds.{task}")

  assert found["patches"].any() and found["targets"].any()

  described = layout.TokenLayout(data.spec, TEXT).describe()
  assert all(key in described for key in source.observation)


@pytest.mark.slow  # two processes of a verb, and a dataset of the catalogue
def test_the_spec_of_what_is_recorded_is_read_without_tensorflow(tmp_path, monkeypatch):
  domain = rlds_builders.get("unplugged_control_suite")
  (tmp_path / "experiment.py").write_text(
    "from experiments.configs import default\n"
    "def get_config():\n"
    "  config = default.get_config()\n"
    "  config.domains = default.domains(unplugged_control_suite=(1.0, 'walker_walk'))\n"
    f"  config.data_dir = {str(tmp_path)!r}\n"
    "  return config\n"
  )
  command = [sys.executable, "-m", "experiments.describe", f"--config={tmp_path / 'experiment.py'}"]
  before = subprocess.run(command, capture_output=True, text=True)
  assert before.returncode == 1 and "run python -m experiments.build" in before.stderr

  mocked(monkeypatch)
  rlds_builder.build(domain, "walker_walk", tmp_path, tmp_path / "tfds")
  after = subprocess.run(command, capture_output=True, text=True, check=True)
  assert "orientations" in after.stdout and "height" in after.stdout


def test_bounds_that_do_not_fit_are_refused(tmp_path, monkeypatch):
  domain = fetched(monkeypatch, tmp_path / "catalogue", "bridge")
  with pytest.raises(
    GatoError, match=r"robot_rlds.bridge: \d+% of the values of action number \d lie outside \[-0"
  ):
    rlds_builder.build(domain, "bridge", tmp_path, tmp_path / "tfds")
  assert not (tmp_path / "tfds/robot_rlds/bridge/1.0.0").exists()


def test_a_changed_declaration_is_built_again(tmp_path, monkeypatch):
  domain = fetched(monkeypatch, tmp_path / "catalogue", "roboturk")
  assert rlds_builder.build(domain, "roboturk", tmp_path, tmp_path / "tfds")
  assert not rlds_builder.build(domain, "roboturk", tmp_path, tmp_path / "tfds")

  smaller = dataclasses.replace(domain.sources["roboturk"], image_size=(48, 64))
  domain = dataclasses.replace(domain, sources={**domain.sources, "roboturk": smaller})
  module = importlib.import_module("rlds_builders.robot_rlds.robot_rlds_dataset_builder")
  monkeypatch.setattr(module.Builder, "DOMAIN", domain)
  assert rlds_builder.build(domain, "roboturk", tmp_path, tmp_path / "tfds")


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (dict(dataset="rlu_control_suite/walker_walk"), "must begin with 'tfds:'"),
    (
      dict(dataset="tfds:no_such_dataset"),
      r"tfds:no_such_dataset is not in .*TFDS_DATA_DIR.*catalogue",
    ),
    (dict(dataset="tfds:rlu_control_suite/walker_run"), "is not in .*TFDS_DATA_DIR"),
    (
      dict(observation={"height": "observation/hight"}),
      "unknown field of a step .*did you mean 'observation/height'",
    ),
    (dict(action=("act",)), "unknown field of a step .*did you mean 'action'"),
    (dict(minimum=(-1.0, -1.0)), "the action has 6 numbers, its bounds 2"),
    (dict(choices=4), "a discrete action .choices=4. is one number, this one has 6"),
  ],
)
def test_a_wrong_declaration_is_one_clear_error(changes, message):
  domain = rlds_builders.get("unplugged_control_suite")
  source = dataclasses.replace(domain.sources["walker_walk"], **changes)
  domain = dataclasses.replace(domain, sources={"walker_walk": source})
  with pytest.raises(GatoError, match=message):
    recorded_spec.task_spec(domain, "walker_walk", recorded_source.load(source))


def test_recorded_episodes_that_were_never_fetched_are_one_clear_error(tmp_path, monkeypatch):
  monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path / "nothing"))
  with pytest.raises(
    GatoError, match=r"tfds:rlu_control_suite/walker_walk is not in .*nothing .TFDS_DATA_DIR."
  ):
    rlds_builder.build(
      rlds_builders.get("unplugged_control_suite"), "walker_walk", tmp_path, tmp_path / "tfds"
    )
