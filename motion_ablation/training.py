"""The training sentence: noise the reference, let the network say what the noise is while motion is attached, and take the loss."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from motion_ablation.backbones import Backbone
from motion_ablation.latents import Prepared
from motion_ablation.motion import MotionEmbeddings
from motion_ablation.motion.adapters import Appearance
from motion_ablation.objectives import Objective
from motion_ablation.objectives.base import mean_squared_error

LATENTS = ("fresh", "kept")
DRAWS = 1000  # after so many timesteps that are all too small, there is none


@dataclass
class OptimizerConfig:
    """AdamW, as in the paper, with a learning rate for each group of parameters.

    Attributes:
        lr: of the embeddings. weight_decay: as in AdamW.
        integration_lr: of an integration's own weights, such as concatenation's projection.
        adapter_lr: of changes of the backbone's weights, ``motion.adapter`` and ``model.appearance``, that bring no ``lr`` of their own.
    """

    lr: float = 0.02
    weight_decay: float = 0.01
    integration_lr: float = 0.001
    adapter_lr: float = 0.0005

    def rate(self, module: Any) -> float:
        """The learning rate of a module that says its ``group``."""
        rates = {"embedding": self.lr, "integration": self.integration_lr, "adapter": self.adapter_lr, "appearance": self.adapter_lr}
        own: float | None = getattr(module, "lr", None)
        return rates[module.group] if own is None else own

    def make(self, *trained: nn.Module) -> torch.optim.AdamW:
        """The optimizer of all parameters of ``trained``, in one group for each learning rate."""
        rates: dict[float, list[Tensor]] = {}
        for module in (module for root in trained for module in root.modules() if hasattr(module, "group")):
            rates.setdefault(self.rate(module), []).extend(module.parameters())
        groups = [{"params": parameters, "lr": rate} for rate, parameters in rates.items() if parameters]
        return torch.optim.AdamW(groups, lr=self.lr, weight_decay=self.weight_decay)


def step_generator(*step: int | str) -> torch.Generator:
    """Randomness of one training step, set by the run's seed and the step alone: a resumed run draws what it would have drawn.

    The reference's name is a part of the step. So each reference has draws of its own, which are the same for every experiment: what they
    do is averaged over references, and differences between experiments stay paired.
    """
    text = " ".join(map(str, (torch.initial_seed(), *step)))
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big"))


@dataclass
class Training:
    """One training step of one run; nothing stays attached to the backbone after it.

    Attributes:
        backbone: frozen. motion: what is learnt. objective: the loss. appearance: what learns the reference's looks beside it, or None.
        latents: ``fresh``, another sample of the autoencoder's posterior in each step, or ``kept``, the same in all (the released code).
        timesteps_from: the least timestep to train on, in the backbone's own counting; 0 is all.
    """

    backbone: Backbone
    motion: MotionEmbeddings
    objective: Objective
    appearance: Appearance | None = None
    latents: str = "fresh"
    timesteps_from: float = 0

    def loss(self, ready: Prepared, generator: torch.Generator) -> Tensor:
        """The loss of one step; ``generator`` draws all that is random in it."""
        noisy, timestep, target = self.example(ready, generator)
        looks = self.appearance
        if looks and looks.skipped and torch.rand((), generator=generator) < looks.skipped:
            looks = None
        with self.motion.attached(self.backbone.denoiser, ready.sites), self._looking(looks, False, generator):
            predicted = self.backbone.denoise(noisy, timestep, ready.caption)
            loss = self._finished(self.objective(predicted, target, generator))
        if looks:
            loss = loss + self._frame_loss(looks, ready, noisy, timestep, target, generator)
        return loss

    def example(self, ready: Prepared, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy latents ``(1, c, f, h, w)``, their timestep ``(1,)``, and what the network should output."""
        clean = ready.posterior.sample(generator) if self.latents == "fresh" else ready.posterior.kept()
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        timestep = self._timestep(generator)
        return self.backbone.noised(clean, noise, timestep), timestep, self.backbone.target(clean, noise, timestep)

    def _timestep(self, generator: torch.Generator) -> Tensor:
        """A timestep of the backbone's, drawn again while it is too small."""
        for _ in range(DRAWS):
            timestep = self.backbone.draw(generator)
            if timestep >= self.timesteps_from:
                return timestep
        raise ValueError(f"model.timesteps_from {self.timesteps_from} is beyond the backbone's last timestep")

    def _frame_loss(self, looks: Appearance, ready: Prepared, noisy: Tensor, timestep: Tensor, target: Tensor, generator: Any) -> Tensor:
        """The denoising loss of one random frame on its own, from which the appearance is learnt."""
        frame = torch.randint(noisy.shape[2], (1,), generator=generator).to(noisy.device)
        motion = self.motion.attached(self.backbone.denoiser, ready.sites) if looks.embeddings else nullcontext()
        with motion, self._looking(looks, True, generator):
            predicted = self.backbone.denoise(noisy[:, :, frame], timestep, ready.caption)
            return self._finished(mean_squared_error(predicted, target[:, :, frame]))

    @contextmanager
    def _looking(self, looks: Appearance | None, learning: bool, generator: torch.Generator) -> Iterator[None]:
        """The appearance is attached, and what it draws itself, its dropout, follows the seed of ``generator``."""
        if looks is None:
            yield
            return
        device = self.backbone.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []), looks.attached(self.backbone.denoiser, learning):
            torch.manual_seed(generator.initial_seed() + learning)
            yield

    def _finished(self, loss: Tensor) -> Tensor:
        """The loss as it is; of a network that runs again in its backward pass, the loss with its gradient taken, while motion is there."""
        trained = [p for module in (self.motion, self.appearance) if module for p in module.parameters() if p.requires_grad]
        return with_gradient(loss, trained) if self.backbone.recomputes and loss.requires_grad else loss


def with_gradient(loss: Tensor, parameters: list[nn.Parameter], scale: float = 2.0**10) -> Tensor:
    """The same number with the same gradient, which is computed now and only handed on later.

    Args:
        scale: of the loss while its gradient is computed, so that small ones survive half precision; a power of two loses nothing.
    """
    gradients = torch.autograd.grad(scale * loss, parameters, allow_unused=True)
    pairs = [(p, gradient / scale) for p, gradient in zip(parameters, gradients, strict=True) if gradient is not None]
    return loss.detach() + sum(((p - p.detach()) * gradient).sum() for p, gradient in pairs)
