"""Proving one's telephone number: a code by text message, typed in here."""

import secrets
from typing import Final

from tradepost.accounts import phones
from tradepost.accounts.types import Caller
from tradepost.core.fields import check_fields
from tradepost.core.limits import check_rate, network_of
from tradepost.flows.store import Store
from tradepost.notifications.service import queue_text

CODES_FOR_PERSON: Final = 3
CODES_FROM_ADDRESS: Final = 10
TRIES: Final = 10


def can_prove(store: Store) -> bool:
    """Whether text messages leave this store, or, in the demo, can be read on the mailbox page."""
    return store.is_demo or not store.messenger.keeps


async def ask_code(store: Store, caller: Caller) -> None:
    """Have a code sent to the caller's number.

    Raises `FieldErrors` where there is none or it is proved, `TooOften`: three codes for a person and ten from an address in a
    quarter of an hour, because each costs money and wakes somebody; `NotByToken`.
    """
    user_id = caller.check_in_person()
    await check_rate(store.cache, str(user_id), "phone_codes", CODES_FOR_PERSON)
    await check_rate(store.cache, network_of(caller.address), "phone_codes", CODES_FROM_ADDRESS)
    async with store.db.transaction(actor=caller.actor) as tx:
        number = await phones.number_to_prove(tx, store.keys, user_id)
        if number is None:
            check_fields({"phone": "Please write your number on your profile first, unless it is confirmed already."})
        code = f"{secrets.randbelow(10**phones.DIGITS):0{phones.DIGITS}}"
        await phones.issue_code(tx, store.keys, user_id, code)
        words = f"{code} is your code for {store.settings.store.name}. Nobody of us will ever ask you for it."
        await queue_text(tx, store.keys, user_id, number or "", words)


async def confirm_code(store: Store, caller: Caller, code: str) -> None:
    """Take the caller's number for proved. Raises `WrongCode`, `TooOften` after ten tries in a quarter of an hour, `NotByToken`."""
    user_id = caller.check_in_person()
    await check_rate(store.cache, str(user_id), "phone_tries", TRIES)
    async with store.db.transaction(actor=caller.actor) as tx:
        await phones.use_code(tx, store.keys, user_id, code)
