"""The points of a sweep's runs, their analysis, and the page of the law."""

import dataclasses
import json

import browser
import numpy as np
import pytest
from PIL import Image
from scaling_cases import BUDGETS, SYNTHETIC, make_point, make_points

from experiments.analysis.report import scaling_figures, scaling_page
from experiments.analysis.scaling import analysis, batches, family, law, points, predictions, runs
from gato_jax.errors import GatoError
from gato_jax.model import abstract_params, count_parameters
from gato_jax.model import config as model_config

CONTENT = batches.BatchContent(
  rows=4,
  length=250,
  present_patches=0.0,
  targets=9.0,
  component_tokens={"babyai.GoTo": 300.0, "procgen.maze": 300.0},
  available_tokens={"babyai.GoTo": 12_000, "procgen.maze": 4_000},
  modalities={"babyai": "control", "procgen": "control"},
)


def test_content_of_an_older_version_is_refused(tmp_path):
  batches.write(tmp_path, CONTENT)
  assert batches.read(tmp_path) == CONTENT

  older = dataclasses.asdict(CONTENT)
  older["patches"] = older.pop("present_patches")
  (tmp_path / batches.FILE).write_text(json.dumps(older))

  with pytest.raises(GatoError, match=r"batches.json was written by an older version"):
    batches.read(tmp_path)


def test_parameters_are_counted_with_and_without_tables():
  config = dataclasses.replace(model_config.VARIANTS["tiny"], **family.network(64))
  parameters, tables = points.count(config)
  assert parameters == count_parameters(abstract_params(config))
  assert tables == 64 * (33_025 + 512 + 2 * 128 + 1)


@pytest.mark.slow
def test_analysis_predicts_the_largest_budget():
  made = make_points(seeds=(0, 1))
  series = analysis.analyse(made, predicted=BUDGETS[-1:], draws=40)

  assert [s.domain for s in series] == ["all", "babyai", "text"]

  for one, times in zip(series, (1, 1 / 3, 2), strict=True):
    assert len(one.fitted) == 24 and len(one.predictions) == 12
    assert one.noise == pytest.approx(0.003, rel=0.5)

    within = 0
    for left_out in one.predictions:
      assert left_out.point.budget == BUDGETS[-1]
      assert left_out.measured == pytest.approx(times * left_out.point.loss)
      assert abs(left_out.error) < 0.03
      within += left_out.low < left_out.measured < left_out.high
    assert within >= 9
    assert [o.flops for o in one.optima] == [max(p.flops for p in made) * t for t in (1, 10, 100)]

    for optimum in one.optima:
      for value, low, high in (optimum.n, optimum.d, optimum.loss):
        assert low <= high and value > 0

    assert [parabola.flops for parabola in one.isoflops] == list(BUDGETS)
    for parabola in one.isoflops:
      assert parabola.minimum is not None and parabola.inside > 0.8
      assert parabola.interval[0] <= parabola.minimum <= parabola.interval[1]

  assert not analysis.analyse(made, draws=4)[0].predictions

  flat = [
    dataclasses.replace(p, loss=float(SYNTHETIC(1e6, p.tokens))) for p in made
  ]  # size makes no difference

  assert analysis.analyse(flat, draws=4)[0].optima == ()

  few = analysis.analyse(made[:4], draws=4)

  assert few[0].fit is None and "cannot determine" in few[0].reason


def test_only_the_family_with_its_own_schedule_and_rate_is_fitted():
  made = make_points()
  cosine = make_point(runs.SweepRun(1248, 0, width=64, budget=2e11, schedule="cosine"), 9.0)
  faster = make_point(runs.SweepRun(1248, 0, width=64, rate=2.0), 9.0)
  papers = make_point(runs.SweepRun(1248, 0, variant="gato_79m"), 9.0)
  assert analysis.family_points([*made, cosine, faster, papers]) == made

  with pytest.raises(GatoError, match="no points of the family"):
    analysis.analyse([papers])


def test_noise_is_the_scatter_between_seeds():
  run = runs.SweepRun(1248, 0, width=64)
  pair = [make_point(run, loss=loss) for loss in (2.0, 2.2)]
  assert analysis.seed_noise(pair) == pytest.approx(abs(np.log(1.1)) / 2**0.5)
  assert analysis.seed_noise(pair[:1]) is None


def test_repeated_tokens_count_less():
  """Muennighoff et al. 2023: up to four epochs nearly as new ones, beyond ever less."""
  assert float(law.effective_tokens(1e6, 1e6)) == 1e6
  assert float(law.effective_tokens(4e6, 1e6)) == pytest.approx(3.73e6, rel=0.01)
  assert float(law.effective_tokens(1e12, 1e6)) == pytest.approx(16.39e6, rel=0.01)

  run = runs.SweepRun(4_000_000, 0, width=64)
  point = make_point(run, loss=2.0, unique_tokens=1e6, epochs=4.0)
  assert float(analysis.tokens([point])[0]) == pytest.approx(3.73e6, rel=0.01)


def test_points_are_kept_and_bad_ones_named(tmp_path):
  path = tmp_path / "points.jsonl"
  made = make_points()
  points.write(path, reversed(made))

  assert sorted(p.name for p in points.read(path)) == sorted(p.name for p in made)
  assert {p.name: p for p in points.read(path)} == {p.name: p for p in made}

  path.write_text(path.read_text() + '{"name": 1}\n')

  with pytest.raises(GatoError, match="points.jsonl:19: not a point"):
    points.read(path)
  with pytest.raises(GatoError, match="no points in"):
    points.read(tmp_path / "none.jsonl")


