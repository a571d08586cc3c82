"""What to say of errors that several rooms meet."""

from __future__ import annotations

MEMORY = "lower data.val_batch_size, data.size or data.frames"


def out_of_memory(error: BaseException) -> str | None:
    """What to say of an error that means too little memory, on a GPU or a CPU, with the mend; None of any other."""
    told = f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in told:
        return f"out of memory ({told[:200]}); {MEMORY}"
    return None
