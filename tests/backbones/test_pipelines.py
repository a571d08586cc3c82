"""A learnt motion in diffusers' own pipelines: the frames that the project itself generates, nothing left behind, others refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AnimateDiffPipeline,
    AutoencoderKLCogVideoX,
    AutoencoderKLWan,
    CogVideoXDDIMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    DDIMScheduler,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    MotionAdapter,
    TextToVideoSDPipeline,
    UNet2DConditionModel,
    WanPipeline,
    WanTransformer3DModel,
)
from torch import Tensor
from transformers import AutoTokenizer, T5EncoderModel, UMT5EncoderModel

import motion_ablation
from motion_ablation.backbones import BACKBONES, BackboneConfig, UNet3DBackbone
from motion_ablation.backbones.animatediff import SCHEDULE
from motion_ablation.generating import SamplingConfig
from motion_ablation.module import MotionInversion
from motion_ablation.motion import MotionConfig, MotionEmbeddings, SiteConfig
from motion_ablation.records import Cell, Clip
from motion_ablation.weights import BUILTIN

PROMPTS = ["a red star on a blue background", "a green ring"]


def learnt(folder: Path, backbone: BackboneConfig, size: int, frames: int = 4, strength: float = 0.5) -> tuple[Path, MotionInversion]:
    """The file of an embedding of the paper's streams that is not zero, on this backbone, and the module that generates with it."""
    make = BACKBONES.build(backbone.name, source=backbone.source, **backbone.options)
    config = MotionConfig.paper()
    config.sites = SiteConfig(stages=[stage for stage in make.stages if stage not in ("mid", "in")], channels="all")
    motion = MotionEmbeddings(config, make.sites(frames, size, size))
    with torch.no_grad():
        for parameter in motion.parameters():
            parameter.copy_(strength * torch.randn(parameter.shape))
    motion.save(folder / "motion.safetensors", backbone=make.fingerprint)
    embedding = str(folder / "motion.safetensors")
    return folder, MotionInversion(backbone, sampling=SamplingConfig(2, 3.0), embedding=embedding, cache=str(folder / "cache"))


def predicted(module: MotionInversion, size: int, frames: int = 4) -> tuple[Tensor, Tensor]:
    """What ``lightning predict`` generates, ``(b, f, 3, h, w)``, and the noise that it starts from."""
    clip = Clip(torch.rand(frames, 3, size, size), 8.0, "a clip", "clip")
    cells = [Cell(clip.name, prompt, 0, "random") for prompt in PROMPTS]
    return torch.stack([sample.frames for sample in module.generate(clip, cells)]), module.generating.noise(clip, cells)


def shown(pipe: Any, noise: Tensor, size: int, frames: int = 0, **more: Any) -> Tensor:
    """What the pipeline generates from this noise, ``(b, f, 3, h, w)``."""
    kwargs = {
        "num_frames": frames or noise.shape[2],
        "height": size,
        "width": size,
        "num_inference_steps": 2,
        "guidance_scale": 3.0,
        **more,
    }
    return torch.as_tensor(pipe(PROMPTS, latents=noise.clone(), output_type="pt", negative_prompt=["", ""], **kwargs).frames)