# Half a minute of fits each; without scores the page has less.
@pytest.mark.slow
@pytest.mark.parametrize("score", [True, False])
def test_page_with_its_files(tmp_path, score):
  made = make_points(score=score)
  series, others = (
    analysis.analyse(made, predicted=BUDGETS[-1:], draws=4, size=size) for size in analysis.SIZES
  )
  before = predictions.PredictedLoss(
    "2026-01-01T00:00:00+00:00", made[-1].name, "all", analysis.SIZES[0], 1, 1.0, 2.5, 2.4, 2.6, 12
  )
  facts = {"config": "x", "commands": ["python -m launch sweep"]}
  path = scaling_page.write(tmp_path, made, series, others, facts, predicted=[before])
  browser.assert_readable(path)
  page = path.read_text()
  names = {
    "loss_tokens",
    "loss_parameters",
    "loss_flops",
    "isoflops",
    "predicted",
    "exponents",
    "loss_domains",
  }
  names |= {"scores", "score_loss"} if score else set()

  assert (
    {p.stem for p in tmp_path.glob("*.png")} == names == {p.stem for p in tmp_path.glob("*.svg")}
  )
  assert page.count("data:image/png;base64") == len(names) and "python -m launch sweep" in page
  assert ("Figure 8 for these networks" in page) == score

  for name in names:
    image = np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB"))
    assert image.shape[1] > 600 and len(np.unique(image.reshape(-1, 3), axis=0)) > 20
    assert "</svg>" in (tmp_path / f"{name}.svg").read_text()

  lines = {
    name: (tmp_path / f"{name}.csv").read_text().splitlines()
    for name in ("points", "fits", "predictions")
  }

  assert [len(value) for value in lines.values()] == [19, 7, 37]
  assert "Predicted before they ran" in page and "2026-01-01T00:00:00" in page

  row = dict(zip(lines["fits"][0].split(","), lines["fits"][1].split(","), strict=True))

  assert float(row["alpha"]) == series[0].fit.best.alpha
  assert float(row["alpha_low"]) < float(row["alpha_high"])
  assert made[0].name in page and scaling_page.number(made[-1].loss) in page


# Slow: half a minute: all figures twice.
@pytest.mark.slow
def test_figures_are_the_same_for_the_same_points(tmp_path):
  made = make_points()
  series = analysis.analyse(made, draws=4)
  for name in ("a", "b"):
    scaling_figures.draw(made, series, tmp_path / name)
  for path in (tmp_path / "a").iterdir():
    assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_a_point_is_read_from_a_run(tmp_path):
  config = dataclasses.replace(model_config.VARIANTS["tiny"], **family.network(64))
  run = tmp_path / "w64-t20k-s3"
  run.mkdir()

  def read(steps):
    of_sweep = runs.SweepRun(1000 * steps, 3, width=64, budget=3e9)
    return points.of_run(run, of_sweep, CONTENT)

  assert read(20) is None

  sections = {"model": config.to_json(), "train": {"batch_size": 4, "seed": 3}}
  (run / "config.json").write_text(
    json.dumps(sections | {"optimizer": {"peak_learning_rate": 4e-3, "schedule": "wsd"}})
  )
  rows = [
    {"step": step, "tokens": 1000 * step, "loss": 5.0 - step / 10, "interval_target_tokens": weight}
    | {"interval_flops": 1e9, "interval_seconds": 2.0}
    for step, weight in ((10, 7), (19, 1), (20, 3))
  ]
  (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

  assert read(20) is None  # it has no held-out loss yet

  held_out = {
    "step": 20,
    "loss": 3.5,
    "loss/babyai": 1.0,
    "loss/babyai.GoTo": 1.0,
    "loss/procgen": 3.0,
    "targets/babyai": 30,
    "targets/procgen": 10,
    "target_tokens": 90,
    "batches": 2,
  }
  (run / "validation.json").write_text(json.dumps(held_out))
  point = read(20)

  assert (point.loss, point.losses, point.tokens, point.flops, point.seed) == (
    3.5,
    {"babyai": 1.0, "procgen": 3.0, "control": 1.5},
    20_000,
    3e9,
    3,
  )
  assert (point.family, point.budget, point.schedule) == ("family", 3e9, "wsd")
  # 20 steps of 300 tokens a component: one of the two has 4,000 different ones.
  assert point.unique_tokens == 1000 * (6000 + 4000) / 600
  assert point.epochs == pytest.approx((0.5 + 1.5) / 2)
  assert (
    point.train_loss == pytest.approx((3.1 * 1 + 3.0 * 3) / 4)
    and point.seconds == 6.0
    and point.score is None
  )
  assert read(40) is None  # asked for a longer run

  lines = [
    {
      "task": "babyai.GoTo",
      "actor": actor,
      "seed": seed,
      "episode_return": value,
      "length": 3,
      "success": None,
    }
    | {"seconds": 1.0, "step": 20 if actor == "gato" else 0}
    for actor, values in {"gato": (4.0, 6.0), "random": (0.0, 0.0), "expert": (10.0,) * 10}.items()
    for seed, value in enumerate(values)
  ]
  (run / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

  assert read(20).score == pytest.approx(50)

  longer = {**rows[-1], "step": 40}
  (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, longer]))

  assert read(40) is None  # trained on, and not measured since

  (run / "validation.json").write_text("{")

  with pytest.raises(GatoError, match="not JSON"):
    read(20)
