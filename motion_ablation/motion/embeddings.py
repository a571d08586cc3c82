"""Motion Embeddings: the trainable module, its attachment to a frozen denoiser, and its file.

Everything happens at the projections of temporal self-attentions, by forward hooks: no code of the backbone is replaced,
and detaching leaves it as it was, bit for bit. Equations of the paper (arXiv 2403.20193), with ``F`` the normed feature
``(b * h * w, f, c)``::

    Q = (F + M_qk) W_q      K = (F + M_qk) W_k      V = (F + M_v) W_v

Rotary positions act after the projections, so motion comes before them. Features in another order are put into this one and back.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Self

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from motion_ablation.files import replacing
from motion_ablation.motion.adapters import ADAPTERS
from motion_ablation.motion.config import MotionConfig, StreamConfig
from motion_ablation.motion.debiases import DEBIASES
from motion_ablation.motion.integrations import INTEGRATIONS
from motion_ablation.motion.layouts import LAYOUTS
from motion_ablation.motion.order import join, split
from motion_ablation.motion.sharing import Shareable
from motion_ablation.records import Site, key

FORMAT = "motion_ablation/1"


class StreamAtSite(nn.Module):
    """One stream at one attention (or shared by a block's): its layout and its integration."""

    def __init__(self, config: StreamConfig, site: Site, channels: int) -> None:
        super().__init__()
        layout, integration, debias = dict(config.layout), dict(config.integration), dict(config.debias)
        self.layout = LAYOUTS.build(layout.pop("name"), site=site, channels=channels, **layout)
        self.integration = INTEGRATIONS.build(integration.pop("name"), channels=channels, **integration)
        self.debias = DEBIASES.build(debias.pop("name"), **debias)
        self.acts = config.acts
        lag = config.debias.get("lag", 0)
        if lag >= site.frames > 1:
            warnings.warn(f"debias 'difference' of lag {lag} leaves a clip of {site.frames} frames as it is", stacklevel=2)

    def dense(self, frames: int, height: int, width: int, generating: bool) -> Tensor | None:
        """``(1 or h * w, f, c)``, debiased if it is time to; None where the debias drops the stream."""
        motion: Tensor = self.layout(frames, height, width)
        return self.debias(motion) if self.acts(generating) else motion

    def forward(self, features: Tensor, motion: Tensor, height: int, width: int) -> Tensor:
        """``(b * h * w, f, c)`` features, batch outermost, with the dense embedding integrated; ``2 f`` if that adds tokens."""
        count = height * width if len(motion) > 1 else 1
        split = features.reshape(-1, count, *features.shape[1:])
        joined: Tensor = self.integration(split, motion.to(features.dtype))
        return joined.flatten(0, 1)


class MotionEmbeddings(Shareable, nn.Module):
    """All streams, or the adapter, at all chosen sites; what training optimises and a checkpoint holds.

    Args:
        config: the streams. sites: every site of the backbone as it sees the training clip; ``config.sites`` selects.

    Attributes:
        header: what else its file's header says, such as the backbone's fingerprint.

    Raises:
        ValueError: if the sites do not suit the configuration.
    """

    def __init__(self, config: MotionConfig, sites: list[Site]) -> None:
        super().__init__()
        config.check()
        self.config = config
        self.header: dict[str, str] = {}
        self.record: dict[str, Any] = {}
        self.sites = config.sites.select(sites) if config.trains else []
        self.streams = nn.ModuleDict()
        self.adapters = nn.ModuleDict()
        for name, stream in config.streams().items():
            if stream.lengthens and any(site.tokens == "joint" for site in self.sites):
                raise ValueError(
                    f"motion.{name}: concat_token adds tokens, and this backbone attends over one sequence of all frames and places whose "
                    "positions have a fixed length; choose another integration"
                )
            for site in self.sites:
                for owner in self.owners(stream, site):
                    self.streams[f"{name}:{key(owner)}"] = StreamAtSite(stream, site, site.channels)
        if config.adapter:
            options = dict(config.adapter)
            entry = options.pop("name")
            for site in self.sites:
                for attention in site.attentions:
                    self.adapters[key(f"{site.name}.{attention}")] = ADAPTERS.build(entry, channels=site.channels, **options)

    @staticmethod
    def owners(stream: StreamConfig, site: Site) -> list[str]:
        """Module paths that own an embedding: the block if its attentions share it, else each attention."""
        return [site.name] if stream.shared else [f"{site.name}.{attention}" for attention in site.attentions]

    @property
    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    @contextmanager
    def attached(self, denoiser: nn.Module, sites: list[Site], generating: bool = False) -> Iterator[None]:
        """Motion is active in ``denoiser`` inside this context, and gone after it.

        Args:
            sites: all sites as the current clip sees them; its length and size may differ from training's.
            generating: debias, and spell each embedding out once for the whole context.

        Raises:
            ValueError: if a site is not there, or its projections are fused (hooks would be passed by).
        """
        with ExitStack() as stack:
            for trained in self.sites:
                site = matching(trained, sites)
                for name in trained.attentions:
                    attention = denoiser.get_submodule(f"{site.name}.{name}")
                    if getattr(attention, "fused_projections", False):
                        raise ValueError(
                            "the backbone's QKV projections are fused, which passes hooks by; call unfuse_qkv_projections() first"
                        )
                    if self.adapters:
                        adapter: Any = self.adapters[key(f"{trained.name}.{name}")]
                        stack.enter_context(adapter.attached(attention))
                    for stream, config in self.config.streams().items():
                        owner = trained.name if config.shared else f"{trained.name}.{name}"
                        uses = len(config.ports) if config.side == "inputs" else 1
                        apply = Application(self.streams[f"{stream}:{key(owner)}"], site, generating, uses)
                        for handle in hook_projections(attention, config, apply):
                            stack.callback(handle.remove)
            yield

    def save(self, path: str | Path, **extra: str) -> None:
        """Writes a safetensors file with the configuration and the sites in its header; atomic."""
        metadata = {
            "format": FORMAT,
            "motion": json.dumps(self.config.to_dict()),
            "sites": json.dumps([asdict(site) for site in self.sites]),
            **self.header,
            **extra,
        }
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        with replacing(path) as part:
            save_file(tensors, part, metadata=metadata)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads what :meth:`save` wrote. Raises ``ValueError`` with the path and the reason if it cannot be."""
        tensors, metadata = read_embedding(path)
        try:
            sites = [Site(**{**site, "attentions": tuple(site["attentions"])}) for site in json.loads(metadata["sites"])]
            config = MotionConfig.from_dict(json.loads(metadata["motion"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} has a header that cannot be read: {type(error).__name__}: {error}") from error
        module = cls(config, sites)
        try:
            module.load_state_dict(tensors)
        except RuntimeError as error:
            raise ValueError(f"{path} does not hold what its header says: {error}") from error
        module.header = {name: text for name, text in metadata.items() if name not in ("format", "motion", "sites")}
        return module


def matching(trained: Site, sites: list[Site]) -> Site:
    """The same place as the current clip sees it. Raises ``ValueError`` if the backbone is another one."""
    site = next((site for site in sites if site.name == trained.name), None)
    if site is None:
        raise ValueError(f"this backbone has no temporal attention '{trained.name}'")
    if site.channels != trained.channels:
        raise ValueError(f"the motion embedding is of another backbone: {trained.channels} channels at '{site.name}', here {site.channels}")
    return site


class Application:
    """A stream at work at one attention of the current clip; a hook's body.

    Projections of an attention that take the same features, as q and k do, share one sum: half the work, forward and backward.

    Args:
        uses: how many projections take the same features; the sum is let go after the last.
    """

    def __init__(self, stream: Any, site: Site, generating: bool, uses: int = 1) -> None:
        self.stream, self.site, self.generating, self.uses = stream, site, generating, uses
        self._dense: dict[int, Tensor | None] = {}
        self._shared: tuple[Tensor, Tensor] | None = None
        self._left = 0

    def __call__(self, features: Tensor) -> Tensor:
        if self._shared is None or self._shared[0] is not features:
            self._shared, self._left = (features, self._integrate(features)), self.uses
        integrated = self._shared[1]
        self._left -= 1
        if self._left == 0:
            self._shared = None
        return integrated

    def _integrate(self, features: Tensor) -> Tensor:
        site = self.site
        text, video = split(features, site)
        frames = video.shape[1]
        if frames not in self._dense or not self.generating:
            self._dense[frames] = self.stream.dense(frames, site.height, site.width, self.generating)
        motion = self._dense[frames]
        return features if motion is None else join(text, self.stream(video, motion, site.height, site.width), features, site)


def hook_projections(attention: nn.Module, stream: StreamConfig, apply: Application) -> list[Any]:
    """Hooks ``apply`` to the chosen ports of one attention; returns the handles."""

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (apply(inputs[0]), *inputs[1:])

    def after(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return apply(output)

    projections = [attention.get_submodule(f"to_{port}") for port in stream.ports]
    if stream.side == "inputs":
        return [projection.register_forward_pre_hook(before) for projection in projections]
    return [projection.register_forward_hook(partial(after)) for projection in projections]


def read_embedding(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and header of an embedding file; never unpickles. Raises ``ValueError`` naming the path and the reason."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise ValueError(f"no motion embedding at {path}; train one with `lightning fit`, which writes motion.safetensors")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a safetensors file: {error}") from error
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} is not a motion embedding of this project (format {metadata.get('format')!r}, expected {FORMAT!r})")
    return tensors, metadata
