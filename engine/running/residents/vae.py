"""Loads VAEs from files of their own."""

from __future__ import annotations

from pathlib import Path

from engine.checkpoint.vae_file import load_vae, vae_parameters
from engine.models.hashes import short_hash, whole_hash
from engine.networks.decoder import VaeDecoder
from engine.networks.doubling import parameters_before_doubling
from engine.networks.encoder import VaeEncoder
from engine.pictures.decoder import Decoder
from engine.pictures.encoder import Encoder
from engine.running.model import Autoencoder
from engine.running.residents.registry import resident
from engine.running.residents.tools import Tools
from engine.workflow.models import VaeFile


def size(node: VaeFile, tools: Tools) -> int:
    """Bytes of its parameters at work."""
    parameters, widths = vae_parameters(Path(node.name))
    return (parameters + parameters_before_doubling(widths)) * tools.dtype.itemsize


@resident(VaeFile, size=size)
def load(node: VaeFile, tools: Tools) -> Autoencoder:
    """Return the VAE, ready to work. Raises ``BrokenCheckpoint``."""
    path = Path(node.name)
    module = load_vae(path, device=tools.device, dtype=tools.dtype)
    launcher = tools.launcher()
    decoder = Decoder(VaeDecoder(module, tools.operations()), launcher)
    encoder = Encoder(VaeEncoder(module, tools.operations(of_pixels=True)), launcher)
    return Autoencoder(decoder, encoder, record={"vae": path.name, "vae_hash": short_hash(whole_hash(path))})
