"""Wan and CogVideoX: numbers that agree with diffusers' pipelines, true configurations on the meta device; the rest is the contract's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKLWan,
    CogVideoXPipeline,
    FlowMatchEulerDiscreteScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from einops import rearrange
from torch import Tensor

import motion_ablation
from motion_ablation.backbones import BackboneConfig, CogVideoXBackbone, WanBackbone
from motion_ablation.generating import SamplingConfig
from motion_ablation.module import MotionInversion
from motion_ablation.motion import MotionConfig, MotionEmbeddings, SiteConfig, StreamConfig
from motion_ablation.records import Cell, Clip

PROMPTS = ["a red star", "a blue circle moving up"]


def noise(backbone: Any, size: tuple[int, int, int]) -> Tensor:
    return torch.randn(2, *backbone.latent_shape(*size), generator=torch.Generator().manual_seed(3))


# The same numbers as diffusers' own pipelines.


@pytest.fixture
def wan_euler(wan_folder: Path, tmp_path: Path) -> Path:
    """The tiny Wan with the scheduler whose steps its pipeline takes as we do."""
    shutil.copytree(wan_folder, tmp_path / "wan")
    FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(tmp_path / "wan" / "scheduler")
    return tmp_path / "wan"


def pipeline_of(backbone: Any) -> Any:
    """diffusers' own pipeline around the same parts."""
    parts = {
        "tokenizer": backbone.tokenizer,
        "vae": backbone.vae,
        "transformer": backbone.denoiser,
        "scheduler": backbone.diffusion.scheduler,
    }
    kind = WanPipeline if isinstance(backbone, WanBackbone) else CogVideoXPipeline
    pipeline = kind(text_encoder=backbone.encoder.from_pretrained(backbone.folder / "text_encoder"), **parts)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def shown(pipeline: Any, start: Tensor, text: Tensor, negative: Tensor, size: tuple[int, int, int], guidance: float, kind: str) -> Tensor:
    """What the pipeline makes of this noise in four steps: its ``latent`` as we order them, or its videos as ``pt``."""
    other_order = isinstance(pipeline, CogVideoXPipeline)
    made = pipeline(
        prompt_embeds=text, negative_prompt_embeds=negative, latents=start.transpose(1, 2) if other_order else start, num_frames=size[0],
        height=size[1], width=size[2], num_inference_steps=4, guidance_scale=guidance, output_type=kind,
    ).frames  # fmt: skip
    return made.transpose(1, 2) if kind == "latent" and other_order else made


STOCK = [("wan_euler", WanBackbone, (5, 32, 48)), ("cogvideox_folder", CogVideoXBackbone, (9, 32, 48))]
STOCK.append(("cogvideox_2b_folder", CogVideoXBackbone, (9, 32, 48)))


