"""What a YAML says of motion: streams, each a point in the ablation space, checked before any weight is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from motion_ablation.motion.adapters import ADAPTERS
from motion_ablation.motion.debiases import DEBIASES
from motion_ablation.motion.debiases.base import erases_constants
from motion_ablation.motion.integrations import INTEGRATIONS
from motion_ablation.motion.layouts import LAYOUTS
from motion_ablation.records import Site

PORTS = ("q", "k", "v")
SIDES = ("inputs", "outputs")
ATTENTIONS = ("attn1", "attn2")
WHEN = ("train", "generate", "both")


@dataclass
class StreamConfig:
    """One motion embedding.

    Attributes:
        ports: projections of a temporal attention that it enters: any of ``q``, ``k``, ``v``.
        side: ``inputs`` of the projections (the paper) or their ``outputs``.
        layout, integration, debias: ``{name: ..., **options}``.
        when: when the debias acts: ``generate`` (the paper), ``train`` or ``both``.
        shared: one embedding for all temporal attentions of a block, or one for each.
    """

    ports: list[str] = field(default_factory=lambda: ["q", "k"])
    side: str = "inputs"
    layout: dict[str, Any] = field(default_factory=lambda: {"name": "per_frame"})
    integration: dict[str, Any] = field(default_factory=lambda: {"name": "add"})
    debias: dict[str, Any] = field(default_factory=lambda: {"name": "none"})
    shared: bool = True
    when: str = "generate"

    def check(self, where: str) -> None:
        """Raises ``ValueError`` naming the key and the valid choices."""
        unknown = [port for port in self.ports if port not in PORTS]
        if unknown or not self.ports or len(set(self.ports)) != len(self.ports):
            raise ValueError(f"{where}.ports: {self.ports} is not a non-empty choice of {', '.join(PORTS)}, each at most once")
        if self.side not in SIDES:
            raise ValueError(f"{where}.side: '{self.side}' is not one of {', '.join(SIDES)}")
        if self.when not in WHEN:
            raise ValueError(f"{where}.when: '{self.when}' is not one of {', '.join(WHEN)}")
        name, options = LAYOUTS.parse(self.layout, f"{where}.layout")
        LAYOUTS[name].check(**options)
        name, _ = INTEGRATIONS.parse(self.integration, f"{where}.integration")
        refused = [port for port in self.ports if port not in INTEGRATIONS[name].ports]
        if refused:
            allowed = " and ".join(INTEGRATIONS[name].ports)
            raise ValueError(f"{where}: integration '{name}' works at ports {allowed} only, not at {', '.join(refused)}")
        name, options = DEBIASES.parse(self.debias, f"{where}.debias")
        debias = DEBIASES.build(name, **options)
        if not LAYOUTS[str(self.layout["name"])].moves and erases_constants(debias):
            raise ValueError(
                f"{where}.debias: '{name}' erases what is the same in all frames, which is all that layout '{self.layout['name']}' holds; "
                "set debias: {name: none}"
            )
        if name == "drop" and self.when != "generate":
            raise ValueError(f"{where}.when: '{self.when}' with debias 'drop' leaves nothing to train; remove the stream instead")

    def acts(self, generating: bool) -> bool:
        """Whether the debias acts now."""
        return self.when in ("both", "generate" if generating else "train")

    @property
    def lengthens(self) -> bool:
        """Whether the integration adds tokens."""
        return bool(INTEGRATIONS[str(self.integration["name"])].lengthens)


@dataclass
class SiteConfig:
    """Which temporal attentions carry motion.

    Attributes:
        stages: parts of the network, by the backbone's names; of the U-Nets, any of ``down``, ``mid``, ``up``, ``in``; of the transformers,
            ``blocks``.
        channels: ``widest`` (the paper: 1280 in ZeroScope), ``all``, or a list of widths.
        attentions: which of a block's temporal self-attentions: ``attn1``, ``attn2`` or both.
        blocks: numbers of blocks among those of the stages, in order, from 0; None is all.
        depth: ``[from, to]`` in ``[0, 1]``: blocks that lie there, at least in part, where 0 is the first's start and 1 the last's end.
    """

    stages: list[str] = field(default_factory=lambda: ["down", "up"])
    channels: str | list[int] = "widest"
    attentions: list[str] = field(default_factory=lambda: list(ATTENTIONS))
    blocks: list[int] | None = None
    depth: list[float] | None = None

    def check(self, where: str) -> None:
        """Raises ``ValueError`` naming the key and the valid choices."""
        if not self.stages:
            raise ValueError(f"{where}.stages: name at least one part of the network")
        if isinstance(self.channels, str) and self.channels not in ("widest", "all"):
            raise ValueError(f"{where}.channels: '{self.channels}' is not widest, all or a list of widths")
        if not self.attentions or any(name not in ATTENTIONS for name in self.attentions):
            raise ValueError(f"{where}.attentions: {self.attentions} is not a non-empty choice of {', '.join(ATTENTIONS)}")
        if self.blocks is not None and (not self.blocks or min(self.blocks) < 0):
            raise ValueError(f"{where}.blocks: {self.blocks} is not a list of numbers from 0, or null for all")
        if self.depth is not None and not (len(self.depth) == 2 and 0 <= self.depth[0] < self.depth[1] <= 1):
            raise ValueError(f"{where}.depth: {self.depth} is not [from, to] with 0 <= from < to <= 1, or null for all")
        if self.blocks is not None and self.depth is not None:
            raise ValueError(f"{where}: give blocks or depth, not both")

    def check_stages(self, known: Iterable[str]) -> None:
        """Raises ``ValueError`` for a part that the backbone has not, listing those that it has."""
        unknown = [stage for stage in self.stages if stage not in known]
        if unknown:
            raise ValueError(f"motion.sites.stages: this backbone has no '{unknown[0]}'. Choices: {', '.join(dict.fromkeys(known))}")

    def select(self, sites: list[Site]) -> list[Site]:
        """The chosen sites. Raises ``ValueError`` if there are none, listing those that exist."""
        there = [site.stage for site in sites]
        if not set(self.stages) & set(there):
            self.check_stages(there)
        staged = [site for site in sites if site.stage in self.stages]
        widest = max((site.channels for site in staged), default=0)
        widths = {site.channels for site in staged} if self.channels == "all" else {widest} if self.channels == "widest" else self.channels
        chosen = [site for site in self._deep(staged) if site.channels in widths]
        if not chosen:
            known = sorted({(site.stage, site.channels) for site in sites})
            raise ValueError(f"no temporal attention matches stages {self.stages} and channels {self.channels}; this backbone has {known}")
        kept = [replace(site, attentions=tuple(name for name in site.attentions if name in self.attentions)) for site in chosen]
        kept = [site for site in kept if site.attentions]
        if not kept:
            raise ValueError(
                f"motion.sites.attentions: the chosen blocks have {', '.join(chosen[0].attentions)} over time, not {self.attentions}"
            )
        return kept

    def _deep(self, staged: list[Site]) -> list[Site]:
        """Those of ``staged`` that ``blocks`` or ``depth`` name."""
        count = len(staged)
        if self.blocks is not None:
            beyond = [number for number in self.blocks if number >= count]
            if beyond:
                raise ValueError(f"motion.sites.blocks: there is no block {beyond[0]}; the stages {self.stages} have 0 to {count - 1}")
            return [staged[number] for number in sorted(set(self.blocks))]
        start, end = self.depth or (0.0, 1.0)
        near = 1e-9  # so that a third of three blocks is one
        return [site for index, site in enumerate(staged) if index < end * count - near and index + 1 > start * count + near]


@dataclass
class MotionConfig:
    """What is trained on a reference: streams of a motion embedding, an adapter of weights, both, or nothing (the plain backbone).

    Attributes:
        qk: the Motion Query-Key embedding. v: the Motion Value embedding. sites: where they live.
        adapter: ``{name: ..., **options}`` of a trainable change of the temporal attentions' weights, or None.
    """

    qk: StreamConfig | None = None
    v: StreamConfig | None = None
    sites: SiteConfig = field(default_factory=SiteConfig)
    adapter: dict[str, Any] | None = None

    @classmethod
    def paper(cls) -> MotionConfig:
        """The paper's two streams, as ``defaults.yaml`` has them."""
        value = StreamConfig(ports=["v"], layout={"name": "per_location"}, debias={"name": "difference", "lag": 1}, shared=False)
        return cls(qk=StreamConfig(), v=value)

    def streams(self) -> dict[str, StreamConfig]:
        """The streams that are there, by name."""
        return {name: stream for name, stream in (("qk", self.qk), ("v", self.v)) if stream is not None}

    @property
    def trains(self) -> bool:
        """Whether there is anything to train."""
        return bool(self.streams() or self.adapter)

    def check(self) -> None:
        """Raises ``ValueError`` for anything that cannot work, before any weight is loaded."""
        for name, stream in self.streams().items():
            stream.check(f"motion.{name}")
        self._check_tokens()
        if self.adapter is not None:
            name, options = ADAPTERS.parse(self.adapter, "motion.adapter")
            ADAPTERS[name].check(**options)
        self.sites.check("motion.sites")

    def _check_tokens(self) -> None:
        """Keys and values must be of one length, and what else acts on a lengthened port would meet tokens that are no frames."""
        streams = self.streams()
        longer = sorted(port for stream in streams.values() if stream.lengthens for port in stream.ports)
        if longer and longer != ["k", "v"]:
            raise ValueError(f"motion: concat_token must lengthen k and v, each once, not {', '.join(longer)}; set the ports of qk and v")
        crossed = [name for name, stream in streams.items() if not stream.lengthens and set(stream.ports) & set(longer)]
        if crossed:
            raise ValueError(f"motion.{crossed[0]}: another stream with concat_token is at the same port; give this one other ports")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> MotionConfig:
        """Inverse of :meth:`to_dict`."""
        streams = {name: StreamConfig(**data[name]) if data.get(name) else None for name in ("qk", "v")}
        config = cls(**streams, sites=SiteConfig(**data["sites"]), adapter=data.get("adapter"))
        config.check()
        return config
