"""Measures the built-in world's models against their targets, on appearances that pretraining never saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from PIL import Image

from motion_ablation.backbones import UNet3DBackbone
from motion_ablation.data.world.shapes import TRANSLATIONS, Scene, appearances, sample_scene
from motion_ablation.data.world.stream import ShapesDataset
from motion_ablation.files import write_json
from motion_ablation.metrics.networks.encoders import load_encoder
from motion_ablation.metrics.segmentation import object_centers, object_mask, shows_colors
from motion_ablation.pretrain.clip import AppearanceBatches

TARGETS = {"clip_top1": 0.9, "prompt_colors": 0.85, "translation_direction": 0.7}
MOVES_RIGHT = 0.2
"""Least displacement along the named direction, from the first quarter's mean to the last quarter's; the frame is 2 wide."""


def autoencoder(backbone: UNet3DBackbone, clips: int = 64) -> dict[str, float]:
    """Held-out reconstruction: PSNR in dB, and how well the object's colour and outline survive.

    ``object_iou`` is the mean overlap of the colour-segmented object before and after; ``object_kept`` is the share
    of frames in which that overlap is over a half.
    """
    errors, overlaps = [], []
    data = ShapesDataset(clips, frames=4, held_out=True, seed=31)
    for index in range(clips):
        item = data[index]
        frames, color = item["frames"], item["appearance"].split()[1]
        rebuilt = backbone.decode(backbone.encode(frames).mean)[0]
        errors.append((rebuilt - frames).square().mean().item())
        before, after = object_mask(frames, color), object_mask(rebuilt, color)
        overlaps += ((before & after).sum((1, 2)) / (before | after).sum((1, 2)).clamp(min=1)).tolist()
    kept = np.mean([overlap > 0.5 for overlap in overlaps])
    return {"psnr": float(-10 * np.log10(np.mean(errors))), "object_iou": float(np.mean(overlaps)), "object_kept": float(kept)}


def clip_top1(source: str, batches: int = 8) -> float:
    """Share of frames whose appearance caption is the most similar of 64 different ones."""
    encoder = load_encoder(source)
    hits = []
    for batch in (AppearanceBatches(batches, 64, seed=77)[index] for index in range(batches)):
        similarity = encoder.images(batch["frames"]) @ encoder.texts(batch["captions"]).T
        hits.append((similarity.argmax(1).cpu() == torch.arange(64)).float().mean().item())
    return float(np.mean(hits))


def prompts(count: int = 64) -> list[Scene]:
    """Held-out appearances; every second one moves along a line, the others stay unsaid."""
    rng = np.random.default_rng(5)
    chosen = appearances(held_out=True)
    scenes = []
    for index, row in enumerate(np.resize(rng.permutation(len(chosen)), count)):
        shape, color, background = chosen[row]
        motion = list(TRANSLATIONS)[(index // 2) % 4] if index % 2 == 0 else "standing still"
        scenes.append(sample_scene(rng, shape=shape, color=color, background=background, motion=motion, camera="static"))
    return scenes


def text_to_video(
    backbone: UNet3DBackbone, steps: int, guidance: float, frames: int = 16, size: int = 64
) -> tuple[dict[str, float], torch.Tensor, list[str]]:
    """Generates from held-out prompts and judges by segmenting the colour.

    Returns:
        The shares ``prompt_colors`` and ``translation_direction``, the videos ``(b, f, 3, h, w)``, and the prompts.
    """
    scenes = prompts()
    texts = [scene.caption(motion=scene.motion in TRANSLATIONS) for scene in scenes]
    videos = []
    shape = backbone.latent_shape(frames, size, size)
    for first in range(0, len(texts), 16):
        batch = texts[first : first + 16]
        noise = torch.randn(len(batch), *shape, generator=torch.Generator().manual_seed(first))
        videos.append(backbone.decode(backbone.generate(noise, backbone.embed(batch), backbone.embed([""]), steps, guidance)))
    video = torch.cat(videos)
    colors = [shows_colors(v, scene.color, scene.background) for v, scene in zip(video, scenes, strict=True)]
    moves = [moves_right(v, scene) for v, scene in zip(video, scenes, strict=True) if scene.motion in TRANSLATIONS]
    return {"prompt_colors": float(np.mean(colors)), "translation_direction": float(np.mean(moves))}, video, texts


def moves_right(frames: torch.Tensor, scene: Scene) -> bool:
    """Whether the object goes the way its phrase says, more than across it."""
    centers, visible = object_centers(frames, scene.color)
    centers = centers[visible]
    if len(centers) < len(frames) // 2:
        return False
    quarter = max(1, len(centers) // 4)
    moved = centers[-quarter:].mean(0) - centers[:quarter].mean(0)
    along = torch.tensor(TRANSLATIONS[scene.motion], dtype=moved.dtype)
    forward, across = float(moved @ along), float((moved - (moved @ along) * along).norm())
    return forward > MOVES_RIGHT and forward > across


def contact_sheet(video: torch.Tensor, columns: int = 8, scale: int = 2) -> Image.Image:
    """One row per video, ``columns`` evenly spaced frames."""
    picked = video[:, torch.linspace(0, video.shape[1] - 1, columns).round().long()]
    sheet = rearrange(picked, "b f c h w -> (b h) (f w) c").mul(255).round().byte().cpu().numpy()
    return Image.fromarray(sheet).resize((sheet.shape[1] * scale, sheet.shape[0] * scale), Image.Resampling.NEAREST)


def main(output: str = "results/pretrain", source: str = "shapes", steps: int = 20, guidance: float = 1.5) -> dict[str, Any]:
    """Measures everything, prints it beside the targets, and writes ``report.json`` and ``generated.png``."""
    torch.manual_seed(0)
    backbone = UNet3DBackbone(source)
    found: dict[str, Any] = {f"vae_{name}": value for name, value in autoencoder(backbone).items()}
    found["clip_top1"] = clip_top1("shapes" if source == "shapes" else str(Path(source) / "clip"))
    shares, video, texts = text_to_video(backbone, steps, guidance)
    found.update(shares, steps=steps, guidance=guidance, weights=backbone.fingerprint)
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    contact_sheet(video[:12]).save(folder / "generated.png")
    write_json(folder / "report.json", {**found, "targets": TARGETS, "prompts": texts[:12]})
    for name, value in found.items():
        target = f"   (target {TARGETS[name]:.2f})" if name in TARGETS else ""
        print(f"{name:24} {value if isinstance(value, str) else format(value, '.3f')}{target}")
    print(f"pictures are in {folder}")
    return found
