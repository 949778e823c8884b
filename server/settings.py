"""The server's settings, which are read once, at the start, from flags and the environment.

Every field is the variable ``SD_<FIELD>`` and the flag ``--<field>`` of ``python -m server``; the flag wins. Lists are
separated by commas, sizes may be written as ``512MiB``, and ``none`` stands for None.
"""

from __future__ import annotations

import base64
import dataclasses
import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from engine import EngineConfig
from engine.config import Batching, Compile, Dtype, TextEncoder
from engine.folders import cache_folder, data_folder, models_folders
from server.addresses import check_database, check_storage

PREFIX = "SD_"
EARLIER_MODELS_FOLDER = f"{PREFIX}MODELS_FOLDER"
"""The variable that named the models folder before there could be several."""

DialectName = Literal["comfyui", "sdapi", "openai", "replicate", "huggingface"]
DIALECTS: tuple[DialectName, ...] = ("comfyui", "sdapi", "openai", "replicate", "huggingface")
"""The dialects that can be switched off; the native API is always there."""

_HASH = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[\w.@-]{1,64}")


def _listed(value: object) -> object:
    """Split a list as the environment writes it, with commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _keyed(value: object) -> object:
    """Read ``name:hash, name:hash`` as {name: hash}."""
    if not isinstance(value, str):
        return value
    pairs = [part.strip().partition(":") for part in value.split(",") if part.strip()]
    names = [name for name, _, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("expected each name once")
    return {name: digest.strip() for name, _, digest in pairs}


def _aliased(value: object) -> object:
    """Read ``alias:name, alias:name`` as {alias: name}."""
    if not isinstance(value, str):
        return value
    pairs = [part.strip().rpartition(":") for part in value.split(",") if part.strip()]
    if not all(alias.strip() and name.strip() for alias, _, name in pairs):
        raise ValueError("expected ALIAS:NAME, separated by commas")
    if len({alias.strip() for alias, _, _ in pairs}) < len(pairs):
        raise ValueError("expected each alias once")
    return {alias.strip(): name.strip() for alias, _, name in pairs}


Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
Storage = Annotated[str, AfterValidator(check_storage)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class Settings(BaseSettings):
    """All settings of one server. Frozen."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_parse_none_str="none", frozen=True, extra="forbid", protected_namespaces=()
    )

    host: str = Field("127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    public_url: str | None = Field(
        None, description="URL under which callers reach the server, for the URLs in answers"
    )
    trusted_proxies: Listed = Field(
        ("127.0.0.1", "::1"), description="addresses of proxies whose X-Forwarded-For and -Proto are believed"
    )
    allowed_hosts: Listed = Field((), description="further Host headers that are accepted")
    cors_origins: Listed = Field((), description="origins (https://host) whose pages may call the server; * for all")
    api_keys: Annotated[dict[str, str], NoDecode, BeforeValidator(_keyed)] = Field(
        default_factory=dict, description="API keys as NAME:SHA256, from `python -m server key NAME`", repr=False
    )
    anonymous: bool = Field(False, description="let everybody in without a key, also from other machines")

    model: str | None = Field(None, description="checkpoint for requests that name none: a name or a path")
    model_aliases: Annotated[dict[str, str], NoDecode, BeforeValidator(_aliased)] = Field(
        default_factory=dict,
        description="further names of checkpoints as ALIAS:NAME, for clients that have model names built in",
    )
    models_folders: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_listed)] = Field(
        default_factory=models_folders, min_length=1, description="models folders, searched in order"
    )
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N")
    dtype: Dtype = Field("auto", description="auto, float32, float16 or bfloat16")
    text_encoder: TextEncoder = Field(
        "float16", description="what its weights are rounded to where dtype is float32: float16, as ComfyUI, or float32"
    )
    batching: Batching = Field("exact", description="exact: same request, same bytes; fast: equal up to rounding")
    compile: Compile = Field("auto", description="auto: on a GPU, fused kernels and CUDA graphs; off: neither")
    unet_rows: Count | None = Field(None, description="rows of one UNet call; none: the engine's own choice")
    max_in_flight: int = Field(EngineConfig.max_in_flight, ge=1, description="pictures that advance together")
    memory_budget: Annotated[ByteSize, Field(ge=1)] | None = Field(
        None, description="bytes for resident checkpoints; none: 75 % of what is free"
    )
    cache_folder: Path | None = Field(
        default_factory=cache_folder, description="folder of what the engine remembers between starts; none: nothing"
    )
    backend: Literal["engine", "instant"] = Field(
        "engine", description="instant: plain colours at once, without torch, for trying out clients"
    )
    instant_step_seconds: float = Field(0.0, ge=0, allow_inf_nan=False, description="how long its steps take there")

    database: Annotated[str, BeforeValidator(str), AfterValidator(check_database)] = Field(
        default_factory=lambda: str(data_folder() / "jobs.sqlite"),
        min_length=1,
        description="SQLite file or postgresql:// URL of the jobs; :memory: keeps them in memory only, for trials",
        repr=False,
    )
    outputs: Storage = Field(
        default_factory=lambda: str(data_folder() / "outputs"),
        min_length=1,
        description="folder of the pictures, or a URL that fsspec knows",
    )
    inputs: Storage = Field(
        default_factory=lambda: str(data_folder() / "inputs"),
        min_length=1,
        description="folder of the pictures that callers hand in, or a URL that fsspec knows",
    )
    retention_seconds: Seconds | None = Field(30 * 86400.0, description="how long finished jobs and pictures are kept")
    retention_jobs: Count | None = Field(10_000, description="how many finished jobs are kept; the oldest go first")

    max_queued: int = Field(1000, ge=1, description="jobs that may wait; beyond them callers get 429")
    max_body_bytes: Annotated[ByteSize, Field(ge=1024)] = Field(
        ByteSize(32 * 2**20), description="largest request body"
    )
    max_pixels: int = Field(2048 * 2048, ge=256, description="largest width × height of a picture")
    max_steps: int = Field(1000, ge=1, description="most sampling steps of a request")
    max_pictures: int = Field(64, ge=1, description="most pictures of a job")
    max_prompt: int = Field(20_000, ge=1, description="most characters of a prompt, and of a negative one")
    max_input_bytes: Annotated[ByteSize, Field(ge=1024)] = Field(
        ByteSize(32 * 2**20), description="largest file of a picture that is handed in"
    )
    max_input_pixels: int = Field(2**26, ge=1, le=2**26, description="most pixels of such a picture, all its frames")
    max_inputs: int = Field(64, ge=0, description="most such pictures of a job")
    input_quota: Annotated[ByteSize, Field(ge=1024)] | None = Field(
        ByteSize(2**30), description="bytes of all pictures that a client may have handed in; none: any number"
    )
    input_urls: bool = Field(False, description="fetch pictures that callers name by URL, from where webhooks may go")
    max_attempts: int = Field(3, ge=1, description="attempts at a job that brings its worker down")
    drain_seconds: float = Field(30.0, ge=0, allow_inf_nan=False, description="time for running jobs on shutdown")

    webhook_secret: str | None = Field(
        None, min_length=16, description="signs webhooks; none: they carry no signature", repr=False
    )
    webhook_private_addresses: bool = Field(False, description="let webhooks go to private and loopback addresses")
    webhook_attempts: int = Field(8, ge=1, description="attempts to deliver a webhook")

    sdapi_pictures: Literal["a1111", "comfyui"] = Field(
        "a1111", description="whose pictures AUTOMATIC1111's routes make: a1111, that program's own; or comfyui"
    )
    dialects: Annotated[
        tuple[DialectName, ...],
        NoDecode,
        BeforeValidator(_listed),
    ] = Field(DIALECTS, description="the APIs that are on beside the native one")
    log_format: Literal["text", "json"] = Field("text", description="text or json")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least important lines logged")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, env_settings)

    @model_validator(mode="before")
    @classmethod
    def _read_earlier_name(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Take the one models folder from the variable that had it before there could be several."""
        folder = os.environ.get(EARLIER_MODELS_FOLDER)
        return values if folder is None else {"models_folders": folder} | values

    @field_validator("api_keys")
    @classmethod
    def _check_keys(cls, keys: dict[str, str]) -> dict[str, str]:
        for name, digest in keys.items():
            check_key_name(name)
            if not _HASH.fullmatch(digest):
                raise ValueError(f"expected NAME:SHA256; `python -m server key {name}` makes it")
        return keys

    @field_validator("webhook_secret")
    @classmethod
    def _check_secret(cls, secret: str | None) -> str | None:
        if secret is not None:
            webhook_key(secret)
        return secret

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, url: str | None) -> str | None:
        return None if url is None else _web_address(url).rstrip("/")

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "*" and urlsplit(_web_address(origin)).path:
                raise ValueError("expected origins such as https://example.org, without a path, or *")
        return tuple(origin.lower() for origin in origins)

    @model_validator(mode="after")
    def _check_whole(self) -> Settings:
        if self.anonymous and self.api_keys:
            raise ValueError("anonymous: true is not allowed together with api_keys; expected one of them")
        if not self.loopback and not self.api_keys and not self.anonymous:
            raise ValueError(
                f"host: {self.host!r} can be reached from other machines, which is not allowed without API keys; "
                "expected SD_API_KEYS (`python -m server key NAME` makes one), or --anonymous true to let everybody in"
            )
        return self

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def engine_config(self) -> EngineConfig:
        """The engine's share of the settings. Raises ``BadRequest``."""
        shared = [field.name for field in dataclasses.fields(EngineConfig) if field.name in Settings.model_fields]
        return EngineConfig(checkpoint=self.model, **{name: getattr(self, name) for name in shared})


def check_key_name(name: str) -> None:
    """Raise ``ValueError`` for what cannot be a key's name."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not allowed as a key's name; expected 1 to 64 letters, digits, or any of _.@-")


def webhook_key(secret: str) -> bytes:
    """A secret as Standard Webhooks writes it (``whsec_`` and base64), or any other text as it is. Raises
    ``ValueError``."""
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        raise ValueError("expected base64 after whsec_, or a secret that starts otherwise") from None


def _web_address(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = (
            parts.scheme in ("http", "https")
            and parts.hostname
            and not (parts.query or parts.fragment or "@" in parts.netloc)
        )
        _ = parts.port
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("expected a URL such as https://example.org")
    return url
