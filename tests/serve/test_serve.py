"""Serving: the actions are those of the actor in process, sessions, tokens, TLS, draining, health
and metrics.
"""

import concurrent.futures
import dataclasses
import pathlib
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import served
from dm_env import specs
from served import DOMAIN, first, play, serve

from gato_jax.data import demonstrations, prepared_format
from gato_jax.errors import GatoError
from gato_jax.serve import client, front
from gato_jax.serve.client import RemoteActor
from gato_jax.task import flatten, spec_difference

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def engine(small_workdir):
  return served.engine(small_workdir)


def in_process(engine, task, seeds):
  """The same without a socket; no server may be using the engine."""

  class Alone:
    def reset(self, slot, seed):
      engine.start(slot, f"dummy.{task}", seed)

    def act(self, timesteps):
      observed = {slot: flatten(timestep.observation) for slot, timestep in timesteps.items()}
      return engine.act({slot: engine.pack(f"dummy.{task}", o) for slot, o in observed.items()})

  return play(Alone(), task, seeds)


def assert_same(ours, theirs):
  assert ours.keys() == theirs.keys()
  for seed, actions in ours.items():
    assert len(actions) == len(theirs[seed]) > 1
    for a, b in zip(actions, theirs[seed], strict=True):
      assert a.dtype == b.dtype and np.array_equal(a, b)


def changed(timestep, **fields):
  return timestep._replace(observation={**flatten(timestep.observation), **fields})


@pytest.mark.parametrize("task", DOMAIN.tasks)
def test_an_episode_through_the_socket_has_the_actions_of_the_one_in_process(engine, task):
  expected = in_process(engine, task, [3, 4])
  with serve(engine) as server, RemoteActor(server.url, f"dummy.{task}") as actor:
    actor.check(DOMAIN.make_environment(task))
    assert_same(play(actor, task, [3, 4]), expected)


def test_a_robot_need_not_know_the_bounds_of_scaled_states(engine):
  environment = DOMAIN.make_environment("reach")
  with serve(engine) as server, RemoteActor(server.url, "dummy.reach") as actor:
    scaled = specs.BoundedArray((2,), np.float32, [-3, 0], [3, 9])
    observation = {**actor.spec.observation, "body/velocity": scaled}
    actor.spec = dataclasses.replace(actor.spec, observation=observation)
    with pytest.raises(GatoError, match="trained on another spec: observation 'body/velocity'"):
      actor.check(environment)

    actor.spec = dataclasses.replace(actor.spec, scaled=("body/velocity",))
    actor.check(environment)

    longer = specs.BoundedArray((3,), np.float32, -1, 1)
    observation = {**observation, "body/velocity": longer}
    actor.spec = dataclasses.replace(actor.spec, observation=observation)
    with pytest.raises(GatoError, match="trained on another spec"):
      actor.check(environment)


def test_clients_of_different_tasks_and_one_with_two_slots_do_not_disturb_each_other(engine):
  jobs = [("reach", [1, 2], 1), ("reach_discrete", [5, 6], 1), ("reach", [7, 8, 9], 2)]
  expected = [in_process(engine, task, seeds) for task, seeds, _ in jobs]

  def one(job):
    task, seeds, copies = job
    with RemoteActor(server.url, f"dummy.{task}", slots=copies) as actor:
      return play(actor, task, seeds, copies)

  with serve(engine) as server, concurrent.futures.ThreadPoolExecutor() as pool:
    for ours, theirs in zip(pool.map(one, jobs), expected, strict=True):
      assert_same(ours, theirs)


