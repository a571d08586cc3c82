"""AnimateDiff: a random model of the same class, the true configuration on the meta device, and missing weights."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel
from einops import rearrange
from torch import Tensor

from motion_ablation.backbones import BACKBONES, AnimateDiffBackbone
from motion_ablation.backbones.folder import latent_shape
from motion_ablation.module import BackboneConfig, MotionInversion, SamplingConfig
from motion_ablation.motion import MotionConfig, MotionEmbeddings, SiteConfig
from motion_ablation.records import Cell, Clip
from motion_ablation.weights import MissingWeights

WIDTHS = (16, 32)


@pytest.fixture(scope="module")
def folders(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An image model beside the tiny autoencoder and text encoder, and a motion adapter."""
    root = tmp_path_factory.mktemp("animatediff")
    image, adapter = root / "image", root / "adapter"
    shutil.copytree(tiny_backbone, image)
    shutil.rmtree(image / "unet")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        UNet2DConditionModel(
            sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=WIDTHS, norm_num_groups=8,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=16, attention_head_dim=2,
        ).save_pretrained(image / "unet")  # fmt: skip
        motion = MotionAdapter(
            block_out_channels=WIDTHS, motion_layers_per_block=1, motion_num_attention_heads=2, motion_norm_num_groups=8,
            motion_max_seq_length=8,
        )  # fmt: skip
        for parameter in motion.parameters():  # an adapter starts with output projections of zero
            torch.nn.init.normal_(parameter, std=0.1)
        motion.save_pretrained(adapter)
    return image, adapter


def options(adapter: Path, checkpointing: bool = False) -> dict[str, Any]:
    return {"adapter": str(adapter), "gradient_checkpointing": checkpointing}


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


def test_it_loads_trains_and_generates(folders: tuple[Path, Path], tmp_path: Path) -> None:
    image, adapter = folders
    config = BackboneConfig("animatediff", str(image), options(adapter))
    module = MotionInversion(config, MotionConfig.paper(), sampling=SamplingConfig(2, 7.5, "", 2), cache=str(tmp_path))
    module.make_motion(4, 16, 32)
    assert module.backbone.scheduler.config.beta_schedule == "linear"
    clip = Clip(torch.rand(4, 3, 16, 32), 8.0, "a red star", "noise")
    optimizer = module.configure_optimizers()
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = module.training_step(clip, 0)
        assert loss is not None
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all((parameter.grad is not None) == name.startswith("motion.") for name, parameter in module.named_parameters())
    samples = module.generate(clip, [Cell(clip.name, "a blue circle", seed, "blend") for seed in (0, 1)])
    assert [sample.frames.shape for sample in samples] == [(4, 3, 16, 32)] * 2


def test_gradient_checkpointing_changes_no_gradient(folders: tuple[Path, Path], tmp_path: Path) -> None:
    image, adapter = folders
    clip = Clip(torch.rand(4, 3, 16, 16), 8.0, "a red star", "noise")
    gradients = []
    for checkpointing in (False, True):
        config = BackboneConfig("animatediff", str(image), options(adapter, checkpointing))
        module = MotionInversion(config, MotionConfig.paper(), cache=str(tmp_path))
        torch.manual_seed(3)
        module.make_motion(4, 16, 16)
        with torch.no_grad():
            for parameter in module.embeddings.parameters():
                parameter.copy_(torch.randn(parameter.shape) * 0.1)
        loss = module.training_step(clip, 0)
        assert loss is not None
        loss.backward()
        module.on_after_backward()
        gradients.append([parameter.grad for parameter in module.embeddings.parameters()])
        assert not any(layer._forward_pre_hooks for layer in module.backbone.denoiser.modules()), "nothing stays attached"
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, plain)
    with pytest.raises(ValueError, match="objective 'hybrid' runs the network twice a step"):
        MotionInversion(config, MotionConfig.paper(), {"name": "hybrid"}, cache=str(tmp_path))


def test_a_failed_step_lets_go_of_the_backbone_that_other_runs_share(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, adapter = folders
    clip = Clip(torch.rand(4, 3, 16, 16), 8.0, "a red star", "noise")
    config = BackboneConfig("animatediff", str(image), options(adapter, True))
    module = MotionInversion(config, MotionConfig(adapter={"name": "temporal_lora"}), cache=str(tmp_path))
    module.make_motion(4, 16, 16)
    tree = dict(module.backbone.denoiser.named_modules())
    monkeypatch.setattr(module.objective, "forward", lambda *_: torch.tensor(float("nan")))
    with pytest.raises(FloatingPointError):
        module.training_step(clip, 0)
    assert dict(module.backbone.denoiser.named_modules()) == tree
    monkeypatch.undo()
    assert module.training_step(clip, 0) is not None  # and its backward pass never comes
    assert dict(module.backbone.denoiser.named_modules()) != tree
    other = MotionInversion(config, MotionConfig.paper(), cache=str(tmp_path))
    assert other.backbone is module.backbone
    assert dict(other.backbone.denoiser.named_modules()) == tree


@torch.no_grad()
def test_motion_is_added_to_the_positions(folders: tuple[Path, Path]) -> None:
    """``to_q`` sees the normed features plus the sinusoidal positions plus ``M_qk``, in ``(b h w) f c`` order."""
    image, adapter = folders
    backbone = AnimateDiffBackbone(str(image), str(adapter))
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


def test_missing_weights_say_what_to_fetch(folders: tuple[Path, Path]) -> None:
    image, _ = folders
    with pytest.raises(MissingWeights, match="hf download guoyww/animatediff-motion-adapter-v1-5-3 --local-dir"):
        BACKBONES.build("animatediff", source=str(image), adapter="guoyww/animatediff-motion-adapter-v1-5-3")
    with pytest.raises(MissingWeights, match="hf download stable-diffusion-v1-5/stable-diffusion-v1-5"):
        BACKBONES.build("animatediff", source="stable-diffusion-v1-5/stable-diffusion-v1-5", adapter="x/y")
