"""The schema of a behavioral sample (timings and contact, never which key) and device classes."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.risk.model import ClientContext

MOST_KEYS = 64
"""Maximum presses in a sample; longer ones are refused, not truncated."""
_AGENT: Final = 512
"""Characters of a user agent that are examined."""
_Ms = Annotated[float, Field(ge=0, le=600_000, allow_inf_nan=False)]
_Number = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
_Triple = tuple[_Number, _Number, _Number]
# Titles name the enumerations in generated clients.
_KeyClass = Annotated[Literal["char", "shift", "backspace", "enter"], Field(title="KeyClass")]
_PointerEvent = Annotated[Literal["move", "down", "up"], Field(title="PointerEvent")]
_Key = tuple[_Ms, _Ms, _KeyClass]


class Keystroke(BaseModel):
    """Presses in order: down and up in ms from the first press, and the class of the key."""

    model_config = ConfigDict(extra="forbid")

    field: Annotated[str, Field(pattern=r"^[a-z_]{1,32}$")]
    keys: Annotated[
        list[_Key], Field(max_length=MOST_KEYS, description="Each `[down, up, class]`.")
    ]

    @model_validator(mode="after")
    def _ordered(self) -> "Keystroke":
        presses = [key[0] for key in self.keys]
        if presses != sorted(presses) or any(key[1] < key[0] for key in self.keys):
            raise ValueError("keys must be in press order, each released after its press")
        return self


class Motion(BaseModel):
    """Acceleration including gravity (m/s²) and rotation rate (degrees per second); no compass.

    Both have one fixed rate and one triple per reading, as a browser's `devicemotion` provides
    them.
    """

    model_config = ConfigDict(extra="forbid")

    hz: Annotated[float, Field(gt=0, le=400)]
    start: Annotated[float, Field(alias="from", ge=-600_000, le=600_000)]
    acc: Annotated[list[_Triple], Field(max_length=400)] = []
    rot: Annotated[list[_Triple], Field(max_length=400)] = []


class Flags(BaseModel):
    """Client-reported reasons why a sample cannot be scored as fixed text."""

    model_config = ConfigDict(extra="forbid")

    paste: bool = False
    autofill: bool = False
    edited: bool = False


_POINTER: Final = "Each `[ms, x, y, event]`, in order; of a mouse or trackpad, in CSS pixels."
_TOUCHES: Final = "Each `[place of the press in keys, pressure, width, height, dx, dy]`."


class Behavior(BaseModel):
    """A behavioral sample, version 1 of the contract.

    `capture_id` comes from the options of the action that the sample is sent with; `missing` gives
    the reason why a part was not sent, such as `{"touch": "unsupported"}`.
    """

    model_config = ConfigDict(extra="forbid")

    v: Literal[1]
    capture_id: Annotated[str, Field(max_length=64)] | None = None
    clock_step_ms: Annotated[float, Field(ge=0, le=1000)] | None = None
    missing: Annotated[
        dict[
            Literal["keystroke", "touch", "pointer", "motion"], Annotated[str, Field(max_length=32)]
        ],
        Field(max_length=4),
    ] = {}
    flags: Flags = Flags()
    keystroke: Keystroke | None = None
    touch: (
        Annotated[
            list[
                tuple[
                    Annotated[int, Field(ge=0, lt=MOST_KEYS)],
                    _Number,
                    _Number,
                    _Number,
                    _Number,
                    _Number,
                ]
            ],
            Field(max_length=MOST_KEYS, description=_TOUCHES),
        ]
        | None
    ) = None
    pointer: (
        Annotated[
            list[tuple[_Ms, _Number, _Number, _PointerEvent]],
            Field(max_length=500, description=_POINTER),
        ]
        | None
    ) = None
    motion: Motion | None = None


DESKTOP: Final = "desktop"
PHONE: Final = "phone"
TABLET: Final = "tablet"
TOUCHED: Final = "touched"
"""The device is unknown, but was touched."""
UNKNOWN: Final = "unknown"
_UNSAID: Final = (UNKNOWN, TOUCHED)
_PHONES: Final = ("iPhone", "iPod", "Windows Phone")
_TABLETS: Final = ("iPad", "Android", "Tablet")


def device_classes(client_context: ClientContext) -> tuple[str, ...]:
    """Return the possible device classes; a single one if a client asserts the user agent."""
    agent = client_context.user_agent[:_AGENT] if client_context.asserted else ""
    if not agent:
        return _UNSAID
    if any(mark in agent for mark in _PHONES) or ("Android" in agent and "Mobile" in agent):
        return (PHONE,)
    return (TABLET,) if any(mark in agent for mark in _TABLETS) else (DESKTOP,)


def device_class(client_context: ClientContext, sample: Behavior) -> str:
    """Return the device class of a sample."""
    found = device_classes(client_context)
    return TOUCHED if found == _UNSAID and sample.touch else found[0]
