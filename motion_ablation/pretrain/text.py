"""The built-in world's words: its tokenizer and the text encoder's shape."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import ByteLevel, Sequence, WhitespaceSplit
from tokenizers.trainers import BpeTrainer
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from motion_ablation.data.world.shapes import CAMERAS, COLORS, MOTIONS, SHAPES, Scene

MAX_TOKENS = 20
START, END = "<|startoftext|>", "<|endoftext|>"


def build_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer in which every word of the built-in captions is one token; other words fall back to bytes."""
    captions = [
        Scene(shape, color, color, motion, camera).caption()
        for (shape, color), motion, camera in product(zip(SHAPES * 2, COLORS, strict=False), MOTIONS, CAMERAS)
    ]
    bpe = Tokenizer(BPE(end_of_word_suffix="</w>", unk_token=END))
    bpe.normalizer = Lowercase()
    bpe.pre_tokenizer = Sequence([WhitespaceSplit(), ByteLevel(add_prefix_space=False, use_regex=False)])
    alphabet = ByteLevel.alphabet()
    trainer = BpeTrainer(
        vocab_size=2000,
        min_frequency=1,
        special_tokens=[START, END],
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    bpe.train_from_iterator(captions, trainer)
    model = json.loads(bpe.to_str())["model"]
    vocab: dict[str, int] = model["vocab"]
    # The trainer numbers the bytes that end a word in no fixed order; a resumed run and a saved model must agree on them.
    endings = sorted(token for token in vocab if len(token) == 1 + len("</w>") and token.endswith("</w>"))
    vocab.update(zip(endings, sorted(vocab[token] for token in endings), strict=True))
    # Bytes at the end of a word are tokens of their own in CLIP's vocabulary.
    for byte in sorted(alphabet):
        vocab.setdefault(byte + "</w>", len(vocab))
    merges: Any = [tuple(merge) for merge in model["merges"]]
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=MAX_TOKENS)


def text_config(tokenizer: CLIPTokenizer, width: int = 64, layers: int = 2) -> CLIPTextConfig:
    """Configuration of a small CLIP text transformer for ``tokenizer``."""
    return CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS, projection_dim=width, hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip


@torch.no_grad()
def redraw_words(encoder: CLIPTextModel, scale: float) -> None:
    """Draws the words' embeddings anew with this root mean square, always the same ones."""
    table: Any = encoder.get_input_embeddings().weight
    table.copy_(torch.randn(table.shape, generator=torch.Generator().manual_seed(0)).to(table) * scale)