def test_the_group_of_an_episode_chooses_its_prompt(small_workdir, tmp_path):
  task, groups = "dummy.reach", ("left", "right")
  shutil.copytree(small_workdir, tmp_path / "run")
  episodes = demonstrations.read(small_workdir, task)
  numbers = [prepared_format.group_id(group) for group in groups]
  demonstrations.write(tmp_path / "run", task, episodes[:2], groups=numbers)

  engine = served.engine(tmp_path / "run")
  observation = flatten(first().observation)
  expected = {}
  for group in groups:
    engine.start(0, task, 3, group=group)
    expected[group] = engine.act({0: engine.pack(task, observation)})[0]
  assert not np.array_equal(*expected.values())

  with serve(engine) as server, RemoteActor(server.url, task) as actor:
    for group in groups:
      actor.reset(0, 3, group=group)
      np.testing.assert_array_equal(actor.act({0: first()})[0], expected[group])

    with pytest.raises(GatoError, match="start: 'group' must be str, is int"):
      actor.reset(0, 3, group=7)
    actor.reset(0, 3)
    actor.act({0: first()})


class Gate:
  """The engine, but a call waits until the test opens it."""

  def __init__(self, engine):
    self._engine = engine
    self.entered, self.open = threading.Event(), threading.Event()
    self.sizes: list[int] = []

  def __getattr__(self, name):
    return getattr(self._engine, name)

  def act(self, packed):
    self.sizes.append(len(packed))
    self.entered.set()
    assert self.open.wait(300)
    return self._engine.act(packed)


def test_what_arrives_while_a_batch_is_computed_makes_up_the_next(engine):
  gate = Gate(engine)
  with serve(gate) as server, concurrent.futures.ThreadPoolExecutor() as pool:
    actors = [RemoteActor(server.url, "dummy.reach") for _ in range(4)]
    for actor in actors:
      actor.reset(0, 1)
    futures = [pool.submit(actors[0].act, {0: first()})]

    assert gate.entered.wait(300)

    futures += [pool.submit(actor.act, {0: first()}) for actor in actors[1:]]
    while len(server.server._batcher._steps) < 3:
      time.sleep(0.01)
    gate.open.set()
    same = [future.result(30)[0] for future in futures]

  assert gate.sizes == [1, 3]
  assert all(np.array_equal(action, same[0]) for action in same)


def test_more_sessions_than_there_are_slots_are_refused_and_a_disconnect_frees_one(engine):
  with serve(engine) as server:
    actor = RemoteActor(server.url, "dummy.reach", slots=served.SLOTS)
    with pytest.raises(GatoError, match="all 4 sessions are taken"):
      RemoteActor(server.url, "dummy.reach")
    assert (
      server.metric("sessions") == 4 and server.metric("refused_total", reason="session_limit") == 1
    )

    actor.close()
    until = time.monotonic() + 300
    while server.metric("sessions") and time.monotonic() < until:
      time.sleep(0.01)
    RemoteActor(server.url, "dummy.reach").close()


def test_idle_sessions_are_dropped_and_the_next_episode_takes_another(engine):
  with serve(engine, idle_seconds=2.0) as server:
    idle = RemoteActor(server.url, "dummy.reach", slots=2)
    idle.reset(0, 1)
    idle.reset(1, 1)
    for _ in range(40):  # slot 1 is used, slot 0 is not
      time.sleep(0.1)
      idle.act({1: first()})

    assert server.metric("sessions") == 1 and server.metric("refused_total", reason="idle") == 1
    with pytest.raises(GatoError, match="no session 1; one that is not used for 2 s is dropped"):
      idle.act({0: first()})

    idle.reset(0, 1)
    idle.act({0: first(), 1: first()})
    until = time.monotonic() + 300
    while server.metric("connections") and time.monotonic() < until:
      time.sleep(0.05)

    assert server.metric("connections") == 0
    with pytest.raises(GatoError, match="has ended: no request for 2 s"):
      idle.act({1: first()})

    idle.reset(1, 1)  # connects again

    assert set(idle.act({1: first()})) == {1}


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"body/position": np.zeros(3, np.float32)}, "'body/position' has shape"),
    ({"body/position": np.float32([np.nan, 0])}, "'body/position'.*(finite|NaN)"),
    ({"body/position": "left"}, "'body/position' must be an array"),
    ({"instruction": np.zeros(2)}, "'instruction' must be a text"),
    ({"instruction": "go " * 60}, "'instruction' takes 6. tokens"),
    ({"speed": np.zeros(1)}, "has a field 'speed'"),
  ],
)
def test_a_bad_observation_is_named_and_changes_nothing(engine, fields, message):
  expected = in_process(engine, "reach", [3])[3][0]
  with serve(engine) as server, RemoteActor(server.url, "dummy.reach", slots=2) as actor:
    actor.reset(0, 3)
    actor.reset(1, 3)

    with pytest.raises(GatoError, match=message):
      actor.act({1: first(seed=3), 0: changed(first(seed=3), **fields)})

    actions = actor.act({0: first(seed=3), 1: first(seed=3)})

    assert np.array_equal(actions[0], expected) and np.array_equal(actions[1], expected)
    assert server.metric("refused_total", reason="observation") == 1
    assert server.metric("steps_total", task="dummy.reach") == 2


