"""The released checkpoints' format, ``motion_embed.pt``: a pickled dictionary of tensors, read without running what is in it.

Keys are module paths: ``<block>.pos_embed`` holds ``M_qk`` ``(1, n, c)`` and ``<block>.<attention>.vSpatial`` holds ``M_v``
``(h * w, n, c)``, where ``<block>`` is a temporal transformer block, ``n`` the format's longest clip (32), and rows past the length
of training are zero.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor

from motion_ablation.files import replacing
from motion_ablation.motion.config import MotionConfig, SiteConfig
from motion_ablation.motion.embeddings import MotionEmbeddings
from motion_ablation.records import Site, key

LENGTH = 32
QK, V = "pos_embed", "vSpatial"


def read_released(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a released checkpoint by key. Raises ``ValueError`` naming the path and the reason; never unpickles code."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path} holds more than tensors, or is damaged; it is not read: {str(error).splitlines()[0]}") from None
    except (RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"{path} is not a file of torch.save: {str(error).splitlines()[0]}") from None
    if not isinstance(found, dict) or not found:
        raise ValueError(f"{path} holds {type(found).__name__}, not a dictionary of tensors")
    for name, value in found.items():
        if not isinstance(value, Tensor) or value.ndim != 3 or str(name).rsplit(".", 1)[-1] not in (QK, V):
            shape = f" of shape {tuple(value.shape)}" if isinstance(value, Tensor) else ""
            raise ValueError(f"{path}: '{name}'{shape} is neither <block>.{QK} (1, n, c) nor <block>.<attention>.{V} (h * w, n, c)")
    return found


def trained_length(tensors: dict[str, Tensor]) -> int:
    """Frames of training: up to the last row that is not zero anywhere."""
    used = [int(rows[-1]) + 1 for value in tensors.values() if len(rows := value.abs().amax((0, 2)).nonzero())]
    if not used:
        raise ValueError("every tensor is zero: nothing was trained")
    return max(used)


def from_released(tensors: dict[str, Tensor], sites: list[Site]) -> MotionEmbeddings:
    """The paper's streams with these values.

    Args:
        tensors: see :func:`read_released`. sites: the backbone's, as a clip of the trained length and size shows them.

    Raises:
        ValueError: listing everything that does not fit the sites.
    """
    frames = sites[0].frames if sites else 0
    places = {site.name: site for site in sites}
    expected: dict[str, tuple[int, int]] = {}
    blocks = {name.removesuffix(f".{QK}") for name in tensors if name.endswith(QK)}
    blocks |= {name.removesuffix(f".{V}").rsplit(".", 1)[0] for name in tensors if name.endswith(V)}
    chosen = [site for site in sites if site.name in blocks]
    for site in chosen:
        expected[f"{site.name}.{QK}"] = (1, site.channels)
        expected |= {f"{site.name}.{attention}.{V}": (site.height * site.width, site.channels) for attention in site.attentions}
    problems = [f"'{block}' is no temporal attention of this backbone" for block in sorted(blocks - places.keys())]
    problems += [f"'{name}' is missing" for name in expected if name not in tensors]
    for name, value in tensors.items():
        have = (value.shape[0], value.shape[2])
        if name in expected and have != expected[name]:
            grid, channels = expected[name]
            problems.append(f"'{name}' is of {have[0]} locations and {have[1]} channels, the site of {grid} and {channels}")
        if value.shape[1] < frames:
            problems.append(f"'{name}' has {value.shape[1]} rows, the clip {frames} frames")
    if problems:
        raise ValueError("the checkpoint does not fit: " + "; ".join(problems))
    stages, widths = sorted({site.stage for site in chosen}), sorted({site.channels for site in chosen})
    paper = MotionConfig.paper()
    motion = MotionEmbeddings(MotionConfig(paper.qk, paper.v, SiteConfig(stages, widths)), chosen)
    with torch.no_grad():
        for name, parameter in _rows(motion).items():
            parameter.copy_(tensors[name][:, :frames].float())
    return motion


def to_released(motion: MotionEmbeddings, length: int = LENGTH) -> dict[str, Tensor]:
    """The released format's tensors. Raises ``ValueError`` for streams that the format cannot say."""
    for name, paper in MotionConfig.paper().streams().items():
        stream = motion.config.streams().get(name)
        for axis in ("ports", "side", "layout", "integration", "shared"):
            have = getattr(stream, axis, None)
            if have != getattr(paper, axis):
                raise ValueError(
                    f"the released format holds the paper's streams only: motion.{name}.{axis} is {have}, not {getattr(paper, axis)}"
                )
    if any(site.attentions != ("attn1", "attn2") for site in motion.sites):
        raise ValueError("the released format holds both attentions of a block: motion.sites.attentions must be [attn1, attn2]")
    if motion.adapters:
        raise ValueError("the released format holds embeddings only, not motion.adapter")
    released: dict[str, Tensor] = {}
    for name, rows in _rows(motion).items():
        if rows.shape[1] > length:
            raise ValueError(f"the released format holds {length} frames, the embedding has {rows.shape[1]}")
        released[name] = torch.cat([rows.detach().cpu(), rows.new_zeros(len(rows), length - rows.shape[1], rows.shape[2]).cpu()], 1)
    return released


def write_released(tensors: dict[str, Tensor], path: str | Path) -> None:
    """Writes ``motion_embed.pt``; atomic."""
    with replacing(path) as part:
        torch.save(tensors, part)


def _rows(motion: MotionEmbeddings) -> dict[str, Tensor]:
    """The paper's streams' parameters by their names in the released format."""
    rows: dict[str, Tensor] = {}
    for site in motion.sites:
        rows[f"{site.name}.{QK}"] = motion.get_parameter(f"streams.qk:{key(site.name)}.layout.rows")
        for attention in site.attentions:
            rows[f"{site.name}.{attention}.{V}"] = motion.get_parameter(f"streams.v:{key(site.name)}/{attention}.layout.rows")
    return rows
