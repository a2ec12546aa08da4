"""Exported weights stand wherever a run's directory does, and are checked when they are read."""

import json
import shutil

import commands
import jax
import numpy as np
import pytest
import small_network
from flax import traverse_util

from experiments.configs import dummy
from gato_jax import agent
from gato_jax.data import demonstrations
from gato_jax.errors import GatoError
from gato_jax.tokens import codec
from gato_jax.train import checkpoint, export, initial


@pytest.fixture(scope="module")
def loaded(small_workdir):
  params, meta, _ = checkpoint.load_for_acting(small_workdir / "checkpoints")
  return jax.device_get(params), meta | {"config": {"name": "small"}, "episodes": {}}


@pytest.fixture
def folder(tmp_path, loaded, small_workdir):
  params, meta = loaded
  shown = {task: demonstrations.read(small_workdir, task) for task in meta["specs"]}
  export.write(tmp_path / "small", params, meta, precision="float32", episodes=shown)
  return tmp_path / "small"


def test_equal_bounds_are_written_as_one_number(folder, loaded):
  _, meta = loaded
  written = json.loads((folder / export.MODEL).read_text())["specs"]["dummy.reach"]

  (image,) = [f for f in written["observation"].values() if len(f["shape"]) == 3]
  assert (image["minimum"], image["maximum"]) == (0, 255)
  assert export.load(folder)[1]["specs"] == meta["specs"]


def test_what_was_exported_before_is_replaced(folder, loaded, small_workdir):
  params, meta = loaded
  shown = {"dummy.reach": demonstrations.read(small_workdir, "dummy.reach")}
  export.write(folder, params, meta, episodes=shown)

  assert [path.name for path in (folder / "demonstrations").iterdir()] == ["dummy.reach.npz"]
  export.load(folder)


def flat(params):
  return traverse_util.flatten_dict(params, sep="/")


@pytest.mark.parametrize(
  "precision, error", [("float32", 0.0), ("bfloat16", 2**-8), ("int8", 0.5 / 127)]
)
def test_parameters_come_back_within_the_precision(tmp_path, loaded, precision, error):
  params, meta = loaded
  export.write(tmp_path, params, meta, precision)
  read, read_meta, step = export.load(tmp_path)

  assert step == meta["step"] == read_meta["step"]
  assert read_meta["tokenizer"] == codec.default_text_codec().model
  assert read_meta["specs"] == meta["specs"] and read_meta["model"] == meta["model"]

  expected, actual = flat(params), flat(read)
  assert expected.keys() == actual.keys()
  for name, value in expected.items():
    assert actual[name].dtype == np.float32 and actual[name].shape == value.shape
    # bfloat16 errs relative to the value, int8 relative to the largest of the row.
    largest = np.abs(value).max(axis=-1, keepdims=True) if precision == "int8" else np.abs(value)
    allowed = 0 if value.ndim < 2 else error * largest * 1.001
    assert np.all(np.abs(actual[name] - value) <= allowed), name


def test_int8_is_a_quarter_of_float32(tmp_path, loaded):
  sizes = {
    precision: export.write(tmp_path / precision, *loaded, precision)[export.WEIGHTS]
    for precision in export.PRECISIONS
  }
  assert sizes["int8"] < 0.32 * sizes["float32"] and sizes["bfloat16"] < 0.6 * sizes["float32"]


def test_a_row_of_zeros_stays_one(tmp_path, loaded):
  params, meta = loaded
  table = np.array(params["embedding"]["tokens"])
  table[7] = 0
  params = params | {"embedding": params["embedding"] | {"tokens": table}}
  export.write(tmp_path, params, meta, "int8")

  assert not export.load(tmp_path)[0]["embedding"]["tokens"][7].any()


def test_a_policy_of_the_folder_acts_as_that_of_the_run(folder, small_workdir):
  ours, theirs = agent.Policy(folder), agent.Policy(small_workdir)
  assert ours.tasks == theirs.tasks and ours.step == theirs.step

  jax.tree.map(np.testing.assert_array_equal, ours.acting_params, theirs.acting_params)
  config = agent.ActConfig()
  for task in ours.tasks:
    a, b = (policy.prompts(task, config) for policy in (ours, theirs))
    assert a.steps == b.steps > 0


def test_a_run_begins_with_exported_parameters(folder, loaded):
  params = initial.load(folder, small_network.SMALL, codec.default_text_codec().model)

  jax.tree.map(np.testing.assert_array_equal, params, loaded[0])


