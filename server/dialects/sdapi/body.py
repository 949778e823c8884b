"""The bodies of ``POST txt2img`` and ``img2img``: AUTOMATIC1111's fields, with its defaults. ``refusing`` knows which
are not supported."""

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


class Generation(BaseModel):
    """The fields that both calls have. As in AUTOMATIC1111, null stands for the default."""

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
    width: int | None = Field(512, description="pixels, rounded down to a multiple of 8")
    height: int | None = Field(512, description="pixels, rounded down to a multiple of 8")
    restore_faces: bool | None = Field(None, description="must not be true")
    tiling: bool | None = Field(None, description="must not be true")
    do_not_save_samples: bool | None = Field(
        False, description="without effect: pictures are kept by the server's rules"
    )
    do_not_save_grid: bool | None = Field(False, description="without effect: there are no grids")
    eta: float | None = Field(
        None, description="must be the sampler's own: 1 for ancestral and SDE samplers, 0 for DDIM"
    )
    s_min_uncond: float | None = Field(None, description="must be 0")
    s_churn: float | None = Field(None, description="must be 0")
    s_tmax: float | None = Field(None, description="without effect, because s_churn is 0")
    s_tmin: float | None = Field(None, description="without effect, because s_churn is 0")
    s_noise: float | None = Field(None, description="must be 1")
    override_settings: dict[str, Any] | None = Field(
        None,
        description="sd_model_checkpoint, sd_vae, CLIP_stop_at_last_layers, and GET options at their present values",
    )
    override_settings_restore_afterwards: bool | None = Field(
        True, description="false keeps the override_settings for later calls"
    )
    refiner_checkpoint: str | None = Field(None, description="the checkpoint that ends the sampling; empty: none")
    refiner_switch_at: float | None = Field(
        None, description="share of the timesteps after which it takes over, 0 to 1; null or 0: it does not"
    )
    disable_extra_networks: bool | None = Field(False, description="must be false")
    token_merging_ratio: float | None = Field(None, description="must be 0")
    comments: dict[str, Any] | None = Field(None, description="without effect")
    script_name: str | None = Field(None, description="must be empty: there are no scripts")
    script_args: list[Any] | None = Field(default_factory=list, description="without effect: there is no script")
    alwayson_scripts: dict[str, Any] | None = Field(
        default_factory=dict, description="ControlNet's units; of other scripts, only arguments that switch them off"
    )
    send_images: bool | None = Field(True, description="false leaves the pictures out of the answer")
    save_images: bool | None = Field(False, description="without effect: pictures are kept by the server's rules")
    force_task_id: str | None = Field(
        None, description="an id by which POST /internal/progress finds this call", max_length=200
    )
    infotext: str | None = Field(
        None, description="the parameters text of a picture, which fills the fields that are not given"
    )


class Txt2Img(Generation):
    """The body of ``POST txt2img``."""

    enable_hr: bool | None = Field(False, description="a second, larger pass; without it the fields hr_… do nothing")
    denoising_strength: float | None = Field(
        None, description="share of the schedule that the second pass runs, 0 to 1; null: 0.75"
    )
    hr_scale: float | None = Field(2.0, description="by which both sides grow, where hr_resize_… are 0")
    hr_resize_x: int | None = Field(
        0, description="the second pass's width in pixels; 0: by the other side, or hr_scale"
    )
    hr_resize_y: int | None = Field(0, description="the second pass's height in pixels")
    hr_upscaler: str | None = Field(None, description="a name of latent-upscale-modes or of upscalers; null: Latent")
    hr_second_pass_steps: int | None = Field(0, description="its sampling steps; 0: as the first pass's")
    hr_sampler_name: str | None = Field(None, description="its sampler; null: the first pass's")
    hr_scheduler: str | None = Field(None, description="its scheduler; null: the first pass's")
    hr_prompt: str | None = Field("", description="its prompt; empty: the first pass's")
    hr_negative_prompt: str | None = Field("", description="its negative prompt; empty: the first pass's")
    hr_cfg: float | None = Field(None, description="its guidance scale; null or 0: the first pass's")
    hr_checkpoint_name: str | None = Field(None, description="its checkpoint; null: the first pass's")


_PICTURE = "a picture's file in base64, also as a data: URL"


class Img2Img(Generation):
    """The body of ``POST img2img``."""

    init_images: list[str] | None = Field(
        None, description=f"the picture to start from, or one for each of a batch: {_PICTURE}"
    )
    denoising_strength: float | None = Field(0.75, description="share of the schedule that is run, 0 to 1", ge=0, le=1)
    resize_mode: int | None = Field(
        0, description="how the picture gets its size: 0 stretch, 1 crop, 2 fill, 3 stretch its latents", ge=0, le=3
    )
    image_cfg_scale: float | None = Field(None, description="without effect: for models that edit by instructions")
    mask: str | None = Field(None, description=f"where the picture is painted anew, white or opaque: {_PICTURE}")
    mask_blur: int | None = Field(None, description="sets mask_blur_x and mask_blur_y", ge=0, le=256)
    mask_blur_x: int | None = Field(4, description="pixels by which the mask is blurred along the width", ge=0, le=256)
    mask_blur_y: int | None = Field(4, description="pixels by which it is blurred along the height", ge=0, le=256)
    mask_round: bool | None = Field(True, description="whether a latent cell is painted anew whole or not at all")
    inpainting_fill: int | None = Field(
        0,
        description="what the masked part starts from: 0 the colours around it, 1 itself, 2 latent noise, 3 nothing",
        ge=0,
        le=3,
    )
    inpaint_full_res: bool | None = Field(
        True, description="whether only the masked part is painted, at width × height, and pasted back"
    )
    inpaint_full_res_padding: int | None = Field(
        0, description="pixels around the masked part that are painted with it", ge=0, le=16384
    )
    inpainting_mask_invert: int | None = Field(0, description="1: what the mask does not cover is painted", ge=0, le=1)
    initial_noise_multiplier: float | None = Field(
        None, description="a factor of the first noise, by default 1", ge=0, le=100
    )
    include_init_images: bool | None = Field(False, description="whether the answer repeats init_images and mask")
