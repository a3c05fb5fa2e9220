"""Composes e-mails and sends them by SMTP."""

from __future__ import annotations

import os
import ssl
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import localtime, make_msgid
from smtplib import SMTP, SMTP_SSL
from urllib.parse import SplitResult, unquote, urlsplit

TIMEOUT_SECONDS = 20


class WrongSmtpUrl(Exception):
    """SMTP_URL cannot be understood."""


def welcome(name: str, email: str) -> EmailMessage:
    """The welcome e-mail for a user."""
    sender = os.environ.get("MAIL_FROM", "welcome@signup.example")
    message = EmailMessage()
    message["From"] = sender
    message["To"] = Address(name, addr_spec=email)
    message["Subject"] = f"Welcome, {name}!"
    message["Date"] = localtime()
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    message.set_content(f"Hello {name},\n\nit is good to have you here.\n")
    return message


def send(message: EmailMessage) -> None:
    """Hand a message to the server at SMTP_URL.

    Raises:
        OSError: it does not answer, or (as `SMTPException`) does not take the message.
    """
    url = smtp_url()
    with connect(url) as server:
        if url.username:
            server.login(unquote(url.username), unquote(url.password or ""))
        server.send_message(message)


def connect(url: SplitResult) -> SMTP:
    """A connection: with TLS from the start for `smtps`, or before a password is sent."""
    host, port, tls = url.hostname or "", url.port or 0, ssl.create_default_context()
    if url.scheme == "smtps":
        return SMTP_SSL(host, port, timeout=TIMEOUT_SECONDS, context=tls)
    server = SMTP(host, port, timeout=TIMEOUT_SECONDS)
    if url.username:
        server.starttls(context=tls)
    return server


def smtp_url() -> SplitResult:
    """SMTP_URL, taken apart: `smtp://host:port` or `smtps://user:password@host`.

    Raises:
        WrongSmtpUrl: it is neither.
    """
    url = urlsplit(os.environ.get("SMTP_URL", "smtp://localhost"))
    try:
        usable = url.scheme in {"smtp", "smtps"} and url.hostname and url.port != 0
    except ValueError:  # from a port that is no number
        usable = False
    if not usable:
        raise WrongSmtpUrl(
            "SMTP_URL is not an address of a mail server; expected smtp://localhost:1025, "
            "or smtps://user:password@mail.example.com"
        )
    return url
