"""Patches by their papers' definitions: what they make of features and tokens, without a network around them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from engine.networks.attending import NoteAttention, SeeNothing
from engine.networks.free_u import FreeU
from engine.networks.layout import Layout
from engine.networks.merging import TokenMerging
from engine.networks.operations import Operations
from engine.networks.patches import Attention, Patches
from engine.networks.shrink import Shrink
from engine.networks.tiling import Grid, HyperTile, Tiles

OPERATIONS = Operations()
LAYOUT = Layout(down=((1, 1), (1, 1), (1, 1), (0, 0)), middle=1, up=((0,) * 3, (1,) * 3, (1,) * 3, (1,) * 3))
"""Of Stable Diffusion 1."""


def shrink(factor: float = 2.0, block: int = 3, *, after_join: bool = True) -> Shrink:
    return Shrink(
        block=block,
        factor=factor,
        first_sigma=math.inf,
        last_sigma=5.0,
        after_join=after_join,
        shrinking="bicubic",
        enlarging="bilinear",
    )


def attended(
    patches: Patches, tokens: int, *, beside: tuple[Tensor, ...] = (), middle: bool = False, layer: int = 0
) -> tuple[Tensor, Tensor, Attention]:
    """What attention with ``patches`` makes of random tokens, without patches, and the attention."""
    normed, query, key, value = torch.randn(4, 2, tokens, 8, generator=torch.Generator().manual_seed(3))
    attention = Attention(layer=layer, middle=middle, heads=2, operations=OPERATIONS, beside=beside)
    return attention.of(patches, normed, query, key, value), OPERATIONS.attend(query, key, value, 2), attention


@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 7), (1, 4), (3, 1), (1, 1), (2, 2)])
def test_free_u_scales_the_middle_of_the_shifted_spectrum(height: int, width: int) -> None:
    """By a Fourier transform of all frequencies, as the authors wrote it."""
    x, skip = torch.randn(1, 8, height, width), torch.randn(1, 6, height, width)
    _, filtered = FreeU(backbone=(1.5, 1.0), skip=(0.3, 1.0)).join(x, skip, 2, OPERATIONS)
    spectrum = torch.fft.fftshift(torch.fft.fftn(skip, dim=(2, 3)), dim=(2, 3))
    row, column = height // 2, width // 2
    spectrum[..., max(0, row - 1) : row + 1, max(0, column - 1) : column + 1] *= 0.3
    expected = torch.fft.ifftn(torch.fft.ifftshift(spectrum, dim=(2, 3)), dim=(2, 3)).real
    assert torch.allclose(filtered, expected, atol=1e-5)


def test_free_u_scales_half_of_the_channels_at_two_widths() -> None:
    patch = FreeU(backbone=(1.5, 1.2), skip=(0.9, 0.2))
    for width, factor in ((8, 1.5), (4, 1.2), (2, 1.0)):
        x = torch.randn(1, width, 4, 4)
        joined, _ = patch.join(x, x, 2, OPERATIONS)
        assert torch.allclose(joined[:, : width // 2], x[:, : width // 2] * factor)
        assert torch.equal(joined[:, width // 2 :], x[:, width // 2 :])


def test_the_second_free_u_scales_the_strongest_places_most() -> None:
    x = torch.zeros(1, 8, 2, 2)
    x[..., 0, 0], x[..., 1, 1] = 4.0, 2.0
    joined, _ = FreeU(backbone=(1.5, 1.0), skip=(1.0, 1.0), adaptive=True).join(x, x, 2, OPERATIONS)
    assert joined[0, 0].tolist() == [[6.0, 0.0], [0.0, 2.5]]


def test_tiles_attend_to_strips() -> None:
    grid = Grid(4, 6, 2, 3)
    out, whole, _ = attended((Tiles(grids=(grid,)),), 24)
    assert out.shape == whole.shape
    assert not torch.allclose(out, whole)
    _, query, key, value = torch.randn(4, 2, 24, 8, generator=torch.Generator().manual_seed(3))
    # the token in row 2, column 3 lies in tile 4, which attends to the strip of tokens 16 to 19
    expected = OPERATIONS.attend(query[:, 15:16], key[:, 16:20], value[:, 16:20], 2)
    assert torch.allclose(out[:, 15:16], expected, atol=1e-6)


def test_tiles_of_two_sizes_are_always_the_smaller_and_of_three_are_drawn() -> None:
    generator = torch.Generator().manual_seed(0)

    def drawn(swaps: int) -> set[object]:
        patch = HyperTile(tile=4, swaps=swaps, depth=0, scaled=False)
        return {patch.choose(16 * 16, 16, 16, generator)[0] for _ in range(40)}

    assert drawn(1) == drawn(2) == {Grid(16, 16, 4, 4)}
    assert drawn(3) == {Grid(16, 16, rows, columns) for rows in (4, 2) for columns in (4, 2)}


def test_tiles_reach_down_to_a_level_and_grow_where_wanted() -> None:
    generator = torch.Generator()
    for scaled, tiles in ((False, 2), (True, 1)):
        patch = HyperTile(tile=4, swaps=1, depth=1, scaled=scaled)
        grid, left = patch.choose(8 * 8, 16, 16, generator)
        assert left == 64 // tiles**2
        assert grid == (Grid(8, 8, 2, 2) if tiles == 2 else None)
        assert patch.choose(4 * 4, 16, 16, generator) == (None, 16)


def test_merged_queries_of_equal_tokens_attend_as_they_would_alone() -> None:
    """Where every token equals its neighbours, merging them changes nothing."""
    patch = TokenMerging(ratio=0.5)
    places, left = patch.choose(16, 4, 4, torch.Generator().manual_seed(1))
    assert left == 8
    merged, beside = patch.chosen([places], 4, 4)
    blocks = torch.randn(1, 2, 2, 8).repeat_interleave(2, 1).repeat_interleave(2, 2).flatten(1, 2)
    attention = Attention(layer=0, middle=False, heads=2, operations=OPERATIONS, beside=beside)
    out = attention.of((merged,), blocks, blocks, blocks, blocks)
    assert torch.allclose(out, OPERATIONS.attend(blocks, blocks, blocks, 2), atol=1e-5)


def test_as_many_tokens_attend_as_the_ratio_leaves() -> None:
    patch = TokenMerging(ratio=0.4)
    places, left = patch.choose(5 * 6, 5, 6, torch.Generator().manual_seed(1))
    merged, beside = patch.chosen([None, places], 5, 6)
    out, whole, _ = attended((merged,), 30, beside=(beside[0].expand(2, -1, -1),), layer=1)
    assert left == 30 - 12
    assert len(out[0].unique(dim=0)) == left
    assert torch.equal(attended((merged,), 30, beside=beside, layer=0)[0], whole)


def test_tokens_are_merged_at_the_size_of_x_alone() -> None:
    patch, generator = TokenMerging(ratio=0.5), torch.Generator()
    assert patch.choose(16, 8, 8, generator) == (None, 16)
    assert patch.choose(8, 1, 8, generator) == (None, 8)
    assert patch.chosen([None, None], 8, 8)[1] == ()


def test_the_middle_sees_nothing_where_it_is_perturbed() -> None:
    normed, query, key, value = torch.randn(4, 2, 6, 8)
    attention = Attention(layer=0, middle=True, heads=2, operations=OPERATIONS)
    assert torch.equal(attention.of((SeeNothing(),), normed, query, key, value), value)
    assert torch.equal(*attended((SeeNothing(),), 6)[:2])


def test_the_middle_notes_how_much_each_token_is_attended_to() -> None:
    out, whole, attention = attended((NoteAttention(),), 6, middle=True)
    assert torch.equal(out, whole)
    (note,) = attention.notes
    assert note.shape == (2, 6)
    assert torch.allclose(note.sum(1), torch.full((2,), 6.0))  # each token attends once
    assert attended((NoteAttention(),), 6)[2].notes == []


def test_x_is_shrunk_behind_its_block_and_enlarged_where_it_is_joined() -> None:
    patch, x = shrink(), torch.randn(1, 4, 6, 8)
    assert patch.after_skip(3, x, OPERATIONS).shape == (1, 4, 3, 4)
    assert patch.before_skip(3, x, OPERATIONS) is x
    assert patch.after_skip(2, x, OPERATIONS) is x
    assert shrink(after_join=False).before_skip(3, x, OPERATIONS).shape == (1, 4, 3, 4)
    assert patch.join(x[..., :3, :4], x, 4, OPERATIONS)[0].shape == x.shape
    assert [patch.active(sigma) for sigma in (4.9, 5.0, 14.0)] == [False, True, True]


def test_the_layout_tells_the_tokens_of_each_layer() -> None:
    levels = [9 * 8, 5 * 4, 3 * 2, 2 * 1]
    down = [levels[0]] * 2 + [levels[1]] * 2 + [levels[2]] * 2
    assert LAYOUT.tokens((), 9, 8) == [*down, levels[3], *[levels[2]] * 3, *[levels[1]] * 3, *[levels[0]] * 3]


def test_the_layout_follows_what_shrinks() -> None:
    """Behind block 3, which leads to the second level, all below is half the size, up to where block 3 is joined."""
    tokens = LAYOUT.tokens((shrink(),), 16, 16)
    assert tokens == [256, 256, 16, 16, 4, 4, 1, 4, 4, 4, 16, 16, 64, 256, 256, 256]
    before = LAYOUT.tokens((shrink(after_join=False),), 16, 16)
    assert before == [256, 256, 16, 16, 4, 4, 1, 4, 4, 4, 16, 16, 16, 256, 256, 256]