@pytest.mark.parametrize(("folder", "kind", "size"), STOCK, ids=[each[0] for each in STOCK])
def test_it_samples_as_its_pipeline(
    folder: str, kind: Any, size: tuple[int, int, int], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    backbone = kind(str(request.getfixturevalue(folder)))
    pipeline, start = pipeline_of(backbone), noise(backbone, size)
    text, empty = backbone.embed(PROMPTS), backbone.embed([""])
    negative = empty.expand(2, -1, -1)
    theirs = pipeline.encode_prompt(PROMPTS, ["", ""], max_sequence_length=backbone.text_length)
    torch.testing.assert_close((text, negative), theirs, atol=1e-6, rtol=1e-5)
    for guidance in (1.0, 5.0):
        ours = backbone.generate(start, text, empty, 4, guidance)
        torch.testing.assert_close(ours, shown(pipeline, start, text, negative, size, guidance, "latent"), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(backbone.decode(ours), shown(pipeline, start, text, negative, size, 5.0, "pt"), atol=1e-3, rtol=1e-3)

    sites = backbone.sites(*size)
    motion = MotionEmbeddings(MotionConfig(**MotionConfig.paper().streams(), sites=SiteConfig(["blocks"])), sites)
    for parameter in motion.parameters():
        torch.nn.init.normal_(parameter)
    motion.save(tmp_path / "motion.safetensors")
    with motion.attached(backbone.denoiser, sites, generating=True):
        moved = backbone.generate(start, text, empty, 4, 5.0)
    assert (moved - ours).abs().max() > 0.01
    with motion_ablation.attach(pipeline, tmp_path):
        torch.testing.assert_close(shown(pipeline, start, text, negative, size, 5.0, "latent"), moved, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(shown(pipeline, start, text, negative, size, 5.0, "latent"), ours, atol=1e-4, rtol=1e-4)


def test_latents_are_scaled_as_the_pipelines_unscale_them(wan_folder: Path, cogvideox_folder: Path) -> None:
    pixels = torch.rand(9, 3, 32, 32)
    for backbone in (WanBackbone(str(wan_folder)), CogVideoXBackbone(str(cogvideox_folder))):
        posterior, raw = backbone.encode(pixels), backbone.vae.encode(rearrange(pixels * 2 - 1, "f c h w -> 1 c f h w")).latent_dist
        config = backbone.vae.config
        mean, std = (config.latents_mean, config.latents_std) if "z_dim" in config else ([0.0], [1 / config.scaling_factor])
        torch.testing.assert_close(
            posterior.mean * torch.tensor(std).view(1, -1, 1, 1, 1) + torch.tensor(mean).view(1, -1, 1, 1, 1), raw.mean
        )
        torch.testing.assert_close(posterior.std * torch.tensor(std).view(1, -1, 1, 1, 1), raw.std)


# Lengths, kinds of model, and options.


@pytest.mark.parametrize(
    ("frames", "wan", "cogvideox"), [(16, "13 and 17", "9 and 17"), (48, "45 and 49", "41 and 49"), (50, "49 and 53", "49 and 57")]
)
def test_lengths_that_do_not_fit_name_the_nearest(frames: int, wan: str, cogvideox: str, wan_folder: Path, cogvideox_folder: Path) -> None:
    for kind, folder, nearest in ((WanBackbone, wan_folder, wan), (CogVideoXBackbone, cogvideox_folder, cogvideox)):
        with pytest.raises(ValueError, match=rf"^data.frames {frames} does not suit [^\n]*the nearest are {nearest}$"):
            kind.sites_of(str(folder), frames, 32, 32)


def edited(folder: Path, copy: Path, part: str, **changes: Any) -> str:
    """A copy of a checkpoint with other values in a part's configuration."""
    shutil.copytree(folder, copy)
    path = copy / part / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return str(copy)


def test_models_of_another_kind_are_refused(wan_folder: Path, cogvideox_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="only text-to-video models"):
        WanBackbone(edited(wan_folder, tmp_path / "image", "transformer", in_channels=36))
    with pytest.raises(ValueError, match="patches of"):
        WanBackbone(edited(wan_folder, tmp_path / "patch", "transformer", patch_size=[2, 2, 2]))
    with pytest.raises(ValueError, match="only text-to-video models"):
        CogVideoXBackbone(edited(cogvideox_folder, tmp_path / "cog-image", "transformer", in_channels=8))
    with pytest.raises(ValueError, match=r"CogVideoX 1.5"):
        CogVideoXBackbone(edited(cogvideox_folder, tmp_path / "later", "transformer", patch_size_t=2))
    two = Path(edited(wan_folder, tmp_path / "two", "transformer"))
    shutil.copytree(two / "transformer", two / "transformer_2")
    with pytest.raises(ValueError, match="two networks for two ranges of noise"):
        WanBackbone(str(two))
    with pytest.raises(ValueError, match="noise schedule of a CogVideoXDDIMScheduler"):
        shutil.copytree(cogvideox_folder / "scheduler", two / "scheduler", dirs_exist_ok=True)
        shutil.rmtree(two / "transformer_2")
        WanBackbone(str(two))


def test_ways_to_save_memory_leave_small_clips_as_they_are(wan_folder: Path, cogvideox_folder: Path) -> None:
    pixels = torch.rand(9, 3, 32, 32)
    for kind, folder in ((WanBackbone, wan_folder), (CogVideoXBackbone, cogvideox_folder)):
        plain, saving = kind(str(folder)), kind(str(folder), vae_slicing=True, vae_tiling=True, vae_offload=True)
        latents = plain.encode(pixels).mean
        assert torch.equal(saving.encode(pixels).mean, latents)
        both = torch.cat([latents, -latents])
        torch.testing.assert_close(saving.decode(both), plain.decode(both), atol=1e-5, rtol=1e-5)
        assert saving.fingerprint != plain.fingerprint, "tiles show in large clips"


def test_the_autoencoder_of_wan_stays_in_single_precision(wan_folder: Path) -> None:
    backbone = WanBackbone(str(wan_folder), dtype="bfloat16")
    assert {parameter.dtype for parameter in backbone.vae.parameters()} == {torch.float32}
    assert backbone.dtype == torch.bfloat16 and backbone.embed(["a"]).dtype == torch.bfloat16


# Text: its encoder comes, says its features, and goes.


def test_the_text_encoder_is_loaded_for_new_texts_only_and_does_not_stay(wan_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, loads = WanBackbone(str(wan_folder)), []
    load = backbone.encoder.from_pretrained
    monkeypatch.setattr(backbone.encoder, "from_pretrained", lambda *args, **options: loads.append(args) or load(*args, **options))
    first = backbone.embed(PROMPTS)
    assert first.shape == (2, 512, 32) and torch.equal(backbone.embed(PROMPTS[::-1]), first.flip(0)) and len(loads) == 1
    assert not torch.equal(backbone.embed(["a green ring"])[0], first[0]) and len(loads) == 2
    assert not any(isinstance(module, backbone.encoder) for module in backbone.modules())


def test_features_of_texts_are_kept_on_disk(wan_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = Clip(torch.rand(5, 3, 32, 32), 8.0, "a red star", "noise")
    cells = [Cell(clip.name, "a blue circle", 0, "blend")]
    motion = MotionConfig(qk=StreamConfig(), sites=SiteConfig(["blocks"], depth=[0.5, 0.6]))

    def frames(shift: float) -> Tensor:
        """Another option, so that the backbone is loaded again; its sampling is the same."""
        config = BackboneConfig("wan", str(wan_folder), {"shift": shift})
        module = MotionInversion(config, motion, sampling=SamplingConfig(2, 5.0, "", 2), cache=str(tmp_path))
        module.make_motion(5, 32, 32)
        return module.generate(clip, cells)[0].frames

    first = frames(3.0)
    assert len(list((tmp_path / "texts").glob("*.safetensors"))) == 3, "the caption, the prompt and the empty text"

    def gone(*_: Any, **__: Any) -> Any:
        raise AssertionError("the text encoder is not needed any more")

    monkeypatch.setattr(WanBackbone.encoder, "from_pretrained", gone)
    assert torch.equal(frames(5.0), first)


# The true models, without their weights.

WAN = {
    "num_attention_heads": 12, "attention_head_dim": 128, "in_channels": 16, "out_channels": 16, "text_dim": 4096, "freq_dim": 256,
    "ffn_dim": 8960, "num_layers": 30, "patch_size": (1, 2, 2), "cross_attn_norm": True,
}  # fmt: skip
COGVIDEOX_5B = {
    "num_attention_heads": 48, "num_layers": 42, "use_rotary_positional_embeddings": True, "attention_head_dim": 64, "time_embed_dim": 512,
}  # fmt: skip
CLIP_2B, GRID_2B = (49, 480, 720), (13, 30, 45)
TRUE: dict[str, tuple[Any, dict[str, Any], tuple[int, int, int], tuple[int, int, int], int, int, float]] = {
    "wan-1.3b": (WanBackbone, WAN, (49, 480, 832), (13, 30, 52), 30, 1536, 1.419),
    "cogvideox-2b": (CogVideoXBackbone, {}, CLIP_2B, GRID_2B, 30, 1920, 1.694),
    "cogvideox-5b": (CogVideoXBackbone, COGVIDEOX_5B, CLIP_2B, GRID_2B, 42, 3072, 5.570),
}


@pytest.mark.parametrize("name", TRUE)
def test_the_true_model_has_these_sites(name: str) -> None:
    kind, config, size, grid, layers, width, billions = TRUE[name]
    with torch.device("meta"):
        network, vae = kind.network(**config), kind.autoencoder()
    assert sum(parameter.numel() for parameter in network.parameters()) / 1e9 == pytest.approx(billions, abs=0.001)
    shape = kind.describe(dict(network.config), dict(vae.config))
    sites = kind.probe(shape, shape.latents(*size))
    assert len(sites) == layers and {(site.frames, site.height, site.width) for site in sites} == {grid}
    assert all(network.get_submodule(f"{site.name}.attn1").to_q.in_features == site.channels == width for site in sites)
    middle = SiteConfig(["blocks"], "all", depth=[0.5, 0.6]).select(sites)
    assert middle[0].name == f"{kind.blocks}.{layers // 2}" and len(middle) == {30: 3, 42: 5}[layers]
    with torch.device("meta"):
        streams = {"qk": StreamConfig(), "v": StreamConfig(["v"], layout={"name": "low_rank"})}
        few = MotionEmbeddings(MotionConfig(**streams, sites=SiteConfig(["blocks"], "all", depth=[0.5, 0.6])), sites)
        all_places = MotionEmbeddings(
            MotionConfig(v=StreamConfig(["v"], layout={"name": "per_location"}), sites=SiteConfig(["blocks"], "all")), sites
        )
    frames, places = grid[0], grid[1] * grid[2]
    assert few.parameter_count == len(middle) * (frames * width + 4 * places + 4 * frames * width)
    assert all_places.parameter_count == layers * frames * places * width
    if name == "wan-1.3b":
        assert all_places.parameter_count / 1e6 == pytest.approx(934.5, abs=0.1), "near a billion, as the documentation says"


def test_the_network_on_the_meta_device_sees_what_the_sites_say() -> None:
    """A whole forward pass of the true Wan, with motion at every block."""
    with torch.device("meta"):
        network, vae = WanTransformer3DModel(**WAN), AutoencoderKLWan()
        shape = WanBackbone.describe(dict(network.config), dict(vae.config))
        latents = shape.latents(49, 480, 832)
        sites = WanBackbone.probe(shape, latents)
        motion = MotionEmbeddings(MotionConfig(qk=StreamConfig(), sites=SiteConfig(["blocks"], "all")), sites)
        with torch.no_grad(), motion.attached(network, sites):
            output = network(torch.empty(1, *latents), torch.empty(1), torch.empty(1, 512, 4096)).sample
    assert output.shape == (1, *latents) == (1, 16, 13, 60, 104)
