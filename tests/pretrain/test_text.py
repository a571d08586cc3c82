"""The built-in words."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import torch
from transformers import CLIPTextModel, CLIPTokenizer

from motion_ablation.data.world.shapes import CAMERAS, COLORS, MOTIONS, SHAPES, Scene
from motion_ablation.pretrain.text import END, MAX_TOKENS, START, build_tokenizer, redraw_words, text_config


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return build_tokenizer()


def words(tokenizer: CLIPTokenizer, text: str) -> list[str]:
    """Tokens without start and end."""
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(text).input_ids)
    assert (tokens[0], tokens[-1]) == (START, END)
    return tokens[1:-1]


def test_every_word_of_a_caption_is_one_token(tokenizer: CLIPTokenizer) -> None:
    vocabulary = {word for scene in _scenes() for word in scene.caption().split()}
    assert len(vocabulary) > 30
    for word in vocabulary:
        assert words(tokenizer, word) == [f"{word}</w>"]


def _scenes() -> list[Scene]:
    colors = list(COLORS)
    pairs = [(shape, color) for shape in SHAPES for color in colors]
    return [
        Scene(*pairs[index % len(pairs)], colors[(index + 1) % len(colors)], motion, camera)
        for index, (motion, camera) in enumerate(product(MOTIONS, CAMERAS))
    ]


def test_the_longest_caption_fits(tokenizer: CLIPTokenizer) -> None:
    lengths = [
        len(tokenizer(Scene(SHAPES[0], "red", "blue", motion, camera).caption()).input_ids) for motion, camera in product(MOTIONS, CAMERAS)
    ]
    assert max(lengths) <= MAX_TOKENS == tokenizer.model_max_length


@pytest.mark.parametrize("word", ["skateboard", "Zürich", "xyz", "狗"])
def test_other_words_fall_back_to_known_pieces(tokenizer: CLIPTokenizer, word: str) -> None:
    pieces = words(tokenizer, word)
    assert len(pieces) > 1
    assert tokenizer.unk_token not in pieces
    assert "".join(pieces).count("</w>") == 1


def test_words_differ(tokenizer: CLIPTokenizer) -> None:
    texts = ["a red star", "a blue star", "a red ring", "a dog", "a cat"]
    assert len({tuple(tokenizer(text).input_ids) for text in texts}) == len(texts)
    assert tokenizer("A Red STAR").input_ids == tokenizer("a red star").input_ids


def test_it_is_the_same_every_time_and_after_saving(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    text = ["a red star moving left on a blue background camera zooming in", "a skateboard"]
    expected = tokenizer(text).input_ids
    for _ in range(3):
        again = build_tokenizer()
        assert again(text).input_ids == expected
        assert again.get_vocab() == tokenizer.get_vocab()
    assert CLIPTokenizer.from_pretrained(tmp_path)(text).input_ids == expected


def test_motion_words_reach_the_text_features_as_colours_do(tokenizer: CLIPTokenizer) -> None:
    torch.manual_seed(0)
    encoder = CLIPTextModel(text_config(tokenizer))

    def differ(first: str, second: str) -> float:
        tokens = tokenizer([first, second], padding="max_length", max_length=MAX_TOKENS, return_tensors="pt").input_ids
        features = encoder(tokens).last_hidden_state
        return float((features[0] - features[1]).square().mean(-1).sqrt().max())

    words = "a red star moving right on a blue background", "a red star moving left on a blue background"
    before = differ(*words)
    redraw_words(encoder, 1.0)
    assert differ(*words) > 2 * before, "where the word stands"
    colours = differ(words[0], words[0].replace("red", "green"))
    assert differ(*words) > 0.8 * colours
