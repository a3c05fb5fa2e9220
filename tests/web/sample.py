"""Jobs of an application that has opened some of them to the API."""

from __future__ import annotations

from jobqueue import Job, Unique


class Hello(Job):
    name = "websample.Hello"
    api = True
    keep_result = True
    max_attempts = 2

    def perform(self, who: str, times: int = 1) -> str:
        if who == "nobody":
            raise ValueError(who)
        self.progress(0.5, "greeting")
        return f"hello {who}" * times


class Login(Job):
    name = "websample.Login"
    api = True
    redact = ("password",)

    def perform(self, user: str, password: str) -> None: ...


class Babbles(Job):
    """Says what it should not, while it runs and at its end."""

    name = "websample.Babbles"
    api = True
    keep_result = True
    redact = ("password",)

    def perform(self, user: str, password: str) -> dict[str, list[str]]:
        self.progress(0.5, f"trying {password}")
        return {"tried": [user, password]}


class Once(Job):
    name = "websample.Once"
    api = True
    unique = Unique(by="number")

    def perform(self, number: int, note: str = "") -> None: ...


class Closed(Job):
    name = "websample.Closed"

    def perform(self) -> None: ...


class Merged(Job):
    """Takes anything."""

    name = "websample.Merged"
    api = True
    queue = "email"

    def perform(self, **values: object) -> None: ...
