"""Measures the built-in world's models against their targets, on appearances that pretraining never saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from PIL import Image

from motion_ablation.backbones import UNet3DBackbone
from motion_ablation.data.world.shapes import MOTIONS, TRANSLATIONS, Scene, appearances, render, sample_scene
from motion_ablation.data.world.stream import ShapesDataset
from motion_ablation.files import write_json
from motion_ablation.metrics.networks.encoders import load_encoder
from motion_ablation.metrics.segmentation import object_centers, object_mask, shows_colors
from motion_ablation.pretrain.clip import AppearanceBatches
from motion_ablation.pretrain.measures import obeys, shape_recognised, steadiness
from motion_ablation.pretrain.probes import held_out_scenes, loss_by_timestep, text_differences, text_to_motion

TARGETS = {
    "true_shape": 0.97, "reconstructed_shape": 0.95, "generated_shape": 0.8, "generated_mask_iou": 0.9, "generated_without_object": 0.002,
    "clip_top1": 0.9, "prompt_colors": 0.98, "translation_direction": 0.9, "motion_obeyed": 0.7, "text_to_motion": 0.9,
}  # fmt: skip
"""What is aimed at, of the values by name; of frames without object a smaller share is better, of all others a larger one."""
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
    mostly = np.mean([overlap > 0.5 for overlap in overlaps])
    return {"psnr": float(-10 * np.log10(np.mean(errors))), "object_iou": float(np.mean(overlaps)), "object_kept": float(mostly)}


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


def generate(backbone: UNet3DBackbone, texts: list[str], steps: int, guidance: float, frames: int = 16, size: int = 64) -> torch.Tensor:
    """Videos ``(b, f, 3, h, w)`` of the prompts, from fixed noise."""
    videos = []
    for first in range(0, len(texts), 16):
        batch = texts[first : first + 16]
        noise = torch.randn(len(batch), *backbone.latent_shape(frames, size, size), generator=torch.Generator().manual_seed(first))
        videos.append(backbone.decode(backbone.generate(noise, backbone.embed(batch), backbone.embed([""]), steps, guidance)))
    return torch.cat(videos)


def judge(name: str, videos: list[torch.Tensor], scenes: list[Scene], encoder: Any) -> dict[str, float]:
    """Means over videos of :func:`~.measures.steadiness`, of the shape recognised, and of the colours shown."""
    rows = [
        {
            **steadiness(video, scene.color),
            "shape": shape_recognised(encoder, video, scene),
            "colors": shows_colors(video, scene.color, scene.background),
        }
        for video, scene in zip(videos, scenes, strict=True)
    ]
    return {f"{name}_{key}": float(np.mean([row[key] for row in rows])) for key in rows[0]}


def text_to_video(backbone: UNet3DBackbone, encoder: Any, steps: int, guidance: float) -> tuple[dict[str, float], torch.Tensor, list[str]]:
    """Generates from held-out prompts, and says what is lost where: of the true videos, of their reconstruction, of the generated ones.

    Returns:
        The measures by name, the generated videos ``(b, f, 3, h, w)``, and their prompts.
    """
    scenes = prompts()
    texts = [scene.caption(motion=scene.motion in TRANSLATIONS) for scene in scenes]
    video = generate(backbone, texts, steps, guidance)
    still = [index for index, scene in enumerate(scenes) if scene.motion not in TRANSLATIONS]
    true = [torch.from_numpy(render(scenes[index])[0]) for index in still]
    stages = {
        "true": true,
        "reconstructed": [backbone.decode(backbone.encode(frames).mean)[0] for frames in true],
        "generated": [video[index] for index in still],
    }
    found: dict[str, float] = {}
    for name, videos in stages.items():
        found.update(judge(name, videos, [scenes[index] for index in still], encoder))
    colors = [shows_colors(v, scene.color, scene.background) for v, scene in zip(video, scenes, strict=True)]
    moves = [moves_right(v, scene) for v, scene in zip(video, scenes, strict=True) if scene.motion in TRANSLATIONS]
    return {**found, "prompt_colors": float(np.mean(colors)), "translation_direction": float(np.mean(moves))}, video, texts


def motions(backbone: UNet3DBackbone, steps: int, guidance: float, looks: int = 3) -> tuple[dict[str, float], torch.Tensor]:
    """The share of videos whose object does what the prompt's motion says, ``looks`` held-out appearances for each of the twelve.

    Returns:
        The share over all, ``motion_obeyed``, and of each motion; and one video of each motion.
    """
    scenes = [scene for number, motion in enumerate(MOTIONS) for scene in held_out_scenes(looks, 50 + number, motion=motion)]
    video = generate(backbone, [scene.caption() for scene in scenes], steps, guidance)
    obeyed = np.reshape([obeys(v, scene) for v, scene in zip(video, scenes, strict=True)], (len(MOTIONS), looks)).mean(1)
    each = {f"obeyed_{motion.replace(' ', '_')}": float(share) for motion, share in zip(MOTIONS, obeyed, strict=True)}
    return {"motion_obeyed": float(obeyed.mean()), **each}, video[::looks]


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


def main(output: str = "results/pretrain", source: str = "shapes", steps: int = 20, guidance: float = 2.0) -> dict[str, Any]:
    """Measures everything, prints it beside the targets, and writes ``report.json``, ``generated.png`` and ``motions.png``."""
    torch.manual_seed(0)
    backbone, clip = UNet3DBackbone(source), "shapes" if source == "shapes" else str(Path(source) / "clip")
    found: dict[str, Any] = {f"vae_{name}": value for name, value in autoencoder(backbone).items()}
    found["clip_top1"] = clip_top1(clip)
    found.update({f"text_{kind}": value for kind, value in text_differences(backbone).items()})
    shares = text_to_motion(backbone)
    found["text_to_motion"] = float(np.mean(list(shares.values())))
    found.update({f"text_to_motion_{pair.split()[1] if ' / moving' in pair else pair.split()[0]}": share for pair, share in shares.items()})
    found.update({f"loss_{timestep}": loss for timestep, loss in loss_by_timestep(backbone).items()})
    judged, video, texts = text_to_video(backbone, load_encoder(clip), steps, guidance)
    obeyed, moving = motions(backbone, steps, guidance)
    found.update(**judged, **obeyed, steps=steps, guidance=guidance, weights=backbone.fingerprint)
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    contact_sheet(video[:12]).save(folder / "generated.png")
    contact_sheet(moving).save(folder / "motions.png")
    write_json(folder / "report.json", {**found, "targets": TARGETS, "prompts": texts[:12]})
    for name, value in found.items():
        target = f"   (target {TARGETS[name]:.3g})" if name in TARGETS else ""
        print(f"{name:32} {value if isinstance(value, str) else format(value, '.3f')}{target}")
    print(f"pictures are in {folder}")
    return found
