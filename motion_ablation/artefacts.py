"""Tensors on disk, addressed by what determines them, so that nothing is computed twice."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor


def content_hash(value: Any) -> str:
    """Hash of a tensor's values and shape, or of anything that JSON can hold; 16 hex digits."""
    digest = hashlib.sha256()
    if isinstance(value, Tensor):
        digest.update(f"{value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    else:
        digest.update(json.dumps(value, sort_keys=True).encode())
    return digest.hexdigest()[:16]


class Artefacts:
    """A folder of safetensors files, each named by the hash of its recipe.

    Args:
        folder: made when first written to.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def get(self, kind: str, recipe: dict[str, Any], compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """The artefact of this kind and recipe: read if it is there and whole, else computed and written atomically."""
        path = self.folder / kind / f"{content_hash(recipe)}.safetensors"
        if path.exists():
            try:
                return load_file(path)
            except (SafetensorError, OSError):
                path.unlink(missing_ok=True)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in compute().items()}
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(tensors, part, metadata={"recipe": json.dumps(recipe)})
            os.replace(part, path)
        except (SafetensorError, OSError) as error:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise OSError(f"cannot write {path}: {error}; free some space or set model.cache to another folder") from error
        return tensors
