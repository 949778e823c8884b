"""AUTOMATIC1111's settings: those that callers may change, and what is allowed for each.

Three of them have an effect: ``sd_model_checkpoint``, ``CLIP_stop_at_last_layers`` and ``sd_vae``. A setting that
changes pictures there and that the engine lacks accepts the value that the engine works by, here and in
``override_settings``. A setting that never changes a picture (saving, naming, previews, memory) accepts any value and
keeps its own, because the server's settings say how pictures are kept. Every other setting is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.parameters import WholeNumber
from server.backends.checkpoints import ModelInfo
from server.backends.protocol import Backend
from server.dialects.sdapi.files import basename, file_named
from server.dialects.sdapi.models import model_titled, title
from server.dialects.sdapi.picture_settings import SETTABLE, read_setting
from server.problems import Problem, unsupported

MODEL = "sd_model_checkpoint"
CLIP_SKIP = "CLIP_stop_at_last_layers"
VAE = "sd_vae"
CLIP_SKIPS = WholeNumber(1, 12)
"""The layers that AUTOMATIC1111 lets callers choose: 1 is the last."""

_FIXED: Mapping[str, tuple[Any, ...]] = {
    "sd_unet": ("Automatic", "None", "", None),
    "sd_hypernetwork": ("None", "", None),
    "sd_lora": ("None", "", None),
    "samples_format": ("png",),
    "tiling": (False, None),
    "face_restoration": (False, None),
    "filter_nsfw": (False,),
    "enable_emphasis": (True,),
    "enable_prompt_comments": (True,),
    "use_old_emphasis_implementation": (False,),
    "comma_padding_backtrack": (20, 0),
    "randn_source": ("CPU", "GPU"),
    "eta_noise_seed_delta": (0, None),
    "eta_ddim": (0.0,),
    "eta_ancestral": (1.0,),
    "ddim_discretize": ("uniform",),
    "s_churn": (0.0,),
    "s_tmin": (0.0,),
    "s_tmax": (0.0,),
    "s_noise": (1.0,),
    "s_min_uncond": (0.0,),
    "s_min_uncond_all": (False,),
    "skip_early_cond": (0.0,),
    "k_sched_type": ("Automatic",),
    "sigma_min": (0.0,),
    "sigma_max": (0.0,),
    "rho": (0.0,),
    "beta_dist_alpha": (0.6,),
    "beta_dist_beta": (0.6,),
    "always_discard_next_to_last_sigma": (False,),
    "sgm_noise_multiplier": (False,),
    "sd_noise_schedule": ("Default",),
    "enable_quantization": (False,),
    "enable_batch_seeds": (True,),
    "use_old_karras_scheduler_sigmas": (False,),
    "use_downcasted_alpha_bar": (False,),
    "no_dpmpp_sde_batch_determinism": (False,),
    "dont_fix_second_order_samplers_schedule": (False,),
    "uni_pc_variant": ("bh1",),
    "uni_pc_skip_type": ("time_uniform",),
    "uni_pc_order": (3,),
    "uni_pc_lower_order_final": (True,),
    "token_merging_ratio": (0.0, None),
    "hypertile_enable_unet": (False,),
    "hypertile_enable_vae": (False,),
    "pad_cond_uncond": (False,),
    "pad_cond_uncond_v0": (False,),
    "fp8_storage": ("Disable",),
    "upcast_attn": (False,),
    "forge_additional_modules": ([], None),
    "initial_noise_multiplier": (1.0,),
    "inpainting_mask_weight": (1.0,),
    "img2img_fix_steps": (False,),
    "img2img_extra_noise": (0.0,),
    "img2img_background_color": ("#ffffff",),
    "img2img_color_correction": (False,),
    "hires_fix_refiner_pass": ("second pass",),
    "hires_fix_use_firstpass_conds": (False,),
}
"""Settings that change pictures → the values that are allowed. Callers read the first."""

_NEAR: Mapping[str, tuple[Any, ...]] = {"emphasis": ("Original", "No norm")}
"""Settings without a value that is exactly what the engine does (``prompt`` explains the weights) → the values that are
accepted all the same. ``GET options`` leaves these settings out."""

_IDLE: Mapping[str, Any] = {
    "samples_save": True,
    "grid_save": False,
    "return_grid": False,
    "enable_pnginfo": True,
    "save_txt": False,
    "jpeg_quality": 80,
    "live_previews_enable": True,
    "show_progress_every_n_steps": 1,
    "show_progress_grid": False,
    "show_progress_type": "Approx cheap",
    "live_previews_image_format": "png",
    "add_model_name_to_info": True,
    "add_model_hash_to_info": True,
    "add_version_to_infotext": True,
}
"""Settings that never change a picture → the value that callers read."""

_IDLE_NAMES = frozenset(
    {
        *_IDLE,
        "add_user_name_to_info", "auto_launch_browser", "batch_cond_uncond", "code_former_weight",
        "cross_attention_optimization", "directories_filename_pattern", "directories_max_prompt_words",
        "disable_weights_auto_swap", "do_not_show_images", "export_for_4chan", "face_restoration_model",
        "forge_inference_memory", "memmon_poll_rate",
        "multiple_tqdm", "n_rows", "persistent_cond_cache", "samples_log_stdout", "save_incomplete_images",
        "save_to_dirs", "save_write_log_csv", "sd_checkpoint_cache", "sd_checkpoint_hash", "sd_checkpoints_keep_in_cpu",
        "sd_checkpoints_limit", "sd_vae_as_default", "sd_vae_checkpoint_cache",
        "sd_vae_overrides_per_model_preferences", "show_progressbar", "use_save_to_dirs_for_ui", "webp_lossless",
    }
)  # fmt: skip
_IDLE_PREFIXES = (
    "grid_", "hires_fix_", "img2img_", "interrogate_", "live_preview", "outdir_", "samples_filename", "save_images_",
    "token_merging_ratio_hr", "token_merging_ratio_img2img", "upscaler_",
)  # fmt: skip


_OWN_VAE = ("Automatic", "None", "")
"""The values of ``sd_vae`` that mean the checkpoint's own."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The settings with an effect, as a call names them. None: it does not name one."""

    model: str | None = None
    clip_skip: int | None = None
    vae: str | None = None
    """The name of a file; empty for the checkpoint's own VAE."""
    pictures: Mapping[str, Any] = field(default_factory=dict)
    """Of ``SETTABLE`` those that are named, where AUTOMATIC1111's picture is made."""


