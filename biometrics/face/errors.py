"""Exceptions of the face package; their text never holds a vector, a distance or a pixel."""


class FaceError(Exception):
    """Base class of all errors of this package."""


class EngineUnavailable(FaceError):
    """The engine cannot be opened; the text is one line and says what to correct."""


class BadWeights(EngineUnavailable):
    """A weight file does not match its format; the text names the position."""


class FrameRefused(FaceError):
    """A picture is not usable.

    Args:
        code: A stable name in snake_case, such as ``no_face``.
        advice: One sentence that tells the person what to do.

    ``number`` is the frame's index in a capture.
    """

    number: int = 0

    def __init__(self, code: str, advice: str) -> None:
        self.code = code
        self.advice = advice
        super().__init__(f"{code}: {advice}")


class FaceMismatch(FaceError):
    """The face does not match the enrolled one; the distance is not disclosed."""

    def __init__(self) -> None:
        super().__init__("the face does not match")


class LivenessFailed(FaceError):
    """A capture does not show a living head that follows the command.

    Args:
        reason: A stable code for the audit log, such as ``gesture_missing``; not for the person.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class BadTemplate(FaceError):
    """The stored bytes are not a template of this format."""

    def __init__(self) -> None:
        super().__init__("the template is not of this format")
