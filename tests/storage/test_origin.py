"""A dataset follows its sources: changes are reported, and existing data is never lost."""

import dataclasses
import json
import pathlib
import shutil
import sys

import pytest

import rlds_builders
from experiments import cli
from experiments import collect as verb
from experiments.configs import default
from gato_jax.data import prepare, prepared
from gato_jax.env import collect, logs
from gato_jax.errors import GatoError
from gato_jax.storage import code_hash, origin
from gato_jax.tokens import codec
from rlds_builders import dummy
from rlds_builders.base import rlds_builder
from rlds_builders.dummy import dummy_dataset_builder

DOMAIN, TASK = dummy.DOMAIN, "dummy.reach"
CONFIG = collect.CollectConfig(episodes=6, shard_episodes=3, workers=1)


@pytest.fixture
def change(monkeypatch):
  """Declares the dummy domain with changes, wherever this process looks it up."""

  def declare(**changes):
    changed = dataclasses.replace(dummy.DOMAIN, **changes)
    monkeypatch.setattr(dummy, "DOMAIN", changed)
    monkeypatch.setattr(dummy_dataset_builder.Builder, "DOMAIN", changed)
    rlds_builders.get.cache_clear()
    return changed

  yield declare
  monkeypatch.undo()
  rlds_builders.get.cache_clear()


def collected(data, domain=DOMAIN, config=CONFIG, **more):
  """Collects missing episodes and returns the collection."""
  collection = collect.Collection([(domain, "reach")], data / "raw", config, **more)
  verb.run(collection)
  return collection


def built(data, domain=DOMAIN):
  return rlds_builder.build(domain, "reach", data / "raw", data / "tfds")


def directory(data) -> pathlib.Path:
  return logs.task_directory(data / "raw", "dummy", "reach")


def rows(data):
  return [row.seed for row in logs.rows(directory(data))]


def experiment(data, **collect_settings):
  config = default.get_config()
  config.data_dir, config.domains = str(data), default.domains(dummy=(1.0, "reach"))
  config.collect.update(**collect_settings)
  return cli.Experiment(config)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  """Six episodes of dummy.reach and their dataset."""
  data = tmp_path_factory.mktemp("made")
  collected(data)
  assert built(data)
  return data


@pytest.fixture
def data(made, tmp_path):
  return pathlib.Path(shutil.copytree(made, tmp_path / "data"))


def test_nothing_changes_where_nothing_changed(data, capsys):
  before = origin.read(directory(data))
  assert (
    collected(data).is_complete
    and rows(data) == list(range(6))
    and origin.read(directory(data)) == before
  )
  assert not built(data) and not experiment(data).stale(DOMAIN, "reach")
  assert "anew" not in capsys.readouterr().err


CHANGES = [
  (dict(agent_id="another"), "agent_id was 'straight-line-v1', now it is 'another'"),
  (
    dict(expert="failing_domain:make_expert"),
    "expert was 'rlds_builders.dummy.expert:make', now it is",
  ),
  (
    dict(environment="failing_domain:make_other"),
    "environment was 'rlds_builders.dummy.environment:make', now it is",
  ),
]


@pytest.mark.parametrize(
  ("changes", "message"), CHANGES, ids=lambda c: next(iter(c)) if isinstance(c, dict) else ""
)
def test_a_changed_declaration_is_said_and_redone_and_nothing_is_lost(
  data, change, capsys, changes, message
):
  domain = change(**changes)
  assert message in experiment(data).stale(domain, "reach")
  with pytest.raises(
    GatoError, match="the dataset of dummy.reach is not what its sources are now: .*accept_changes"
  ):
    experiment(data).refuse_stale([(domain, "reach")], accept=False)

  experiment(data).refuse_stale([(domain, "reach")], accept=True)

  assert f"{message}" in (said := capsys.readouterr().err) and said.endswith("; going on\n")
  with pytest.raises(
    GatoError, match="since its raw logs were collected; run python -m experiments.collect"
  ):
    built(data, domain)

  collected(data, domain)
  said = capsys.readouterr().err

  assert (
    message in said
    and f"the old episodes are in {directory(data)}.old-1, collecting 6 anew" in said
  )
  assert (
    rows(data) == list(range(6)) and len(logs.shards(pathlib.Path(f"{directory(data)}.old-1"))) == 2
  )

  assert built(data, domain)
  assert "built again, the old dataset is in " in capsys.readouterr().err
  assert (data / "tfds/dummy/reach/1.0.0.old-1/dataset_info.json").exists()
  assert not experiment(data).stale(domain, "reach") and not built(data, domain)


def test_a_shard_that_is_not_complete_is_not_filled_up_with_other_episodes(data, change):
  (shard, *others) = logs.shards(directory(data))
  shutil.rmtree(others[0])
  shard.rename(shard.with_suffix(".partial"))  # as a kill leaves it
  collected(data, change(agent_id="another"))
  assert rows(data) == list(range(6))
  assert list(pathlib.Path(f"{directory(data)}.old-1").glob("*.partial"))


