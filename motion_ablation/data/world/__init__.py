"""The built-in world: procedural videos whose true motion is known."""