def test_mistakes_of_a_client_are_one_clear_line(engine):
  with serve(engine) as server:
    with pytest.raises(
      GatoError, match="unknown task of this server: 'dummy.reech'; did you mean 'dummy.reach'"
    ):
      RemoteActor(server.url, "dummy.reech")

    with RemoteActor(server.url, "dummy.reach") as actor:
      assert actor.connection.tasks == sorted(served.SPECS) and actor.connection.step == 5
      assert not spec_difference(actor.spec, served.SPECS["dummy.reach"])
      with pytest.raises(
        GatoError, match="trained on another spec: observation|trained on another spec: action"
      ):
        actor.check(DOMAIN.make_environment("reach_discrete"))

      with pytest.raises(GatoError, match="no episode was started in session 1"):
        actor.act({0: first()})

      actor.reset(0, 1)

      with pytest.raises(GatoError, match="'mood' is object; only numbers"):
        actor.act({0: changed(first(), mood=None)})

    port = server.server.port

  with pytest.raises(GatoError, match="nobody listens; is the port right"):
    RemoteActor(f"ws://127.0.0.1:{port}", "dummy.reach")
  with pytest.raises(GatoError, match="'127.0.0.1:8000' is no address of a server"):
    RemoteActor("127.0.0.1:8000", "dummy.reach")


def test_a_server_that_is_gone_ends_the_episode_and_the_next_one_connects_again(engine):
  with serve(engine) as server:
    actor = RemoteActor(server.url, "dummy.reach")
    actor.reset(0, 1)
    actor.act({0: first()})
    port = server.server.port

  with pytest.raises(client.ConnectionLost, match="has ended: the server is shutting down"):
    actor.act({0: first()})

  with serve(engine, front.Address(port=port)):
    actor.reset(0, 1)
    actor.act({0: first()})
    actor.close()


def test_a_server_that_does_not_answer_is_given_up(engine):
  gate = Gate(engine)
  with serve(gate) as server:
    actor = RemoteActor(server.url, "dummy.reach", timeout=0.5)
    actor.reset(0, 1)
    with pytest.raises(client.ConnectionLost, match="no reply within 0.5 s"):
      actor.act({0: first()})
    gate.open.set()


def test_an_address_that_is_taken_is_named(engine):
  with (
    serve(engine) as server,
    pytest.raises(GatoError, match=r"cannot listen on 127.0.0.1:\d+: .*already in use"),
  ):
    with serve(None, front.Address(port=server.server.port), ready=False):
      pass


def test_an_engine_that_breaks_ends_the_server_with_its_error(engine):
  class Broken(Gate):
    def act(self, packed):
      raise RuntimeError("out of memory")

  with pytest.raises(RuntimeError, match="out of memory"), serve(Broken(engine)) as server:
    actor = RemoteActor(server.url, "dummy.reach")
    actor.reset(0, 1)
    with pytest.raises(client.ConnectionLost, match="the server is shutting down"):
      actor.act({0: first()})
    server.join()


def test_the_client_needs_neither_jax_nor_tensorflow():
  code = (
    "import sys, gato_jax.serve.client; heavy = {'jax', 'jaxlib', 'flax', 'tensorflow', 'scipy', 'prometheus_client', "
    "'ml_collections', 'matplotlib'} & set(sys.modules); sys.exit(', '.join(sorted(heavy)) or 0)"
  )
  done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
