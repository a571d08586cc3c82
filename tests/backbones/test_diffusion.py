"""Noise schedules: sampled, inverted, and refused by name where they are another's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, DDIMScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from torch import Tensor

from motion_ablation.backbones.diffusion.base import Diffusion
from motion_ablation.backbones.diffusion.cogvideox import CogVideoXDDIM
from motion_ablation.backbones.diffusion.ddim import DDIM
from motion_ablation.backbones.diffusion.flow import Flow, shifted

WAN = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}


def cogvideox(**changes: Any) -> CogVideoXDDIMScheduler:
    true = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "clip_sample": False}
    return CogVideoXDDIMScheduler(**{**true, **changes})


DIFFUSIONS: dict[str, Diffusion] = {
    "ddim": DDIM(DDIMScheduler(prediction_type="v_prediction", clip_sample=False)),
    "cogvideox-2b": CogVideoXDDIM(cogvideox(timestep_spacing="linspace", snr_shift_scale=3.0)),
    "cogvideox-5b": CogVideoXDDIM(cogvideox(timestep_spacing="trailing", snr_shift_scale=1.0)),
    "cogvideox-epsilon": CogVideoXDDIM(cogvideox(prediction_type="epsilon", rescale_betas_zero_snr=False)),
    "flow": Flow(FlowMatchEulerDiscreteScheduler(shift=3.0)),
    "wan": Flow(UniPCMultistepScheduler(**WAN)),
}


def gaussian(diffusion: Diffusion, std: float) -> Any:
    """The exact network of latents drawn from ``N(0, std)``: the mean of the target, given the noisy latents."""

    def denoise(noisy: Tensor, timestep: Tensor) -> Tensor:
        one, none, timestep = torch.ones(1), torch.zeros(1), timestep.reshape(1)
        left, added = diffusion.noised(one, none, timestep), diffusion.noised(none, one, timestep)
        variance = left**2 * std**2 + added**2
        return diffusion.target(left * std**2 / variance * noisy, added / variance * noisy, timestep)

    return denoise


@pytest.mark.parametrize("name", DIFFUSIONS)
def test_sampling_and_inversion_follow_the_exact_flow_of_a_gaussian(name: str) -> None:
    """Which only rescales; where the list of steps ends before pure noise, the scale is a little off."""
    diffusion = DIFFUSIONS[name]
    clean = torch.randn(1, 4, 2, 8, 8) * 0.5
    denoise = gaussian(diffusion, 0.5)
    noise = diffusion.invert(denoise, clean, 250)
    torch.testing.assert_close(noise, clean / 0.5, atol=0.05, rtol=0.1)
    torch.testing.assert_close(diffusion.sample(denoise, noise, 250), clean, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("name", DIFFUSIONS)
def test_timesteps_are_drawn_from_their_generator_alone(name: str) -> None:
    first, again, other = (DIFFUSIONS[name].draw(torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert first.shape == (1,) and torch.equal(first, again) and not torch.equal(first, other)
    assert 0 <= first < 1000 and first.is_floating_point() == isinstance(DIFFUSIONS[name], Flow)


def test_cogvideox_is_inverted_with_its_own_shares() -> None:
    """With a network that says the true noise, one step of inversion is one step of noising, by the shifted shares."""
    diffusion = CogVideoXDDIM(cogvideox(prediction_type="epsilon", rescale_betas_zero_snr=False, timestep_spacing="trailing"))
    clean, noise = torch.randn(2, 1, 4, 1, 2, 2)
    found = diffusion.invert(lambda latents, timestep: noise, clean, 10)
    torch.testing.assert_close(found, diffusion.noised(clean, noise, torch.tensor([999])), atol=1e-4, rtol=1e-4)
    unshifted = DDIM(DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"))
    mid = torch.tensor([500])
    assert (diffusion.noised(clean, noise, mid) - unshifted.noised(clean, noise, mid)).abs().max() > 0.1, "the shift counts"


def test_the_training_shift_moves_what_is_drawn_and_nothing_else() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    own, other = Flow(scheduler), Flow(scheduler, shift=1.0)
    draws = [flow.draw(torch.Generator().manual_seed(0)) for flow in (own, other)]
    torch.testing.assert_close(draws[0], 1000 * shifted(draws[1] / 1000, 3.0))
    assert torch.equal(own.shares(5, torch.device("cpu")), other.shares(5, torch.device("cpu")))


@pytest.mark.parametrize("name", ["flow", "wan"])
def test_shares_are_the_checkpoints_own_list(name: str) -> None:
    flow = DIFFUSIONS[name]
    assert isinstance(flow, Flow)
    shares = flow.shares(4, torch.device("cpu"))
    assert shares[0] == pytest.approx(1, abs=1e-5) and shares[-1] == 0 and (shares.diff() < 0).all()
    if name == "wan":
        even = torch.linspace(1, 0.001, 5)[:-1]
        torch.testing.assert_close(shares[:-1], shifted(even, 3.0), atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    ("read", "known"),
    [(DDIM.read, "DDIMScheduler"), (CogVideoXDDIM.read, "CogVideoXDDIMScheduler"), (Flow.read, "FlowMatchEulerDiscreteScheduler")],
)
def test_another_class_of_scheduler_is_refused_by_name(read: Any, known: str, tmp_path: Path) -> None:
    (tmp_path / "scheduler_config.json").write_text(json.dumps({"_class_name": "EulerDiscreteScheduler"}))
    with pytest.raises(ValueError, match=rf"^[^\n]*of a EulerDiscreteScheduler[^\n]*{known}[^\n]*$"):
        read(tmp_path)
    (tmp_path / "scheduler_config.json").write_text("{}")
    with pytest.raises(ValueError, match="of a None"):
        read(tmp_path)


@pytest.mark.parametrize(
    "scheduler",
    [FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), UniPCMultistepScheduler(), UniPCMultistepScheduler(use_flow_sigmas=True)],
)
def test_what_is_no_plain_rectified_flow_is_refused(scheduler: Any) -> None:
    with pytest.raises(ValueError, match="rectified flow"):
        Flow(scheduler)


@pytest.mark.parametrize("shift", [0.0, -1.0])
def test_a_shift_that_is_not_positive_is_refused(shift: float) -> None:
    with pytest.raises(ValueError, match="shift must be positive"):
        Flow(FlowMatchEulerDiscreteScheduler(), shift)
