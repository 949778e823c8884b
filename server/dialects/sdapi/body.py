"""The body of ``POST txt2img``: AUTOMATIC1111's fields, with its defaults. Says nothing of what can be had of them."""

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
    """null stands for the default, as there."""

    model_config = ConfigDict(extra="allow", protected_namespaces=(), json_schema_extra={"examples": [_EXAMPLE]})

    prompt: str | None = Field("", description="what the picture shows")
    negative_prompt: str | None = Field("", description="what it must not show")
    styles: list[str] | None = Field(None, description="must be empty: there are no styles")
    seed: int | None = Field(-1, description="of the first picture, the next one's is one more; -1 draws one")
    subseed: int | None = Field(-1, description="without effect, subseed_strength being 0")
    subseed_strength: float | None = Field(0, description="must be 0: variations are not supported")
    seed_resize_from_h: int | None = Field(-1, description="must not be above 0")
    seed_resize_from_w: int | None = Field(-1, description="must not be above 0")
    sampler_name: str | None = Field(None, description="a name of GET samplers; also 'DPM++ 2M Karras'")
    sampler_index: str | None = Field("Euler", description="as sampler_name, which counts if both are given")
    scheduler: str | None = Field(
        None, description="a name or label of GET schedulers; null or Automatic: the sampler's"
    )
    batch_size: int | None = Field(1, description="pictures of a batch")
    n_iter: int | None = Field(1, description="batches; n_iter × batch_size pictures in all")
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
        None, description="must be what the sampler has: 1 for ancestral and SDE ones, 0 for DDIM"
    )
    denoising_strength: float | None = Field(None, description="without effect, enable_hr being false")
    s_min_uncond: float | None = Field(None, description="must be 0")
    s_churn: float | None = Field(None, description="must be 0")
    s_tmax: float | None = Field(None, description="without effect, s_churn being 0")
    s_tmin: float | None = Field(None, description="without effect, s_churn being 0")
    s_noise: float | None = Field(None, description="must be 1")
    override_settings: dict[str, Any] | None = Field(
        None, description="sd_model_checkpoint, CLIP_stop_at_last_layers, and settings of GET options as they are there"
    )
    override_settings_restore_afterwards: bool | None = Field(
        True, description="must be true with override_settings: they hold for this call"
    )
    refiner_checkpoint: str | None = Field(None, description="must be empty")
    refiner_switch_at: float | None = Field(None, description="without effect, there being no refiner")
    disable_extra_networks: bool | None = Field(False, description="without effect: there are none")
    token_merging_ratio: float | None = Field(None, description="must be 0")
    comments: dict[str, Any] | None = Field(None, description="without effect")
    enable_hr: bool | None = Field(False, description="must be false; the fields hr_… are without effect then")
    script_name: str | None = Field(None, description="must be empty: there are no scripts")
    script_args: list[Any] | None = Field(default_factory=list, description="without effect, there being no script")
    alwayson_scripts: dict[str, Any] | None = Field(
        default_factory=dict, description="empty, or with arguments that switch the script off"
    )
    send_images: bool | None = Field(True, description="false leaves the pictures out of the answer")
    save_images: bool | None = Field(False, description="without effect: pictures are kept by the server's rules")
    force_task_id: str | None = Field(None, description="the id_task of POST /internal/progress", max_length=200)
    infotext: str | None = Field(None, description="a picture's parameters text, for the fields that are not given")
