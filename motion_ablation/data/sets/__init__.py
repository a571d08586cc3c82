"""The field's benchmark sets, as users have downloaded them, turned into manifests: one set per file. Nothing of a set is shipped."""

from motion_ablation.data.sets.base import SETS, manifest_rows, write_manifest

__all__ = ["SETS", "manifest_rows", "write_manifest"]