def test_old_episodes_are_kept_where_a_person_says_so(data, change, capsys):
  domain = change(agent_id="another")
  collected(data, domain, accept=True)
  assert not list(directory(data).parent.glob("*.old-*")) and rows(data) == list(range(6))
  assert collected(data, domain).is_complete and "anew" not in capsys.readouterr().err


def test_other_pushes_are_other_episodes(data, capsys):
  config = dataclasses.replace(CONFIG, disturbance={"dummy": 0.5})
  assert "disturbance was 0.0, now it is 0.5" in experiment(data, disturbance={"dummy": 0.5}).stale(
    DOMAIN, "reach"
  )

  collected(data, config=config)

  assert "disturbance was 0.0, now it is 0.5" in capsys.readouterr().err
  assert {row.actor for row in logs.rows(directory(data))} == {"expert", "expert, disturbed"}

  built(data)

  assert not experiment(data, disturbance={"dummy": 0.5}).stale(DOMAIN, "reach")
  assert "disturbance was 0.5, now it is 0.0" in experiment(data).stale(DOMAIN, "reach")


def test_a_spec_that_changed_is_found_though_all_episodes_are_there(data, capsys):
  path = directory(data) / origin.FILE
  before = json.loads(path.read_text())
  before["observation"]["clock"]["shape"] = [
    2
  ]  # as another version of the simulator's package had it
  path.write_text(json.dumps(before))
  collected(data)

  assert "observation 'clock' was" in capsys.readouterr().err and rows(data) == list(range(6))


def fresh_hash(*hooks) -> str:
  """Computes the hash as a new process would."""
  code_hash.code_hash.cache_clear()
  return code_hash.code_hash(*hooks)


@pytest.fixture
def package(tmp_path, monkeypatch) -> pathlib.Path:
  """A user's package with the domain `room` and shared modules."""
  package = tmp_path / "rlds_of_a_user"
  (package / "room").mkdir(parents=True)
  (package / "worlds").mkdir()
  for path in (package, package / "room", package / "worlds"):
    (path / "__init__.py").write_text("")
  (package / "room" / "environment.py").write_text(
    '"""A room."""\n\ndef make(task):\n  """Makes it."""\n  return task\n'
  )
  monkeypatch.syspath_prepend(str(tmp_path))
  forget(package.name, monkeypatch)
  return package


def forget(package: str, monkeypatch) -> None:
  """Makes the next import of a package read its files again."""
  for name in [name for name in sys.modules if name.split(".")[0] == package]:
    monkeypatch.delitem(sys.modules, name)


ROOM = "rlds_of_a_user.room.environment:make"


def test_code_that_does_something_else_counts_and_comments_do_not(package):
  room = package / "room"
  code = fresh_hash(ROOM)
  (room / "environment.py").write_text('"""Rooms."""\ndef make(task):\n  return task  # as it is\n')

  assert fresh_hash(ROOM) == code

  (room / "room_dataset_builder.py").write_text("x = 1\n")
  (room / "__init__.py").write_text("DOMAIN = 'is compared part by part'\n")

  assert fresh_hash(ROOM) == code

  (room / "expert.py").write_text("x = 1\n")

  assert fresh_hash(ROOM) != code
  with pytest.raises(GatoError, match="hook 'rlds_of_a_user.nothing:make': there is no module"):
    fresh_hash("rlds_of_a_user.nothing:make")


IMPORTS = {
  "module": "from rlds_of_a_user.worlds import walls\n",
  "name": "from rlds_of_a_user.worlds.walls import HEIGHT\n",
  "dotted": "import rlds_of_a_user.worlds.walls\n",
  "relative": "from ..worlds import walls\n",
  "function": "def make(task):\n  from rlds_of_a_user.worlds import walls\n",
  "indirect": "from rlds_of_a_user.worlds import rooms\n",
  "other process": "FUNCTION = 'rlds_of_a_user.worlds.walls:draw'\n",
}


@pytest.mark.parametrize("statement", IMPORTS.values(), ids=IMPORTS)
def test_a_changed_module_that_domains_share_is_noticed(package, statement):
  worlds = package / "worlds"
  (package / "room" / "environment.py").write_text(statement)
  (worlds / "rooms.py").write_text("from . import walls\n")
  (worlds / "walls.py").write_text("HEIGHT = 1\n")
  code = fresh_hash(ROOM)
  (worlds / "walls.py").write_text("HEIGHT = 1  # metres\n")
  (worlds / "doors.py").write_text("HEIGHT = 1\n")  # nobody imports it

  assert fresh_hash(ROOM) == code

  (worlds / "walls.py").write_text("HEIGHT = 2\n")

  assert fresh_hash(ROOM) != code


def test_builders_and_declarations_of_others_do_not_count(package):
  imports = (
    "import numpy\nfrom rlds_of_a_user import hall\nfrom rlds_of_a_user.worlds import a_builder\n"
  )
  (package / "room" / "environment.py").write_text(imports)
  (package / "hall").mkdir()
  changing = [
    package / "__init__.py",
    package / "hall" / "__init__.py",
    package / "worlds" / "a_builder.py",
  ]
  (package / "hall" / "hall_dataset_builder.py").write_text("")
  for path in changing:
    path.write_text("x = 1\n")
  code = fresh_hash(ROOM)
  for path in changing:
    path.write_text("x = 2\n")

  assert fresh_hash(ROOM) == code


