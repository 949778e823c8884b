"""The body of ``POST txt2img``: AUTOMATIC1111's fields, with its defaults. ``request`` knows which are supported."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

_EXAMPLE: dict[str, JsonValue] = {
    "prompt": "a glass bottle, (purple galaxy:1.2)",
    "negative_prompt": "text, watermark",
    "steps": 20,
    "cfg_scale": 8,
    "sampler_name": "DPM++ 2M",
    "scheduler": "Karras",
    "seed": 7,
}


class Txt2Img(BaseModel):
    """AUTOMATIC1111's fields. As in AUTOMATIC1111, null stands for the default."""

    model_config = ConfigDict(extra="allow", protected_namespaces=(), json_schema_extra={"examples": [_EXAMPLE]})

    prompt: str | None = Field("", description="what the picture shows")
    negative_prompt: str | None = Field("", description="what it must not show")
    styles: list[str] | None = Field(None, description="must be empty: there are no styles")
    seed: int | None = Field(-1, description="seed of the first picture; each next picture has one more; -1 draws one")
    subseed: int | None = Field(-1, description="without effect, because subseed_strength is 0")
    subseed_strength: float | None = Field(0, description="must be 0: variations are not supported")
    seed_resize_from_h: int | None = Field(-1, description="must not be above 0")
    seed_resize_from_w: int | None = Field(-1, description="must not be above 0")
    sampler_name: str | None = Field(None, description="a name of GET samplers; also 'DPM++ 2M Karras'")
    sampler_index: str | None = Field("Euler", description="as sampler_name, which wins if both are given")
    scheduler: str | None = Field(
        None, description="a name or label of GET schedulers; null or Automatic: the sampler's"
    )
    batch_size: int | None = Field(1, description="pictures in a batch")
    n_iter: int | None = Field(1, description="batches: n_iter × batch_size pictures altogether")
    steps: int | None = Field(50, description="sampling steps")
    cfg_scale: float | None = Field(7.0, description="guidance scale; 1 ignores the negative prompt")
    width: int | None = Field(512, description="pixels, a multiple of 8")
    height: int | None = Field(512, description="pixels, a multiple of 8")
    restore_faces: bool | None = Field(None, description="must not be true")
    tiling: bool | None = Field(None, description="must not be true")
    do_not_save_samples: bool | None = Field(
        False, description="without effect: pictures are kept by the server's rules"
    )
    do_not_save_grid: bool | None = Field(False, description="without effect: there are no grids")
    eta: float | None = Field(
        None, description="must be the sampler's own: 1 for ancestral and SDE samplers, 0 for DDIM"
    )
    denoising_strength: float | None = Field(None, description="without effect, because enable_hr is false")
    s_min_uncond: float | None = Field(None, description="must be 0")
    s_churn: float | None = Field(None, description="must be 0")
    s_tmax: float | None = Field(None, description="without effect, because s_churn is 0")
    s_tmin: float | None = Field(None, description="without effect, because s_churn is 0")
    s_noise: float | None = Field(None, description="must be 1")
    override_settings: dict[str, Any] | None = Field(
        None,
        description="sd_model_checkpoint, CLIP_stop_at_last_layers, and GET options at their present values",
    )
    override_settings_restore_afterwards: bool | None = Field(
        True, description="false keeps the override_settings for later calls"
    )
    refiner_checkpoint: str | None = Field(None, description="must be empty")
    refiner_switch_at: float | None = Field(None, description="without effect: there is no refiner")
    disable_extra_networks: bool | None = Field(False, description="without effect: there are none")
    token_merging_ratio: float | None = Field(None, description="must be 0")
    comments: dict[str, Any] | None = Field(None, description="without effect")
    enable_hr: bool | None = Field(False, description="must be false; the fields hr_… then have no effect")
    script_name: str | None = Field(None, description="must be empty: there are no scripts")
    script_args: list[Any] | None = Field(default_factory=list, description="without effect: there is no script")
    alwayson_scripts: dict[str, Any] | None = Field(
        default_factory=dict, description="empty, or with arguments that switch the script off"
    )
    send_images: bool | None = Field(True, description="false leaves the pictures out of the answer")
    save_images: bool | None = Field(False, description="without effect: pictures are kept by the server's rules")
    force_task_id: str | None = Field(
        None, description="an id by which POST /internal/progress finds this call", max_length=200
    )
    infotext: str | None = Field(
        None, description="the parameters text of a picture, which fills the fields that are not given"
    )
