"""experiments.add: what lies there is recognised, declared, built and read back."""

import json
import pathlib
import re
import shutil

import commands
import h5py
import numpy as np
import pytest

from experiments.analysis.adding import declaration, gymnasium_domain, location, survey
from gato_jax.errors import GatoError
from gato_jax.tokens import codec

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECORDINGS = ROOT / "tests/rlds_builders/recordings"
COPIED = ("experiments", "gato_jax", "launch", "rlds_builders")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
  """A copy of the repository that a domain may be added to."""
  root = tmp_path_factory.mktemp("checkout")
  for folder in COPIED:
    shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
  return root


@pytest.fixture(scope="module")
def robomimic(tmp_path_factory) -> pathlib.Path:
  """Twenty demonstrations with the faults of real ones."""
  path = tmp_path_factory.mktemp("robomimic") / "Can Pick.hdf5"
  random = np.random.default_rng(0)

  with h5py.File(path, "w") as file:
    for number in range(20):
      group = file.create_group(f"data/demo_{number}")
      group.attrs["ep_meta"] = json.dumps({"lang": "pick up the can"})
      group["obs/eef"] = random.normal(size=(30, 3))
      group["obs/zero"] = np.zeros((30, 2))
      group["obs/front"] = random.integers(0, 256, (30, 84, 84, 3), np.uint8)
      group["states"] = random.normal(size=(30, 9))

      actions = np.stack(
        [
          random.uniform(-0.05, 0.05, 30),
          random.uniform(-1, 1, 30),
          np.full(30, 0.25),
          random.integers(0, 2, 30).astype(float),
        ],
        axis=1,
      )
      if number == 3:
        actions[5, 0] = 0.9  # once in 600 steps
      group["actions"] = actions
  return path


def run(checkout, *arguments):
  return commands.run("experiments.add", *arguments, cwd=checkout)


# The readers are tested in tests/rlds_builders/recordings: one form stands for the verb.
_OTHER_FORMS = [pytest.param(form, marks=pytest.mark.slow) for form in ("lerobot_v21", "minari")]


@pytest.mark.parametrize("form", ["lerobot_v3", *_OTHER_FORMS])
def test_what_other_packages_wrote_is_added_and_checked(checkout, form):
  path = RECORDINGS / ("minari/gato/pendulum-v0" if form == "minari" else form)
  done = run(checkout, f"--from={path}", f"--name=my_{form}", f"--data_dir={checkout}/data")

  assert done.returncode == 0, done.stderr
  task = "pendulum_v0" if form == "minari" else form
  assert f"ok   my_{form}.{task}: episodes: 3" in done.stdout
  assert "the action" in done.stdout


def test_bounds_sizes_and_texts_follow_from_the_data(robomimic):
  found = survey.survey(f"hdf5:{robomimic}", 1000, codec.default_text_codec())
  proposal = declaration.propose(found)
  source = proposal.source

  assert source.observation == {
    "eef": "observation/eef",
    "front": "observation/front",
    "instruction": "language_instruction",
  }
  assert source.action == ("action",) and source.choices == 0

  # One value far out does not decide the first bounds; the third number is always 0.25.
  assert -0.051 < source.minimum[0] < -0.045 and 0.045 < source.maximum[0] < 0.051
  assert source.maximum[1] == pytest.approx(1, abs=0.02)
  assert (source.minimum[2], source.maximum[2]) == (-0.75, 1.25)
  assert (source.minimum[3], source.maximum[3]) == (0, 1)
  assert source.clip > 0.01

  assert (source.image_size, source.resize) == ((96, 96), "pad")
  assert proposal.max_text_tokens == {"instruction": 8}
  assert proposal.left_out == ("observation/zero", "states")
  text = "\n".join(proposal.remarks)
  assert "action has numbers that never change, of which nothing is learned: 2 (0.25)" in text
  assert re.search(r"action number 0 lies in \[-0.0[45]\d*, 0.9\], 98 % of it in \[-0.0[45]", text)
  assert "zero never changes: left out" in text