def test_the_expert_of_another_domain_counts(package):
  expert = package / "hall" / "expert.py"
  expert.parent.mkdir()
  expert.write_text("x = 1\n")
  hooks = (ROOM, "rlds_of_a_user.hall.expert:make")
  code = fresh_hash(*hooks)
  (package / "hall" / "environment.py").write_text("x = 1\n")

  assert fresh_hash(*hooks) == code

  expert.write_text("x = 2\n")

  assert fresh_hash(*hooks) != code


def test_a_checkout_elsewhere_has_the_same_code(package, tmp_path, monkeypatch):
  code = fresh_hash(ROOM)
  shutil.copytree(package, tmp_path / "elsewhere" / package.name)
  monkeypatch.setattr(sys, "path", [str(tmp_path / "elsewhere"), *sys.path])
  forget(package.name, monkeypatch)
  assert fresh_hash(ROOM) == code


def test_the_fix_that_an_error_asks_for_is_enough(data, change):
  """More tokens for a text change no episode.

  Nothing is collected; the dataset is built and prepared again.
  """
  domain = change(max_text_tokens={"instruction": 20})

  assert "max_text_tokens 'instruction' was 12, now it is 20" in experiment(data).stale(
    domain, "reach"
  )

  kept = [shard.stat().st_ino for shard in logs.shards(directory(data))]
  collected(data, domain)

  assert [shard.stat().st_ino for shard in logs.shards(directory(data))] == kept
  assert built(data, domain) and prepare.prepare(data / "tfds", TASK, codec.default_text_codec())
  assert prepared.load(data / "tfds", TASK).spec.max_text_tokens == {"instruction": 20}
  assert not experiment(data).stale(domain, "reach")


def test_building_alone_follows_the_declaration_too(data, change):
  domain = change(max_text_tokens={"instruction": 20})
  assert built(data, domain) and not built(data, domain)


def test_a_complete_shard_is_filled_up_when_more_is_asked_for(tmp_path, capsys):
  for asked, shards in ((1, 1), (2, 1), (7, 3)):
    collected(tmp_path, config=dataclasses.replace(CONFIG, episodes=asked))
    assert rows(tmp_path) == list(range(asked)) and len(logs.shards(directory(tmp_path))) == shards

  episodes_ = [
    row.seed for shard in logs.shards(directory(tmp_path)) for row, _ in logs.read_shard(shard)
  ]

  assert episodes_ == list(range(7))

  collected(
    tmp_path, config=dataclasses.replace(CONFIG, episodes=7, shard_episodes=10)
  )  # theirs hold three

  assert rows(tmp_path) == list(range(7))


def test_new_episodes_are_built_in_and_the_old_dataset_is_replaced(data, capsys):
  collected(data, config=dataclasses.replace(CONFIG, episodes=8))
  assert experiment(data).stale(DOMAIN, "reach") == "the raw logs changed"
  assert built(data) and "the raw logs changed; built again" in capsys.readouterr().err
  versions = [path.name for path in (data / "tfds/dummy/reach").iterdir() if path.is_dir()]
  assert versions == ["1.0.0"]
  with pytest.raises(GatoError, match="is not prepared"):
    prepared.load(data / "tfds", TASK)


def test_a_dataset_from_elsewhere_is_kept(data, change):
  shutil.rmtree(data / "raw")
  assert not built(data) and not experiment(data).stale(DOMAIN, "reach")
  domain = change(agent_id="another")
  assert not built(data, domain)  # there is nothing to build it from
  assert "agent_id" in experiment(data).stale(domain, "reach")  # but it is not used in silence


def test_episodes_of_an_older_version_are_moved_aside(data, capsys):
  (directory(data) / origin.FILE).unlink()
  collected(data)
  assert (
    "episodes of an older version, which did not note what they follow from"
    in capsys.readouterr().err
  )
  assert rows(data) == list(range(6)) and pathlib.Path(f"{directory(data)}.old-1").exists()


def test_other_files_make_other_documents(tmp_path, monkeypatch):
  monkeypatch.setenv("GATO_SOURCES", str(tmp_path / "sources"))
  folder, text = tmp_path / "sources/text", rlds_builders.get("text")
  folder.mkdir(parents=True)
  for name in "abcdefghijklmnopqrstuvwxyz":
    (folder / f"{name}.txt").write_text(f"The letter {name}.\n")
  task = next(task for task in text.tasks if task == "files")
  assert rlds_builder.build(text, task, tmp_path / "raw", tmp_path / "tfds")
  assert not rlds_builder.build(text, task, tmp_path / "raw", tmp_path / "tfds")

  (folder / "a.txt").write_text("The letter A.\n")
  assert rlds_builder.build(text, task, tmp_path / "raw", tmp_path / "tfds")

  shutil.rmtree(folder)
  assert not rlds_builder.build(
    text, task, tmp_path / "raw", tmp_path / "tfds"
  )  # it was built where its files are
