"""A learnt motion in a stock diffusers pipeline, which knows nothing of this project."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from motion_ablation.backbones import BACKBONES
from motion_ablation.motion import MotionEmbeddings


@contextmanager
def attach(pipe: Any, source: str | Path) -> Iterator[None]:
    """Motion is active in ``pipe`` inside this context, debiased as when generating, and gone after it, bit for bit.

    Length and size of the videos may change from call to call; they need not be those of training.

    Args:
        pipe: a diffusers pipeline around a registered backbone's network: ``TextToVideoSDPipeline``, ``AnimateDiffPipeline``,
            ``WanPipeline``, ``CogVideoXPipeline``.
        source: a run's folder, a ``motion.safetensors``, or a hub id; see :meth:`MotionEmbeddings.from_pretrained`.

    Raises:
        ValueError: in one line, if there is no embedding, or the pipeline's backbone is another than it was learnt on.
    """
    motion = MotionEmbeddings.from_pretrained(source).requires_grad_(False)
    denoiser: Any = getattr(pipe, "transformer", None) or getattr(pipe, "unet", None)
    backbone = backbone_of(denoiser)
    check_fit(motion, denoiser)
    seen: tuple[int, ...] = ()
    with ExitStack() as block:
        active = block.enter_context(ExitStack())

        def before(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            """Attaches the motion for the latents that come, the first time that they are of this shape."""
            nonlocal seen
            latents = next(each for each in (*inputs, *named.values()) if isinstance(each, Tensor) and each.ndim == 5)
            shape = tuple(latents.shape[1:])
            if shape != seen:
                active.close()
                seen = ()
                active.enter_context(motion.to(latents.device).attached(denoiser, backbone.sites_in(pipe, shape), generating=True))
                seen = shape

        block.callback(denoiser.register_forward_pre_hook(before, with_kwargs=True).remove)
        yield


def backbone_of(denoiser: Any) -> Any:
    """The registered class of backbones with such a network. Raises ``ValueError`` listing the networks that are known."""
    known = {BACKBONES[name].network: BACKBONES[name] for name in BACKBONES if BACKBONES[name].network is not None}
    if type(denoiser) not in known:
        names = ", ".join(network.__name__ for network in known)
        raise ValueError(f"motion cannot be attached to a pipeline around {type(denoiser).__name__}; it can be to one around {names}")
    return known[type(denoiser)]


def check_fit(motion: MotionEmbeddings, denoiser: nn.Module) -> None:
    """Raises ``ValueError`` if the network has not the attentions that the motion was learnt at."""
    modules = dict(denoiser.named_modules())
    for site in motion.sites:
        for name in site.attentions:
            attention: Any = modules.get(f"{site.name}.{name}")
            channels = attention.to_q.in_features if attention is not None else 0
            if channels != site.channels:
                place, there = f"{site.name}.{name}", f"{channels} channels" if channels else "no attention"
                raise ValueError(f"the motion embedding is of another backbone: {site.channels} channels at '{place}', here {there}")
