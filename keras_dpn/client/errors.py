"""What goes wrong between a client and a server."""


class ServingError(Exception):
    """A server that can't be reached, gives no answer, or refuses.

    Attributes:
        status: gRPC's name for what happened, over REST too. Among them: "INVALID_ARGUMENT", the
            image can't be answered; "NOT_FOUND", no such model or version; "UNAVAILABLE" and
            "DEADLINE_EXCEEDED", the same request may succeed later; "UNKNOWN", what came isn't an
            answer of TensorFlow Serving.
    """

    def __init__(self, message: str, status: str) -> None:
        super().__init__(message, status)
        self.status = status

    def __str__(self) -> str:
        return self.args[0]
