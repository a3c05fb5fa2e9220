"""A mail server for the demo: it speaks real SMTP and writes what it receives to a maildir."""

from __future__ import annotations

import mailbox
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

LOCALHOST = "127.0.0.1"


@contextmanager
def mail_server(maildir: Path, greylisted: str | None) -> Iterator[str]:
    """Run the server on a free port of this machine; the value is its `SMTP_URL`.

    Args:
        maildir: the folder to write to; made if it is not there.
        greylisted: an address that is turned away the first time, as greylisting servers do.
    """
    controller = Controller(Inbox(maildir, greylisted), hostname=LOCALHOST, port=_free_port())
    controller.start()
    try:
        yield f"smtp://{controller.hostname}:{controller.port}"
    finally:
        controller.stop()


class Inbox:
    """What the server does with each command of SMTP. The names are aiosmtpd's."""

    def __init__(self, maildir: Path, greylisted: str | None) -> None:
        self._maildir = mailbox.Maildir(maildir)
        self._greylisted = greylisted

    async def handle_RCPT(  # noqa: N802 - aiosmtpd calls it by this name
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        """Answer to a recipient."""
        if address == self._greylisted:
            self._greylisted = None
            return "451 4.7.1 Greylisted, please try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd calls it by this name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Keep a message."""
        self._maildir.add(envelope.original_content or b"")
        return "250 Message accepted for delivery"


def _free_port() -> int:
    with socket.create_server((LOCALHOST, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
