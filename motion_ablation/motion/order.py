"""The order of an attention's tokens: between what a backbone has and the rows of frames that an embedding knows."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from motion_ablation.records import Site


def split(features: Tensor, site: Site) -> tuple[Tensor, Tensor]:
    """The text's tokens and the video's.

    Args:
        features: ``(b h w, f, c)`` where the site's tokens are ``rows``, ``(b, skip + f h w, c)`` where they are ``joint``.

    Returns:
        ``(b, skip, c)``, empty where there are none, and ``(b h w, f, c)``, batch outermost.

    Raises:
        ValueError: if the sequence is not of whole frames of the site's places.
    """
    if site.tokens == "rows":
        return features[:, :0], features
    places = site.height * site.width
    if features.shape[1] < site.skip + places or (features.shape[1] - site.skip) % places:
        raise ValueError(f"'{site.name}' sees {features.shape[1]} tokens, not {site.skip} of text and whole frames of {places} places")
    return features[:, : site.skip], rearrange(features[:, site.skip :], "b (f p) c -> (b p) f c", p=places)


def join(text: Tensor, video: Tensor, features: Tensor, site: Site) -> Tensor:
    """The inverse of :func:`split`.

    Args:
        features: what was split; its order and length are kept.

    Raises:
        ValueError: if the video became longer or shorter in a ``joint`` sequence, whose positions would be wrong.
    """
    if site.tokens == "rows":
        return video
    frames = rearrange(video, "(b p) f c -> b (f p) c", p=site.height * site.width)
    joined = torch.cat([text, frames], dim=1) if site.skip else frames
    if joined.shape != features.shape:
        raise ValueError(f"'{site.name}' has positions for {features.shape[1]} tokens, not for {joined.shape[1]}")
    return joined
