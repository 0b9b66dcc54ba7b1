"""The error of a client's request to a server."""


class ServingError(Exception):
    """An unreachable server, no response, or a refused request.

    Attributes:
        status: gRPC's status name, over REST too. Among them: "INVALID_ARGUMENT", the input is
            invalid; "NOT_FOUND", no such model or version; "UNAVAILABLE" and "DEADLINE_EXCEEDED",
            the same request may succeed later; "UNKNOWN", the response isn't TensorFlow Serving's.
    """

    def __init__(self, message: str, status: str) -> None:
        super().__init__(message, status)
        self.status = status

    def __str__(self) -> str:
        return self.args[0]