class Options:
    """The settings that callers of this dialect have changed, kept in memory for all callers until the server stops."""

    def __init__(self, backend: Backend, program: str = "comfyui") -> None:
        """``program``: whose pictures are made, ``a1111`` or ``comfyui``."""
        self._backend = backend
        self._program = program
        self.model: str | None = None
        """The checkpoint for requests that name none. None means the server's default."""
        self.clip_skip = 1
        self.vae = ""
        """The VAE's file; empty for the checkpoint's own."""
        self.pictures: dict[str, Any] = {}
        """The settings of ``SETTABLE`` that callers have changed."""

    @property
    def chosen(self) -> Chosen:
        """What counts for a call that names none."""
        return Chosen(model=self.model, clip_skip=self.clip_skip, vae=self.vae, pictures=self.pictures)

    def current_model(self) -> ModelInfo | None:
        """Return the checkpoint of a request that names none, or None if there is no checkpoint at all."""
        models = self._backend.models()
        wanted = (info for info in models if (info.default if self.model is None else info.name == self.model))
        return next(wanted, None)

    def shown(self) -> dict[str, Any]:
        """Return all settings, as ``GET options`` answers. A caller may send them back as they are."""
        info = self.current_model()
        return {
            MODEL: None if info is None else title(info),
            "sd_checkpoint_hash": None if info is None else info.sha256,
            CLIP_SKIP: self.clip_skip,
            VAE: basename(self.vae) or _OWN_VAE[0],
            **{name: allowed[0] for name, allowed in _FIXED.items()},
            **({name: each.default for name, each in SETTABLE.items()} if self._program == "a1111" else {}),
            **self.pictures,
            **_IDLE,
        }

    def read(self, settings: Mapping[str, Any], place: str = "") -> Chosen:
        """Return what ``settings`` ask for.

        ``place`` stands before the names in errors. Raises ``Problem`` or ``BadRequest`` for a setting that is refused.
        """
        pictures: dict[str, Any] = {}
        for key, value in settings.items():
            if key in (MODEL, CLIP_SKIP, VAE):
                continue
            if self._program == "a1111" and key in SETTABLE:
                pictures[key] = read_setting(key, value, place + key)
            else:
                _check(key, value, place + key)
        model, clip_skip = settings.get(MODEL), settings.get(CLIP_SKIP)
        name = model_titled(model, self._backend.models(), place + MODEL).name if model not in (None, "") else None
        return Chosen(
            model=name,
            clip_skip=None if clip_skip is None else CLIP_SKIPS.read(place + CLIP_SKIP, clip_skip),
            vae=self._vae(settings.get(VAE), place + VAE),
            pictures=pictures,
        )

    def _vae(self, wanted: object, place: str) -> str | None:
        if wanted is None or wanted in _OWN_VAE:
            return None if wanted is None else ""
        return file_named(wanted, self._backend.files("vae"), place, *_OWN_VAE[:2])

    async def change(self, settings: Mapping[str, Any]) -> None:
        """Do all that ``POST options`` asks for, the model first; or raise the error of ``read`` and do nothing."""
        chosen = self.read(settings)
        info = self.current_model()
        if chosen.model is not None and (info is None or chosen.model != info.name):
            await self._backend.load(chosen.model)
        self.keep(chosen)

    def keep(self, chosen: Chosen) -> None:
        """Use these from now on. None changes nothing."""
        self.model, self.clip_skip = chosen.model or self.model, chosen.clip_skip or self.clip_skip
        self.vae = self.vae if chosen.vae is None else chosen.vae
        self.pictures = {**self.pictures, **chosen.pictures}


def _check(name: str, value: object, place: str) -> None:
    """Refuse a setting that would change the picture."""
    allowed = _FIXED.get(name) or _NEAR.get(name)
    if allowed is not None:
        if not any(_equal(value, each) for each in allowed):
            raise unsupported(place, value, " or ".join(dict.fromkeys(repr(each) for each in allowed)))
    elif name not in _IDLE_NAMES and not name.startswith(_IDLE_PREFIXES):
        raise _unknown(place, value)


def _equal(value: object, allowed: object) -> bool:
    """Return whether both are the same JSON value: 0 is 0.0, and is not false."""
    return value == allowed and isinstance(value, bool) == isinstance(allowed, bool)


def _unknown(place: str, value: object) -> Problem:
    problem = unsupported(
        place, value, f"a request without it, or one of {MODEL}, {CLIP_SKIP}, {VAE}, {', '.join((*_FIXED, *_NEAR))}"
    )
    problem.detail = problem.detail.replace("this would change", "this may change")
    return problem
