"""Every error that capi-mover raises on purpose.

    MoverError
    ├── UsageError                 what was asked for makes no sense, or a kubeconfig does not   (exit code 2)
    │   └── InvalidNameError       a name that cannot be one: nothing is asked of a server by it
    ├── RefusedError               the preflight found problems; nothing was changed              (exit code 3)
    ├── StoppedError               the move stopped on its way; it names the next command         (exit code 4)
    │   ├── PauseTimeoutError      a controller did not confirm the pause in time
    │   ├── BlockedError           an object cannot go on (changed for ever, finalizer put back)
    │   └── SupersededError        another program has taken over; this one changes nothing any more
    ├── VerificationError          the copies differ from what was to be copied                   (exit code 5)
    └── ApiError                   an API server's answer, or the lack of one
        ├── TransientError         worth another try: the only class that is retried
        │   ├── ThrottledError     429; carries how long the server asks to wait
        │   ├── ServerError        5xx
        │   └── ConnectionFailedError  reset, refused, timed out, TLS broken off
        ├── UnauthorizedError      401
        ├── ForbiddenError         403
        ├── NotFoundError          404
        ├── AlreadyExistsError     409, reason AlreadyExists
        ├── ConflictError          409, any other reason: a precondition did not hold
        ├── ExpiredError           410: a continue token or resourceVersion is too old
        └── InvalidError           400, 413, 415, 422 and every other 4xx

Each error carries fields; its message is derived from them and says what happened, to which object, on which
cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class MoverError(Exception):
    """Base of all errors of capi-mover.

    Attributes:
        exit_code: What the command line leaves with.
        remedy: What to do, if possible as a command; "" if that goes without saying.
    """

    exit_code = 4
    remedy: str = ""

    def paragraph(self) -> str:
        """Returns what the user reads: what happened, and what to do."""
        text = str(self)
        if not self.remedy or text.endswith(self.remedy):
            return text
        return f"{text}\n{self.remedy}" if "\n" in text else f"{text}. {self.remedy}"


class UsageError(MoverError):
    """What the user asked for cannot be done as asked; nothing was read or changed."""

    exit_code = 2

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}. {self.remedy}" if self.remedy else self.what


class InvalidNameError(UsageError):
    """Something has a name that no object of Kubernetes can have; a request by it would lead elsewhere.

    Attributes:
        part: What of an object: its "name", "namespace", "group", "version" or "resource".
        name: The name, as it may be shown.
    """

    def __init__(self, part: str, name: str) -> None:
        super().__init__(f"{name!r} cannot be the {part} of an object", "Find out where it comes from")
        self.part = part
        self.name = name


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding of the preflight.

    Attributes:
        check: Name of the check that found it.
        cluster: "source" or "target".
        subject: The object or thing it is about.
        what: What is wrong, and why it matters.
        remedy: What to do, if possible as a command.
        is_warning: Whether the move is not refused for it.
    """

    check: str
    cluster: str
    subject: str
    what: str
    remedy: str
    is_warning: bool = False

    def __str__(self) -> str:
        return f"{self.cluster}: {self.subject}: {self.what}. {self.remedy}"


class RefusedError(MoverError):
    """The preflight found problems; no cluster was changed."""

    exit_code = 3
    remedy = "Mend that, then give the same command again"

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(tuple(problems))
        self.problems = tuple(problems)

    def __str__(self) -> str:
        lines = [f"  - {problem}" for problem in self.problems]
        return "\n".join([f"The move was not started, nothing was changed. {len(lines)} problem(s):", *lines])


class StoppedError(MoverError):
    """The move could not go on; `what` says why and `remedy` what to do."""

    exit_code = 4

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}. {self.remedy}"


class PauseTimeoutError(StoppedError):
    """Objects did not get ready to be moved in time."""

    def __init__(self, waiting: Sequence[str], timeout_s: float) -> None:
        shown = "; ".join(waiting[:5]) + (f"; and {len(waiting) - 5} more" if len(waiting) > 5 else "")
        super().__init__(
            f"After {timeout_s:g} s these objects were still not ready to be moved: {shown}",
            "Check that the controllers of the source cluster run, then move again",
        )
        self.waiting = tuple(waiting)
        self.timeout_s = timeout_s