def test_states_splits_and_depth_are_declared(tmp_path):
  random = np.random.default_rng(0)
  path = tmp_path / "demos.hdf5"
  with h5py.File(path, "w") as file:
    for number in range(12):
      group = file.create_group(f"data/demo_{number}")
      joints = random.uniform([-0.01, 5], [0.02, 9], (50, 2))
      if number == 4:
        joints[7, 1] = 900  # a sensor that failed once
      group["obs/joints"] = joints
      group["obs/depth"] = random.uniform(0.31, 2.4, (50, 32, 32, 1)).astype(np.float32)
      group["actions"] = random.uniform(-1, 1, (50, 2))
    names = [f"demo_{number}".encode() for number in range(12)]
    file["mask/train"], file["mask/valid"] = np.array(names[:9]), np.array(names[9:11])
    file["mask/extra"] = np.array(names[11:])

  found = survey.survey(f"hdf5:{path}", 1000, codec.default_text_codec())
  proposal = declaration.propose(found)
  source = proposal.source

  assert (source.split, source.validation_split) == ("train", "valid")
  (low, high) = source.observation_bounds["joints"]
  np.testing.assert_allclose(low, [-0.01, 5], atol=0.1)
  np.testing.assert_allclose(high, [0.02, 9], atol=0.1)
  assert source.image_range == {
    "depth": (pytest.approx(0.31, abs=0.01), pytest.approx(2.4, abs=0.01))
  }

  text = "\n".join(proposal.remarks)
  assert "the split 'valid' is held out" in text
  assert 'splits that are not read: extra; split="train+extra" would' in text
  assert "joints number 1 lies in" in text and "joints number 0 lies" not in text


def test_a_declaration_is_python_that_says_the_same(robomimic):
  found = survey.survey(f"hdf5:{robomimic}", 1000, codec.default_text_codec())
  source = declaration.propose(found).source
  scope: dict = {}
  exec(f"from gato_jax.domain import Source\nsource = {declaration.render(source, 0)}", scope)
  assert scope["source"] == source


def test_a_discrete_action_is_a_choice(tmp_path):
  for number in range(3):
    np.savez(
      tmp_path / f"{number}.npz",
      **{"observation/board": np.arange(9) % 3, "action": np.arange(9) % 5},
    )
  found = survey.survey(f"npz:{tmp_path}", 10, codec.default_text_codec())
  assert declaration.propose(found).source.choices == 5


@pytest.mark.slow  # as the other forms
def test_robomimic_is_added_with_a_task_named_after_its_file(checkout, robomimic):
  done = run(checkout, f"--from={robomimic}", "--name=cans", f"--data_dir={checkout}/data")
  assert done.returncode == 0, done.stderr
  assert "note: zero never changes: left out" in done.stdout
  assert "ok   cans.can_pick: episodes: 20, kept: 20" in done.stdout

  declared = checkout / "rlds_builders/cans/__init__.py"
  assert '"can_pick": Source(' in declared.read_text()

  # The config is one that trains; only what training reads was written.
  described = commands.run(
    "experiments.describe",
    "--config=experiments/configs/cans.py",
    f"--config.data_dir={checkout}/data",
    cwd=checkout,
  )
  assert described.returncode == 0, described.stderr
  assert "linear in its bounds" in described.stdout
  assert (
    "config.data.validation_every = 10" in (checkout / "experiments/configs/cans.py").read_text()
  )
  assert not list((checkout / "data/tfds/cans").rglob("*record*"))


@pytest.mark.parametrize(
  ("arguments", "said"),
  [
    (["--from=/nowhere", "--name=x"], "--from=/nowhere: there is nothing"),
    ([f"--from={ROOT}/docs", "--name=x"], "neither LeRobot"),
    ([f"--from={ROOT}/README.md", "--name=x"], "a file must be HDF5"),
    ([f"--from={RECORDINGS}/lerobot_v3", "--name=My-Set"], "--name='My-Set': small letters"),
    ([f"--from={RECORDINGS}/lerobot_v3", "--name=dummy"], "dummy exists: choose another --name"),
    (["--from=zarr:x", "--name=x"], "'zarr:x' must begin with 'tfds:'"),
  ],
)
def test_a_mistake_is_one_line(checkout, arguments, said):
  done = run(checkout, *arguments)
  assert done.returncode == 1 and said in done.stderr, done.stderr
  assert not (checkout / "rlds_builders/x").exists()


