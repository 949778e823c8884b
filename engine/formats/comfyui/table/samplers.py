"""Rows for the classes that choose a sampler and its options."""

from __future__ import annotations

from dataclasses import dataclass

from engine.errors import BadRequest
from engine.formats.comfyui.table.rows import Other, Row, output, row
from engine.formats.comfyui.table.templates import Always, Choice, Options, Pairs, Template, made
from engine.parameters import Flag, Number, OneOf, Text, WholeNumber
from engine.sampling.samplers.table import SAMPLERS
from engine.workflow.sampling import Sampler

_CATEGORY = "sampling/custom_sampling/samplers"
_FINE = {"step": 0.01, "round": False}
_HELP = {
    "eta": "how much noise is drawn at the steps",
    "s_noise": "a factor of that noise",
    "r": "where the midpoint of a step lies",
    "order": "the order of the method",
    "rtol": "relative tolerance",
    "atol": "absolute tolerance",
    "h_init": "the first step in log sigma",
    "pcoeff": "the controller's proportional part",
    "icoeff": "the controller's integral part",
    "dcoeff": "the controller's differential part",
    "accept_safety": "how good a step must be to be accepted",
    "solver_type": "the form of the solver",
    "max_stage": "the most stages of the solver",
    "sde_start_percent": "where noise at the steps begins, as a share of the schedule",
    "sde_end_percent": "where it ends",
    "predictor_order": "the order of the predictor",
    "corrector_order": "the order of the corrector; 0: none",
    "use_pece": "whether the model is called again on what was corrected",
}
_AMOUNT = Number(0, 100)
_NOISE = {"eta": _AMOUNT, "s_noise": _AMOUNT}


@dataclass(frozen=True)
class _Never(Flag):
    """False alone: for what the engine's samplers do not do."""

    @property
    def allowed(self) -> str:
        return "false"

    def check(self, name: str, value: object) -> bool:
        if super().check(name, value):
            raise BadRequest(name, value, self.allowed)
        return False


_SIMPLE = Other(
    "simple_order_2", kind=_Never(), default=False, help="another second order, not available", lenient=True
)
_SOLVER = OneOf(("midpoint", "heun"))
_DEVICE = Other(
    "noise_device",
    kind=OneOf(("gpu", "cpu")),
    default="gpu",
    help="which of the sampler's two names is meant; one noise",
)

_Kinds = dict[str, Number | WholeNumber | OneOf | Flag]


def _inputs(sampler: str, kinds: _Kinds) -> tuple[Other, ...]:
    """An input for each option, with the sampler's default."""
    return tuple(
        Other(
            name,
            kind=kind,
            default=SAMPLERS[sampler].options[name],
            help=_HELP[name],
            hints=_FINE if isinstance(kind, Number) else {},
        )
        for name, kind in kinds.items()
    )


def _sampler(class_type: str, sampler: str, kinds: _Kinds, *, device: bool = False, written: bool = True) -> Row:
    """A row for a sampler with its options as inputs; ``device``: with another name for noise of the GPU."""
    names: Template = Choice("noise_device", {"cpu": Always(sampler), "gpu": Always(f"{sampler}_gpu")})
    template = made(Sampler, name=names if device else Always(sampler), options=Options(sampler, tuple(kinds)))
    return row(
        class_type,
        class_type,
        _CATEGORY,
        f"Chooses the sampler {sampler} with options.",
        inputs=(*_inputs(sampler, kinds), *([_DEVICE] if device else [])),
        outputs=(output("SAMPLER", template),),
        written=written,
    )


_PID: _Kinds = dict.fromkeys(("rtol", "atol", "h_init", "pcoeff", "icoeff", "dcoeff", "accept_safety"), _AMOUNT)
_SHARE = Number(0, 1)
_SA_SOLVER: _Kinds = {
    "eta": Number(0, 10),
    "sde_start_percent": _SHARE,
    "sde_end_percent": _SHARE,
    "s_noise": _AMOUNT,
    "predictor_order": WholeNumber(1, 6),
    "corrector_order": WholeNumber(0, 6),
    "use_pece": Flag(),
}

ROWS = (
    row(
        "KSamplerSelect",
        "KSamplerSelect",
        _CATEGORY,
        "Chooses a sampler.",
        inputs=("sampler_name",),
        outputs=(output("SAMPLER", made(Sampler, name="sampler_name")),),
    ),
    _sampler("SamplerEulerAncestral", "euler_ancestral", {**_NOISE}),
    _sampler("SamplerEulerAncestralCFGPP", "euler_ancestral_cfg_pp", {**_NOISE}),
    _sampler("SamplerLMS", "lms", {"order": WholeNumber(1, 100)}),
    _sampler("SamplerDPMPP_3M_SDE", "dpmpp_3m_sde", {**_NOISE}, device=True),
    _sampler("SamplerDPMPP_2M_SDE", "dpmpp_2m_sde", {"solver_type": _SOLVER, **_NOISE}, device=True),
    _sampler("SamplerDPMPP_SDE", "dpmpp_sde", {**_NOISE, "r": _AMOUNT}, device=True),
    _sampler("SamplerDPMPP_2S_Ancestral", "dpmpp_2s_ancestral", {**_NOISE}),
    _sampler("SamplerDPMAdaptative", "dpm_adaptive", {"order": WholeNumber(2, 3), **_PID, **_NOISE}),
    _sampler(
        "SamplerER_SDE",
        "er_sde",
        {
            "solver_type": OneOf(("ER-SDE", "Reverse-time SDE", "ODE")),
            "max_stage": WholeNumber(1, 3),
            **_NOISE,
        },
    ),
    row(
        "SamplerSASolver",
        "SamplerSASolver",
        _CATEGORY,
        "Chooses the sampler sa_solver with options.",
        inputs=(
            Other("model", type="MODEL", help="ignored: the levels are those of the model that is sampled"),
            *_inputs("sa_solver", _SA_SOLVER),
            _SIMPLE,
        ),
        outputs=(
            output("SAMPLER", made(Sampler, name=Always("sa_solver"), options=Options("sa_solver", tuple(_SA_SOLVER)))),
        ),
        written=False,
    ),
    row(
        "SamplerWithOptions",
        "Sampler with options",
        _CATEGORY,
        "Chooses a sampler with options, as JSON.",
        inputs=(
            "sampler_name",
            Other(
                "options", kind=Text(), default="[]", help='the options that differ from the defaults: [["eta", 0.5]]'
            ),
        ),
        outputs=(output("SAMPLER", made(Sampler, name="sampler_name", options=Pairs("options"))),),
        ours=True,
    ),
)
