"""Rollouts as small GIFs, each with a JSON of what it shows."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from gato_jax.errors import GatoError

MAX_SIDE = 128  # pixels
MAX_FRAMES = 100
MIN_GIF_SECONDS = 0.02  # browsers play anything faster at 10 frames a second
SUFFIXES = (".gif", ".mp4")


@dataclasses.dataclass(frozen=True)
class Rollout:
  """A video file and the episode in it; seed, return and success are None where no JSON lies beside the file."""

  task: str
  path: pathlib.Path
  seed: int | None = None
  episode_return: float | None = None
  success: bool | None = None

  @property
  def domain(self) -> str:
    return self.task.split(".", 1)[0]


def write_gif(frames: Sequence[np.ndarray], path: pathlib.Path, fps: float) -> None:
  """Writes frames, each uint8 [H, W, 3], at most MAX_FRAMES of them, evenly subsampled, in real time at `fps`."""
  if not frames:
    raise GatoError(f"{path}: no frames to write; record them with run_episodes(record_frames=...)")
  stride = -(-len(frames) // MAX_FRAMES)
  kept = list(frames[::stride])
  if (len(frames) - 1) % stride:
    kept[-1] = frames[-1]  # the end of the episode is what a viewer wants to see
  images = [_shrink(frame) for frame in kept]
  path.parent.mkdir(parents=True, exist_ok=True)
  milliseconds = round(1000 * max(stride / fps, MIN_GIF_SECONDS))
  images[0].save(path, save_all=True, append_images=images[1:], duration=milliseconds, loop=0, optimize=True)


def write_rollout(
  folder: pathlib.Path,
  task: str,
  frames: Sequence[np.ndarray],
  fps: float,
  *,
  seed: int,
  episode_return: float,
  success: bool | None,
) -> pathlib.Path:
  """<folder>/<domain>.<task>.gif and its JSON, which the page's caption comes from."""
  path = folder / f"{task}.gif"
  write_gif(frames, path, fps)
  facts = {"seed": seed, "episode_return": episode_return, "success": success}
  path.with_name(f"{task}.json").write_text(json.dumps(facts))
  return path


def find(folder: pathlib.Path) -> list[Rollout]:
  """Every <domain>.<task>.gif or .mp4 of a folder, by name; none where the folder does not exist."""
  rollouts = []
  for path in sorted(p for p in folder.glob("*.*") if p.suffix in SUFFIXES):
    facts = path.with_name(f"{path.stem}.json")
    try:
      rollouts.append(Rollout(path.stem, path, **(json.loads(facts.read_text()) if facts.exists() else {})))
    except (json.JSONDecodeError, TypeError) as e:
      raise GatoError(f"{facts}: not the facts of a rollout ({e}); delete it and evaluate again") from e
  return rollouts


def _shrink(frame: np.ndarray) -> Image.Image:
  image = Image.fromarray(np.asarray(frame, np.uint8))
  image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BILINEAR)
  return image.quantize(64, dither=Image.Dither.NONE)
