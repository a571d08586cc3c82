"""One loader for every text-to-video folder: the tiny one, one in ZeroScope's structure, and ZeroScope's true configuration."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, UNet3DConditionModel
from torch import Tensor

from motion_ablation.backbones import BACKBONES, BackboneConfig, UNet3DBackbone, folder
from motion_ablation.backbones.folder import latent_shape
from motion_ablation.generating import SamplingConfig
from motion_ablation.module import MotionInversion
from motion_ablation.motion import MotionConfig, SiteConfig
from motion_ablation.records import Cell, Clip
from motion_ablation.weights import MissingWeights

PAPER_SITES = [
    "down_blocks.2.temp_attentions.0.transformer_blocks.0",
    "down_blocks.2.temp_attentions.1.transformer_blocks.0",
    "up_blocks.1.temp_attentions.0.transformer_blocks.0",
    "up_blocks.1.temp_attentions.1.transformer_blocks.0",
    "up_blocks.1.temp_attentions.2.transformer_blocks.0",
]
ZEROSCOPE_VAE = {"block_out_channels": (128, 256, 512, 512)}


@pytest.fixture(scope="module")
def tiny(tiny_backbone: Path) -> UNet3DBackbone:
    return UNet3DBackbone(str(tiny_backbone))


def test_zeroscope_itself_has_the_five_sites_of_the_paper() -> None:
    with torch.device("meta"):
        unet = UNet3DConditionModel(sample_size=32, cross_attention_dim=1024, attention_head_dim=64)
    config = dict(unet.config)
    latents = latent_shape(config, ZEROSCOPE_VAE, 24, 320, 576)
    assert latents == (4, 24, 40, 72)
    sites = SiteConfig().select(UNet3DBackbone.probe(unet.config, latents))
    assert [site.name for site in sites] == PAPER_SITES
    assert {(site.channels, site.frames, site.height, site.width) for site in sites} == {(1280, 24, 10, 18)}
    assert {site.attentions for site in sites} == {("attn1", "attn2")}


def test_a_folder_like_zeroscope_loads_trains_and_generates(zeroscope_like: Path, tmp_path: Path) -> None:
    sampling = SamplingConfig(steps=2, inversion_steps=2, guidance=12.0)
    config = BackboneConfig(source=str(zeroscope_like))
    module = MotionInversion(config, MotionConfig.paper(), sampling=sampling, cache=str(tmp_path))
    module.make_motion(2, 64, 128)
    assert [site.name for site in module.embeddings.sites] == PAPER_SITES
    assert {(site.channels, site.height, site.width) for site in module.embeddings.sites} == {(64, 2, 4)}

    clip = Clip(torch.rand(2, 3, 64, 128), 8.0, "a red star", "noise")
    optimizer = module.configure_optimizers()
    loss = module.training_step(clip, 0)
    assert loss is not None and torch.isfinite(loss)
    loss.backward()
    optimizer.step()
    for name, parameter in module.named_parameters():
        assert (parameter.grad is not None and bool(parameter.abs().max() > 0)) == name.startswith("motion."), name

    samples = module.generate(clip, [Cell(clip.name, "a blue circle", seed, "blend") for seed in (0, 1)])
    assert [sample.frames.shape for sample in samples] == [(2, 3, 64, 128)] * 2
    assert all(0 <= sample.frames.min() and sample.frames.max() <= 1 for sample in samples)
    assert not torch.equal(samples[0].frames, samples[1].frames)


def with_scheduler(folder: Path, copy: Path, **changes: Any) -> Path:
    shutil.copytree(folder, copy)
    scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")
    DDIMScheduler.from_config(scheduler.config, **changes).save_pretrained(copy / "scheduler")
    return copy


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_targets_follow_the_scheduler(tiny_backbone: Path, tmp_path: Path, kind: str) -> None:
    """With the target as the network's output, the clean latents come back from the noisy ones."""
    folder = with_scheduler(tiny_backbone, tmp_path / kind, prediction_type=kind, rescale_betas_zero_snr=False)
    backbone = UNet3DBackbone(str(folder))
    clean, noise, timestep = torch.randn(1, 4, 2, 4, 4), torch.randn(1, 4, 2, 4, 4), torch.tensor([500])
    noisy = backbone.diffusion.scheduler.add_noise(clean, noise, timestep)
    backbone.diffusion.scheduler.set_timesteps(10)
    recovered = backbone.diffusion.scheduler.step(backbone.target(clean, noise, timestep), 500, noisy).pred_original_sample
    torch.testing.assert_close(recovered, clean, atol=1e-4, rtol=1e-4)