class BlockedError(StoppedError):
    """One object kept changing or could not be removed."""


class SupersededError(StoppedError):
    """Another program has taken over what this one was at, or has ended it.

    Whoever is told so changes nothing any more: nothing is undone, recorded or released that is not its own.

    Attributes:
        holder: Who has it now, "" if nobody has.
        since: Since when (RFC 3339, the holder's clock), "" if that is not known.
    """

    def __init__(self, what: str, holder: str = "", since: str = "") -> None:
        super().__init__(what, "See what has become of it: capi-mover status")
        self.holder = holder
        self.since = since


@dataclass(frozen=True, slots=True)
class Difference:
    """A field of an object that is not the same on both sides.

    Attributes:
        subject: The object.
        path: The field, e.g. "spec.replicas"; "" for the object as a whole.
        source: What the source has, as JSON, shortened; "" if nothing.
        target: What the target has.
    """

    subject: str
    path: str
    source: str
    target: str

    def __str__(self) -> str:
        where = f"{self.subject}: {self.path}" if self.path else self.subject
        return f"{where}: source {self.source or 'nothing'}, target {self.target or 'nothing'}"


class VerificationError(MoverError):
    """The target's copies differ from the source's objects; nothing was deleted."""

    exit_code = 5
    remedy = "Find out what changes the copies on the target, then give the same command again"

    def __init__(self, differences: Sequence[Difference]) -> None:
        super().__init__(tuple(differences))
        self.differences = tuple(differences)

    def __str__(self) -> str:
        shown = [f"  - {difference}" for difference in self.differences[:20]]
        more = len(self.differences) - len(shown)
        tail = [f"  … and {more} more"] if more else []
        head = f"{len(self.differences)} difference(s) between source and target; nothing was deleted:"
        return "\n".join([head, *shown, *tail])


@dataclass(frozen=True, slots=True)
class Call:
    """The request that an ApiError is about.

    Attributes:
        cluster: Name of the cluster as the user knows it.
        verb: HTTP method.
        path: Path of the request, without the server.
    """

    cluster: str
    verb: str
    path: str

    def __str__(self) -> str:
        return f"{self.cluster}: {self.verb} {self.path}"


class ApiError(MoverError):
    """An answer of an API server that is not a success.

    The user sees one as it is only if it came before anything was changed; after that it is the cause of an error
    that says how the move can be gone on with.
    """

    exit_code = 2
    remedy = "Mend that, then give the same command again"

    def __init__(self, call: Call, status: int, reason: str, message: str) -> None:
        super().__init__(call, status, reason, message)
        self.call = call
        self.status = status
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        code = f"{self.status} {self.reason}".strip() if self.status else self.reason
        return f"{self.call}: {code}: {self.message}" if code else f"{self.call}: {self.message}"


class TransientError(ApiError):
    """A failure that another try may cure."""

    remedy = "Once the API server answers again, give the same command again"


class ThrottledError(TransientError):
    """The server asks to slow down.

    `retry_after_s` is what its Retry-After header says, 0 without one.
    """

    def __init__(self, call: Call, status: int, reason: str, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(call, status, reason, message)
        self.retry_after_s = retry_after_s


class ServerError(TransientError):
    """The server failed (5xx)."""


class ConnectionFailedError(TransientError):
    """No whole answer came: refused, reset, timed out."""

    def __init__(self, call: Call, message: str) -> None:
        super().__init__(call, 0, "", message)


class UnauthorizedError(ApiError):
    """The credentials are not accepted (401)."""

    remedy = "Renew the credentials in the kubeconfig of that cluster, then give the same command again"


class ForbiddenError(ApiError):
    """The user may not do this (403)."""

    remedy = "The rights that are needed are printed by: capi-mover rbac"


class NotFoundError(ApiError):
    """There is no such object or resource (404)."""


class AlreadyExistsError(ApiError):
    """An object of that name exists already."""


class ConflictError(ApiError):
    """A precondition (UID, resourceVersion) did not hold."""


class ExpiredError(ApiError):
    """A continue token or a watch's resourceVersion is too old (410)."""


class InvalidError(ApiError):
    """The server will not take the request, now or later."""