def test_formats_are_recognised_by_what_lies_there(tmp_path):
  (tmp_path / "set/config/1.0.0").mkdir(parents=True)
  (tmp_path / "set/config/1.0.0/dataset_info.json").write_text("{}")

  assert location.dataset_of(f"{tmp_path}/set/config/1.0.0").startswith("rlds:/")
  with pytest.raises(GatoError, match="did you mean --from=.*config/1.0.0"):
    location.dataset_of(str(tmp_path / "set"))
  assert location.dataset_of(f"{RECORDINGS}/lerobot_v21").startswith("lerobot:/")
  assert location.dataset_of("tfds:bridge:0.1.0") == "tfds:bridge:0.1.0"


@pytest.mark.slow  # four verbs one after the other, half a minute
def test_a_gymnasium_environment_is_added_but_for_its_expert(checkout):
  made = run(
    checkout, "--from=gymnasium:FrozenLake-v1", "--name=lake", "--setting=is_slippery=False"
  )
  assert made.returncode == 0, made.stderr
  assert "lake.frozenlake_v1: 3 tokens a step" in made.stdout

  def check():
    return commands.run(
      "experiments.check",
      "--domain=lake",
      "--episodes=2",
      f"--data_dir={checkout}/try",
      cwd=checkout,
    )

  # Without an expert it says what to write.
  before = check()
  assert before.returncode == 1
  assert "rlds_builders/lake/expert.py: write Expert.act" in before.stdout + before.stderr

  expert = checkout / "rlds_builders/lake/expert.py"
  written = re.sub(r"    raise GatoError.*\n", "    return np.int32(2)\n", expert.read_text())
  expert.write_text(written)
  after = check()
  assert "lake.frozenlake_v1: episodes: 2" in after.stdout, after.stdout + after.stderr

  described = commands.run(
    "experiments.describe",
    "--config=experiments/configs/lake.py",
    f"--config.data_dir={checkout}/try",
    cwd=checkout,
  )
  assert described.returncode == 0, described.stderr


@pytest.mark.parametrize(
  ("arguments", "said"),
  [
    (["--from=gymnasium:NoSuch-v0", "--name=x"], "gymnasium.make('NoSuch-v0')"),
    (["--from=gymnasium:Taxi-v4", "--name=X"], "--name='X': small letters"),
    (["--from=gymnasium:Taxi-v4", "--name=dummy"], "dummy exists: choose another --name"),
    (["--from=gymnasium:Taxi-v4", "--name=x", "--setting=fast"], "--setting=fast: give name=value"),
  ],
)
def test_a_mistake_about_an_environment_is_one_line(checkout, arguments, said):
  done = run(checkout, *arguments)
  assert done.returncode == 1 and said in done.stderr, done.stderr
  assert not (checkout / "rlds_builders/x").exists()


def test_large_images_are_made_small_enough(tmp_path):
  make = "vizdoom.gymnasium_wrapper:VizdoomBasic-v1"
  settings = {"max_buttons_pressed": 0, "max_episode_steps": 300}
  spec = gymnasium_domain.write(tmp_path / "doom", "doom", "basic", make, settings)
  assert spec.observation["screen"].shape == (96, 128, 3)
  assert spec.action.maximum.tolist() == [1, 1, 1]
  text = (tmp_path / "doom/environment.py").read_text()
  assert 'image_size=(96, 128), resize="stretch", max_buttons_pressed=0' in text
  assert "np.int32 [3], from 0 to 1" in (tmp_path / "doom/expert.py").read_text()