def stock(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def image_pipeline(image: Path) -> Any:
    """A pipeline around the image model itself."""
    return TextToVideoSDPipeline.from_pretrained(image, unet=UNet2DConditionModel.from_pretrained(image / "unet"))


def animatediff(image: Path, adapter: Path) -> Any:
    """diffusers' own pipeline around the tiny models."""
    parts = image_pipeline(image)
    return stock(
        AnimateDiffPipeline(
            vae=parts.vae,
            text_encoder=parts.text_encoder,
            tokenizer=parts.tokenizer,
            unet=parts.unet,
            motion_adapter=MotionAdapter.from_pretrained(adapter),
            scheduler=DDIMScheduler.from_config(parts.scheduler.config, **SCHEDULE),
        )
    )


def check(pipe: Any, folder: Path, module: MotionInversion, size: int, frames: int = 4, swap: bool = False, **more: Any) -> None:
    """Same frames as :func:`predicted`; before and after the block, and after an error in it, the pipeline as it is.

    Args:
        swap: the pipeline's latents have frames before channels. more: arguments of the pipeline.
    """
    wanted, noise = predicted(module, size, frames)
    noise, more = noise.transpose(1, 2) if swap else noise, {"frames": frames, **more}
    plain = shown(pipe, noise, size, **more)
    network = getattr(pipe, "transformer", None) or pipe.unet
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with motion_ablation.attach(pipe, folder):
        moved = shown(pipe, noise, size, **more)
    with pytest.raises(KeyError), motion_ablation.attach(pipe, str(folder / "motion.safetensors")):
        shown(pipe, noise, size, **more)
        raise KeyError
    assert (moved - wanted).abs().max() < 1.5 / 255, "predict rounds to whole steps"
    assert ((moved - wanted).abs() > 0.51 / 255).float().mean() < 0.01
    assert (moved - plain).abs().max() > 2 / 255, "the motion is seen"
    assert torch.equal(shown(pipe, noise, size, **more), plain), "gone, bit for bit"
    assert all(torch.equal(weights[name], tensor) for name, tensor in network.state_dict().items())


def test_the_built_in_weights_in_diffusers_own_pipeline(tmp_path: Path) -> None:
    pipe = stock(DiffusionPipeline.from_pretrained(BUILTIN / "shapes", local_files_only=True))
    assert type(pipe) is TextToVideoSDPipeline
    check(pipe, *learnt(tmp_path, BackboneConfig(), 32), 32)


def test_animatediff(tmp_path: Path, animatediff_folders: tuple[Path, Path]) -> None:
    image, adapter = animatediff_folders
    backbone = BackboneConfig("animatediff", str(image), {"adapter": str(adapter)})
    check(animatediff(image, adapter), *learnt(tmp_path, backbone, 16), 16)


def test_wan(tmp_path: Path, wan_folder: Path) -> None:
    """By Euler's steps, which the project takes; the checkpoints' own UniPC goes another way."""
    source = shutil.copytree(wan_folder, tmp_path / "wan")
    shutil.rmtree(source / "scheduler")
    FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(source / "scheduler")
    pipe = WanPipeline(
        tokenizer=AutoTokenizer.from_pretrained(source / "tokenizer"),
        text_encoder=UMT5EncoderModel.from_pretrained(source / "text_encoder"),
        transformer=WanTransformer3DModel.from_pretrained(source / "transformer"),
        vae=AutoencoderKLWan.from_pretrained(source / "vae"),
        scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(source / "scheduler"),
    )
    check(stock(pipe), *learnt(tmp_path, BackboneConfig("wan", str(source)), 16, 5, strength=200), 16, 5)


def test_cogvideox(tmp_path: Path, cogvideox_folder: Path) -> None:
    pipe = CogVideoXPipeline(
        tokenizer=AutoTokenizer.from_pretrained(cogvideox_folder / "tokenizer"),
        text_encoder=T5EncoderModel.from_pretrained(cogvideox_folder / "text_encoder"),
        transformer=CogVideoXTransformer3DModel.from_pretrained(cogvideox_folder / "transformer"),
        vae=AutoencoderKLCogVideoX.from_pretrained(cogvideox_folder / "vae"),
        scheduler=CogVideoXDDIMScheduler.from_pretrained(cogvideox_folder / "scheduler"),
    )
    backbone = BackboneConfig("cogvideox", str(cogvideox_folder))
    check(stock(pipe), *learnt(tmp_path, backbone, 16, 9), 16, 9, swap=True, max_sequence_length=16)


def test_length_and_size_may_change_from_call_to_call(tmp_path: Path, tiny_backbone: Path) -> None:
    folder, module = learnt(tmp_path, BackboneConfig(source=str(tiny_backbone)), 16)
    pipe = stock(DiffusionPipeline.from_pretrained(tiny_backbone))
    with motion_ablation.attach(pipe, folder):
        for size, frames in ((16, 4), (32, 6), (16, 4)):
            wanted, noise = predicted(module, size, frames)
            assert (shown(pipe, noise, size) - wanted).abs().max() < 1.5 / 255


def test_the_debias_is_what_it_is_when_generating(tmp_path: Path, tiny_backbone: Path) -> None:
    """A value stream that is the same in all frames is cancelled but in the first; an undebiased one is not."""
    made = UNet3DBackbone(str(tiny_backbone))
    pipe = stock(DiffusionPipeline.from_pretrained(tiny_backbone))
    noise = torch.randn(2, *made.latent_shape(4, 16, 16))
    videos = []
    for debias in ({"name": "drop"}, {"name": "none"}):
        config = MotionConfig.paper()
        config.qk = None
        assert config.v is not None
        config.v.debias = debias
        motion = MotionEmbeddings(config, made.sites(4, 16, 16))
        torch.nn.init.normal_(next(motion.parameters()))
        motion.save(tmp_path / "motion.safetensors")
        with motion_ablation.attach(pipe, tmp_path):
            videos.append(shown(pipe, noise, 16))
    assert torch.equal(videos[0], shown(pipe, noise, 16)) and not torch.equal(videos[1], videos[0])


def test_another_backbone_is_refused_in_one_line(tmp_path: Path, tiny_backbone: Path, animatediff_folders: tuple[Path, Path]) -> None:
    folder, _ = learnt(tmp_path, BackboneConfig(source=str(tiny_backbone)), 16)
    widths = stock(DiffusionPipeline.from_pretrained(BUILTIN / "shapes"))
    refused = "the motion embedding is of another backbone: 16 channels at '[^']*attn1', here [^\n]*$"
    for pipe in (widths, animatediff(*animatediff_folders)):
        with pytest.raises(ValueError, match=refused), motion_ablation.attach(pipe, folder):
            pytest.fail("the block must not begin")
    known = "motion cannot be attached to a pipeline around UNet2DConditionModel; it can be to one around .*UNet3DConditionModel[^\n]*$"
    with pytest.raises(ValueError, match=known), motion_ablation.attach(image_pipeline(animatediff_folders[0]), folder):
        pytest.fail("the block must not begin")
