"""Rollouts as small GIFs, each with a JSON file that describes its episode."""

import dataclasses
import io
import json
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from gato_jax.env import results
from gato_jax.errors import GatoError
from gato_jax.storage import files

MAX_SIDE = 128  # pixels
MAX_FRAMES = 100
DEFAULT_FPS = 8  # of tasks whose steps have no length in seconds
MIN_GIF_SECONDS = 0.02  # a frame; browsers play anything faster at 10 frames a second
SUFFIXES = (".gif", ".mp4")
_COLOURS = 64


@dataclasses.dataclass(frozen=True)
class Rollout:
  """A video file and the episode in it; what is unknown, without a JSON beside the file, is None.

  Attributes:
    task: "domain.task".
    path: The video.
    kind: "best" or "worst" of the task's episodes at that step.
    seed: The episode's seed.
    step: Training step of the checkpoint.
    episode_return: Return of the episode in the video.
    success: Its success; also None where the task defines none.
    scored_return: Return of the same seed when it was played for its score.
  """

  task: str
  path: pathlib.Path
  kind: str | None = None
  seed: int | None = None
  step: int | None = None
  episode_return: float | None = None
  success: bool | None = None
  scored_return: float | None = None

  @property
  def domain(self) -> str:
    return self.task.split(".", 1)[0]

  @property
  def differs(self) -> bool:
    """True when the episode of the video is known to have gone otherwise than the scored one."""
    if self.episode_return is None or self.scored_return is None:
      return False
    return not np.isclose(self.episode_return, self.scored_return, rtol=1e-6)


def stride(frames: int) -> int:
  """Returns the smallest stride with which at most MAX_FRAMES of some frames are taken."""
  return -(-frames // MAX_FRAMES)  # rounded up


def write_gif(frames: Sequence[np.ndarray], path: pathlib.Path, fps: float) -> None:
  """Writes a video in real time.

  Args:
    frames: Images, each uint8 [H, W, 3]. They are evenly subsampled to at most MAX_FRAMES.
    path: The file, which is replaced.
    fps: Frames a second.

  Raises:
    GatoError: There are no frames.
  """
  if not frames:
    raise GatoError(f"{path}: no frames to write; record them with run_episodes(record_frames=...)")

  every = stride(len(frames))
  kept = list(frames[::every])
  # The end of the episode is what a viewer wants to see: it replaces the last frame where the
  # stride misses it.
  if (len(frames) - 1) % every:
    kept[-1] = frames[-1]

  images = [_shrink(frame) for frame in kept]
  milliseconds = round(1000 * max(every / fps, MIN_GIF_SECONDS))
  gif = io.BytesIO()
  images[0].save(
    gif,
    "GIF",
    save_all=True,
    append_images=images[1:],
    duration=milliseconds,
    loop=0,
    optimize=True,
  )
  files.write(path, gif.getvalue())


def write_rollout(
  directory: pathlib.Path,
  kind: str,
  frames: Sequence[np.ndarray],
  fps: float,
  shown: results.Row,
  scored: results.Row,
) -> pathlib.Path:
  """Writes <directory>/<domain>.<task>.<kind>.gif and the JSON for its caption.

  Args:
    directory: Where both files go.
    kind: "best" or "worst".
    frames: As in `write_gif`.
    fps: As in `write_gif`.
    shown: The episode in the frames.
    scored: The row that it repeats.

  Returns:
    The path of the GIF.
  """
  path = directory / f"{shown.task}.{kind}.gif"
  write_gif(frames, path, fps=fps)

  facts = {
    "task": shown.task,
    "kind": kind,
    "seed": shown.seed,
    "step": shown.step,
    "episode_return": shown.episode_return,
    "success": shown.success,
    "scored_return": scored.episode_return,
  }
  files.write_json(_facts_path(path), facts)
  return path


def find(directory: pathlib.Path) -> list[Rollout]:
  """Returns a rollout for each video of a directory, by name; none if it does not exist."""
  rollouts = []

  for path in sorted(p for p in directory.glob("*.*") if p.suffix in SUFFIXES):
    facts = _facts_path(path)
    try:
      known = json.loads(facts.read_text()) if facts.exists() else {}
      rollouts.append(Rollout(**{"task": path.stem, **known, "path": path}))
    except (json.JSONDecodeError, TypeError) as e:
      raise GatoError(
        f"{facts}: not the facts of a rollout ({e}); delete it and evaluate again"
      ) from e

  return rollouts


def delete_others(directory: pathlib.Path, step: int) -> None:
  """Deletes the videos of other checkpoints; those without a JSON are not ours."""
  for rollout in find(directory):
    facts = _facts_path(rollout.path)
    if rollout.step != step and facts.exists():
      rollout.path.unlink()
      facts.unlink()


def _facts_path(path: pathlib.Path) -> pathlib.Path:
  return path.with_name(f"{path.stem}.json")


def _shrink(frame: np.ndarray) -> Image.Image:
  image = Image.fromarray(np.asarray(frame, np.uint8))
  image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BILINEAR)

  # Dithered images compress badly.
  return image.quantize(_COLOURS, dither=Image.Dither.NONE)