def test_an_unknown_prediction_type_is_refused(tiny_backbone: Path, tmp_path: Path) -> None:
    backbone = UNet3DBackbone(str(with_scheduler(tiny_backbone, tmp_path / "odd", prediction_type="flow")))
    with pytest.raises(ValueError, match="'flow' is not one of epsilon, v_prediction, sample"):
        backbone.target(torch.zeros(1), torch.zeros(1), torch.tensor([1]))


class GaussianData:
    """The exact denoiser of latents drawn from ``N(0, std)``, in a scheduler's own prediction type."""

    def __init__(self, scheduler: DDIMScheduler, std: float) -> None:
        self.scheduler, self.std = scheduler, std

    def __call__(self, noisy: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        alpha = self.scheduler.alphas_cumprod[int(timestep)]
        variance = alpha * self.std**2 + 1 - alpha
        noise, clean = (1 - alpha).sqrt() * noisy / variance, alpha.sqrt() * self.std**2 * noisy / variance
        return noise if self.scheduler.config.prediction_type == "epsilon" else alpha.sqrt() * noise - (1 - alpha).sqrt() * clean


@pytest.mark.parametrize("which", ["tiny_backbone", "zeroscope_like"])
def test_inversion_finds_the_noise_and_generation_comes_back(
    which: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both schedules: v-prediction with zero terminal signal and trailing steps; epsilon with leading steps."""
    backbone = UNet3DBackbone(str(request.getfixturevalue(which)))
    monkeypatch.setattr(backbone, "denoise", GaussianData(backbone.diffusion.scheduler, std=0.5))
    clean = torch.randn(1, 4, 2, 8, 8) * 0.5
    text = torch.zeros(1, 2, 4)
    noise = backbone.invert(clean, text, steps=200)
    torch.testing.assert_close(noise, clean / 0.5, atol=0.05, rtol=0.1)  # the flow of a Gaussian only rescales
    torch.testing.assert_close(backbone.generate(noise, text, text, steps=200, guidance=1), clean, atol=0.02, rtol=0.02)


@pytest.mark.parametrize(("height", "width"), [(18, 16), (16, 10), (15, 16)])
def test_sizes_that_cannot_be_halved_are_refused(tiny: UNet3DBackbone, height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"frames of {height}x{width} pixels .* multiples of 4"):
        tiny.latent_shape(4, height, width)


def test_half_precision_frame_by_frame(tiny_backbone: Path) -> None:
    backbone = UNet3DBackbone(str(tiny_backbone), dtype="float16", vae_slicing=True)
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.float16}
    latents = backbone.encode(torch.rand(2, 3, 16, 16)).mean
    assert latents.dtype == torch.float32
    predicted = backbone.denoise(latents, torch.tensor([10]), backbone.embed(["a red star"]))
    assert predicted.dtype == torch.float32 and torch.isfinite(predicted).all()


def test_an_unknown_precision_is_refused(tiny_backbone: Path) -> None:
    with pytest.raises(ValueError, match="dtype 'float8' is not one of float32, float16, bfloat16"):
        UNet3DBackbone(str(tiny_backbone), dtype="float8")


def test_fingerprint_tells_weights_apart(tiny_backbone: Path, zeroscope_like: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_backbone, tmp_path / "copy")
    assert folder.fingerprint(tmp_path / "copy") == folder.fingerprint(tiny_backbone)
    assert folder.fingerprint(zeroscope_like) != folder.fingerprint(tiny_backbone)
    path = next((tmp_path / "copy" / "unet").glob("*.safetensors"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    assert folder.fingerprint(tmp_path / "copy") != folder.fingerprint(tiny_backbone)


def one_line(error: BaseException) -> str:
    assert "\n" not in str(error)
    return str(error)


def test_missing_hub_weights_say_what_to_fetch_and_where() -> None:
    with pytest.raises(MissingWeights) as caught:
        BACKBONES.build("unet3d", source="cerspense/zeroscope_v2_576w")
    message = one_line(caught.value)
    assert "hf download cerspense/zeroscope_v2_576w --local-dir weights/zeroscope_v2_576w" in message
    assert "model.backbone.source" in message


def test_a_missing_folder_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights) as caught:
        UNet3DBackbone(str(tmp_path / "none"))
    assert "give a diffusers folder with unet, vae, text_encoder, tokenizer, scheduler" in one_line(caught.value)


def test_an_incomplete_folder_says_what_it_lacks(tiny_backbone: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_backbone, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "vae")
    with pytest.raises(MissingWeights) as caught:
        UNet3DBackbone(str(tmp_path / "copy"))
    assert "it lacks vae" in one_line(caught.value)


def test_missing_built_in_weights_say_how_to_make_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("motion_ablation.weights.BUILTIN", tmp_path)
    with pytest.raises(MissingWeights) as caught:
        UNet3DBackbone()
    assert "make pretrain" in one_line(caught.value)
