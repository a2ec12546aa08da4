"""Probes, their intervals, directions and neighbours, on samples made by hand."""

import numpy as np
import pytest
from interpret_cases import (
  fit_probe,
  make_codes,
  make_samples,
)

from experiments import cli
from experiments.analysis import studies
from experiments.analysis.interpret import (
  InterpretConfig,
  directions,
  neighbours,
  probes,
  rows,
)
from experiments.configs import small
from experiments.configs.studies import embeddings as embeddings_study
from experiments.configs.studies import probes as probes_study
from gato_jax.errors import GatoError


def test_probes_find_what_is_there_and_nothing_else():
  made = make_samples()
  told, noise = make_codes(made, 8.0), make_codes(made, 0.0)

  for probe in ("linear", "mlp"):
    found = fit_probe(probes.ProbeSpec("task", 0, 0, probe), made, told)
    assert found["task"].accuracy > 0.85 and found["task, domain given"].accuracy > 0.85
    assert (
      found["task"].classes == 3 and found["task"].episodes == 15 and found["task"].tested == 60
    )
    assert found["task"].majority == pytest.approx(1 / 3) and found[
      "task, domain given"
    ].majority == pytest.approx(1 / 2)
    assert found["task, domain given"].tested == 40  # domain b has one task: nothing to choose
    assert fit_probe(probes.ProbeSpec("task", 0, 0, probe), made, noise)["task"].accuracy < 0.55

  assert fit_probe(probes.ProbeSpec("task", 0, 0, shuffled=True), made, told)["task"].accuracy < 0.7
  assert fit_probe(probes.ProbeSpec("domain", 0, 0), made, told)[
    "domain"
  ].majority == pytest.approx(2 / 3)

  # One component of a code of three tasks tells less than two, and signs of a code at the origin
  # less than all.
  fewer, enough = (
    fit_probe(probes.ProbeSpec("task", 0, 0, components=n), made, told)["task"].accuracy
    for n in (1, 2)
  )

  assert fewer < 0.9 < enough

  signs = fit_probe(probes.ProbeSpec("task", 0, 0, signs=True), made, told)["task"].accuracy

  assert 0.45 < signs < 0.97


def test_intervals_are_over_episodes():
  random = np.random.default_rng(0)
  of_episode = random.random(40) < 0.7
  right, clusters = np.repeat(of_episode, 50), np.repeat(np.arange(40), 50)
  strata = np.repeat(["a", "b"], 1000)
  low, high = probes.interval(right, clusters, strata)
  alone_low, alone_high = probes.interval(right, np.arange(2000), strata)

  assert low < right.mean() < high and high - low > 4 * (alone_high - alone_low)

  low, high = probes.interval(np.ones(2000, bool), clusters, strata)

  assert high == 1 and low == pytest.approx(0.025 ** (1 / 40))
  assert probes.interval(np.zeros(2000, bool), clusters, strata)[0] == 0


def test_directions_of_tasks_hold_what_tells_them():
  made = make_samples()
  residual = np.concatenate(
    [make_codes(made, 8.0), make_codes(made, 8.0, seed=1)], axis=1
  )  # two states of one layer
  found = directions.find(made, residual[0], 2, seed=0)

  for kind, one in found.items():
    np.testing.assert_allclose(one.directions @ one.directions.T, np.eye(2), atol=1e-5)
    kept = np.asarray(one.take_out(residual[0]))
    np.testing.assert_allclose(
      kept @ one.directions.T, np.broadcast_to(one.centre, (2, len(made), 2)), atol=1e-4
    )
    told = fit_probe(probes.ProbeSpec("task", 0, 0), made, kept[None, :1])["task"].accuracy
    assert told < 0.6 if kind == "task" else told > 0.9, (kind, told)

  assert np.abs(found["within"].directions @ found["task"].directions.T).max() < 1e-4
  with pytest.raises(
    GatoError, match="9 directions asked for, the means of 3 tasks span 4 of 8 dimensions"
  ):
    directions.find(made, residual[0], 9, seed=0)


def test_neighbours_of_clusters():
  made = make_samples(each=2)
  at = make_codes(made, 50.0)[0, 0]
  table = {row.task: row for row in neighbours.rows(made, ["a.one"], "states", at, k=5)}

  assert (
    table["all"].same_task == 1 and table["all"].same_domain == 1 and table["all"].trained is None
  )
  assert table["all"].task_chance == pytest.approx(38 / 118)
  assert table["a.one"].trained and table["a.two"].trained is False
  assert table["a.one"].nearest in ("a.two", "b.three") and table["b.three"].next_domain == 0
  assert table["all"].silhouette_task > 0.2

  noise = neighbours.rows(made, [], "states", make_codes(made, 0.0)[0, 0], k=5)[0]

  assert abs(noise.same_task - noise.task_chance) < 0.12 and noise.silhouette_task < 0.05

  twins = np.repeat(
    np.random.default_rng(0).normal(size=(60, 4)), 2, axis=0
  )  # both samples of an episode are one

  assert neighbours.rows(made, [], "states", twins, k=1)[0].same_task < 0.6


def test_bad_settings_say_what_to_do():
  with pytest.raises(GatoError, match="probe"):
    InterpretConfig(parts=("prob",))
  with pytest.raises(GatoError, match="at least twice test_every"):
    InterpretConfig(samples=3)
  with pytest.raises(GatoError, match="neighbours 10 must be fewer than map_samples 10"):
    InterpretConfig(map_samples=10)
  with pytest.raises(GatoError, match="only probes are fitted"):
    InterpretConfig(tokens=(8,))


def test_the_studies_name_what_there_is():
  config = probes_study.get_config()
  experiments = [cli.Experiment(config, run.name) for run in studies.read(config.study)]
  look = next(one for one in experiments if one.run.name == "timestep")
  files = {
    str(directions.path(look.results / rows.FOLDER, kind, number))
    for kind in rows.REMOVED
    for number in config.interpret.directions
  }

  assert {one.config.act.remove for one in experiments} == files | {""}
  assert {str(one.workdir) for one in experiments} == {
    "work/small"
  }  # also of those that play a run that plays
  assert len({one.results for one in experiments}) == len(experiments)

  held_out = small.HELD_OUT
  seen = cli.Experiment(embeddings_study.get_config(), "all")

  assert {cli.name_of(*one) for one in seen.looked_at} == set(held_out)
  assert set(held_out) <= {cli.name_of(*one) for one in seen.all_tasks}
  assert not set(held_out) & {cli.name_of(*one) for one in seen.tasks}