def test_files_that_are_not_those_that_were_exported_are_refused(folder):
  for name in (export.WEIGHTS, export.TOKENIZER):
    original = (folder / name).read_bytes()
    (folder / name).write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    with pytest.raises(GatoError, match=rf"{name}: not the file that was exported .*again"):
      export.load(folder)
    (folder / name).write_bytes(original)

  export.load(folder)
  shown = next(folder.glob("demonstrations/*.npz"))
  shown.unlink()
  with pytest.raises(GatoError, match=rf"{shown.name}: missing; get the folder again"):
    export.load(folder)


def test_another_step_or_format_is_refused(folder):
  with pytest.raises(GatoError, match="no step 6 in .*: the weights there are those of step 5"):
    export.load(folder, 6)

  description = json.loads((folder / export.MODEL).read_text())
  (folder / export.MODEL).write_text(json.dumps(description | {"version": 99}))
  with pytest.raises(GatoError, match=r"model.json: format 99, this code reads 1; get a folder"):
    export.load(folder)


def test_a_folder_that_was_not_finished_is_none(folder, loaded, monkeypatch):
  """A writer is killed after the weights: the folder must not pass for the old or the new one."""

  def killed(*_arguments, **_options):
    raise KeyboardInterrupt

  monkeypatch.setattr(export.files, "write_json", killed)
  with pytest.raises(KeyboardInterrupt):
    export.write(folder, *loaded)

  assert not export.is_exported(folder)
  with pytest.raises(GatoError, match="no checkpoint in"):
    agent.Policy(folder)


def test_nothing_is_pickled(folder):
  with np.load(folder / export.WEIGHTS, allow_pickle=False) as archive:
    assert all(archive[key].dtype != object for key in archive.files)


def run(verb, *arguments):
  done = commands.run(f"experiments.{verb}", *arguments)
  return done.returncode, done.stdout, done.stderr.strip().splitlines()


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, loaded, small_workdir):
  """The workdir of a run with a config and demonstrations."""
  params, meta = loaded
  path = tmp_path_factory.mktemp("run") / "small"
  config = dummy.get_config()
  config.update(name="small", workdir=str(path))

  store = checkpoint.Checkpoints(path / "checkpoints", keep=1)
  described = {"model": meta["model"], "specs": meta["specs"], "episodes": {"dummy.reach": 30}}
  described["config"] = json.loads(config.to_json())
  store.save(5, params, {"count": np.zeros([], np.int32)}, described, meta["tokenizer"])
  store.close()
  shutil.copytree(small_workdir / "demonstrations", path / "demonstrations")
  return path


def test_the_verb_writes_a_folder_that_stands_alone(workdir, tmp_path):
  output = tmp_path / "handed_out"
  config = ("--config=experiments/configs/dummy.py", f"--config.workdir={workdir}")
  status, said, errors = run("export", *config, f"--output={output}", "--steps=2")

  assert status == 0 and "export: step 5 of" in said, errors
  ((observation, action),) = demonstrations.read(output, "dummy.reach")
  assert {len(column) for column in (action, *observation.values())} == {2}
  card = (output / "MODEL_CARD.md").read_text()
  assert "# small\n" in card and "| dummy | reach, reach_discrete | 30 |" in card
  assert "These weights have not been played." in card

  # Without --config: the folder has its own.
  status, _, errors = run(
    "generate", f"--checkpoint={output}", "--text=go to", "--max_tokens=3", "--seed=1"
  )
  assert status == 0 and f"checkpoint 5 of {output}, seed 1" in errors, errors

  status, _, errors = run("evaluate", f"--checkpoint={output}")
  assert status == 1 and errors[-1].startswith("error: ") and "--results=work/NAME" in errors[-1]


@pytest.mark.parametrize(
  "verb, arguments, said",
  [
    ("generate", ["--checkpoint={0}/nothing", "--text=a"], "--checkpoint={0}/nothing: neither "),
    ("export", ["--config.workdir={0}/nothing"], "no checkpoint in {0}/nothing"),
    ("export", ["--config.workdir={1}", "--output={1}"], "{1} is the folder of a training run"),
    ("export", ["--config.workdir={1}", "--output={0}/a", "--max_mib=0.1"], "{0}/a has "),
  ],
)
def test_a_mistake_is_one_line(workdir, tmp_path, verb, arguments, said):
  config = [] if verb == "generate" else ["--config=experiments/configs/dummy.py"]
  status, _, errors = run(verb, *config, *(a.format(tmp_path, workdir) for a in arguments))

  assert status == 1 and errors[-1].startswith(f"error: {said.format(tmp_path, workdir)}"), errors
