"""The jobs of a small shop: quick and slow ones, some that fail, and some that nobody performs.

The shop has two releases. The newer one is named by `JOBS_APP_VERSION=2.0`, and cannot read what
the warehouse sends any more: the dashboard says so.
"""

from __future__ import annotations

import os
import random
import time
from datetime import timedelta

from jobqueue import Constant, Cron, Every, Job

CHANCE = random.Random()
OLD_STOCK = "sku=4711;left=12"
NEW_STOCK = '{"sku": 4711, "left": 12}'


class CardDeclined(Exception):
    """The bank does not pay. It may do so in a moment."""


class SendReceipt(Job):
    """Sends a customer the receipt of an order."""

    queue = "email"

    def perform(self, order_id: int) -> None:
        """Hand the e-mail to the mail server."""
        time.sleep(CHANCE.uniform(0.01, 0.08))


class ChargeCard(Job):
    """Charges the card of a customer. One in ten is declined at first."""

    queue = "payments"
    priority = 10
    retry = Constant(timedelta(seconds=20), attempts=5)
    redact = ("card",)

    def perform(self, order_id: int, card: str) -> None:
        """Ask the bank, which takes its time."""
        time.sleep(CHANCE.uniform(0.05, 0.4))
        if CHANCE.random() < 0.1:
            raise CardDeclined(f"order {order_id} was declined: the limit is reached")


class ResizePhoto(Job):
    """Makes the small pictures of a product's photo."""

    queue = "photos"

    def perform(self, photo_id: int) -> None:
        """Work on the picture."""
        time.sleep(CHANCE.uniform(0.2, 0.9))


class ImportCatalogue(Job):
    """Reads a supplier's catalogue, and says how far it is."""

    queue = "imports"
    max_runtime = timedelta(minutes=10)
    api = True

    def perform(self, supplier: str, products: int = 400) -> None:
        """Read product by product."""
        for number in range(products):
            self.progress(number / products, f"{number} of {products} products of {supplier}")
            time.sleep(0.15)


class SyncStock(Job):
    """Takes over what the warehouse has. The newer release expects another format."""

    queue = "stock"
    retry = Constant(timedelta(seconds=30), attempts=3)

    def perform(self, warehouse: str) -> None:
        """Read what the warehouse has sent."""
        stock = NEW_STOCK if os.environ.get("JOBS_APP_VERSION") == "2.0" else OLD_STOCK
        left_in(stock)


def left_in(stock: str) -> int:
    """How many are left, of what the warehouse has sent."""
    fields = dict(part.split("=") for part in stock.split(";"))
    return int(fields["left"])


class SendNewsletter(Job):
    """Sends the newsletter. Its queue is paused."""

    queue = "newsletter"

    def perform(self, customer_id: int) -> None:
        """Send it."""


class PrintLabel(Job):
    """Prints a label. No worker takes its queue: the machine with the printer is off."""

    queue = "printer"

    def perform(self, order_id: int) -> None:
        """Print it."""


class SumUpSales(Job):
    """Sums up the sales, every 15 seconds and each night."""

    schedule = (
        Every(seconds=15, args={"of": "now"}, name="so far"),
        Cron("30 2 * * *", tz="Europe/Berlin"),
    )

    def perform(self, of: str = "the day") -> None:
        """Sum them up."""
        time.sleep(CHANCE.uniform(0.1, 0.3))
