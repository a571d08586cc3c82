"""AnimateDiff: its schedule, its positions, the true configuration on the meta device, and missing weights; the rest is the contract's."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel
from einops import rearrange
from torch import Tensor

from motion_ablation.backbones import BACKBONES, AnimateDiffBackbone
from motion_ablation.backbones.folder import latent_shape
from motion_ablation.motion import MotionConfig, MotionEmbeddings, SiteConfig
from motion_ablation.weights import MissingWeights


def test_the_true_model_has_these_sites() -> None:
    with torch.device("meta"):
        image = UNet2DConditionModel(
            sample_size=64, cross_attention_dim=768, block_out_channels=(320, 640, 1280, 1280), attention_head_dim=8, layers_per_block=2,
            down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",), up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        )  # fmt: skip
        unet = UNetMotionModel.from_unet2d(image, MotionAdapter(use_motion_mid_block=False), load_weights=False)
    latents = latent_shape(dict(unet.config), {"block_out_channels": (128, 256, 512, 512)}, 16, 512, 512)
    sites = AnimateDiffBackbone.probe(unet.config, latents)
    assert len(sites) == 4 * 2 + 4 * 3
    chosen = SiteConfig().select(sites)
    places = ["down_blocks.2"] * 2 + ["down_blocks.3"] * 2 + ["up_blocks.0"] * 3 + ["up_blocks.1"] * 3
    assert [site.name.split(".motion_modules")[0] for site in chosen] == places
    assert {(site.channels, site.frames, site.height) for site in chosen} == {(1280, 16, 16), (1280, 16, 8)}


@torch.no_grad()
def test_motion_is_added_to_the_positions(animatediff_folders: tuple[Path, Path]) -> None:
    """``to_q`` sees the normed features plus the sinusoidal positions plus ``M_qk``, in ``(b h w) f c`` order."""
    image, adapter = animatediff_folders
    backbone = AnimateDiffBackbone(str(image), str(adapter))
    assert backbone.diffusion.scheduler.config.beta_schedule == "linear"
    sites = backbone.sites(4, 16, 32)
    motion = MotionEmbeddings(MotionConfig.paper(), sites)
    for parameter in motion.parameters():
        parameter.copy_(torch.randn(parameter.shape))
    site = motion.sites[0]
    block = backbone.denoiser.get_submodule(site.name)
    seen: dict[str, Tensor] = {}
    inputs = torch.randn(2, *backbone.latent_shape(4, 16, 32)), torch.tensor([3]), backbone.embed(["a", "b"])
    outer = backbone.denoiser.get_submodule(site.name.rsplit(".transformer_blocks", 1)[0])
    with motion.attached(backbone.denoiser, sites):
        hooks = [
            outer.norm.register_forward_hook(lambda _, __, output: seen.update(outer=output)),
            outer.proj_in.register_forward_pre_hook(lambda _, args, kwargs: seen.update(flat=kwargs["input"]), with_kwargs=True),
            block.norm1.register_forward_hook(lambda _, __, output: seen.update(normed=output)),
            block.attn1.to_q.register_forward_pre_hook(lambda _, args: seen.update(q=args[0])),
            block.attn1.to_v.register_forward_pre_hook(lambda _, args: seen.update(v=args[0])),
        ]
        backbone.denoise(*inputs)
        for hook in hooks:
            hook.remove()
    assert torch.equal(seen["flat"], rearrange(seen["outer"], "b c f h w -> (b h w) f c"))
    position = torch.arange(4)[:, None] * torch.exp(torch.arange(0, site.channels, 2) * (-math.log(10000.0) / site.channels))
    positions = torch.stack([position.sin(), position.cos()], -1).flatten(1)
    rows = motion.state_dict()[f"streams.qk:{site.name.replace('.', '/')}.layout.rows"]
    torch.testing.assert_close(seen["q"], seen["normed"] + positions + rows)
    values = motion.state_dict()[f"streams.v:{site.name.replace('.', '/')}/attn1.layout.rows"]
    torch.testing.assert_close(seen["v"], seen["normed"] + positions + torch.cat([values] * 2))


def test_missing_weights_say_what_to_fetch(animatediff_folders: tuple[Path, Path]) -> None:
    image, _ = animatediff_folders
    with pytest.raises(MissingWeights, match="hf download guoyww/animatediff-motion-adapter-v1-5-3 --local-dir"):
        BACKBONES.build("animatediff", source=str(image), adapter="guoyww/animatediff-motion-adapter-v1-5-3")
    with pytest.raises(MissingWeights, match="hf download stable-diffusion-v1-5/stable-diffusion-v1-5"):
        BACKBONES.build("animatediff", source="stable-diffusion-v1-5/stable-diffusion-v1-5", adapter="x/y")


def test_more_frames_than_the_adapter_has_positions_are_refused(animatediff_folders: tuple[Path, Path]) -> None:
    image, adapter = animatediff_folders
    backbone = AnimateDiffBackbone(str(image), str(adapter))
    assert backbone.latent_shape(8, 16, 16)[1] == 8
    with pytest.raises(ValueError, match=r"data.frames 9 is more than this motion adapter takes \(8\)"):
        backbone.sites(9, 16, 16)
